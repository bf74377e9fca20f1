"""What a dotted name means: the part that hooks and stream classes share. It comes in front of their sources."""

import importlib
import os
import sys


def add_folders(path):
    """Puts folders, separated by colons, in front of sys.path."""
    for folder in reversed((path or "").split(os.pathsep)):
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)
    importlib.invalidate_caches()


def load(target, fresh):
    """The callable that "package.module.name" or "module:name" names."""
    if ":" in target:
        module, _, rest = target.partition(":")
        splits = [(module, rest.split("."))]
    else:
        words = target.split(".")
        splits = [(".".join(words[:n]), words[n:]) for n in range(len(words) - 1, 0, -1)]
    if not splits:
        raise ImportError("expected package.module.name or module:name")
    for position, (module, names) in enumerate(splits):
        was_there = module in sys.modules
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            part_of_it = error.name and (module + ".").startswith(error.name + ".")
            if part_of_it and position + 1 < len(splits):
                continue
            raise
        if fresh and was_there:
            found = importlib.reload(found)
        for name in names:
            found = getattr(found, name)
        if not callable(found):
            raise TypeError("%r is not callable" % (found,))
        return found


def message_of(error):
    return str(error) or type(error).__name__


