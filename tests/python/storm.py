"""Fifty clients at once: each sends its commands through the real client and checks every reply. Prints what came back."""
import json
import sys
import threading
import time

from circus.client import CircusClient
from circus.exc import CallError

endpoint, clients, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
lock, problems, waits = threading.Lock(), [], []


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
waits.sort()
p99 = waits[int(len(waits) * 0.99) - 1] if waits else None
print(json.dumps({"problems": problems, "status": len(waits), "p50": waits[len(waits) // 2], "p99": p99}))
