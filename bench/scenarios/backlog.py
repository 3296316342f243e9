"""A queue in which many items wait: what an operation costs then, memory, disk, and the next opening.

The first process fills the queue, measures and ends by SIGKILL; the second opens what that left, and closes it; the
third opens what was closed. An opening is over when the first item is in hand. A contender that survives a close alone
is closed instead of killed, and one in memory isn't opened again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from time import perf_counter

from ..contender import Contender, Handle, Level
from ..footprint import files, payload, resident
from ..scenario import Job, Metric, Report, Scenario, items, timed_get, timed_put

_PUT = Metric("put", "items/s")
_GET = Metric("get+done", "items/s")
_RSS = Metric("memory", "MB above an empty queue", more=False)
DISK = Metric("disk beyond the payload", "bytes/item", more=False)
KILLED = Metric("open after SIGKILL", "s", more=False)
CLOSED = Metric("open after close", "s", more=False)
_OPENED = Metric("memory after open", "MB above an empty queue", more=False)


def fill(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Fill, measure at that backlog, and die."""
    handle = contender.open(job.directory, Level(job.level))
    _use_once(handle, scenario.size)
    empty = resident()
    timed_put(handle.put, items(scenario.backlog, scenario.size))
    values = {_RSS.name: resident() - empty}
    if on_disk := files(job.directory).allocated:
        (item,) = items(1, scenario.size)
        values[DISK.name] = on_disk / scenario.backlog - payload(item)
    values[_PUT.name] = job.operations / timed_put(handle.put, items(job.operations, scenario.size))
    values[_GET.name] = job.operations / timed_get(handle.get, handle.done, job.operations)
    report(values)
    end(handle.close, job)


def end(close: Callable[[], object], job: Job) -> None:
    """Die, or close what survives that alone."""
    if Level(job.level).survives_sigkill:
        os.kill(os.getpid(), signal.SIGKILL)
    close()


def open_killed(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Open what a killed process left, and close it."""
    if Level(job.level).survives_sigkill:
        _open(contender, job, report, KILLED.name)


def open_closed(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Open what was closed."""
    if Level(job.level) is not Level.MEMORY:
        _open(contender, job, report, CLOSED.name)


def _open(contender: Contender, job: Job, report: Report, name: str) -> None:
    with _empty_one(contender, job):
        empty = resident()
    start = perf_counter()
    handle = contender.open(job.directory, Level(job.level))
    got = handle.get_now()
    seconds = perf_counter() - start
    memory = resident() - empty
    handle.done(got)
    report({name: seconds, _OPENED.name: memory})
    handle.close()


@contextmanager
def _empty_one(contender: Contender, job: Job) -> Iterator[None]:
    """An empty queue elsewhere, opened and used: what is imported and built once isn't part of the opening."""
    with TemporaryDirectory(dir=os.path.dirname(job.directory)) as directory:
        handle = contender.open(directory, Level(job.level))
        _use_once(handle, 1)
        yield
        handle.close()


def _use_once(handle: Handle, size: int) -> None:
    for item in items(1, size):
        handle.put(item)
        handle.done(handle.get())


def _backlog(name: str, count: int, *, quick: bool = False, rounds: int = 99) -> Scenario:
    return Scenario(
        name=name,
        about=f"{count:,} items of 40 characters wait",
        level=Level.PROCESS,
        floor="",
        metrics=(_PUT, _GET, KILLED, CLOSED, _RSS, _OPENED, DISK),
        steps=(fill, open_killed, open_closed),
        backlog=count,
        quick=quick,
        rounds=rounds,
    )


SCENARIOS = (
    _backlog("backlog-10k", 10_000, quick=True),
    _backlog("backlog-100k", 100_000, rounds=3),
    _backlog("backlog-1m", 1_000_000, rounds=3),
)
