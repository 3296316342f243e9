"""Threads that wait for an fdatasync. Behind one, those are woken that have what they wait for, and one of the others,
whose turn it is to run the next: sixteen threads that are all woken to find that it was too early for half of them take
a third more switches between threads.

All methods need the store's lock; a sleeper lets go of it meanwhile. Whose turn it is passes it on when it goes away
without having run one: since an interrupt came, or somebody has synced meanwhile with the lock held.
"""

from __future__ import annotations

import threading
from typing import Any

from .._gate import unlocked

_OVERSLEPT = 1.0  #: seconds until a sleeper looks for itself: whose turn it is may stand still in a signal handler


class Sleeper:
    """A thread that waits until the log is on the disk up to `sequence`."""

    __slots__ = ("bell", "sequence")

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.bell = threading.Lock()  # looked up here: gevent replaces it
        self.bell.acquire()


class Sleepers:
    """Those of one log."""

    __slots__ = ("_all", "_turn")

    def __init__(self) -> None:
        self._all: list[Sleeper] = []
        self._turn: Sleeper | None = None  #: who was woken to run the next, and hasn't yet

    def sleep(self, sequence: int, lock: Any) -> Sleeper:
        """Until the log is on the disk that far, or it is the caller's turn, or for a while: the caller looks again. Is
        to be given to `leave` in the end."""
        sleeper = Sleeper(sequence)
        self._all.append(sleeper)
        try:
            unlocked(lock, lambda: sleeper.bell.acquire(timeout=_OVERSLEPT))
        except BaseException:
            self._drop(sleeper)
            self.leave(sleeper)
            raise
        if self._all:
            self._drop(sleeper)
        return sleeper

    def _drop(self, sleeper: Sleeper) -> None:
        """Nobody woke it."""
        if sleeper in self._all:
            self._all.remove(sleeper)

    def leave(self, sleeper: Sleeper) -> None:
        """It waits no more. Its turn, if it still has it, is the next one's."""
        if self._turn is sleeper:
            self.wake(0)

    def turn_taken(self) -> None:
        """Somebody runs an fdatasync."""
        self._turn = None

    def wake(self, done: int) -> None:
        """The log is on the disk that far, as far as its sleepers weren't told, and nobody runs an fdatasync. In the
        middle a finalizer may sync, which lets go of the lock: others come and go meanwhile, and are woken there."""
        self._turn = None
        for each in self._all[:]:
            if each.sequence <= done:
                self._ring(each)
        if self._all and self._turn is None:
            turn = self._turn = self._all[0]
            self._ring(turn)

    def _ring(self, sleeper: Sleeper) -> None:
        try:
            self._all.remove(sleeper)
        except ValueError:  # it was woken in the middle
            return
        sleeper.bell.release()
