"""Threads that deliver from a spool don't log into it again: what a sink logs while it delivers would never end. Into
another one they may.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Mine(threading.local):
    spool: object = None


_mine = _Mine()


def deliver_apart(run: Callable[[], object], spool: object) -> None:
    """Run it as such a thread."""
    _mine.spool = spool
    run()


def delivers_from(spool: object) -> bool:
    """Whether the calling thread does."""
    return _mine.spool is spool
