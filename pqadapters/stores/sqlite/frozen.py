"""Tables of a database that can only be read: on a read-only disk, or somebody else's. Nothing beside it is needed.

SQLite takes it for a file that nobody changes, and locks nothing; so one whose WAL has something in it, which may be in
use elsewhere, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ...errors import StoreClosed, StoreRefused
from ...store import Capabilities
from .database import FROZEN, check_version, read_only
from .names import Names
from .reader import Reader
from .tables import Tables


class FrozenTables:
    """What a Store has for looking at tables. Any thread may use it. Raises StoreRefused, FormatError, DiskError."""

    capabilities = Capabilities()

    def __init__(self, path: str) -> None:
        self.place = os.path.realpath(path)
        wal = f"{self.place}-wal"
        if os.path.exists(wal) and os.path.getsize(wal):
            raise StoreRefused(
                f"{self.place} can't be written here, and its WAL isn't empty, so it isn't whole by itself: close it "
                "where it is written (its last handle empties the WAL), or copy both to where this process may write"
            )
        reader = Reader(self.place, lambda path: read_only(path, FROZEN))
        reader.at_one_moment(lambda connection: check_version(connection, self.place))
        self._reader: Reader | None = reader
        self._tables = Tables(reader, Names(reader), lambda *_: None)

    def _open(self) -> Tables:
        if self._reader is None:
            raise StoreClosed(f"this handle on {self.place} was closed; open it again")
        return self._tables

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._open().value(table, key)

    def keys(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[bytes]:
        return self._open().keys(table, after, reverse)

    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self._open().scan(table, after, reverse)

    def snapshot(self, table: str, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        return self._open().snapshot(table, keys)

    def count(self, table: str) -> int:
        return self._open().count(table)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.end()
            self._reader = None
