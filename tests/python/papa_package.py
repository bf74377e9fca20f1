"""Drives a core through the public API of Papa's own package: sockets, values, processes, watching, exit codes.

usage: papa_package.py PATH|PORT PREFIX    names begin with PREFIX; prints "done", or fails with what was wrong
"""
import select
import signal
import socket
import sys
from subprocess import DEVNULL, STDOUT

import papa
from papa import utils

place, prefix = sys.argv[1:]
place = int(place) if place.isdigit() else place
# The core is there already: the package must not start its own server.
papa.Papa._spawn_papa_server = lambda self: None
ENV = {"PATH": "/usr/bin:/bin", "SPACED": "x y", "BACKSLASH": "end\\"}


def same(found, wanted):
    assert found == wanted, f"{found!r}, not {wanted!r}"


def collect(watcher):
    """Reads as Circus does: waits for the descriptor, then reads one batch."""
    out, err, stamps = b"", b"", []
    while watcher:
        readable, _, _ = select.select([watcher], [], [], 20)
        assert readable, f"nothing to read after {out!r} {err!r}"
        reply = watcher.read()
        if reply is None:
            break
        for kind in reply[:2]:
            assert all(item.name.startswith(prefix) for item in kind), reply
        out += b"".join(item.data for item in reply[0])
        err += b"".join(item.data for item in reply[1])
        stamps += [item.timestamp for item in reply[0]]
        watcher.acknowledge()
    same(stamps, sorted(set(stamps)))
    return out, err


def sockets(p):
    name = prefix + "web"
    made = p.make_socket(name, host="localhost", port=0, backlog=7)
    same((made["family"], made["type"], made["backlog"], made["host"]), ("inet", "stream", 7, "localhost"))
    same(p.make_socket(name, host="localhost", backlog=7), made)
    same(p.list_sockets(name), {name: made})
    try:
        p.make_socket(name, host="localhost", backlog=8)
        raise AssertionError("made twice")
    except utils.Error as error:
        assert "has already been created" in str(error), error
    code = "import socket,sys; s=socket.socket(fileno=int(sys.argv[1])); c,_=s.accept(); c.sendall(b'served')"
    p.make_process(prefix + "server", sys.executable, ["-c", code, f"$(socket.{name}.fileno)"], env=ENV)
    with socket.create_connection(("127.0.0.1", made["port"]), timeout=20) as client:
        same(client.makefile("rb").read(), b"served")
    same(collect(p.watch_processes(prefix + "server")), (b"", b""))
    p.remove_sockets(name)
    same(p.list_sockets(name), {})


def values(p):
    p.set(prefix + "a", "one two  three")
    p.set(prefix + "b", "2")
    same(p.get(prefix + "a"), "one two  three")
    same(p.list_values(prefix + "*"), {prefix + "a": "one two  three", prefix + "b": "2"})
    p.set(prefix + "a")
    same(p.get(prefix + "a"), None)
    p.remove_values(prefix + "*")
    same(p.list_values(prefix + "*"), {})


def processes(p):
    name = prefix + "talk"
    script = 'echo out "$SPACED$BACKSLASH"; echo err >&2; exit 3'
    made = p.make_process(name, "/bin/sh", ["-c", script], env=ENV)
    same(p.make_process(name, "/bin/sh", ["-c", script], env=ENV)["pid"], made["pid"])
    watcher = p.watch_processes(name)
    same(collect(watcher), (b"out x yend\\\n", b"err\n"))
    same(watcher.exit_code, {name: 3})
    same(p.list_processes(name), {})
    watcher = p.make_process(name, "/bin/sh", ["-c", "echo a; echo b >&2; kill -9 $$"], env=ENV, stderr=STDOUT,
                             watch_immediately=True)
    same(collect(watcher), (b"a\nb\n", b""))
    same(watcher.exit_code, {name: -signal.SIGKILL})
    watcher = p.make_process(name, "/bin/echo", "unheard", stdout=DEVNULL, rlimits={"nofile": 64},
                             watch_immediately=True)
    same(collect(watcher), (b"", b""))
    same(watcher.exit_code, {name: 0})


def recovery(p):
    """A watcher that vanishes without acknowledging loses nothing; a second connection gets it all."""
    name = prefix + "kept"
    p.make_process(name, "/bin/sh", ["-c", "for i in 1 2 3; do echo $i; done; exit 7"], env=ENV)
    first = papa.Papa(place)
    watcher = first.watch_processes(name)
    assert select.select([watcher], [], [], 20)[0]
    watcher.read()
    watcher.connection.sock.close()
    watcher = p.watch_processes(name)
    same(collect(watcher), (b"1\n2\n3\n", b""))
    same(watcher.exit_code, {name: 7})


with papa.Papa(place) as p:
    for part in (sockets, values, processes, recovery):
        part(p)
    assert p.exit_if_idle() if prefix == "last." else True
print("done")
