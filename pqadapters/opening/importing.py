"""Imports that must be over before anybody forks."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from importlib import import_module

from ..forking import before_fork

_STORES = f"{__name__.partition('.')[0]}.stores"
_FIRST = ("segment", "segment.slots", "segment.estates", "sqlite")  #: which the first queue of a process imports
_MYSQL = f"{_STORES}.mysql"


def load_databases() -> None:
    """Import what a database needs before anybody forks: what is loaded first looks after its own forks first."""
    import_module(f"{_STORES}.sqlite")


def load_for(url: str) -> None:
    """The same for the store of that URL, if it is one."""
    if url.partition(":")[0].strip().lower() == "sqlite":
        load_databases()


def load_slots() -> None:
    """Import what slots need, so that no thread's first use of one does: were the process forked in the middle of that,
    the module would stay locked in the child for ever."""
    import_module(f"{_STORES}.segment.slots")


def _import_all() -> None:
    """Before a fork: a thread that is importing one of them would leave its lock to the child, for ever."""
    if threading.active_count() > 1:
        begun = [_MYSQL] if _MYSQL in sys.modules else []
        for name in ("platformdirs", *(f"{_STORES}.{name}" for name in _FIRST), *begun):
            with suppress(ImportError, OSError):  # the latter for want of a descriptor; the process forks nevertheless
                import_module(name)


before_fork(_import_all)
