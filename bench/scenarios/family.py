"""A queue between a process and its child, as `multiprocessing` starts it: the child gets what the parent puts."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from time import perf_counter

from ..contender import Contender, Handle, Kind, Level
from ..contenders import OUR_FAMILY
from ..scenario import Job, Metric, Report, Scenario, items

_TOGETHER = 256  #: items that are put at a time, by those who do


def put_and_get(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """From the first put to the last get. The child waits already."""
    handle = contender.open(job.directory, Level(job.level))
    context = multiprocessing.get_context("fork")
    words, said = context.Pipe(duplex=False)
    child = context.Process(target=_consume, args=(handle, job.operations, said))
    child.start()
    said.close()
    try:
        given = list(items(job.operations, scenario.size))
        _wait(words)
        start = perf_counter()
        _put(handle, given)
        _wait(words)
        report({"items": job.operations / (perf_counter() - start)})
    except BaseException:
        child.kill()
        raise
    child.join()
    handle.close()


def _wait(words: Connection) -> None:
    """Until the child says that it is ready, or done."""
    try:
        error = words.recv()
    except EOFError:
        error = "it has ended"
    if error:
        raise RuntimeError(f"the child has failed: {error}")


def _put(handle: Handle, given: list[str]) -> None:
    if handle.put_many is None:
        for item in given:
            handle.put(item)
    else:
        for first in range(0, len(given), _TOGETHER):
            handle.put_many(given[first : first + _TOGETHER])


def _consume(handle: Handle, count: int, said: Connection) -> None:
    error = ""
    said.send(error)
    try:
        for _ in range(count):
            handle.get()
    except Exception as failed:
        error = f"{type(failed).__name__}: {failed}"
    said.send(error)


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
