"""Where threads sleep that stay away from a store while others are at it, and who calls them: see stores/_turns.py.

They are called by who is at it as its turn ends, or as it goes: to wait for something else, or for good.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from enum import IntEnum

from .living import living


class Call(IntEnum):
    """What a sleeper was called for."""

    NONE = 0  #: it wasn't
    LOOK = 1  #: nobody may be at work any more
    TURN = 2  #: it has the turn of who has called it, and goes away


class _Bed:
    def __init__(self) -> None:
        self.lock, self.call = threading.Lock(), Call.NONE
        self.lock.acquire()


class Rest:
    """Any thread may sleep here, and call. Who came first is called first."""

    def __init__(self) -> None:
        self._beds: deque[_Bed] = deque()

    def sleep(self, seconds: float) -> Call:
        """So long, or until it is called."""
        bed = _Bed()
        self._beds.append(bed)
        try:
            bed.lock.acquire(timeout=seconds)
            self._rise(bed)
        except BaseException:  # of a signal handler
            self._rise(bed)
            if bed.call:
                self.call(bed.call)  # another one, in our place
            raise
        return bed.call

    def _rise(self, bed: _Bed) -> None:
        with suppress(ValueError):  # it was called
            self._beds.remove(bed)

    def call(self, call: Call = Call.LOOK) -> bool:
        """The one that has slept longest, if there is one."""
        try:
            bed = self._beds.popleft()
        except IndexError:
            return False
        bed.call = call
        bed.lock.release()
        return True


class _Visits:
    """Where a thread has been at it. What it keeps among its local variables goes as it ends."""

    def __init__(self) -> None:
        self._places: list[weakref.ref[Rest]] = []
        _all.add(self)

    def add(self, place: Rest) -> None:
        if not any(ref() is place for ref in self._places):
            self._places = [ref for ref in self._places if ref() is not None]
            self._places.append(weakref.ref(place))

    def end(self) -> None:
        if self._places:
            places, self._places = self._places, []
            for ref in places:
                place = ref()
                if place is not None:
                    place.call()

    __del__ = end


_all: weakref.WeakSet[_Visits] = weakref.WeakSet()
_kept: list[_Visits] = []  #: while a process forks


def _keep() -> None:
    """In a child those of threads that it hasn't would go at once, and run code of ours: a signal that came before the
    fork would be handled there once more, while all locks are held by threads that it hasn't, those of `logging`, too.
    """
    _kept.extend(living(_all))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_keep, after_in_parent=_kept.clear, after_in_child=_kept.clear)


class _Here(threading.local):
    def __init__(self) -> None:
        self.visits = _Visits()


_here = _Here()


def visit(place: Rest) -> None:
    """This thread is at it from now on, if it wasn't."""
    _here.visits.add(place)


def leave() -> None:
    """This thread waits for something else now: wherever it was, one of those who stay away for it is called."""
    _here.visits.end()
