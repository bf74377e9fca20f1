"""A pseudo-terminal with a program in it, told line by line (JSON) what to do.

usage: terminal.py PROGRAM [ARGUMENT ...]
requests: {"type": TEXT} writes keys; {"see": TEXT} waits for it and answers with all up to it; {"all": [TEXT, ...]} waits for each of
them, in any order; {"picture": TEXT} waits for a picture with it and answers with the last whole one; {"resize": [LINES, COLUMNS]};
{"end": true} waits for the end. TERMINAL_SIZE=LINESxCOLUMNS is the size at the start.
"""
import codecs
import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PATIENCE = 30
# Cursor movement, colours (ECMA-48) and returns: a line editor redraws its line with them.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")

# Where a program that paints the whole screen begins a picture.
HOME = "\x1b[H"
# Where it goes on in a line of its own, which is the last one.
LAST_LINE = re.compile(r"(\r\n)?(\x1b\[J)?\x1b\[[0-9]+;1H")


def resize(descriptor, lines, columns):
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", int(lines), int(columns), 0, 0))


size = os.environ.pop("TERMINAL_SIZE", None)
child, terminal = pty.fork()
if child == 0:
    environment = dict(os.environ, TERM="xterm")
    if size:
        resize(0, *size.split("x"))
    else:
        environment["COLUMNS"] = "200"
    os.execvpe(sys.argv[1], sys.argv[1:], environment)

decoder = codecs.getincrementaldecoder("utf-8")("replace")
seen = ""


def more(deadline):
    """What the program writes next; None: nothing more comes."""
    global seen
    ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
    if not ready:
        return False
    try:
        data = os.read(terminal, 65536)
    except OSError:
        return None
    seen += decoder.decode(data)
    return True if data else None


def see(text):
    global seen
    deadline = time.monotonic() + PATIENCE
    while True:
        shown = CONTROL.sub("", seen)
        if text in shown and not seen.endswith("\x1b"):
            head, seen = shown.split(text, 1)
            return {"seen": head + text}
        if not more(deadline):
            return {"error": f"{text!r} is not in {shown!r}"}


def see_all(texts):
    deadline = time.monotonic() + PATIENCE
    while missing := [text for text in texts if text not in CONTROL.sub("", seen)]:
        if not more(deadline):
            return {"error": f"{missing!r} are not in {CONTROL.sub('', seen)!r}"}
    return {"seen": CONTROL.sub("", seen)}


def picture(text):
    global seen
    deadline = time.monotonic() + PATIENCE
    while True:
        # What has come meanwhile counts.
        while more(0):
            pass
        # The last one may not be whole yet.
        *whole, last = seen.split(HOME)
        seen = HOME.join([*whole[-1:], last])
        shown = CONTROL.sub("", LAST_LINE.sub("\n", whole[-1])) if whole else ""
        if text in shown:
            return {"seen": shown}
        if not more(deadline):
            return {"error": f"{text!r} is not in {shown!r}"}


def end():
    deadline = time.monotonic() + PATIENCE
    while (came := more(deadline)) is not None:
        if not came:
            return {"error": f"the program does not end; it says {seen!r}"}
    _, status = os.waitpid(child, 0)
    return {"seen": CONTROL.sub("", seen), "status": os.waitstatus_to_exitcode(status)}


for line in sys.stdin:
    request = json.loads(line)
    if "type" in request:
        os.write(terminal, request["type"].encode())
        answer = {"seen": ""}
    elif "see" in request:
        answer = see(request["see"])
    elif "all" in request:
        answer = see_all(request["all"])
    elif "picture" in request:
        answer = picture(request["picture"])
    elif "resize" in request:
        resize(terminal, *request["resize"])
        answer = {"seen": ""}
    else:
        answer = end()
    print(json.dumps(answer), flush=True)
