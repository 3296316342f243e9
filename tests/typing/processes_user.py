"""A program written against `multiprocessing`, with the import changed: all of it has the standard library's types."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from pqadapters.stdlib import multiprocessing


def made() -> multiprocessing.Queue[int]:
    found: multiprocessing.Queue[int] = multiprocessing.Queue(3)
    assert_type(found.get(), int)
    return found


def spawned() -> multiprocessing.queues.Queue[int]:
    context = multiprocessing.get_context("spawn")
    assert_type(context.JoinableQueue(), multiprocessing.queues.JoinableQueue[Any])
    return context.Queue()


def chosen(method: str) -> multiprocessing.Queue[int]:
    return multiprocessing.get_context(method).Queue()


def of(context: multiprocessing.context.BaseContext) -> multiprocessing.JoinableQueue[str]:
    assert_type(context.get_context("spawn").cpu_count(), int)
    return context.JoinableQueue()


def is_set(context: multiprocessing.context.BaseContext) -> bool:
    return context.Event().is_set()
