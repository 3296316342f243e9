"""The standard library's `QueueHandler` over a queue of persist-queue."""

from __future__ import annotations

import os

from ..contender import Contender, Level, LogHandle, Speed
from .stdlib_logging import handle_on


def open_log(directory: str, level: Level) -> LogHandle:
    from persistqueue import SQLiteQueue

    return handle_on(SQLiteQueue(os.path.join(directory, "queue"), multithreading=True, auto_commit=True))


CONTENDER = Contender(
    name="persist-queue-logging",
    about="logging.handlers.QueueHandler(persistqueue.SQLiteQueue(multithreading=True))",
    open_log=open_log,
    speed={Level.POWER: Speed(1_000, 1_000)},
    package="persist-queue",
    modules=("persistqueue",),
    gets=False,  # it would take minutes
)
