"""Which modules are the program's own: those in which imports are swapped.

All that isn't the standard library's, ours, or installed: in a directory called site-packages or dist-packages, that of
a virtual environment beside the program as well. What `--also` names is the program's own wherever it is, and so is
what `-m` names, unless it is the standard library's or runs other people's programs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STDLIB = os.path.dirname(os.__file__)
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OTHERS = tuple(os.path.normcase(os.path.join(path, "")) for path in {_STDLIB, os.path.realpath(_STDLIB), _OURS})


class Ownership:
    """`packages`: top-level names that are the program's own wherever they are."""

    def __init__(self, packages: Iterable[str]) -> None:
        self._packages = frozenset(packages) - {"pqadapters"}

    def has(self, module: str, path: str) -> bool:
        """Whether the module of that file is the program's own."""
        return module.partition(".")[0] in self._packages or has_file(path)


def has_file(path: str) -> bool:
    """Whether a file is where a program's own are."""
    absolute = os.path.normcase(os.path.abspath(path))
    return not absolute.startswith(_OTHERS) and _INSTALLED.isdisjoint(absolute.split(os.sep))


def is_stdlibs(origin: str | None) -> bool:
    """Whether a module that was found there is the standard library's."""
    if origin in ("built-in", "frozen"):
        return True
    path = os.path.normcase(os.path.abspath(origin or "."))
    return not has_file(path) and _INSTALLED.isdisjoint(path.split(os.sep)) and not path.startswith(_OURS)
