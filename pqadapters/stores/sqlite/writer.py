"""The one connection of this process that writes, and group commit: what threads ask for meanwhile goes in together.

Whoever wants a transaction adds its work to the line. The first one to come takes the lock and carries out all that is
in the line, in one transaction with one sync, while those who come meanwhile sleep; then it wakes those whose work is
done, and the first of the others, which is the next to lead. A commit is durable when `do` returns. What a finalizer
or signal handler asks for in the middle of a transaction of its own thread is put off to the end of that, and `do`
returns LATE.

SQLite reports a lock at once (its own waiting would be up to 100 ms at a time, and gives up though others get on); we
try again after a fraction of a millisecond, until the caller's time is over, and for as long as others get on if it
set none.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ... import telling
from ...errors import StoreError, StorePoisoned
from ...store import LOCK_TIMEOUT
from . import schema
from .database import connect, patiently, rest
from .errors import ERRORS, is_busy, is_full, is_io, locked, translated

logger = telling.logger("pqadapters.stores.sqlite")
LATE = object()  #: the result of what was put off
_OVERSLEPT = 1.0  #: seconds until a sleeper looks for itself: an interrupt may have kept its waker from waking it


class Work:
    """One caller's part of a transaction. `run` changes the database and nothing else: it may be called again."""

    __slots__ = (
        "alone", "deadline", "done", "error", "full", "patient", "result", "run", "shrinks", "sleeper", "synced",
    )  # fmt: skip

    def __init__(
        self,
        run: Callable[[sqlite3.Connection], Any],
        *,
        synced: bool,
        timeout: float | None = None,
        alone: bool = False,
        shrinks: bool = True,
    ) -> None:
        self.run = run
        self.synced = synced  #: whether its caller is promised that it survives a power cut
        self.shrinks = shrinks  #: it needs no space that it doesn't give back
        self.alone = alone  #: it is one statement, which is a transaction without our saying so
        self.patient = timeout is None  #: goes on as long as others get on
        self.deadline = time.monotonic() + (LOCK_TIMEOUT if timeout is None else timeout)
        self.done = False
        self.full = 0  #: how often it was tried again for want of space
        self.result: Any = None
        self.error: Exception | None = None
        self.sleeper: threading.Lock | None = None  #: held; whoever releases it wakes its caller


class Writer:
    """All attributes need `lock`; methods named `_locked` are called with it held."""

    def __init__(self, path: str, make_room: Callable[..., bool]) -> None:
        self.path = path
        self._make_room = make_room  #: called where the disk is full
        self._relock()
        self.inside = False  #: the thread that has the lock is in the middle of a transaction
        self.trouble: StoreError | None = None  #: why nothing goes any more
        self.connection: sqlite3.Connection | None = None  #: made when it is needed
        self._full = False  #: what PRAGMA synchronous is
        self._pending: deque[Work] = deque()
        self._late: list[Work] = []
        self._sleepers: list[threading.Lock] = []  #: of those whose work is done
        self._untold: list[Exception] = []
        self._seen = -1  #: PRAGMA data_version when we last waited for others

    def _relock(self) -> None:
        lock: Any = threading.RLock()
        self.lock: threading.RLock = lock
        self.is_ours: Callable[[], bool] = lock._is_owned  #: whether this thread has it (Condition uses it, too)

    def do(self, work: Work) -> Any:
        """Carry it out; its result, or LATE. Raises what it raises, StoreLocked, DiskError, StorePoisoned.

        An interrupt leaves it done or not done, and never half.
        """
        self._pending.append(work)
        try:
            while not work.done:
                if self.inside and not self.is_ours():
                    self._sleep(work)
                    continue
                with self.lock:
                    if self.inside:
                        self._late.append(work)
                        self._pending.remove(work)
                        return LATE
                    if not work.done:
                        self._lead_locked()
        finally:
            if not work.done:
                with suppress(ValueError):
                    self._pending.remove(work)
            if self._sleepers or self._pending:
                self._wake()
        if self._untold:
            self._tell()
        if work.error is not None:
            raise work.error
        return work.result

    def _sleep(self, work: Work) -> None:
        """Until the work is done or somebody must lead."""
        if work.sleeper is None:
            sleeper = threading.Lock()  # looked up here: gevent replaces it
            sleeper.acquire()
            work.sleeper = sleeper
        if not work.done and self.inside:  # whoever leads looks for sleepers behind this
            work.sleeper.acquire(timeout=_OVERSLEPT)

    def _wake(self) -> None:
        """With the lock free: those whose work is done, and who leads next."""
        while self._sleepers:
            _release(self._sleepers.pop(0))
        if not self.inside:
            with suppress(IndexError):  # another thread has led meanwhile
                _release(self._pending[0].sleeper)

    def put_off(self, work: Work) -> None:
        """In the middle of a transaction of this thread: at its end."""
        self._late.append(work)

    def begin_again(self) -> sqlite3.Connection | None:
        """In a forked child: the parent's connection, which is neither to be used nor to be closed here."""
        inherited, self.connection = self.connection, None
        self._relock()
        self.inside = False
        self._pending, self._late = deque(), []
        return inherited

    def _tell(self) -> None:
        untold, self._untold = self._untold, []
        for error in untold:
            logger.error("%s: a call that interrupted another one of its thread failed", self.path, exc_info=error)

    def _lead_locked(self) -> None:
        self.inside = True
        try:
            self._carry_out_locked(list(self._pending))
        finally:
            self._leave_locked()

    def _leave_locked(self) -> None:
        """Carry out what was put off meanwhile, and let others in."""
        while True:
            while self._late:
                late = self._late.pop(0)
                self._carry_out_locked([late])
                if late.error is not None:
                    self._untold.append(late.error)
            self.inside = False
            if not self._late:
                return
            self.inside = True

    def _carry_out_locked(self, batch: list[Work]) -> None:
        if self.trouble is not None:
            return self._finish_locked(batch, self.trouble)
        committing = False
        try:
            connection = self._ready_locked(any(work.synced for work in batch))
            if len(batch) == 1 and batch[0].alone:
                return self._statement_locked(connection, batch[0])
            batch = self._begin_locked(connection, batch)
            if not batch:
                return
            for work in batch:
                self._attempt_locked(connection, work, shared=len(batch) > 1)
            committing = True
            if connection.in_transaction:
                connection.execute(schema.COMMIT)
        except ERRORS as error:
            self._undo_locked()
            self._again_locked(batch, error, committing)
        except BaseException:
            open_still = self.connection is None or self.connection.in_transaction
            if committing and not open_still:
                self._finish_locked(batch)
            else:
                self._undo_locked()
            raise
        else:
            self._finish_locked(batch)

    def _ready_locked(self, synced: bool) -> sqlite3.Connection:
        if self.connection is None:
            self.connection = patiently(lambda: connect(self.path), self.path)
            self._full = False
        if self.connection.in_transaction:  # an interrupt broke off its end
            self.connection.rollback()
        if synced != self._full:
            self.connection.execute(schema.SYNCED if synced else schema.UNSYNCED)
            self._full = synced
        return self.connection

    def _begin_locked(self, connection: sqlite3.Connection, batch: list[Work]) -> list[Work]:
        """Begin the transaction; those of the batch whose time wasn't over before that."""
        pause = 0.0
        while True:
            try:
                connection.execute(schema.BEGIN)
                return batch
            except ERRORS as error:
                if not is_busy(error):
                    raise
                batch = self._still_patient_locked(batch, error)
                if not batch:
                    return batch
            pause = rest(pause)

    def _statement_locked(self, connection: sqlite3.Connection, work: Work) -> None:
        pause = 0.0
        while True:
            try:
                work.result = work.run(connection)
                return self._finish_locked([work])
            except ERRORS as error:
                if is_full(error) and self._make_room(work.full, shrinks=work.shrinks):
                    work.full += 1
                    continue
                if not is_busy(error):
                    return self._fail_locked([work], error, committing=True)
                if not self._still_patient_locked([work], error):
                    return
            except Exception as error:
                return self._finish_locked([work], error)
            pause = rest(pause)

    def _still_patient_locked(self, batch: list[Work], error: Exception) -> list[Work]:
        now = time.monotonic()
        late = [work for work in batch if now >= work.deadline]
        if not late:
            return batch
        if self._others_get_on_locked():
            for work in late:
                if work.patient:
                    work.deadline = now + LOCK_TIMEOUT
        refused = [work for work in late if now >= work.deadline]
        if refused:
            problem = locked(self.path)
            problem.__cause__ = error
            self._finish_locked(refused, problem)
        return [work for work in batch if not work.done]

    def _others_get_on_locked(self) -> bool:
        """Whether anybody has committed since the last time that this was asked."""
        assert self.connection is not None
        before = self._seen
        (self._seen,) = self.connection.execute("PRAGMA data_version").fetchone()
        return before != self._seen

    def _attempt_locked(self, connection: sqlite3.Connection, work: Work, *, shared: bool) -> None:
        work.error = None  # of a transaction that an interrupt broke off
        if shared:
            connection.execute(schema.SAVE)
        try:
            work.result = work.run(connection)
        except ERRORS:
            raise
        except Exception as error:
            work.error = error
            if not shared:
                connection.execute(schema.ROLLBACK)
                return
            connection.execute(schema.UNDO)
        if shared:
            connection.execute(schema.RELEASE)

    def _again_locked(self, batch: list[Work], error: Exception, committing: bool) -> None:
        """A transaction failed, and is undone: it may be the fault of one of several, or the disk may be full."""
        if len(batch) == 1:
            (work,) = batch
            if not is_full(error) or not self._make_room(work.full, shrinks=work.shrinks):
                return self._fail_locked(batch, error, committing)
            work.full += 1
        for work in batch:
            self._carry_out_locked([work])

    def _undo_locked(self) -> None:
        with suppress(sqlite3.Error):  # what can't be rolled back is by the next one to come
            if self.connection is not None and self.connection.in_transaction:
                self.connection.rollback()

    def _fail_locked(self, batch: list[Work], error: Exception, committing: bool) -> None:
        problem = translated(error, self.path)
        if committing and self._full and is_io(error):
            problem = self.trouble = StorePoisoned(
                f"{self.path}: a commit could not be synced ({error}), so nobody knows what of it is on the disk. The "
                "store refuses work: look at the disk, close the store, and open it again"
            )
        problem.__cause__ = error
        self._finish_locked(batch, problem)

    def _finish_locked(self, batch: list[Work], error: Exception | None = None) -> None:
        for work in batch:
            if error is not None:
                work.error = error
            work.done = True
            if work.sleeper is not None:
                self._sleepers.append(work.sleeper)
        while self._pending and self._pending[0].done:
            self._pending.popleft()


def _release(sleeper: threading.Lock | None) -> None:
    if sleeper is not None:
        with suppress(RuntimeError):  # it is awake already
            sleeper.release()
