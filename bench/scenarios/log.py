"""Log records: what a call costs the program, alone and with others, and how fast they come out again."""

from __future__ import annotations

import os
import threading
from time import perf_counter

from ..contender import Contender, Kind, Level, LogHandle
from ..contenders import OUR_LOG
from ..scenario import Job, Metric, Report, Scenario

_MESSAGE, _NAME = "user %s did %d", "ann"
_EMIT = Metric("emit", "records/s")
_DRAIN = Metric("drain", "records/s")
_RATIO = Metric("drain by emit", "times")


def _opened(contender: Contender, job: Job) -> LogHandle:
    assert contender.open_log is not None, "rounds.entries() gives loggers only"
    return contender.open_log(job.directory, Level(job.level))


def _log(handle: LogHandle, count: int) -> float:
    """Seconds to log so many."""
    info = handle.info
    begun = perf_counter()
    for number in range(count):
        info(_MESSAGE, _NAME, number)
    return perf_counter() - begun


def emit(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """From one thread, or from several. The process ends without more: some would deliver for long."""
    handle = _opened(contender, job)
    if scenario.threads == 1:
        took = _log(handle, job.operations)
    else:
        took = _from_threads(scenario.threads, handle, job.operations)
    report({_EMIT.name: job.operations / took})
    os._exit(0)


def _from_threads(threads: int, handle: LogHandle, count: int) -> float:
    barrier = threading.Barrier(threads + 1)

    def work() -> None:
        barrier.wait()
        _log(handle, count // threads)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    begun = perf_counter()
    for worker in workers:
        worker.join()
    return perf_counter() - begun


def drain(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """What one thread has logged is delivered to a sink that does nothing."""
    handle = _opened(contender, job)
    emitted = job.operations / _log(handle, job.operations)
    begun = perf_counter()
    handle.drain()
    drained = job.operations / (perf_counter() - begun)
    report({_DRAIN.name: drained, _RATIO.name: drained / emitted})
    handle.close()


_ONE = Scenario(
    name="log-emit",
    about="a log call with two arguments",
    level=Level.PROCESS,
    floor="stdlib-logging",
    metrics=(_EMIT,),
    steps=(emit,),
    kind=Kind.LOGGING,
    puts_only=True,
    ours=OUR_LOG,
    floor_metric=_EMIT.name,
)
SCENARIOS = (
    _ONE,
    _ONE._replace(name="log-emit-4", about="log calls from 4 threads", threads=4),
    _ONE._replace(
        name="log-drain",
        about="what was logged comes out again, into a sink that does nothing",
        metrics=(_DRAIN, _RATIO),
        steps=(drain,),
        puts_only=False,
        floor_metric=_DRAIN.name,
    ),
)
