"""Hearing of it when a handler calls `handleError` in the thread that delivers to it. Several may listen to a handler.

What the handler's `handleError` was is called for everybody else, and is there again when nobody listens any more.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...apart import Renewed

_lock = Renewed(lambda: threading.RLock())
_NONE = object()


class Report:
    """Whether `handleError` was called, and because of which error."""

    def __init__(self, handler: logging.Handler) -> None:
        self.handler = handler
        self.called = False
        self.error: BaseException | None = None


_mine = Renewed(lambda: threading.local())


def _reports() -> tuple[Report, ...]:
    found: tuple[Report, ...] = getattr(_mine(), "reports", ())
    return found


class _Listening:
    """In the place of a handler's `handleError`."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self._own = handler.__dict__.get("handleError", _NONE)
        self._before = handler.handleError
        self.count = 0

    def __call__(self, record: logging.LogRecord) -> None:
        for report in reversed(_reports()):
            if report.handler is self._handler:
                report.called, report.error = True, sys.exc_info()[1]
                return
        self._before(record)

    def let_go(self) -> None:
        with _lock():
            self.count -= 1
            if self.count or self._handler.__dict__.get("handleError") is not self:
                return
            if self._own is _NONE:
                del self._handler.__dict__["handleError"]
            else:
                self._handler.__dict__["handleError"] = self._own


def listen_to(handler: Any) -> Callable[[], None]:
    """Listen to the handler until what this returns is called."""
    with _lock():
        listening = handler.__dict__.get("handleError")
        if not isinstance(listening, _Listening):
            listening = handler.__dict__["handleError"] = _Listening(handler)
        listening.count += 1
    return listening.let_go


@contextmanager
def reported_by(handler: logging.Handler) -> Iterator[Report]:
    """What it reports in this thread meanwhile, also when nobody else listens any more: a listener that is stopped
    leaves a sink behind that hangs."""
    report, before = Report(handler), _reports()
    let_go = listen_to(handler)
    _mine().reports = (*before, report)
    try:
        yield report
    finally:
        _mine().reports = before
        let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lock.renew)
