"""Queues of an event loop: items through, puts that wait for one disk together, and who else has to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

from ..contender import Contender, Kind, Level, LoopQueue
from ..contenders import OUR_LOOP
from ..scenario import Job, Metric, Report, Scenario, Values, items

TOGETHER = 1000  #: puts that are awaited at a time
_PAIRS = Metric("pairs", "pairs/s")
_GATHERED, _ALONE = Metric("put together", "puts/s"), Metric("put one by one", "puts/s")
_LATE = Metric("timer late under load", "ms", more=False)
_IDLE = Metric("timer late without", "ms", more=False)
_MORE = Metric("p99 more", "ms", more=False)
_TICK = 0.001  #: seconds, of the timer
_TICKS = 1000
_LOAD = 3  #: tasks that put, and as many that get

Measured = Callable[[LoopQueue, Scenario, Job], Coroutine[Any, Any, Values]]


def _step(measured: Measured) -> Callable[[Scenario, Contender, Job, Report], None]:
    def step(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
        async def main() -> Values:
            assert contender.open_loop is not None, "rounds.entries() gives queues of loops only"
            return await measured(contender.open_loop(job.directory, Level(job.level)), scenario, job)

        report(asyncio.run(main()))

    return step


async def _pairs(queue: LoopQueue, scenario: Scenario, job: Job) -> Values:
    given = list(items(job.operations, scenario.size))
    start = perf_counter()
    for item in given:
        await queue.put(item)
        await queue.get()
        queue.task_done()
    return {_PAIRS.name: job.operations / (perf_counter() - start)}


async def _together(queue: LoopQueue, scenario: Scenario, job: Job) -> Values:
    """As many one by one as together."""
    given = list(items(TOGETHER, scenario.size))
    start = perf_counter()
    for item in given:
        await queue.put(item)
    between = perf_counter()
    await asyncio.gather(*map(queue.put, given))
    return {_ALONE.name: TOGETHER / (between - start), _GATHERED.name: TOGETHER / (perf_counter() - between)}


async def _timer() -> float:
    """The 99th percentile of how late it is, in milliseconds."""
    late = []
    for _ in range(_TICKS):
        start = perf_counter()
        await asyncio.sleep(_TICK)
        late.append(perf_counter() - start - _TICK)
    return sorted(late)[len(late) * 99 // 100] * 1000


async def _lateness(queue: LoopQueue, scenario: Scenario, job: Job) -> Values:
    (item,) = items(1, scenario.size)
    idle = await _timer()

    async def put() -> None:
        while True:
            await queue.put(item)
            await asyncio.sleep(0)

    async def get() -> None:
        while True:
            await queue.get()
            queue.task_done()

    load = [asyncio.ensure_future(each()) for each in (put, get) for _ in range(_LOAD)]
    late = await _timer()
    for task in load:
        task.cancel()
    await asyncio.gather(*load, return_exceptions=True)
    return {_IDLE.name: idle, _LATE.name: late, _MORE.name: max(0.0, late - idle)}


_PROCESS = Scenario(
    name="loop-pairs",
    about="an event loop: one item in, out and acknowledged, then the next one",
    level=Level.PROCESS,
    floor="stdlib-asyncio",
    metrics=(_PAIRS,),
    steps=(_step(_pairs),),
    kind=Kind.LOOP,
    floor_metric=_PAIRS.name,
    ours=OUR_LOOP,
)
_POWER = _PROCESS._replace(
    name="loop-together",
    about=f'an event loop at "power": {TOGETHER:,} puts awaited together, and one by one',
    level=Level.POWER,
    floor=OUR_LOOP,
    metrics=(_GATHERED, _ALONE),
    steps=(_step(_together),),
    floor_metric=_GATHERED.name,
)
SCENARIOS = (
    _PROCESS,
    _POWER,
    *(
        _PROCESS._replace(
            name=f"loop-timer{name}",
            about=f"a timer of 1 ms beside {_LOAD} tasks that put and {_LOAD} that get{at}: how late its p99 is",
            level=level,
            floor=floor,
            metrics=(_LATE, _IDLE, _MORE),
            steps=(_step(_lateness),),
            floor_metric=_LATE.name,
        )
        for name, at, level, floor in (
            ("", "", Level.PROCESS, "stdlib-asyncio"),
            ("-power", ' at "power"', Level.POWER, OUR_LOOP),
        )
    ),
)
