"""Modules of the program's own that hide some of the standard library's: the program finds them, ours don't.

What of ours needs the standard library's is imported before the program's directories come into `sys.path`, and what
they hide of it is forgotten then: our modules have it, the program imports its own. In the main thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.machinery import PathFinder
from itertools import takewhile

from .ownership import is_stdlibs

#: What Python has imported before any program: a program's own module of that name is never found.
_ALWAYS_THERE = frozenset(
    {"abc", "codecs", "encodings", "genericpath", "io", "ntpath", "os", "posixpath", "site", "stat", "zipimport"}
).union(sys.builtin_module_names)


def hidden_in(directories: Iterable[str]) -> list[str]:
    """The modules of the standard library of which the program has one of its own in one of them."""
    return sorted({name for directory in directories for name in _hidden_in(directory)})


def _hidden_in(directory: str) -> list[str]:
    names = sys.stdlib_module_names - _ALWAYS_THERE
    with suppress(OSError):  # an archive: all of them are looked for
        names &= {entry.partition(".")[0] for entry in os.listdir(directory or os.curdir)}
    specs = [(name, PathFinder.find_spec(name, [directory])) for name in names]
    return [name for name, spec in specs if spec is not None and spec.origin is not None]  # a mere directory hides none


def forget(tops: Iterable[str]) -> None:
    """Modules that we have imported: the program's would have been found first."""
    for top in set(tops).difference(_before_us()):
        if top in sys.modules and is_stdlibs(getattr(sys.modules[top].__spec__, "origin", None)):
            for name in [name for name in sys.modules if f"{name}.".startswith(f"{top}.")]:
                del sys.modules[name]


def _before_us() -> Iterator[str]:
    """What had been imported when Python came to `-m pqadapters`, such as by site-packages' .pth files: any program
    finds it there."""
    return takewhile(lambda name: name not in ("runpy", "pqadapters"), list(sys.modules))
