"""huey's SQLite storage: enqueue and dequeue of pickles, without its tasks and results. Dequeuing deletes the row."""

from __future__ import annotations

import os
import pickle
from queue import Empty

from ..contender import Contender, Handle, Level, Speed, itself, nothing


def open_queue(directory: str, level: Level) -> Handle:
    from huey.storage import SqliteStorage

    storage = SqliteStorage(filename=os.path.join(directory, "huey.db"), fsync=level is Level.POWER, strict_fifo=True)

    def put(item: str) -> None:
        storage.enqueue(pickle.dumps(item, 5))

    def get() -> str:
        data = storage.dequeue()
        if data is None:
            raise Empty
        return str(pickle.loads(data))

    return Handle(put, get, get, nothing, itself, storage.close)


CONTENDER = Contender(
    name="huey",
    about="huey.storage.SqliteStorage of pickles",
    open=open_queue,
    speed={Level.PROCESS: Speed(25_000, 18_000), Level.POWER: Speed(4_000, 4_000)},
    package="huey",
    modules=("huey",),
    processes=True,
)
