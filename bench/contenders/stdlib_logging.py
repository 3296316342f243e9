"""The standard library's `QueueHandler` on a queue in memory, and its listener."""

from __future__ import annotations

import logging
import queue
from logging import handlers
from typing import Any

from ..contender import Contender, Level, LogHandle, Speed
from .ours_logging import logger_with


def handle_on(records: Any) -> LogHandle:
    """What the standard library does with a queue."""

    def drain() -> None:
        listener = handlers.QueueListener(records, logging.NullHandler())
        listener.start()
        listener.stop()

    return LogHandle(logger_with(handlers.QueueHandler(records)).info, drain, lambda: None)


CONTENDER = Contender(
    name="stdlib-logging",
    about="logging.handlers.QueueHandler(queue.Queue())",
    open_log=lambda directory, level: handle_on(queue.Queue()),
    speed={Level.MEMORY: Speed(80_000, 200_000)},
)
