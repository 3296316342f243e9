"""What both executors have beyond the standard library's: a backlog on disk, and doors to it."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextvars import Context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from ...apart import out_of_hub
from ...callers import stacklevel
from ...durability import Durability, Survives
from ...ending import is_over
from ...errors import NotDurableWarning, NotSerializable, StoreClosed
from ...overriding import declared_as_map
from ...store import Store
from ._backlog import overview
from ._backlog.backlog import Backlog
from ._backlog.cancelling import cancel_stored
from ._backlog.finishing import let_begin
from ._backlog.future import JobFuture
from ._backlog.keys import find
from ._backlog.overview import JobInfo
from ._backlog.records import find_record
from ._backlog.recovered import recovered
from ._backlog.submitting import submit
from ._jobs import wire
from ._jobs.options import PLAIN, Options, key_bytes, options, settings
from ._jobs.place import find_place
from ._jobs.words import Interrupted, JobState, Recover, Volatile, WhenFull
from ._mapping import KNOWS_BUFFERS, MARKS, Mapped, map_in_parts, unmarked
from ._others import peers

P = ParamSpec("P")
T = TypeVar("T")
_warned: set[tuple[str, int]] = set()


class Submitter:
    """`executor.using(...)`: submits with these options."""

    __slots__ = ("_executor", "_options")

    def __init__(self, executor: DurableExecutor, options: Options) -> None:
        self._executor, self._options = executor, options

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> JobFuture:
        """As the executor's submit(). NotSerializable where the call can't be stored: options need that."""
        if self._executor._broken:
            self._executor._check_pool()
        return submit(self._executor._backlog, (fn, args, kwargs), self._options)


class DurableExecutor(Executor):
    """The part of both executors that is about the backlog."""

    _backlog: Backlog
    _broken: Any = False  #: the standard library's: why its pool takes no calls any more
    _broken_as: type[BrokenExecutor]
    _rebuild = False  #: whether there is a new pool then

    def _check_names(self, given: dict[str, Any]) -> None:
        """Of keyword arguments; before there is a pool."""
        for name in given.keys() - (DurableExecutor._set_up.__kwdefaults__ or {}).keys():
            raise TypeError(f"{type(self).__name__}() got an unexpected keyword argument {name!r}")

    def _set_up(
        self,
        *,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        store: Store | str | None = None,
        name: str | None = None,
        durability: str | Survives | Durability | None = None,
        max_lag: float | None = None,
        trust_directory: bool = False,
        max_attempts: int = 3,
        interrupted: str | Interrupted = "retry",
        volatile: str | Volatile = "warn",
        recover: str | Recover = "auto",
        recover_map: bool = False,
        on_recovered: Callable[[JobFuture], object] | None = None,
        result_ttl: float | None = None,
        max_pending: int | None = None,
        max_bytes: int | None = None,
        when_full: str | WhenFull = "block",
    ) -> None:
        chosen = settings(
            max_attempts=max_attempts,
            interrupted=interrupted,
            volatile=volatile,
            recover=recover,
            recover_map=recover_map,
            on_recovered=on_recovered,
            result_ttl=result_ttl,
            max_pending=max_pending,
            max_bytes=max_bytes,
            when_full=when_full,
        )
        place = find_place(
            self,
            path=path,
            store=store,
            name=name,
            durability=durability,
            max_lag=max_lag,
            trust_directory=trust_directory,
        )
        self._backlog = Backlog(place, chosen)

    def _begin(self) -> None:
        """Last thing in the constructor: with what there is, if that is to be begun at once."""
        backlog = self._backlog
        backlog.owner = weakref.ref(self)
        weakref.finalize(self, out_of_hub, _abandon, backlog).atexit = False
        if backlog.settings.recover is Recover.AUTO and not backlog.place.lazy:
            backlog.open()
            if backlog.recovering and not backlog.added() and backlog.broken is None and not is_over():
                backlog.close()
                raise RuntimeError(backlog.refusal)

    def _check_pool(self) -> None:
        """Of a pool that is broken. Where it broke with nothing to do, no future has told us."""
        if not self._rebuild:
            raise self._broken_as(self._broken)

    # Calls that aren't stored

    def _issue(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The standard library's submit()."""
        return super().submit(fn, *args, **kwargs)

    def _submit_volatile(self, call: wire.Call) -> Future[Any]:
        """A call that runs from memory alone, in the standard library's own way."""
        self._backlog.check()
        fn, args, kwargs = call
        return self._as_volatile(self._issue_volatile(fn, *args, **kwargs))

    def _issue_volatile(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._issue(fn, *args, **kwargs)

    @staticmethod
    def _as_volatile(future: Any) -> Future[Any]:
        future.durable, future.job_id, future.attempts = False, None, 1
        return future  # type: ignore[no-any-return]

    def _refused(self, call: wire.Call, error: NotSerializable) -> Future[Any]:
        """A call that can't be stored."""
        word = self._backlog.settings.volatile
        function = _shown(call[0])
        if word is Volatile.RAISE:
            raise NotSerializable(
                f"the call of {function} can't be stored: {error}. volatile='warn' runs it from memory alone"
            ) from error
        if word is Volatile.WARN:
            _warn_once(
                f"the call of {function} can't be stored, so it runs from memory alone and would be lost in a crash: "
                f"{error}"
            )
        return self._submit_volatile(call)

    # What the standard library's executors have

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As the standard library's, and the job is on disk when this returns, as far as the store's durability says.

        The future has `job_id`, `attempts` and `durable`. A call that can't be serialised runs from memory alone, with
        one NotDurableWarning for each place of call (`volatile=`). Raises RuntimeError after shutdown(),
        BrokenExecutor, queue.Full (`when_full="raise"`), StoreError; no job was stored then.
        """
        if self._broken:
            self._check_pool()
        call: wire.Call = fn, args, kwargs
        flags = 0
        if type(fn) in MARKS or not MARKS.isdisjoint(map(type, args)):
            mapped = unmarked(fn, args)
            if mapped is not None:
                call, flags = (*mapped, kwargs), wire.MAPPED
                if not self._backlog.settings.recover_map:
                    return self._submit_volatile(call)
        try:
            return submit(self._backlog, call, PLAIN, flags)
        except NotSerializable as error:
            return self._refused(call, error)

    @declared_as_map
    def map(  # type: ignore[override]  # for whom the arguments have no names
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As the standard library's. The calls run from memory: a program that is started again maps again. With the
        executor's `recover_map=True` they are jobs like any others. `buffersize` is there before Python 3.14, too (for
        calls one by one: with `chunksize` it is the standard library's)."""
        marked = Mapped(fn)
        if buffersize is None:
            return super().map(marked, *iterables, timeout=timeout, chunksize=chunksize)
        if KNOWS_BUFFERS:
            more: Any = {"buffersize": buffersize}
            return super().map(marked, *iterables, timeout=timeout, chunksize=chunksize, **more)
        return map_in_parts(self, marked, iterables, timeout, buffersize)

    # Beyond them

    def using(
        self,
        *,
        key: str | bytes | int | tuple[Any, ...] | None = None,
        retries: int = 0,
        backoff: float = 1.0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        delay: float = 0.0,
        priority: float = 0,
        timeout: float | None = None,
        result_ttl: float | None = None,
        interrupted: str | Interrupted | None = None,
        max_attempts: int | None = None,
    ) -> Submitter:
        """`executor.using(...).submit(fn, ...)` submits with options.

        `key`: the same key gives the same future, after a restart and in other processes of the store, too, until its
        result has run out. `retries`: how often a job that raises one of `retry_on` (any Exception) is tried again,
        after `backoff` seconds, doubled each time, with jitter. `delay`: not before so many seconds. `priority`: the
        least first, 0 by default. `timeout`: seconds after which the job fails with TimeoutError and its late outcome
        is refused; what runs it can't be stopped, and goes on. `result_ttl`: seconds that the result is kept for, one
        day by default for a job with a key. `interrupted` and `max_attempts` as of the executor.
        Raises TypeError and ValueError.
        """
        return Submitter(
            self,
            options(
                key=key,
                retries=retries,
                backoff=backoff,
                retry_on=retry_on,
                delay=delay,
                priority=priority,
                timeout=timeout,
                result_ttl=result_ttl,
                interrupted=interrupted,
                max_attempts=max_attempts,
            ),
        )

    def future(self, job_id: str | None = None, *, key: str | bytes | int | tuple[Any, ...] | None = None) -> JobFuture:
        """The future of a job by its id or its key: still to come to its end, or with the result that was kept.

        By the id of a job without a kept result all pending ones are looked through. Raises UnknownJob; ValueError for
        what can't be an id, TypeError for what can't be a key."""
        if (job_id is None) == (key is None):
            raise TypeError("give a job_id or a key")
        found = find(self._backlog, job_id, None if key is None else key_bytes(key))
        let_begin(self._backlog, found)
        return found

    def recovered(self) -> list[JobFuture]:
        """The futures of the jobs that earlier processes have left, for wait() and as_completed(). With
        `recover="manual"` they are begun now. Raises RuntimeError after shutdown()."""
        futures = recovered(self._backlog)
        let_begin(self._backlog, *futures)
        return futures

    def stats(self) -> dict[str, Any]:
        """Counts of jobs and results, `bytes`, where they live, and `oldest_age` in seconds."""
        return overview.stats(self._backlog)

    def jobs(self, state: str | JobState | None = None) -> Iterator[JobInfo]:
        """The jobs of one state ("pending", "delayed", "running", "dead") or of all, of whatever process. Raises
        ValueError for another state."""
        return self._kept_for(overview.jobs(self._backlog, state))

    def _kept_for(self, found: Iterator[JobInfo]) -> Iterator[JobInfo]:
        """The executor as well, while they are looked through: without it the store is closed."""
        yield from found

    def cancel(self, job_id: str) -> bool:
        """Cancel a job of whatever process by its id, if it isn't running or done; whether that was so. Raises
        ValueError for what can't be an id."""
        backlog, id = self._backlog, wire.id_from(job_id)
        backlog.open()  # only then it is seen by others, and sees them
        future = backlog.live.get(id) or backlog.attached.get(id) or peers.find(backlog, id)
        if future is not None and future._record and future.cancel():
            return True
        record = find_record(backlog, backlog.names.jobs, id)
        if record is None or not cancel_stored(backlog, id, record):
            return False
        backlog.forget_cancelled(id)
        if future is not None:
            future.cancel_here()
        return True

    def requeue(self, job_id: str | None = None) -> int:
        """Put a dead job, or all of them, back at the end of the backlog. Returns how many. Raises ValueError for what
        can't be an id."""
        return overview.requeue(self._backlog, job_id)

    def purge(
        self,
        state: str | None = None,
        *,
        job_id: str | None = None,
        key: str | bytes | int | tuple[Any, ...] | None = None,
        older_than: float = 0.0,
    ) -> int:
        """Take away for good the jobs of a state ("pending", "delayed", "dead") that were submitted more than
        `older_than` seconds ago, or all kept "results"; or what there is of one job. Returns how many. Raises TypeError
        and ValueError for arguments."""
        if sum(each is not None for each in (state, job_id, key)) != 1:
            raise TypeError("give a state, a job_id or a key")
        return overview.purge(self._backlog, state, job_id, None if key is None else key_bytes(key), older_than)


def _shown(function: Any) -> str:
    """Its name; of a partial that of what it calls, also in a context, as `asyncio.to_thread` has it."""
    while isinstance(function, partial):
        in_context = isinstance(getattr(function.func, "__self__", None), Context) and function.args
        function = function.args[0] if in_context else function.func
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _warn_once(message: str) -> None:
    """Once for each place of call."""
    import sys

    level = stacklevel()
    frame = sys._getframe(level - 1)
    place = frame.f_code.co_filename, frame.f_lineno
    if place not in _warned:
        _warned.add(place)
        warnings.warn(message, NotDurableWarning, stacklevel=level)


def _abandon(backlog: Backlog) -> None:
    """The executor is gone. What it was given is still done, as with the standard library's."""
    if not backlog.closing:
        backlog.ended = partial(_over, backlog)
    backlog.closing = True
    backlog.changed()
    if backlog.idle():
        _over(backlog)


def _over(backlog: Backlog) -> None:
    if backlog.live:  # the store refuses for now, and nobody can look again
        backlog.fail(StoreClosed("nobody has the executor any more: the job stays on disk, for the next one"))
    backlog.close()
