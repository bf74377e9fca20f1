"""A pseudo-terminal with a program in it, told line by line (JSON) what to do.

usage: terminal.py PROGRAM [ARGUMENT ...]
requests: {"type": TEXT} writes keys; {"see": TEXT} waits for it and answers with all up to it; {"end": true} waits for the end.
"""
import codecs
import json
import os
import pty
import re
import select
import sys
import time

PATIENCE = 30
# Cursor movement, colours (ECMA-48) and returns: a line editor redraws its line with them.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")

child, terminal = pty.fork()
if child == 0:
    os.execvpe(sys.argv[1], sys.argv[1:], dict(os.environ, TERM="xterm", COLUMNS="200"))

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
    else:
        answer = end()
    print(json.dumps(answer), flush=True)
