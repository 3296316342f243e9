"""A mapping with many keys: what get, set and len cost then, memory, disk, and the next opening.

The first process fills it and ends by SIGKILL; the second opens what that left, and closes it; the third opens
what was closed, and measures. An opening is over when the first value is in hand. A contender that survives a close
alone is closed instead of killed.
"""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from time import perf_counter

from ..contender import Contender, Kind, Level, MappingHandle
from ..contenders import OUR_MAPPING
from ..footprint import files, payload, resident
from ..scenario import Job, Metric, Report, Scenario, items
from . import mapping
from .backlog import CLOSED, DISK, KILLED, end
from .mapping import FLOOR, GET, SET, key, opened, others, shuffled

_FILL = Metric("filling", "keys/s")
_LEN = Metric("len", "µs", more=False)
_MEMORY = Metric("memory after open", "MB above an empty mapping", more=False)
_DISK = DISK._replace(unit="bytes/key")


def fill(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Fill, and die."""
    handle = opened(contender, job.directory, job.level)
    start = perf_counter()
    mapping.fill(handle, scenario.backlog, scenario.size)
    report({_FILL.name: scenario.backlog / (perf_counter() - start)})
    end(handle.close, job)


def open_killed(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Open what a killed process left, and close it."""
    if Level(job.level).survives_sigkill:
        handle, seconds = _timed_open(scenario, contender, job)
        report({KILLED.name: seconds})
        handle.close()


def open_closed(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Open what was closed, measure, and close it: what a contender checks or tidies after a crash is over by then."""
    _use_an_empty_one(contender, job)
    empty = resident()
    handle, seconds = _timed_open(scenario, contender, job)
    report({CLOSED.name: seconds, _MEMORY.name: resident() - empty})
    report(_use(handle, scenario, job.operations))
    handle.close()
    (value,) = items(1, scenario.size)
    on_disk = files(job.directory).allocated / scenario.backlog
    report({_DISK.name: on_disk - len(key(0)) - payload(value)})


def _use(handle: MappingHandle, scenario: Scenario, operations: int) -> dict[str, float]:
    values = {_LEN.name: _timed_len(handle, scenario.backlog) * 1e6}
    numbers = shuffled(operations, scenario.backlog)
    given = others(numbers, len(numbers), scenario.size)
    values[GET.name] = len(given) / mapping.timed_gets(handle.get, [name for name, _ in given])
    values[SET.name] = len(given) / mapping.timed_sets(handle.set, given)
    return values


def _timed_open(scenario: Scenario, contender: Contender, job: Job) -> tuple[MappingHandle, float]:
    _use_an_empty_one(contender, job)
    start = perf_counter()
    handle = opened(contender, job.directory, job.level)
    handle.get(key(scenario.backlog // 2))
    return handle, perf_counter() - start


def _timed_len(handle: MappingHandle, expected: int) -> float:
    """Seconds that it takes. Raises RuntimeError where it is another number."""
    start = perf_counter()
    found = handle.length()
    seconds = perf_counter() - start
    if found != expected:
        raise RuntimeError(f"there are {found:,} keys, and {expected:,} were set")
    return seconds


def _use_an_empty_one(contender: Contender, job: Job) -> None:
    """What is imported and built once isn't part of an opening, nor of what follows."""
    with TemporaryDirectory(dir=os.path.dirname(job.directory)) as directory:
        handle = opened(contender, directory, job.level)
        handle.set("key", "value")
        handle.get("key")
        handle.length()
        handle.close()


def _of(name: str, count: int, *, rounds: int = 99) -> Scenario:
    return Scenario(
        name=name,
        about=f"a mapping with {count:,} keys, values of 40 characters",
        level=Level.PROCESS,
        floor=FLOOR,
        metrics=(GET, SET, _LEN, KILLED, CLOSED, _MEMORY, _DISK, _FILL),
        steps=(fill, open_killed, open_closed),
        kind=Kind.MAPPING,
        rate=10_000,
        floor_metric=GET.name,
        ours=OUR_MAPPING,
        backlog=count,
        quick=False,
        rounds=rounds,
    )


SCENARIOS = (
    _of("mapping-10k", 10_000),
    _of("mapping-100k", 100_000, rounds=3),
    _of("mapping-1m", 1_000_000, rounds=3),
)
