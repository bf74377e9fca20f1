"""Writes numbered lines on stdout and stderr until SIGTERM: NAME RATE, RATE in lines a second on each.

A line is `NAME.out:NUMBER:filling`; the last one on each stream is `NAME.out:NUMBER:END`.
"""
import os
import signal
import sys
import time

name, rate = sys.argv[1], float(sys.argv[2])
PAUSE = 0.02
FILLING = 'x' * 40
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))


def write(fd, text):
    data = text.encode()
    while data:
        data = data[os.write(fd, data):]


number = 0
portion = max(1, int(rate * PAUSE))
while not ended:
    for fd, stream in ((1, 'out'), (2, 'err')):
        lines = ['%s.%s:%d:%s\n' % (name, stream, number + n, FILLING) for n in range(portion)]
        write(fd, ''.join(lines))
    number += portion
    time.sleep(PAUSE)
for fd, stream in ((1, 'out'), (2, 'err')):
    write(fd, '%s.%s:%d:END\n' % (name, stream, number))
