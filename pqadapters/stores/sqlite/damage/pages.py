"""Rows out of the raw pages of a database, damaged or not: what SQLite itself refuses to read.

The file format is that of https://www.sqlite.org/fileformat2.html. Only leaf pages of tables are looked at, wherever
they stand: the pages above them, which say where to look, may be damaged. Newer versions of pages are taken from the
WAL, those behind damage as well: only SQLite needs all that is before a frame. Free pages are left out, since what
stands there was deleted.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from ....store import Damage
from ..._disk import Disk, open_file
from ..schema import APPLICATION, PAGE_SIZE
from .wal import frames

_LEAF = 0x0D
_FREE = b"\x02"  #: in the map of pages
_PENDING = 1 << 30  #: the byte whose page is never used
_MAGIC = b"SQLite format 3\0"
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  #: serial type -> bytes


class Row(NamedTuple):
    """A row of some table: its key, and its columns, of which an INTEGER PRIMARY KEY is None."""

    key: int
    columns: tuple[Any, ...]


class Cell(NamedTuple):
    """Where a row stands."""

    page: int
    offset: int
    behind: bool  #: in what stands in the WAL behind damage


class Pages:
    """The pages of a database that nobody changes meanwhile. Raises OSError where the system can't read it.

    `trusting`: their size is what the file's head says, which may be damaged; else it is that of a database of ours.
    `wal`: one that was put aside, whose pages are shown alone.
    """

    def __init__(self, path: str, *, trusting: bool = True, wal: str = "") -> None:
        log = wal or f"{path}-wal"
        self._file, self._wal = _opened(path), _opened(log) if os.path.lexists(log) else None
        head = self._file.read(100).ljust(100, b"\0")
        self.is_ours = head[68:72] == APPLICATION.to_bytes(4, "big")  #: as its head says, which may be damaged
        self._has_map = self.is_ours or not head.startswith(_MAGIC) or any(head[52:56])
        size = int.from_bytes(head[16:18], "big") if trusting and head.startswith(_MAGIC) else 0
        self._size = 65536 if size == 1 else size if size in {1 << n for n in range(9, 16)} else PAGE_SIZE
        self._usable = self._size - (head[20] if size and head[20] < 32 else 0)
        fd, disk = self._file.fileno(), Disk()
        self._count = min(disk.size(fd) // self._size, -(-disk.filled(fd) // self._size))
        self._in_file = 0 if wal else self._count
        self._newer: dict[int, int] = {}  # page -> offset in the WAL
        self._behind: dict[int, int] = {}  # the same for those behind damage
        if self._wal is not None:
            self._read_wal()

    def close(self) -> None:
        for file in (self._file, self._wal):
            if file is not None:
                with suppress(OSError):  # of no consequence: it was only read
                    file.close()

    def _read_wal(self) -> None:
        assert self._wal is not None
        pending = dict[int, int]()
        for frame in frames(self._wal, self._size):
            if not frame.whole:
                self._behind[frame.page] = frame.at
                continue
            pending[frame.page] = frame.at
            if frame.commit:
                self._newer.update(pending)
                self._count = max(self._count, *pending)
                pending.clear()

    def _page(self, number: int) -> bytes:
        at = self._newer.get(number)
        if at is not None and self._wal is not None:
            self._wal.seek(at)
            return self._wal.read(self._size)
        self._file.seek((number - 1) * self._size)
        return self._file.read(self._size)

    def _page_behind(self, number: int) -> bytes:
        assert self._wal is not None
        self._wal.seek(self._behind[number])
        return self._wal.read(self._size)

    def _free(self) -> set[int]:
        """The pages that hold nothing, as far as their list can be read, and the map of all pages says so as well."""
        found: set[int] = set()
        trunk = int.from_bytes(self._page(1)[32:36], "big")
        while 0 < trunk <= self._count and trunk not in found:
            found.add(trunk)
            page = self._page(trunk).ljust(self._size, b"\0")  # the file may be cut off within it
            count = min(int.from_bytes(page[4:8], "big"), self._usable // 4 - 2)
            found.update(struct.unpack(f">{count}I", page[8 : 8 + 4 * count]))
            trunk = int.from_bytes(page[:4], "big")
        return set(filter(self._is_free, found)) if self._has_map else found

    def _is_free(self, number: int) -> bool:
        """By the map, which a database has that can give pages back. Damage to it brings back what was deleted, and
        hides nothing."""
        if not 2 < number <= self._count:
            return False
        each = self._usable // 5 + 1  # pages that one of the map tells of, and itself
        of_map = (number - 2) // each * each + 2
        of_map += of_map == _PENDING // self._size + 1
        at = 5 * (number - of_map - 1)
        return at >= 0 and self._page(of_map)[at : at + 1] == _FREE

    @property
    def size(self) -> int:
        """Bytes of a page."""
        return self._size

    def page(self, number: int) -> bytes:
        """Its bytes; fewer where the file has no such page."""
        return self._page(number) if number > 0 else b""

    def used(self) -> Iterator[int]:
        """The pages that aren't free."""
        free = self._free()
        beyond = (number for number in sorted(self._newer) if number > self._in_file)
        return (number for number in chain(range(1, self._in_file + 1), beyond) if number not in free)

    def children(self, number: int) -> list[int]:
        """The pages below an inner page of a table's tree, in their order."""
        page, start = self._page(number), 100 if number == 1 else 0
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        pointers = page[start + 12 : start + 12 + 2 * min(count, self._usable // 6)]
        found = [int.from_bytes(page[offset : offset + 4], "big") for offset in self._pointed_at(pointers)]
        return [*found, int.from_bytes(page[start + 8 : start + 12], "big")]

    def cells_on(self, number: int) -> Iterator[Cell]:
        """Where rows may stand on a page."""
        return (Cell(number, offset, False) for offset in self._offsets(self._page(number), number))

    def damage(self, number: int, reason: str) -> Damage:
        """What is said of a page that can't be read."""
        return Damage(str(self._file.name), (number - 1) * self._size, self._size, f"{reason} (page {number})")

    def cells(self) -> Iterator[Cell]:
        """Where rows may stand."""
        for number in self.used():
            yield from self.cells_on(number)
        for number in self._behind:
            yield from (Cell(number, offset, True) for offset in self._offsets(self._page_behind(number), number))

    def _offsets(self, page: bytes, number: int) -> list[int]:
        start = 100 if number == 1 else 0
        if len(page) < self._size or page[start] != _LEAF:
            return []
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        pointers = page[start + 8 : start + 8 + 2 * min(count, self._usable // 4)]
        return [offset for offset in self._pointed_at(pointers) if start + 8 <= offset < self._usable - 3]

    def _pointed_at(self, pointers: bytes) -> list[int]:
        """Bits that would point beyond the page are left out, as by SQLite, which finds a row though one is flipped."""
        return [offset & (self._size - 1) for offset in struct.unpack(f">{len(pointers) // 2}H", pointers)]

    def row(self, cell: Cell) -> Row | None:
        """The row that stands there; None where it can't be read."""
        page = self._page_behind(cell.page) if cell.behind else self._page(cell.page)
        try:
            size, at = _varint(page, cell.offset)
            key, at = _varint(page, at)
            return Row(key - (1 << 64) if key >> 63 else key, _columns(self._payload(page, at, size)))
        except (ValueError, IndexError, struct.error):
            return None

    def _payload(self, page: bytes, at: int, size: int) -> bytes:
        """The record of a cell, with what of it stands in overflow pages. Raises ValueError."""
        local = self._local(size)
        if size > self._count * self._size + len(self._behind) * self._size:
            raise ValueError("it says that it is longer than the file")
        parts, left = [page[at : at + local]], size - local
        following = int.from_bytes(page[at + local : at + local + 4], "big") if left else 0
        while left > 0:
            if not 0 < following <= max(self._count, following * (following in self._behind)):
                raise ValueError("a part of it is missing")
            more = self._page_behind(following) if following in self._behind else self._page(following)
            parts.append(more[4 : 4 + min(left, self._usable - 4)])
            left -= self._usable - 4
            following = int.from_bytes(more[:4], "big")
        return b"".join(parts)

    def _local(self, size: int) -> int:
        """How many bytes of a record stand in the cell itself."""
        most = self._usable - 35
        if size <= most:
            return size
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (self._usable - 4)
        return local if local <= most else least


def _opened(path: str) -> BinaryIO:
    return open(path, "rb", opener=open_file)  # closed by Pages.close()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(9):
        byte = data[at + n]
        if n == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + n + 1
    raise AssertionError("unreachable")


def _columns(record: bytes) -> tuple[Any, ...]:
    """The columns of a record. Raises ValueError, IndexError, struct.error where that is none."""
    end, at = _varint(record, 0)
    if not 0 < end <= len(record):
        raise ValueError("its header is longer than it is")
    types = []
    while at < end:
        kind, at = _varint(record, at)
        types.append(kind)
    found: list[Any] = []
    for kind in types:
        value, at = _column(record, at, kind)
        found.append(value)
    if at != len(record):
        raise ValueError("it is longer than its columns")
    return tuple(found)


def _column(record: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(record[at:end], "big", signed=True), end
    if kind == 7:
        (number,) = struct.unpack(">d", record[at : at + 8])
        return None if number != number else number, at + 8  # to SQLite what is no number is NULL
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError("there is no such type")
    end = at + (kind - 12) // 2
    if end > len(record):
        raise ValueError("it is cut off")
    return (record[at:end] if kind % 2 == 0 else record[at:end].decode("utf-8", "replace")), end
