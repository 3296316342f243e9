"""pqadapters' `Queue` on a MariaDB server. Items are JSON, as between hosts that have no key in common."""

from __future__ import annotations

from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself
from ..database import url


def open_queue(directory: str, level: Level, prefetch: int = 1) -> Handle:
    from pqadapters.stdlib.queue import Queue

    where = url(directory, f"?durability={level.value}&prefetch={prefetch}")
    queue: Queue[Any] = Queue(store=where, serializer="json", ack="next")
    put_many = getattr(queue, "put_many")  # noqa: B009  # the standard library's queue has none
    return Handle(queue.put, queue.get, queue.get_nowait, lambda got: None, itself, queue.close, put_many)


CONTENDER = Contender(
    name="pqadapters-mysql",
    about="stdlib.queue.Queue(store='mysql:...')",
    open=open_queue,
    speed={Level.POWER: Speed(600, 400)},
    package="pqadapters",
    modules=("pqadapters", "pymysql", "dbutils"),
    processes=True,
    server=True,
    together=True,
)
