"""A queue between a process and its child, as `multiprocessing` starts it: the child gets what the parent puts."""

from __future__ import annotations

import multiprocessing
from time import perf_counter
from typing import Any

from ..contender import Contender, Handle, Kind, Level
from ..contenders import OUR_FAMILY
from ..scenario import Job, Metric, Report, Scenario, items

_TOGETHER = 256  #: items that are put at a time, by those who do


def put_and_get(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """From the first put to the last get. The child waits already."""
    handle = contender.open(job.directory, Level(job.level))
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    child = context.Process(target=_consume, args=(handle, job.operations, ready, done))
    child.start()
    given = list(items(job.operations, scenario.size))
    ready.wait()
    start = perf_counter()
    _put(handle, given)
    done.wait()
    report({"items": job.operations / (perf_counter() - start)})
    child.join()
    handle.close()


def _put(handle: Handle, given: list[str]) -> None:
    if handle.put_many is None:
        for item in given:
            handle.put(item)
    else:
        for first in range(0, len(given), _TOGETHER):
            handle.put_many(given[first : first + _TOGETHER])


def _consume(handle: Handle, count: int, ready: Any, done: Any) -> None:
    ready.set()
    for _ in range(count):
        handle.get()
    done.set()


SCENARIOS = (
    Scenario(
        name="family-1-1",
        about="a process that puts, and its child that gets",
        level=Level.PROCESS,
        floor="stdlib-multiprocessing",
        metrics=(Metric("items", "items/s"),),
        steps=(put_and_get,),
        kind=Kind.FAMILY,
        ours=OUR_FAMILY,
        floor_metric="items",
    ),
)
