"""honker's queue: SQLite behind an extension in Rust. Items are JSON; a worker claims a job and acknowledges it."""

from __future__ import annotations

import os
from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed


def open_queue(directory: str, level: Level) -> Handle:
    import honker

    database: Any = honker.open(os.path.join(directory, "queue.db"))
    queue = database.queue("bench")
    worker = f"worker-{os.getpid()}"

    def get() -> Any:
        job = queue.claim_one(worker)
        if job is None:
            raise Empty
        return job

    return Handle(queue.enqueue, get, get, lambda job: job.ack(), lambda job: str(job.payload), database.close)


CONTENDER = Contender(
    name="honker",
    about="honker.Queue of strings",
    open=open_queue,
    speed={Level.PROCESS: Speed(25_000, 2_500)},
    package="honker",
    modules=("honker",),
    processes=True,
)
