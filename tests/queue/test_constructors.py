"""Constructors of subclasses: written out, called once more, or with attributes of their own around ours."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import NotDurableWarning
from pqadapters.stdlib import asyncio as aio
from pqadapters.stdlib.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, SimpleQueue
from pqadapters.store import Store

from .background import Background


def test_attributes_that_are_set_before_our_constructor_stay(store: Store) -> None:
    class Named(Queue[int]):
        def __init__(self) -> None:
            self.name = "mine"
            self.close = "mine, too"  # type: ignore[assignment, method-assign]
            super().__init__(store=store, name="jobs")

    q = Named()
    q.put(1)
    assert (q.name, vars(q)["close"], q.get()) == ("mine", "mine, too", 1)


@pytest.mark.parametrize("where", ["jobs", b"jobs", Path("jobs"), "sqlite:///jobs.db"], ids=repr)
@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue, aio.Queue, aio.LifoQueue, aio.PriorityQueue])
def test_a_place_that_is_given_as_the_first_argument_is_refused(kind: Any, where: object) -> None:
    """As persist-queue has it. It was a maxsize: a consumer waited in the home for ever, and a put was told that '<='
    isn't supported."""
    with pytest.raises(TypeError, match=r"^maxsize is how many items there may be, not .*jobs.*path=.*store="):
        kind(where)


def test_a_hook_that_is_set_before_the_constructor_runs(tmp_path: Path) -> None:
    class Early(Queue[int]):
        def __init__(self) -> None:
            self._put = self.put_twice  # type: ignore[method-assign]
            super().__init__(path=tmp_path / "q")

        def put_twice(self, item: int) -> None:
            Queue._put(self, item)
            Queue._put(self, item)

    q = Early()
    q.put(1)
    assert [q.get(timeout=1), q.get(timeout=1)] == [1, 1]


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("newer", [False, True])
def test_a_constructor_that_is_written_out(tmp_path: Path, kind: Any, newer: bool) -> None:
    """As in old recipes: what they do without ours was an AttributeError."""

    class Old(kind):  # type: ignore[misc]
        def __init__(self, maxsize: int = 0) -> None:
            self.maxsize = maxsize
            self._init(maxsize)
            self.mutex = threading.Lock()
            self.not_empty = threading.Condition(self.mutex)
            self.not_full = threading.Condition(self.mutex)
            self.all_tasks_done = threading.Condition(self.mutex)
            self.unfinished_tasks = 0
            if newer:
                self.is_shutdown = False

    q = Old(2)
    lock = q.mutex
    with pytest.warns(NotDurableWarning, match="Old has a constructor of its own"):
        q.put(3)
    q.put(1)
    with pytest.raises(Full):
        q.put_nowait(2)
    assert (q.mutex is lock, sorted(q.queue), q.unfinished_tasks) == (True, [1, 3], 2)
    getter = Background(lambda: sorted(q.get() for _ in range(3)))
    q.put(2)
    assert getter.result() == [1, 2, 3]
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    for _ in range(3):
        q.task_done()
    q.join()
    q.close()


def test_what_is_set_before_the_constructor_runs_is_no_constructor() -> None:
    class Early(Queue[int]):
        def __init__(self) -> None:
            self.mutex, self.unfinished_tasks, self.is_shutdown = threading.Lock(), 0, False
            super().__init__(store="memory:")

    q = Early()
    q.put(1)
    assert (q.get(), q._seam.plain, q.mutex is q.not_empty._lock) == (1, True, True)  # type: ignore[attr-defined]


def test_without_any_constructor_it_is_no_queue() -> None:
    with pytest.raises(AttributeError, match="'Queue' object has no attribute 'mutex'"):
        Queue.__new__(Queue).qsize()
    with pytest.raises(AttributeError, match="'Queue' object has no attribute 'queue'"):
        Queue.__new__(Queue).queue  # noqa: B018


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue, SimpleQueue])
def test_a_getattr_that_knows_everything(tmp_path: Path, kind: Any) -> None:
    """Our own attributes were asked of it: an AttributeError of the constructor, or a RecursionError."""

    class Knows(kind):  # type: ignore[misc]
        def __getattr__(self, name: str) -> Any:
            return getattr(self.queue, name)

    class Says(kind):  # type: ignore[misc]
        def __getattr__(self, name: str) -> Any:
            return name

    q: Any
    for number, q in enumerate((Knows(path=tmp_path / "0"), Says(path=tmp_path / "1"))):
        q.put(number)
        assert (q.qsize(), q.get(), Says(store="memory:").other) == (1, number, "other")
    if kind is not SimpleQueue:
        assert Knows(store="memory:").count(1) == 0


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_init_called_once_more_empties(store: Store, kind: Any) -> None:
    q = kind(store=store)
    q.put(1)
    with q.mutex:
        q._init(q.maxsize)
    assert (q.qsize(), q.unfinished_tasks) == (0, 1)
    q.put(2)
    assert q.get() == 2


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_subclass_that_has_other_names_for_its_own(store: Store, kind: Any) -> None:
    """What it called `_notify` was taken for ours: a put stored its item, and was a TypeError then."""

    class Listened(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            self._order, self._container, self._begin = "mine", ["mine"], None
            super().__init__(2, store=store)

        def _notify(self) -> None:
            raise NotImplementedError

        _notify_done = _notify

    q = Listened()
    q.not_empty.waiting = q.not_full.waiting = q.all_tasks_done.waiting = 1  # else there is nobody to notify
    q.put(1)
    q.put(2)
    assert (q.get(), q._order) == (2 if kind is LifoQueue else 1, "mine")
    q.get()
    q.task_done()
    q.task_done()
    assert list(q.queue) == []
