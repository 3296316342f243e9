"""Whether the indexes lead to every queue and table by its name, and to every record that has a rank or is delayed: one
flipped bit there would hide a queue with all that is in it, or have somebody wait for a record that is there.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from .. import schema
from ..work import Work

if TYPE_CHECKING:
    from ..core import Core


class Index(NamedTuple):
    """`what` it leads to, in which `table`."""

    what: str
    table: str
    is_astray: str
    anew: str


_ALL = [Index(*each) for each in schema.INDEXES]


def small(connection: sqlite3.Connection, most: int) -> list[Index]:
    """Those of tables with so many rows at most."""
    large = {
        each.table for each in _ALL if connection.execute(schema.ARE_MORE_IN.format(each.table), (most,)).fetchone()
    }
    return [each for each in _ALL if each.table not in large]


def astray(connection: sqlite3.Connection, among: list[Index] = _ALL) -> list[Index]:
    """Those that don't lead to all. One is right where it is a name itself that is damaged."""
    found = [each for each in among if connection.execute(each.is_astray).fetchone() is not None]
    return [each for each in found if each.table == "record" or _are_whole(connection, each.table)]


def make_anew(core: Core, index: Index) -> None:
    """Unless a name is there twice by now, since the index hid the first one."""

    def run(connection: sqlite3.Connection) -> bool:
        if index.table != "record" and _are_double(connection, index.table):
            return False
        connection.execute(index.anew)
        return True

    core.index_led_astray(index.what, mended=core.writer.do(Work(run, synced=False)) is True)


def _are_whole(connection: sqlite3.Connection, table: str) -> bool:
    rows = connection.execute(schema.NAMES_OF.format(table))
    return all(isinstance(name, bytes) and crc32(name) == crc for name, crc in rows)


def _are_double(connection: sqlite3.Connection, table: str) -> bool:
    rows = connection.execute(schema.NAMES_OF.format(table)).fetchall()
    return len(set(rows)) < len(rows)
