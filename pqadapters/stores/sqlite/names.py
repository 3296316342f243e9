"""Numbers of queues and tables. A name that was given one keeps it for ever, so what is known needn't be looked up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from zlib import crc32

from ...errors import StoreError
from ...store import Delete, Op, Set
from . import schema
from .reader import Reader


class Names:
    """What this process knows of them: numbers that are committed, and no others."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.queues: dict[str, int] = {}
        self.tables: dict[str, int] = {}
        self.ranked: set[int] = set()  #: queues that seem to be, to be asked first as such
        self._ranked_for_good: set[int] = set()

    def queue(self, name: str) -> int | None:
        """The number of a queue that has one."""
        return self._known(self.queues, schema.QUEUE_NUMBER, name)

    def table(self, name: str) -> int | None:
        """The number of a table that has one."""
        return self._known(self.tables, schema.TABLE_NUMBER, name)

    def is_ranked(self, number: int) -> bool:
        """Whether a queue is, which it stays."""
        if number not in self._ranked_for_good:
            rows = self._reader.rows(schema.COUNTS, (number,))
            if not rows or not rows[0][4]:
                return False
            self._ranked_for_good.add(number)
        return True

    def _known(self, numbers: dict[str, int], select: str, name: str) -> int | None:
        number = numbers.get(name)
        if number is None:
            rows = self._reader.rows(select, (schema.name_blob(name),))
            if not rows:
                return None
            number = numbers[name] = rows[0][0]
        return number

    def learn(self, ops: Sequence[Op]) -> None:
        """Tables that a commit has changed, and that its transaction has looked up, which the next one needn't."""
        for op in ops:
            if isinstance(op, (Set, Delete)) and op.table not in self.tables:
                with suppress(StoreError):
                    self.table(op.table)

    def queue_here(self, connection: sqlite3.Connection, name: str) -> int | None:
        """As `queue`, in a transaction: whoever has the reader may be waiting for the end of it."""
        return self.queues.get(name) or _found(connection, schema.QUEUE_NUMBER, name)

    def make_queue(self, connection: sqlite3.Connection, name: str) -> int:
        """The number of a queue, in a transaction, which may be the one that gives it."""
        return self.queues.get(name) or _made(connection, schema.QUEUE_NUMBER, schema.ADD_QUEUE, name)

    def make_table(self, connection: sqlite3.Connection, name: str) -> int:
        """The number of a table, in a transaction, which may be the one that gives it."""
        return self.tables.get(name) or _made(connection, schema.TABLE_NUMBER, schema.ADD_TABLE, name, schema.START)


def _found(connection: sqlite3.Connection, select: str, name: str) -> int | None:
    row = connection.execute(select, (schema.name_blob(name),)).fetchone()
    return None if row is None else int(row[0])


def _made(connection: sqlite3.Connection, select: str, add: str, name: str, start: str | None = None) -> int:
    blob = schema.name_blob(name)
    row = connection.execute(select, (blob,)).fetchone()
    if row is None:
        connection.execute(add, (blob, crc32(blob)))
        row = connection.execute(select, (blob,)).fetchone()
        if row[0] > schema.MAX_QUEUES:
            raise StoreError(
                f"a database takes {schema.MAX_QUEUES} names of queues, and as many of tables; {name!r} is one too many"
            )
        if start is not None:
            connection.execute(start, (row[0], row[0]))
    return int(row[0])
