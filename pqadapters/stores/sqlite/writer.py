"""The one connection of this process that writes: what threads ask for meanwhile goes in together (`_line.py`).

SQLite reports a lock at once (its own waiting would be up to 100 ms at a time, and gives up though others get on); we
try again after a fraction of a millisecond, until the caller's time is over, and for as long as others get on if it
set none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ...clock import SYSTEM
from ...errors import StoreError
from .._line import LATE, Line
from .errors import ERRORS, locked
from .transactions import Transactions
from .work import Work

__all__ = ["LATE", "Writer"]

_AMPLE = 0.5  #: seconds that are left to a caller who may stay away for a turn


class Writer(Transactions, Line):
    """All attributes need `lock`; methods named `_locked` are called with it held."""

    def __init__(self, path: str, made_room: Callable[..., AbstractContextManager[bool]]) -> None:
        Transactions.__init__(self, path, made_room)
        Line.__init__(self, "pqadapters.stores.sqlite", path)

    def takes_turns(self, work: Work) -> bool:
        """Without a sync there is next to nothing to share, and a thread that sleeps in the line costs more. Where
        others have theirs synced, it goes along with those."""
        return not work.synced and not self._full and (work.patient or work.deadline - SYSTEM.monotonic() > _AMPLE)

    def glance(self, question: str, values: Sequence[Any]) -> list[Any] | None:
        """The answer, between two transactions: what was written here is in this connection's cache still, where a
        reader fetches each page anew. None where it is to be asked elsewhere: others are at it, or it fails."""
        if self.inside or self._pending:
            return None
        try:
            with self.lock:
                connection = self.connection
                if self.inside or self.fleeting or connection is None or connection.in_transaction:
                    return None
                try:
                    self.inside = True  # a finalizer's transaction would come between the answer and its end
                    return connection.execute(question, values).fetchall()
                except ERRORS:
                    return None
                finally:
                    self._leave_locked()
        finally:
            if self._pending:
                self._wake()
            if self._untold:
                self._tell()

    def overdue(self) -> StoreError:
        return locked(self.path)

    def begin_again(self) -> sqlite3.Connection | None:
        """In a forked child: the parent's connection, if it was in use at that moment."""
        inherited, self.connection = self.connection, None
        self.fleeting = False
        self.begin_line_again()
        return inherited
