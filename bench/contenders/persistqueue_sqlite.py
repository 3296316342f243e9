"""persist-queue's SQLite queue: rows are deleted when they are handed out. SQLite's own default syncs each commit."""

from __future__ import annotations

from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself, nothing


def open_queue(directory: str, level: Level) -> Handle:
    from persistqueue import SQLiteQueue
    from persistqueue.exceptions import Empty as TheirEmpty

    queue = SQLiteQueue(directory, multithreading=True, auto_commit=True)

    def get_now() -> Any:
        try:
            return queue.get(False)
        except TheirEmpty:
            raise Empty from None

    return Handle(queue.put, queue.get, get_now, nothing, itself, queue.close)


CONTENDER = Contender(
    name="persist-queue-sqlite",
    about="persistqueue.SQLiteQueue(multithreading=True)",
    open=open_queue,
    speed={Level.POWER: Speed(4_000, 2_500)},
    package="persist-queue",
    modules=("persistqueue",),
)
