"""Threads that meet without sleeping, and whose failure is an error and never a hang."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from pqadapters.store import Store

T = TypeVar("T")


class Hung(AssertionError):
    """A thread did not come back in time."""


class Task(Generic[T]):
    """A function in a thread of its own. The thread is a daemon: one that hangs ends with the process."""

    def __init__(self, function: Callable[[], T], *, patience: float) -> None:
        self._function = function
        self._patience = patience
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:
            self._error = error
        finally:
            del self._function  # it may hold the last reference to a store

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> T:
        """What the function returned; raises what it raised, or `Hung` after `patience` seconds."""
        self._thread.join(self._patience)
        if self._thread.is_alive():
            raise Hung(f"no result after {self._patience} seconds")
        if self._error is not None:
            raise self._error
        return self._results[0]


def together(functions: Sequence[Callable[[], T]], *, patience: float) -> list[T]:
    """All functions at once, each in its thread, started by one barrier; their results in order."""
    barrier = threading.Barrier(len(functions))

    def meet(function: Callable[[], T]) -> T:
        barrier.wait(patience)
        return function()

    tasks = [Task(partial(meet, function), patience=patience) for function in functions]
    return [task.result() for task in tasks]


def waiting(
    store: Store,
    function: Callable[[Callable[[], bool]], T],
    *,
    patience: float,
    stop: Callable[[], bool] = lambda: False,
) -> Task[T]:
    """A task that runs `function(stop)` and has certainly begun to wait when this returns.

    `function` must hand `stop` to a claim, or call it in the predicate of a wait: it runs under the store's lock, which
    is not free again before the thread waits. So whoever gets the lock after it has the proof.
    """
    looked = threading.Event()

    def look() -> bool:
        looked.set()
        return stop()

    task = Task(lambda: function(look), patience=patience)
    if not looked.wait(patience):
        raise Hung("a waiter never looked")
    store.depth("")
    return task


class InterruptedStart:
    """Stands for `start_thread`, in whose middle a signal handler raises: nobody knows whether the thread runs."""

    def __init__(self, *, runs: bool) -> None:
        self.runs = runs
        self.begun: list[threading.Thread] = []

    def __call__(self, thread: threading.Thread) -> None:
        self.begun.append(thread)
        if self.runs:
            thread.start()
        raise TimeoutError


def is_gone(ref: weakref.ref[Any], *, patience: float) -> bool:
    """Whether nobody keeps it. A thread that keeps it no longer than it looks at it may be in the middle of that."""
    for _ in range(round(patience * 100)):
        gc.collect()
        if ref() is None:
            return True
        threading.Event().wait(0.01)
    return False
