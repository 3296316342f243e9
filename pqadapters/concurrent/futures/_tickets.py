"""Threads that run jobs: tickets in a thread pool of the standard library's, each of which runs what is ready.

A ticket is a call that the pool was given. It runs one job after the other until none is ready, so there are never more
of them than threads, however many jobs wait. Then it stays for a moment: who submits again at once rings for it, which
takes a third of what a new ticket does. Calls that can't be stored stand in the pool's own queue beside them: a ticket
that meets one goes to the end of it after its job.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from typing import Any

from ._backlog import Backlog
from ._finishing import finish
from ._refusals import refused
from ._starting import next_job
from ._timeouts import time_out

_STAY = 0.02  #: seconds


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
        self._staying = 0  #: tickets that wait for the bell, but for those that a ring in it is for
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ended = partial(_ended, weakref.ref(self))
        backlog.added, backlog.idle, backlog.changed = self.added, self.idle, self.notify
        backlog.ahead.allow(backlog.settings)

    def idle(self) -> bool:
        return not self.count

    def notify(self) -> None:
        with self.changed:
            self.changed.notify_all()
            if self.backlog.closing:
                self.ring(self._staying)

    def ring(self, most: int = 1) -> None:
        """For tickets that stay. The lock is held."""
        for _ in range(min(most, self._staying)):
            self._staying -= 1
            self._bell.put(None)

    def added(self) -> bool:
        """A job is ready, or may be: see that somebody looks. False if nobody is there to."""
        backlog = self.backlog
        with backlog.lock:
            self._looks += 1
            idle = self.count - self.busy
            if idle == self._staying > 0:  # else somebody is about to look, and rings if there are more
                self._staying -= 1
                self._bell.put(None)
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
                refused(backlog, error)
                looks = -1
            if started is None:
                last = self._ends(looks)
                if last is None:
                    continue
                break
            if backlog.refused_since:
                backlog.refused_since = 0.0
            with lock:
                self.busy += 1
                more = False
                if self.busy < self.most and (backlog.live or backlog.recovering):
                    more = self.count == self.busy
                    self.count += more
                    if self._staying:
                        self.ring()
            if more:
                self._put()
            self._run(started)
            del started
            if self.volatile and self._step_back():
                return True
        if last and backlog.closing:
            backlog.ended()
        return True

    def _ends(self, looks: int) -> bool | None:
        """A ticket has found nothing, after so many looks of all; -1 if it couldn't look. None if it is to look again,
        after a moment in which nobody rang the end of it; then whether it was the last one."""
        backlog = self.backlog
        with backlog.lock:
            if self._looks != looks >= 0 and not backlog.stopped:
                return None
            if looks < 0 or self._waiting or self.volatile or backlog.closing or backlog.stopped:
                return self._end()
            self._staying += 1
        try:
            self._bell.get(timeout=_STAY)
        except queue.Empty:
            with backlog.lock:
                if self._staying:
                    self._staying -= 1
                    return self._end() if self._looks == looks else None
                self._bell.get_nowait()  # it has rung just now, for us
        return None

    def _end(self) -> bool:
        """Whether it was the last ticket. The lock is held."""
        self.count -= 1
        if not self.count or self._waiting:
            self.changed.notify_all()
        return not self.count

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
