"""Fifty clients at once: each sends its commands through the real client and checks every reply. Prints what came back."""
import json
import subprocess
import sys
import threading
import time

from circus.client import CircusClient
from circus.exc import CallError

endpoint = sys.argv[1]
lock, problems, waits = threading.Lock(), [], []


def probe():
    """In a process of its own, so that it measures circusd and not the threads here: `status` until standard input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    client, spent = CircusClient(endpoint=endpoint, timeout=60.0), []
    while not ended.is_set():
        begin = time.monotonic()
        client.send_message("status")
        spent.append((time.monotonic() - begin) * 1000)
        time.sleep(0.002)
    spent.sort()
    print(json.dumps({"count": len(spent), "p50_ms": spent[len(spent) // 2], "p99_ms": spent[int(len(spent) * 0.99)]}))


if sys.argv[2] == "probe":
    probe()
    sys.exit(0)

clients, rounds = int(sys.argv[2]), int(sys.argv[3])
prober = subprocess.Popen([sys.executable, __file__, endpoint, "probe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def ask(client, command, **properties):
    begin = time.monotonic()
    reply = client.send_message(command, **properties)
    spent = time.monotonic() - begin
    with lock:
        if command == "status":
            waits.append(spent)
        if reply.get("status") == "error":
            problems.append([command, properties, reply.get("reason")])


def life(number):
    client = CircusClient(endpoint=endpoint, timeout=60.0)
    name = "w%d" % (number % 10)
    try:
        for turn in range(rounds):
            ask(client, "status")
            kind = (number + turn) % 6
            if kind == 0:
                ask(client, "restart", name=name, waiting=True)
            elif kind == 1:
                ask(client, "incr", name=name, waiting=True)
            elif kind == 2:
                ask(client, "decr", name=name, waiting=True)
            elif kind == 3:
                ask(client, "reload", name=name, waiting=True)
            elif kind == 4:
                ask(client, "set", name=name, options={"graceful_timeout": turn + 1})
            else:
                ask(client, "list", name=name)
    except CallError as error:
        with lock:
            problems.append(["client %d" % number, str(error)])
    finally:
        client.stop()


threads = [threading.Thread(target=life, args=(number,)) for number in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
measured = json.loads(prober.communicate()[0])
print(json.dumps({"problems": problems, "status": len(waits), "measured": measured}))
