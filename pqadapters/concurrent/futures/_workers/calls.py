"""Processes that run jobs: calls in a process pool of the standard library's, as many as it has workers.

Only this process touches the store. A job is claimed when a worker is free for it, so what is on disk as begun is
begun. What it came to is stored by a thread of ours, since the pool's own thread must not wait for a disk; that thread
ends when there is nothing to do, and keeps the executor while there is.
"""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .... import telling
from ....ending import start_thread
from ....errors import PqadaptersError
from ....living import living
from .._backlog.backlog import Backlog, ending
from .._backlog.clock import go_on
from .._backlog.finishing import finish, is_held, leave_to_next
from .._backlog.loading import Started, not_loaded
from .._backlog.refusals import is_given_up, let_go, refused
from .._backlog.returning import look_later, wait_again
from .._backlog.starting import give_up, next_job
from .._backlog.timeouts import time_out
from . import main_script
from .apart import carry_on
from .carrying import carry_out, has_broken, unpacked, was_interrupted
from .unopened import NotLoaded, call_of

if TYPE_CHECKING:
    from ..process import ProcessPoolExecutor

_log = telling.logger("pqadapters.executor")
_LOOK = 1.0  #: seconds between two looks of who waits for the end
_LINGER = 1.0  #: seconds that the thread waits for more before it ends
_Pool = int  #: its number from 0 on; of those for jobs whose worker was killed before, ~number
_Counted = list[bool]  #: not empty while a call counts; True once the pool has it, and will say that it is done
_all: weakref.WeakSet[Calls] = weakref.WeakSet()


class Calls:
    """What one executor has in its pool."""

    def __init__(self, backlog: Backlog, executor: ProcessPoolExecutor, most: int, rebuild: bool) -> None:
        self.backlog, self.most, self.rebuild = backlog, most, rebuild
        self._executor = weakref.ref(executor)
        self._kept: ProcessPoolExecutor | None = None
        self.lock = backlog.lock  #: taken by itself, as in clock.py
        self.changed = threading.Condition(backlog.lock)
        self._counted: dict[int, _Counted] = {}  #: calls in the pool, or about to be: each comes and goes in one step
        self._looks = 0
        self._trouble = ""  #: why no worker could be started
        self._thread: threading.Thread | None = None
        self._done: queue.SimpleQueue[tuple[Started, _Pool, _Counted, Future[Any]] | None] = queue.SimpleQueue()
        backlog.added, backlog.idle, backlog.changed = self.added, self.idle, self.notify
        backlog.opened = call_of
        main_script.find()
        _all.add(self)

    @property
    def count(self) -> int:
        return len(self._counted)

    def idle(self) -> bool:
        return not self._counted

    def notify(self) -> None:
        """Somebody may be waiting for the end, and so may the thread."""
        with self.lock:
            self.changed.notify_all()
        if self.backlog.closing and self._thread is not None:
            self._done.put(None)

    def added(self) -> bool:
        """A job is ready, or may be: give it to the pool if a worker is free. False if it takes no more.
        OSError where no worker can be started."""
        backlog = self.backlog
        while True:
            counted: _Counted = []
            started = None
            try:
                with backlog.lock:
                    self._looks += 1
                    looks = self._looks
                    if self.count >= self.most or backlog.stopped:
                        return not backlog.stopped
                    counted = [False]
                    self._counted[id(counted)] = counted
                try:
                    started = next_job(backlog)
                except Exception as error:
                    self._less(counted)
                    refused(backlog, error)
                    return not (backlog.closed or backlog.stopped)
                if started is not None:
                    backlog.refused_since = 0.0
                    try:
                        if self._give(started, counted):
                            continue
                        return False
                    finally:
                        carry_on()
                with backlog.lock:
                    again = self._looks != looks and not backlog.stopped
                self._less(counted)
                if not again:
                    return True
            except BaseException:
                self._withdraw(started, counted)
                look_later(backlog)
                raise

    def _less(self, counted: _Counted) -> None:
        """A call is none of those in the pool any more."""
        with self.lock:
            self._counted.pop(id(counted), None)
            counted.clear()
            self.changed.notify_all()

    def _withdraw(self, started: Started | None, counted: _Counted) -> None:
        """Giving a job to the pool was interrupted: it isn't, unless that was done already."""
        if counted == [True]:
            return self._see_to_it()
        if started is not None and counted:
            give_up(self.backlog, started)
        self._less(counted)

    def _give(self, started: Started, counted: _Counted) -> bool:
        executor = self._executor()
        try:
            self._see_to_it()  # first: without a thread nobody would hear what the call came to
        except RuntimeError as error:
            give_up(self.backlog, started)
            self._less(counted)
            self._look_later(error)
            return False
        try:
            if executor is None:
                raise RuntimeError("the executor is gone")
            pool, inner = self._call(executor, started)
        except OSError as error:
            give_up(self.backlog, started, at_once=False)
            self._less(counted)
            self._tell(error)
            raise  # `added` has us look again
        except Exception as error:
            give_up(self.backlog, started)
            self._less(counted)
            if isinstance(error, BrokenExecutor):
                self.backlog.break_with(error)
                return False
            if isinstance(error, RuntimeError):
                if self.backlog.closing:
                    self.backlog.forget(started.future._id)
                    started.future.settle(None, error)
                else:
                    self._look_later(error)
                return False
            raise
        self._kept, self._trouble = executor, ""
        if self.rebuild:
            started.future._call = started.call
        inner.add_done_callback(partial(self._is_done, started._replace(call=(None, (), {})), pool, counted))
        counted[:] = [True] if counted else []
        if started.options.timeout is not None:
            time_out(self.backlog, started)
        return True

    def _look_later(self, error: RuntimeError) -> None:
        """A thread can't be started, and others may have counted on this call. At the program's end none ever will."""
        self.backlog.refusal = str(error)
        if ending:
            self.backlog.fail(error)
        else:
            look_later(self.backlog)

    def _tell(self, error: OSError) -> None:
        """No worker can be started: once, however often it is tried."""
        level = logging.DEBUG if self._trouble == str(error) else logging.ERROR
        self._trouble = str(error)
        _log.log(level, "no job of %s can be begun for now: %s", self.backlog.names.jobs, error)

    def _call(self, executor: ProcessPoolExecutor, started: Started) -> tuple[_Pool, Future[Any]]:
        """The pool, and its future. A pool that is found broken is replaced, where that is wanted."""
        if started.claim.attempt - started.failures > 1 and not executor._apart.cannot_begin():
            with suppress(BrokenExecutor):  # its initializer fails, and the pool's own will as well
                number, inner = executor._apart.submit(carry_out, *started.call)
                return ~number, inner
        while True:
            pool = len(executor._pools)
            try:
                return pool, executor._issue(carry_out, *started.call)
            except BrokenExecutor:
                if not self.rebuild or self.backlog.stopped or executor._cannot_begin(pool):
                    raise
                executor._renew_pool(pool)

    def _is_done(self, started: Started, pool: _Pool, counted: _Counted, inner: Future[Any]) -> None:
        """In the pool's thread: quick, and nothing of the pool's is called."""
        self._done.put((started, pool, counted, inner))

    # The thread

    def _see_to_it(self) -> None:
        thread: threading.Thread | None = None
        try:
            with self.backlog.lock:
                if self._thread is not None:
                    return
                thread = threading.Thread(target=self._work, name="pqadapters-executor-calls", daemon=True)
                self._thread = thread
            start_thread(thread)
        except BaseException:  # of a signal handler: nobody knows whether it runs; it ends if so
            if thread is not None:
                self._thread = None
            raise

    def _work(self) -> None:
        telling.endure()
        while self._thread is threading.current_thread():
            try:
                done = self._done.get(timeout=_LINGER)
            except queue.Empty:
                done = None
            if done is not None:
                self._finish(*done)
            go_on()
            if self._is_over(nothing=done is None):
                return
            done = None

    def _finish(self, started: Started, pool: _Pool, counted: _Counted, inner: Future[Any]) -> None:
        backlog = self.backlog
        if not counted:
            return  # it was withdrawn
        error = RuntimeError("the call was cancelled") if inner.cancelled() else inner.exception()
        try:
            if inner.cancelled():
                if is_held(backlog, started):
                    give_up(backlog, started)
                if backlog.stopped:
                    backlog.leave()  # nobody begins it again here
            elif has_broken(error):
                self._broken(started, pool, error)
            elif isinstance(error, NotLoaded):
                not_loaded(backlog, started, error)
            elif was_interrupted(error) and not started.options.retries_on(error, started.failures + 1):
                leave_to_next(backlog, started, error)
            else:
                result, error = unpacked(inner.result()) if error is None else (None, error)
                finish(backlog, started, result, error)
        except Exception as problem:
            _log.error("job %s: %s", started.future.job_id, problem)
        except BaseException:  # this thread is nobody's to end
            _log.critical("a job's end can't be told: its future's callback has raised", exc_info=True)
        self._less(counted)
        try:
            self.added()
        except Exception as problem:
            if not backlog.closed:
                _log.error("no job of %s can be begun: %s", backlog.names.jobs, problem)

    def _broken(self, started: Started, pool: _Pool, error: BrokenExecutor) -> None:
        """A worker was killed. The job stays on disk, and the attempt counts, unless no worker has begun."""
        backlog, future, apart = self.backlog, started.future, pool < 0
        executor = self._executor()
        cannot_begin = executor is not None and executor._cannot_begin(pool)
        never_ran = cannot_begin or (executor is not None and not executor._has_begun(pool))
        goes_on = executor is not None and not backlog.stopped and (apart or (self.rebuild and not cannot_begin))
        if never_ran and is_held(backlog, started):
            give_up(backlog, started, at_once=goes_on)
        if not goes_on:
            backlog.suspects.end(future._id)  # nobody may shut this executor down
            return backlog.break_with(error)
        if never_ran or not wait_again(backlog, future, started.claim.attempt):
            return None  # or it has run out of time, maybe just now, and is over or begun again
        backlog.suspects.end(future._id)
        backlog.recovering = True
        let_go(backlog, started.claim)

    def _is_over(self, nothing: bool) -> bool:
        """Whether the thread may end. The executor may go before it, as soon as there is nothing to do."""
        backlog = self.backlog
        with self.lock:
            waiting = bool(self.count or backlog.live) and not backlog.stopped
            if waiting or self.count:
                return False
            self._kept = None
            over = backlog.closing or nothing
            if over:
                self._thread = None
            self.changed.notify_all()
        if over and backlog.closing:
            with suppress(PqadaptersError):
                backlog.ended()
        return over

    def wait(self) -> None:
        """Until nothing is left to do here. Now and then it is looked: at a time no thread could be started to."""
        backlog = self.backlog
        while True:
            with self.lock:
                if self.changed.wait_for(lambda: backlog.drained() or (backlog.stopped and not self.count), _LOOK):
                    return
            go_on()
            if not self.count:
                with suppress(OSError):  # no worker can be forked
                    self.added()

    def is_through(self) -> bool:
        """Whether all is done but for what is to be begun later."""
        backlog = self.backlog
        if self.count:
            return False  # also where the pool is through with it, and what it came to isn't stored yet
        return backlog.stopped or is_given_up(backlog) or not backlog.live.keys() - backlog.delayed

    def wait_for_thread(self) -> None:
        """Until its thread has ended, which it does at once behind the last job of an executor that was shut down."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._done.put(None)
            thread.join()


def _drain_all() -> None:
    """The program ends: as with the standard library's, what was submitted is done first."""
    main_script.keep_file()
    for calls in living(_all):
        if not (calls.backlog.closed or calls.backlog.forked) and (calls.count or calls.backlog.live):
            with calls.lock:
                calls.changed.wait_for(calls.is_through)


def register_at_exit() -> None:
    """Before the standard library's own handlers, which end the pools. Without that, jobs stay on disk."""
    with suppress(AttributeError, RuntimeError):
        threading._register_atexit(_drain_all)  # type: ignore[attr-defined]
