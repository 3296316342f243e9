"""shutdown(), on every Python."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from pqadapters.errors import StoreClosed
from pqadapters.stdlib.queue import PriorityQueue, Queue, ShutDown
from pqadapters.store import Store

from .background import Background, Watched
from .conftest import Place


def test_gets_drain_and_then_raise(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(2))
    assert not q.is_shutdown
    q.shutdown()
    assert q.is_shutdown
    with pytest.raises(ShutDown, match="'default'"):
        q.put(3)
    with pytest.raises(ShutDown):
        q.put_many([3, 4])
    assert [q.get(), q.get(timeout=1)] == [0, 1]
    for call in (q.get, q.get_nowait, lambda: q.get(timeout=-1), lambda: q.get_many(2)):
        with pytest.raises(ShutDown):
            call()


def test_one_that_is_taken_back(store: Store) -> None:
    """`is_shutdown` is an attribute there, which a program may set."""
    q: Queue[int] = Queue(store=store)
    q.shutdown()
    q.is_shutdown = False
    q.put(1)
    assert q.get() == 1
    q.close()
    q.is_shutdown = False
    with pytest.raises(StoreClosed):
        q.put(1)


def test_a_flag_of_the_programs_own(store: Store) -> None:
    """Before Python 3.13 the name is free, and a put behind it raised ShutDown."""
    q: Queue[int] = Queue(store=store)
    q.is_shutdown = True
    if sys.version_info < (3, 13):
        q.put(1)
        assert (q.is_shutdown, q.get()) == (True, 1)
    q.shutdown()
    with pytest.raises(ShutDown):
        q.put(1)
    q.is_shutdown = False
    assert not q.is_shutdown
    q.put(1)


def test_an_immediate_one_empties_the_view_and_never_the_disk(place: Place) -> None:
    q: Queue[int] = Queue(2, store=place.open())
    q.put_many(range(2))
    q.get()
    q.put(2)
    q.shutdown(immediate=True)
    assert (q.qsize(), q.empty(), q.full(), q.unfinished_tasks, list(q.queue)) == (0, True, False, 1, [])
    with pytest.raises(ShutDown):
        q.get()
    q.queue.clear()
    q.task_done()
    q.join()
    assert list(Queue(store=place.restart()).queue) == [1, 2]


@pytest.mark.parametrize("immediate", [False, True])
def test_who_waits_in_get_wakes(store: Store, immediate: bool) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched)
    getter = Background(q.get)
    watched.settled()
    q.shutdown(immediate)
    with pytest.raises(ShutDown):
        getter.result()


@pytest.mark.parametrize("immediate", [False, True])
def test_who_waits_in_put_wakes(store: Store, immediate: bool) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(1, store=watched)
    q.put(1)
    putter = Background(lambda: q.put(2))
    watched.settled()
    q.shutdown(immediate)
    with pytest.raises(ShutDown):
        putter.result()


def test_who_waits_in_join_wakes(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched)
    q.put(1)
    joiner = Background(q.join)
    watched.settled()
    q.shutdown(immediate=True)
    joiner.result()


@pytest.mark.exclusive
def test_who_waits_in_a_priority_queue_ordered_in_memory_wakes(store: Store) -> None:
    watched = Watched(store)
    q: PriorityQueue[Any] = PriorityQueue(store=watched)
    q.put({})  # nothing ranks a dict
    q.get()
    getter = Background(q.get)
    watched.settled()
    q.shutdown()
    with pytest.raises(ShutDown):
        getter.result()


def test_no_put_succeeds_after_shutdown_returned(place: Place) -> None:
    """A put is under way while shutdown() returns; its commit sees that, under the store's lock."""
    q: Queue[Any] = Queue(store=place.open())
    encoding, go_on = threading.Event(), threading.Event()

    class Slow:
        def __reduce__(self) -> Any:
            encoding.set()
            go_on.wait()
            return (int, (1,))

    putter = Background(lambda: q.put(Slow()))
    encoding.wait()
    q.shutdown()
    go_on.set()
    with pytest.raises(ShutDown):
        putter.result()
    assert Queue(store=place.restart()).empty()


def test_another_handle_is_not_shut_down(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    other: Queue[int] = Queue(store=place.open())
    q.shutdown(immediate=True)
    other.put(1)
    assert other.get() == 1


def test_allowed_transitions(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put(1)
    q.shutdown()
    q.shutdown(immediate=True)
    q.shutdown()
    assert q.qsize() == 0


def test_what_a_closed_queue_held_is_ready_in_a_store_that_stays_open(store: Store) -> None:
    q: Queue[int] = Queue(store=store, ack="task_done")
    q.put_many(range(3))
    assert q.get_many(2) == [0, 1]
    q.close()
    assert store.depth(q.name)[:3] == (3, 0, 0)
