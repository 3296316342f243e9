"""Containers of the program's own, which keep the items in memory alone."""

from __future__ import annotations

import warnings
from collections import deque
from functools import partial
from typing import Any

import pytest

from pqadapters.errors import NotDurableWarning, ShutDown
from pqadapters.stdlib.queue import Empty, Full, LifoQueue, PriorityQueue, Queue
from pqadapters.store import Store

from .background import Background
from .conftest import Place
from .hooked import Unique, Uppercase, Weighed


class SetQueue(Queue[Any]):
    """The other well-known recipe, with a container of its own."""

    def _init(self, maxsize: int) -> None:
        self.queue = set()

    def _put(self, item: Any) -> None:
        self.queue.add(item)

    def _get(self) -> Any:
        return self.queue.pop()


class AllItsOwn(Queue[Any]):
    """Nothing of ours is left."""

    def _init(self, maxsize: int) -> None:
        self.things: list[Any] = []

    def _qsize(self) -> int:
        return len(self.things)

    def _put(self, item: Any) -> None:
        self.things.append(item)

    def _get(self) -> Any:
        return self.things.pop()


@pytest.mark.parametrize("kind", [SetQueue, AllItsOwn])
def test_a_container_of_its_own_is_served_from_memory_with_a_warning(place: Place, kind: Any) -> None:
    store = place.open()
    with pytest.warns(NotDurableWarning, match=kind.__name__):
        q = kind(2, store=store)
    q.put(1)
    q.put(2)
    with pytest.raises(Full):
        q.put_nowait(3)
    assert (q.qsize(), q.unfinished_tasks, store.depth("default").ready) == (2, 2, 0)
    assert {q.get(), q.get()} == {1, 2}
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    q.task_done()
    q.task_done()
    q.join()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    with pytest.raises(TypeError, match="container of its own"):
        q.dead_letters()
    assert "not durable" in repr(q)
    q.close()


def test_a_queue_in_memory_holds_the_very_objects(store: Store) -> None:
    with pytest.warns(NotDurableWarning):
        q = SetQueue(store=store)
    item = object()
    q.put(item)
    assert q.get() is item


def test_a_queue_in_memory_wakes_and_shuts_down(store: Store) -> None:
    with pytest.warns(NotDurableWarning):
        q = SetQueue(store=store)
    getter = Background(q.get)
    q.put(1)
    assert getter.result() == 1
    q.put(2)
    getter = Background(lambda: (q.get(), q.get()))
    q.shutdown()
    with pytest.raises(ShutDown):
        getter.result()
    with pytest.raises(ShutDown):
        q.put(1)


def test_a_queue_in_memory_is_emptied_by_an_immediate_shutdown(store: Store) -> None:
    with pytest.warns(NotDurableWarning):
        q = SetQueue(store=store)
    q.put(1)
    q.shutdown(immediate=True)
    assert (q.qsize(), q.unfinished_tasks) == (0, 0)
    with pytest.raises(ShutDown):
        q.get()


def test_an_own_container_with_the_hooks_left_alone_is_a_warning_too(store: Store) -> None:
    class Bounded(Queue[int]):
        def _init(self, maxsize: int) -> None:
            self.queue = deque(maxlen=2)

    with pytest.warns(NotDurableWarning):
        q = Bounded(store=store)
    for i in range(3):
        q.put(i)
    assert [q.get(), q.get()] == [1, 2]


def test_a_container_that_is_exchanged_later_with_hooks_is_a_warning_too(store: Store) -> None:
    q = Uppercase(store=store)
    with pytest.warns(NotDurableWarning):
        q.queue = set()


def test_no_warning_where_nothing_is_lost(store: Store) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
        for kind in (Queue, LifoQueue, PriorityQueue, Uppercase, Unique, Weighed):
            kind(store=store)


class Doubling(deque[int]):
    def append(self, item: int) -> None:
        super().append(2 * item)


@pytest.mark.parametrize(("made", "first"), [(partial(deque, maxlen=1), 3), (Doubling, 2)])
def test_a_container_that_does_something_else_is_a_warning_too(store: Store, made: Any, first: int) -> None:
    """As in `q.queue = deque(maxlen=2)`: it was taken for what is in it."""
    q: Queue[int] = Queue(store=store)
    with pytest.warns(NotDurableWarning, match="container of its own"):
        q.queue = made()
    q.put(1)
    q.put(3)
    assert q.get(timeout=5) == first


def test_a_queue_property_is_a_container_of_its_own(store: Store) -> None:
    """What its hooks had put there was never found, as the size was that of the store."""

    class Listed(Queue[int]):
        def _init(self, maxsize: int) -> None:
            self.items: list[int] = []

        @property
        def queue(self) -> Any:
            return self.items

        def _put(self, item: int) -> None:
            self.items.append(item)

        def _get(self) -> int:
            return self.items.pop(0)

    with pytest.warns(NotDurableWarning, match="container of its own"):
        q = Listed(store=store)
    q.put(1)
    q.put(2)
    assert (q.qsize(), q.get(), q.queue) == (2, 1, [2])
