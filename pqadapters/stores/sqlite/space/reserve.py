"""Room on the disk that is given up when the disk is full. On a full disk acknowledgements need space in the WAL, and
nothing but acknowledgements frees any; and what is in the WAL needs as much again where it is copied into the database,
before the WAL can be used anew. So the reserve is as large as the WAL, and something more.
"""

from __future__ import annotations

import errno
import os

from ....interrupts import SuppressRefusals, check_refusal
from ..._disk import Disk

_OUT_OF_REACH = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE)


class Reserve:
    """The file that takes it, for all processes."""

    SIZE = 1 << 20  #: bytes beyond those of the WAL

    def __init__(self, path: str, disk: Disk) -> None:
        self._path = path
        self._disk = disk

    def is_ample(self, wal: int) -> bool:
        """For a WAL of so many bytes, and not far too large for it."""
        return self.SIZE + wal <= self.size() <= 4 * (self.SIZE + wal)

    def keep(self, wal: int = 0, *, ample: bool = False, alone: bool = True) -> bool:
        """See that it is large enough for a WAL of so many bytes; whether there was room for that. On a small disk a
        part of SIZE has to do, which is some transactions. `ample`: where it is too small it is made larger than need
        be, if there is room, so that it isn't grown so often. Not where the disk is full: puts need that room. Not
        `alone`: others may be about it as well, and none is made where there is none."""
        if self.trim(wal):
            return True
        size = self.size()
        spares = (self.SIZE, self.SIZE // 4, self.SIZE // 16)
        if ample and size < self.SIZE + wal and self._grow((self.SIZE + wal) * 5 // 4, alone):
            return True
        return any(self.size() >= spare + wal or self._grow(spare + wal, alone) for spare in spares)

    def trim(self, wal: int) -> bool:
        """Give back what is far more than a WAL of so many bytes needs; whether it was."""
        if self.size() <= 4 * (self.SIZE + wal):
            return False
        self._cut(self.SIZE + wal)
        return True

    def _grow(self, wanted: int, alone: bool) -> bool:
        with SuppressRefusals():
            try:
                fd = self._disk.open(self._path, create=alone)
            except OSError as error:
                check_refusal(error)
                return self._is_out_of_reach(error, alone)
            try:
                return self._allocate(fd, wanted, alone)
            finally:
                self._disk.close(fd)
        return False

    @staticmethod
    def _is_out_of_reach(error: OSError, alone: bool) -> bool:
        """Whatever room there is: this process has given up its privileges, or has no descriptor to spare, or the
        directory is gone."""
        return error.errno in _OUT_OF_REACH or (alone and error.errno == errno.ENOENT)

    def _allocate(self, fd: int, wanted: int, alone: bool) -> bool:
        """What it has is asked of the file itself: cut to what it had before another process gave it up, and made it
        anew, it would have a length and no blocks."""
        size = self._disk.size(fd)
        try:
            self._disk.allocate(fd, wanted)
            return True
        except OSError as error:
            if size:
                self._disk.truncate(fd, size)
            elif alone:
                self._disk.unlink(self._path)
            check_refusal(error)
        return False

    def _cut(self, size: int) -> None:
        with SuppressRefusals():
            fd = self._disk.open(self._path)
            try:
                if self._disk.size(fd) > size:
                    self._disk.truncate(fd, size)
            finally:
                self._disk.close(fd)

    def size(self) -> int:
        """How many bytes it has."""
        try:
            return os.path.getsize(self._path)
        except OSError as error:
            check_refusal(error)
            return 0

    def give_up(self) -> bool:
        """Whether there was one."""
        try:
            self._disk.unlink(self._path)
        except OSError as error:
            check_refusal(error)
            return False
        return True
