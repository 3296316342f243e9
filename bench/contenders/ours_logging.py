"""pqadapters' `QueueHandler` on a directory, and its listener."""

from __future__ import annotations

import logging
import os

from ..contender import Contender, Level, LogHandle, Speed
from . import OUR_LOG


def logger_with(handler: logging.Handler) -> logging.Logger:
    """A logger with that handler alone."""
    logger = logging.Logger("bench", logging.DEBUG)
    logger.addHandler(handler)
    return logger


def open_log(directory: str, level: Level) -> LogHandle:
    from pqadapters.logging.handlers import QueueHandler, QueueListener

    handler = QueueHandler(os.path.join(directory, "spool"), durability=level.value)

    def drain() -> None:
        with QueueListener(handler.queue, logging.NullHandler()) as listener:
            assert listener.flush()

    return LogHandle(logger_with(handler).info, drain, handler.close)


class _Counting(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


def left(directory: str, level: Level) -> int:
    from pqadapters.logging.handlers import QueueHandler, QueueListener

    handler, sink = QueueHandler(os.path.join(directory, "spool"), durability=level.value), _Counting()
    with QueueListener(handler.queue, sink) as listener:
        assert listener.flush()
    return sink.count


CONTENDER = Contender(
    name=OUR_LOG,
    about="logging.handlers.QueueHandler(path), with msgpack",
    open_log=open_log,
    left=left,
    speed={Level.PROCESS: Speed(60_000, 100_000), Level.POWER: Speed(4_000, 100_000)},
    package="pqadapters",
    modules=("pqadapters", "msgpack"),
)
