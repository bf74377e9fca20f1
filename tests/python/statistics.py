"""What Circus's own StatsClient and circus-top make of a statistics endpoint: one object of JSON."""
import json
import os
import pty
import select
import subprocess
import sys
import time

from circus.stats.client import StatsClient

endpoint = sys.argv[1]
LIMIT = 20


def aggregate():
    """The pids of the first sum of alpha."""
    for watcher, subtopic, stat in StatsClient(endpoint):
        if watcher == "alpha" and subtopic is None:
            return sorted(stat["pid"])


def top(pid):
    """Whether the real circus-top paints that pid."""
    here = os.path.dirname(sys.executable)
    parent, child = pty.openpty()
    environment = dict(os.environ, TERM="xterm", LINES="40", COLUMNS="80")
    program = subprocess.Popen(
        [os.path.join(here, "circus-top"), "--endpoint", endpoint],
        stdin=child, stdout=child, stderr=child, env=environment)
    seen, end = b"", time.monotonic() + LIMIT
    try:
        while time.monotonic() < end and str(pid).encode() not in seen:
            if select.select([parent], [], [], 0.5)[0]:
                seen += os.read(parent, 65536)
        return str(pid).encode() in seen or repr(seen)
    finally:
        program.kill()
        program.wait()


pids = aggregate()
print(json.dumps({"aggregate": pids, "top": top(pids[0])}))
