"""The one wait loop of all stores: wait on a predicate under the store's lock.

A gate is a place to wait at: a queue has one for its takers (claims) and one for its watchers (`Store.wait`).
Nobody sleeps, nobody clears a flag and then waits: the predicate is looked at under the lock before each wait, so
a change made under the lock can't be missed (I7).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Gate:
    """Threads that wait for a change in what `lock` protects. All methods need the lock."""

    def __init__(self, lock: threading.RLock) -> None:
        self._condition = threading.Condition(lock)  # looked up here: gevent replaces it
        self.waiting = 0  #: how many threads wait, so that a change nobody waits for costs one comparison

    def wait_locked(
        self, attempt: Callable[[], T | None], timeout: float | None, due: Callable[[], float | None] | None = None
    ) -> T | None:
        """The first result of `attempt()` that isn't None; None after `timeout` seconds without one.

        `due()` is how many seconds from now `attempt` might succeed without anybody's wake-up (a delay that runs
        out), or None.
        """
        result = attempt()
        if result is not None or (timeout is not None and timeout <= 0):
            return result
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._wait_once(_shorter(None if deadline is None else deadline - time.monotonic(), due and due()))
            try:
                result = attempt()
            except BaseException:
                self.wake_one()  # the wake-up that came here is somebody else's now (I7)
                raise
            if result is not None or (deadline is not None and time.monotonic() >= deadline):
                return result

    def _wait_once(self, seconds: float | None) -> None:
        self.waiting += 1
        try:
            self._condition.wait(None if seconds is None else min(max(seconds, 0.0), threading.TIMEOUT_MAX))
        except BaseException:
            self.wake_one()  # a wake-up may have been on its way to this thread: pass it on (I7)
            raise
        finally:
            self.waiting -= 1

    def wake_one(self) -> None:
        if self.waiting:
            self._condition.notify()

    def wake_all(self) -> None:
        if self.waiting:
            self._condition.notify_all()


def _shorter(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)
