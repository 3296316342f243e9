"""The scenarios by name, in the order in which they run."""

from __future__ import annotations

from ..scenario import Scenario
from . import backlog, latency, mapping, mapping_size, processes, single, threads


def scenarios() -> dict[str, Scenario]:
    queues = (single, threads, processes, latency, backlog)
    mappings = (mapping, mapping_size)
    return {each.name: each for module in (*queues, *mappings) for each in module.SCENARIOS}
