"""Subclasses that were written against the standard library, with the import changed: they override what it has with
the signatures that it has, and say of attributes what these are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from typing_extensions import assert_type

from pqadapters.concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pqadapters.logging import handlers
from pqadapters.stdlib import asyncio, multiprocessing, queue, shelve

T = TypeVar("T")


class Counted(queue.Queue[T]):
    queue: set[T]
    unfinished_tasks: int
    is_shutdown: bool

    def _init(self, maxsize: int) -> None:
        self.queue = set()

    def _get(self) -> T:
        return self.queue.pop()

    def task_done(self) -> None:
        super().task_done()


class Sorted(queue.PriorityQueue[tuple[int, T]]):
    def task_done(self) -> None:
        super().task_done()

    def first(self) -> T:
        return self.queue[0][1]


class Stack(queue.LifoQueue[T]):
    queue: list[T]

    def last(self) -> T:
        return self.queue[-1]


class Plain(queue.SimpleQueue[T]):
    def __init__(self) -> None:
        super().__init__()


class Awaited(asyncio.Queue[T]):
    async def get(self) -> T:
        return await super().get()

    def task_done(self) -> None:
        super().task_done()


class Gets(Protocol):
    async def get(self) -> int: ...


async def awaits(gets: Gets, numbers: asyncio.Queue[int], words: asyncio.PriorityQueue[str]) -> tuple[int, str]:
    await awaits(numbers, numbers, words)
    return await asyncio.gather(numbers.get(), words.get())


class Policy(asyncio.DefaultEventLoopPolicy): ...


class Shared(multiprocessing.queues.Queue[T]):
    def get_nowait(self) -> T:
        return super().get_nowait()

    def put_nowait(self, obj: T) -> None:
        super().put_nowait(obj)


class Spawned(multiprocessing.context.SpawnProcess): ...


class Managers(multiprocessing.managers.BaseManager): ...


class Threads(ThreadPoolExecutor):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize)


class Processes(ProcessPoolExecutor):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)


def mapped(threads: ThreadPoolExecutor) -> None:
    assert_type(threads.map(len, ["a"], timeout=1), Iterator[int])
    assert_type(threads.map(len, ["a"], buffersize=2), Iterator[int])
    threads.shutdown(wait="no")  # type: ignore[arg-type]


class Handler(handlers.QueueHandler):
    listener: handlers.QueueListener | None

    def flush(self) -> None:
        super().flush()


class Listener(handlers.QueueListener):
    def stop(self) -> None:
        super().stop()

    def first(self) -> logging.Handler:
        return self.handlers[0]


class Rotating(handlers.RotatingFileHandler):
    def doRollover(self) -> None:
        super().doRollover()


def the_standard_librarys(handler: handlers.TimedRotatingFileHandler) -> int:
    return handler.backupCount + handlers.DEFAULT_TCP_LOGGING_PORT


def number(numbers: shelve.DbfilenameShelf[int]) -> int:
    assert_type(numbers.get("a"), "int | None")
    assert_type(numbers.pop("a", None), "int | None")
    assert_type(numbers.setdefault("a", 1), int)
    assert_type(numbers.get("a", default=0.5), "int | float")
    return numbers.get("a", 0)
