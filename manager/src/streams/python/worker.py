"""The Python of one stream: it makes one object and calls it with what processes have written.

circusd sends a line of JSON and then frames, and gets a line of JSON for each; see streams/python/wire.rs. What it imports by is
python/importing.py, which comes in front of this. It ends when circusd does.
"""

import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback

# How long the object may take to finish and to close when circusd wants the end, or has gone; circusd kills it a little earlier.
CLOSE_SECONDS = 6

HEAD = struct.Struct("<IiBQ")
NAMES = ("stdout", "stderr")
TAKEN = b'{"said": "taken"}\n'

channel = socket.socket(fileno=os.dup(0))
with open(os.devnull) as nothing:
    os.dup2(nothing.fileno(), 0)


def say(said, **more):
    channel.sendall(json.dumps(dict(more, said=said), default=str).encode() + b"\n")


def told(error):
    return {"message": "%s: %s" % (type(error).__name__, error), "traceback": traceback.format_exc()}


def end_with_circusd():
    """No call can keep this process alive for long when nobody waits for it."""
    poll = select.poll()
    poll.register(channel, select.POLLRDHUP)
    poll.poll()
    time.sleep(CLOSE_SECONDS)
    os._exit(1)


def object_of(order):
    """The object, or None when that has failed and is told."""
    try:
        add_folders(order["path"])
        made_by = load(order["class"], False)
    except BaseException as error:
        return say("no_import", target=order["class"], path=sys.path, **told(error))
    try:
        stream = made_by(**order["settings"])
        if not callable(stream):
            raise TypeError("%r is not callable" % (stream,))
        return stream
    except BaseException as error:
        return say("no_object", **told(error))


def calls(frames):
    """What the object is to be called with, one after another, until circusd wants the end."""
    while True:
        head = frames.read(HEAD.size)
        if len(head) < HEAD.size:
            return
        length, pid, name, nanoseconds = HEAD.unpack(head)
        data = frames.read(length)
        if len(data) < length:
            return
        yield {"data": data, "pid": pid, "name": NAMES[name], "timestamp": nanoseconds / 1e9}


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_circusd, name="end with circusd", daemon=True).start()
    frames = channel.makefile("rb", 1 << 16)
    stream = object_of(json.loads(frames.readline()))
    if stream is None:
        return
    try:
        say("ready")
        for call in calls(frames):
            try:
                stream(call)
            except BaseException as error:
                say("raised", **told(error))
            else:
                channel.sendall(TAKEN)
    except OSError:
        # circusd has gone. What it was not told of is given to another worker.
        pass
    finally:
        close = getattr(stream, "close", None)
        if callable(close):
            close()


main()
