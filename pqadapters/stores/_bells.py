"""Who waits for what: a bell for each queue, rung by every change of it that this process makes or hears of.

Nobody looks at a database with the lock of the bells held: a waiter notes the number of rings, looks, and then waits
until there were more (I7). `_gate.py` has the waiting itself.
"""

from __future__ import annotations

import threading

from ..store import DEAD
from ._gate import Gate


class Bell:
    """One queue's."""

    def __init__(self, lock: threading.RLock) -> None:
        self.rings = 0
        self.dry = True  #: nobody here knows of a record that is ready: who looked last found none, or nobody has
        self.claimed = True  #: whether anybody may have a record in hand, as far as whoever looked last has seen
        self.looked_at = 0  #: the record that somebody is about to remove, having looked at it
        self.crowded = 0  #: how many more times nobody looks, since several threads want the same record
        self.takers = Gate(lock)  #: those who wait for a record
        self.watchers = Gate(lock)  #: those who wait for anything else


class Bells:
    """All of a process for one store. Any thread may call any method, with no lock of ours but this one's."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._bells: dict[str, Bell] = {}
        self.waiting = 0  #: how many threads wait at any bell

    def of(self, queue: str) -> Bell:
        bell = self._bells.get(queue)
        if bell is None:
            with self.lock:
                bell = self._bells.setdefault(queue, Bell(self.lock))
        return bell

    def ring(self, queue: str, ready: int | None = None) -> None:
        """Something has changed; `ready`: so many records more are ready then, and takers needn't look for anything
        else."""
        bell = self._bells.get(queue)
        if bell is not None:
            bell.rings += 1
            if self.waiting:  # else the lock isn't taken: whoever has it may be waiting for one of the caller's
                self._wake(bell, ready)
        if queue.endswith(DEAD):
            parent = self._bells.get(queue[: -len(DEAD)])
            if parent is not None:  # whose depth counts these
                self._ring(parent)

    def _ring(self, bell: Bell, ready: int | None = None) -> None:
        bell.rings += 1
        if self.waiting:
            self._wake(bell, ready)

    def _wake(self, bell: Bell, ready: int | None) -> None:
        with self.lock:
            bell.watchers.wake_all()
            if ready is None:
                bell.takers.wake_all()
            for _ in range(ready or 0):
                bell.takers.wake_one()

    def pass_on(self, bell: Bell) -> None:
        """Whoever was woken to take a record doesn't: another one may."""
        with self.lock:
            bell.takers.wake_one()

    def ring_all(self) -> None:
        for bell in list(self._bells.values()):
            self._ring(bell)

    def ring_one_each(self) -> None:
        """Others may have put something: one taker of each queue looks for all. Whoever finds more than it takes, or
        can't take it, passes that on."""
        for bell in list(self._bells.values()):
            self._ring(bell, 1)

    def wait(self, bell: Bell, gate: Gate, seen: int, timeout: float | None) -> None:
        """Until it has rung more often than `seen` times, or `timeout` seconds are over."""
        with self.lock:
            self.waiting += 1
            try:
                gate.wait_locked(lambda: bell.rings != seen or None, timeout)
            finally:
                self.waiting -= 1

    def begin_again(self) -> None:
        """In a forked child: nobody waits."""
        self.lock = threading.RLock()
        self.waiting = 0
        self._bells = {}
