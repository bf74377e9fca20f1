"""Papa's own test suite on our core: a core of its own for each test, as Papa's debug mode has a server of its own.

usage: papa_suite.py SUITE PAPA DIRECTORY PORT    SUITE is tests/__init__.py of Papa's source package; the core listens on PORT

The suite is read as it is, but for the network interface of the tests that bind to one: nothing listens beyond loopback. The
programs that it starts are not in the package; those in `papa_suite/executables` do what it expects of them.
"""
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
import types
import unittest

import papa
import papa_place

suite, program, directory, port = sys.argv[1:]
os.environ["LOGNAME"] = pwd.getpwuid(os.getuid()).pw_name
# Papa's package cannot send a variable that is empty, and the suite sends them all.
for name in [name for name, value in os.environ.items() if not value]:
    del os.environ[name]
tempfile.tempdir = directory
papa_place.use(port)


class Core:
    """The core of one test."""

    def __init__(self):
        self.socket = os.path.join(directory, "sock")
        self.process = subprocess.Popen([program, "-p", port, "-u", self.socket])
        self.pids = set()
        until = time.monotonic() + 20
        while not self.answers():
            assert time.monotonic() < until and self.process.poll() is None, "the core does not serve"
            time.sleep(0.01)

    def answers(self):
        return subprocess.run([program, "status", "-u", self.socket], capture_output=True).returncode == 0

    def end(self):
        """Takes everything away that the test has left: then the core ends by itself."""
        with papa.Papa() as core:
            for name, facts in core.list_processes().items():
                os.kill(facts["pid"], signal.SIGKILL)
                core.remove_processes(name)
            for name in core.list_sockets():
                core.remove_sockets(name)
            for name in core.list_values():
                core.remove_values(name)
            # A process that was killed a moment ago may have to end first.
            until = time.monotonic() + 20
            while not core.exit_if_idle():
                assert time.monotonic() < until, core.list_processes()
                time.sleep(0.01)
        assert self.process.wait(20) == 0, self.process.returncode


papa.set_debug_mode = lambda **_: None
tests = types.ModuleType("tests")
tests.__file__ = suite
with open(suite) as text:
    exec(compile(text.read().replace("eth0", "lo"), suite, "exec"), tests.__dict__)
tests.here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "papa_suite")


def run(chosen):
    """Runs tests, each a case and a name, one by one and gives those that failed."""
    failed, runner = [], unittest.TextTestRunner(verbosity=2)
    for case, name in chosen:
        core = Core()
        if not runner.run(case(name)).wasSuccessful():
            failed.append((case, name))
        core.end()
    return failed


cases = [case for case in vars(tests).values() if isinstance(case, type) and issubclass(case, unittest.TestCase)]
every = [(case, name) for case in cases for name in unittest.defaultTestLoader.getTestCaseNames(case)]
# Some tests of Papa's expect that 50 ms are enough for this and that; on a busy machine they may be right the second time.
failed = run(run(every))
print(f"{len(every)} tests, failed: {[name for _, name in failed]}")
