"""pqadapters' `ThreadPoolExecutor` on a path, with its defaults but for the durability."""

from __future__ import annotations

import os
from typing import Any

from ..contender import Contender, ExecutorHandle, Level, Speed
from . import OUR_EXECUTOR
from .stdlib_executor import WORKERS, handle_of, no_op


def _open(directory: str, level: Level, **options: Any) -> Any:
    from pqadapters.concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(WORKERS, path=os.path.join(directory, "jobs"), durability=level.value, **options)


def open_executor(directory: str, level: Level) -> ExecutorHandle:
    executor = _open(directory, level)
    return handle_of(executor)._replace(leave=lambda: executor.shutdown(wait=False, drain=False))


def left(directory: str, level: Level) -> int:
    executor = _open(directory, level, recover="manual")
    try:
        return sum(job.function.endswith(no_op.__name__) for job in executor.jobs())
    finally:
        executor.shutdown(drain=False)


CONTENDER = Contender(
    name=OUR_EXECUTOR,
    about="concurrent.futures.ThreadPoolExecutor(path=...)",
    open_executor=open_executor,
    left=left,
    speed={Level.PROCESS: Speed(20_000, 20_000), Level.POWER: Speed(500, 500)},
    package="pqadapters",
    modules=("pqadapters",),
    gets=False,
)
