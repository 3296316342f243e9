"""Threads that deliver from a spool don't log into it again: what a sink logs while it delivers would never end. Into
another one they may.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ...apart import Renewed

_mine = Renewed(lambda: threading.local())


def deliver_apart(run: Callable[[], object], spool: object) -> None:
    """Run it as such a thread."""
    _mine().spool = spool
    run()


def delivers_from(spool: object) -> bool:
    """Whether the calling thread does."""
    return getattr(_mine(), "spool", None) is spool


def swallow(record: object, spool: Any) -> None:
    """What such a thread has logged goes no further here, but for what we say ourselves, as of a dead letter."""
    spool.limit.dropped["feedback"] += 1
    if isinstance(record, logging.LogRecord) and _is_ours(record.name):
        tell_somebody(record, spool)


def _is_ours(name: object) -> bool:
    """The name of a record's logger; None where `makeLogRecord` has made it."""
    return isinstance(name, str) and name.startswith("pqadapters.")


def tell_somebody(record: logging.LogRecord, spool: object) -> None:
    """It has to be read: where nobody is to get it, or the spool alone, which isn't delivered, it goes where `logging`
    sends what nobody was set up for."""
    last = logging.lastResort
    if last is not None and record.levelno >= last.level and not _is_heard(record, spool):
        last.handle(record)


def _is_heard(record: logging.LogRecord, spool: object) -> bool:
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            if record.levelno >= handler.level and getattr(handler, "_spool", None) is not spool:
                return True
        logger = logger.parent if logger.propagate else None
    return False
