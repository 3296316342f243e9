"""A file queue of persist-queue's: its `info`, and the items in its chunks.

    info      one dict in the serializer's way: chunksize, size, head and tail = [chunk, items in it, offset]
    q00000    chunks, each a run of items; those in front of the tail have been got, what is behind the head isn't there

An `info` that is missing or damaged leaves all that the chunks have.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from typing import Any, NamedTuple

from ...errors import DiskError
from ...serializers import NAMES
from ...store import Damage
from .framing import FRAMINGS, Broken, Data, Framing
from .rows import Item

INFO = "info"
_CHUNK = re.compile(r"q\d{5,}")
_PART = re.compile(r"tmp[a-z0-9_]{8}")  #: an `info` that was being written
_MAPPED = 64 << 20  #: bytes from which on a chunk isn't read at once


class Info(NamedTuple):
    """`tail` and `head`: chunk and offset."""

    size: int
    tail: tuple[int, int]
    head: tuple[int, int]


def is_theirs(name: str) -> bool:
    """Whether a file of that name is persist-queue's, in a directory that is."""
    return name == INFO or _CHUNK.fullmatch(name) is not None or _PART.fullmatch(name) is not None


def chunks_in(directory: str) -> dict[int, str]:
    """The chunks, by number. Raises DiskError."""
    try:
        names = [name for name in os.listdir(directory) if _CHUNK.fullmatch(name)]
    except OSError as error:
        raise _refused(directory, error) from error
    return {int(name[1:]): os.path.join(directory, name) for name in sorted(names, key=lambda name: int(name[1:]))}


class FileQueue:
    """The queue in a directory that nobody changes meanwhile. `damage` grows while it is read."""

    def __init__(self, directory: str, framing: Framing) -> None:
        """Raises DiskError."""
        self.directory, self.damage = directory, list[Damage]()
        self._framing = framing
        self._chunks = chunks_in(directory)
        self.info = self._read_info()

    def _read_info(self) -> Info | None:
        path = os.path.join(self.directory, INFO)
        there = os.path.exists(path)
        data = _content(path) if there else b""
        info = info_in(data, self._framing)
        if info is None and (there or not self.is_blank()):
            what = "is damaged" if data else "is empty or missing"
            reason = f"it {what}: some items may come again that were got already"
            self.damage.append(Damage(path, 0, len(data), reason))
        return info

    def is_blank(self) -> bool:
        """Whether its chunks are empty; without an `info`, too, it is a queue into which nothing was put yet."""
        return not any(os.path.getsize(path) for path in self._chunks.values())

    def items(self) -> Iterator[Item]:
        """Everything readable, in order."""
        count, known = 0, len(self.damage)
        for number in self._numbers():
            for item in self._items_of(self._chunks[number], *self._span(number)):
                count += 1
                yield item
        if self.info is not None and count != self.info.size and len(self.damage) == known:
            reason = f"it says that there are {self.info.size} items, and {count} were found"
            self.damage.append(Damage(os.path.join(self.directory, INFO), 0, 0, reason))

    def _numbers(self) -> list[int]:
        """Of the chunks that have items; those that are missing are reported."""
        if self.info is None:
            return list(self._chunks)
        first, last = self.info.tail[0], self.info.head[0]
        numbers = [number for number in self._chunks if first <= number <= last]
        used = last + (self.info.head[1] > 0)  # the last one may not be there yet
        missing = used - first - sum(number < used for number in numbers)
        if missing > 0:
            reason = f"{missing} of the files q{first:05d} to q{last:05d} are missing"
            self.damage.append(Damage(self.directory, 0, 0, reason))
        return numbers

    def _span(self, number: int) -> tuple[int, int | None]:
        """Where its items begin and end."""
        if self.info is None:
            return 0, None
        (first, start), (last, end) = self.info.tail, self.info.head
        return start if number == first else 0, end if number == last else None

    def _items_of(self, path: str, at: int, end: int | None) -> Iterator[Item]:
        data = _content(path)
        limit = len(data) if end is None else min(len(data), end)
        if max(at, end or 0) > len(data):
            missing = max(at, end or 0) - len(data)
            self.damage.append(Damage(path, len(data), missing, "the file is shorter than it was"))
        when = os.stat(path).st_mtime
        while at < limit:
            try:
                behind = self._framing.end(data, at, limit)
                yield Item(at, self._framing.payload(data, at, behind), when)
            except Broken as error:
                behind = self._framing.again(data, at, limit)
                self.damage.append(Damage(path, at, behind - at, str(error)))
            at = behind


def info_in(data: Data, framing: Framing) -> Info | None:
    """What `info` says; None where that makes no sense."""
    try:
        end = framing.end(data, 0, len(data))
        found: Any = framing.value(data, end)
        (tail, _, start), (head, _, stop) = found["tail"], found["head"]
        numbers = (found["size"], tail, start, head, stop)
        if all(type(number) is int and number >= 0 for number in numbers) and (tail, start) <= (head, stop):
            return Info(found["size"], (tail, start), (head, stop))
    except (Broken, TypeError, ValueError, LookupError):
        pass
    return None


def guess(directory: str) -> str | None:
    """The serializer of a file queue, as its `info` shows it, or else its first chunk; nothing is loaded that could run
    anything. None where that isn't one of ours, or its library is missing."""
    first = next(iter(chunks_in(directory).values()), None)
    found = writers_of(directory)
    if not found and first is not None:
        found = [name for name in NAMES if (framing := _framing(name)) and _reads(framing, _content(first))]
    return found[0] if found else None


def writers_of(directory: str) -> list[str]:
    """The serializers by which its `info` makes sense."""
    info = os.path.join(directory, INFO)
    data = _content(info) if os.path.exists(info) else b""
    return [name for name in NAMES if (framing := _framing(name)) and info_in(data, framing)]


def _framing(name: str) -> Framing | None:
    try:
        return FRAMINGS[name]()
    except ImportError:
        return None


def _reads(framing: Framing, data: Data) -> bool:
    try:
        return framing.end(data, 0, len(data)) > 0
    except Broken:
        return False


def _content(path: str) -> Data:
    """What is in a file; of a large one as it is asked for. Raises DiskError."""
    try:
        with open(path, "rb", opener=_no_wait) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
            if info.st_size < _MAPPED:
                return file.read()
            return mmap(file.fileno(), 0, access=ACCESS_READ)
    except OSError as error:
        raise _refused(path, error) from error


def _no_wait(path: str, flags: int) -> int:
    """As an opener: of a pipe in a file's place the other end isn't waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refused(path: str, error: OSError) -> DiskError:
    return DiskError(error.errno, f"can't be read: {os.strerror(error.errno or 0)}", path)
