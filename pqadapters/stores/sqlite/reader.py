"""The connection that looks. In WAL mode it sees what is committed and never waits for who writes.

Each question is answered at once and whole, so that no open cursor keeps the WAL from being used again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any

from ...errors import StoreError
from .database import connect, patiently
from .errors import ERRORS, malformed, translated


class Reader:
    """Any thread may ask."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.lock = threading.RLock()  # reentrant: a finalizer may ask in the middle of a question
        self.connection: sqlite3.Connection | None = None  #: made when it is needed

    def rows(self, question: str, values: Sequence[Any] = ()) -> list[Any]:
        """The answer. Raises FormatError for a damaged database, DiskError, StoreLocked."""
        with self.lock:
            try:
                if self.connection is None:
                    self.connection = patiently(lambda: connect(self._path), self._path)
                return self.connection.execute(question, values).fetchall()
            except ERRORS:
                return patiently(lambda: self._again(question, values), self._path)

    def _again(self, question: str, values: Sequence[Any]) -> list[Any]:
        assert self.connection is not None
        return self.connection.execute(question, values).fetchall()

    def damaged(self) -> StoreError:
        """What to raise for an answer that can't be right."""
        return translated(malformed(), self._path)

    def close(self) -> None:
        with self.lock:
            if self.connection is not None:
                self.connection.close()
                self.connection = None

    def begin_again(self) -> sqlite3.Connection | None:
        """In a forked child: the parent's connection, if it was in use at that moment."""
        self.lock = threading.RLock()
        inherited, self.connection = self.connection, None
        return inherited
