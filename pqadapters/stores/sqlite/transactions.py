"""Carrying out works on the one connection that writes: several in a transaction, with one sync.

An interrupt leaves all of a transaction done, or none of it: it is done once SQLite has committed, whatever comes next.
What one work may not do undoes that work alone. All of it with the writer's lock held.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

from ...apart import apart, is_shared
from ...clock import SYSTEM
from ...errors import StoreError, StorePoisoned
from ...store import LOCK_TIMEOUT
from .._directory import STOPPED
from .._trouble import afresh, lasting
from . import schema
from .database import connect, patiently, rest
from .errors import ERRORS, FULL, is_busy, is_full, is_read_only, is_unsure, locked, translated
from .pairing import NONE, file_at, is_at, is_gone, note
from .processes.mark import Mark
from .work import OVER, Outcome, Work

T = TypeVar("T")
_SELDOM = 32  #: synced commits between two looks whether the WAL is still the same file


class _Behind(Exception):
    """Something came behind the one statement of a work: a signal handler's exception, want of memory."""


class Transactions:
    """The connection, and what goes through it."""

    def __init__(self, path: str, made_room: Callable[..., AbstractContextManager[bool]]) -> None:
        self.path = path
        self.trouble: StoreError | None = None  #: why nothing goes any more
        self.connection: sqlite3.Connection | None = None  #: made when it is needed
        self._made_room = made_room  #: entered where the disk is full
        self.mark: Mark | None = None  #: which knows whether there is room; from the opening on
        self.fleeting = False  #: right before a fork: no connection is open behind a transaction
        self._full = False  #: what PRAGMA synchronous is
        self.file = NONE  #: which file the database is; once it is open
        self.wal = NONE  #: which one its WAL is, while a connection is open
        self._synced = 0  #: commits
        self._told = 0  #: changes of the connection that others were told of
        self._seen = -1  #: PRAGMA data_version when we last looked whether others get on
        self._tried = 0.0  #: when the lock was last asked for in vain, in monotonic seconds

    @property
    def crowded(self) -> bool:
        """There is no room but for what frees some."""
        return self.mark is not None and self.mark.crowded

    def carry_out(self, batch: list[Work], *, statement: bool = True) -> None:
        """Each of them is done behind this, or refused; an interrupt leaves all of them as they were, or done.
        `statement`: one that is a statement alone may be run as such."""
        if self.trouble is not None:
            for work in batch:
                work.refuse(afresh(self.trouble))
            return
        committing = False
        try:
            alone = len(batch) == 1
            connection = self._ready(batch[0].synced if alone else any(work.synced for work in batch))
            slow = self._full and is_shared()  # a commit with a sync, and greenlets that could run meanwhile
            if statement and alone and batch[0].alone and not slow:
                return self._run_alone(connection, batch[0])
            batch, outcome = self._begin(connection, batch), Outcome()
            if not batch:
                return
            for work in batch:
                self._attempt(connection, work, shared=len(batch) > 1)
                work.outcome = outcome
            committing = True
            if connection.in_transaction:
                self._commit(connection, slow)
            self._tell_others(connection)
            outcome.done = True
            if self._full:
                self._look_behind_sync()
        except ERRORS as error:
            self._undo()
            self._again(batch, error)
        except StorePoisoned as problem:  # of its sync
            self._undo()
            for work in batch:
                work.refuse(afresh(problem))
        except _Behind as behind:
            self._undo()
            self._without(behind, batch)
        except BaseException:
            if committing and self.connection is not None and not self.connection.in_transaction:
                self._tell_others(self.connection)
                outcome.done = True
            else:
                self._undo()
            raise
        finally:
            if self.connection is not None:  # once more: an interrupt came right behind a commit
                self._tell_others(self.connection)
            if self.fleeting:
                with suppress(sqlite3.Error):
                    self.disconnect_locked()

    def _tell_others(self, connection: sqlite3.Connection) -> None:
        """Who waits, or reads in a transaction that stands, is told of a commit before that is done. Not of one that
        has changed nothing: who waits would tell us of his."""
        changes = connection.total_changes
        if changes != self._told and self.mark is not None:
            self.mark.tell()
            self._told = changes

    def disconnect_locked(self) -> None:
        """Between two transactions: the next one makes a connection anew."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        if self.connection is not None:
            self.connection.close()  # as a Reader does

    def look_for_file(self) -> None:
        """Behind a sync: what was committed can be found again, unless the file was removed, moved or replaced. Then it
        goes with the last who has it open, or its WAL stays behind, and nothing goes any more."""
        if self.trouble is None and not is_at(self.path, self.file):
            self.trouble = StorePoisoned(
                f"{self.path} was removed, moved or replaced while it was open, and what was committed since then went "
                "with it. Close the store and open it again; a store has to be closed before its files are touched"
            )

    def look_for_wal_locked(self, *, closely: bool) -> None:
        """The same of the WAL, which is there while a connection is: what is committed is in it alone. `closely`: also
        whether it is another one by now. To ask for that has the file's next sync take longer: not behind each commit.
        """
        wal = f"{self.path}-wal"
        if self.trouble is not None or self.connection is None or self.connection.in_transaction:
            return
        if is_gone(wal) or (closely and self.wal != NONE and not is_at(wal, self.wal)):
            self.trouble = StorePoisoned(
                f"{wal} was removed, moved or replaced while it was open, and what is in it goes with the processes "
                "that use it. Close the store, which puts that into the database, unless others have opened it since, "
                "and open it again; a store has to be closed before its files are touched"
            )

    def look_for_doubt(self) -> None:
        """Behind a sync, which means nothing where one of another process has failed before."""
        if self.trouble is None and self.mark is not None and self.mark.doubted:
            self.trouble = poisoned(self.path, "in another process")

    def _look_behind_sync(self) -> None:
        self.look_for_file()
        self.look_for_doubt()
        self._synced += 1
        self.look_for_wal_locked(closely=not self._synced % _SELDOM)

    def _note_files(self) -> None:
        """Behind a fork: the WAL is another file, unless other processes have it open."""
        if self.mark is not None and self.connection is not None and is_at(self.path, self.file):
            with suppress(sqlite3.Error):  # it is somebody's to recover just now: then nothing is known of them
                self.connection.execute(schema.DATA_VERSION)  # makes the WAL
                note(self.path, self.mark)
                self.wal = file_at(f"{self.path}-wal")

    def check(self) -> None:
        """Raises StorePoisoned where what was committed just now may be gone."""
        if isinstance(self.trouble, StorePoisoned):
            raise afresh(self.trouble)

    def _ready(self, synced: bool) -> sqlite3.Connection:
        if self.connection is None:
            self.wal = NONE
            self.connection = patiently(lambda: connect(self.path), self.path)
            self._full, self._told = False, 0
            self._note_files()
        if self.connection.in_transaction:  # an interrupt broke off its end
            self.connection.rollback()
        if synced != self._full:
            self.connection.execute(schema.SYNCED if synced else schema.UNSYNCED)
            self._full = synced
        return self.connection

    def _begin(self, connection: sqlite3.Connection, batch: list[Work]) -> list[Work]:
        """Begin the transaction; those of the batch whose time wasn't over before that. None where that of who leads
        was: it doesn't wait for others that have more, one of which leads from then on."""
        pause = 0.0
        while True:
            try:
                connection.execute(schema.BEGIN)
                return batch
            except ERRORS as error:
                if not is_busy(error):
                    raise
                left = self._still_patient(batch, error, first=not pause)
                if not left or any(work.leads and work.done for work in batch):
                    return []
                batch = left
            pause = rest(pause)

    def _run_alone(self, connection: sqlite3.Connection, work: Work) -> None:
        pause = 0.0
        while True:
            try:
                if self.mark is not None and self.mark.crowded:
                    self._check_room(work)
                if self._full:
                    work.result = self.sync_or_doubt(self._alone_unsure, work.run, connection)
                else:
                    work.result = work.run(connection)
                self._tell_others(connection)
                work.outcome = OVER
                if self._full:
                    self._look_behind_sync()
                return
            except ERRORS as error:
                if not self._waits_alone(connection, work, error, first=not pause):
                    return
            except Exception as error:
                return work.refuse(error)
            pause = rest(pause)

    def _waits_alone(self, connection: sqlite3.Connection, work: Work, error: Exception, *, first: bool) -> bool:
        """Whether it is to be tried again when somebody has let go of a lock. What else has failed is dealt with."""
        if is_full(error, self.path):
            self._once_more(work, error, lambda: self._run_alone(connection, work))
        elif self._reconnects([work], error):
            self.carry_out([work])
        elif not is_busy(error):
            self._fail([work], error)
        else:
            return bool(self._still_patient([work], error, first=first))
        return False

    @staticmethod
    def _check_room(work: Work) -> None:
        if not work.shrinks:
            raise sqlite3.OperationalError(FULL)

    def _still_patient(self, batch: list[Work], error: Exception, *, first: bool) -> list[Work]:
        """Those of the batch whose time isn't over. Time in which nothing was tried doesn't count: the process was
        stopped with others that had the lock (Ctrl-Z, a frozen container), or a slow sync of ours came before."""
        now = SYSTEM.monotonic()
        gap, self._tried = now - self._tried, now
        if gap > STOPPED and not first:
            for work in batch:
                work.deadline += gap
        late = [work for work in batch if now >= work.deadline]
        if first or late:
            others = self._others_get_on()
            for work in late:
                if work.patient and (others or gap > STOPPED):
                    work.deadline = now + LOCK_TIMEOUT
        for work in late:
            if now >= work.deadline:
                problem = locked(self.path)
                problem.__cause__ = error
                work.refuse(problem)
        return [work for work in batch if not work.done]

    def _others_get_on(self) -> bool:
        """Whether anybody has committed since the last time that this was asked."""
        assert self.connection is not None
        before = self._seen
        (self._seen,) = self.connection.execute(schema.DATA_VERSION).fetchone()
        return before != self._seen

    def _attempt(self, connection: sqlite3.Connection, work: Work, *, shared: bool) -> None:
        work.result, work.error = None, None  # of a transaction that was broken off
        if work.abandoned:
            return
        saved = shared and not work.alone  # one statement that fails is undone by SQLite itself
        if saved:
            connection.execute(schema.SAVE)
        before = connection.total_changes
        try:
            if self.crowded:
                self._check_room(work)
            work.result = work.run(connection)
        except ERRORS:
            raise
        except Exception as error:
            work.error = error
            if not shared:
                if connection.in_transaction:  # for want of memory SQLite may have undone it itself
                    connection.execute(schema.ROLLBACK)
                return
            if saved:
                connection.execute(schema.UNDO)
            elif connection.total_changes != before or not connection.in_transaction:
                raise _Behind(work) from error
        if saved:
            connection.execute(schema.RELEASE)

    def _again(self, batch: list[Work], error: Exception) -> None:
        """A transaction failed, and is undone: it may be the fault of one of several, or the disk may be full."""
        if self._reconnects(batch, error):
            return self.carry_out(batch)
        if len(batch) == 1:
            (work,) = batch
            if not is_full(error, self.path):
                return self._fail(batch, error)
            return self._once_more(work, error, lambda: self.carry_out(batch, statement=False))
        for work in batch:
            self.carry_out([work], statement=False)

    def _reconnects(self, batch: list[Work], error: Exception) -> bool:
        """Whether they are worth a try on another connection: where a file can't be opened for writing, for want of a
        descriptor say, SQLite opens it for reading without a word."""
        if not is_read_only(error) or any(work.reconnected for work in batch) or not is_at(self.path, self.file):
            return False
        for work in batch:
            work.reconnected = True
        with suppress(sqlite3.Error):
            self.disconnect_locked()
        return True

    def _once_more(self, work: Work, error: Exception, attempt: Callable[[], None]) -> None:
        """The disk is full: with what room can be made for it."""
        with self._made_room(work.full, shrinks=work.shrinks) as is_worth_it:
            if is_worth_it:
                work.full += 1
                attempt()
            else:
                self._fail([work], error)

    def _without(self, behind: _Behind, batch: list[Work]) -> None:
        """A group is undone for what became of one of them, whose caller is told that nothing was stored."""
        work, error = behind.args[0], behind.__cause__
        assert isinstance(error, Exception)
        work.refuse(error)
        for each in batch:
            if each is not work:
                self.carry_out([each], statement=False)

    def _undo(self) -> None:
        with suppress(sqlite3.Error):  # what can't be rolled back is by the next one to come
            if self.connection is not None and self.connection.in_transaction:
                self.connection.rollback()

    def _fail(self, batch: list[Work], error: Exception) -> None:
        problem = translated(error, self.path)
        problem.__cause__ = error
        for work in batch:
            work.refuse(afresh(problem))

    # Syncs that fail

    def sync_or_doubt(self, failed: Callable[[Exception], bool], sync: Callable[..., T], *arguments: Any) -> T:
        """What that returns, which syncs. One whose error says that it has `failed` is known of in all processes,
        whatever interrupts that: a signal that comes while the disk is at a sync is handled behind it, here, and the
        system tells of a failure once. Raises StorePoisoned then."""
        try:
            return sync(*arguments)
        except Exception as error:
            try:
                problem = self._doubt(error) if failed(error) else None
            except BaseException:
                if failed(error):
                    self._doubt(error)
                raise
            if problem is None:
                raise
            raise problem from error

    def _doubt(self, error: Exception) -> StorePoisoned:
        """From now on nothing goes, in no process, until the database was opened again. The error to raise for it."""
        if self.mark is not None:
            self.mark.doubted = True
        problem = poisoned(self.path, error)
        self.trouble = lasting(problem, error)
        return afresh(problem)

    def _commit(self, connection: sqlite3.Connection, slow: bool) -> None:
        """`slow`: with greenlets that could run meanwhile."""
        if slow:
            self.sync_or_doubt(self._unsure, apart, connection.execute, schema.COMMIT)
        elif self._full:
            self.sync_or_doubt(self._unsure, connection.execute, schema.COMMIT)
        else:
            connection.execute(schema.COMMIT)

    def _unsure(self, error: Exception) -> bool:
        return is_unsure(error, self.path)

    def _alone_unsure(self, error: Exception) -> bool:
        """Of a statement that is a transaction, and may have lacked room before it came to its end."""
        return is_unsure(error, self.path) and not is_full(error, self.path)


def poisoned(path: str, error: object) -> StorePoisoned:
    return StorePoisoned(
        f"{path}: what was committed could not be synced ({error}), so nobody knows what of it is on the disk. The "
        "store refuses work: look at the disk, close the store, and open it again"
    )
