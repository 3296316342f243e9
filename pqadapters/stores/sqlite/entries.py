"""The rows of tables: setting, deleting and reading keys in a transaction that is open."""

from __future__ import annotations

import sqlite3
from typing import Any

from . import schema
from .errors import malformed
from .schema import DELAYED, ID_BITS, IDS, PART, entry_checksum, is_whole_entry


def bounds(number: int) -> tuple[int, int]:
    """The place of a table's start, and the one behind its last key."""
    return number << ID_BITS, (number + 1) << ID_BITS


def find(connection: sqlite3.Connection, number: int, key: bytes) -> Any:
    """The key's row, or None."""
    return connection.execute(schema.ENTRY, (number, key)).fetchone()


def value_of(connection: sqlite3.Connection, row: Any) -> bytes:
    """The value of a row that `find` has given."""
    place, value = row[0], row[4]
    return value if value is not None else parts_of(connection, place)


def parts_of(connection: sqlite3.Connection, place: int) -> bytes:
    """A long value, put together; without a part that is damaged, which its checksum tells."""
    parts = connection.execute(schema.PARTS, (place,))
    return b"".join([data for (data,) in parts if isinstance(data, bytes)])


def put(connection: sqlite3.Connection, number: int, key: bytes, value: bytes) -> None:
    """Set the key, which keeps its place if it is there."""
    end, crc = (number + 1) << ID_BITS, entry_checksum(number, key, value)
    if len(value) <= PART:
        connection.execute(schema.SET, (end, number, crc, end, key, value))
        return
    connection.execute(schema.SET, (end, number, crc, end, key, None))
    place, view = find(connection, number, key)[0], memoryview(value)
    for nth, start in enumerate(range(0, len(value), PART)):
        connection.execute(schema.ADD_PART, (place, nth, view[start : start + PART]))


def drop(connection: sqlite3.Connection, number: int, row: Any) -> None:
    """Delete the key of a row that `find` has given. Whatever row is the last one then tells of the whole table."""
    place, end = row[0], bounds(number)[1]
    before = _end(connection, end)
    connection.execute(schema.DROP_ENTRY, (place,))
    last = before[2]
    if before[0] == place and last is None:
        last = place
    connection.execute(schema.COUNT_KEYS, (before[1] - 1, last, end))


def put_aside(connection: sqlite3.Connection, number: int, place: int) -> None:
    """Move a key whose checksum doesn't hold to the damaged ones, if it is still so."""
    row = connection.execute(schema.AT, (place,)).fetchone()
    if row is None or row[5] is None:
        return
    value = value_of(connection, row)
    if not is_whole_entry(number, row[5], row[3], value):
        kept = value[:PART] if isinstance(value, bytes) else value
        connection.execute(schema.PUT_KEY_ASIDE, (place, row[3], row[5], kept))
        drop(connection, number, row)


def clear(connection: sqlite3.Connection, number: int) -> None:
    """Delete all keys."""
    start, end = bounds(number)
    place, _, last = _end(connection, end)[:3]
    connection.execute(schema.CLEAR, (start, end))
    connection.execute(schema.COUNT_KEYS, (0, last or place, end))


def make_index_anew(connection: sqlite3.Connection) -> list[Any]:
    """From the rows, which have checksums: the keys of those that aren't whole, which are put aside. A key that was set
    again because the index hid it is there once then."""
    damaged = [row for row in connection.execute(schema.NOT_FOUND, (0, DELAYED)) if not _is_whole(connection, row)]
    connection.execute(schema.DROP_INDEX)
    aside = [row[2] for row in damaged if _take_out(connection, row)]
    for (place,) in connection.execute(schema.DOUBLES).fetchall():
        connection.execute(schema.DROP_ENTRY, (place,))
    for keys, last in connection.execute(schema.HOW_MANY).fetchall():
        connection.execute(schema.SET_COUNT, (keys, last))
    connection.execute(schema.MAKE_INDEX)
    return aside


def _is_whole(connection: sqlite3.Connection, row: Any) -> bool:
    place, kind, key, crc, value = row
    return is_whole_entry(kind, key, crc, parts_of(connection, place) if value is None else value)


def _take_out(connection: sqlite3.Connection, row: Any) -> bool:
    """A row that isn't whole; whether it was a key's, and not its table's start, which stays."""
    place, _, key, crc, value = row
    if not place & (IDS - 1):
        connection.execute(schema.RESET_START, (place,))
        return False
    connection.execute(schema.PUT_KEY_ASIDE, (place, crc, key, value))
    connection.execute(schema.DROP_ENTRY, (place,))
    return True


def _end(connection: sqlite3.Connection, end: int) -> Any:
    row = connection.execute(schema.END, (end,)).fetchone()
    if row is None or type(row[1]) is not int:
        raise malformed()
    return row
