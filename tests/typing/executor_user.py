"""A program written against `concurrent.futures`, with the import changed; each ignored line must be an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from typing_extensions import assert_type

from pqadapters.concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed

T = TypeVar("T")


def add(a: int, b: int = 2) -> int:
    return a + b


def unchanged(threads: ThreadPoolExecutor, processes: ProcessPoolExecutor) -> int:
    assert_type(threads.submit(add, 1, b=2), Future[int])
    assert_type(processes.map(add, [1, 2]), Iterator[int])
    threads.submit(add, "1")  # type: ignore[arg-type]
    by_future: dict[Future[int], str] = {threads.submit(add, 1): "one"}
    for future in as_completed(by_future):
        assert_type(future.result(timeout=1), int)
    executor: Executor = threads
    return processes.submit(add, 1).result() + executor.submit(add, 1).result()


class Logged(ThreadPoolExecutor):
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return super().submit(fn, *args, **kwargs)
