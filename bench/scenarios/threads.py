"""Several threads: producers beside consumers, and producers that share an fdatasync if the queue lets them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty
from time import perf_counter
from typing import Any

from ..contender import Contender, Handle, Level, Threads
from ..scenario import Job, Metric, Report, Scenario, check, items

_POLL = 0.0005  # seconds until a consumer looks again, where the contender's get doesn't wait


def together(work: Sequence[Callable[[], None]]) -> float:
    """Seconds from the moment at which the first thread begins its work to the end of the last one's."""
    barrier = threading.Barrier(len(work))
    spans: list[tuple[float, float]] = []
    errors: list[BaseException] = []

    def run(each: Callable[[], None]) -> None:
        try:
            barrier.wait()
            start = perf_counter()
            each()
            spans.append((start, perf_counter()))
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(each,), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not errors:
        for thread in threads:
            thread.join(0.05)
    if errors:
        raise next((each for each in errors if not isinstance(each, threading.BrokenBarrierError)), errors[0])
    return max(end for _, end in spans) - min(start for start, _ in spans)


class _Opened:
    """A handle for each thread: the same one, or one of its own."""

    def __init__(self, contender: Contender, job: Job) -> None:
        self._contender, self._job = contender, job
        self.first = self._open()

    def _open(self) -> Handle:
        return self._contender.open(self._job.directory, Level(self._job.level))

    def handle(self) -> Handle:
        return self._open() if self._contender.threads is Threads.EACH else self.first


def produce(handle: Handle, count: int, size: int) -> Callable[[], None]:
    given = list(items(count, size))

    def work() -> None:
        for item in given:
            handle.put(item)

    return work


def consume(handle: Handle, count: int) -> Callable[[], None]:
    def work() -> None:
        for _ in range(count):
            handle.done(waited(handle))

    return work


def waited(handle: Handle) -> Any:
    """The next item, however long that takes."""
    while True:
        try:
            return handle.get()
        except Empty:
            time.sleep(_POLL)


def producers_and_consumers(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """Half of the threads put, half of them get and acknowledge."""
    opened, half = _Opened(contender, job), scenario.threads // 2
    each = job.operations // half
    work = [produce(opened.handle(), each, scenario.size) for _ in range(half)]
    work += [consume(opened.handle(), each) for _ in range(half)]
    seconds = together(work)
    check(opened.first, scenario)
    report({"items": each * half / seconds})


def producers(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """All threads put; a bare loop has one."""
    opened = _Opened(contender, job)
    count = 1 if contender.floor else scenario.threads
    each = job.operations // count
    work = [produce(opened.handle(), each, scenario.size) for _ in range(count)]
    report({"put": each * count / together(work)})


SCENARIOS = (
    Scenario(
        name="threads-4-4",
        about="4 producers and 4 consumers, items through",
        level=Level.PROCESS,
        floor="bare-write",
        metrics=(Metric("items", "items/s"), Metric("put", "items/s")),
        steps=(producers_and_consumers,),
        threads=8,
    ),
    Scenario(
        name="producers-16",
        about='16 producers at "power"; the bare loop has one thread',
        level=Level.POWER,
        floor="bare-fdatasync",
        metrics=(Metric("put", "items/s"),),
        steps=(producers,),
        threads=16,
        puts_only=True,
    ),
)
