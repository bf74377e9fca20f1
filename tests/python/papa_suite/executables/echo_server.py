"""Sends the bytes of one client back and writes them to stdout. usage: echo_server.py DESCRIPTOR"""
import socket
import sys

listener = socket.socket(fileno=int(sys.argv[1]))
client, _ = listener.accept()
while data := client.recv(4096):
    client.sendall(data)
    sys.stdout.write(data.decode())
    sys.stdout.flush()
