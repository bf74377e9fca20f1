"""What nc and telnet do: a terminal on one side, a socket on the other.

usage: line.py PATH|PORT
"""
import os
import select
import socket
import sys

place = sys.argv[1]
if place.isdigit():
    peer = socket.create_connection(("127.0.0.1", int(place)))
else:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(place)
# telnet ends its lines with CR LF.
end = b"\r\n" if place.isdigit() else b"\n"
while True:
    for source in select.select([0, peer], [], [])[0]:
        data = peer.recv(65536) if source is peer else os.read(0, 65536).replace(b"\n", end)
        if not data:
            sys.exit(0)
        if source is peer:
            os.write(1, data)
        else:
            peer.sendall(data)
