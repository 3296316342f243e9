"""The pool for jobs that were begun before and came to no end: one of them may be what ended its worker, so they run in
processes of their own, and break no pool that other jobs are in. Any thread may use it.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import process as stdlib
from typing import Any

_launching = threading.RLock()


def issue(submit: Callable[..., Future[Any]], fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """A pool's submit(), which may fork its workers: one pool after the other. A worker forked at the same time by
    another pool has the pipe whose end tells of a worker's death, and that would go unnoticed.

    Where no worker can be started the standard library's submit() raises, and has the call in its pool nevertheless: it
    would run behind the next one. It is cancelled; one that is on its way to another worker is what was submitted.
    """
    pool = getattr(submit, "__self__", None)
    with _launching:
        number = getattr(pool, "_queue_count", None)
        try:
            return submit(fn, *args, **kwargs)
        except BaseException as error:
            left = getattr(getattr(pool, "_pending_work_items", {}).get(number), "future", None)
            if left is None or left.cancel() or not isinstance(error, Exception):
                raise
            return left  # type: ignore[no-any-return]


class Apart:
    """Made when it is needed, with what the executor was given, and made anew when a worker was killed."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._lock = threading.Lock()
        self._pool: stdlib.ProcessPoolExecutor | None = None
        self._init_failed: Any = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Raises BrokenExecutor where the initializer fails, RuntimeError behind a shutdown."""
        with self._lock:
            if self._pool is None:
                self._pool = self._made()
            try:
                return issue(self._pool.submit, fn, *args, **kwargs)
            except BrokenExecutor:
                if self.cannot_begin():
                    raise
                self._pool = self._made()
                return issue(self._pool.submit, fn, *args, **kwargs)

    def _made(self) -> stdlib.ProcessPoolExecutor:
        given, initializer = dict(self._given), self._given["initializer"]
        if callable(initializer):
            self._init_failed = failed_event()
            given["initializer"] = initialize
            given["initargs"] = (self._init_failed, initializer, *self._given["initargs"])
        return stdlib.ProcessPoolExecutor(**given)

    def cannot_begin(self) -> bool:
        """Whether the initializer fails, so that a new pool would come to the same end."""
        return self._init_failed is not None and bool(self._init_failed.is_set())

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        with self._lock:
            pool = self._pool
        if pool is not None:
            pool.shutdown(wait, cancel_futures=cancel_futures)


def failed_event() -> Any:
    """What a worker sets whose initializer fails."""
    return multiprocessing.get_context("spawn").Event()  # which the other kinds take as well


def initialize(failed: Any, initializer: Callable[..., object], *args: Any) -> None:
    """In a worker."""
    try:
        initializer(*args)
    except BaseException:
        failed.set()
        raise


def _begin_again() -> None:
    """In a forked child: the thread that held it is the parent's."""
    global _launching
    _launching = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
