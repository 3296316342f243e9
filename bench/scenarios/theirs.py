"""persist-queue's own benchmark, on its classes and on those of the same names here: so many writes, writes and reads
with one task_done(), and with one for each item. Each begins with the constructor, as there."""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

from ..contender import Contender, Kind, Level
from ..contenders import OUR_PERSISTQUEUE
from ..scenario import Job, Metric, Report, Scenario

_WRITE, _ONE, _MANY = (Metric(name, "items/s") for name in ("write", "write+read, one", "write+read, many"))


def its_benchmark(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """The three columns, each on a queue of its own."""
    _write_and_read(contender, os.path.join(job.directory, "warm"), 1, read=True, each=True, last=False)  # imports it
    values = {}
    for metric, read, each in ((_WRITE, False, False), (_ONE, True, False), (_MANY, True, True)):
        directory = os.path.join(job.directory, metric.name.replace(" ", ""))
        last = not each and (read or job.level == Level.POWER.value)  # a file queue refuses it where nothing was got
        start = perf_counter()
        _write_and_read(contender, directory, scenario.backlog, read=read, each=each, last=last)
        values[metric.name] = scenario.backlog / (perf_counter() - start)
    report(values)


def _write_and_read(contender: Contender, directory: str, count: int, *, read: bool, each: bool, last: bool) -> None:
    assert contender.open_theirs is not None, "rounds.entries() gives these only"
    os.mkdir(directory)
    queue: Any = contender.open_theirs(directory)
    put, get, done = queue.put, queue.get, queue.task_done
    for _ in range(count):
        put("bench")
    if read:
        for _ in range(count):
            get()
            if each:
                done()
    if last:
        done()


def _of(name: str, count: int, *, quick: bool, rounds: int = 99) -> Scenario:
    return Scenario(
        name=name,
        about=f"persist-queue's own benchmark with {count:,} items",
        level=Level.PROCESS,
        floor="persist-queue-1-file",
        metrics=(_WRITE, _ONE, _MANY),
        steps=(its_benchmark,),
        backlog=count,
        puts_only=True,
        kind=Kind.THEIRS,
        ours=OUR_PERSISTQUEUE,
        floor_metric=_WRITE.name,
        quick=quick,
        rounds=rounds,
    )


SCENARIOS = (
    _of("theirs-1k", 1_000, quick=True),
    _of("theirs-100k", 100_000, quick=False, rounds=1),
)
