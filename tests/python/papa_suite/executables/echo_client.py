"""Sends a line and writes the echo to stdout. usage: echo_client.py PORT"""
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
    server.sendall(b"howdy\n")
    print(server.makefile().readline(), end="", flush=True)
