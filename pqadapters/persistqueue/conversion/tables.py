"""Which tables of persist-queue's a database has, and what each of them is.

    queue_NAME  filo_queue_NAME  unique_queue_NAME               _id, data, timestamp
    priority_queue_NAME                                          _id, data, timestamp, priority
    ack_queue_NAME  ack_filo_queue_NAME  ack_unique_queue_NAME   _id, data, timestamp, status
    dict_NAME                                                    key, data

The async classes have a table without a name: `queue`, `filo_queue`, `unique_queue`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import StoreRefused

_NAMED = re.compile(r"((?:ack_)?(?:filo_|unique_)?queue|priority_queue|dict)_(.*)", re.DOTALL)
_BARE = ("queue", "filo_queue", "unique_queue")
_SQLITE = re.compile(r"sqlite_\w+")
_PLAIN = ("_id", "data", "timestamp")
DICT, PRIORITY = "dict", "priority_queue"
FILES = "files"  #: no table, but a file queue
SHELF = "shelf"  #: no table either, but a dbm file of the standard library
MAPPINGS = (DICT, SHELF)


class Table(NamedTuple):
    """One of them."""

    table: str  #: as the database has it
    kind: str  #: "queue", "ack_filo_queue", ...
    name: str
    root: int = 0  #: its first page

    @property
    def acknowledges(self) -> bool:
        return self.kind.startswith("ack_")

    @property
    def unique(self) -> bool:
        return "unique" in self.kind

    @property
    def target(self) -> str:
        """The queue or mapping that it becomes."""
        if self.kind == FILES:
            return self.name
        if self.kind == SHELF:
            return f"{SHELF}/{self.name}"
        return f"{DICT}/{self.name}" if self.kind == DICT else f"{self.kind}_{self.name}"

    @property
    def columns(self) -> tuple[str, ...]:
        """What persist-queue 1.1.0 gives such a table."""
        if self.kind == DICT:
            return ("key", "data")
        more = ("status",) if self.acknowledges else ("priority",) if self.kind == PRIORITY else ()
        return (*_PLAIN, *more)

    @property
    def quoted(self) -> str:
        return '"' + self.table.replace('"', '""') + '"'


def named(table: str, bare: str = "default") -> Table | None:
    """What a table of that name is; None for none of persist-queue's. One without a name gets the name `bare`."""
    if table in _BARE:
        return Table(table, table, bare)
    found = _NAMED.fullmatch(table)
    return Table(table, found[1], found[2]) if found else None


def are_theirs(names: Sequence[str]) -> bool:
    """Whether there is one among tables of these names that may be persist-queue's; `tables_of` looks closer."""
    return any(named(name) for name in names)


def tables_of(connection: sqlite3.Connection, place: str, bare: str, *, alone: bool = True) -> list[Table]:
    """The tables. Raises StoreRefused for what persist-queue 1.1.0 doesn't write, and where they have to be `alone` for
    other programs' tables, too; sqlite3.Error."""
    rows = connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall()
    found = []
    for name, root in sorted((_text(name), root) for name, root in rows):
        table = named(name, bare)
        if table is not None:
            _check_columns(connection, place, table)
            found.append(table._replace(root=root))
        elif alone and not _SQLITE.fullmatch(name):
            raise StoreRefused(
                f"{place} has persist-queue's tables, and the table {name!r}, which isn't: the program that has made "
                "that one would miss it. Put the queues elsewhere: pqadapters migrate PATH --to URL"
            )
    return _apart(found)


def _apart(tables: list[Table]) -> list[Table]:
    """A table without a name gives way to one that has it."""
    taken = {table.target for table in tables if table.table != table.kind}
    return [
        table._replace(name="async") if table.table == table.kind and table.target in taken else table
        for table in tables
    ]


def _check_columns(connection: sqlite3.Connection, place: str, table: Table) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    columns = tuple(_text(row[1]) for row in connection.execute(f"PRAGMA table_info({table.quoted})"))
    if columns != table.columns or version:
        raise StoreRefused(
            f"{place} has the table {table.table} with the columns {', '.join(columns)}"
            f"{f' and version {version}' if version else ''}; persist-queue 1.1.0 gives it {', '.join(table.columns)}. "
            "It was left as it is: finish it with the program that has written it"
        )


def _text(data: bytes | str) -> str:
    return data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
