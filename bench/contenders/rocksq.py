"""rocksq's queue on RocksDB, an extension in Rust: pickles in lists of one. There are no wheels for Python 3.13."""

from __future__ import annotations

import pickle
from queue import Empty

from ..contender import Contender, Handle, Level, Speed, itself, nothing


def open_queue(directory: str, level: Level) -> Handle:
    from rocksq.blocking import PersistentQueueWithCapacity

    queues = [PersistentQueueWithCapacity(directory)]

    def put(item: str) -> None:
        queues[0].push([pickle.dumps(item, 5)])

    def get() -> str:
        found = queues[0].pop()
        if not found:
            raise Empty
        return str(pickle.loads(found[0]))

    return Handle(put, get, get, nothing, itself, queues.clear)  # it closes when it is collected


CONTENDER = Contender(
    name="rocksq",
    about="rocksq.blocking.PersistentQueueWithCapacity of pickles",
    open=open_queue,
    speed={Level.PROCESS: Speed(180_000, 150_000)},
    package="rocksq",
    modules=("rocksq",),
)
