"""One thread on a mapping: keys that are new, keys that are there, values of keys, and sets in batches.

All contenders set as many keys, since what one costs depends on how many there are. Keys that are set one behind the
other aren't neighbours in their order.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter

from ..contender import Contender, Kind, Level, MappingHandle
from ..contenders import OUR_MAPPING
from ..scenario import Job, Metric, Report, Scenario, items

BATCH = 1000  #: sets in one batch
GET = Metric("get", "gets/s")
SET = Metric("set", "sets/s")
FLOOR = "bare-replace"
_IN_BATCHES = Metric("set in batches", "sets/s")
_MORE_IN_BATCHES = 10  # times as many, since they take less


def opened(contender: Contender, directory: str, level: str) -> MappingHandle:
    assert contender.open_mapping is not None, "rounds.entries() gives mappings only"
    return contender.open_mapping(directory, Level(level))


def key(number: int) -> str:
    """The key of that number, each another one."""
    return f"key-{number * 2654435761 % 2**32:08x}"


def pairs(numbers: range, size: int) -> Iterator[tuple[str, str]]:
    """Keys and values."""
    return zip(map(key, numbers), items(len(numbers), size), strict=True)


def others(numbers: Iterable[int], count: int, size: int) -> list[tuple[str, str]]:
    """Keys with other values than `pairs` has for any: databases are quick to store what is there already."""
    return [(key(number), value[::-1]) for number, value in zip(numbers, items(count, size), strict=True)]


def shuffled(count: int, of: int) -> list[int]:
    """So many of those numbers, or all of them, in an order that is the same in each process."""
    return random.Random(of).sample(range(of), min(count, of))


def fill(handle: MappingHandle, count: int, size: int) -> None:
    """In batches, where the contender has them: they don't count."""
    given = pairs(range(count), size)
    while chunk := list(itertools.islice(given, BATCH)):
        with handle.batch():
            timed_sets(handle.set, chunk)


def timed_sets(set_one: Callable[[str, str], object], given: Iterable[tuple[str, str]]) -> float:
    """Seconds to set them all."""
    start = perf_counter()
    for name, value in given:
        set_one(name, value)
    return perf_counter() - start


def timed_gets(get: Callable[[str], object], names: Iterable[str]) -> float:
    """Seconds to get them all."""
    start = perf_counter()
    for name in names:
        get(name)
    return perf_counter() - start


def set_new(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Keys that aren't there."""
    handle = opened(contender, job.directory, job.level)
    given = list(pairs(range(job.operations), scenario.size))
    report({SET.name: job.operations / timed_sets(handle.set, given)})


def set_again(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Keys that are there, each to another value."""
    handle, count = opened(contender, job.directory, job.level), job.operations
    fill(handle, count, scenario.size)
    given = others(shuffled(count, count), count, scenario.size)
    report({SET.name: count / timed_sets(handle.set, given)})


def get(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """The value of each key."""
    handle, count = opened(contender, job.directory, job.level), job.operations
    fill(handle, count, scenario.size)
    names = [key(number) for number in shuffled(count, count)]
    report({GET.name: count / timed_gets(handle.get, names)})


def set_in_batches(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """New keys one by one, and then in batches: the cost of a set in them, with that of their end."""
    handle, count = opened(contender, job.directory, job.level), job.operations
    batches = max(1, count * _MORE_IN_BATCHES // BATCH)
    given = pairs(range(count + batches * BATCH), scenario.size)
    alone = count / timed_sets(handle.set, list(itertools.islice(given, count)))
    chunks = [list(itertools.islice(given, BATCH)) for _ in range(batches)]
    start = perf_counter()
    for chunk in chunks:
        with handle.batch():
            timed_sets(handle.set, chunk)
    report({SET.name: alone, _IN_BATCHES.name: batches * BATCH / (perf_counter() - start)})


_PROCESS = Scenario(
    name="mapping-set",
    about="a mapping: set of new keys, values of 40 characters",
    level=Level.PROCESS,
    floor=FLOOR,
    metrics=(SET,),
    steps=(set_new,),
    kind=Kind.MAPPING,
    rate=20_000,
    floor_metric=SET.name,
    ours=OUR_MAPPING,
)
_POWER = _PROCESS._replace(name="mapping-set-power", about='set of new keys at "power"', level=Level.POWER, rate=10_000)

SCENARIOS = (
    _PROCESS,
    _PROCESS._replace(name="mapping-set-again", about="set of existing keys, to another value", steps=(set_again,)),
    _PROCESS._replace(name="mapping-get", about="get", metrics=(GET,), steps=(get,), floor_metric=GET.name),
    _POWER,
    _POWER._replace(
        name="mapping-batch",
        about=f'set of new keys at "power" in batches of {BATCH:,}, and one by one',
        metrics=(_IN_BATCHES, SET),
        steps=(set_in_batches,),
        batches=True,
        floor_metric=_IN_BATCHES.name,
    ),
)
