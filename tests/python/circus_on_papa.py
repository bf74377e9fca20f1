"""circusd 0.17.2 as it is, with Papa's package told where the core is (Circus's own `papa_endpoint` comes too late for that).

usage: circus_on_papa.py PATH|PORT [ARGUMENT ...]
"""
import sys

import papa_place
from circus.circusd import main

papa_place.use(sys.argv.pop(1))
main()
