"""One thread for what is due later: a retry, the end of a job's time. It ends when nothing is due any more.

Any thread may use it. What is due is called in the clock's thread, one after the other, and mustn't take long.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable
from functools import partial
from itertools import count

from .... import telling
from ....apart import insist
from ....clock import SYSTEM
from ....ending import enduring, start_thread

_log = telling.logger("pqadapters.executor")

_FEW = 64  #: calls that were taken back, and may wait for their time


class Clock:
    """Calls functions when their time has come."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  #: taken by itself: a condition's `with` keeps it where a signal handler raises
        self._changed = threading.Condition(self._lock)
        self._due: list[tuple[float, int]] = []  #: when, and the number of the call; of those that were taken back, too
        self._calls: dict[int, Callable[[], object]] = {}
        self._numbers = count()
        self._thread: threading.Thread | None = None

    def call_in(self, seconds: float, function: Callable[[], object]) -> Callable[[], object]:
        """Call it that many seconds from now; at the end of the interpreter, never. What this returns takes it back."""
        number = next(self._numbers)
        with self._lock:
            self._calls[number] = function
            heapq.heappush(self._due, (SYSTEM.monotonic() + seconds, number))
            self._changed.notify()
        if self._thread is None:
            insist(self._start)
        return partial(self._calls.pop, number, None)

    @property
    def stands(self) -> bool:
        """Whether there is something to come, and no thread could be started for it."""
        return self._thread is None and bool(self._calls)

    def go_on(self) -> None:
        """Start the thread that couldn't be started. If it still can't be, what is due is called here."""
        if self.stands:
            insist(self._start)
            while self.stands and (function := self._take_due()) is not None:
                _call(function)

    def _start(self) -> None:
        thread = threading.Thread(target=enduring(self._run), name="pqadapters-executor-clock", daemon=True)
        try:
            with self._lock:
                if self._thread is not None:
                    return
                self._thread = thread
            start_thread(thread)
        except RuntimeError:
            self._thread = None
        except BaseException:  # of a signal handler: nobody knows whether it runs; it ends if so
            self._thread = None
            raise

    def _run(self) -> None:
        while (function := self._next()) is not None:
            _call(function)
            del function

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            while self._due and self._thread is threading.current_thread():
                if len(self._due) > 2 * len(self._calls) + _FEW:
                    self._sweep_locked()
                    continue
                if (function := self._take_due()) is not None:
                    return function
                if self._due:
                    left = self._due[0][0] - SYSTEM.monotonic()
                    self._changed.wait(min(max(0.0, left), threading.TIMEOUT_MAX))
            if self._thread is threading.current_thread():
                self._thread = None
            return None

    def _take_due(self) -> Callable[[], object] | None:
        with self._lock:
            while self._due and self._due[0][0] <= SYSTEM.monotonic():
                if (function := self._calls.pop(heapq.heappop(self._due)[1], None)) is not None:
                    return function
            return None

    def _sweep_locked(self) -> None:
        """Most of what is to come was taken back. A finalizer may call `call_in` in the middle of this."""
        due, self._due = self._due, []
        for each in due:
            if each[1] in self._calls:
                heapq.heappush(self._due, each)


def _call(function: Callable[[], object]) -> None:
    try:
        function()
    except Exception:
        _log.exception("what was due in an executor failed")


_clocks: dict[str, Clock] = {}  #: the one there is, made at its first use: gevent and eventlet may have replaced locks


def call_in(seconds: float, function: Callable[[], object]) -> Callable[[], object]:
    """Call it that many seconds from now, by the clock of this process. What is returned takes that back."""
    return (_clocks.get("") or _clocks.setdefault("", Clock())).call_in(seconds, function)


def stands() -> bool:
    """Whether the clock has something to call, and no thread could be started for that."""
    return "" in _clocks and _clocks[""].stands


def go_on() -> None:
    """For who has nothing to do: should the clock stand, see that it goes on."""
    if stands():
        _clocks[""].go_on()


if hasattr(os, "register_at_fork"):  # in a child the thread is the parent's, and so is what was due
    os.register_at_fork(after_in_child=_clocks.clear)
