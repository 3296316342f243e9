"""pqadapters' `ThreadPoolExecutor` on a path, with its defaults but for the durability."""

from __future__ import annotations

import os

from ..contender import Contender, ExecutorHandle, Level, Speed
from . import OUR_EXECUTOR
from .stdlib_executor import WORKERS, handle_of


def open_executor(directory: str, level: Level) -> ExecutorHandle:
    from pqadapters.concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(WORKERS, path=os.path.join(directory, "jobs"), durability=level.value)
    return handle_of(executor)._replace(leave=lambda: executor.shutdown(wait=False, drain=False))


CONTENDER = Contender(
    name=OUR_EXECUTOR,
    about="concurrent.futures.ThreadPoolExecutor(path=...)",
    open_executor=open_executor,
    speed={Level.PROCESS: Speed(20_000, 20_000), Level.POWER: Speed(500, 500)},
    package="pqadapters",
    modules=("pqadapters",),
    gets=False,
)
