"""pqadapters' `asyncio.Queue` in a SQLite database."""

from __future__ import annotations

import os

from ..contender import Contender, Level, LoopQueue, Speed


def open_loop(directory: str, level: Level) -> LoopQueue:
    from pqadapters.stdlib.asyncio import Queue

    path = os.path.join(os.path.abspath(directory), "queue.db")
    queue: Queue[str] = Queue(store=f"sqlite:///{path}?durability={level.value}")
    return queue


CONTENDER = Contender(
    name="pqadapters-asyncio-sqlite",
    about="stdlib.asyncio.Queue(store='sqlite:...')",
    open_loop=open_loop,
    speed={Level.PROCESS: Speed(30_000, 12_000), Level.POWER: Speed(3_000, 12_000)},
    package="pqadapters",
    modules=("pqadapters",),
)
