"""Locks and conditions of the program's own in the place of the standard library's."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib.queue import LifoQueue, PriorityQueue, Queue
from pqadapters.store import Store

from .background import Background, Watched
from .conftest import Place


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("others", [False, True])
def test_locks_of_the_programs_own(place: Place, kind: Any, others: bool) -> None:
    """A put stored the item, and was an AttributeError then."""
    q = kind(store=place.open())
    q.mutex = threading.RLock()
    if others:
        for name in ("not_empty", "not_full", "all_tasks_done"):
            setattr(q, name, threading.Condition(q.mutex))
    with q.mutex:
        q.put_many([1, 2])
        assert (q.get(), q.qsize(), q.unfinished_tasks) == (2 if kind is LifoQueue else 1, 1, 2)
    q.task_done()
    q.unfinished_tasks += 1
    assert q.unfinished_tasks == 2
    q.unfinished_tasks -= 1
    getter = Background(lambda: (q.get(), q.get()))
    q.put(3)
    getter.result()
    q.close()
    assert sorted(kind(store=place.restart()).queue) == ([1, 3] if kind is LifoQueue else [2, 3])


def test_conditions_of_the_programs_own_are_notified(tmp_path: Path) -> None:
    q: Any = Queue(path=tmp_path / "q")
    q.mutex, entered = threading.RLock(), threading.Semaphore(0)
    for name in ("not_empty", "not_full", "all_tasks_done"):
        setattr(q, name, threading.Condition(q.mutex))

    def await_(condition: threading.Condition, there: Any) -> None:
        with condition:
            entered.release()
            assert condition.wait_for(there, timeout=30)

    getter = Background(lambda: await_(q.not_empty, q.qsize))
    assert entered.acquire(timeout=30)
    q.put(1)
    getter.result()
    q.maxsize = 1
    putter = Background(lambda: await_(q.not_full, q.empty))
    joiner = Background(lambda: await_(q.all_tasks_done, lambda: not q.unfinished_tasks))
    assert entered.acquire(timeout=30)
    assert entered.acquire(timeout=30)
    assert q.get() == 1
    q.task_done()
    putter.result()
    joiner.result()
    q.shutdown()


def test_a_put_with_the_programs_own_lock_held_waits_without_it(store: Store) -> None:
    watched = Watched(store)
    q: Any = Queue(1, store=watched)
    q.mutex = threading.RLock()
    for name in ("not_empty", "not_full", "all_tasks_done"):
        setattr(q, name, threading.Condition(q.mutex))

    def put() -> None:
        with q.mutex:
            q.put(2)

    q.put(1)
    putter = Background(put)
    watched.settled()
    assert Background(q.get).result() == 1
    putter.result()
    assert q.get() == 2
