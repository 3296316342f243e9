"""The main script, as workers that aren't forked import it: by the file of `__main__`, which the interpreter takes out
of it behind the script's last line. Pools that work off what is left begin workers then, and these would lack what the
jobs are of. Any thread may call anything.
"""

from __future__ import annotations

import sys
from types import ModuleType

_found: list[tuple[ModuleType, str]] = []  #: the last one alone counts


def find() -> None:
    """While it runs: which one it is."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if main is not None and file:
        _found[:] = [(main, file)]


def keep_file() -> None:
    """Before a worker may be begun: the module has its file, as it had."""
    for main, file in _found.copy():
        if not hasattr(main, "__file__"):
            main.__file__ = file
