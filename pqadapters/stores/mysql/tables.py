"""Looking at tables: one key, several at one moment, all of them page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .names import Names
from .reader import Reader
from .schema import bound, digest

_FIRST_PAGE = 8  #: keys: who looks for one at an end needs no more
_PAGE = 1000  #: keys that are fetched at a time then, at most,
_PAGE_BYTES = 1 << 20  #: and as many as their values come to about so much
_AT_ONCE = 500  #: keys in a question


class Tables:
    """What there is to see of the tables of one store."""

    def __init__(self, reader: Reader, names: Names) -> None:
        self._reader, self._sql = reader, reader.sql
        self._names = names

    def value(self, table: str, key: bytes) -> bytes | None:
        with self._reader.patience.share():
            number = self._names.table(table)
            rows = self._reader.rows(self._sql.VALUE, number, digest(key)) if number is not None else ()
        return rows[0][0] if rows else None

    def count(self, table: str) -> int:
        with self._reader.patience.share():
            number = self._names.table(table)
            return int(self._reader.scan(self._sql.COUNT, number)[0][0]) if number is not None else 0

    def snapshot(self, table: str, keys: Sequence[bytes] | None) -> dict[bytes, bytes]:
        with self._reader.patience.share():
            return self._snapshot(table, keys)

    def _snapshot(self, table: str, keys: Sequence[bytes] | None) -> dict[bytes, bytes]:
        number = self._names.table(table)
        if number is None or (keys is not None and not keys):
            return {}
        if keys is None:
            return dict(self._reader.scan(self._sql.ALL, number))
        digests = [digest(key) for key in dict.fromkeys(keys)]
        questions = [
            bound(self._sql.SOME, (number, digests[n : n + _AT_ONCE])) for n in range(0, len(digests), _AT_ONCE)
        ]
        if len(questions) == 1:  # one statement is one moment
            found = dict(self._reader.rows(questions[0]))
        else:
            found = dict(self._reader.at_one_moment(questions))
        return {key: found[key] for key in keys if key in found}

    def scan(self, table: str, after: bytes | None, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        for row in self._rows(table, after, reverse, self._sql.SCAN_BACK if reverse else self._sql.SCAN):
            yield row[1], row[2]

    def keys(self, table: str, after: bytes | None, reverse: bool) -> Iterator[bytes]:
        for row in self._rows(table, after, reverse, self._sql.SCAN_KEYS_BACK if reverse else self._sql.SCAN_KEYS):
            yield row[1]

    def _rows(self, table: str, after: bytes | None, reverse: bool, question: str) -> Iterator[Any]:
        """Those that were there when it begins: what is set behind them would be seen again and again."""
        number = self._names.table(table)
        if number is None:
            return
        low, high = 0, int(self._reader.rows(self._sql.HIGHEST, number)[0][0]) + 1
        rows = self._reader.rows(self._sql.PLACE_OF, number, digest(after)) if after is not None else ()
        if rows:
            low, high = (low, rows[0][0]) if reverse else (rows[0][0], high)
        most = _FIRST_PAGE
        while rows := self._reader.rows(question, number, low, high, most):
            yield from rows
            if len(rows) < most:
                return
            size = sum(len(row[-1]) for row in rows) // len(rows) + 1
            most = min(_PAGE, max(_FIRST_PAGE, _PAGE_BYTES // size))
            low, high = (low, rows[-1][0]) if reverse else (rows[-1][0], high)
