"""litequeue's LiteQueue: strings in SQLite, which are given to it as they are. What is done stays until it is pruned.

Before 0.14 threads can't share one, and each opens its own.
"""

from __future__ import annotations

import os
from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed, Threads


def open_queue(directory: str, level: Level) -> Handle:
    from litequeue import LiteQueue

    queue = LiteQueue(os.path.join(directory, "queue.db"))

    def get() -> Any:
        message = queue.pop()
        if message is None:
            raise Empty
        return message

    def done(message: Any) -> None:
        if hasattr(message, "claim_id"):
            queue.done(message.message_id, claim_id=message.claim_id)
        else:
            queue.done(message.message_id)

    return Handle(queue.put, get, get, done, lambda message: str(message.data), queue.close)


CONTENDER = Contender(
    name="litequeue",
    about="litequeue.LiteQueue of strings",
    open=open_queue,
    speed={Level.PROCESS: Speed(30_000, 10_000)},
    package="litequeue",
    modules=("litequeue",),
    threads=Threads.EACH,
    processes=True,
)
