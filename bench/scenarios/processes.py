"""Two processes on one queue: one puts, the other gets and acknowledges, each with a handle of its own."""

from __future__ import annotations

import os
from time import perf_counter

from ..contender import Contender, Level
from ..scenario import Job, Metric, Report, Scenario, items
from .threads import waited


def put_and_get_apart(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """From the first put to the last acknowledgement. The database is there before the two processes open it."""
    contender.open(job.directory, Level(job.level)).close()
    ready, go, done = os.pipe(), os.pipe(), os.pipe()
    if not os.fork():
        _consume(contender, job, ready[1], go[0], done[1])
    handle = contender.open(job.directory, Level(job.level))
    os.read(ready[0], 1)
    given = list(items(job.operations, scenario.size))
    start = perf_counter()
    os.write(go[1], b"x")
    for item in given:
        handle.put(item)
    os.close(done[1])
    if os.read(done[0], 1) != b"x":
        raise RuntimeError("the consumer has failed")
    report({"items": job.operations / (perf_counter() - start)})


def _consume(contender: Contender, job: Job, ready: int, go: int, done: int) -> None:
    status = 1
    try:
        handle = contender.open(job.directory, Level(job.level))
        os.write(ready, b"x")
        os.read(go, 1)
        for _ in range(job.operations):
            handle.done(waited(handle))
        os.write(done, b"x")
        status = 0
    finally:
        os._exit(status)


SCENARIOS = (
    Scenario(
        name="processes-1-1",
        about="two processes, one putting, one getting and acknowledging",
        level=Level.PROCESS,
        floor="bare-insert",
        metrics=(Metric("items", "items/s"), Metric("put", "items/s")),
        steps=(put_and_get_apart,),
        processes=2,
    ),
)
