"""Durable `concurrent.futures.thread`: a pool of threads whose jobs survive the process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import thread as stdlib
from concurrent.futures.thread import BrokenThreadPool
from functools import partial
from typing import Any

from ...overriding import declared_as, ended
from ._closing import INSIDE, is_inside, shut_down
from ._durable import DurableExecutor
from ._jobs.wire import Call
from ._workers.tickets import Tickets, register_at_exit

__all__ = ["BrokenThreadPool", "ThreadPoolExecutor"]

register_at_exit()


def __getattr__(name: str) -> Any:
    """What else the standard library's module has."""
    return getattr(stdlib, name)


class ThreadPoolExecutor(DurableExecutor, stdlib.ThreadPoolExecutor):
    """The standard library's, with its arguments, and a backlog on disk.

    Where the backlog lives: without any of `path`, `store` and `name` in the home of the application, private to this
    process, and found again by the next one that makes an executor in the same place of the source. `path=` a directory
    that this process holds alone, or `store=` a store or its URL; `name=` alone is shared by all processes of the
    application. `durability=` ("power", "process"), `max_lag=` (seconds) and `trust_directory=` are the store's.

    In this process the very objects that were submitted are called; bytes are used after a restart. A job that was
    begun when its process died is started again, `max_attempts` times in all, and then goes to the dead letters
    (`interrupted="retry"`); "fail" sends it there at once, "drop" takes it for done. `volatile=` is about calls that
    can't be stored ("warn", "raise", "allow": run from memory), `recover=` about when jobs of earlier processes are
    begun ("auto": now; "on_submit", "manual": by `recovered()`), `recover_map=` about those of `map`;
    `on_recovered=` is called with the future of each. `result_ttl=`: seconds that results are kept for. `max_pending=`
    jobs and `max_bytes=` of them may wait at a time; then submit() waits, or raises queue.Full (`when_full="raise"`).

    Raises TypeError and ValueError for arguments, StoreError where the store can't be opened.
    """

    _broken_as = BrokenThreadPool

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **durable: Any,
    ) -> None:
        self._check_names(durable)
        if max_workers is None:
            max_workers = default_workers()
        super().__init__(max_workers, thread_name_prefix, initializer, initargs)
        self._set_up(**durable)
        self._tickets = Tickets(self._backlog, self._issue, max_workers)
        self._begin()

    def _submit_volatile(self, call: Call) -> Any:
        tickets = self._tickets
        with tickets.backlog.lock:
            tickets.volatile += 1
            tickets.ring()  # its thread may be the one that is to run this
        try:
            future = super()._submit_volatile(call)
        except BaseException:
            _volatile_done(tickets)
            raise
        future.add_done_callback(partial(_volatile_done, tickets))
        tickets.unstored[id(future)] = future
        return future

    def _issue_volatile(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return self._issue(self._tickets.work_unstored, fn, args, kwargs)

    @declared_as(ended)
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, drain: bool = True) -> None:
        """As the standard library's: no more jobs are taken; with `wait`, returns when all are done, those that earlier
        processes have left included. `cancel_futures`: those that aren't begun are cancelled, and stay so after a
        restart. Not `drain`: they stay on disk for the next executor, and their futures here are cancelled."""
        inside = wait and is_inside(self._backlog, *self._own_threads())
        wait = wait and not inside
        shut_down(
            self._backlog,
            super().shutdown,
            self._tickets.wait,
            wait,
            cancel_futures,
            drain,
            cancel_unstored=self._tickets.cancel_unstored,
        )
        if inside:
            raise RuntimeError(INSIDE)

    def _own_threads(self) -> list[threading.Thread]:
        with self._shutdown_lock:  # who starts one enters it before that is free
            return list(self._threads)


def _volatile_done(tickets: Tickets, future: object = None) -> None:
    with tickets.backlog.lock:
        tickets.volatile -= 1


def default_workers() -> int:
    """How many threads the standard library takes."""
    return min(32, (getattr(os, "process_cpu_count", os.cpu_count)() or 1) + 4)
