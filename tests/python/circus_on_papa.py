"""circusd 0.17.2 as it is, with Papa's package told where the core is (Circus's own `papa_endpoint` comes too late for that).

usage: circus_on_papa.py PATH|PORT [ARGUMENT ...]
"""
import sys

import papa
from circus.circusd import main

place = sys.argv.pop(1)
if place.isdigit():
    papa.set_default_port(int(place))
else:
    papa.set_default_path(place)


def refuse(self):
    raise SystemExit("the core is not there, and Papa's own server is not wanted")


papa.Papa._spawn_papa_server = refuse
main()
