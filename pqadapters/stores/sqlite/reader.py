"""The connection that looks. In WAL mode it sees what is committed and never waits for who writes.

Each question is answered at once and whole, so that no open cursor keeps the WAL from being used again. Where the same
is asked again and again, a transaction stands for a while (standing.py).
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ...apart import is_shared
from ...clock import SYSTEM
from ...errors import StoreClosed, StoreError
from . import schema
from .database import connect, patiently
from .errors import ERRORS, malformed, translated
from .standing import MANY, SHORT, Watch

if TYPE_CHECKING:
    from .processes.mark import Mark

T = TypeVar("T")


class _Moment:
    """It lives as long as somebody is in the middle of `at_one_moment`."""


class Reader:
    """Any thread may ask."""

    def __init__(self, path: str, connect: Callable[[str], sqlite3.Connection] = connect) -> None:
        self._path = path
        self._connect = connect
        self.lock = threading.RLock()  # reentrant: a finalizer may ask in the middle of a question
        self.connection: sqlite3.Connection | None = None  #: made when it is needed
        self._cursor: sqlite3.Cursor | None = None  #: to be used again
        self._moment: weakref.ref[_Moment] | None = None  #: of the transaction that is open
        self._ended = False
        self.fleeting = False  #: right before a fork: no connection is open behind a question
        self.mark: Mark | None = None  #: which knows of commits; without it no transaction stands
        self._stands: bytes | None = None  #: the last commit that was told of when the one began that stands
        self._asked = 0  #: questions for one row since `_since`, when `_told` was the last commit that was told of
        self._since, self._told = 0.0, b""
        self._watch = Watch(self.leave)

    def rows(self, question: str, values: Sequence[Any] = ()) -> list[Any]:
        """The answer. Raises FormatError for a damaged database, DiskError, StoreLocked."""
        with self.lock:
            self._leave_locked()
            try:
                return self._connected().execute(question, values).fetchall()
            except ERRORS:
                return patiently(lambda: self._connected().execute(question, values).fetchall(), self._path)
            finally:
                if self.fleeting:
                    self._part()

    def row(self, question: str, values: Sequence[Any]) -> Any:
        """The answer to a question that has one row, or None."""
        with self.lock:
            if self._stands is not None and (self.mark is None or self.mark.told != self._stands):
                self._leave_locked()
            cursor = self._cursor
            if cursor is None or self._moment is not None:
                cursor = self._connected().cursor()
            self._cursor = None  # it is ours: a finalizer may ask in the middle of this; after an error it is dropped
            try:
                row = cursor.execute(question, values).fetchone()
            except ERRORS:
                del cursor  # whoever keeps the error keeps this frame, and a cursor in it would keep the files open
                return patiently(lambda: self._connected().execute(question, values).fetchone(), self._path)
            except BaseException:  # of a signal handler: as long as its traceback keeps this frame, and the cursor is
                cursor.close()  # not closed, the connection would see what was committed by now, and no more
                raise
            finally:
                if self.fleeting:
                    self._part()
            if self.connection is not None:
                self._cursor = cursor
            self._asked += 1
        if self._asked >= MANY:
            self._stand_or_not()
        return row

    def _stand_or_not(self) -> None:
        """From here on a transaction stands, if the last questions came quickly and nobody has committed meanwhile."""
        self._asked = 0
        if self.mark is None or is_shared():
            return
        before, now, told = self._since, SYSTEM.monotonic(), self.mark.told
        is_quiet = now - before < SHORT and told == self._told
        self._since, self._told = now, told
        if is_quiet and self._watch.ensure():
            with self.lock:
                self._stand_locked(told)

    def _stand_locked(self, told: bytes) -> None:
        connection = self.connection
        if not self._watch.runs or connection is None or connection.in_transaction:
            return
        self._stands = told  # before it begins: an interrupt leaves none that isn't known of
        with suppress(sqlite3.Error):
            connection.execute(schema.BEGIN_LOOK)

    def leave(self) -> bool:
        """Leave the transaction that stands; whether one did."""
        with self.lock:
            stood = self._watch.runs = self._stands is not None
            self._leave_locked()
            return stood

    def _leave_locked(self) -> None:
        """By a COMMIT: a rollback would end a question in whose middle a finalizer asks this."""
        if self._stands is not None:
            try:
                if self.connection is not None and self.connection.in_transaction:
                    self.connection.execute(schema.COMMIT)
            except sqlite3.Error:
                self.close()
            self._stands = None

    def page(self, question: str, values: Sequence[Any], most: int, size: int) -> list[Any]:
        """The first rows of the answer: at most so many, and none behind the one with which the values in the last
        column come to `size` bytes."""
        with self.lock:
            self._leave_locked()
            try:
                return patiently(lambda: _page(self._connected(), question, values, most, size), self._path)
            finally:
                if self.fleeting:
                    self._part()

    def at_one_moment(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """What several questions have for an answer, all of the same moment."""

        def attempt() -> T:
            connection, moment = self._connected(), _Moment()
            if self._moment is not None:  # in the middle of another one of this thread
                return run(connection)
            try:
                self._moment = weakref.ref(moment)
                connection.execute(schema.BEGIN_LOOK)
                return run(connection)
            finally:
                connection.rollback()
                self._moment = None

        with self.lock:
            self._leave_locked()
            try:
                return patiently(attempt, self._path)
            finally:
                if self.fleeting:
                    self._part()

    def _part(self) -> None:
        if self._moment is None:  # else it is in the middle of another question
            self.close()

    def _connected(self) -> sqlite3.Connection:
        if self._ended:
            raise StoreClosed(f"the store in {self._path} was closed; open it again")
        if self.connection is None:
            self.connection = patiently(lambda: self._connect(self._path), self._path)
        if self._moment is not None and self._moment() is None:  # an interrupt broke off its end
            self.connection.rollback()
            self._moment = None
        return self.connection

    def damaged(self) -> StoreError:
        """What to raise for an answer that can't be right."""
        return translated(malformed(), self._path)

    def close(self) -> None:
        with self.lock:
            self._cursor = None  # first, and what is known of the connection last: an interrupt may come in between
            connection, self.connection = self.connection, None
            self._moment = self._stands = None
            if connection is not None:
                connection.close()

    def end(self) -> None:
        """Close it for good: an iterator that is still there reads no more."""
        with self.lock:
            self._ended = True
            self._watch.end()
            self.close()

    def __del__(self) -> None:
        """A handle that goes behind the interpreter's end ends nothing, and from Python 3.13 on a connection that is
        dropped as it is warns."""
        if self.connection is not None:
            self.connection.close()

    def begin_again(self) -> sqlite3.Connection | None:
        """In a forked child: the parent's connection, if it was in use at that moment."""
        self.lock = threading.RLock()
        self.fleeting = False
        inherited, self.connection = self.connection, None
        self._cursor = self._moment = self._stands = None
        self._watch = Watch(self.leave)
        return inherited


def _page(
    connection: sqlite3.Connection, question: str, values: Sequence[Any], most: int, size: int
) -> list[Any]:
    rows: list[Any] = []
    for row in connection.execute(question, values):  # no name holds it: Python 3.13 may leave this without a `finally`
        rows.append(row)
        size -= len(row[-1]) if isinstance(row[-1], bytes) else 0
        if size <= 0 or len(rows) == most:
            break
    return rows
