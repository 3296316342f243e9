"""The highest id that was ever given, in a file beside the database: `mark`, id u64 and the same with all its bits
turned, little-endian.

A WAL whose checksums don't hold is taken for one that was never finished, and its commits are gone without a word. Then
the mark knows of ids that the database doesn't. It is memory that all processes share, written when a commit is done,
and never synced: it may lag behind.
"""

from __future__ import annotations

import struct
from contextlib import suppress

from .._disk import Disk

_MARK = struct.Struct("<QQ")
_ALL = (1 << 64) - 1


class Mark:
    """One process's way to the file. Any thread may note; who is late is of no harm. Raises OSError."""

    def __init__(self, path: str, disk: Disk) -> None:
        fd = disk.open(path, create=True)
        try:
            if disk.size(fd) < _MARK.size:
                disk.write(fd, bytes(_MARK.size), 0)
            self._memory = disk.share(fd, _MARK.size)
        finally:
            disk.close(fd)

    def read(self) -> int:
        """The id; 0 where none was noted."""
        id, turned = _MARK.unpack_from(self._memory)
        return int(id) if id ^ turned == _ALL else 0

    def note(self, id: int) -> None:
        """A commit that gave this id is done."""
        try:
            _MARK.pack_into(self._memory, 0, id, id ^ _ALL)
        except ValueError:  # it was closed just now
            pass

    def close(self) -> None:
        self._memory.close()


def forget(path: str, disk: Disk) -> None:
    """The database is a new one."""
    with suppress(FileNotFoundError):
        disk.unlink(path)
