"""Room on the disk that is given up when the disk is full. On a full disk acknowledgements need space in the WAL, and
nothing but acknowledgements frees any."""

from __future__ import annotations

import os
from contextlib import suppress

from .._disk import Disk


class Reserve:
    """The file that takes it, for all processes."""

    SIZE = 1 << 20  #: bytes

    def __init__(self, path: str, disk: Disk) -> None:
        self._path = path
        self._disk = disk

    def keep(self) -> None:
        """See that it is there, if there is room."""
        with suppress(OSError):
            if os.path.exists(self._path) and os.path.getsize(self._path) >= self.SIZE:
                return
            fd = self._disk.open(self._path, create=True)
            try:
                self._disk.allocate(fd, self.SIZE)
            except OSError:
                self._disk.unlink(self._path)
            finally:
                self._disk.close(fd)

    def give_up(self) -> bool:
        """Whether there was one."""
        try:
            self._disk.unlink(self._path)
        except OSError:
            return False
        return True
