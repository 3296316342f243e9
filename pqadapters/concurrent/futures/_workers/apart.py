"""Pools for jobs that were begun before and came to no end: one of them may be what ended its worker, so each runs in a
pool of its own, and breaks none that other jobs are in. Any thread may use it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import process as stdlib
from functools import partial
from typing import Any

from ....forking import in_child
from . import main_script
from .beginnings import Beginnings

_launching = threading.RLock()
_postponed: list[Callable[[], object]] = []  #: by signal handlers, while this process begins workers


def postpone(action: Callable[[], object]) -> bool:
    """For a signal handler whose exception is to end the program: whether it has come while its own thread begins
    workers. What is raised inside `fork` is lost with the handlers that run there, and logging's lock stays taken. Then
    the action is for `carry_on`."""
    if not _launching._is_owned():  # type: ignore[attr-defined]
        return False
    _postponed.append(action)
    return True


def carry_on() -> None:
    """Do what was postponed: behind a call that the pool has, and whose outcome will be seen to. In the thread that
    signal handlers run in."""
    if _postponed and threading.current_thread() is threading.main_thread():
        while _postponed and not _launching._is_owned():  # type: ignore[attr-defined]
            _postponed.pop(0)()


def issue(submit: Callable[..., Future[Any]], fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """A pool's submit(), which may fork its workers: one pool after the other. A worker forked at the same time by
    another pool has the pipe whose end tells of a worker's death, and that would go unnoticed.

    Where no worker can be started the standard library's submit() raises, and has the call in its pool nevertheless: it
    would run behind the next one. It is cancelled; one that is on its way to another worker is what was submitted.
    Where it is the pool's own thread that can't be started, it has workers, and nobody who gives them anything.
    """
    pool = getattr(submit, "__self__", None)
    main_script.keep_file()
    with _launching:
        number = getattr(pool, "_queue_count", None)
        try:
            return submit(fn, *args, **kwargs)
        except BaseException as error:
            _begin_anew(pool)
            left = getattr(getattr(pool, "_pending_work_items", {}).get(number), "future", None)
            if left is None or left.cancel() or not isinstance(error, Exception):
                raise
            return left  # type: ignore[no-any-return]


def _begin_anew(pool: Any) -> None:
    """Where the pool's thread isn't there the next submit() starts it, and the workers, which have done nothing yet and
    would wait for ever: the program's end waits for them."""
    thread = getattr(pool, "_executor_manager_thread", None)
    if thread is None and getattr(pool, "_shutdown_thread", True):
        return  # it was there
    if thread is not None and (thread.ident is not None or thread in threading.enumerate()):
        return
    processes = pool._processes or {}
    while processes:
        _, worker = processes.popitem()
        worker.kill()
        worker.join()
    pool._executor_manager_thread = None


class Apart:
    """Pools of one worker, one for each job that is there at a time: what ends its worker breaks no other. Made when
    they are needed, with what the executor was given; one that has done its job takes the next."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.beginnings = Beginnings({**given, "max_workers": 1})
        self._lock = threading.Lock()
        self._pools: dict[int, stdlib.ProcessPoolExecutor] = {}
        self._free: list[int] = []  #: of these
        self._number = 0  #: of the next one
        self._given_up = self._shut = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> tuple[int, Future[Any]]:
        """The number of the pool, and its future. Raises BrokenExecutor where no worker begins, RuntimeError behind a
        shutdown."""
        with self._lock:
            while True:
                number = self._free_one()
                try:
                    inner = issue(self._pools[number].submit, fn, *args, **kwargs)
                except BrokenExecutor:
                    del self._pools[number]
                    if self.cannot_begin(number):
                        raise
                except BaseException:
                    self._free.append(number)
                    raise
                else:
                    inner.add_done_callback(partial(self._is_done, number))
                    return number, inner

    def _free_one(self) -> int:
        """The number of a pool that has nothing to do. The lock is held."""
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._free:
            return self._free.pop()
        number, self._number = self._number, self._number + 1
        self._pools[number] = stdlib.ProcessPoolExecutor(**self.beginnings.given(number))
        return number

    def _is_done(self, number: int, inner: Future[Any]) -> None:
        """In the pool's thread, or in `submit`: so without the lock. Who asks one that is broken next lets it go, since
        in its own thread, which has its lock, that would hang."""
        self._free.append(number)

    def cannot_begin(self, broken: int | None = None) -> bool:
        """Whether no worker begins, so that a new pool would come to the same end. `broken` is the number of one."""
        if broken is not None and self.beginnings.cannot_begin(broken):
            self._given_up = True
        return self._given_up or self.beginnings.have_failed()

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        with self._lock:
            self._shut = True
        for pool in list(self._pools.values()):
            pool.shutdown(wait, cancel_futures=cancel_futures)


def _begin_again() -> None:
    """In a forked child: the thread that held it is the parent's."""
    global _launching
    _launching = threading.RLock()
    _postponed.clear()


in_child(_begin_again)
