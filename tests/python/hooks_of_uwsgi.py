"""The three hooks that Circus's examples have for uWSGI: wait for the children, turn one signal into another, ask for statistics."""

import json
import signal
import socket
import time


def ask(watcher):
    with socket.create_connection(("127.0.0.1", int(watcher.env["STATS"])), timeout=5) as server:
        return json.loads(server.makefile().read())


def children_started(watcher, arbiter, hook_name, pid, **kwargs):
    """A process is there when its children are."""
    while True:
        try:
            return len(ask(watcher)["workers"]) == int(watcher.env["CHILDREN"])
        except OSError:
            if not watcher.processes[pid].is_alive():
                return False
            time.sleep(0.01)


def clean_stop(watcher, arbiter, hook_name, pid, signum, **kwargs):
    """SIGQUIT would end the parent; it is to stop one child."""
    if signum != signal.SIGQUIT:
        return True
    watcher.send_signal(pid, signal.SIGHUP)
    return False


def extended_stats(watcher, arbiter, hook_name, pid, stats, **kwargs):
    stats["children"] = ask(watcher)["workers"]
    stats["uwsgi"] = "like"
