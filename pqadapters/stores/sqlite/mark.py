"""The highest id that was ever given, in a file beside the database: `mark`, id u64 and its CRC-32, little-endian.

A WAL whose checksums don't hold is taken for one that was never finished, and its commits are gone without a word. Then
the mark knows of ids that the database doesn't. It is written when a commit is done, and not synced: it may lag behind.
"""

from __future__ import annotations

import struct
import threading
from contextlib import suppress
from zlib import crc32

from .._disk import Disk

_ID = struct.Struct("<Q")
_WHOLE = struct.Struct("<QI")


class Mark:
    """One process's way to the file. Any thread may note; who is late is of no harm."""

    def __init__(self, path: str, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._lock = threading.RLock()  # a descriptor that is closed may be another file's at once
        self._fd: int | None = disk.open(path, create=True)

    def read(self) -> int:
        """The id; 0 where none was noted."""
        assert self._fd is not None
        data = self._disk.read(self._fd, _WHOLE.size, 0)
        if len(data) < _WHOLE.size:
            return 0
        id, crc = _WHOLE.unpack(data)
        return int(id) if crc32(data[: _ID.size]) == crc else 0

    def note(self, id: int) -> None:
        """A commit that gave this id is done. What can't be noted leaves less to be found out, and nothing else."""
        data = _ID.pack(id)
        with self._lock:
            if self._fd is not None:
                with suppress(OSError):
                    self._disk.write(self._fd, data + crc32(data).to_bytes(4, "little"), 0)

    def close(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, None
            if fd is not None:
                self._disk.close(fd)

    def begin_again(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()


def forget(path: str, disk: Disk) -> None:
    """The database is a new one."""
    with suppress(FileNotFoundError):
        disk.unlink(path)
