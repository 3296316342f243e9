"""Threads that run jobs: tickets in a thread pool of the standard library's, each of which runs what is ready.

A ticket is a call that the pool was given. It runs one job after the other until none is ready, so there are never more
of them than threads, however many jobs wait. Calls that can't be stored stand in the pool's own queue beside them: a
ticket that meets one goes to the end of it after its job.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from typing import Any

from ... import telling
from ._backlog import Backlog
from ._finishing import finish
from ._returning import look_later
from ._starting import next_job
from ._timeouts import time_out

_log = telling.logger("pqadapters.executor")


class Tickets:
    """The tickets of one executor. `issue` gives the pool a call; it belongs to the executor, and isn't kept alive."""

    def __init__(self, backlog: Backlog, issue: Callable[..., Future[Any]], most: int) -> None:
        self.backlog, self.most = backlog, most
        self._issue = weakref.WeakMethod(issue)
        self.changed = threading.Condition(backlog.lock)
        self.count = self.busy = 0
        self.volatile = 0  #: calls in the pool's queue that aren't ours
        self.threads: set[int] = set()  #: those that run jobs
        self._looks = 0  #: grows with each job that may have become ready: a ticket that saw none looks again
        self._waiting = False
        self._ended = partial(_ended, weakref.ref(self))
        backlog.added, backlog.idle, backlog.changed = self.added, self.idle, self.notify

    def idle(self) -> bool:
        return not self.count

    def notify(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def added(self) -> bool:
        """A job is ready, or may be: see that somebody looks. False if nobody is there to."""
        backlog = self.backlog
        with backlog.lock:
            self._looks += 1
            idle = self.count - self.busy
            if idle >= self.most - self.busy or (idle and idle >= len(backlog.live)):
                return True
            self.count += 1
        return self._put() or self.count > 0

    def _put(self) -> bool:
        """Give the pool one more ticket, which is counted already."""
        issue = self._issue()
        try:
            if issue is not None:
                issue(self.work).add_done_callback(self._ended)
                return True
        except BrokenExecutor as error:
            self.backlog.break_with(error)
        except RuntimeError:  # the pool was shut down
            pass
        self.lost()
        return False

    def lost(self) -> None:
        """A ticket came to nothing."""
        with self.backlog.lock:
            self.count -= 1
            self.changed.notify_all()

    def work(self) -> bool:
        """What a ticket does, in a thread of the pool."""
        thread = threading.get_ident()
        self.threads.add(thread)
        try:
            return self._work()
        finally:
            self.threads.discard(thread)

    def _work(self) -> bool:
        backlog, lock = self.backlog, self.backlog.lock
        while True:
            looks = self._looks
            try:
                started = next_job(backlog)
            except Exception as error:
                started = None
                if not backlog.closed:
                    _log.error("no job of %s can be begun: %s", backlog.names.jobs, error)
                    look_later(backlog)
                looks = -1
            if started is None:
                with lock:
                    if self._looks == looks or looks < 0 or backlog.stopped:
                        self.count -= 1
                        if not self.count or self._waiting:
                            self.changed.notify_all()
                        last = not self.count
                        break
                continue
            with lock:
                self.busy += 1
                more = self.count == self.busy < self.most and (backlog.recovering or bool(backlog.live))
                if more:
                    self.count += 1
            if more:
                self._put()
            self._run(started)
            del started
            if self.volatile and self._step_back():
                return True
        if last and backlog.closing:
            backlog.ended()
        return True

    def _step_back(self) -> bool:
        """Let calls in the pool's queue come first; False if the pool takes no more tickets."""
        with self.backlog.lock:
            self.count += 1
        if not self._put():
            return False
        self.lost()
        return True

    def _run(self, started: Any) -> None:
        """Run a job. What looks for the next one is free again before it tells of this one's end, unless that may
        take time."""
        backlog, future = self.backlog, started.future
        if started.options.timeout is not None:
            time_out(backlog, started)
        function, args, kwargs = started.call
        result = error = None
        try:
            result = function(*args, **kwargs)
        except BaseException as failure:
            error = failure
        del function, args, kwargs
        free = not future._called
        if free:
            with backlog.lock:
                self.busy -= 1
        try:
            finish(backlog, started, result, error)
        finally:
            error = None  # it has this frame in its traceback
            if not free:
                with backlog.lock:
                    self.busy -= 1

    def wait(self) -> None:
        """Until nothing is left to do here."""
        with self.changed:
            self._waiting = True
            self.changed.wait_for(self.backlog.drained)


def _ended(ref: weakref.ref[Tickets], ticket: Future[Any]) -> None:
    """A ticket that never ran: the pool is broken, or was shut down by somebody else's word."""
    tickets = ref()
    if tickets is None or (not ticket.cancelled() and ticket.exception() is None):
        return
    tickets.lost()
    error = None if ticket.cancelled() else ticket.exception()
    if isinstance(error, BrokenExecutor):
        tickets.backlog.break_with(error)
