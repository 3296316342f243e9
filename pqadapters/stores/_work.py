"""One caller's part of a transaction, and what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..clock import SYSTEM
from ..store import LOCK_TIMEOUT


class Outcome:
    """Of a transaction, for all of its parts at once: one assignment makes all of them done, or none."""

    __slots__ = ("done",)

    def __init__(self, done: bool = False) -> None:
        self.done = done


OVER = Outcome(True)  #: of a part that was refused
PENDING = Outcome()  #: of one that nobody has carried out yet


class Work:
    """`run` is given a connection, and changes the database and nothing else: it may be called again."""

    # On the class, as they mostly stay: a commit makes one of these.
    begun = False  #: somebody is about to carry it out, or was
    leads = False  #: its caller is about to carry out all that is in the line, or was
    abandoned = False  #: its caller doesn't wait for it any more
    result: Any = None
    error: Exception | None = None
    outcome = PENDING
    sleeper: threading.Lock | None = None  #: held; whoever releases it wakes its caller
    woken = False  #: its caller was, and it was done: it never sleeps again

    def __init__(self, run: Callable[[Any], Any], timeout: float | None = None) -> None:
        self.run = run
        self.patient = timeout is None  #: goes on as long as others get on
        self.deadline = SYSTEM.monotonic() + (LOCK_TIMEOUT if timeout is None else timeout)

    @property
    def done(self) -> bool:
        return self.outcome.done

    def refuse(self, error: Exception) -> None:
        """It isn't carried out."""
        self.error = error
        self.outcome = OVER

    def begin_again(self) -> None:
        """It was refused, and is to be carried out all the same."""
        self.outcome, self.error = PENDING, None

    def put_off(self) -> None:
        """It is carried out behind the transaction that it has interrupted."""
