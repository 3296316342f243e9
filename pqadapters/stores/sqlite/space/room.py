"""Room on the disk: the WAL and the database kept small, and what is done where there is none left.

What waits is drained on a full disk, by what the reserve gives up; and then there is room for puts again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ....apart import apart
from ....clock import SYSTEM
from ....errors import StoreError
from ....interrupts import check_refusal
from ....store import LOCK_TIMEOUT
from .. import keeper, schema
from ..database import connect, patiently
from ..errors import FULL, is_failed_sync, translated
from ..keeper import length, outwait, shorten, wait_for_writer
from ..work import Work
from .reserve import Reserve
from .runway import extend

if TYPE_CHECKING:
    from ..core import Core

T = TypeVar("T")
_CHECKPOINT = "checkpoint"  #: the name of its lock
_SPARE = 512  #: pages that may stay free
_PAGES_AT_ONCE = 256
_ROUNDS = 1 << 16  #: of giving pages back, at most, in one checkpoint
_GIVEN_UP = 20  #: times, at most, that the reserve is given up for one commit
_FEW = 16  #: pages that are given back at once, at first, where there is next to no room for that
_ROUNDS_OF_FEW = 32
_AT_THE_END = 2.0  #: seconds that pages are given back for, at most
BIG = 256 << 10  #: bytes of a commit from which on it is looked first whether there is room for all that it needs


class Room:
    """One process's part in it. Any thread may call any method."""

    def __init__(self, core: Core) -> None:
        self._core: Core = weakref.proxy(core)  # which has this one, and goes when its last handle does
        self.reserve = Reserve(core.owners.file("reserve"), core.disk)
        self._maker: int | None = None  #: the thread that is about it, alone
        self._too_long = keeper.TOO_LONG  #: bytes of WAL from which on readers are outwaited

    # Where there is none

    @contextmanager
    def made(self, tries: int, *, shrinks: bool) -> Iterator[bool]:
        """The disk is full. What the WAL holds is copied, and its file given back; then, for what frees space, the
        reserve is given up, which others may have made anew meanwhile. Yields whether it is worth another try, which is
        made within: until then nobody makes the reserve anew."""
        if tries > (_GIVEN_UP if shrinks else 0):
            yield False
            return
        mark = self._core.mark
        if not tries and not (shrinks and mark.crowded):
            self._tighten(wanted=0 if shrinks else BIG)
            yield shrinks or not mark.crowded
            return
        with self._alone():
            self._give_up_reserve()
            self._cut()
            self._free_without_zeros()
            yield True

    def _free_without_zeros(self) -> None:
        """Debian's SQLite writes zeros over each page that is freed: to be acknowledged a large item would need as much
        room as it has. From here on this process's writer, which calls this, does without."""
        connection = self._core.writer.connection
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA secure_delete = FAST")

    def check(self, size: int, *, frees: bool) -> None:
        """What brings so many bytes must leave room for the copy of them and of all that is in the WAL: else the WAL
        could never be used anew, and nothing be drained. `frees`: it frees something as well. Raises DiskError."""
        if not self._fits(size):
            self._tighten(wanted=size)
            if not self._fits(size):
                raise translated(sqlite3.OperationalError(FULL), self._core.path)
        if frees and not self._fits(size, zeros=True):
            self._core.writer.do(Work(lambda _: self._free_without_zeros(), synced=False))

    def _fits(self, size: int, *, zeros: bool = False) -> bool:
        """`zeros`: also where it frees all of the database, and each page is written over."""
        core = self._core
        try:
            room = self._free() + self.reserve.size() - self.reserve.SIZE // 16
            written = size + (os.stat(core.path).st_size if zeros else 0)
        except OSError as error:
            check_refusal(error)
            return True
        copied = length(core.path) + size
        if room < written + copied:  # what is free in the database itself is room for the copy
            copied = max(0, copied - core.reader.rows(schema.FREE_PAGES)[0][0] * schema.PAGE_SIZE)
        return room >= written + copied

    def _free(self) -> int:
        return self._core.disk.free(os.path.dirname(self._core.path))

    def keep_reserve(self) -> None:
        """See that the reserve suffices to copy the WAL: so it never holds more than can be copied on a full disk. One
        that was given up is made anew by the next put: meanwhile its room is needed."""
        wal = length(self._core.path)
        if self._core.mark.crowded:
            if wal > self.reserve.SIZE // 8:  # what is copied may need some of that room, too
                with self._alone():
                    self._cut()
        elif not self.reserve.is_ample(wal):
            with self._alone(waits=False) as alone:
                is_kept = self.reserve.keep(wal, ample=True, alone=alone)
            if not is_kept:
                self._tighten()

    def make_reserve(self) -> None:
        """At the opening. One that another process is about is its own matter."""
        with self._alone(waits=False) as alone:
            if alone and not self._core.mark.crowded:
                self.reserve.keep()

    def _tighten(self, *, wanted: int = 0) -> None:
        """Copy the WAL by what room there is, the reserve's included, and give its file back; where so many bytes are
        wanted, free pages of the database as well. Puts are refused while there is no room for a reserve: they would
        take what acknowledgements need."""
        with self._alone():
            self._give_up_reserve()
            self._cut()
            if wanted:
                self._give_back_by_few(2 * wanted + 2 * self.reserve.SIZE)
            self._core.mark.crowded = not self.reserve.keep()

    def _give_back_by_few(self, wanted: int) -> None:
        """Until so many bytes are free, on a connection of its own: the one that writes is in the middle of a refusal.
        Each round takes room in the WAL first, and leaves more for the next one."""
        most = _FEW
        for _ in range(_ROUNDS_OF_FEW):
            if length(self._core.path) > self.reserve.SIZE // 16:  # a reader keeps it: nothing comes back meanwhile
                return
            try:
                if self._free() >= wanted or not self._give_back_few(most):
                    return
                most = min(2 * most, _PAGES_AT_ONCE)
            except (sqlite3.Error, StoreError, OSError):
                if most == 1:
                    return
                most = 1
            self._cut()

    def _give_back_few(self, most: int) -> bool:
        core = self._core
        with core.aside:
            connection = connect(core.path)
            try:
                patiently(lambda: connection.execute(schema.BEGIN), core.path, LOCK_TIMEOUT)
                given = _give_back(connection, most)
                connection.execute(schema.COMMIT)
                return given
            finally:
                connection.close()

    @contextmanager
    def _alone(self, *, waits: bool = True) -> Iterator[bool]:
        """No other process makes room meanwhile, nor copies the WAL; unless it is stopped in the middle of that, or we
        don't wait for it. Yields whether it is so."""
        hold, owners, me = None, self._core.owners, threading.get_ident()
        is_nested = self._maker == me
        try:
            if not is_nested:
                with suppress(StoreError):
                    hold = owners.hold_patiently(_CHECKPOINT, LOCK_TIMEOUT) if waits else owners.hold(_CHECKPOINT)
            if hold is not None:
                self._maker = me
            yield is_nested or hold is not None
        finally:
            if hold is not None:
                self._maker = None
                hold.close()

    def _give_up_reserve(self) -> None:
        """For what frees space: no put of any process, nor one that has begun already, takes what is given up."""
        self._core.mark.crowded = True
        with suppress(sqlite3.Error, StoreError), self._core.aside:
            wait_for_writer(self._core.path)
        self.reserve.give_up()

    def _cut(self) -> None:
        with suppress(sqlite3.Error, StoreError), self._core.aside:
            shorten(self._core.path, cut=True)

    # Where there is some

    def extend_wal(self) -> None:
        """Room for the next commits, on the disk when this returns. Raises as `Core.sync_wal`."""
        core = self._core
        if core.writer.do(Work(lambda _: extend(core.path, core.disk), synced=False)) is True:
            core.sync_wal()

    def shorten(self) -> None:
        """Copy the WAL into the database, unless another process is about that. sqlite3.Error, StorePoisoned."""
        with self._core.aside:
            hold = self._core.owners.hold(_CHECKPOINT)
            if hold is not None:
                try:
                    self._copy(shorten)
                    self._outwait_readers()
                finally:
                    hold.close()

    def _copy(self, copy: Callable[..., T], *arguments: object) -> T:
        """SQLite begins a checkpoint by a sync of the WAL. Of one that fails the system tells once, and what was
        committed without a sync by then isn't on the disk, whatever `Core.sync_wal` finds behind that."""
        core = self._core
        failed = partial(is_failed_sync, path=core.path)
        return core.writer.sync_or_doubt(failed, partial(apart, copy, core.path, *arguments))

    def _outwait_readers(self) -> None:
        """Where they have kept the WAL from beginning anew. It holds up all writers, so where it didn't help, since one
        reads for long, it is tried again when the WAL has twice the length."""
        path = self._core.path
        if length(path) > self._too_long:
            cut = self._copy(outwait)
            self._too_long = keeper.TOO_LONG if cut else 2 * length(path)

    def give_back(self, *, all: bool = False, timeout: float | None = None) -> bool:
        """Take some free pages from the database if there are many; whether any came back, and there may be more."""
        run = Work(lambda connection: _give_back(connection, _PAGES_AT_ONCE, all=all), synced=False, timeout=timeout)
        return self._core.writer.do(run) is True

    def leave(self) -> None:
        """At the end: what was freed since the last look comes back, as far as that doesn't take long."""
        deadline = SYSTEM.monotonic() + _AT_THE_END
        with suppress(sqlite3.Error, StoreError, OSError):
            while (left := deadline - SYSTEM.monotonic()) > 0 and self.give_back(timeout=left):
                pass

    def trim_reserve(self) -> None:
        """Behind the end of the connections, which may have been that of the WAL."""
        self.reserve.trim(length(self._core.path))

    def checkpoint(self) -> None:
        """All of the WAL is in the database, and that has no free pages, when this returns. Raises StoreError."""
        core = self._core
        for _ in range(_ROUNDS):  # others may free pages all the time
            if not self.give_back(all=True):
                break
        hold = core.owners.hold_patiently(_CHECKPOINT)
        try:
            try:
                core.sync_wal()
                with core.aside:
                    patiently(lambda: self._copy(shorten, True), core.path)
                self.reserve.keep()
            finally:
                hold.close()
        finally:
            hold.close()  # once more: an interrupt may have come as that began


def _give_back(connection: sqlite3.Connection, most: int, *, all: bool = True) -> bool:
    """In a transaction; whether any came back: in a database that another tool has rewritten (VACUUM behind PRAGMA
    auto_vacuum) none does. Not `all`: if a large part of the pages is free."""
    free, pages = connection.execute(schema.FREE_PAGES).fetchone()
    if not free or not (all or (free > _SPARE and free > pages // 4)):
        return False
    for _ in range(min(free, most)):
        connection.execute(schema.GIVE_BACK)
    (left, _) = connection.execute(schema.FREE_PAGES).fetchone()
    return bool(left < free)
