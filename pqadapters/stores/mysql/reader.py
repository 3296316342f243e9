"""The connections that look: a pool of them, so that no thread waits for another one's look, nor for who commits.

Each question is one statement, which sees what is committed at its moment, or is asked in a transaction of one moment.
A connection that was lost is made anew, and the question asked again, for as long as a call may wait for the server.
That is how long a server may be silent as well; only what looks at many rows is waited for longer, while the server
answers others.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from ...clock import SYSTEM
from ...errors import StoreClosed, StoreError
from ...interrupts import of_handler
from ...store import LOCK_TIMEOUT
from .driver import ERRORS, FAILURES, pymysql, steady
from .errors import is_denied, is_lost, is_passing, translated
from .patience import Patience
from .schema import Statements, bound
from .wire import Dialer, Failed, drop

T = TypeVar("T")
_IDLE = 4  #: connections that are kept when nobody asks
_SHORTEST = 0.5  #: seconds that a new connection is given
_LEAST = 1.0  #: seconds that an answer may take at least, whatever time its caller has
_ANYTHING = "DO 0"
_ERRORS: tuple[type[Exception], ...] = (*ERRORS, Failed)


class _Cursor(pymysql.cursors.Cursor):  # type: ignore[misc]  # the driver has no types
    """DBUtils takes every error for a lost connection, and asks twice more: for a lock that is three times the wait."""

    def execute(self, query: str, args: None = None) -> int:
        handled = sys.exc_info()[1]
        try:
            return int(super().execute(query, args))
        except ERRORS as error:
            raised = of_handler(error, handled)
            if raised is not None:
                raise raised  # noqa: B904  # it comes first
            if is_lost(error):
                raise
            raise Failed(error) from error


class Reader:
    """Any thread may ask."""

    def __init__(self, dialer: Dialer, rest: Callable[[float], float]) -> None:
        self._dialer = dialer
        self._rest = rest
        self.patience = Patience()
        self.sql: Statements = dialer.sql
        self._ended = False
        self._refused: Exception | None = None  #: why there was no new connection, the last time
        self._local = threading.local()
        self._idle: deque[Any] = deque()  #: no lock: DBUtils' own pool has it while it connects, and all others wait

    def _dial(self) -> Any:
        left = max(_SHORTEST, self._local.deadline - SYSTEM.monotonic())
        try:
            wire = self._dialer.dial(left, left, autocommit=True)
        except Failed as error:
            self._refused = error.error
            raise error.error from None  # which DBUtils knows
        except StoreError:
            raise
        except Exception as error:  # of a signal handler: DBUtils goes on, as if there were no server
            self._local.raised = error
            raise
        self._refused = None
        wire.give(LOCK_TIMEOUT)
        wire.raw.cursorclass = _Cursor
        return wire.raw

    def rows(self, question: str, *values: Any) -> Sequence[Any]:
        """The answer. Raises StoreUnreachable, StoreRefused."""
        return self._patiently(lambda cursor: _rows(cursor, bound(question, values)))

    def within(self, patience: float, question: str, *values: Any) -> Sequence[Any]:
        """As `rows`, for who has so many seconds to wait for a server that is away."""

        def run(cursor: Any) -> Sequence[Any]:
            left = max(_LEAST, min(LOCK_TIMEOUT, self._local.deadline - SYSTEM.monotonic()))
            return _timed(cursor, left, lambda: _rows(cursor, bound(question, values)))

        return self._patiently(run, patience)

    def scan(self, question: str, *values: Any) -> Sequence[Any]:
        """As `rows`, for what looks at many."""
        return self._patiently(lambda cursor: self._scanned(cursor, lambda: _rows(cursor, bound(question, values))))

    def change(self, statement: str, *values: Any) -> int:
        """Change something that is by itself, and may be done twice; how many rows."""

        def run(cursor: Any) -> int:
            cursor.execute(bound(statement, values))
            return int(cursor.rowcount)

        return self._patiently(run)

    def at_one_moment(self, questions: Sequence[str]) -> list[Any]:
        """What several questions have for an answer, one behind the other, all of the same moment."""

        def run(cursor: Any) -> list[Any] | None:
            (before,) = _rows(cursor, self.sql.WHO)
            cursor.execute(self.sql.REPEATABLE)
            cursor.execute(self.sql.ONE_MOMENT)
            found = self._scanned(cursor, lambda: [row for question in questions for row in _rows(cursor, question)])
            cursor.execute(self.sql.COMMIT)
            return found if _rows(cursor, self.sql.WHO)[0] == before else None  # DBUtils connects anew by itself

        while (found := self._patiently(run)) is None:
            pass
        return found

    def _patiently(self, ask: Callable[[Any], T], patience: float | None = None) -> T:
        deadline, pause = self.patience.until(patience), 0.0
        self._local.deadline, handled = deadline, sys.exc_info()[1]
        denied = False
        while True:
            if self._ended:
                raise StoreClosed(f"the store in {self._dialer.address.place} was closed; open it again")
            self._local.raised = None
            try:
                return self._ask(ask)
            except _ERRORS as error:
                if of_handler(error, handled) is error:
                    raise
                if self._local.raised is not None:
                    raise self._local.raised from None
                # of a connection that was lost before, and is made anew in vain, DBUtils raises its old error
                why = self._refused if is_lost(error) and self._refused is not None else error
                anew = is_denied(why) and isinstance(why, Failed) and not denied  # over one with the grants of then
                denied = denied or anew
                if not (is_lost(why) or is_passing(why) or anew) or SYSTEM.monotonic() >= deadline:
                    raise translated(why, self._dialer.address.place) from getattr(error, "error", error)
            pause = self._rest(pause)

    def _ask(self, ask: Callable[[Any], T]) -> T:
        try:
            connection = self._idle.popleft()
        except IndexError:
            connection = steady.connect(self._dial, ping=0, failures=FAILURES)
        try:
            cursor = connection.cursor()
            try:
                return ask(cursor)
            finally:
                cursor.close()
        except BaseException as error:
            self._spoil(connection)
            if isinstance(error, Failed) and is_denied(error):
                self._spoil_idle()
            raise
        finally:
            self._keep(connection)

    def _spoil_idle(self) -> None:
        """They have the grants of when they came, as the one had that was refused: new ones have those of then."""
        for _ in range(len(self._idle)):
            with suppress(IndexError):  # another thread has taken it
                other = self._idle.popleft()
                self._spoil(other)
                self._idle.append(other)

    def _keep(self, connection: Any) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        if self._ended:
            self.end()

    @staticmethod
    def _spoil(connection: Any) -> None:
        """An exception may have left an answer unread, which would be the next question's, or a transaction open, in
        which nothing new is ever seen: DBUtils makes that connection anew."""
        with suppress(AttributeError):  # it has none
            drop(connection._con)

    def _scanned(self, cursor: Any, ask: Callable[[], T]) -> T:
        """The answers that take their time, of a server that isn't silent."""
        cursor.execute(_ANYTHING)  # it is there, and this the connection that is asked
        with self._dialer.waiting_for(cursor.connection):
            return ask()

    def end(self) -> None:
        """Close them for good: an iterator that is still there reads no more."""
        self._ended = True
        with suppress(IndexError, *ERRORS):
            while True:
                self._idle.popleft().close()

    def begin_again(self) -> None:
        """In a forked child, behind `Dialer.abandon`."""
        self._idle = deque()


def _rows(cursor: Any, question: str) -> Sequence[Any]:
    cursor.execute(question)
    found: Sequence[Any] = cursor.fetchall()
    return found


def _timed(cursor: Any, seconds: float, ask: Callable[[], T]) -> T:
    """An answer that may take so long."""
    raw = cursor.connection
    raw._read_timeout = seconds
    try:
        return ask()
    finally:
        raw._read_timeout = LOCK_TIMEOUT
