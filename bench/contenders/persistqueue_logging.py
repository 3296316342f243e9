"""The standard library's `QueueHandler` over a queue of persist-queue."""

from __future__ import annotations

import os
from typing import Any

from ..contender import Contender, Level, LogHandle, Speed
from .stdlib_logging import handle_on


def _open(directory: str) -> Any:
    from persistqueue import SQLiteQueue

    return SQLiteQueue(os.path.join(directory, "queue"), multithreading=True, auto_commit=True)


def open_log(directory: str, level: Level) -> LogHandle:
    return handle_on(_open(directory))


def left(directory: str, level: Level) -> int:
    return int(_open(directory).size)


CONTENDER = Contender(
    name="persist-queue-logging",
    about="logging.handlers.QueueHandler(persistqueue.SQLiteQueue(multithreading=True))",
    open_log=open_log,
    left=left,
    speed={Level.POWER: Speed(1_000, 1_000)},
    package="persist-queue",
    modules=("persistqueue",),
    gets=False,  # it would take minutes
)
