"""Threads that deliver don't log through the queue again: what a sink logs while it delivers would never end."""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Mine(threading.local):
    delivers = False


_mine = _Mine()


def deliver_apart(run: Callable[[], object]) -> None:
    """Run it as such a thread."""
    _mine.delivers = True
    run()


def delivers() -> bool:
    """Whether the calling thread is one."""
    return _mine.delivers
