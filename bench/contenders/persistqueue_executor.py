"""What programs build on persist-queue: threads that get from its queue, call, and acknowledge; results in memory."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

from ..contender import Contender, ExecutorHandle, Level, Speed
from .stdlib_executor import WORKERS, no_op


def open_executor(directory: str, level: Level) -> ExecutorHandle:
    from persistqueue import SQLiteAckQueue

    queue: Any = SQLiteAckQueue(directory, multithreading=True)
    done: dict[int, threading.Event] = {}
    numbers = count()

    def work() -> None:
        while True:
            got = queue.get(raw=True)
            number, function = got["data"]
            if function is None:
                break
            function()
            queue.ack(id=got["pqid"])
            done.pop(number).set()
        queue.ack(id=got["pqid"])

    threads = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()

    def submit() -> threading.Event:
        number = next(numbers)
        event = done[number] = threading.Event()
        queue.put((number, no_op))
        return event

    def close() -> None:
        for _ in threads:
            queue.put((0, None))
        for thread in threads:
            thread.join()
        queue.close()

    return ExecutorHandle(submit, lambda event: event.wait(), close)


CONTENDER = Contender(
    name="persist-queue-loop",
    about="threads that get from persistqueue.SQLiteAckQueue(multithreading=True)",
    open_executor=open_executor,
    speed={Level.POWER: Speed(300, 300)},
    package="persist-queue",
    modules=("persistqueue",),
    gets=False,
)
