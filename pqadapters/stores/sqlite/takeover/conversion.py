"""The lock on what is to become a database in its place: one process at a time converts it, and of that one thread.

It stands beside the database, and ends with its process. Where nothing came of the conversion its holder takes it away
again, the directory too: so a lock counts only where its file still has the name by which it was opened.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ....clock import SYSTEM
from ....errors import StoreLocked
from ..._directory import Hold, holder, refused, try_lock
from ..._disk import Disk
from ..beside import SIDE, prepare_side
from ..database import rest

_PATIENCE = 60.0  #: seconds that another one may take for it


class Conversion:
    """Of what stands under the name `path`, whatever that is. To be closed."""

    def __init__(self, path: str, disk: Disk) -> None:
        """Waits for others. Raises StoreLocked where they aren't done in time, StoreRefused, DiskError."""
        self._path, self._directory = path, path + SIDE
        self._file = os.path.join(self._directory, "conversion")
        self._disk = disk
        self._hold = self._locked()

    def _locked(self) -> Hold:
        deadline, pause = SYSTEM.monotonic() + _PATIENCE, 0.0
        while (hold := self._try()) is None:
            if SYSTEM.monotonic() > deadline:
                raise self._taken()
            pause = rest(pause)
        return hold

    def _try(self) -> Hold | None:
        """None where somebody has it, or has just taken it away."""
        prepare_side(self._directory, self._disk, trust=False)
        try:
            hold = try_lock(self._file, self._disk)
        except FileNotFoundError:
            return None
        except OSError as error:
            with suppress(OSError):  # where it is empty
                self._disk.rmdir(self._directory)
            raise refused(self._directory, error, "lock") from error
        if hold is None or hold.is_of(self._file):
            return hold
        hold.close()
        return None

    def _taken(self) -> StoreLocked:
        pid = holder(self._file)
        who = "another thread of this process" if pid == os.getpid() else "another process"
        return StoreLocked(f"{self._path} is being converted by {who}; try again when it is done", pid)

    def withdraw(self) -> None:
        """Nothing came of it, and there is no database: nothing stays beside where it was to be, but what others have
        put there."""
        with suppress(OSError):
            if self._hold.is_of(self._file):
                self._disk.unlink(self._file)
                self._disk.rmdir(self._directory)

    def close(self) -> None:
        """Let go of it."""
        self._hold.close()
