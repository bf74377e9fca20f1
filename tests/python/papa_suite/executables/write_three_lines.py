"""Three lines on stdout, a tenth of a second apart (Papa's tests take what comes within 50 ms for one piece), a word on stderr."""
import sys
from time import sleep

for line in (f"Version: {sys.version.partition(' ')[0]}", f"Executable: {sys.executable}"):
    print(line, flush=True)
    sleep(0.1)
print("Args:", " ".join(sys.argv[1:]), flush=True)
print("done", end="", file=sys.stderr, flush=True)
