"""A process with a child and a grandchild; the children ignore SIGTERM. Writes their numbers into the file given."""
import os
import signal
import sys
import time


def rest():
    while True:
        time.sleep(3600)


reader, writer = os.pipe()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.write(writer, b'%d\n' % os.getpid())
        rest()
    os.write(writer, b'%d\n' % os.getpid())
    rest()
numbers = b''
while numbers.count(b'\n') < 2:
    numbers += os.read(reader, 100)
with open(sys.argv[1] + '.part', 'wb') as file:
    file.write(numbers)
os.rename(sys.argv[1] + '.part', sys.argv[1])
rest()
