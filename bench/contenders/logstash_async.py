"""python-logstash-async, whose server is down: a queue in memory, from which a thread fills a database."""

from __future__ import annotations

import os

from ..contender import Contender, Level, LogHandle, Speed
from .ours_logging import logger_with


def open_log(directory: str, level: Level) -> LogHandle:
    from logstash_async.handler import AsynchronousLogstashHandler

    handler = AsynchronousLogstashHandler("127.0.0.1", 9, database_path=os.path.join(directory, "logstash.db"))
    return LogHandle(logger_with(handler).info, lambda: None, lambda: None)


CONTENDER = Contender(
    name="logstash-async",
    about="logstash_async.handler.AsynchronousLogstashHandler(database_path=...)",
    open_log=open_log,
    speed={Level.CLOSE: Speed(10_000, 10_000)},
    package="python-logstash-async",
    modules=("logstash_async",),
    gets=False,
)
