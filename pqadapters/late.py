"""Modules of the standard library that few programs need of us, and that take a while to load: imported when they are
used, and kept.

Under `run` a program may have a module of its own by such a name, or by that of one which these need. Then all are
loaded while that can't be found yet. Any thread may call anything.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

_ALL = ("shutil", "tempfile")


@cache
def late(name: str) -> Any:
    """The module of that name, one of these."""
    assert name in _ALL, name
    return import_module(name)


def load_all() -> None:
    """From here on the program's own are in nobody's way."""
    for name in _ALL:
        late(name)
