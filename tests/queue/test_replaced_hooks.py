"""Hooks that a program replaces in one queue, or in its class, while others wait."""

from __future__ import annotations

from pathlib import Path
from types import MethodType
from typing import Any

import pytest

from pqadapters.errors import ShutDown
from pqadapters.stdlib.queue import LifoQueue, PriorityQueue, Queue
from pqadapters.store import Store

from .background import PATIENCE, Background, Watched
from .hooked import Uppercase


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_hook_that_is_replaced_in_one_queue(tmp_path: Path, kind: Any) -> None:
    """As programs do that wait for several queues; it was never called."""
    q, other, seen = kind(path=tmp_path / "q"), kind(path=tmp_path / "other"), []
    before = q._put

    def put(self: Any, item: int) -> None:
        assert self.mutex.locked()
        before(item)
        seen.append(item)

    q._put = MethodType(put, q)
    q.put(1)
    q.put_many([2, 3])
    other.put(0)
    assert seen == [1, 2, 3]
    q._put = before
    q.put(4)
    assert seen == [1, 2, 3]
    assert sorted(q.get() for _ in range(4)) == [1, 2, 3, 4]
    assert q._seam.plain is (kind is not PriorityQueue)


def test_other_hooks_that_are_replaced_in_one_queue(tmp_path: Path) -> None:
    q: Any = Queue(maxsize=1, path=tmp_path / "q")
    q._get, q._qsize = (lambda get=q._get: (get(), "got")), lambda: 0
    q.put(1)
    q.put(2)
    assert q.qsize() == 0
    del q._qsize
    assert q.qsize() == 2
    assert q.get() == (1, "got")
    with pytest.raises(AttributeError):
        del q._qsize
    del q._get
    assert q.get() == 2


def break_off(q: Any) -> None:
    """As beets ends its pipelines: a queue that is never empty or full from now on, and gives nothing but None."""
    with q.mutex:
        q._qsize, q._put, q._get = lambda: 1, lambda item: None, lambda: None
        q.not_empty.notify_all()
        q.not_full.notify_all()


@pytest.mark.parametrize("kind", [Queue, PriorityQueue, Uppercase])
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_hooks_that_are_replaced_while_somebody_waits_for_an_item(store: Store, kind: Any, timeout: Any) -> None:
    """It waited for an item that nobody would put any more."""
    watched = Watched(store)
    q = kind(store=watched)
    getter = Background(lambda: q.get(timeout=timeout))
    watched.settled()
    break_off(q)
    assert getter.result() is None


@pytest.mark.parametrize("kind", [Queue, PriorityQueue, Uppercase])
def test_hooks_that_are_replaced_while_somebody_waits_for_room(store: Store, kind: Any) -> None:
    watched = Watched(store)
    q = kind(2, store=watched)
    q.put_many(["a", "b"])
    putters = [Background(lambda: q.put("c"))]
    watched.settled()
    watched.waiting.clear()
    if kind is not Uppercase:  # whose hooks get items one by one
        putters.append(Background(lambda: q.put_many(["d", "e"])))
        watched.settled()
    break_off(q)
    for putter in putters:
        putter.result()
    del q._qsize
    assert q.qsize() == 2


@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
def test_a_hook_that_comes_and_goes_ends_no_wait(store: Store, kind: Any) -> None:
    watched, seen = Watched(store), []
    q: Any = kind(1, store=watched)
    before = q._put
    for _ in range(2):
        watched.waiting.clear()
        getter = Background(q.get)
        watched.settled()
        q._put = lambda item: (seen.append(item), before(item))
        del q._put
        q._get = lambda get=q._get: ("got", get())
        q.put(1)
        assert getter.result() == ("got", 1)
        del q._get
    assert seen == []
    q.put(2)
    watched.waiting.clear()
    putter = Background(lambda: q.put(3))
    watched.settled()
    q._put = lambda item: (seen.append(item), before(item))
    assert q.get() == 2
    putter.result()
    assert (seen, q.get()) == ([3], 3)
    q.shutdown()
    del q._put
    with pytest.raises(ShutDown):
        q.put(4)
    with pytest.raises(ShutDown):
        q.get()


@pytest.mark.parametrize("hooked", [False, True])
def test_a_shutdown_behind_a_replaced_hook_ends_a_wait(store: Store, hooked: bool) -> None:
    watched = Watched(store)
    q: Any = Queue(store=watched)
    q._get = q._get.__func__.__get__(q) if hooked else (lambda: 0)
    if not hooked:
        del q._get
    getter = Background(q.get)
    watched.settled()
    q.shutdown()
    with pytest.raises(ShutDown):
        getter.result()


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_hook_that_is_replaced_in_the_class(tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs do that trace what is put; it was never called."""
    seen, before = [], Queue._put

    def put(self: Any, item: int) -> None:
        seen.append(item)
        before(self, item)

    monkeypatch.setattr(Queue, "_put", put)
    q = kind(path=tmp_path / "q")
    q.put(1)
    monkeypatch.undo()
    q.put(2)
    assert (seen, q.qsize(), kind(path=tmp_path / "other")._seam.hooked) == ([1], 2, False)
