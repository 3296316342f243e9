"""In which order threads that wait for room in a spool get it: the one that has waited longest looks for it first.

A thread that comes back with the next record while others wait goes behind them, or the quickest would take all room
that there is. No lock is held: a signal handler or a finalizer that logs may come in anywhere. It has the place of the
thread in which it came, since nothing goes on there before it is through.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from ...clock import SYSTEM

PATIENCE = 1.0  #: seconds: who is first and doesn't look for so long may itself wait for one of those behind it


class Waiting:
    """Any thread may call anything."""

    def __init__(self) -> None:
        self._bells: dict[int, threading.Lock] = {}  #: by thread, in the order in which they came
        self._looked = SYSTEM.monotonic()  #: the first one, or it became the first

    def __bool__(self) -> bool:
        return bool(self._bells)

    @property
    def has_this(self) -> bool:
        """Whether the calling thread waits."""
        return threading.get_ident() in self._bells

    def come(self) -> threading.Lock:
        """Behind all others, unless it is there. What is released when it is this one's turn."""
        bell = self._bells.get(threading.get_ident())
        if bell is None:
            bell = threading.Lock()
            bell.acquire()
            if not self._bells:
                self._looked = SYSTEM.monotonic()
            self._bells[threading.get_ident()] = bell
        return bell

    def may_look(self) -> bool:
        """Whether it is this one's turn to look for room. Who doesn't take its turn loses its place."""
        now, first = SYSTEM.monotonic(), next(iter(list(self._bells)), 0)
        if first == threading.get_ident():
            self._looked = now
            return True
        if now - self._looked > PATIENCE:
            self._leave(first)
        return False

    def sleep(self, seconds: float) -> None:
        """So long, or until it is this one's turn. Comes again where it was passed over, or this is a forked child."""
        self.come().acquire(timeout=seconds)

    def go(self) -> None:
        """It waits no longer, and who comes behind it looks."""
        self._leave(threading.get_ident())

    def _leave(self, who: int) -> None:
        self._looked = SYSTEM.monotonic()
        self._bells.pop(who, None)
        for bell in list(self._bells.values())[:1]:
            with suppress(RuntimeError):  # it was called already
                bell.release()
