"""The module takes asyncio's place: its classes and exceptions are asyncio's, the rest of it is passed on."""

from __future__ import annotations

import asyncio
import importlib
import queue as stdlib
from typing import Any
from unittest.mock import AsyncMock, create_autospec

import pytest

from pqadapters.stdlib.asyncio import LifoQueue, PriorityQueue, Queue, QueueEmpty, QueueFull


def test_get_is_a_coroutine_function(url: str) -> None:
    """To those who ask, as `mock.create_autospec` does."""
    assert asyncio.iscoroutinefunction(Queue.get)
    assert asyncio.iscoroutinefunction(Queue(store=url).get)
    assert isinstance(create_autospec(Queue, instance=True).get, AsyncMock)


def test_they_are_asyncios(url: str) -> None:
    for kind in (Queue, LifoQueue, PriorityQueue):
        q: Any = kind(store=url)
        assert isinstance(q, getattr(asyncio, kind.__name__))
        q.close()
    assert QueueEmpty is asyncio.QueueEmpty
    assert QueueFull is asyncio.QueueFull


def test_the_stdlibs_exceptions_are_caught(url: str) -> None:
    q: Any = Queue(store=url)
    with pytest.raises(asyncio.QueueEmpty):
        q.get_nowait()
    assert not issubclass(asyncio.QueueEmpty, stdlib.Empty)
    q.close()


def test_all_of_asyncio_is_there_for_who_imports_all_of_it() -> None:
    """`from asyncio import *` gave `run`, and the same of ours didn't."""
    durable: dict[str, Any] = {}
    exec("from pqadapters.stdlib.asyncio import *", durable)
    assert durable.keys() >= set(asyncio.__all__)
    assert durable["run"] is asyncio.run
    assert durable["Queue"] is Queue


def test_the_module_takes_asyncios_place(url: str) -> None:
    """`from pqadapters.stdlib import asyncio` is the only edit of a program that says `asyncio.run(main())`."""
    module: Any = importlib.import_module("pqadapters.stdlib.asyncio")
    ours = {name for name in asyncio.__all__ if getattr(module, name) is not getattr(asyncio, name)}
    assert ours == {"Queue", "LifoQueue", "PriorityQueue"}
    assert module.subprocess is asyncio.subprocess
    assert not hasattr(module, "__path__")
    with pytest.raises(AttributeError):
        _ = module.no_such_thing

    async def main() -> int:
        q = module.Queue(store=url)
        await module.wait_for(q.put(7), 5)
        found: int = await q.get()
        q.task_done()
        q.close()
        return found

    assert module.run(main()) == 7
