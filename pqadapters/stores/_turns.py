"""Whose turn it is at a store's lock.

Threads that queue up at a lock while each of them needs the interpreter's lock as well go forward one call at a time,
with two switches of threads for each: whoever has just let go of the lock finds it given to the first in the line, and
goes to its end. Such a line never ends by itself (a convoy: Blasgen, Gray, Mitoma and Price, "The convoy phenomenon",
1979). So there is no line: whoever comes first waits at the lock and is the next one; who finds that somebody does, and
has had a turn, stays away while others are at it, up to a turn for each that does, or until one of those finds nothing
to do, who may wait for what it brings. Then it waits at the lock itself.

A turn is as long as the interpreter's: who comes back asks for its lock, which each write gives up for a moment that is
too short to come by it, and all writes take twice their time until who asks is given it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any, Protocol, TypeVar

from ..apart import is_shared
from ..clock import SYSTEM

T = TypeVar("T")

#: Seconds: the first look, about how long a turn is, and how long one stays away at most; how long a loop does.
_FIRST, _TURN, _LONGEST, _MOMENT = 0.0005, 0.005, 0.05, 0.0001
#: Who comes now and then has been at rest for so many seconds at least, and at work for so small a part of the time.
_REST, _WORK = 0.001, 0.125
_FEW = 2  #: of those wait at the lock: more would be the line that never ends


class _Coming(threading.local):
    """When the thread came last, and how long it had been at work until then."""

    when = spent = 0.0

    def note(self) -> tuple[float, float]:
        """It comes now: how long it was away, and how much of that it was at work."""
        before, worked = self.when, self.spent
        self.when, self.spent = SYSTEM.monotonic(), time.thread_time()
        return self.when - before, self.spent - worked


_coming = _Coming()
comers: set[CodeType] = set()  #: of the functions that ask for a turn, with what it is at among their variables


class Rest:
    """Where a thread sleeps that stays away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def sleep(self, seconds: float) -> None:
        """So long, or until it is called."""
        self._lock.acquire(timeout=seconds)

    def call(self) -> None:
        """One of those that sleep here."""
        with suppress(RuntimeError):  # one is being called already
            self._lock.release()


class Busy(Protocol):
    """What threads take turns at."""

    lock: Any  # an RLock: what Condition uses of it, too, is in no stub
    aside: int  #: how many threads stay away
    rest: Rest  #: where they do

    def is_busy(self) -> bool:
        """Whether a thread is at work, or waits at the lock."""

    def in_line(self) -> int:
        """How many wait at the lock."""


class Counting(Busy, Protocol):
    """The same, that knows who waits."""

    coming: int  #: how many threads wait at the lock


def in_turn(core: Counting, call: Callable[[], T], *, polite: bool) -> T:
    """Make the call with the lock; `polite`: not before those who are at it."""
    if polite and core.coming > 0:
        stay_away(core)
    core.coming += 1
    came = False
    try:
        with core.lock:
            core.coming -= 1
            came = True
            return call()
    finally:
        if not came:
            core.coming -= 1


def stay_away(core: Busy) -> None:
    """To be called before the lock is taken, by who finds that somebody waits at it already.

    Returns when nobody is at work any more, or after its time, which is a moment where the tasks of an event loop wait
    with it; at once where what would be waited for is of this thread: a call that this one interrupts, or a greenlet's.
    """
    if not _interrupts_another(core):
        _stay(core)


def _interrupts_another(core: Busy) -> bool:
    """Whether a finalizer or signal handler asks, in a call of its thread that has come to the lock already."""
    frame: FrameType | None = sys._getframe(2)
    calls = 0
    while frame is not None and calls < 2:
        calls += frame.f_code in comers and any(value is core for value in frame.f_locals.values())
        frame = frame.f_back
    return calls == 2


def call_back(core: Busy) -> None:
    """For who finds nothing to do: one of those who stay away looks at once."""
    if core.aside > 0:
        core.rest.call()


def _stay(core: Busy) -> None:
    if core.lock._is_owned() or is_shared() or _comes_now_and_then(core):
        return
    turn, pause = (0.0, _MOMENT) if _in_a_loop() else (_TURN, _FIRST)
    core.aside += 1
    try:
        stayed = 0.0
        while stayed <= min(turn * core.aside, _LONGEST):
            core.rest.sleep(nap := min(pause * max(1, core.aside), _LONGEST) if turn else pause)
            if not core.is_busy():
                return
            stayed, pause = stayed + nap, 2 * pause
    finally:
        core.aside -= 1
        _coming.note()


def _comes_now_and_then(core: Busy) -> bool:
    """Who does has had no turn, and needs none: it waits at the lock, and is gone again."""
    away, worked = _coming.note()
    return worked < _WORK * away and away - worked > _REST and core.in_line() < _FEW


def _in_a_loop() -> bool:
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)  # it may be on its way in
    return running is not None and running() is not None


def awoken(core: Busy) -> None:
    """`stay_away` for who was asleep: more of what it has waited for comes meanwhile."""
    if core.is_busy():
        _stay(core)
