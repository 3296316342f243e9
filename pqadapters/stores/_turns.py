"""Whose turn it is at the store's lock.

Threads that queue up at a lock while each of them needs the interpreter's lock as well go forward one call at a time,
with two switches of threads for each: whoever has just let go of the lock finds it given to the first in the line, and
goes to its end. Such a line never ends by itself (a convoy: Blasgen, Gray, Mitoma and Price, "The convoy phenomenon",
1979). So nobody queues up who finds another thread in the middle of a call: it stays away for a moment, and then for
longer ones, the longer the more there are who do, while the other goes on at its full speed. After some milliseconds,
about as long as the interpreter lets a thread run, it is its turn, and the others stay away.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

_FIRST, _ALL = 0.0001, 0.005  #: seconds: how long one stays away at first, and in all
_NEVER = 0.1  #: seconds: whoever is coming for so long was frozen on the way, as daemon threads are at the end
_MOMENT, _LONGEST = 0.00005, 0.001  #: seconds between two looks of who comes next


class Busy(Protocol):
    """What threads take turns at."""

    lock: Any  # an RLock: what Condition uses of it, too, is in no stub
    inside: bool  #: a thread is in the middle of a call
    coming: int  #: how many threads are about to take the lock, or have stayed away for long enough
    aside: int  #: how many threads stay away


def step_aside(core: Busy) -> None:
    """To be called before the lock is taken, where somebody is `inside` or `coming`: returns when it is worth a try.

    Whoever takes the lock then is one of those `coming` until it has it. An event loop, whose tasks all wait meanwhile,
    comes at once.
    """
    if core.lock._is_owned() or _in_a_loop():  # the former by a call of this thread that this one interrupts
        return
    core.aside += 1
    try:
        if not _stay_away(core):
            _come(core)
    finally:
        core.aside -= 1


def _in_a_loop() -> bool:
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None


def _stay_away(core: Busy) -> bool:
    """For as long as others are at work; False where it is long enough now, and nobody else is coming."""
    stayed, pause = 0.0, _FIRST
    while stayed < _ALL or core.coming:
        time.sleep(nap := min(pause * core.aside, _ALL))
        if stayed > _NEVER and _is_free(core.lock):
            core.coming = 0
        if not (core.inside or core.coming):
            return True
        stayed, pause = stayed + nap, 2 * pause
    return False


def _is_free(lock: Any) -> bool:
    """Whether nobody has it, nor was given it and doesn't run yet; not this thread, which has taken it for that."""
    try:
        lock.acquire(blocking=False)
    finally:
        if ours := lock._is_owned():  # an interrupt leaves it as it was
            lock.release()
    return bool(ours)


def _come(core: Busy) -> None:
    """The next one. Also where somebody is about something long, as a sync at the end of a segment: those who queued up
    meanwhile would be a line for good."""
    core.coming += 1
    try:
        pause = _MOMENT
        while True:
            time.sleep(pause)
            if _is_free(core.lock):
                return
            pause = min(1.1 * pause, _LONGEST)
    finally:
        core.coming -= 1


def awoken(core: Busy) -> None:
    """`step_aside` for who was asleep, and takes the lock again."""
    if core.inside or core.coming:
        step_aside(core)
