"""The segment files of one directory as they are open: reading, syncs, and why nothing goes any more.

All methods need the store's lock. A sync that failed is never tried again: the system tells of a failure once, and what
is on the disk by then is known to nobody.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ...errors import DiskError, StoreError, StorePoisoned
from ...interrupts import check_refusal, is_refusal, keep
from .._disk import Disk
from .._gate import unlocked
from .._trouble import afresh, lasting
from .directory import LOCK
from .places import Places, Segment
from .sleepers import Sleepers

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # EFBIG: a limit of this process (`ulimit -f`)
_FAILED = "a sync to disk failed"
_OPEN_FILES = 8


class Files(Places):
    """The files, and how far they are on the disk."""

    def __init__(self, directory: str, disk: Disk) -> None:
        super().__init__()
        self.directory = directory
        self.disk = disk
        self.lock_file = -1  #: a descriptor: a look at a segment itself would make its next sync half as long again
        self.next = 1  #: the next sequence number
        self.synced = 0  #: all frames up to this number are on the disk
        self._syncing_by = 0  #: the thread that runs an fdatasync, or 0
        self._sleepers = Sleepers()  #: those that wait for it, or for the next one
        self.unmarked: tuple[Segment, int] | None = None  #: the tail, and up to where it was synced without a mark
        self._reading: list[Segment] = []  # segments opened for reading, oldest first
        self._retired: list[int] = []  #: descriptors to close when no fdatasync runs
        self.trouble: StoreError | None = None  #: why the store can't be used any more
        #: What it is as soon as a sync has failed, before anything is called: a signal that came while the disk was at
        #: it is handled there, its handler may raise, and the system tells of the failure once.
        self._unsynced = self._trouble_of(_FAILED)

    # Reading

    @property
    def is_removed(self) -> bool:
        """Whether the files have no names any more."""
        return self.disk.is_removed(self.lock_file)

    def check_place(self) -> None:
        """Before anything is opened, made or removed by its path: where the directory was moved while the store was
        open, another store may have the path by now. Raises OSError; StorePoisoned where it was removed: what nobody
        syncs any more, since nothing more can be written, would never be found lost."""
        if self.trouble is None and self.is_removed:
            raise self._lose()
        lock = os.path.join(self.directory, LOCK)
        if self.lock_file >= 0 and not self.disk.is_named(self.lock_file, lock):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), lock)

    def read(self, segment: Segment, offset: int, length: int) -> bytes:
        """Bytes of a segment; fewer at the end of its file. Raises OSError."""
        if segment.fd < 0:
            self.check_place()
            segment.fd = self.disk.open(segment.path, write=False)
            self._reading.append(segment)
            if len(self._reading) > _OPEN_FILES:
                old = self._reading.pop(0)
                if old is not segment and old is not self.tail:
                    self.retire(old)
        return self.disk.read(segment.fd, length, offset)

    def retire(self, segment: Segment) -> None:
        """Close the descriptor; one that an fdatasync may be using is closed behind it."""
        fd, segment.fd = segment.fd, -1
        if fd >= 0:
            self._retired.append(fd)
        self._close_retired()

    def close_files(self) -> None:
        """Let go of all descriptors, without a word to the disk."""
        for segment in self.segments:
            self.retire(segment)

    def leave_files(self) -> None:
        """The same in a forked child, where nobody syncs, and once: later the numbers may be those of other files."""
        fds = [segment.fd for segment in self.segments if segment.fd >= 0] + self._retired
        for segment in self.segments:
            segment.fd = -1
        self._retired = []
        for fd in fds:
            with suppress(OSError):  # who becomes a daemon closes all there are
                self.disk.close(fd)

    def _close_retired(self) -> None:
        while self._retired and not self._syncing_by:
            self.disk.close(self._retired.pop())

    # Syncing

    def sync(self, sequence: int, lock: threading.RLock) -> None:
        """Return when all frames up to `sequence` are on the disk. The lock is free while the disk works.

        Whoever finds no fdatasync running runs one for all that was written so far; the others sleep, and one of those
        that it came too early for runs the next. Raises StorePoisoned when it fails; it is never tried again.
        """
        me, slept = threading.get_ident(), None
        try:
            while self.synced < sequence:
                if self.trouble is not None:
                    raise afresh(self.trouble)
                if self._syncing_by and self._syncing_by != me:
                    slept = self._sleepers.sleep(sequence, lock)
                else:  # nobody, or this thread, when a signal handler put something in the middle of a sync
                    self._sync_all(me, lock)
        finally:
            if slept is not None:
                self._sleepers.leave(slept)

    def _sync_all(self, me: int, lock: Any) -> None:
        """Sync what was written so far, with the lock free, however often this thread holds it."""
        target, tail, outer, before = self.next - 1, self.tail, self._syncing_by, self.synced
        end, whole = tail.end, False
        failure: OSError | None = None

        def sync() -> None:
            nonlocal whole, failure
            try:
                self.disk.sync(tail.fd)
                whole = True
            except OSError as error:
                failure = error  # before anything is called: an interrupt in it would hide it
                if not is_refusal(error):
                    failure = None
                    raise

        try:
            self._syncing_by = me
            self._sleepers.turn_taken()
            unlocked(lock, sync)
        finally:
            self._syncing_by = outer
            if failure is not None:
                self.trouble = self._unsynced  # see there
                self.synced = before  # the system tells of a failure once: a sync by others meanwhile means nothing
                self.poison(failure, _FAILED)
            elif self.trouble is None and self.is_removed:
                self._lose()
            elif whole and target > self.synced and not isinstance(self.trouble, StorePoisoned):
                self.synced = target  # else another thread may have been told, once, what became of these writes
                self.unmarked = tail, end
            self._sleepers.wake(self.synced if self.trouble is None else self.next)
        if self.trouble is not None and (failure is not None or self.synced < target):
            raise afresh(self.trouble)
        if self._retired:
            self._close_retired()

    @contextmanager
    def changing_names(self) -> Iterator[None]:
        """What is made, renamed or removed within is on the disk behind it. Without a descriptor for that nothing is
        begun. Raises OSError, StorePoisoned."""
        fds: list[int | None] = []
        try:
            keep(fds, self.disk.open_directory, self.directory)
            yield
            self.sync_directory(fds[0])
        finally:
            for fd in filter(None, fds):
                self.disk.close(fd)

    def sync_directory(self, fd: int | None = None) -> None:
        """Sync what was made, renamed or removed. One that fails is as bad as any: raises StorePoisoned."""
        self._sync_or_poison("a sync of the directory failed", self.disk.sync_directory, self.directory, fd)

    def sync_here(self) -> None:
        """Sync the tail with the lock held; for the rare moments when files are about to go."""
        if self.synced >= self.next - 1:
            return
        if self.trouble is not None:
            raise afresh(self.trouble)
        self._sync_or_poison(_FAILED, self.disk.sync, self.tail.fd)
        self.synced = self.next - 1

    def _sync_or_poison(self, why: str, sync: Callable[..., None], *arguments: Any) -> None:
        """Raises StorePoisoned where it fails."""
        try:
            sync(*arguments)
        except OSError as error:
            before, self.trouble = self.trouble, self._unsynced  # see there
            if not is_refusal(error):
                self.trouble = before
                raise
            raise self.poison(error, why) from error

    # Why not

    def refused(self, error: OSError, what: str) -> DiskError:
        """The error for a system call that failed: what it was about, and what to do. Raises what a signal handler has
        raised."""
        check_refusal(error)
        if error.errno == errno.EFBIG:
            advice = "raise this process's limit of file sizes (ulimit -f), or drain the queue: that gives space back"
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            advice = "raise this process's limit (ulimit -n), or close some; nothing of this call was stored"
        elif error.errno in NO_SPACE:
            advice = "free some space there, or drain the queue (of a mapping, delete keys): that gives space back"
        elif error.errno in (errno.ENOENT, errno.ESTALE):
            advice = (
                "its directory was moved or replaced while it was open. Nothing of this call was stored: open the "
                "store where it is now, and close what was opened here"
            )
        elif error.errno in (errno.EACCES, errno.EPERM):
            advice = (
                "see to the directory's owner and mode, and to those above it; nothing of this call was stored. The "
                "store goes on once this process's user may write there again"
            )
        elif error.errno == errno.EROFS:
            advice = (
                "see the system's log for why it was made so; nothing of this call was stored. The store goes on once "
                "it may be written again"
            )
        else:
            advice = "see the system's log; nothing of this call was stored"
        message = f"can't {what} the store: {os.strerror(error.errno or 0)}; {advice}"
        return DiskError(error.errno, message, self.directory)

    def poison(self, error: OSError, why: str) -> StorePoisoned:
        """From now on nothing goes: what is on the disk is known to nobody until the store is opened again. The error
        to raise for it."""
        trouble = self._trouble_of(f"{why} ({error})")
        self.trouble = lasting(trouble, error)
        return afresh(trouble)

    def _trouble_of(self, why: str) -> StorePoisoned:
        return StorePoisoned(
            f"{self.directory}: {why}. What was acknowledged before is kept. "
            "Close the store and open it again once the disk is in order"
        )

    def give_up(self, error: BaseException) -> None:
        """What is in the files couldn't be carried out in memory, which no checkpoint must be made of any more."""
        trouble = StorePoisoned(
            f"{self.directory}: a commit is stored and couldn't be carried out in memory ({error!r}). Nothing is lost: "
            "close the store and open it again"
        )
        self.trouble = lasting(trouble, error)

    def _lose(self) -> StorePoisoned:
        """The files have no names any more, and go with their last descriptors. The error to raise for it."""
        self.trouble = trouble = StorePoisoned(
            f"{self.directory}: its files were removed while the store was open, and what was put since then went with "
            "them. Close the store and open it again; a store has to be closed before its files are removed"
        )
        return afresh(trouble)
