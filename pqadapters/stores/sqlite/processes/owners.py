"""Which processes live: each that claims has a number, and a file of that number whose lock ends with the process.

Numbers are given by the database and never again, so neither a pid that is used anew nor a reboot makes a dead process
look alive; a process that is slow, stopped or in a debugger has its lock and is never robbed. The files stand in
"<database>-owners", beside the locks for opening and checkpoints, the mark and the reserve.
"""

from __future__ import annotations

import errno
import os
import sqlite3

from ....interrupts import SuppressRefusals, check_refusal
from ..._directory import Hold, Patience, refused, try_lock
from ..._disk import Disk
from .. import schema
from ..beside import SIDE, prepare_side
from ..database import rest
from ..errors import locked

_PATIENCE = 60.0  #: seconds that another process may take to open the database, or to copy its WAL


class Owners:
    """This process among those that use one database."""

    def __init__(self, path: str, disk: Disk, trust: bool) -> None:
        self._path, self.directory = path, path + SIDE
        self.number: int | None = None  #: ours, once it is needed
        self._disk = disk
        self._hold: Hold | None = None
        prepare_side(self.directory, disk, trust=trust)

    def file(self, name: str) -> str:
        """The path of what is kept beside the database under that name."""
        return os.path.join(self.directory, name)

    def lock(self, name: str) -> Hold | None:
        """The lock of that name, for as long as the result lives; None where another process has it. OSError."""
        return try_lock(self.file(name), self._disk)

    def hold(self, name: str) -> Hold | None:
        """As `lock`. Raises DiskError, StoreRefused."""
        try:
            return self.lock(name)
        except OSError as error:
            raise refused(self.directory, error, "lock") from error

    def hold_patiently(self, name: str, seconds: float = _PATIENCE) -> Hold:
        """Raises StoreLocked where another process, which must be stopped in the middle of that, doesn't let go."""
        patience, pause = Patience(seconds), 0.0
        while (hold := self.hold(name)) is None:
            if patience.is_over():
                raise locked(self._path)
            pause = rest(pause)
        return hold

    def enter(self, connection: sqlite3.Connection) -> int:
        """Take a number, in a transaction: nobody sees it before our lock is there. OSError."""
        self.leave()  # a number whose transaction was broken off
        while True:
            number = connection.execute(schema.ADD_OWNER, (os.getpid(),)).lastrowid
            assert number is not None
            hold = try_lock(self._process(number), self._disk)
            if hold is not None:
                self.number, self._hold = number, hold
                return number
            connection.execute(schema.DROP_OWNER, (number,))  # another process had it in a transaction that was undone

    def dead(self, connection: sqlite3.Connection) -> list[int]:
        """The numbers of processes that have ended and left theirs."""
        numbers = [number for (number,) in connection.execute(schema.OWNERS)]
        return [number for number in numbers if number != self.number and self.is_dead(number)]

    def is_dead(self, number: int) -> bool:
        """Whether the process of that number has ended. Where the system can't tell, it lives."""
        try:  # a share, so that who looks at the same moment doesn't take us for that process
            hold = try_lock(self._process(number), self._disk, name=False, create=False, shared=True)
        except OSError as error:
            check_refusal(error)
            return error.errno == errno.ENOENT
        if hold is None:
            return False
        hold.close()
        return True

    def bury(self, connection: sqlite3.Connection) -> int:
        """Make ready what dead processes had claimed, in a transaction; how many records."""
        released = 0
        for number in self.dead(connection):
            released += connection.execute(schema.RELEASE_OWNER, (number,)).rowcount
            connection.execute(schema.DROP_OWNER, (number,))
            with SuppressRefusals():
                self._disk.unlink(self._process(number))
        for number in self._orphans(connection):
            released += connection.execute(schema.RELEASE_OWNER, (number,)).rowcount
        return released

    def bury_few(self, connection: sqlite3.Connection) -> int:
        """The same of a few records, which takes little room; 0 where there is none."""
        numbers = self.dead(connection) + self._orphans(connection)
        released = (connection.execute(schema.RELEASE_FEW_OF_OWNER, (number,)).rowcount for number in numbers)
        return next(filter(None, released), 0)

    def _orphans(self, connection: sqlite3.Connection) -> list[int]:
        return [number for (number,) in connection.execute(schema.ORPHANS)]

    def _process(self, number: int) -> str:
        return self.file(f"process-{number}")

    def leave(self) -> None:
        """Let go of our number."""
        if self._hold is not None:
            with SuppressRefusals():
                self._disk.unlink(self._process(self.number or 0))
            self._hold.close()
        self.begin_again()

    def begin_again(self) -> None:
        """In a forked child: the number is the parent's. Its descriptor was closed at the fork."""
        self.number = self._hold = None
