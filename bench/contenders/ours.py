"""pqadapters' `Queue` in a directory, with its defaults but for the durability."""

from __future__ import annotations

from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself


def open_queue(directory: str, level: Level) -> Handle:
    from pqadapters.stdlib.queue import Queue

    queue: Queue[Any] = Queue(path=directory, durability=level.value)
    task_done = queue.task_done
    return Handle(queue.put, queue.get, queue.get_nowait, lambda got: task_done(), itself, queue.close)


CONTENDER = Contender(
    name="pqadapters",
    about="stdlib.queue.Queue(path=...)",
    open=open_queue,
    speed={Level.PROCESS: Speed(200_000, 90_000), Level.POWER: Speed(7_000, 90_000)},
    package="pqadapters",
    modules=("pqadapters",),
)
