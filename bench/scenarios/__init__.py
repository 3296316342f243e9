"""The scenarios by name, in the order in which they run."""

from __future__ import annotations

from ..scenario import Scenario
from . import (
    backlog,
    calls,
    executor,
    family,
    latency,
    log,
    loop,
    mapping,
    mapping_size,
    processes,
    server,
    single,
    start,
    theirs,
    threads,
)


def scenarios() -> dict[str, Scenario]:
    queues = (single, threads, processes, latency, calls, backlog)
    others = (mapping, mapping_size, loop, family, start, executor, log, server, theirs)
    return {each.name: each for module in (*queues, *others) for each in module.SCENARIOS}
