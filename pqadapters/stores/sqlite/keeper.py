"""What is done beside the work: the sync of "process" durability, and the WAL and the file kept small.

One thread, while there is something to do. It keeps no store alive, and writers go on meanwhile: a checkpoint that has
to have the database to itself, because readers have kept the WAL from being used again, takes what the last one left.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from ...errors import StoreError
from .database import connect
from .errors import is_busy

if TYPE_CHECKING:
    from .core import Core

CHECKPOINT = 4 << 20  #: bytes of WAL from which on it is copied into the database
TOO_LONG = 16 << 20  #: bytes of WAL from which on it begins anew, whoever reads
_PER_LOOK = 64  #: commits between two looks at the WAL's length
_PATIENCE = 5.0  #: seconds that its end is waited for
_IDLE_ROUNDS = 5


class Keeper:
    """The thread, if there is one. `lag`: seconds until what was written is synced; None where commits are."""

    def __init__(self, core: Core) -> None:
        self._core = weakref.ref(core)
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._looked = 0
        self.lag: float | None = None
        self.unsynced = False

    def written(self, commits: int) -> None:
        """There was a commit, which is the store's so manieth, and nobody waits for its sync."""
        if self.lag is not None:
            self.unsynced = True
            if self._thread is None:
                self._start()
        if commits - self._looked >= _PER_LOOK:
            self._looked = commits
            core = self._core()
            if core is not None and self._thread is None and _length(core.path) > CHECKPOINT:
                self._start()

    def _start(self) -> None:
        with self._guard:
            if self._thread is not None or self._ended.is_set():
                return
            thread = threading.Thread(target=_run, args=(weakref.ref(self), self._ended), daemon=True)
            thread.name = "pqadapters-keeper"
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # the interpreter is shutting down
                core = self._core()
                if core is not None and self.unsynced:
                    self.sync(core)

    def sync(self, core: Core) -> None:
        """What was committed is on the disk when this returns. Raises DiskError."""
        self.unsynced = False
        core.sync_wal()

    def retire(self) -> None:
        with self._guard:
            self._thread = None

    def round(self) -> bool:
        """Do what there is to do; whether there was anything."""
        core = self._core()
        if core is None:
            return False
        busy = self.unsynced
        if busy:
            with suppress(StoreError):
                self.sync(core)
        if _length(core.path) > CHECKPOINT:
            busy = True
            with suppress(StoreError, sqlite3.Error, OSError):
                core.shorten()
                while core.give_back():
                    pass
        return busy

    def begin_again(self, core: Core) -> Keeper:
        """In a forked child: one without a thread."""
        keeper = Keeper(core)
        keeper.lag = self.lag
        return keeper

    def stop(self) -> None:
        """No more from here on: it has let go of the database when this returns, unless it is what is asking."""
        self._ended.set()
        with self._guard:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE)


def _run(ref: weakref.ref[Keeper], ended: threading.Event) -> None:
    idle = 0
    while True:
        keeper = ref()
        if keeper is None:
            return
        idle = 0 if keeper.round() else idle + 1
        if idle >= _IDLE_ROUNDS:
            keeper.retire()
            return
        pause = keeper.lag or 1.0
        del keeper  # between rounds the store may go
        if ended.wait(pause):
            return


def _length(path: str) -> int:
    try:
        return os.stat(f"{path}-wal").st_size
    except OSError:
        return 0


def shorten(path: str, *, whole: bool = False) -> None:
    """Copy the WAL into the database, so that it is used again from its start. `whole`: it is empty then, or this
    raises that it is locked. Raises sqlite3.Error."""
    connection = connect(path)
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if whole or _length(path) > TOO_LONG:
            connection.execute("PRAGMA busy_timeout = 1000")
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy and whole:
                raise sqlite3.OperationalError("database is locked")
    except sqlite3.Error as error:
        if whole or not is_busy(error):
            raise
    finally:
        connection.close()
