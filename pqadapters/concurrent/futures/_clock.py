"""One thread for what is due later: a retry, the end of a job's time. It ends when nothing is due any more.

Any thread may use it. What is due is called in the clock's thread, one after the other, and mustn't take long.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable
from itertools import count

from ... import telling
from ...ending import start_thread

_log = telling.logger("pqadapters.executor")


class Clock:
    """Calls functions when their time has come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self._runs = False

    def call_in(self, seconds: float, function: Callable[[], object]) -> None:
        """Call it that many seconds from now. At the end of the interpreter, never."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), function))
            if self._runs:
                return self._changed.notify()
            self._runs = True
        try:
            start_thread(threading.Thread(target=self._run, name="pqadapters-executor-clock", daemon=True))
        except RuntimeError:
            self._runs = False

    def _run(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except Exception:
                _log.exception("what was due in an executor failed")
            del function

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while self._due:
                left = self._due[0][0] - time.monotonic()
                if left <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            self._runs = False
            return None


_clocks: dict[str, Clock] = {}  #: the one there is, made at its first use: gevent and eventlet may have replaced locks


def call_in(seconds: float, function: Callable[[], object]) -> None:
    """Call it that many seconds from now, by the clock of this process."""
    (_clocks.get("") or _clocks.setdefault("", Clock())).call_in(seconds, function)


if hasattr(os, "register_at_fork"):  # in a child the thread is the parent's, and so is what was due
    os.register_at_fork(after_in_child=_clocks.clear)
