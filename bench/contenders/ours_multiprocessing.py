"""pqadapters' `multiprocessing.Queue` in a SQLite database."""

from __future__ import annotations

import os
from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself, nothing
from . import OUR_FAMILY


def open_queue(directory: str, level: Level, **options: Any) -> Handle:
    from pqadapters.stdlib.multiprocessing import Queue

    path = os.path.join(os.path.abspath(directory), "queue.db")
    queue: Queue[str] = Queue(store=f"sqlite:///{path}?durability={level.value}", **options)
    put_many = queue.put_many if options else None
    return Handle(queue.put, queue.get, queue.get_nowait, nothing, itself, queue.close, put_many)


CONTENDER = Contender(
    name=OUR_FAMILY,
    about="stdlib.multiprocessing.Queue(store='sqlite:...')",
    open=open_queue,
    speed={Level.PROCESS: Speed(15_000, 15_000), Level.POWER: Speed(4_000, 10_000)},
    package="pqadapters",
    modules=("pqadapters",),
    inherited=True,
)
