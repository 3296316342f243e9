"""The standard library's `ThreadPoolExecutor`: in memory, and what programs use now."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..contender import Contender, ExecutorHandle, Level, Speed

WORKERS = 4
_GATE = threading.Event()
AT_THE_GATE = threading.Semaphore(0)  #: released by each call that stands there


def no_op() -> None:
    """What is called."""


def wait_at_the_gate() -> None:
    AT_THE_GATE.release()
    _GATE.wait()


def handle_of(executor: Any) -> ExecutorHandle:
    """Of an executor with the standard library's methods."""

    def block() -> None:
        _GATE.clear()
        for _ in range(WORKERS):
            executor.submit(wait_at_the_gate)

    return ExecutorHandle(
        lambda: executor.submit(no_op), lambda future: future.result(), executor.shutdown, block, _GATE.set
    )


CONTENDER = Contender(
    name="stdlib-executor",
    about="concurrent.futures.ThreadPoolExecutor",
    open_executor=lambda directory, level: handle_of(ThreadPoolExecutor(WORKERS)),
    speed={Level.MEMORY: Speed(60_000, 60_000)},
    gets=False,
)
