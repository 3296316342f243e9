"""Durable `concurrent.futures`: executors whose backlog survives the process.

`submit` is unchanged, and a job is on disk when it returns. After a crash the next executor of the place runs what was
left, in its order; a job that was begun runs again (at least once; exactly once isn't promised). `Future`, `wait`,
`as_completed` and the exceptions are the standard library's.
"""

from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    TimeoutError,
    as_completed,
    wait,
)

from ._backlog.future import JobFuture
from ._backlog.overview import JobInfo
from ._jobs.errors import JobParked, RemoteError, UnknownJob
from ._jobs.tasks import task
from ._sigterm import finish_on_sigterm
from .process import ProcessPoolExecutor
from .thread import ThreadPoolExecutor

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "JobFuture",
    "JobInfo",
    "JobParked",
    "ProcessPoolExecutor",
    "RemoteError",
    "ThreadPoolExecutor",
    "TimeoutError",
    "UnknownJob",
    "as_completed",
    "finish_on_sigterm",
    "task",
    "wait",
]
