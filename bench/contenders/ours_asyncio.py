"""pqadapters' `asyncio.Queue` on a path."""

from __future__ import annotations

import os

from ..contender import Contender, Level, LoopQueue, Speed
from . import OUR_LOOP


def open_loop(directory: str, level: Level) -> LoopQueue:
    from pqadapters.stdlib.asyncio import Queue

    queue: Queue[str] = Queue(path=os.path.join(directory, "queue"), durability=level.value)
    return queue


CONTENDER = Contender(
    name=OUR_LOOP,
    about="stdlib.asyncio.Queue(path=...)",
    open_loop=open_loop,
    speed={Level.PROCESS: Speed(100_000, 80_000), Level.POWER: Speed(4_000, 80_000)},
    package="pqadapters",
    modules=("pqadapters",),
)
