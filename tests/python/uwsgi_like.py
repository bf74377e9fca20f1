"""A server in the style of uWSGI: a parent with children that tells its state on a port, and for which SIGQUIT means to stop one child.

Arguments: the port of the statistics, and how many children there are.
"""
import json
import os
import signal
import socket
import sys

port, count = int(sys.argv[1]), int(sys.argv[2])
children = []
for _ in range(count):
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    children.append(child)


def end(*_):
    for child in children:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
    os._exit(0)


def stop_one(*_):
    child = children.pop()
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)


signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, stop_one)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
with socket.create_server(("127.0.0.1", port)) as server:
    while True:
        client, _ = server.accept()
        with client:
            client.sendall(json.dumps({"workers": children}).encode())
