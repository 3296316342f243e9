"""Room in the WAL ahead of what is committed: blocks of zeros at its end, which SQLite takes for no frames and writes
over. A sync of blocks that the file had already changes no length and no block map: it takes half as long.

The caller has the database's write transaction open, so that nobody else appends to the file meanwhile.
"""

from __future__ import annotations

import os

from ....interrupts import SuppressRefusals, check_refusal
from ..._disk import Disk

COMMITS = 32  #: so many synced commits between two looks at the file
FIRST, MOST = 1 << 20, 16 << 20  #: bytes: how long the file is made at first, and at most
_SAMPLE = 4096  #: bytes
_SPARE = 8  #: how many times as much must be free on the disk, which others may need more


def extend(path: str, disk: Disk) -> bool:
    """Double the WAL of this database if it is used up for the most part; whether it was. A disk that is nearly full is
    left alone."""
    with SuppressRefusals():
        fd = disk.open(f"{path}-wal")
        try:
            size = disk.size(fd)
            return 0 < size < MOST and _is_used(fd, size, disk) and _double(path, fd, size, disk)
        finally:
            disk.close(fd)
    return False


def _is_used(fd: int, size: int, disk: Disk) -> bool:
    """Whether there are frames in its last quarter."""
    return any(disk.read(fd, _SAMPLE, size - size // 4))


def _double(path: str, fd: int, size: int, disk: Disk) -> bool:
    more = min(MOST, max(FIRST, 2 * size)) - size
    if disk.free(os.path.dirname(path)) < _SPARE * more:
        return False
    try:
        disk.write(fd, bytes(more), size)
        return True
    except OSError as error:
        disk.truncate(fd, size)
        check_refusal(error)
        return False
