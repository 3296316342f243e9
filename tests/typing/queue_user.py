"""A program written against `queue`, with the import changed; each ignored line must be an error."""

from __future__ import annotations

import queue as stdlib
from pathlib import Path

from typing_extensions import assert_type

from pqadapters.durability import Survives
from pqadapters.stdlib import Queue as ReexportedQueue
from pqadapters.stdlib import queue
from pqadapters.store import Store

Job = tuple[int, str]


def unchanged(jobs: queue.Queue[Job]) -> None:
    jobs.put((1, "index"))
    jobs.put((2, "index"), True, 1.5)
    jobs.put_nowait((3, "index"))
    try:
        assert_type(jobs.get(timeout=2), Job)
        assert_type(jobs.get_nowait(), Job)
    except (queue.Empty, stdlib.Empty, queue.ShutDown):
        return
    jobs.task_done()
    with jobs.all_tasks_done:
        assert_type(jobs.unfinished_tasks, int)
    with jobs.mutex:
        jobs.queue.clear()
    assert_type(jobs.qsize(), int)
    assert_type(jobs.full(), bool)
    jobs.join()


def beyond(jobs: queue.Queue[Job]) -> None:
    jobs.put_many((number, "index") for number in range(3))
    assert_type(jobs.get_many(10, timeout=0.5), list[Job])
    assert_type(jobs.peek(), Job)
    with jobs.lease(timeout=1) as job:
        assert_type(job, Job)
    jobs.nack(delay=5.0)
    assert_type(jobs.requeue([letter.id for letter in jobs.dead_letters()]), int)
    jobs.shutdown(immediate=True)


def made(directory: Path, store: Store) -> None:
    with queue.Queue[Job](path=directory, ack="next", durability="process", max_lag=0.05) as jobs:
        unchanged(jobs)
    unchanged(queue.Queue(10, path=str(directory), durability=Survives.POWER, serializer="json"))
    unchanged(queue.LifoQueue(store=store, name="jobs", max_attempts=3))
    beyond(queue.PriorityQueue(store="memory:"))


def takes_the_stdlibs(jobs: stdlib.Queue[Job], simple: stdlib.SimpleQueue[int]) -> None: ...


def in_its_place(directory: Path) -> None:
    takes_the_stdlibs(ReexportedQueue(path=directory), queue.SimpleQueue(path=directory / "simple"))


def mistakes(jobs: queue.Queue[Job], directory: Path) -> None:
    jobs.put("index")  # type: ignore[arg-type]
    jobs.put_many([1, 2])  # type: ignore[list-item]
    queue.Queue[Job](0, directory)  # type: ignore[call-arg]
    queue.Queue[Job](path=1)  # type: ignore[arg-type]
    queue.SimpleQueue[Job](path=directory).task_done()  # type: ignore[attr-defined]
