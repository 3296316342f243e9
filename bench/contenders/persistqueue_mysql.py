"""persist-queue's MySQL queue: a row is deleted when it is handed out, each by a transaction of its own."""

from __future__ import annotations

from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself, nothing
from ..database import server


def open_queue(directory: str, level: Level) -> Handle:
    from persistqueue import MySQLQueue
    from persistqueue.exceptions import Empty as TheirEmpty

    queue = MySQLQueue("127.0.0.1", "root", "", "bench", port=server(directory).port)

    def get_now() -> Any:
        try:
            return queue.get(False)
        except TheirEmpty:
            raise Empty from None

    return Handle(queue.put, get_now, get_now, nothing, itself, nothing_to_close)


def nothing_to_close() -> None:
    """Its connections end with the process."""


CONTENDER = Contender(
    name="persist-queue-mysql",
    about="persistqueue.MySQLQueue",
    open=open_queue,
    speed={Level.POWER: Speed(500, 200)},
    package="persist-queue",
    modules=("persistqueue", "pymysql", "dbutils"),
    server=True,
)
