"""queuelib's FIFO on disk, Scrapy's: its index is written when it is closed, and no thread may share it."""

from __future__ import annotations

import pickle
from queue import Empty

from ..contender import Contender, Handle, Level, Speed, Threads, itself, nothing


def open_queue(directory: str, level: Level) -> Handle:
    from queuelib import FifoDiskQueue

    queue = FifoDiskQueue(directory)

    def put(item: str) -> None:
        queue.push(pickle.dumps(item, 5))

    def get() -> str:
        data = queue.pop()
        if data is None:
            raise Empty
        return str(pickle.loads(data))

    return Handle(put, get, get, nothing, itself, queue.close)


CONTENDER = Contender(
    name="queuelib",
    about="queuelib.FifoDiskQueue of pickles",
    open=open_queue,
    speed={Level.CLOSE: Speed(350_000, 200_000)},
    package="queuelib",
    modules=("queuelib",),
    threads=Threads.ONE,
)
