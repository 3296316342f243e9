"""Forks: what SQLite remembers of a process's locks would go along to the child, which hasn't any of them. So no
connection is open across a fork, and no thread inside SQLite.

https://www.sqlite.org/howtocorrupt.html, 2.6
"""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ....clock import SYSTEM
from ....forking import DATABASES, before_fork, hold_at_fork
from ....living import living
from ..._cores import Cores

if TYPE_CHECKING:
    from ..core import Core

_LONGEST = 5.0  #: seconds that a fork waits for what other threads are about


class Standstill:
    """No connection of a core is open, and none can be opened, from `begin` to `end`."""

    def __init__(self) -> None:
        self.reached = False
        self._held: list[Any] = []  #: locks

    def begin(self, core: Core) -> None:
        """Wait for it, a while."""
        deadline = SYSTEM.monotonic() + _LONGEST
        while not core.writer.in_the_middle() and SYSTEM.monotonic() < deadline:
            if self._lock_all(core):
                self._part_soon(core, True)
                self._disconnect(core)
                self.reached = True
                return
            self._unlock()
            time.sleep(0.0005)  # four locks can't be waited for at once, and one after the other would be a deadlock

    def end(self, core: Core) -> None:
        """In the parent, behind the fork."""
        self.reached = False
        self._part_soon(core, False)
        self._unlock()

    def _lock_all(self, core: Core) -> bool:
        for lock in (core.writer.lock, core.reader.lock, core.lookout.reader.lock, core.aside):
            self._held.append(lock)  # before it is taken: it may be, whatever a signal handler raises
            if not lock.acquire(blocking=False):
                self._held.pop()
                return False
        return True

    def _unlock(self) -> None:
        while self._held:
            with suppress(RuntimeError):  # it isn't ours: a signal handler came before it was taken, or behind this
                self._held[-1].release()
            self._held.pop()

    @staticmethod
    def _disconnect(core: Core) -> None:
        with suppress(sqlite3.Error):
            core.writer.disconnect_locked()
        core.reader.close()
        core.lookout.reader.close()

    @staticmethod
    def _part_soon(core: Core, fleeting: bool) -> None:
        """From there to the fork nobody comes but this thread: by what others do before a fork, and signal handlers."""
        core.writer.fleeting = core.reader.fleeting = core.lookout.reader.fleeting = fleeting


cores: Cores[Core] = Cores()
connected: weakref.WeakSet[Core] = weakref.WeakSet()  #: those, and what is being closed
inherited: list[object] = []  #: marks, and connections of stores that couldn't be held still: never closed
_standing: list[Core] = []  #: those of them that are held still, of which some may be closed meanwhile


def _be_ready() -> None:
    """What a child needs is imported here, once: there a Ctrl-C in the middle of it would be lost, as is whatever is
    raised at a fork."""
    if len(connected):
        with suppress(ImportError):
            import ctypes  # noqa: F401


def _hold_still() -> None:
    cores.opening().acquire()
    for core in living(connected):
        _standing.append(core)
        core.standstill.begin(core)


def _go_on() -> None:
    opening: Any = cores.opening()
    if opening._is_owned():  # else another thread forks just now, and these are its
        while _standing:
            _standing[-1].standstill.end(_standing[-1])
            _standing.pop()
        opening.release()


def _begin_again() -> None:
    cores.renew()
    for core in {*living(connected), *_standing}:
        core.begin_again()
    _standing.clear()
    _keep_for_ever(inherited)


def _keep_for_ever(things: list[object]) -> None:
    """One reference more, which nobody gives back: not even the end of the interpreter closes them."""
    with suppress(ImportError):
        import ctypes

        for thing in things:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    before_fork(_be_ready)
    hold_at_fork(DATABASES, _hold_still, _go_on)
    os.register_at_fork(after_in_child=_begin_again)
