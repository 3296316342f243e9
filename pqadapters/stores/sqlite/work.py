"""One caller's part of a transaction, and what became of it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

from ...store import LOCK_TIMEOUT


class Outcome:
    """Of a transaction, for all of its parts at once: one assignment makes all of them done, or none."""

    __slots__ = ("done",)

    def __init__(self, done: bool = False) -> None:
        self.done = done


OVER = Outcome(True)  #: of a part that was refused


class Work:
    """`run` changes the database and nothing else: it may be called again."""

    def __init__(
        self,
        run: Callable[[sqlite3.Connection], Any],
        *,
        synced: bool,
        timeout: float | None = None,
        alone: bool = False,
        shrinks: bool = True,
    ) -> None:
        self.run = run
        self.synced = synced  #: whether its caller is promised that it survives a power cut
        self.alone = alone  #: it is one statement, which is a transaction without our saying so
        self.shrinks = shrinks  #: it needs no space that it doesn't give back
        self.patient = timeout is None  #: goes on as long as others get on
        self.deadline = time.monotonic() + (LOCK_TIMEOUT if timeout is None else timeout)
        self.begun = False  #: somebody is about to carry it out, or was
        self.abandoned = False  #: its caller doesn't wait for it any more
        self.full = 0  #: how often it was tried again for want of space
        self.result: Any = None
        self.error: Exception | None = None
        self.outcome: Outcome | None = None
        self.sleeper: threading.Lock | None = None  #: held; whoever releases it wakes its caller

    @property
    def done(self) -> bool:
        return self.outcome is not None and self.outcome.done

    def refuse(self, error: Exception) -> None:
        """It isn't carried out."""
        self.error = error
        self.outcome = OVER
