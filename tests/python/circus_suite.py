"""A module of Circus 0.17.2's own tests, with Papa's package told where the core is.

usage: circus_suite.py PATH|PORT MODULE
"""
import sys
import unittest

import papa_place

place, module = sys.argv[1:]
papa_place.use(place)
unittest.main(module=module, argv=["circus_suite.py", "-v"])
