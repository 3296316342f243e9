"""The result of a run as plain values, as JSON, and what is read from it: medians, extremes and ratios.

A ratio is taken within a round, where both sides were measured within seconds of each other; its median, minimum and
maximum are those of the rounds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

SCHEMA = 1


class Measurement(NamedTuple):
    """What a contender did in a scenario in one round."""

    scenario: str
    contender: str
    level: str
    round: int
    values: Mapping[str, float]


class Absence(NamedTuple):
    """A contender that wasn't measured in a scenario, and why."""

    scenario: str
    contender: str
    reason: str


class Spread(NamedTuple):
    """A number as the rounds had it."""

    median: float
    low: float
    high: float
    rounds: int


class Series(NamedTuple):
    """Names one number of one contender."""

    scenario: str
    contender: str
    metric: str


class Result(NamedTuple):
    """A run."""

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    contenders: Mapping[str, Mapping[str, Any]]  #: about, version, missing, observed
    measurements: Sequence[Measurement]
    absent: Sequence[Absence]

    def rounds(self, series: Series) -> dict[int, float]:
        """The number by round; empty where it wasn't measured."""
        scenario, contender, metric = series
        return {
            each.round: each.values[metric]
            for each in self.measurements
            if each.scenario == scenario and each.contender == contender and metric in each.values
        }

    def spread(self, series: Series) -> Spread | None:
        return spread(self.rounds(series).values())

    def ratios(self, of: Series, to: Series) -> Spread | None:
        """One series by another, round by round; None where they have no round in common."""
        above, below = self.rounds(of), self.rounds(to)
        return spread(above[each] / below[each] for each in above if below.get(each))

    def differences(self, of: Series, to: Series) -> Spread | None:
        """How much one series is more than another, round by round; None where they have no round in common."""
        larger, smaller = self.rounds(of), self.rounds(to)
        return spread(larger[each] - smaller[each] for each in larger if each in smaller)

    def level(self, scenario: str, contender: str) -> str:
        """At which level the contender was measured there; "" where it wasn't."""
        found = (each.level for each in self.measurements if each[:2] == (scenario, contender))
        return next(found, "")

    def reason(self, scenario: str, contender: str) -> str:
        """Why a contender has no number in a scenario."""
        found = [each.reason for each in self.absent if each[:2] == (scenario, contender)]
        return found[0] if found else "wasn't part of this run"


def spread(numbers: Iterable[float]) -> Spread | None:
    """Median, minimum and maximum; None of nothing."""
    found = list(numbers)
    return Spread(median(found), min(found), max(found), len(found)) if found else None


def save(result: Result, path: Path) -> None:
    """Write it as JSON."""
    data = {
        "schema": SCHEMA,
        **result._asdict(),
        "measurements": [each._asdict() for each in result.measurements],
        "absent": [each._asdict() for each in result.absent],
    }
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    replace(path, lambda new: new.write_text(text, encoding="utf-8"))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """A file that is there as a whole or not at all, in place of the one that was there: `write` is given another path,
    and may write nothing."""
    new = path.with_suffix(".tmp")
    try:
        write(new)
        if new.exists():
            os.replace(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def load(path: Path) -> Result:
    """A saved result. Raises ValueError for another schema, OSError where there is none."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if data.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {data.get('schema')}, and this bench reads {SCHEMA}: run it again")
    return Result(
        data["machine"],
        data["settings"],
        data["contenders"],
        [Measurement(**each) for each in data["measurements"]],
        [Absence(**each) for each in data["absent"]],
    )
