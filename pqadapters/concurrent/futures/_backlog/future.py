"""The future of a job that is on disk: the standard library's, which knows its job. Any thread may use it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from ....apart import insist
from ....resting import leave
from .._jobs.options import PLAIN, Options
from .cancelling import cancel, is_gone
from .finishing import let_begin

if TYPE_CHECKING:
    from .._jobs.wire import Call
    from .backlog import Backlog


class JobFuture(Future[Any]):
    """A future with `job_id`, `attempts` (how often the job was started) and `durable`. `cancel()` that returns True
    has taken the job off the disk."""

    __slots__ = (
        "_backlog",
        "_begun",
        "_call",
        "_called",
        "_id",
        "_options",
        "_owner",
        "_record",
        "_undone",
        "attempts",
    )

    durable = True
    _failures = 0  #: of its attempts, those that have failed here, and were to be tried again

    def __init__(
        self, backlog: Backlog, id: bytes, call: Call | None, options: Options = PLAIN, record: int = 0
    ) -> None:
        super().__init__()
        self._backlog, self._id, self._call, self._options, self._record = backlog, id, call, options, record
        self._begun = self._called = False
        self._undone = False  #: its submit() raises
        #: the executor, where it must be there later: for a job that is delayed, or retried, or that others may begin
        self._owner: object = None
        self.attempts = 0

    @property
    def job_id(self) -> str:
        """The job's name for good: `executor.future(job_id)` finds it, in this process or after a restart."""
        return self._id.hex()

    @property
    def _interruptions(self) -> int:
        """Of one that waits to be begun: how often it was, and came to no end."""
        return self.attempts - self._failures

    def cancel(self) -> bool:
        """Cancel the job if it isn't running or done. Then it is off the disk as well, and stays cancelled after a
        restart. Raises StoreError where that can't be stored; nothing is cancelled then."""
        if self.done() or self.running():
            return super().cancel()
        try:
            if not cancel(self._backlog, self):
                return False
            return super().cancel() and self._cancelled()
        except Exception:
            raise
        except BaseException:  # of a signal handler
            insist(self._cancel_if_gone)  # nobody else would tell
            raise

    def result(self, timeout: float | None = None) -> Any:
        self._is_waited_for()
        try:
            return _unlocked(self._condition, super().result, timeout)
        finally:
            del self  # the exception's traceback has this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._is_waited_for()
        error: BaseException | None = _unlocked(self._condition, super().exception, timeout)
        return error

    def _is_waited_for(self) -> None:
        if self._backlog.suspects.all_running:
            let_begin(self._backlog, self)

    def _cancel_if_gone(self) -> None:
        if is_gone(self._backlog, self):
            self.cancel_here()

    def _cancelled(self) -> bool:
        """Nobody will begin it, so who waits for it by wait() or as_completed() is told here, once: also where a signal
        handler has broken that off before."""
        self._owner = None
        if not self._undone:  # else whoever has it in hand still looks at it
            self._call = None
        with self._condition:
            self._begun = True
            if self._state == "CANCELLED":
                self.set_running_or_notify_cancel()
        return True

    def cancel_here(self) -> bool:
        """The future alone: the job stays where it is. One whose job waits for its next try has been running to
        whoever looks, and can't be cancelled by the standard library's means: it fails with CancelledError."""
        if super().cancel():
            return self._cancelled()
        self.settle(None, CancelledError())
        return False

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        if not self._called:
            super().add_done_callback(_takes_time)  # who calls the others calls it first
            self._called = True
        super().add_done_callback(fn)

    def begin(self) -> bool:
        """The job is about to run; False if the future was cancelled meanwhile. The backlog's lock isn't held: a signal
        handler that comes as its thread has the future's (in `result`) may want it, to submit something."""
        with self._condition:
            begun, self._begun = self._begun, True
            if not begun:
                return self.set_running_or_notify_cancel()
        return not self.done()  # a retry: to whoever looks it has been running all the time

    def follow(self, other: JobFuture) -> None:
        """Come to what that one comes to, which is another future of the same job."""
        other.tell_first(self._as)

    def tell_first(self, fn: Callable[[Future[Any]], object]) -> None:
        """Call it at the end, before all others: one that ends its thread would keep it from that."""
        with self._condition:
            if not self.done():
                self._done_callbacks.insert(0, fn)  # type: ignore[attr-defined]
                return
        super().add_done_callback(fn)

    def _as(self, other: Future[Any]) -> None:
        if other.cancelled():
            self.cancel_here()
        else:
            error = other.exception()
            self.settle(None if error is not None else other.result(), error)

    def settle(self, result: Any, error: BaseException | None) -> None:
        """What it came to, unless that is known already."""
        if not self._begun and (self.done() or not self.begin()):
            return
        self._call = self._owner = None
        try:
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(result)
        except InvalidStateError:
            pass


def _takes_time(future: Future[Any]) -> None:
    future._backlog.takes_time()  # type: ignore[attr-defined]


def _unlocked(lock: Any, wait: Callable[[float | None], Any], timeout: float | None) -> Any:
    """Wait, and let go of the future's lock, which what a signal handler raises on the way in or out leaves taken:
    whoever ends the future would wait for it for ever, and all other jobs for that one."""
    outside = not lock._is_owned()
    leave()
    try:
        return wait(timeout)
    except BaseException:
        while outside and lock._is_owned():
            lock.release()
        raise
    finally:
        del wait  # the exception's traceback has this frame, and this has the future
