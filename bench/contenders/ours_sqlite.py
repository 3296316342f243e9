"""pqadapters' `Queue` in a SQLite database."""

from __future__ import annotations

import os
from typing import Any

from ..contender import Contender, Handle, Level, Speed
from .ours import handle_of


def open_queue(directory: str, level: Level, prefetch: int = 1, ack: str | None = None) -> Handle:
    from pqadapters.stdlib.queue import Queue

    path = os.path.join(os.path.abspath(directory), "queue.db")
    queue: Queue[Any] = Queue(store=f"sqlite:///{path}?durability={level.value}&prefetch={prefetch}", ack=ack)
    return handle_of(queue, ack)


CONTENDER = Contender(
    name="pqadapters-sqlite",
    about="stdlib.queue.Queue(store='sqlite:...')",
    open=open_queue,
    speed={Level.PROCESS: Speed(45_000, 20_000), Level.POWER: Speed(4_000, 15_000)},
    package="pqadapters",
    modules=("pqadapters",),
    processes=True,
)
