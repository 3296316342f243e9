"""pqadapters' `Queue` in a directory, with its defaults but for the durability."""

from __future__ import annotations

from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself, nothing


def open_queue(directory: str, level: Level, ack: str | None = None) -> Handle:
    from pqadapters.stdlib.queue import Queue

    return handle_of(Queue(path=directory, durability=level.value, ack=ack), ack)


def handle_of(queue: Any, ack: str | None) -> Handle:
    """A queue that was opened with this `ack`; with "get" nothing is left to be acknowledged."""
    task_done = queue.task_done
    done = nothing if ack == "get" else lambda got: task_done()
    return Handle(queue.put, queue.get, queue.get_nowait, done, itself, queue.close)


CONTENDER = Contender(
    name="pqadapters",
    about="stdlib.queue.Queue(path=...)",
    open=open_queue,
    speed={Level.PROCESS: Speed(200_000, 90_000), Level.POWER: Speed(7_000, 90_000)},
    package="pqadapters",
    modules=("pqadapters",),
)
