"""What is readable of a damaged dbm file, and where the rest of it is.

dbm.dumb: `NAME.dir` has a line for each key, "'key', (offset, size)" with the key's bytes as latin-1, of which the last
one counts, and `NAME.dat` the values (CPython's Lib/dbm/dumb.py). dbm.sqlite3: a table Dict (key, value); where SQLite
can't read a page, the rows behind it are looked for by their number. dbm.gnu and dbm.ndbm: what their library reads.
"""

from __future__ import annotations

import sqlite3
from ast import literal_eval
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

from ...store import Damage
from .dbm import DUMB, SQLITE, UNREADABLE, Error, ShelfDamaged, ShelfError, open_dbm, pairs_of

Pairs = Iterator[tuple[bytes, bytes]]
_Row = tuple[int, bytes | None, bytes | None]
_LAST = (1 << 63) - 1  #: the last number that a row may have
_REFUSED = (Error, OSError, KeyError)  #: by one of the modules


def pairs_in(path: str, kind: str, damage: list[Damage] | None) -> Generator[tuple[bytes, bytes], None, None]:
    """All keys and values of a dbm. Of a damaged one all that can be read, where there is a list, which has then what
    can't. Raises ShelfError."""
    if damage is not None and not _is_whole(path, kind):
        yield from _readable(path, kind, damage)
        return
    with closing(open_dbm(path, kind, "r")) as database:
        yield from pairs_of(database, path, kind)


def _is_whole(path: str, kind: str) -> bool:
    try:
        with closing(open_dbm(path, kind, "r")) as database:
            for _ in pairs_of(database, path, kind):
                pass
    except ShelfDamaged:
        return False
    return True


def _readable(path: str, kind: str, damage: list[Damage]) -> Pairs:
    if kind == DUMB:
        return _of_dumb(path, damage)
    if kind == SQLITE:
        return _of_sqlite(path, damage)
    return _of_module(path, kind, damage)


# dbm.dumb


def _of_dumb(path: str, damage: list[Damage]) -> Pairs:
    with open(f"{path}.dat", "rb") as file:
        for key, (at, size) in _index(f"{path}.dir", damage).items():
            end = file.seek(0, 2)
            there = max(0, min(size, end - at)) if at >= 0 else 0
            if there != size:
                reason = f"of the value of key {key!r:.200} {there} bytes are there, and {size} should be"
                damage.append(Damage(file.name, at, max(0, size), reason))
                continue
            file.seek(at if size else 0)  # without a size it may be anything
            yield key, file.read(size)


def _index(path: str, damage: list[Damage]) -> dict[bytes, tuple[int, int]]:
    found: dict[bytes, tuple[int, int]] = {}
    at = 0
    with open(path, "rb") as file:
        for line in file:
            if line.strip():
                try:
                    key, place = _entry(line)
                    found[key] = place
                except UNREADABLE:
                    damage.append(Damage(path, at, len(line), "this line says of no key where its value is"))
            at += len(line)
    return found


def _entry(line: bytes) -> tuple[bytes, tuple[int, int]]:
    """Raises one of UNREADABLE for what is none."""
    key, (at, size) = literal_eval(line.decode("latin-1").rstrip())
    if type(at) is not int or type(size) is not int:
        raise ValueError("no place")
    return key.encode("latin-1"), (at, size)


# dbm.sqlite3

_BEHIND = "SELECT rowid, CAST(key AS BLOB), CAST(value AS BLOB) FROM Dict NOT INDEXED WHERE rowid >= ? ORDER BY rowid"


def _of_sqlite(path: str, damage: list[Damage]) -> Pairs:
    seen = set[bytes]()
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as connection:
            for number, key, value in _rows(connection, path, damage):
                if key is None or value is None:
                    damage.append(Damage(path, 0, 0, f"row {number} of its table has no key, or no value"))
                elif key not in seen:
                    seen.add(key)
                    yield key, value
    except sqlite3.OperationalError as error:  # a lock, or the disk
        raise ShelfError(f"{path} can't be read: {error}") from error


def _rows(connection: sqlite3.Connection, path: str, damage: list[Damage]) -> Iterator[_Row]:
    row: int | None = 1
    while row is not None:
        try:
            for found in connection.execute(_BEHIND, (row,)):
                row = found[0] + 1
                yield found
            return
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            if one := _answers(connection, row):  # the module asks for the next one before it gives this one
                yield from one
                row = one[0][0] + 1
                continue
            lost, row = row, _next_readable(connection, row)
            rows = f"the rows from {lost} on" if row is None else f"rows {lost} to {row - 1}"
            damage.append(Damage(path, 0, 0, f"{rows} of its table can't be read: {error}"))


def _next_readable(connection: sqlite3.Connection, row: int) -> int | None:
    """The first row behind this one, which can't be read, that can be; None if there is none."""
    low, high = row, row + 1
    while _answers(connection, high) is None:
        if high == _LAST:
            return None
        low, high = high, min(2 * high - row, _LAST)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if _answers(connection, middle) is None else (low, middle)
    return high if _answers(connection, high) else None


def _answers(connection: sqlite3.Connection, row: int) -> list[_Row] | None:
    """The first row from that number on, if there is any; None where SQLite can't tell."""
    try:
        return connection.execute(f"{_BEHIND} LIMIT 1", (row,)).fetchall()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return None


# The others


def _of_module(path: str, kind: str, damage: list[Damage]) -> Pairs:
    with closing(open_dbm(path, kind, "r")) as database:
        seen = set[bytes]()
        try:
            for key in _keys(database):
                if key in seen:
                    raise ValueError("its list of keys comes back to where it was")
                seen.add(key)
                try:
                    value = bytes(database[key])
                except _REFUSED as error:
                    reason = "it has none" if isinstance(error, KeyError) else error
                    damage.append(Damage(path, 0, 0, f"the value of key {key!r:.200} can't be read: {reason}"))
                    continue
                yield key, value
            if len(database) != len(seen):
                raise ValueError(f"it says that there are {len(database)} keys, and {len(seen)} were found")
        except (*_REFUSED, ValueError) as error:
            damage.append(Damage(path, 0, 0, f"keys may be missing: {error}"))


def _keys(database: Any) -> Iterator[bytes]:
    """One by one where the module can, so that those before a damage are there."""
    if not hasattr(database, "firstkey"):
        yield from map(bytes, database.keys())
        return
    key = database.firstkey()
    while key is not None:
        yield bytes(key)
        key = database.nextkey(key)
