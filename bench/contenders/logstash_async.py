"""python-logstash-async, whose server is down: a queue in memory, from which a thread fills a database."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from ..contender import Contender, Level, LogHandle, Speed
from .ours_logging import logger_with


def open_log(directory: str, level: Level) -> LogHandle:
    from logstash_async.handler import AsynchronousLogstashHandler

    handler = AsynchronousLogstashHandler("127.0.0.1", 9, database_path=os.path.join(directory, "logstash.db"))
    return LogHandle(logger_with(handler).info, lambda: None, lambda: None)


def left(directory: str, level: Level) -> int:
    with closing(sqlite3.connect(os.path.join(directory, "logstash.db"))) as database:
        try:
            return int(database.execute("SELECT count(*) FROM event").fetchone()[0])
        except sqlite3.OperationalError:  # it makes its table with the first record that it moves there
            return 0


CONTENDER = Contender(
    name="logstash-async",
    about="logstash_async.handler.AsynchronousLogstashHandler(database_path=...)",
    open_log=open_log,
    left=left,
    speed={Level.CLOSE: Speed(10_000, 10_000)},
    package="python-logstash-async",
    modules=("logstash_async",),
    gets=False,
)
