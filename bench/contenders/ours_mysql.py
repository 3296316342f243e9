"""pqadapters' `Queue` on a MariaDB server. Items are JSON, as between hosts that have no key in common."""

from __future__ import annotations

from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself, nothing
from ..database import url


def open_queue(directory: str, level: Level, prefetch: int | None = None, ack: str = "next") -> Handle:
    from pqadapters.stdlib.queue import Queue

    more = "" if prefetch is None else f"&prefetch={prefetch}"
    where = url(directory, f"?durability={level.value}{more}")
    queue: Queue[Any] = Queue(store=where, serializer="json", ack=ack)

    def told(got: Any) -> None:
        queue.task_done()

    done = told if ack == "task_done" else nothing
    put_many = getattr(queue, "put_many")  # noqa: B009  # the standard library's queue has none
    return Handle(queue.put, queue.get, queue.get_nowait, done, itself, queue.close, put_many)


CONTENDER = Contender(
    name="pqadapters-mysql",
    about="stdlib.queue.Queue(store='mysql:...')",
    open=open_queue,
    speed={Level.POWER: Speed(600, 6_000)},
    package="pqadapters",
    modules=("pqadapters", "pymysql", "dbutils"),
    processes=True,
    server=True,
    together=True,
)
