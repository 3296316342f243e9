"""What each put and get reads has no more attributes than CPython keeps beside the object: with one more each of them
is looked for in a dictionary (SHARED_KEYS_MAX_SIZE in CPython's Objects/dictobject.c)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib import asyncio as aio
from pqadapters.stdlib import multiprocessing, queue
from pqadapters.store import Store
from pqadapters.stores.segment.store import SegmentStore
from pqadapters.stores.sqlite.store import SqliteStore

_INLINE = 30


@pytest.fixture(params=["path", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Any = SegmentStore(tmp_path / "q") if request.param == "path" else SqliteStore(tmp_path / "q.db")
    with closing(made):
        yield made


def _counts(*objects: object) -> dict[str, int]:
    return {type(each).__name__: len(vars(each)) for each in objects}


@pytest.mark.parametrize("kind", [queue.Queue, queue.PriorityQueue, queue.SimpleQueue])
def test_those_of_a_queue_and_its_store(kind: Any, store: Any) -> None:
    with closing(kind(store=store)) as q:
        q.put("x")
        q.get()
        core = store._core
        inner = core.log if isinstance(store, SegmentStore) else core.writer
        found = _counts(q, q._line, q._line.counts, q._line.held, store, core, inner)
        assert max(found.values()) <= _INLINE, found


def test_those_of_a_queue_of_an_event_loop(store: Store) -> None:
    async def use() -> dict[str, int]:
        q: aio.Queue[str] = aio.Queue(store=store)
        await q.put("x")
        await q.get()
        return _counts(q, q._line)

    found = asyncio.run(use())
    assert max(found.values()) <= _INLINE, found


def test_those_of_a_queue_between_processes(tmp_path: Path) -> None:
    q: multiprocessing.JoinableQueue[str] = multiprocessing.JoinableQueue(store=f"sqlite:///{tmp_path / 'q.db'}")
    q.put("x")
    q.get()
    found = _counts(q, q._line)
    q.close()
    assert max(found.values()) <= _INLINE, found
