"""The one wait loop of all stores: wait on a predicate under the store's lock.

A gate is a place to wait at: a queue has one for its takers (claims) and one for its watchers (`Store.wait`).
Nobody sleeps, nobody clears a flag and then waits: the predicate is looked at under the lock before each wait, so
a change made under the lock can't be missed (I7).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

from ..clock import SYSTEM

T = TypeVar("T")
_LONGEST = 1.0  #: seconds that a delay is slept over in one go


class Crowd:
    """How many threads wait at several gates, to be asked in one comparison; `size` begins with `others`."""

    __slots__ = ("size",)

    def __init__(self, others: int = 0) -> None:
        self.size = others


class Sleeper:
    """A thread that waits: `lock` is held until it is woken, which it is once."""

    __slots__ = ("called", "lock")

    def __init__(self) -> None:
        self.called = False
        self.lock = threading.Lock()  # looked up here: gevent replaces it
        self.lock.acquire()


class Gate:
    """Threads that wait for a change in what `lock` protects. All methods need the lock.

    A waiter enters before it looks: a wake-up sent between the look and the sleep, by a signal handler of the same
    thread, is kept for it (I7). `threading.Condition` doesn't do that: its waiters enter when they sleep.
    """

    def __init__(self, lock: threading.RLock, crowd: Crowd | None = None) -> None:
        self._lock: Any = lock  # its _release_save and _acquire_restore, which Condition uses too, are in no stub
        self._sleepers: deque[Sleeper] = deque()
        self._crowd = crowd or Crowd()
        self.waiting = 0  #: how many threads wait

    def wait_locked(
        self,
        attempt: Callable[[], T | None],
        timeout: float | None,
        due: Callable[[], float | None] | None = None,
        awoken: Callable[[], object] | None = None,
    ) -> T | None:
        """The first result of `attempt()` that isn't None; None after `timeout` seconds without one.

        `due()` is how many seconds from now, by the wall clock, `attempt` might succeed without anybody's wake-up (a
        delay that runs out), or None. `awoken()` is called behind each sleep, before the lock is taken again.
        """
        result = attempt()
        if result is not None or (timeout is not None and timeout <= 0):
            return result
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        sleeper: Sleeper | None = None
        try:
            while True:
                sleeper = Sleeper()
                try:
                    self._enter(sleeper)
                    result = attempt()
                    left = None if deadline is None else deadline - SYSTEM.monotonic()
                    if result is not None or (left is not None and left <= 0):
                        break
                    self._sleep(sleeper, _shorter(left, due and _some_of(due())), awoken)
                finally:
                    self._leave(sleeper)
        except BaseException:
            if sleeper is not None:
                self._leave(sleeper)  # once more: it may have been interrupted right there
            self.wake_one()  # a wake-up may have come to this thread: it is somebody else's now (I7)
            raise
        if result is None:
            self.wake_one()  # likewise
        return result

    def _enter(self, sleeper: Sleeper) -> None:
        self._sleepers.append(sleeper)
        self._count()

    def _leave(self, sleeper: Sleeper) -> None:
        with contextlib.suppress(ValueError):  # whoever woke it has taken it out
            self._sleepers.remove(sleeper)
        self._count()

    def _count(self) -> None:
        waiting = len(self._sleepers)
        self._crowd.size += waiting - self.waiting  # no call from here on, in which a signal handler might count
        self.waiting = waiting

    def _sleep(self, sleeper: Sleeper, seconds: float | None, awoken: Callable[[], object] | None) -> None:
        """Until `sleeper` is called or `seconds` are over; the lock is free meanwhile."""
        timeout = -1 if seconds is None else min(max(seconds, 0.0), threading.TIMEOUT_MAX)

        def sleep() -> None:
            sleeper.lock.acquire(timeout=timeout)
            if awoken is not None:
                awoken()

        unlocked(self._lock, sleep)

    def wake_one(self) -> None:
        """Also in the middle of this very method, by a signal handler: then that is another one."""
        woken = False
        while not woken:
            try:
                sleeper = self._sleepers[0]
            except IndexError:
                break
            if not sleeper.called:
                woken = sleeper.called = True  # no call from here to its release
                sleeper.lock.release()
            with contextlib.suppress(ValueError):  # it has risen, or a signal handler has taken it out
                self._sleepers.remove(sleeper)
        self._count()

    def wake_all(self) -> None:
        while self._sleepers:
            self.wake_one()


def unlocked(lock: Any, call: Callable[[], object]) -> None:
    """Make the call with the lock free, however often this thread holds it; an interrupt leaves the lock as it was."""
    held: list[Any] = []
    interrupt: BaseException | None = None
    try:
        held.extend(islice(iter(lock._release_save, None), 1))  # one step of C, as `interrupts.keep`
        call()
    finally:
        while True:  # no call before the next try, in which a signal handler might raise
            try:
                if not lock._is_owned():  # else an interrupt came before the release
                    lock._acquire_restore(held[0] if held else (1, threading.get_ident()))
                break
            except RecursionError as error:
                interrupt = error
                if not held:  # no room for any call, and so there was none for the release
                    break
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


def shut_in(attempt: Callable[[], T | None], timeout: float) -> T | None:
    """As `Gate.wait_locked`, in the middle of another call of this thread, with the lock held all the time: what others
    did meanwhile would be put off to the end of that call, and wouldn't be done when they are told so."""
    result = attempt()
    if result is None and timeout > 0:
        time.sleep(min(timeout, threading.TIMEOUT_MAX))
        result = attempt()
    return result


def _some_of(delay: float | None) -> float | None:
    """How long to sleep before the next look at it. It ends by the wall clock, which may be put forward, and goes on
    while the machine is suspended; the one that sleeps are timed by does neither."""
    return None if delay is None else min(delay, _LONGEST)


def _shorter(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
