"""Queues on a database server with its defaults, which sync each commit: many threads that put, several processes that
get and acknowledge, a large backlog."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from time import perf_counter

from ..contender import Contender, Handle, Kind, Level
from ..scenario import Job, Metric, Report, Scenario, items, timed_get, timed_put
from .children import Await, Child, at_once
from .processes import consume
from .threads import producers

_CONSUMERS = 4
_TOGETHER = 1000  #: items that are put at a time where that isn't measured
_PUT, _GET = Metric("put", "items/s"), Metric("get+done", "items/s")
_OURS, _FLOOR = "pqadapters-mysql", "bare-mysql-insert"


def fill(handle: Handle, count: int, size: int) -> None:
    given = list(items(count, size))
    if handle.put_many is None:
        timed_put(handle.put, iter(given))
        return
    for first in range(0, count, _TOGETHER):
        handle.put_many(given[first : first + _TOGETHER])


def get_by_one(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """What is there already, by one consumer."""
    handle = contender.open(job.directory, Level(job.level))
    fill(handle, job.operations, scenario.size)
    report({_GET.name: job.operations / timed_get(handle.get, handle.done, job.operations)})


def get_by_several(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """What is there already, by four processes; where only one may get, by one."""
    if not contender.processes:
        return get_by_one(scenario, contender, job, report)
    handle = contender.open(job.directory, Level(job.level))
    each = job.operations // _CONSUMERS
    fill(handle, each * _CONSUMERS, scenario.size)
    with ExitStack() as stack:
        children = [stack.enter_context(Child(partial(_consume, contender, job, each))) for _ in range(_CONSUMERS)]
        for child in children:
            child.ready()
        start = perf_counter()
        at_once(children)
        report({_GET.name: each * _CONSUMERS / (perf_counter() - start)})


def _consume(contender: Contender, job: Job, count: int, ready: Await) -> None:
    consume(contender, job, count, ready)()


def beside_a_backlog(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    handle = contender.open(job.directory, Level(job.level))
    fill(handle, scenario.backlog, scenario.size)
    put = job.operations / timed_put(handle.put, items(job.operations, scenario.size))
    report({_PUT.name: put, _GET.name: job.operations / timed_get(handle.get, handle.done, job.operations)})


def _backlog(name: str, count: int, *, quick: bool = False, rounds: int = 99) -> Scenario:
    return Scenario(
        name=name,
        about=f"a server, {count:,} items of 40 characters wait",
        level=Level.POWER,
        floor="",
        metrics=(_PUT, _GET),
        steps=(beside_a_backlog,),
        kind=Kind.SERVER,
        ours=_OURS,
        quick=quick,
        rounds=rounds,
    )._replace(backlog=count)


SCENARIOS = (
    Scenario(
        name="server-put-16",
        about="a server, 16 threads that put; the bare loop has one",
        level=Level.POWER,
        floor=_FLOOR,
        metrics=(_PUT,),
        steps=(producers,),
        threads=16,
        puts_only=True,
        kind=Kind.SERVER,
        ours=_OURS,
        quick=False,
    ),
    Scenario(
        name="server-get-4",
        about="a server, 4 processes that get and acknowledge; persist-queue has one",
        level=Level.POWER,
        floor=_FLOOR,
        metrics=(_GET, _PUT),
        steps=(get_by_several,),
        kind=Kind.SERVER,
        ours=_OURS,
        quick=False,
    ),
    Scenario(
        name="server-get-1",
        about="a server, one process that gets and acknowledges",
        level=Level.POWER,
        floor=_FLOOR,
        metrics=(_GET, _PUT),
        steps=(get_by_one,),
        kind=Kind.SERVER,
        ours=_OURS,
        quick=False,
    ),
    _backlog("server-10k", 10_000),
    _backlog("server-1m", 1_000_000, rounds=2),
)
