"""What the last process knew of a WAL, of which SQLite may find less.

The wal-index ("-shm") is memory that all processes share, and outlives them: its head says how many frames of the WAL
are of commits. Who opens a database that nobody has open throws it away, and reads the WAL up to a checksum that
doesn't hold. Missing ids tell of that where commits gave any (`processes/mark.py`); those of mappings give none.

Behind a power cut it may lag behind, or know of commits that didn't come to the disk: whoever asks looks whether they
stand in the WAL, behind damage. "WAL-mode File Format", https://www.sqlite.org/walformat.html, section 2, has the head.
"""

from __future__ import annotations

import os
import struct
import sys
from itertools import islice

from ....interrupts import SuppressRefusals
from ..schema import PAGE_SIZE
from .wal import checksum, frames, open_wal

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_HEAD = struct.Struct("=I12xI20xII")  #: its version, frames and sums; twice, whole where both are alike
_VERSION = 3007000
_SUMMED = 40  #: bytes of it, of which the last eight are the sums
_OPEN_AT = 128  #: the byte that whoever has the database open has a lock on
_LOCK = struct.Struct("hhqqi0q")  #: struct flock of Linux
_ORDER = "<" if sys.byteorder == "little" else ">"


def knows_of_more(path: str) -> bool:
    """Whether commits were in the WAL of this database that SQLite will not find when it is opened now. False where the
    system doesn't tell, or somebody has it open. To be called before SQLite is."""
    with SuppressRefusals():
        if os.path.getsize(f"{path}-wal"):
            known = _known(f"{path}-shm")
            return known > 0 and not _are_whole(f"{path}-wal", known)
    return False


def _known(index: str) -> int:
    """How many frames are of commits, as it says; 0 where that is nothing to go by. OSError."""
    if fcntl is None or sys.platform != "linux" or _is_open_here(index):
        return 0
    with open_wal(index) as file:
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _OPEN_AT, 1, 0)
        if _LOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK:
            return 0
        head, again = file.read(_HEAD.size), file.read(_HEAD.size)
    if len(head) < _HEAD.size or head != again:
        return 0
    version, known, *sums = _HEAD.unpack(head)
    whole = version == _VERSION and tuple(sums) == checksum(head[:_SUMMED], (0, 0), _ORDER)
    return known if whole else 0


def _is_open_here(file: str) -> bool:
    """Whether this process has it open, as a connection of the program's own does: who closes a file loses all locks
    that the process has on it. OSError."""
    info = os.stat(file)
    for fd in os.listdir("/proc/self/fd"):
        with SuppressRefusals():  # the one of this listing, say
            if os.path.samestat(os.stat(f"/proc/self/fd/{fd}"), info):
                return True
    return False


def _are_whole(wal: str, count: int) -> bool:
    """Whether the WAL begins with so many frames that SQLite takes. OSError."""
    with open_wal(wal) as file:
        return sum(frame.whole for frame in islice(frames(file, PAGE_SIZE), count)) == count
