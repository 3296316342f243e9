"""Whose turn it is at a store's lock.

Threads that queue up at a lock while each of them needs the interpreter's lock as well go forward one call at a time,
with two switches of threads for each: whoever has just let go of the lock finds it given to the first in the line, and
goes to its end. Such a line never ends by itself (a convoy: Blasgen, Gray, Mitoma and Price, "The convoy phenomenon",
1979). So there is no line: whoever comes first waits at the lock and is the next one; who finds that somebody does, and
has had a turn, stays away while others are at it. Then it waits at the lock itself.

Who is at it ends its turn itself: it calls the one that has been away longest, and goes there. Nobody else comes back
to look, after the first time: who does asks for the interpreter's lock, which each write gives up for a moment that is
too short to come by it, and all writes take twice their time until who asks is given it. Who is done otherwise calls
one as well, where it can be told: it finds nothing to do, and may wait for what that one brings, or it waits for
something else of ours (`resting.leave`), or its thread ends. Where it can't, as of a thread that does other things from
now on, those that are away come back by themselves, later.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Protocol, TypeVar

from ..apart import is_shared
from ..clock import SYSTEM
from ..resting import Call, Rest, visit

T = TypeVar("T")

#: Seconds: the first look, how long a turn is at most, and that of all together; how long a loop stays away.
_FIRST, _TURN, _ROUND, _MOMENT = 0.0005, 0.01, 0.04, 0.0001
_LATE = 0.5  #: of a turn: so much longer than those of all others one waits to be called
#: Who comes now and then has been at rest for so many seconds at least, and at work for so small a part of the time.
_REST, _WORK = 0.001, 0.125
_FEW = 2  #: of those wait at the lock: more would be the line that never ends


class _Coming(threading.local):
    """When the thread came last, and how long it had been at work until then."""

    when = spent = 0.0
    called = False  #: its last stay ended with the turn of another one: those who are at it go on for long

    def note(self) -> tuple[float, float]:
        """It comes now: how long it was away, and how much of that it was at work."""
        before, worked = self.when, self.spent
        self.when, self.spent = SYSTEM.monotonic(), time.thread_time()
        return self.when - before, self.spent - worked


_coming = _Coming()
comers: set[CodeType] = set()  #: of the functions that ask for a turn, with what it is at among their variables


class Busy(Protocol):
    """What threads take turns at."""

    lock: Any  # an RLock: what Condition uses of it, too, is in no stub
    aside: int  #: how many threads stay away
    rest: Rest  #: where they do
    since: float  #: when the turn began, in monotonic seconds

    def is_busy(self) -> bool:
        """Whether a thread is at work, or waits at the lock."""

    def in_line(self) -> int:
        """How many wait at the lock."""

    def keep_watch(self) -> None:
        """Whoever is at it asks now and then whether its turn is over, as long as somebody stays away."""


class Counting(Busy, Protocol):
    """The same, that knows who waits."""

    coming: int  #: how many threads wait at the lock


def in_turn(core: Counting, call: Callable[[], T], *, polite: bool, asks: bool = False) -> T:
    """Make the call with the lock; `polite`: not before those who are at it; `asks`: it is time to ask for its turn."""
    if asks:
        core.keep_watch()
    passes_by = not (polite and give_way(core, asks))
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
        if passes_by and not core.is_busy():
            call_back(core)


def give_way(core: Busy, asks: bool) -> bool:
    """To be called before the lock is taken, by who finds that others wait at it, or `asks` whether its turn is over.

    Returns when nobody is at work any more, when it is called, or after its time, which is a moment where the tasks of
    an event loop wait with it; at once where what would be waited for is of this thread: a call that this one
    interrupts, or a greenlet's; and to who comes now and then, for which others stay away: False, it is to call them
    back.
    """
    others_wait = core.in_line() > 0
    if asks:
        visit(core.rest)
    if not others_wait and not (_is_over(core) if asks else core.is_busy()):
        return True
    if _is_inside(core):
        return True
    if _comes_now_and_then(core):
        return False
    if others_wait:
        _stay(core)
    elif asks and core.rest.call(Call.TURN):
        _stay(core, handed_over=True)
    return True


def _is_over(core: Busy) -> bool:
    return core.aside > 0 and SYSTEM.monotonic() - core.since >= _turn(core.aside)


def _turn(others: int) -> float:
    """Its seconds, where so many wait for theirs."""
    return min(_TURN, _ROUND / (1 + max(0, others)))


def _is_inside(core: Busy) -> bool:
    """Whether what would be waited for is of this thread."""
    return core.lock._is_owned() or is_shared() or _interrupts_another(core)


def _interrupts_another(core: Busy) -> bool:
    """Whether a finalizer or signal handler asks, in a call of its thread that has come to the lock already."""
    frame: FrameType | None = sys._getframe(3)
    calls = 0
    while frame is not None and calls < 2:
        calls += frame.f_code in comers and any(value is core for value in frame.f_locals.values())
        frame = frame.f_back
    return calls == 2


def call_back(core: Busy) -> None:
    """For who finds nothing to do: one of those who stay away looks at once."""
    if core.aside > 0:
        core.rest.call()


def _stay(core: Busy, *, handed_over: bool = False) -> None:
    core.aside += 1
    try:
        if core.aside == 1:
            core.since = SYSTEM.monotonic()
        core.keep_watch()
        visit(core.rest)
        call = _sleep(core, handed_over)
        if call is not Call.LOOK:  # which tells nothing of who else is at it
            _coming.called = call is Call.TURN
        core.since = SYSTEM.monotonic()
    finally:
        core.aside -= 1
        _coming.note()


def _sleep(core: Busy, handed_over: bool) -> Call:
    """Until it is our turn, or nobody's; what we were called for."""
    if _in_a_loop():
        return core.rest.sleep(_MOMENT)
    others = max(1, core.aside)
    call = Call.LOOK
    if not (handed_over or _coming.called):  # they may be through with it soon
        call = core.rest.sleep(min(_FIRST * others, _ROUND))
    end = SYSTEM.monotonic() + (others + _LATE) * _turn(others)
    while handed_over or (call is not Call.TURN and core.is_busy()):
        handed_over = False
        call = core.rest.sleep(max(0.0, end - SYSTEM.monotonic()))
        if call is Call.NONE:
            break
    return call


def _comes_now_and_then(core: Busy) -> bool:
    """Who does has had no turn, and needs none: it waits at the lock, and is gone again."""
    away, worked = _coming.note()
    return worked < _WORK * away and away - worked > _REST and core.in_line() < _FEW


def _in_a_loop() -> bool:
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)  # it may be on its way in
    return running is not None and running() is not None


def awoken(core: Busy) -> None:
    """`give_way` for who was asleep: more of what it has waited for comes meanwhile."""
    if core.is_busy() and not (core.lock._is_owned() or is_shared() or _comes_now_and_then(core)):
        _stay(core)
