"""Executors: calls of nothing, submitted and waited for; what a pending one takes; what many that were left do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from ..contender import Contender, ExecutorHandle, Kind, Level
from ..contenders import OUR_EXECUTOR
from ..contenders.stdlib_executor import AT_THE_GATE
from ..footprint import resident
from ..scenario import Job, Metric, Report, Scenario, Step
from .threads import together

_CALLS = Metric("calls", "calls/s")
_JOBS = Metric("jobs", "jobs/s")
_MEMORY = Metric("memory", "bytes/job", more=False)
_LEFT = Metric("memory left", "MB above an empty one", more=False)
_FIRST = Metric("first", "ms", more=False)


def _open(contender: Contender, job: Job, directory: str = "") -> ExecutorHandle:
    assert contender.open_executor is not None, "rounds.entries() gives executors only"
    return contender.open_executor(directory or job.directory, Level(job.level))


def call(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """One by one, each result before the next call; then all submitted, and all waited for."""
    handle = _open(contender, job)
    handle.result(handle.submit())
    start = perf_counter()
    for _ in range(job.operations):
        handle.result(handle.submit())
    one_by_one = perf_counter() - start
    report({_CALLS.name: job.operations / one_by_one, _JOBS.name: job.operations / _all(handle, job.operations)})
    handle.close()


def _all(handle: ExecutorHandle, count: int) -> float:
    start = perf_counter()
    for each in [handle.submit() for _ in range(count)]:
        handle.result(each)
    return perf_counter() - start


def from_threads(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Each thread submits its part and waits for it."""
    handle = _open(contender, job)
    handle.result(handle.submit())
    part = job.operations // scenario.threads
    report({_JOBS.name: part * scenario.threads / together([_submits(handle, part)] * scenario.threads)})
    handle.close()


def _submits(handle: ExecutorHandle, count: int) -> Callable[[], None]:
    def work() -> None:
        _all(handle, count)

    return work


def pend(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Submit behind busy workers, and look at the memory."""
    handle = _open(contender, job)
    assert handle.block is not None
    assert handle.release is not None
    handle.result(handle.submit())
    handle.block()
    before = resident()
    futures: list[Any] = [handle.submit() for _ in range(scenario.backlog)]
    report({_MEMORY.name: (resident() - before) * 1e6 / scenario.backlog})
    handle.release()
    for future in futures:
        handle.result(future)
    handle.close()


def leave(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Submit behind busy workers, and die."""
    handle = _open(contender, job)
    assert handle.block is not None
    if handle.leave is None:
        return report({})  # nothing is left of what is in memory
    handle.block()
    for _ in range(scenario.backlog):
        handle.submit()
    report({})
    os.kill(os.getpid(), signal.SIGKILL)


def find(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """What a process before this one has left begins to run. Those that it had begun come first, and stand at the gate
    again. An empty executor elsewhere tells what is beyond one."""
    if contender.level(Level.PROCESS) is Level.MEMORY:
        return report({})
    with TemporaryDirectory(dir=os.path.dirname(job.directory)) as directory:
        other = _open(contender, job, directory)
        other.result(other.submit())
        other.close()
    empty = resident()
    start = perf_counter()
    handle = _open(contender, job)
    assert handle.leave is not None
    assert handle.release is not None
    AT_THE_GATE.acquire()
    seconds = perf_counter() - start
    report({_FIRST.name: seconds * 1000, _LEFT.name: resident() - empty})
    handle.leave()
    handle.release()


def _scenario(name: str, about: str, metrics: tuple[Metric, ...], *steps: Step, **more: Any) -> Scenario:
    return Scenario(
        name=name,
        about=about,
        metrics=metrics,
        steps=steps,
        kind=Kind.EXECUTOR,
        puts_only=True,
        ours=OUR_EXECUTOR,
        **{"level": Level.PROCESS, "floor": "stdlib-executor", "floor_metric": metrics[0].name, **more},
    )


def _left(name: str, count: int) -> Scenario:
    about = f"{count:,} jobs were left by an earlier process"
    return _scenario(name, about, (_FIRST, _LEFT), leave, find, backlog=count, quick=False, floor="")


SCENARIOS = (
    _scenario("executor-calls", "submit to result of a call that does nothing", (_CALLS, _JOBS), call),
    _scenario("executor-1", "one thread submits, and waits", (_JOBS,), from_threads, level=Level.POWER),
    _scenario("executor-16", "16 threads submit, and wait", (_JOBS,), from_threads, level=Level.POWER, threads=16),
    _scenario("executor-memory", "100,000 jobs wait", (_MEMORY,), pend, backlog=100_000, quick=False),
    _left("executor-100k", 100_000),
    _left("executor-1m", 1_000_000),
)
