"""The scenarios by name, in the order in which they run."""

from __future__ import annotations

from ..scenario import Scenario
from . import backlog, latency, processes, single, threads


def scenarios() -> dict[str, Scenario]:
    every = (*single.SCENARIOS, *threads.SCENARIOS, *processes.SCENARIOS, *latency.SCENARIOS, *backlog.SCENARIOS)
    return {each.name: each for each in every}
