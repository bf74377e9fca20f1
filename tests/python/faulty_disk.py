"""A file system whose writes fail with an error of one's choice (FUSE, spoken directly: no library, but root and /dev/fuse).

usage: faulty_disk.py DIRECTORY CONTROL
One flat directory of files in memory. While the file CONTROL holds the name of an error (EIO, EDQUOT, EROFS ...), every write to
a file and every creation of one fails with it; empty, all goes well. Prints `mounted`; unmounts at SIGTERM.
"""
import ctypes
import errno
import os
import signal
import stat
import struct
import sys
import time

directory, control = sys.argv[1:]
# Sizes and numbers: /usr/include/linux/fuse.h, version 7.31.
HEADER = struct.Struct("<IIQQIIIHH")
LOOKUP, FORGET, GETATTR, SETATTR, UNLINK, OPEN, READ, WRITE, STATFS = 1, 2, 3, 4, 10, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 18, 20, 25, 26, 27, 28, 29
CREATE, INTERRUPT, BATCH_FORGET = 35, 36, 42
SIZE_IS_SET, DIRECT_IO, BIG_WRITES = 1 << 3, 1, 1 << 5
LARGEST_WRITE = 64 << 10

libc = ctypes.CDLL(None, use_errno=True)
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
if libc.mount(b"faulty", directory.encode(), b"fuse", 0, options.encode()) != 0:
    sys.exit(f"cannot mount: {os.strerror(ctypes.get_errno())}")

files, names = {1: None}, {}


def stop(*_):
    # Lazily: whoever still holds a file has it until the end of this process.
    libc.umount2(directory.encode(), 2)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)


def attributes(node):
    content = files[node]
    mode = stat.S_IFDIR | 0o755 if content is None else stat.S_IFREG | 0o644
    size, now = len(content or b""), int(time.time())
    return struct.pack("<6Q10I", node, size, size // 512 + 1, now, now, now, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def entry(node):
    return struct.pack("<4Q2I", node, 0, 0, 0, 0, 0) + attributes(node)


def opened():
    return struct.pack("<QIi", 0, DIRECT_IO, 0)


def name_of(body):
    return body.split(b"\0", 1)[0].decode()


def refusal():
    """The error that is wanted now; 0: none."""
    with open(control, encoding="ascii") as file:
        word = file.read().strip()
    return getattr(errno, word) if word else 0


def lookup(node, body):
    name = name_of(body)
    return entry(names[name]) if name in names else -errno.ENOENT


def setattr_(node, body):
    valid, _, _, size = struct.unpack_from("<IIQQ", body)
    if valid & SIZE_IS_SET:
        files[node][size:] = bytes(max(0, size - len(files[node])))
    return struct.pack("<QII", 0, 0, 0) + attributes(node)


def create(node, body):
    if error := refusal():
        return -error
    number = max(files) + 1
    files[number] = bytearray()
    names[name_of(body[16:])] = number
    return entry(number) + opened()


def unlink(node, body):
    return b"" if names.pop(name_of(body), None) else -errno.ENOENT


def read(node, body):
    _, offset, size = struct.unpack_from("<QQI", body)
    return bytes(files[node][offset:offset + size])


def write(node, body):
    if error := refusal():
        return -error
    _, offset, size = struct.unpack_from("<QQI", body)
    data, content = body[40:40 + size], files[node]
    content[len(content):offset] = bytes(max(0, offset - len(content)))
    content[offset:offset + size] = data
    return struct.pack("<II", size, 0)


ANSWERS = {
    LOOKUP: lookup,
    GETATTR: lambda node, _: struct.pack("<QII", 0, 0, 0) + attributes(node),
    SETATTR: setattr_,
    UNLINK: unlink,
    OPEN: lambda *_: opened(),
    OPENDIR: lambda *_: opened(),
    READDIR: lambda *_: b"",
    READ: read,
    WRITE: write,
    CREATE: create,
    STATFS: lambda *_: struct.pack("<5Q4I24x", 1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096, 255, 4096, 0),
    INIT: lambda *_: struct.pack("<4IHHIIHHII24x", 7, 31, 1 << 17, BIG_WRITES, 0, 0, LARGEST_WRITE, 1, 0, 0, 0, 0),
    RELEASE: lambda *_: b"",
    RELEASEDIR: lambda *_: b"",
    FLUSH: lambda *_: b"",
    FSYNC: lambda *_: b"",
}

print("mounted", flush=True)
while True:
    try:
        request = os.read(fuse, LARGEST_WRITE + (1 << 16))
    except OSError as error:
        if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
            continue
        # ENODEV: somebody has unmounted it.
        break
    _, kind, unique, node, *_ = HEADER.unpack_from(request)
    if kind in (FORGET, BATCH_FORGET, INTERRUPT):
        continue
    answer = ANSWERS[kind](node, request[HEADER.size:]) if kind in ANSWERS else -errno.ENOSYS
    error, data = (answer, b"") if isinstance(answer, int) else (0, answer)
    os.write(fuse, struct.pack("<IiQ", 16 + len(data), error, unique) + data)
