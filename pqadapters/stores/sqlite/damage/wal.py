"""The frames of a WAL, those behind damage as well.

SQLite takes a WAL for one that ends where a frame's checksum doesn't hold, and writes over what stands behind that.
Each frame's checksum goes on from that of the frame before it, so that whole ones behind damage can be told from a torn
tail, and from what an earlier round of the WAL has left.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from ..._disk import Disk, is_there, open_file
from ..schema import PAGE_SIZE
from ..space.reserve import Reserve

_HEAD, FRAME_HEAD = 32, 24  #: bytes
_MAGIC = 0x377F0682  #: and with the lowest bit set where checksums are big-endian


class Frame(NamedTuple):
    """A version of a page."""

    page: int
    commit: int  #: how many pages the database has from here on, where a transaction ends; else 0
    at: int  #: where in the WAL the page stands
    whole: bool  #: as is all before it: SQLite takes it
    sound: bool  #: it goes on from what the frame before it says


def open_wal(path: str) -> BinaryIO:
    """To be closed, at any time: SQLite has no locks on it. OSError."""
    return open(path, "rb", opener=open_file)


def has_magic(path: str) -> bool:
    """Whether the file begins as a WAL does."""
    try:
        with open_wal(path) as wal:
            return int.from_bytes(wal.read(4), "big") & ~1 == _MAGIC
    except OSError:
        return False


def frames(wal: BinaryIO, size: int) -> Iterator[Frame]:
    """Of a WAL with pages of that size, from its start on."""
    head = wal.read(_HEAD)
    if len(head) < _HEAD:
        return
    magic, _, its_size, _ = struct.unpack(">IIII", head[:16])
    order, before = ">" if magic & 1 else "<", struct.unpack(">II", head[24:])
    whole = (magic & ~1, its_size, checksum(head[:24], (0, 0), order)) == (_MAGIC, size, before)
    salt, doubtful = head[16:24], list[Frame]()
    if not whole:
        salt, order = b"", "<" if sys.byteorder == "little" else ">"
    for at in range(_HEAD, Disk().filled(wal.fileno()), FRAME_HEAD + size):
        data = wal.read(FRAME_HEAD + size)
        if len(data) < FRAME_HEAD + size:
            break
        page, commit, its_salt, *after = struct.unpack(">II8sII", data[:FRAME_HEAD])
        salt = salt or (its_salt if page else b"")  # where the head is damaged, or has gone with what was behind it
        is_old = its_salt != salt  # left from before the WAL was begun anew; or damaged, if others come behind it
        sound = not is_old and checksum(data[FRAME_HEAD:], checksum(data[:8], before, order), order) == tuple(after)
        before, whole = (after[0], after[1]), whole and sound
        frame = Frame(page, commit, at + FRAME_HEAD, whole, sound)
        if is_old:
            doubtful.append(frame)
            continue
        yield from doubtful
        doubtful.clear()
        yield frame


def checksum(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    """The sums of the file format, 8 bytes at a time."""
    first, second = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second


# What is put aside


class Aside(NamedTuple):
    """A copy of a WAL that SQLite took for a shorter one."""

    path: str
    first: int  #: of the ids that were lost so
    last: int


def put_aside(path: str, first: int, last: int, disk: Disk) -> str:
    """Copy the WAL of this database if whole transactions stand behind damage to it, with these ids in them; the copy's
    path, "" where there is nothing of that kind. On the disk when this returns. The caller sees to it that nobody
    writes to the WAL, or does this, meanwhile. Raises OSError."""
    try:
        wal = open_wal(f"{path}-wal")
    except FileNotFoundError:
        return ""
    with wal:
        end = _end_behind_damage(wal)
        return _copied(wal, end, _stem(path) + f"{first}-{last}", disk) if end else ""


def _end_behind_damage(wal: BinaryIO) -> int:
    """Where the last frame ends, if a transaction ends behind damage; else 0. A torn tail has none."""
    end = is_lost = 0
    for frame in frames(wal, PAGE_SIZE):
        end = frame.at + PAGE_SIZE
        is_lost = is_lost or (frame.commit and frame.sound and not frame.whole)
    return end if is_lost else 0


def _copied(wal: BinaryIO, end: int, stem: str, disk: Disk) -> str:
    directory, target, n = os.path.dirname(stem), f"{stem}.bin", 1
    while is_there(target):
        if _is_copy(target, wal, end):  # made by who has died right behind that
            return target
        n += 1
        target = f"{stem}-{n}.bin"
    if disk.free(directory) < 2 * end + Reserve.SIZE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), directory)
    try:
        disk.copy_file(wal.fileno(), end, f"{target}.tmp")
    except OSError:
        with suppress(OSError):
            disk.unlink(f"{target}.tmp")
        raise
    disk.rename(f"{target}.tmp", target)
    disk.sync_directory(directory)
    return target


def _is_copy(path: str, wal: BinaryIO, end: int) -> bool:
    """A WAL's head has random numbers in it."""
    with open_wal(path) as copy:
        wal.seek(0)
        return os.fstat(copy.fileno()).st_size == end and copy.read(_HEAD) == wal.read(_HEAD)


def those_aside(path: str) -> list[Aside]:
    """The copies that were made of this database's WAL. OSError."""
    directory, stem = os.path.split(_stem(path))
    name = re.compile(rf"{re.escape(stem)}(\d+)-(\d+)(-\d+)?\.bin")
    found = [(each, name.fullmatch(each)) for each in sorted(os.listdir(directory or os.curdir))]
    return [Aside(os.path.join(directory, each), int(ids[1]), int(ids[2])) for each, ids in found if ids]


def _stem(path: str) -> str:
    directory, base = os.path.split(path)
    return os.path.join(directory, f"damaged-{base}-wal-")
