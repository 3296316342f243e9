"""How long single puts take: the median, the one in a hundred, the one in a thousand, and the longest."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns

from ..contender import Contender, Level
from ..scenario import Job, Metric, Report, Scenario, items

_FEWEST = 1000  #: puts, of which one is the one in a thousand
_SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "longest": 1.0}


def percentile(ascending: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of all is not above."""
    return ascending[max(0, -int(-share * len(ascending) // 1) - 1)]


def puts(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Each put by itself."""
    put = contender.open(job.directory, Level(job.level)).put
    times = []
    for item in items(job.operations, scenario.size):
        start = perf_counter_ns()
        put(item)
        times.append(perf_counter_ns() - start)
    times.sort()
    report({name: percentile(times, share) / 1000 for name, share in _SHARES.items()})


def _latency(name: str, level: Level, floor: str) -> Scenario:
    return Scenario(
        name=name,
        about=f'how long a put takes at "{level.value}"',
        level=level,
        floor=floor,
        metrics=tuple(Metric(each, "µs", more=False) for each in _SHARES),
        steps=(puts,),
        puts_only=True,
        floor_metric="p50",
        fewest=_FEWEST,
    )


SCENARIOS = (
    _latency("latency", Level.PROCESS, "bare-write"),
    _latency("latency-power", Level.POWER, "bare-fdatasync"),
)
