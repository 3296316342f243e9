"""The standard library's `queue.Queue`: in memory, and what programs use now."""

from __future__ import annotations

import queue

from ..contender import Contender, Handle, Level, Speed, itself


def open_queue(directory: str, level: Level) -> Handle:
    items: queue.Queue[str] = queue.Queue()
    task_done = items.task_done
    return Handle(items.put, items.get, items.get_nowait, lambda got: task_done(), itself, lambda: None)


CONTENDER = Contender(
    name="stdlib",
    about="queue.Queue",
    open=open_queue,
    speed={Level.MEMORY: Speed(1_000_000, 700_000)},
)
