"""Subclasses: hooks that call ours, hooks that replace ours, attributes of their own."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import ShutDown
from pqadapters.stdlib.queue import Empty, Full, PriorityQueue, Queue
from pqadapters.store import Store

from .background import Background, Watched
from .conftest import Place
from .hooked import Unique, Uppercase, Weighed
from .programs import run


def test_hooks_around_ours_are_durable(place: Place) -> None:
    q = Uppercase(store=place.open())
    q.put("a")
    q.put("b")
    assert q.get() == "A!"
    q.task_done()
    q = Uppercase(store=place.restart())
    assert list(q.queue) == ["B"]
    assert (q.unfinished_tasks, q.get(timeout=5)) == (1, "B!")


def test_hooks_block_time_out_and_wake_as_ever(store: Store) -> None:
    watched = Watched(store)
    q = Uppercase(1, store=watched)
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    getter = Background(q.get)
    watched.settled()
    q.put("a")
    assert getter.result() == "A!"
    q.put("b")
    with pytest.raises(Full):
        q.put("c", timeout=0.01)
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-1)
    putter = Background(lambda: q.put("c"))
    assert q.get() == "B!"
    putter.result()
    assert q.get_many(5) == ["C!"]


def test_a_hooked_get_waits_for_what_another_handle_puts(place: Place) -> None:
    watched = Watched(place.open())
    q = Uppercase(store=watched)
    getter = Background(q.get)
    watched.settled()
    Queue[str](store=place.open()).put("x")
    assert getter.result() == "x!"


def test_a_put_hook_that_raises_leaves_the_queue_intact(store: Store) -> None:
    class Fails(Queue[int]):
        def _put(self, item: int) -> None:
            raise LookupError("no")

    q = Fails(store=store)
    with pytest.raises(LookupError):
        q.put(1)
    assert (q.qsize(), q.unfinished_tasks, q.mutex.locked()) == (0, 0, False)


def test_a_get_hook_that_raises_behind_our_get_gives_the_item_back(store: Store) -> None:
    class Fails(Queue[int]):
        def _get(self) -> int:
            super()._get()
            raise LookupError("no")

    q = Fails(store=store)
    q.put(1)
    q.put(2)
    with pytest.raises(LookupError):
        q.get()
    assert list(q.queue) == [1, 2]
    assert (q.unfinished_tasks, q._line.held.own(), q.mutex.locked()) == (2, {}, False)


def test_a_recipe_that_drops_duplicates_counts_as_by_the_standard_library(store: Store) -> None:
    q = Unique(store=store)
    for item in (1, 2, 1, 1):
        q.put(item)
    assert (q.qsize(), q.unfinished_tasks) == (2, 2)
    for _ in range(2):
        q.get()
        q.task_done()
    q.join()


def test_a_hook_that_drops_without_saying_so_leaves_a_task_as_by_the_standard_library(store: Store) -> None:
    class Drops(Queue[int]):
        def _put(self, item: int) -> None:
            if item:
                super()._put(item)

    q = Drops(store=store)
    q.put(0)
    q.put(1)
    assert (q.qsize(), q.unfinished_tasks) == (1, 2)
    q.get()
    q.task_done()
    q.task_done()
    q.join()


def test_a_size_of_its_own_bounds_the_queue(store: Store) -> None:
    watched = Watched(store)
    q = Weighed(4, store=watched)
    q.put("abc")
    q.put("d")
    with pytest.raises(Full):
        q.put_nowait("e")
    putter = Background(lambda: q.put("e"))
    while not q.not_full.waiting:
        assert putter.thread.is_alive()
    assert q.get() == "abc"
    putter.result()
    assert q.qsize() == 2
    assert not watched.waiting.is_set(), "the store can't know when there is room"


def test_a_hooked_queue_that_holds_more_than_maxsize_takes_no_more(place: Place) -> None:
    Uppercase(store=place.open()).put_many("abc")
    q = Uppercase(2, store=place.restart())
    with pytest.raises(Full):
        q.put_nowait("d")


def test_subclasses_of_put_and_get_work(store: Store) -> None:
    class Tagged(PriorityQueue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            super().put((-item, item), block, timeout)

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return super().get(block, timeout)[1]

    q = Tagged(store=store)
    for i in (1, 3, 2):
        q.put_nowait(i)
    assert [q.get_nowait() for _ in range(3)] == [3, 2, 1]


def test_what_would_go_past_a_hook_is_refused(store: Store) -> None:
    q = Uppercase(store=store)
    q.put("a")
    with pytest.raises(TypeError, match="_get"):
        q.peek()
    with pytest.raises(TypeError, match="_get"), q.lease():
        pass
    assert q.get_nowait() == "A!"


def test_many_go_through_the_hooks_one_by_one(store: Store) -> None:
    q = Uppercase(store=store)
    q.put_many("abc")
    assert q.get_many(2) == ["A!", "B!"]
    assert q.get_many(2) == ["C!"]


def test_the_classes_are_the_standard_librarys_subclasses_with_its_names() -> None:
    import pqadapters.stdlib.queue as ours

    for name in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"):
        kind = getattr(ours, name)
        assert issubclass(kind, getattr(queue, name))
        assert (kind.__name__, kind.__module__.partition(".")[0]) == (name, "pqadapters")
    assert issubclass(ours.LifoQueue, ours.Queue)
    assert repr(ours.Queue[int]).endswith("Queue[int]")


def test_a_shutdown_reaches_a_hooked_put_and_get(store: Store) -> None:
    q = Uppercase(1, store=store)
    q.put("a")
    start = threading.Barrier(2)
    putter = Background(lambda: (start.wait(), q.put("b")))
    start.wait()
    q.shutdown()
    with pytest.raises(ShutDown):
        putter.result()
    assert q.get() == "A!"
    with pytest.raises(ShutDown):
        q.get()


def test_a_hooked_queue_may_be_what_the_log_goes_to(tmp_path: Path) -> None:
    """What the queue itself says is put into it, behind the put that it is about."""
    program = """
    import logging, logging.handlers
    class Lines(Queue):
        def _put(self, item): super()._put(item)
        def _get(self): return super()._get()
    lines = Lines()
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.handlers.QueueHandler(lines))
    logging.info("mine")
    found = [lines.get().getMessage() for _ in range(lines.qsize())]
    print(found[0], len(found) > 1)
    """
    assert run(program, tmp_path) == ("mine True", "")


def test_empty_and_full_ask_no_qsize_of_a_subclass(store: Store) -> None:
    """As the standard library's: one that asks them was a RecursionError."""

    class Weighed(Queue[int]):
        def qsize(self) -> int:
            return 0 if self.empty() else sum(self.queue)

    q = Weighed(3, store=store)
    assert (q.empty(), q.full(), q.qsize()) == (True, False, 0)
    q.put(7)
    assert (q.empty(), q.full(), q.qsize()) == (False, False, 7)
    q.get()
    assert (q.empty(), q.qsize()) == (True, 0)
