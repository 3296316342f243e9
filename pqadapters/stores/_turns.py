"""Whose turn it is at a store's lock.

Threads that queue up at a lock while each of them needs the interpreter's lock as well go forward one call at a time,
with two switches of threads for each: whoever has just let go of the lock finds it given to the first in the line, and
goes to its end. Such a line never ends by itself (a convoy: Blasgen, Gray, Mitoma and Price, "The convoy phenomenon",
1979). So there is no line: whoever comes first waits at the lock and is the next one; who finds that somebody does, be
it the thread that has just been at work, stays away while others are at it, up to a millisecond for each that does.
Then it waits at the lock itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Protocol, TypeVar

from ..apart import is_shared

T = TypeVar("T")

#: Seconds: the first look, about how long a turn is, and how long one stays away at most.
_FIRST, _TURN, _LONGEST = 0.0001, 0.001, 0.05


comers: set[CodeType] = set()  #: of the functions that ask for a turn, with what it is at among their variables


class Busy(Protocol):
    """What threads take turns at."""

    lock: Any  # an RLock: what Condition uses of it, too, is in no stub
    aside: int  #: how many threads stay away

    def is_busy(self) -> bool:
        """Whether a thread is at work, or waits at the lock."""


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


def _stay(core: Busy) -> None:
    if core.lock._is_owned() or is_shared():
        return
    turn = 0.0 if _in_a_loop() else _TURN
    core.aside += 1
    try:
        stayed, pause = 0.0, _FIRST
        while stayed <= min(turn * core.aside, _LONGEST):
            time.sleep(nap := min(pause * max(1, core.aside), _LONGEST) if turn else pause)
            if not core.is_busy():
                return
            stayed, pause = stayed + nap, 2 * pause
    finally:
        core.aside -= 1


def _in_a_loop() -> bool:
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)  # it may be on its way in
    return running is not None and running() is not None


def awoken(core: Busy) -> None:
    """`stay_away` for who was asleep: more of what it has waited for comes meanwhile."""
    if core.is_busy():
        _stay(core)
