"""Durable `concurrent.futures.process`: a pool of processes whose jobs survive this process and the workers'."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import process as stdlib
from concurrent.futures import thread as _thread  # noqa: F401  # its handler at the end is registered before ours
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ...errors import NotSerializable
from ...overriding import declared_as, ended
from ._closing import INSIDE, is_inside, shut_down
from ._durable import DurableExecutor
from ._jobs.wire import Call
from ._jobs.words import Volatile
from ._workers.apart import Apart, carry_on, issue
from ._workers.beginnings import Beginnings
from ._workers.calls import Calls, register_at_exit
from ._workers.carrying import carry_back

__all__ = ["BrokenProcessPool", "ProcessPoolExecutor"]

_MOST_ON_WINDOWS = 61
register_at_exit()


def __getattr__(name: str) -> Any:
    """What else the standard library's module has."""
    return getattr(stdlib, name)


class ProcessPoolExecutor(DurableExecutor, stdlib.ProcessPoolExecutor):
    """The standard library's, with its arguments, and a backlog on disk; all else as of `ThreadPoolExecutor`.

    Only this process touches the store. When a worker is killed, futures get BrokenProcessPool as the standard
    library's do, and the jobs stay on disk for the next executor. With `rebuild=True` a new pool takes the place of the
    broken one instead, and goes on with them; a job whose worker was killed `max_attempts` times goes to the dead
    letters. Where the initializer fails, or ends its worker three times, there is no new pool. A job's `timeout`
    begins as it is given to a worker, which may have to start first, and doesn't stop that. A job whose worker was
    killed before runs in a pool beside this one, so that it can't break it as well.
    """

    _broken_as = BrokenProcessPool

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        rebuild: bool = False,
        **durable: Any,
    ) -> None:
        self._check_names(durable)
        given: dict[str, Any] = {
            "max_workers": max_workers,
            "mp_context": mp_context,
            "initializer": initializer,
            "initargs": initargs,
        }
        if sys.version_info >= (3, 11):
            given["max_tasks_per_child"] = max_tasks_per_child
        elif max_tasks_per_child is not None:
            raise TypeError("max_tasks_per_child needs Python 3.11")
        self._apart = Apart(given)
        self._beginnings = Beginnings(given)
        workers = default_workers() if max_workers is None else max_workers
        super().__init__(**self._beginnings.given(0))
        self._pools: list[stdlib.ProcessPoolExecutor] = []  #: those that took the first one's place, which we are
        self._renewing = threading.RLock()
        self._rebuild = rebuild
        self._set_up(**durable)
        self._calls = Calls(self._backlog, self, workers, rebuild)
        self._begin()

    def _issue(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._pools:
            return issue(self._pools[-1].submit, fn, *args, **kwargs)
        return issue(super()._issue, fn, *args, **kwargs)

    def _submit_volatile(self, call: Call) -> Any:
        while True:
            pool = len(self._pools)
            try:
                return super()._submit_volatile((carry_back, call, {}))
            except BrokenProcessPool:
                if not self._rebuild or self._backlog.broken is not None or self._cannot_begin(pool):
                    raise
                self._renew_pool(pool)
            finally:
                carry_on()

    def _refused(self, call: Call, error: NotSerializable) -> Any:
        """What no worker can be given is its future's failure, as in the standard library's pool. That is given nothing
        to do instead, which starts its workers, too: one that finds this out as it is shut down hangs, until its
        gh-125451 was repaired."""
        failure = None if self._backlog.settings.volatile is Volatile.RAISE else _refusal(call)
        if failure is None:
            return super()._refused(call, error)
        self._submit_volatile((_nothing, (), {}))
        future: Future[Any] = Future()
        future.set_exception(failure)
        return self._as_volatile(future)

    def _cannot_begin(self, broken: int) -> bool:
        """Whether no worker begins, as where the initializer fails, so that a new pool would come to the same end.
        `broken` is the number of one."""
        if broken < 0:
            return self._apart.cannot_begin(~broken)
        return self._beginnings.cannot_begin(broken) or self._apart.cannot_begin()

    def _has_begun(self, pool: int) -> bool:
        """Whether any worker has, of a pool of that number."""
        return self._apart.beginnings.has_begun(~pool) if pool < 0 else self._beginnings.has_begun(pool)

    def _renew_pool(self, broken: int) -> None:
        """A new pool in the place of the one of that number, once."""
        with self._renewing:
            if len(self._pools) == broken:
                self._pools.append(stdlib.ProcessPoolExecutor(**self._beginnings.given(broken + 1)))

    @declared_as(ended)
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, drain: bool = True) -> None:
        """As of `ThreadPoolExecutor`."""
        pools = (pool._executor_manager_thread for pool in (self, *self._pools))
        inside = wait and is_inside(self._backlog, self._calls._thread, *pools)
        wait = wait and not inside
        shut_down(self._backlog, self._shut_pools, self._wait, wait, cancel_futures, drain, hold=True)
        if inside:
            raise RuntimeError(INSIDE)

    def _wait(self) -> None:
        self._calls.wait()
        self._calls.wait_for_thread()

    def _shut_pools(self, wait: bool, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        for pool in self._pools:
            pool.shutdown(wait, cancel_futures=cancel_futures)
        self._apart.shutdown(wait, cancel_futures)


def _nothing() -> None:
    """Is called in a worker."""


def _refusal(call: Call) -> Exception | None:
    """Why a call can't be pickled for a worker, if so."""
    try:
        ForkingPickler.dumps(call)
    except Exception as error:
        try:
            ForkingPickler.dumps(call)
        except Exception:
            return error.with_traceback(None)  # which would keep what its frames know as long as the future is there
        raise  # a signal handler's exception, and no fault of the call
    return None


def default_workers() -> int:
    """How many processes the standard library takes."""
    found = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    return min(_MOST_ON_WINDOWS, found) if sys.platform == "win32" else found
