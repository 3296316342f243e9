"""Looking at tables: one key, several at one moment, all of them page by page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

from . import schema
from .entries import bounds, parts_of
from .names import Names
from .reader import Reader
from .schema import is_whole_entry

_FIRST_PAGE = 8  #: keys: who looks for one at an end needs no more
_PAGE = 1000  #: keys that are fetched at a time then,
_PAGE_BYTES = 1 << 20  #: unless their values are more than this before that


class Tables:
    """What there is to see of the tables of one database."""

    def __init__(self, reader: Reader, names: Names, damaged: Callable[[str, int, int, Any], object]) -> None:
        self._reader, self._row = reader, reader.row
        self._names, self._numbers = names, names.tables
        self._damaged = damaged  #: called with a table, its number, the place of a row and its key

    def value(self, table: str, key: bytes) -> bytes | None:
        number = self._numbers.get(table) or self._names.table(table)
        if number is None:
            return None
        row = self._row(schema.VALUE, (number, key))
        if row is None:
            return None
        crc, value = row
        start = (len(key) << 20 ^ number) & 0xFFFFFFFF  # as in entry_checksum(), without a call
        if type(value) is bytes and crc32(value, crc32(key, start)) == crc:
            return value
        return self.snapshot(table, (key,)).get(key)  # a long one, or a damaged one

    def _checked(self, table: str, number: int, row: Any) -> bytes | None:
        """The value of a row of place, key, crc and value, if it is whole."""
        place, key, crc, value = row
        if is_whole_entry(number, key, crc, value):
            whole: bytes = value
            return whole
        self._damaged(table, number, place, key)
        return None

    def count(self, table: str) -> int:
        number = self._names.table(table)
        if number is None:
            return 0
        row = self._reader.row(schema.END, (bounds(number)[1],))
        if row is None or type(row[1]) is not int or row[1] < 0:
            raise self._reader.damaged()
        return row[1]

    def snapshot(self, table: str, keys: Sequence[bytes] | None) -> dict[bytes, bytes]:
        number = self._names.table(table)
        if number is None:
            return {}

        def run(connection: sqlite3.Connection) -> list[Any]:
            rows = _all(connection, number) if keys is None else _some(connection, number, keys)
            return [row if row[3] is not None else (*row[:3], parts_of(connection, row[0])) for row in rows]

        found = {}
        for row in self._reader.at_one_moment(run):
            whole = self._checked(table, number, row)
            if whole is not None:
                found[row[1]] = whole
        return found

    def scan(self, table: str, after: bytes | None, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        for number, row in self._rows(table, after, reverse, values=True):
            whole = self.value(table, row[1]) if row[3] is None else self._checked(table, number, row)
            if whole is not None:
                yield row[1], whole

    def keys(self, table: str, after: bytes | None, reverse: bool) -> Iterator[bytes]:
        for _, (_, key) in self._rows(table, after, reverse, values=False):
            if isinstance(key, bytes):
                yield key

    def _rows(self, table: str, after: bytes | None, reverse: bool, values: bool) -> Iterator[tuple[int, Any]]:
        """Those that were there when it begins: what is set behind them would be seen again and again."""
        number = self._names.table(table)
        if number is None:
            return
        low, high = bounds(number)
        last = self._reader.row(schema.END, (high,))
        high = last[0] + 1 if last is not None else low
        row = None if after is None else self._reader.row(schema.ENTRY, (number, after))
        if row is not None:
            low, high = (low, row[0]) if reverse else (row[0], high)
        most = _FIRST_PAGE
        while True:
            rows = self._page(low, high, reverse, values, most)
            most = _PAGE
            for row in rows:
                yield number, row
            if not rows:
                return
            low, high = (low, rows[-1][0]) if reverse else (rows[-1][0], high)

    def _page(self, low: int, high: int, reverse: bool, values: bool, most: int) -> list[Any]:
        if values:
            return self._reader.page(schema.SCAN_BACK if reverse else schema.SCAN, (low, high), most, _PAGE_BYTES)
        return self._reader.rows(schema.SCAN_KEYS_BACK if reverse else schema.SCAN_KEYS, (low, high, most))


def _all(connection: sqlite3.Connection, number: int) -> list[Any]:
    return connection.execute(schema.SCAN, bounds(number)).fetchall()


def _some(connection: sqlite3.Connection, number: int, keys: Sequence[bytes]) -> Iterator[Any]:
    for key in keys:
        row = connection.execute(schema.ENTRY, (number, key)).fetchone()
        if row is not None:
            yield row[0], key, row[3], row[4]
