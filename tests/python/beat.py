"""Tells a watchdog on a UDP port that it lives, ten times a second."""
import os
import socket
import sys
import time

beats = socket.socket(type=socket.SOCK_DGRAM)
while True:
    beats.sendto(b"%d;%f" % (os.getpid(), time.time()), ("127.0.0.1", int(sys.argv[1])))
    time.sleep(0.1)
