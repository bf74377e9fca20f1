"""Hooks in the style of Circus's documentation, and some that misbehave."""

import os
import signal
import socket
import sys
import threading


def check_redis(watcher, arbiter, hook_name):
    """Starts only when the server answers."""
    host, port = watcher.env["REDIS"].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as server:
        server.sendall(b"PING\r\n")
        return server.recv(64).startswith(b"+PONG")


born = []


def children_started(watcher, arbiter, hook_name, pid, **kwargs):
    """As for uwsgi: notes the process."""
    assert hook_name == "after_spawn"
    born.append(pid)
    return True


def children_signal(watcher, arbiter, hook_name, pid, signum, **kwargs):
    """As for uwsgi: one signal has another meaning here."""
    assert pid in watcher.pids and watcher.processes[pid].pid == pid
    return signum != signal.SIGUSR1


def extended_stats(watcher, arbiter, hook_name, pid, stats, **kwargs):
    other = arbiter.get_watcher("other")
    stats["born"] = born.index(pid)
    stats["others"] = other.pids
    stats["cmd"] = watcher.cmd
    stats["endpoint"] = arbiter.endpoint


def more_of_other(watcher, arbiter, hook_name):
    arbiter.get_watcher("other").incr(1)
    return True


def hangs(watcher, arbiter, hook_name, **kwargs):
    threading.Event().wait()


def raises(watcher, arbiter, hook_name, **kwargs):
    raise ValueError("no such luck")


def exits(watcher, arbiter, hook_name, **kwargs):
    os._exit(3)


def leaves(watcher, arbiter, hook_name, **kwargs):
    sys.exit(4)


def says_no(watcher, arbiter, hook_name, **kwargs):
    return False
