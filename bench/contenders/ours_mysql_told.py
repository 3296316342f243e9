"""The same, with a task_done() for each item, which is committed when it returns."""

from __future__ import annotations

from functools import partial

from ..contender import Level, Speed
from .ours_mysql import CONTENDER as BY_ITSELF
from .ours_mysql import open_queue

CONTENDER = BY_ITSELF._replace(
    name="pqadapters-mysql-task-done",
    about="the same with task_done()",
    open=partial(open_queue, ack="task_done"),
    speed={Level.POWER: Speed(600, 600)},
)
