"""A connection of its own to the database of a store, for tables there that aren't ours. For one thread at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ...errors import StoreError, StoreLocked
from ...store import LOCK_TIMEOUT
from .address import address_of
from .driver import ERRORS
from .errors import is_passing, translated
from .schema import LEVEL, SESSION, Statements
from .wire import Dialer

_WAIT = f"{SESSION}, lock_wait_timeout = 5, innodb_lock_wait_timeout = 5"  #: seconds
_PATIENCE = 120.0  #: seconds that an answer may take, which may have counted millions of rows
_LOCK = "SELECT GET_LOCK(%s, %s)"
_MOMENT = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT")


class Guest:
    """To be closed. Each statement is a transaction of its own, but for those behind `one_moment`."""

    def __init__(self, url: str, **options: Any) -> None:
        """The URL without a query; options are those that say where a store is. Raises StoreError, ValueError."""
        address = address_of(url, **options)
        self.place, self.database = address.place, address.database
        try:
            dialer = Dialer(address, Statements(address.prefix))
            self._connection = dialer.raw(LOCK_TIMEOUT, _PATIENCE, autocommit=True, flags=0)
        except ERRORS as error:
            raise translated(error, self.place) from error
        self.ask(_WAIT, 1)
        self.ask(LEVEL)

    def ask(self, statement: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """The rows of the answer. Raises StoreLocked where others have what it needs, StoreError."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                found: Sequence[tuple[Any, ...]] = cursor.fetchall()
                return found
        except ERRORS as error:
            if is_passing(error):
                raise StoreLocked(f"{self.place}: another program has the table in use: end that first") from error
            raise translated(error, self.place) from error

    def lock(self, name: str, seconds: float) -> None:
        """Take the lock of that name of this database, which ends with this connection. Raises StoreLocked."""
        digest = hashlib.sha256(f"{self.database}\0{name}".encode()).hexdigest()[:40]
        if self.ask(_LOCK, f"pqa-{digest}", seconds)[0][0] != 1:
            raise StoreLocked(f"{self.place}: another process is converting it; try again when it is done")

    def one_moment(self) -> None:
        """What is asked from now on is as it is now."""
        for statement in _MOMENT:
            self.ask(statement)

    def let_go(self) -> Any:
        """PyMySQL's connection, which is the caller's from now on, as PyMySQL makes it."""
        self._connection._read_timeout = self._connection._write_timeout = None
        return self._connection

    def close(self) -> None:
        try:
            self._connection.close()
        except ERRORS as error:
            raise StoreError(f"{self.place}: {error}") from error
