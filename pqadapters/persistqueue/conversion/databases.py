"""A database of persist-queue's: looked at, converted in place, or moved into another store.

In place: all its queues and mappings go into a new database beside it, which then takes its name in one step; the old
one is called `data.db.persist-queue` from then on. Whoever is killed on the way leaves the old one as it was, and the
next opening begins anew. While it is copied the old one is locked, for persist-queue as well.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DiskError, FormatError, StoreError
from ...opening import (
    open_database,
    open_raw,
    open_snapshot,
    probe_file,
    roll_back,
    take_over_database,
    words_of,
)
from ...store import Clear, Damage, Store
from .moving import MOVED, Mover, goes_on
from .report import Part, Progress, Report
from .rows import Source
from .tables import Table, are_theirs, tables_of
from .turns import turn

if TYPE_CHECKING:
    from ...stores.sqlite.damage.trees import Raw
    from ...stores.sqlite.takeover.predecessor import Predecessor

SUFFIX = ".persist-queue"  #: of the original's name
_NEW = ".converting"
_HEAD, _APPLICATION = 100, slice(68, 72)  #: bytes that every database begins with; whose it is: 0, or a program's
PATIENCE = 5.0  #: seconds that others may have it open who don't convert it


def quiet(more: int) -> None:
    """Progress that nobody looks at."""


@contextmanager
def room_for(place: str) -> Iterator[None]:
    """While its new store is made. Raises DiskError that speaks of the place, and of the ways out, where there is no
    room: of a store that is gone again nobody knows."""
    try:
        yield
    except DiskError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskError(
            error.errno,
            f"there is no room to convert it: {os.strerror(error.errno)}; it was left as it is. A conversion takes "
            "about as much room again: free some space there, or put it elsewhere (pqadapters migrate PATH --to URL)",
            place,
        ) from error


def is_theirs(path: str) -> bool:
    """Whether the file is a database that persist-queue wrote, and this user's. Raises StoreLocked, DiskError, and
    FormatError for one that SQLite can't read."""
    if not os.path.isfile(path) or not _own(path):
        return False
    try:
        found = probe_file(path)
    except FormatError:
        _check_readable(path)
        raise
    except DiskError as error:
        if error.errno != errno.EROFS or not os.access(path, os.W_OK):
            raise
        roll_back(path)  # SQLite has to write even to read it
        found = probe_file(path)
    return found.sqlite and not found.ours and are_theirs(found.tables)


def _check_readable(path: str) -> None:
    """Raises FormatError for another program's database that is cut off, or whose list of tables is damaged: SQLite
    reads nothing of the one, without the other nobody knows which rows are a queue's, and what brings out the rows of
    ours finds none."""
    where = f"{Path(path).absolute().as_uri()}?mode=ro&immutable=1"
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if len(head) < _HEAD or any(head[_APPLICATION]):
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(where, uri=True)) as connection:
        try:
            connection.execute("SELECT name FROM sqlite_master").fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise FormatError(
                f"{path} is cut off, or damaged where the names of its tables are, so that nothing can be converted: "
                f"{error}. It was left as it is. SQLite's own program brings out the rows: sqlite3 {path} .recover"
            ) from error


def _own(path: str) -> bool:
    return not hasattr(os, "geteuid") or os.stat(path).st_uid == os.geteuid()


def convert_database(path: str, *, bare: str = "default", progress: Progress = quiet) -> Report | None:
    """Make a database of ours of the file; None where it is one by now. `bare` is the name that the queue of an async
    class gets, which has none in the file.

    Raises StoreRefused for what persist-queue 1.1.0 doesn't write, StoreLocked where others use it, DiskError: then it
    is as it was.
    """
    path = os.path.realpath(path)
    with turn(), closing(take_over_database(path, seconds=PATIENCE)) as old:
        if not is_theirs(path):
            return None
        look_at_database(path, bare=bare)  # what is refused is refused before anything is touched
        return _convert(path, old, bare, progress)


def _convert(path: str, old: Predecessor, bare: str, progress: Progress) -> Report:
    new = path + _NEW
    try:
        old.clear(new)
        with room_for(path), open_database(new, durability="process") as store:
            source = Source(old.seize(), path, old.raw)  # now: who is opening it in another thread lets none be opened
            parts = _move_all(source, store, bare, progress)
            store.commit(Clear(MOVED))
            store.checkpoint()
        kept = old.free_name(SUFFIX)
        old.hand_over(new, kept)
    except sqlite3.Error as error:
        raise old.words(error) from error
    finally:
        with suppress(StoreError):
            old.clear(new)
    report = Report(path, parts, source.damage)
    report.settle(kept)
    report.tell()
    return report


def move_database(path: str, store: Store, *, progress: Progress = quiet) -> Report:
    """Put all of it into another store; the file stays as it is. What was broken off goes on where it was.

    Raises StoreError, ValueError for pickles that would have to be signed.
    """
    path = os.path.realpath(path)
    with goes_on(path), _reading(path) as source:
        return Report(path, _move_all(source, store, "default", progress, alone=False), source.damage)


def look_at_database(path: str, *, bare: str = "default", alone: bool = True) -> Report:
    """What is in it; nothing is changed. `alone`: there may be no other tables in it, as when it is converted. Raises
    StoreRefused, StoreLocked, DiskError."""
    path = os.path.realpath(path)
    with _reading(path) as source:
        tables = tables_of(source.connection, path, bare, alone=alone)
        parts = [Part(table.target, table.table, source.count(table) or {}) for table in tables]
        for table in tables:
            if source.count(table) is None:
                reason = f"table {table.table} is damaged: what is readable shows when it is converted"
                source.damage.append(Damage(path, 0, 0, reason))
        return Report(path, parts, source.damage)


@contextmanager
def _reading(path: str) -> Iterator[Source]:
    """Its tables at one moment, by a connection that changes nothing."""
    with ExitStack() as ends:

        def raw() -> Raw:
            found = open_raw(path)
            ends.callback(found.close)
            return found

        snapshot = open_snapshot(path)
        ends.callback(snapshot.close)
        try:
            yield Source(snapshot.connection, path, raw)
        except sqlite3.Error as error:
            raise words_of(error, path) from error


def _move_all(
    source: Source, store: Store, bare: str, progress: Progress, *, alone: bool = True
) -> list[Part]:
    tables = tables_of(source.connection, source.path, bare, alone=alone)
    source.knows(tables)
    mover = Mover(store, source.path, progress)
    return [_moved(source, table, mover) for table in tables]


def _moved(source: Source, table: Table, mover: Mover) -> Part:
    """Raises StoreError where not all has arrived."""
    expected, damaged = source.count(table), len(source.damage)
    with closing(source.items(table)) as items:
        counts = mover.move(table, items)
    if expected is not None and counts != expected and len(source.damage) == damaged:
        raise StoreError(
            f"{source.path}: table {table.table} has {_words(expected)}, and {_words(counts)} arrived in "
            f"{mover.place}. It was left as it is"
        )
    return Part(table.target, table.table, counts)


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "nothing"
