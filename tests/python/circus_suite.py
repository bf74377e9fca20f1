"""A module of Circus 0.17.2's own tests, with Papa's package told where the core is.

usage: circus_suite.py PATH|PORT MODULE
"""
import sys
import unittest

import papa

place, module = sys.argv[1:]
if place.isdigit():
    papa.set_default_port(int(place))
else:
    papa.set_default_path(place)


def refuse(self):
    raise SystemExit("the core is not there, and Papa's own server is not wanted")


papa.Papa._spawn_papa_server = refuse
unittest.main(module=module, argv=["circus_suite.py", "-v"])
