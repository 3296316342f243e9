"""The connection that looks. In WAL mode it sees what is committed and never waits for who writes.

Each question is answered at once and whole, so that no open cursor keeps the WAL from being used again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...errors import StoreError
from . import schema
from .database import connect, patiently
from .errors import ERRORS, malformed, translated

T = TypeVar("T")


class Reader:
    """Any thread may ask."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.lock = threading.RLock()  # reentrant: a finalizer may ask in the middle of a question
        self.connection: sqlite3.Connection | None = None  #: made when it is needed
        self._cursor: sqlite3.Cursor | None = None  #: to be used again

    def rows(self, question: str, values: Sequence[Any] = ()) -> list[Any]:
        """The answer. Raises FormatError for a damaged database, DiskError, StoreLocked."""
        with self.lock:
            try:
                return self._connected().execute(question, values).fetchall()
            except ERRORS:
                return patiently(lambda: self._connected().execute(question, values).fetchall(), self._path)

    def row(self, question: str, values: Sequence[Any]) -> Any:
        """The answer to a question that has one row, or None."""
        with self.lock:
            cursor, self._cursor = self._cursor, None  # it is ours: a finalizer may ask in the middle of this
            try:
                if cursor is None:
                    cursor = self._connected().cursor()
                return cursor.execute(question, values).fetchone()
            except ERRORS:
                cursor = None
                return patiently(lambda: self._connected().execute(question, values).fetchone(), self._path)
            finally:
                self._cursor = cursor

    def page(self, question: str, values: Sequence[Any], most: int, size: int) -> list[Any]:
        """The first rows of the answer: at most so many, and none behind the one with which the values in the last
        column come to `size` bytes."""
        with self.lock:
            return patiently(lambda: _page(self._connected(), question, values, most, size), self._path)

    def at_one_moment(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """What several questions have for an answer, all of the same moment."""

        def attempt() -> T:
            connection = self._connected()
            if connection.in_transaction:  # in the middle of another one of this thread
                return run(connection)
            connection.execute(schema.BEGIN_LOOK)
            try:
                return run(connection)
            finally:
                connection.execute(schema.ROLLBACK)

        with self.lock:
            return patiently(attempt, self._path)

    def _connected(self) -> sqlite3.Connection:
        if self.connection is None:
            self.connection = patiently(lambda: connect(self._path), self._path)
        return self.connection

    def damaged(self) -> StoreError:
        """What to raise for an answer that can't be right."""
        return translated(malformed(), self._path)

    def close(self) -> None:
        with self.lock:
            self._cursor = None
            if self.connection is not None:
                self.connection.close()
                self.connection = None

    def begin_again(self) -> sqlite3.Connection | None:
        """In a forked child: the parent's connection, if it was in use at that moment."""
        self.lock = threading.RLock()
        inherited, self.connection = self.connection, None
        self._cursor = None
        return inherited


def _page(
    connection: sqlite3.Connection, question: str, values: Sequence[Any], most: int, size: int
) -> list[Any]:
    rows: list[Any] = []
    cursor = connection.execute(question, values)
    try:
        for row in cursor:
            rows.append(row)
            size -= len(row[-1] or b"")
            if size <= 0 or len(rows) == most:
                break
    finally:
        cursor.close()
    return rows
