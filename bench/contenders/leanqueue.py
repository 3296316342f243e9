"""leanqueue's Queue: a log written by an extension in Rust, with leases; given pickles.

Its `sync_interval_ms` is 0 for "power" (a sync for each write, its default) and 1,000 for "process".
"""

from __future__ import annotations

import pickle
from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed


def open_queue(directory: str, level: Level) -> Handle:
    from leanqueuedb import Queue

    queue = Queue(directory, sync_interval_ms=0 if level is Level.POWER else 1000)

    def put(item: str) -> None:
        queue.put(pickle.dumps(item, 5))

    def unpacked(message: Any) -> tuple[str, Any]:
        if message is None:
            raise Empty
        return pickle.loads(message.body), message

    return Handle(
        put,
        lambda: unpacked(queue.get(block=True)),
        lambda: unpacked(queue.get(block=False)),
        lambda got: got[1].ack(),
        lambda got: str(got[0]),
        queue.close,
    )


CONTENDER = Contender(
    name="leanqueue",
    about="leanqueuedb.Queue of pickles",
    open=open_queue,
    speed={Level.PROCESS: Speed(100_000, 50_000), Level.POWER: Speed(6_000, 2_500)},
    package="leanqueue",
    modules=("leanqueue", "leanqueuedb"),
)
