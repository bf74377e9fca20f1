"""The Python in which circusd runs hooks that are Python callables.

circusd sends one JSON object a line on a socket (standard input at first) and gets one a line back; see hooks/wire.rs.
Calls for one watcher run one after another, for different watchers side by side. It ends when circusd does. What it imports by is
python/importing.py, which comes in front of this.
"""

import collections
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback

# circusd answers in microseconds; one that does not is ending.
ANSWER_SECONDS = 10

channel = socket.socket(fileno=os.dup(0))
with open(os.devnull) as nothing:
    os.dup2(nothing.fileno(), 0)
sending = threading.Lock()
numbers = itertools.count(1)
answers = {}


def send(message):
    line = json.dumps(message, default=str).encode() + b"\n"
    with sending:
        channel.sendall(line)


class CallError(Exception):
    """circusd has refused a command."""


def call(command, **properties):
    """One of Circus's commands; its answer as a dict."""
    number = next(numbers)
    arrived = threading.Event()
    answers[number] = [arrived, None]
    request = {"id": str(number), "command": command, "properties": properties}
    send({"said": "ask", "ask": number, "call": request})
    try:
        if not arrived.wait(ANSWER_SECONDS):
            raise CallError("circusd does not answer %r" % command)
        reply = answers[number][1]
    finally:
        del answers[number]
    if not isinstance(reply, dict) or reply.get("status") == "error":
        raise CallError(reply.get("reason") if isinstance(reply, dict) else repr(reply))
    return reply


class Process:
    """A process of a watcher, as it was when the hook was called."""

    def __init__(self, watcher, facts):
        self.watcher = watcher
        self.pid = facts["pid"]
        self.wid = facts.get("wid")
        self.started = facts.get("started")
        self.name = watcher.name

    def age(self):
        return time.time() - (self.started or time.time())

    def is_alive(self):
        return os.path.exists("/proc/%d" % self.pid)

    def send_signal(self, signum):
        return self.watcher.send_signal(self.pid, signum)

    def stop(self):
        return self.watcher.kill_process(self)

    def info(self):
        return self.watcher.process_info(self.pid)

    def __repr__(self):
        return "<Process %s %d>" % (self.name, self.pid)


class Watcher:
    """A watcher. Options are attributes; what changes something goes through circusd's own commands."""

    def __init__(self, name, arbiter):
        self.__dict__.update(name=name, arbiter=arbiter, facts=None)

    def __getattr__(self, key):
        facts = self._facts()
        if key in facts:
            return facts[key]
        if key in facts["options"]:
            return facts["options"][key]
        raise AttributeError("watcher %r has no %r" % (self.name, key))

    def __setattr__(self, key, value):
        facts = self._facts()
        if key in facts or key in facts["options"]:
            raise AttributeError("use watcher.set_opt(%r, ...) to change an option" % key)
        self.__dict__[key] = value

    def _facts(self):
        if self.__dict__["facts"] is None:
            self.refresh()
        return self.__dict__["facts"]

    def refresh(self):
        """Asks circusd for everything anew."""
        options = call("options", name=self.name)["options"]
        self.__dict__["facts"] = {
            "options": options,
            "env": options.get("env") or {},
            "res_name": self.name.lower().replace(" ", "_"),
            "status": call("status", name=self.name)["status"],
            "processes": [{"pid": pid} for pid in call("list", name=self.name)["pids"]],
        }

    @property
    def processes(self):
        return {facts["pid"]: Process(self, facts) for facts in self._facts()["processes"]}

    @property
    def pids(self):
        return [facts["pid"] for facts in self._facts()["processes"]]

    def get_active_processes(self):
        return list(self.processes.values())

    def status(self):
        return self._facts()["status"]

    def is_stopped(self):
        return self.status() == "stopped"

    def is_active(self):
        return self.status() == "active"

    def options(self, *_):
        return sorted(self._facts()["options"].items())

    def _call(self, command, **properties):
        return call(command, name=self.name, **properties)

    def send_signal(self, pid, signum):
        return self._call("signal", pid=pid, signum=int(signum))

    def send_signal_child(self, pid, child_id, signum):
        return self._call("signal", pid=pid, childpid=int(child_id), signum=int(signum))

    def send_signal_children(self, pid, signum, recursive=False):
        return self._call("signal", pid=pid, signum=int(signum), children=True, recursive=recursive)

    def kill_process(self, process, stop_signal=None, graceful_timeout=None):
        pid = process.pid if isinstance(process, Process) else int(process)
        return self._kill(stop_signal, graceful_timeout, pid=pid)

    def kill_processes(self, stop_signal=None, graceful_timeout=None):
        return self._kill(stop_signal, graceful_timeout)

    def _kill(self, stop_signal, graceful_timeout, **properties):
        if stop_signal is not None:
            properties["signum"] = int(stop_signal)
        if graceful_timeout is not None:
            properties["graceful_timeout"] = graceful_timeout
        return self._call("kill", **properties)

    def start(self):
        return self._call("start")

    def stop(self, *_, **__):
        return self._call("stop")

    def restart(self):
        return self._call("restart")

    def reload(self, graceful=True, sequential=False):
        return self._call("reload", graceful=graceful, sequential=sequential)

    def incr(self, nb=1):
        return self._call("incr", nb=nb).get("numprocesses")

    def decr(self, nb=1):
        return self._call("decr", nb=nb).get("numprocesses")

    def set_numprocesses(self, number):
        return self.set_opt("numprocesses", number)

    def set_opt(self, key, value):
        return self._call("set", options={key: value})

    def info(self, extended=False):
        return self._call("stats", extended=False)["info"]

    def process_info(self, pid, extended=False):
        return self._call("stats", process=pid)["info"]

    def __repr__(self):
        return "<Watcher %s>" % self.name


class Arbiter:
    """circusd, as far as its commands reach."""

    def __init__(self):
        self.known = {}
        self.pid = os.getppid()

    def _watcher(self, name):
        return self.known.setdefault(name.lower(), Watcher(name, self))

    def get_watcher(self, name):
        watcher = self._watcher(name)
        try:
            watcher.refresh()
        except CallError as error:
            self.known.pop(name.lower(), None)
            raise KeyError(name) from error
        return watcher

    @property
    def watchers(self):
        return [self.get_watcher(name) for name in call("list")["watchers"]]

    def iter_watchers(self):
        return iter(self.watchers)

    def statuses(self):
        return call("status")["statuses"]

    def numwatchers(self):
        return call("numwatchers")["numwatchers"]

    def numprocesses(self):
        return call("numprocesses")["numprocesses"]

    def start_watcher(self, watcher):
        return watcher.start()

    def start_watchers(self):
        return call("start")

    def stop_watchers(self):
        return call("stop")

    def restart(self):
        return call("restart")

    def reload(self, graceful=True, sequential=False):
        return call("reload", graceful=graceful, sequential=sequential)

    def add_watcher(self, name, cmd, **options):
        call("add", name=name, cmd=cmd, options=options)
        return self.get_watcher(name)

    def rm_watcher(self, name, nostop=False):
        return call("rm", name=name, nostop=nostop)

    def call(self, command, **properties):
        return call(command, **properties)

    def __getattr__(self, key):
        if key.startswith("_"):
            raise AttributeError(key)
        options = call("globaloptions")["options"]
        if key in options:
            return options[key]
        raise AttributeError("the arbiter has no %r" % key)


arbiter = Arbiter()
generations = {}


def hook_of(job):
    add_folders(job["path"])
    key = (job["watcher"], job["target"])
    fresh = generations.get(key, job["generation"]) != job["generation"]
    found = load(job["target"], fresh)
    generations[key] = job["generation"]
    return found


def run_hook(job):
    send({"said": "began", "ticket": job["ticket"]})
    result = {"ticket": job["ticket"]}
    try:
        hook = hook_of(job)
    except BaseException as error:
        result.update(said="no_import", message="%s: %s" % (type(error).__name__, error), path=sys.path)
        result.update(traceback=traceback.format_exc())
        return send(result)
    watcher = arbiter._watcher(job["watcher"])
    watcher.__dict__["facts"] = job["snapshot"]
    try:
        if job["name"] == "extended_stats":
            stats = job["facts"]["stats"]
            for pid, infos in stats.items():
                hook(watcher, arbiter, job["name"], pid=int(pid), stats=infos)
            result.update(said="done", truth=True, stats=stats)
        else:
            truth = bool(hook(watcher, arbiter, job["name"], **job["facts"]))
            result.update(said="done", truth=truth, stats=None)
        line = result
    except BaseException as error:
        line = {"said": "raised", "ticket": job["ticket"], "message": message_of(error)}
        line["traceback"] = traceback.format_exc()
    send(line)


class Turns:
    """The calls of each watcher, one after another."""

    def __init__(self):
        self.lock = threading.Lock()
        self.waiting = {}

    def add(self, job):
        name = job["watcher"]
        with self.lock:
            queue = self.waiting.get(name)
            if queue is not None:
                queue.append(job)
                return
            self.waiting[name] = collections.deque([job])
        threading.Thread(target=self.run, args=(name,), name="hooks of " + name, daemon=True).start()

    def run(self, name):
        while True:
            with self.lock:
                if not self.waiting[name]:
                    del self.waiting[name]
                    return
                job = self.waiting[name].popleft()
            run_hook(job)


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    turns = Turns()
    with channel.makefile("rb") as lines:
        for line in lines:
            message = json.loads(line)
            if message["do"] == "hook":
                turns.add(message)
            elif message["do"] == "reply":
                waiting = answers.get(message["ask"])
                if waiting is not None:
                    waiting[1] = message["reply"]
                    waiting[0].set()
    os._exit(0)


main()
