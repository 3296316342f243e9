"""Another program's database, whose place one of ours is to take: had to ourselves, read, and kept under another name.

One process at a time (a lock beside the database says so), one thread. Until `hand_over` the file is that program's as
it was, but for its WAL, which goes into it; from its return on it is ours, and on the disk. A process that is killed
leaves the one or the other.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import ExitStack

from ....clock import SYSTEM
from ....errors import StoreError, StoreLocked
from ..._directory import refused
from ..._disk import Disk, is_there
from ..._holders import users_of
from ..._kept import free_name, keep_file
from ..beside import SIDE, make_way, remove_files, state_of
from ..damage.trees import Raw
from ..database import FROZEN, address, patiently, rest
from ..errors import READ_ONLY, translated
from ..schema import SYNCED
from .conversion import Conversion


class Predecessor:
    """To be closed. `seconds` is how long to wait for who uses the database."""

    def __init__(self, path: str, *, seconds: float, disk: Disk | None = None) -> None:
        """Raises StoreLocked where another process doesn't let go of the lock, StoreRefused, DiskError."""
        self.path = path
        self._seconds = seconds
        self._disk = disk or Disk()
        self._connection: sqlite3.Connection | None = None
        self._raw: Raw | None = None
        self._conversion = Conversion(path, self._disk)

    def seize(self) -> sqlite3.Connection:
        """A connection that has the database to itself, with all that was committed in the one file; text is bytes.

        Raises StoreLocked where another program has it open, DiskError, FormatError.
        """
        if not os.access(self.path, os.W_OK):  # SQLite calls that an I/O error
            raise translated(sqlite3.OperationalError(READ_ONLY), self.path)
        self._wait_for_users()
        try:
            self._connection = patiently(self._alone, self.path, self._seconds)
        except StoreLocked:
            raise self._used(None) from None
        return self._connection

    def _wait_for_users(self) -> None:
        """A connection that does nothing has no lock where the database isn't in WAL mode: then the system is asked who
        has the file open. Who only looks, as whoever opens it at this moment, is done soon."""
        deadline, pause = SYSTEM.monotonic() + self._seconds, 0.0
        while pids := users_of([self.path]):
            if SYSTEM.monotonic() > deadline:
                raise self._used(min(pids))
            pause = rest(pause)

    def _used(self, pid: int | None) -> StoreLocked:
        who = f"process {pid}" if pid else "another program, or in this one by another library"
        return StoreLocked(f"{self.path} is open in {who}: end that first", pid)

    def _alone(self) -> sqlite3.Connection:
        """Raises sqlite3.Error. To leave WAL mode is refused while anybody else has the database open."""
        connection = sqlite3.connect(
            address(self.path, "mode=rw"), uri=True, timeout=0.0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.text_factory = bytes
            connection.execute(SYNCED)
            for _ in range(2):
                connection.execute("PRAGMA journal_mode = DELETE").fetchone()
                connection.execute("BEGIN EXCLUSIVE")
                (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
                if mode == b"delete":
                    return connection
                connection.execute("ROLLBACK")  # somebody has been quicker
            raise sqlite3.OperationalError("database is locked")
        except BaseException:
            connection.close()
            raise

    def raw(self) -> Raw:
        """Its raw pages. They stay open to the end. Raises DiskError."""
        if self._raw is None:
            self._raw = Raw(self.path)
        return self._raw

    def words(self, error: sqlite3.Error) -> StoreError:
        """The error of ours for one that its connection has raised."""
        return translated(error, self.path)

    def free_name(self, suffix: str) -> str:
        """What it is to be called."""
        return free_name(self.path + suffix, self.path)

    def clear(self, new: str) -> None:
        """What there is of a database that was to take the place goes. Raises DiskError."""
        try:
            remove_files(new, self._disk)
            shutil.rmtree(f"{new}{SIDE}", ignore_errors=True)
        except OSError as error:
            raise refused(os.path.dirname(self.path), error, "tidy up in") from error

    def hand_over(self, new: str, kept: str) -> None:
        """The database `new`, which is closed, takes the place of this one, which is called `kept` from then on.

        Raises DiskError; then nothing has changed.
        """
        disk, directory = self._disk, os.path.dirname(self.path)
        try:
            if any(is_there(new + side) for side in ("-wal", "-journal")):
                raise StoreError(f"{new} isn't one file: {self.path} was left as it is")
            shutil.rmtree(f"{new}{SIDE}", ignore_errors=True)
            disk.sync_file(new)
            keep_file(self.path, kept, disk)
            make_way(self.path, disk)
            disk.rename(new, self.path)
            disk.sync_directory(directory)
        except OSError as error:
            raise refused(directory, error, "put a database into") from error

    def close(self) -> None:
        """Let go of it. Raises StoreError."""
        with ExitStack() as ends:
            ends.callback(self._conversion.close)
            if self._raw is not None:
                ends.callback(self._raw.close)
            if self._connection is not None:
                self._disconnect(self._connection)

    def _disconnect(self, connection: sqlite3.Connection) -> None:
        try:
            connection.close()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error


def roll_back(path: str) -> None:
    """What a process that was killed has left half-written is undone, as it is by whoever opens the database next.
    Raises StoreError."""

    def look() -> None:
        connection = sqlite3.connect(address(path, "mode=rw"), uri=True, timeout=0.0, isolation_level=None)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        finally:
            connection.close()

    patiently(look, path)


class Snapshot:
    """A database as it is now, to be looked at and closed; nothing is written, not even beside it, where nobody has it
    open. Text is bytes."""

    def __init__(self, path: str) -> None:
        """Raises StoreError."""
        self.path = path
        self._before = state_of(path)
        self._still = not any(os.path.exists(path + side) for side in ("-wal", "-journal"))
        self.connection = patiently(lambda: _read_only(path, FROZEN if self._still else "mode=ro"), path)

    def close(self) -> None:
        """Raises StoreLocked where somebody has changed it who wasn't there: what was read may make no sense."""
        self.connection.close()
        if self._still and state_of(self.path) != self._before:
            raise StoreLocked(f"{self.path} was changed by another program meanwhile: end that first")


def _read_only(path: str, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address(path, how), uri=True, timeout=0.0, isolation_level=None, check_same_thread=False
    )
    try:
        connection.text_factory = bytes
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        return connection
    except BaseException:
        connection.close()
        raise
