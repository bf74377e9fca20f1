"""Imports one class and says how that went. It comes behind python/importing.py; see python/trial.rs."""

import json
import os
import socket
import sys
import traceback

channel = socket.socket(fileno=os.dup(0))
with open(os.devnull) as nothing:
    os.dup2(nothing.fileno(), 0)
with channel.makefile("rb") as lines:
    order = json.loads(lines.readline())
try:
    add_folders(order["path"])
    load(order["target"], False)
    answer = {"said": "fine"}
except BaseException as error:
    answer = {"said": "no_import", "target": order["target"], "message": "%s: %s" % (type(error).__name__, error)}
    answer.update(path=sys.path, traceback=traceback.format_exc())
channel.sendall(json.dumps(answer).encode() + b"\n")
# Threads of the module are not waited for.
os._exit(0)
