"""Threads that deliver from a spool don't log into it again: what a sink logs while it delivers would never end. Into
another one they may.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...apart import Renewed

_mine = Renewed(lambda: threading.local())


def deliver_apart(run: Callable[[], object], spool: object) -> None:
    """Run it as such a thread."""
    _mine().spool = spool
    run()


def delivers_from(spool: object) -> bool:
    """Whether the calling thread does."""
    return getattr(_mine(), "spool", None) is spool
