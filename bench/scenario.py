"""What is measured: a scenario, its metrics, and the job that a process of its own is given.

A scenario is one or several steps. Each runs in a process of its own, on what the one before it left in the directory.
"""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty
from time import perf_counter
from typing import NamedTuple

from .contender import Contender, Handle, Kind, Level, Speed, Threads
from .contenders import OURS

Values = Mapping[str, float]

_BYTES_A_SECOND = 400e6  # for how many large items make a measurement; roughly, as Speed is
_DIFFERENT = 64  # items of a measurement that aren't equal
_LETTERS = {character: character + 0x400 for character in range(0x80)}


class Metric(NamedTuple):
    """One number of a measurement."""

    name: str
    unit: str
    more: bool = True  #: more is better


class Job(NamedTuple):
    """One step of a measurement: plain values, for it travels to another process."""

    scenario: str
    contender: str
    level: str
    directory: str
    operations: int  #: operations to time
    step: int = 0


Report = Callable[[Values], None]
Step = Callable[["Scenario", Contender, Job, Report], None]


class Scenario(NamedTuple):
    """What is done with a queue, or with a mapping, and timed."""

    name: str
    about: str
    level: Level  #: what is compared: contenders at this level, and below POWER those that can't choose
    floor: str  #: the contender whose `floor_metric` ratios are to
    metrics: Sequence[Metric]
    steps: Sequence[Step]
    size: int = 40  #: characters of an item
    is_ascii: bool = True  #: else of letters that take two bytes each
    threads: int = 1
    processes: int = 1
    also: Sequence[str] = ()  #: further bare loops that take part
    backlog: int = 0  #: items that wait in the queue, or keys that are in the mapping, meanwhile
    puts_only: bool = False
    kind: Kind = Kind.QUEUE  #: of what
    batches: bool = False  #: of those that have batches
    rate: float = 0  #: operations a second that are assumed of all, so that all do as many; 0: each by its own speed
    ours: str = OURS  #: the contender whose ratios the others' are set against
    floor_metric: str = "put"
    fewest: int = 20  #: operations, however slow a contender is
    quick: bool = True  #: part of a quick run
    rounds: int = 99  #: at most

    def steps_of(self, contender: Contender) -> Sequence[Step]:
        """What it does here: a bare loop puts, whatever the others do."""
        return self.steps if contender.gets or self.puts_only else (put_alone,)

    def refusal(self, contender: Contender) -> str:
        """Why the contender can't take part; "" where it can."""
        if contender.level(self.level) is None:
            return f'offers nothing like "{self.level.value}"'
        if not contender.gets and not self.puts_only and contender.name not in (self.floor, *self.also):
            return "hands nothing out"
        if self.processes > 1 and not contender.processes and contender.name != self.floor:
            return "isn't for several processes"
        if self.threads > 1 and contender.threads is Threads.ONE:
            return "isn't for several threads"
        if self.batches and not contender.batches:
            return "has no batches of one transaction"
        filling = self.backlog / self._rate(contender).put / (_TOGETHER if contender.together else 1)
        if filling > _LONGEST_FILLING:
            steps = "sets" if self.kind is Kind.MAPPING else "puts"
            return f"{self.backlog:,} {steps} would take it about {filling:.0f} seconds"
        return ""

    def operations(self, contender: Contender, seconds: float) -> int:
        """How many operations take about so long: a multiple of the number of threads."""
        if self.rate:
            return max(self.fewest, int(seconds * self.rate))
        rate = self._rate(contender)
        slowest = rate.put if self.puts_only or not contender.gets else min(rate.put, rate.get)
        each = 1 / slowest + self.size / _BYTES_A_SECOND
        return max(self.fewest, int(seconds / each / self.threads)) * self.threads

    def items(self, count: int) -> Iterator[str]:
        return items(count, self.size, is_ascii=self.is_ascii)

    def _rate(self, contender: Contender) -> Speed:
        level = contender.level(self.level)
        assert level is not None, "refusal() comes first"
        return contender.speed[level]


_LONGEST_FILLING = 60.0
_TOGETHER = 50  # times as fast as one by one, roughly


def put_alone(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """One thread's puts: what the floor of a scenario does."""
    put = contender.open(job.directory, Level(job.level)).put
    report({"put": job.operations / timed_put(put, scenario.items(job.operations))})


def items(count: int, size: int, *, is_ascii: bool = True) -> Iterator[str]:
    """`count` items of `size` characters, some dozens of them different and none compressible."""
    chance = random.Random(size)
    different = [base64.b64encode(chance.randbytes(size)).decode()[:size] for _ in range(min(count, _DIFFERENT))]
    if not is_ascii:
        different = [each.translate(_LETTERS) for each in different]
    return itertools.islice(itertools.cycle(different), count)


def check(handle: Handle, scenario: Scenario) -> None:
    """What was measured was a queue: it is empty when all is got, and hands out what is put, in its order. Raises
    RuntimeError where it isn't."""
    _check_empty(handle)
    given = list(scenario.items(_DIFFERENT))
    for item in given:
        handle.put(item)
    for item in given:
        got = handle.get()
        if handle.item(got) != item:
            raise RuntimeError("it hands out something else than was put")
        handle.done(got)
    _check_empty(handle)


def _check_empty(handle: Handle) -> None:
    with suppress(Empty):
        handle.get_now()
        raise RuntimeError("it hands out more than was put")


def timed_put(put: Callable[[str], object], given: Iterator[str]) -> float:
    """Seconds to put them all."""
    start = perf_counter()
    for item in given:
        put(item)
    return perf_counter() - start


def timed_get(get: Callable[[], object], done: Callable[[object], object], count: int) -> float:
    """Seconds to get and acknowledge so many."""
    rounds = range(count)
    start = perf_counter()
    for _ in rounds:
        done(get())
    return perf_counter() - start
