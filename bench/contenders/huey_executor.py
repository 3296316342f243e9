"""huey: a task, its consumer's threads in the same process, and results polled every millisecond at most."""

from __future__ import annotations

import os
from typing import Any

from ..contender import Contender, ExecutorHandle, Level, Speed
from .stdlib_executor import WORKERS

_POLL = 0.001  # seconds; its own default is a tenth of a second, and more with each look


def open_executor(directory: str, level: Level) -> ExecutorHandle:
    from huey import SqliteHuey

    huey: Any = SqliteHuey(filename=os.path.join(directory, "huey.db"), fsync=level is Level.POWER, results=True)

    @huey.task()  # type: ignore[untyped-decorator, unused-ignore]
    def no_op() -> int:
        return 1  # a result of None is none to it

    consumer = huey.create_consumer(workers=WORKERS, periodic=False, initial_delay=_POLL, max_delay=_POLL)
    consumer.start()
    return ExecutorHandle(no_op, lambda result: result.get(blocking=True, max_delay=_POLL), consumer.stop)


CONTENDER = Contender(
    name="huey-consumer",
    about="huey.SqliteHuey and the threads of its consumer",
    open_executor=open_executor,
    speed={Level.PROCESS: Speed(400, 400), Level.POWER: Speed(200, 200)},
    package="huey",
    modules=("huey",),
    gets=False,
)
