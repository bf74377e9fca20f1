"""Writes a numbered line twice a second."""
import time

number = 0
while True:
    number += 1
    print('tick %d' % number, flush=True)
    time.sleep(0.5)
