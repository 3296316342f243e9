"""Whether the index leads to every key of the tables, and the counts of queues and tables are right. SQLite's pages
have no checksums: a bit that is flipped in the index would hide keys that are there, without a word; one in a count,
records from who looks whether there are any, or have somebody wait for the end of what isn't there. The rows
themselves have their checksums.

What is in a small database is looked at whenever a process opens it, and in another one by a thread beside the work,
once a day. An index that doesn't lead to a key is made anew, without those keys that aren't whole; so are counts. One
that leads to more keys than there are isn't: it may be rows that were lost, and their pages are still in the file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ....clock import SYSTEM
from ....ending import start_thread
from ....errors import StoreError
from .. import schema
from ..claims import counted, recount
from ..database import connect
from ..entries import make_index_anew
from ..errors import malformed
from ..work import Work
from . import indexes

if TYPE_CHECKING:
    from ..core import Core

T = TypeVar("T")
_FEW = 1_000  #: keys, or records, which take a millisecond
_AT_ONCE = 10_000
_COUNTED = 1 << 16  #: pages, which take some tenths of a second
_EVERY = 24 * 3600.0  #: seconds
_HIDES = -1  #: no place


def check(core: Core, connection: sqlite3.Connection) -> None:
    """Look here and now if there is little. sqlite3.Error."""
    few_keys, few_records = (
        connection.execute(are_more, (_FEW,)).fetchone() is None
        for are_more in (schema.ARE_MORE, schema.ARE_MORE_RECORDS)
    )
    little = indexes.small(connection, _FEW)
    for astray in indexes.astray(connection, little):
        indexes.make_anew(core, astray)
    if few_keys and _are_keys_astray(connection):
        raise malformed()
    if few_keys and (_look(connection, 0, _FEW) == _HIDES or _are_keys_miscounted(connection)):
        _make_anew(core)
    if few_records and (numbers := _miscounted(connection)):
        _count_anew(core, numbers)
    if not (few_keys and few_records and len(little) == len(schema.INDEXES)) and _is_time(core):
        with suppress(RuntimeError):  # the interpreter is shutting down, or has no such threads
            thread = threading.Thread(target=_check, args=(weakref.ref(core),), daemon=True)
            thread.name = "pqadapters-index"
            start_thread(thread)


def _astray(connection: sqlite3.Connection) -> list[indexes.Index]:
    """None of a database in which to look takes long: see below."""
    return [] if connection.execute(schema.FREE_PAGES).fetchone()[1] > _COUNTED else indexes.astray(connection)


def _are_keys_astray(connection: sqlite3.Connection) -> bool:
    """Whether a page of rows was lost, or stands in another one's place: an index made anew would forget its keys. Not
    asked of a database in which to look takes long."""
    if connection.execute(schema.FREE_PAGES).fetchone()[1] > _COUNTED:
        return False
    return bool(connection.execute(schema.ASTRAY).fetchone()[0])


def _are_keys_miscounted(connection: sqlite3.Connection) -> bool:
    return connection.execute(schema.MISCOUNTED_TABLES).fetchone() is not None


def _miscounted(connection: sqlite3.Connection) -> list[int]:
    """The numbers of queues whose counts aren't right. None where the rows are out of order, nor of a database in which
    to count takes long: whoever forks, or copies the WAL, would wait for it."""
    if connection.execute(schema.FREE_PAGES).fetchone()[1] > _COUNTED:
        return []
    return [row[0] for row in counted(connection) or () if row[1:4] != row[4:]]


def _count_anew(core: Core, numbers: list[int]) -> None:
    def run(connection: sqlite3.Connection) -> None:
        for number in numbers:
            recount(connection, number)

    core.writer.do(Work(run, synced=False))
    core.counts_were_damaged()


def _look(connection: sqlite3.Connection, after: int, most: int) -> int | None:
    """Look so many keys up, from the place behind `after` on: the last one's place, None where that was all, or _HIDES
    where one isn't found."""
    (last,) = connection.execute(schema.SOME_PLACES, (after, most)).fetchone()
    if last is None:
        return None
    return _HIDES if connection.execute(schema.NOT_FOUND, (after, last)).fetchone() else int(last)


def _make_anew(core: Core) -> None:
    aside = core.writer.do(Work(make_index_anew, synced=False))
    core.index_was_damaged(aside if isinstance(aside, list) else [])


def _is_time(core: Core) -> bool:
    """Whether nobody has looked for a day; who asks is about to."""
    path = core.owners.file("checked")
    with suppress(OSError):
        if abs(SYSTEM.wall() - os.stat(path).st_mtime) < _EVERY:
            return False
    with suppress(OSError):
        core.disk.close(core.disk.open(path, create=True))
        os.utime(path)
    return True


def _check(ref: weakref.ref[Core]) -> None:
    after: int | None = 0
    with suppress(StoreError, sqlite3.Error, OSError):
        if (core := _in_use(ref)) is None:
            return
        if _aside(core, _are_keys_astray):
            core.keys_are_astray()
            return
        del core
        while after is not None:
            if (core := _in_use(ref)) is None:
                return
            after = _aside(core, partial(_look, after=after, most=_AT_ONCE))
            if after == _HIDES:  # with the lock free: on a full disk whoever writes waits for it
                _make_anew(core)
                break
            del core
        if (core := _in_use(ref)) is not None:
            for astray in _aside(core, _astray):
                indexes.make_anew(core, astray)
                core.bells.ring_all()
            if numbers := _aside(core, _miscounted):
                _count_anew(core, numbers)


def _in_use(ref: weakref.ref[Core]) -> Core | None:
    core = ref()
    return None if core is None or core.writer.trouble is not None else core


def _aside(core: Core, look: Callable[[sqlite3.Connection], T]) -> T:
    with core.aside:  # no fork comes in the middle of it
        connection = connect(core.path)
        try:
            return look(connection)
        finally:
            connection.close()
