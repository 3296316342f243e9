"""persist-queue's SQLite queue with acknowledgements, which stay in the table until they are cleared."""

from __future__ import annotations

from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed


def open_queue(directory: str, level: Level) -> Handle:
    from persistqueue import SQLiteAckQueue
    from persistqueue.exceptions import Empty as TheirEmpty

    queue = SQLiteAckQueue(directory, multithreading=True)

    def get_now() -> Any:
        try:
            return queue.get(False, raw=True)
        except TheirEmpty:
            raise Empty from None

    return Handle(
        queue.put,
        lambda: queue.get(raw=True),
        get_now,
        lambda got: queue.ack(id=got["pqid"]),
        lambda got: str(got["data"]),
        queue.close,
    )


CONTENDER = Contender(
    name="persist-queue-ack",
    about="persistqueue.SQLiteAckQueue(multithreading=True)",
    open=open_queue,
    speed={Level.POWER: Speed(4_000, 1_500)},
    package="persist-queue",
    modules=("persistqueue",),
)
