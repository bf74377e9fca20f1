"""A small parent that has a large child at all times."""
import subprocess
import sys

CHILD = "import time; memory = bytearray(60_000_000); time.sleep(3600)"
while True:
    subprocess.run([sys.executable, "-c", CHILD])
