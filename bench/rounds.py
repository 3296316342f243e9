"""Rounds: in each of them every scenario is run with all its contenders, one behind the other.

What else the machine does comes and goes within minutes; contenders that are compared are measured within seconds of
each other, and who comes first changes from round to round.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .contender import Contender, Level
from .measurement import Entry, Failed, measure
from .result import Absence, Measurement
from .scenario import Scenario

NO_TIME = "no time was left for it"  #: the reason of who was due behind the end of the budget


class Settings(NamedTuple):
    """How a run is made."""

    directory: Path
    rounds: int
    seconds: float  #: about what one measurement takes
    budget: float  #: seconds after which no measurement begins
    patience: float  #: seconds that a process may take
    observing: float  #: seconds, behind all measurements, after which nobody is observed


def entries(
    scenarios: Mapping[str, Scenario], contenders: Mapping[str, Contender], seconds: float
) -> tuple[list[list[Entry]], list[Absence]]:
    """Who takes part in which scenario, and who of its kind doesn't, with the reason."""
    part: list[list[Entry]] = []
    absent: list[Absence] = []
    for scenario in scenarios.values():
        row = []
        for contender in contenders.values():
            if contender.kind is not scenario.kind:
                continue
            reason = contender.missing() or scenario.refusal(contender)
            level = contender.level(scenario.level)
            if reason or level is None:
                absent.append(Absence(scenario.name, contender.name, reason))
            else:
                row.append(Entry(scenario, contender, level.value, scenario.operations(contender, seconds)))
        part.append(row)
    return part, absent


def run(
    part: Sequence[Sequence[Entry]], settings: Settings, say: Callable[[str], object]
) -> Iterator[Measurement | Absence]:
    """All measurements, as they are made. What failed isn't tried again in later rounds."""
    deadline = time.monotonic() + settings.budget
    failed: set[tuple[str, str]] = set()
    for number in range(1, settings.rounds + 1):
        for row in part:
            due = [each for each in rotated(row, number) if _key(each) not in failed]
            if not due or number > due[0].scenario.rounds:
                continue
            if time.monotonic() <= deadline:
                say(f"round {number} of {settings.rounds}: {due[0].scenario.name}, {len(due)} contenders")
            for entry in due:
                if time.monotonic() > deadline:
                    if number == 1:
                        yield Absence(*_key(entry), NO_TIME)
                    continue
                made = _measured(entry, number, settings)
                if isinstance(made, Absence):
                    failed.add(_key(entry))
                yield made


def rotated(row: Sequence[Entry], number: int) -> list[Entry]:
    """Another first one in each round; neighbours stay neighbours."""
    start = (number - 1) % len(row) if row else 0
    return [*row[start:], *row[:start]]


def whole(
    part: Sequence[Sequence[Entry]], measurements: Sequence[Measurement], absent: Sequence[Absence], rounds: int
) -> int:
    """How many rounds came to their end for all who hadn't failed: fewer than `rounds` where the time was too short."""
    if any(each.reason == NO_TIME for each in absent):
        return 0
    failed = {each[:2] for each in absent}
    made = Counter(each[:2] for each in measurements)
    due = {_key(each): min(rounds, each.scenario.rounds) for row in part for each in row if _key(each) not in failed}
    return min((made[key] for key, count in due.items() if made[key] < count), default=rounds)


def _measured(entry: Entry, number: int, settings: Settings) -> Measurement | Absence:
    if entry.scenario.level is Level.POWER:
        os.sync()  # what others left to be written isn't this contender's to wait for
    try:
        return Measurement(*_key(entry), entry.level, number, measure(entry, settings.directory, settings.patience))
    except (Failed, OSError) as error:
        return Absence(*_key(entry), f"failed in round {number}: {error}")


def _key(entry: Entry) -> tuple[str, str]:
    return entry.scenario.name, entry.contender.name
