"""persist-queue's file queue. Each put flushes the item and replaces a side file with both ends' positions.

Its task_done saves the positions; it takes a get of its own to have something to save.
"""

from __future__ import annotations

from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself


def open_queue(directory: str, level: Level) -> Handle:
    from persistqueue import Queue
    from persistqueue.exceptions import Empty as TheirEmpty

    queue = Queue(directory, tempdir=directory)
    task_done = queue.task_done

    def get_now() -> Any:
        try:
            return queue.get(False)
        except TheirEmpty:
            raise Empty from None

    def close() -> None:
        queue.headf.close()
        queue.tailf.close()

    return Handle(queue.put, queue.get, get_now, lambda got: task_done(), itself, close)


CONTENDER = Contender(
    name="persist-queue-file",
    about="persistqueue.Queue",
    open=open_queue,
    speed={Level.PROCESS: Speed(9_000, 9_000)},
    package="persist-queue",
    modules=("persistqueue",),
)
