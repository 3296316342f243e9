"""What is done beside the work: the sync of "process" durability, acknowledgements that were put off, and the WAL and
the file kept small.

One thread, while there is something to do. It keeps no store alive, and writers go on meanwhile: a checkpoint that has
to have the database to itself, because readers have kept the WAL from being used again, takes what the last one left.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ... import telling
from ...clock import SYSTEM
from ...ending import enduring, start_thread
from ...errors import StoreError, StoreLocked, StorePoisoned
from ...interrupts import Flag, check_refusal
from .._ahead import PUT_OFF
from . import schema
from .database import connect, patiently
from .errors import is_busy
from .schema import PAGE_SIZE
from .space import runway

if TYPE_CHECKING:
    from .core import Core
    from .store import SqliteStore

logger = telling.logger("pqadapters.stores.sqlite")

CHECKPOINT = 16 << 20  #: bytes, about, that are committed between two copies of the WAL into the database
_SYNCED = 2 << 20  #: the same, where callers wait for syncs: one of a WAL that grows no more takes less time
TOO_LONG = 64 << 20  #: bytes of WAL from which on its file is cut as well
_PER_COMMIT = 3 * PAGE_SIZE  #: bytes, about, that a commit takes in the WAL beside payloads
_READERS = 250  #: milliseconds that readers are waited for who still use the WAL
_IN_TURN = 2.0  #: seconds that writers are kept out, at most, for readers who take turns
_BETWEEN = 0.01  #: seconds between two looks at them
_WRITER = 1.0  #: seconds that whoever writes is waited for
_PATIENCE = 5.0  #: seconds that its end is waited for
_LOOK = 64 << 10  #: bytes that are committed between two looks whether the reserve is large enough; by each process
_IDLE_ROUNDS = 5


class Keeper:
    """The thread, if there is one. `lag`: seconds until what was written is synced; None where commits are."""

    def __init__(self, core: Core) -> None:
        self._core = weakref.ref(core)
        self._guard = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ended = Flag()
        self._called = Flag()  #: there is something to do before the next round
        self._volume = 0  #: bytes that were committed since the last copy
        self._is_much = False  #: and that is enough for another one
        self._unlooked = 0  #: bytes that were committed since the last look at the reserve
        self._waited = 0  #: commits whose callers waited for a sync, since the last look at the WAL's room
        self._put_off: dict[int, Callable[[], SqliteStore | None]] = {}  #: handles with acknowledgements to carry out
        self.lag: float | None = None
        self.unsynced = False
        self._refused = ""  #: why the WAL couldn't be copied, as was told

    def sync_within(self, lag: float) -> None:
        """What is written from now on is synced so many seconds later at most."""
        if self.lag is None or lag < self.lag:
            self.lag = lag
            self._called.set()  # the thread may be in a longer pause

    def written(self, size: int, *, synced: bool = False) -> None:
        """There was a commit of so many bytes of payloads; with a sync, or nobody waits for that."""
        if self.lag is not None:
            self.unsynced = True
            if self._thread is None:
                self._start()
        if synced:
            self._waited += 1
        self._volume += size + _PER_COMMIT
        self._unlooked += size + _PER_COMMIT
        if self._unlooked > _LOOK:
            self._unlooked = 0
            core = self._core()
            if core is not None:
                core.room.keep_reserve()
        self._is_much = self._is_much or self._volume > (_SYNCED if synced else CHECKPOINT)
        if (self._is_much or self._waited >= runway.COMMITS) and not self._called.is_set():
            self._called.set()
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        given = weakref.ref(self), self._ended, self._called
        try:
            thread = threading.Thread(target=enduring(_run), args=given, daemon=True)
            thread.name = "pqadapters-keeper"
            with self._guard:
                if self._thread is not None or self._ended.is_set():
                    return
                self._thread = thread
            start_thread(thread)  # with nothing held: a signal handler that comes here may write, too
        except RuntimeError:  # the interpreter is shutting down, or is one beside the main one, without daemon threads
            self._thread = None
            core = self._core()
            if core is not None and self.unsynced:
                self.sync(core)
        except BaseException:  # of a signal handler: nobody knows whether it runs; it ends if so, and is begun again
            self._thread = None
            raise

    def serves(self) -> bool:
        """Whether the thread that asks is the one."""
        return self._thread is threading.current_thread()

    def settle_soon(self, number: int, handle: SqliteStore) -> None:
        """It has put acknowledgements off, which are to be carried out though nobody calls it again."""
        if number not in self._put_off:
            self._put_off[number] = weakref.ref(handle)
            self.call()

    def call(self) -> None:
        """There is something to do."""
        self._called.set()
        if self._thread is None:
            self._start()

    def settle(self, *, at_once: bool = False) -> None:
        """Have acknowledgements carried out that have waited long enough."""
        for number, ref in list(self._put_off.items()):
            handle = ref()
            if handle is None or handle.settle_put_off(at_once=at_once):
                self._put_off.pop(number, None)
            if handle is not None and handle.has_put_off():  # meanwhile
                self._put_off[number] = ref

    @property
    def pause(self) -> float:
        """Seconds until the next round."""
        lag = self.lag or 1.0
        return min(lag, PUT_OFF) if self._put_off else lag

    def sync(self, core: Core) -> None:
        """What was committed is on the disk when this returns. Raises StorePoisoned, DiskError."""
        self.unsynced = False
        try:
            core.sync_wal()
        except StorePoisoned:
            raise
        except BaseException:  # it wasn't tried, and is in the next round
            self.unsynced = True
            raise

    def sync_aside(self, core: Core) -> None:
        """As `sync`, where nobody is there to be told."""
        try:
            self.sync(core)
        except StorePoisoned as error:
            logger.error("%s", error)
        except StoreError:
            pass

    def retire(self) -> None:
        """The thread ends; another one begins where something came right before that."""
        with self._guard:
            self._thread = None
        if self.unsynced or self._called.is_set() or self._put_off:
            self._start()

    def round(self) -> bool:
        """Do what there is to do; whether there was anything."""
        self._called.clear()
        core = self._core()
        if core is None:
            return False
        busy = self.unsynced or bool(self._put_off) or bool(core.unreleased)
        if self._put_off:
            self.settle()
        if core.unreleased:
            with suppress(StoreError):
                core.release_rest()
        if self.unsynced:
            self.sync_aside(core)
        if self._waited >= runway.COMMITS:
            self._waited, busy = 0, True
            with suppress(StoreError):
                core.room.extend_wal()
        if self._is_much:
            self._volume, self._is_much, busy = 0, False, True
            try:
                core.room.shorten()
                self._refused = ""
                while core.room.give_back():
                    pass
            except (StoreError, sqlite3.Error, OSError) as error:
                self._tell(core, error)
        return busy

    def _tell(self, core: Core, error: Exception) -> None:
        """Nobody is there to be told that the WAL grows: the log says so, once for each reason. Locks are a matter of
        time, and a failed sync has been told."""
        if isinstance(error, (StoreLocked, StorePoisoned)) or is_busy(error) or self._refused == str(error):
            return
        self._refused = str(error)
        logger.warning("%s-wal can't be copied into the database, and grows until it can: %s", core.path, error)

    def begin_again(self, core: Core) -> Keeper:
        """In a forked child: one without a thread."""
        keeper = Keeper(core)
        keeper.lag = self.lag
        return keeper

    def stop(self, *, wait: bool) -> None:
        """No more from here on. With `wait` it has let go of the database when this returns, if it isn't what asks."""
        self._ended.set()
        self._called.set()
        with self._guard:
            thread = self._thread
        if wait and thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_PATIENCE)


def _run(ref: weakref.ref[Keeper], ended: Flag, called: Flag) -> None:
    idle = 0
    while not ended.is_set():
        keeper = ref()
        if keeper is None or not keeper.serves():
            return
        try:
            idle = 0 if keeper.round() else idle + 1
        except Exception:  # of a signal handler, in another thread that had a work of ours in hand: once more
            idle = 0
        if idle >= _IDLE_ROUNDS:
            return keeper.retire()
        pause = keeper.pause
        del keeper  # between rounds the store may go
        called.wait(pause)


def wait_for_writer(path: str) -> None:
    """Whoever has begun a transaction is through with it behind this, if that takes no longer than a second.
    Raises sqlite3.Error, StoreLocked."""
    connection = connect(path)
    try:
        patiently(lambda: connection.execute(schema.BEGIN), path, _WRITER)
        connection.rollback()
    finally:
        connection.close()


def length(path: str) -> int:
    """Of the WAL, in bytes."""
    try:
        return os.stat(f"{path}-wal").st_size
    except OSError as error:
        check_refusal(error)
        return 0


def shorten(path: str, whole: bool = False, *, cut: bool = False) -> None:
    """Copy the WAL into the database, so that it is used again from its start. `cut`: its file is empty then, if no
    reader uses it. `whole`: it is empty, or this raises that it is locked. Raises sqlite3.Error."""
    connection = connect(path)
    try:
        connection.execute(schema.SOME_OF_WAL).fetchone()  # most of it, in nobody's way
        connection.execute(f"PRAGMA busy_timeout = {_READERS}")
        cut = cut or whole or length(path) > TOO_LONG
        (busy, _, _) = connection.execute(schema.CUT_WAL if cut else schema.RESTART_WAL).fetchone()
        if busy and whole:
            raise sqlite3.OperationalError("database is locked")
    except sqlite3.Error as error:
        if whole or not is_busy(error):
            raise
    finally:
        connection.close()


def outwait(path: str) -> bool:
    """Cut the WAL although readers take turns, whether it was. One that begins again at once takes the very lock that a
    checkpoint looks for, so that none of its looks finds it free; but who begins while nobody writes sees all there
    is, and keeps nothing from being copied; and who begins behind that doesn't use the WAL. So each is waited for
    twice. Raises sqlite3.Error, StoreLocked."""
    deadline = SYSTEM.monotonic() + _IN_TURN
    connection = connect(path)
    try:
        while _copied_alone(connection, path, deadline):
            connection.execute(f"PRAGMA busy_timeout = {max(0, round(1000 * (deadline - SYSTEM.monotonic())))}")
            (busy, _, _) = connection.execute(schema.CUT_WAL).fetchone()
            if not busy:
                return True
        return False
    finally:
        connection.close()


def _copied_alone(connection: sqlite3.Connection, path: str, deadline: float) -> bool:
    """Whether all of the WAL could be copied, with the writers kept out meanwhile."""
    writer = connect(path)
    try:
        patiently(lambda: writer.execute(schema.BEGIN), path, _WRITER)
        while SYSTEM.monotonic() < deadline:
            (_, frames, copied) = connection.execute(schema.SOME_OF_WAL).fetchone()
            if copied == frames:
                return True
            time.sleep(_BETWEEN)
        return False
    finally:
        writer.close()
