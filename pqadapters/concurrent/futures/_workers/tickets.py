"""Threads that run jobs: tickets in a thread pool of the standard library's, each of which runs what is ready.

A ticket is a call that the pool was given. It runs one job after the other until none is ready, so there are never more
of them than threads, however many jobs wait. Then it stays for a moment: who submits again at once rings for it, which
takes a third of what a new ticket does. Calls that can't be stored stand in the pool's own queue beside them: a ticket
that meets one goes to the end of it after its job.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from contextlib import suppress
from functools import partial
from typing import Any

from .... import telling
from ....living import living
from .._backlog.backlog import Backlog, ending
from .._backlog.clock import go_on, stands
from .._backlog.finishing import finish
from .._backlog.refusals import refused
from .._backlog.returning import look_later
from .._backlog.starting import next_job
from .._backlog.timeouts import time_out

_log = telling.logger("pqadapters.executor")
_STAY = 0.02  #: seconds
_LOOK = 0.25  #: seconds between two looks of a ticket whose jobs wait for one on its last attempt
_AGAIN = 1.0  #: seconds between two looks of the last ticket, while the store refuses
_PATIENCE = 5.0  #: seconds that a job on its last attempt waits for those that run, and new ones wait for it
_Ticket = list[None]  #: not empty until it is begun, or taken back: whoever pops it has it, in one step


class Tickets:
    """The tickets of one executor. `issue` gives the pool a call; it belongs to the executor, and isn't kept alive."""

    def __init__(self, backlog: Backlog, issue: Callable[..., Future[Any]], most: int) -> None:
        self.backlog, self.most = backlog, most
        self._issue = weakref.WeakMethod(issue)
        self._lock = backlog.lock  #: taken by itself, as in clock.py
        self.changed = threading.Condition(backlog.lock)
        self.count = self.busy = 0
        self.volatile = 0  #: calls in the pool's queue that aren't ours
        self.unstored = weakref.WeakValueDictionary[int, Future[Any]]()  #: what these come to, in order
        self._looks = 0  #: grows with each job that may have become ready: a ticket that saw none looks again
        self._waiting = False
        #: At each of these a ticket stays until it is rung for: who does takes it out, and lets it go. No queue for
        #: all: who is forestalled at a SimpleQueue as its time ends waits there for good, before Python 3.13.
        self._beds: deque[Any] = deque()
        self._free: set[int] = set()  #: of these, those that aren't busy any more, and still tell of their job's end
        backlog.added, backlog.idle, backlog.changed = self.added, self.idle, self.notify
        backlog.takes_time = self.takes_time
        backlog.ahead.allow(backlog.settings)
        backlog.suspects.patience = _PATIENCE

    def idle(self) -> bool:
        return not self.count

    def notify(self) -> None:
        with self._lock:
            self.changed.notify_all()
            if self.backlog.closing:
                self.ring(len(self._beds))

    def ring(self, most: int = 1) -> None:
        """For tickets that stay: who came first is rung for first. The lock is held."""
        with suppress(IndexError):  # so many there are, or a finalizer has rung as well
            for _ in range(most):
                self._beds.popleft().release()

    def added(self) -> bool:
        """A job is ready, or may be: see that somebody looks. False if nobody is there to."""
        backlog = self.backlog
        ticket: _Ticket = []
        coming: _Ticket = [None]
        try:
            with backlog.lock:
                self._looks += 1
                busy = self.busy + backlog.suspects.waiting
                idle = self.count - busy
                if idle == len(self._beds) > 0:  # else somebody is about to look, and rings if there are more
                    self.ring()
                if backlog.pool_shut:
                    return self.count > 0
                if idle >= self.most - busy or (idle and idle >= len(backlog.live)):
                    return True
                backlog.to_come.add(id(coming))
                ticket = coming
                self.count += 1  # no call in between: who takes it back counts it no more
            return self._put(ticket) or self.count > 0
        except BaseException:  # of a signal handler
            self.take_back(ticket)
            look_later(backlog)
            raise
        finally:
            backlog.to_come.discard(id(coming))

    def _put(self, ticket: _Ticket) -> bool:
        """Give the pool one more ticket, which is counted already."""
        issue = self._issue()
        try:
            if issue is not None:
                issue(self.work, ticket).add_done_callback(partial(_ended, weakref.ref(self), ticket))
                return True
        except BrokenExecutor as error:
            self.backlog.break_with(error, goes_on=True)
        except RuntimeError as error:  # it was shut down; or it can't start a thread, and the call may be in its queue
            self.backlog.refusal = str(error)
            if not self.backlog.closing:  # others may have counted on this one
                look_later(self.backlog)
        self.take_back(ticket)
        return False

    def take_back(self, ticket: _Ticket) -> None:
        """It comes to nothing, unless it is begun already."""
        with suppress(IndexError):
            ticket.pop()
            self.lost()

    def lost(self) -> None:
        """A ticket came to nothing."""
        with self.backlog.lock:
            self.count -= 1
            self.changed.notify_all()

    def work(self, ticket: _Ticket) -> bool:
        """What a ticket does, in a thread of the pool."""
        telling.endure()
        try:
            ticket.pop()
        except IndexError:
            return False
        workers, thread = self.backlog.suspects.workers, threading.get_ident()
        workers.add(thread)
        try:
            last = self._work()
        except BaseException:
            _log.critical("a job's end can't be told: its future's callback has raised", exc_info=True)
            self.lost()
            if not self.added() and self.backlog.pool_shut:  # else somebody else goes on
                self.backlog.leave()
                self.backlog.ended()
            raise
        finally:
            workers.discard(thread)
        if last and self.backlog.closing:
            self.backlog.ended()
        return True

    def work_unstored(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Another call of the pool's: it may wait for jobs as well."""
        workers, thread = self.backlog.suspects.workers, threading.get_ident()
        workers.add(thread)
        try:
            return function(*args, **kwargs)
        finally:
            workers.discard(thread)
            del function, args, kwargs  # an exception's traceback has this frame

    def _work(self) -> bool:
        """Whether it was the last ticket."""
        backlog, lock = self.backlog, self.backlog.lock
        while True:
            looks, waits = self._looks, backlog.suspects.is_waited_for()
            try:
                started = next_job(backlog)
            except Exception as error:
                started = None
                refused(backlog, error)
                looks = -1
            if started is None:
                last = self._ends(looks, waits)
                if last is not None:
                    return last
                continue
            if backlog.refused_since:
                backlog.refused_since = 0.0
            with lock:
                self.busy += 1
                more = False
                busy = self.busy + backlog.suspects.waiting
                if busy < self.most and (backlog.live or backlog.recovering):
                    more = self.count == busy
                    self.count += more
                    if self._beds:
                        self.ring()
            if more:
                self._put([None])
            self._run(started)
            del started
            if self.volatile and self._step_back():
                return False

    def _ends(self, looks: int, waits: bool) -> bool | None:
        """A ticket has found nothing, after so many looks of all; -1 if it couldn't look. None if it is to look again,
        after a moment in which nobody rang the end of it; then whether it was the last one. `waits`: before it looked
        there was one on its last attempt that is waited for."""
        backlog = self.backlog
        go_on()
        with backlog.lock:
            if self._looks != looks >= 0 and not backlog.stopped:
                return None
            if self.count == 1 and backlog.delayed and stands() and not (backlog.stopped or self.volatile or ending):
                self.changed.wait(_AGAIN)
                return None
            if (looks < 0 or backlog.unsaved) and self._is_needed():
                self.changed.wait(_AGAIN)
                return None
            if looks >= 0 and waits and not backlog.suspects.is_waited_for():
                return None  # that came to its end just now
            held_up = looks >= 0 and self._is_held_up()
            if not held_up and (looks < 0 or self._waiting or self.volatile or backlog.closing or backlog.stopped):
                return self._end()
            bed = threading.Lock()
            bed.acquire()
            self._beds.append(bed)
        if not bed.acquire(timeout=_LOOK if held_up else _STAY):
            with backlog.lock:
                if bed in self._beds:  # else it was rung for just now
                    self._beds.remove(bed)
                    return self._end() if self._looks == looks and not held_up else None
        return None

    def _is_held_up(self) -> bool:
        """Whether jobs wait for one on its last attempt: by then the pool may take no more tickets, and they may wait
        for each other, or it for them. Not where that would keep a thread from a call that isn't ours, as long as the
        pool takes tickets. The lock is held."""
        backlog = self.backlog
        if not backlog.live or backlog.stopped:
            return False
        if self.volatile and self.count + self.volatile > self.most and not (backlog.pool_shut or ending):
            return False
        return backlog.suspects.is_waited_for()

    def _is_needed(self) -> bool:
        """Whether it must not end, though the store refuses: there are jobs, and the pool takes no more tickets. The
        lock is held."""
        backlog = self.backlog
        return backlog.pool_shut and self.count == 1 and bool(backlog.live) and not backlog.stopped

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
        if not self._put([None]):
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
        thread = threading.get_ident()
        if not future._called:
            with backlog.lock:
                self.busy -= 1
            self._free.add(thread)
        try:
            finish(backlog, started, result, error)
        finally:
            started = future = error = None  # it has this frame in its traceback, and the future has it
            if thread in self._free:
                self._free.discard(thread)
            else:
                with backlog.lock:
                    self.busy -= 1

    def takes_time(self) -> None:
        """Callbacks that were added only while the end was stored are about to be called, by this thread."""
        thread = threading.get_ident()
        if thread in self._free:
            self._free.discard(thread)
            with self.backlog.lock:
                self.busy += 1
            if self.backlog.live:
                self.added()  # who has submitted meanwhile has counted on us

    def cancel_unstored(self) -> None:
        """Those that aren't begun. A ticket may stand behind them."""
        for future in living(self.unstored):
            future.cancel()

    def wait(self) -> None:
        """Until nothing is left to do here. Now and then it is looked: at a time no thread could be started to."""
        while True:
            with self._lock:
                self._waiting = True
                if self.changed.wait_for(self.backlog.drained, _AGAIN):
                    return
            go_on()
            if not self.count:
                self.added()


def _ended(ref: weakref.ref[Tickets], ticket: _Ticket, call: Future[Any]) -> None:
    """A ticket that never ran: the pool is broken, or was shut down by somebody else's word."""
    tickets = ref()
    if tickets is None or not ticket:
        return
    tickets.take_back(ticket)
    error = None if call.cancelled() else call.exception()
    if isinstance(error, BrokenExecutor):
        tickets.backlog.break_with(error, goes_on=True)


def register_at_exit() -> None:
    """Before the standard library's own handler, which waits for the threads."""
    with suppress(AttributeError, RuntimeError):
        threading._register_atexit(ending.append, True)  # type: ignore[attr-defined]
