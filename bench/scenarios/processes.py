"""Two processes on one queue: one puts, the other gets and acknowledges, each with a handle of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

from ..contender import Contender, Level
from ..scenario import Job, Metric, Report, Scenario, check, items, timed_put
from .children import Await, Child, at_once
from .threads import waited


def put_and_get_apart(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """From the first put to the last acknowledgement. The database is there before the two processes open it."""
    contender.open(job.directory, Level(job.level)).close()
    with Child(partial(consume, contender, job, job.operations)) as consumer:
        handle = contender.open(job.directory, Level(job.level))
        given = items(job.operations, scenario.size)
        consumer.ready()
        start = perf_counter()
        at_once([consumer], partial(timed_put, handle.put, given))
        seconds = perf_counter() - start
    check(handle, scenario)
    report({"items": job.operations / seconds})


def consume(contender: Contender, job: Job, count: int, ready: Await) -> Callable[[], object]:
    """So many items, by a handle of this process, which is then to be closed."""
    handle = contender.open(job.directory, Level(job.level))
    ready()
    for _ in range(count):
        handle.done(waited(handle))
    return handle.close


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
