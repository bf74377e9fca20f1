"""Accepts on the inherited socket FD and greets everybody with its process number: FD."""
import os
import socket
import sys

listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
while True:
    connection, _ = listener.accept()
    try:
        connection.sendall(b'%d\n' % os.getpid())
    except OSError:
        pass
    connection.close()
