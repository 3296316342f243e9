"""localqueue's SimpleQueue: SQLite behind an extension in Rust, with leases; given pickle as its serializer."""

from __future__ import annotations

import pickle
from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed


def open_queue(directory: str, level: Level) -> Handle:
    import localqueue

    mode = localqueue.DurabilityMode
    durability = mode.DURABLE if level is Level.POWER else mode.RELAXED
    queue: Any = localqueue.SimpleQueue(directory, durability=durability, serializer=pickle)

    def get_now() -> Any:
        try:
            return queue.get(block=False)
        except localqueue.Empty:
            raise Empty from None

    return Handle(queue.put, queue.get, get_now, queue.ack, lambda job: str(job.data), queue.close)


CONTENDER = Contender(
    name="localqueue",
    about="localqueue.SimpleQueue(serializer=pickle)",
    open=open_queue,
    speed={Level.PROCESS: Speed(30_000, 15_000), Level.POWER: Speed(4_000, 2_000)},
    package="localqueue",
    modules=("localqueue",),
    processes=True,
)
