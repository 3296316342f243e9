"""Items in and out: order, room, timeouts, what can't be stored."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

import pytest

from pqadapters.errors import NotSerializable, StoreClosed
from pqadapters.stdlib.queue import Empty, Full, LifoQueue, Queue
from pqadapters.store import LOCK_TIMEOUT, Put, Store

from .background import Background, Watched
from .conftest import Place


def test_items_come_back_in_order_and_as_copies(store: Store) -> None:
    q: Queue[Any] = Queue(store=store)
    item = {"pqid": 1}
    q.put(item)
    q.put(None)
    assert (got := q.get()) == item
    assert got is not item
    assert q.get() is None


def test_what_was_put_is_there_after_a_restart(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    for i in range(3):
        q.put(i)
    again: Queue[int] = Queue(store=place.restart())
    assert [again.get() for _ in range(3)] == [0, 1, 2]


def test_a_stack_serves_the_newest_even_after_a_restart(place: Place) -> None:
    q: LifoQueue[str] = LifoQueue(store=place.open())
    q.put_many("abc")
    assert q.get() == "c"
    again: LifoQueue[str] = LifoQueue(store=place.restart())
    assert [again.get() for _ in range(3)] == ["c", "b", "a"]


def test_a_full_queue_refuses_and_takes_nothing(store: Store) -> None:
    q: Queue[int] = Queue(2, store=store)
    q.put(1)
    q.put(2)
    with pytest.raises(queue.Full):
        q.put_nowait(3)
    with pytest.raises(Full):
        q.put(3, timeout=0)
    assert q.full()
    assert list(q.queue) == [1, 2]


def test_timeouts_end_while_a_test_has_stopped_the_clock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As freezegun does: they never ended, while the standard library's do. Nor was an item ready behind its delay."""
    q: Queue[int] = Queue(1, store=store)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    q.put(1)
    with pytest.raises(Full):
        q.put(2, timeout=0.01)
    q.nack(q.get(), delay=0.01)
    assert q.get() == 1


def test_a_queue_that_was_reopened_with_more_than_maxsize_takes_no_more(place: Place) -> None:
    Queue[int](store=place.open()).put_many(range(5))
    q: Queue[int] = Queue(3, store=place.restart())
    with pytest.raises(Full):
        q.put_nowait(6)
    q.get()
    with pytest.raises(Full):
        q.put_nowait(6)
    assert q.qsize() == 4


def test_maxsize_counts_ready_items_alone(store: Store) -> None:
    q: Queue[int] = Queue(1, store=store)
    q.put(1)
    q.get()
    q.put_nowait(2)


def test_maxsize_may_change_at_run_time(store: Store) -> None:
    q: Queue[int] = Queue(3, store=store)
    q.put_many([1, 2, 3])
    q.maxsize = 2
    with pytest.raises(Full):
        q.put_nowait(4)
    q.maxsize = 0
    q.put_nowait(4)
    assert not q.full()


def test_a_put_waits_for_room(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(1, store=watched)
    q.put(1)
    putter = Background(lambda: q.put(2))
    watched.settled()
    assert q.get() == 1
    putter.result()
    assert q.get() == 2


def test_a_get_waits_for_an_item_that_another_handle_puts(place: Place) -> None:
    watched = Watched(place.open())
    q: Queue[int] = Queue(store=watched)
    getter = Background(q.get)
    watched.settled()
    Queue[int](store=place.open()).put(7)
    assert getter.result() == 7


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_an_empty_queue_raises_the_standard_librarys_empty(store: Store, timeout: float) -> None:
    q: Queue[int] = Queue(store=store)
    with pytest.raises(queue.Empty):
        q.get(timeout=timeout)
    with pytest.raises(Empty):
        q.get_nowait()
    with pytest.raises(Empty):
        q.get(block=False, timeout=-1)


def test_negative_timeouts_are_refused_as_by_the_standard_library(store: Store) -> None:
    q: Queue[int] = Queue(1, store=store)
    q.put(1)
    for call in (lambda: q.put(2, timeout=-1), lambda: q.get(timeout=-0.5)):
        with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
            call()
    unbounded: Queue[int] = Queue(store=store, name="unbounded")
    unbounded.put(1, timeout=-1)  # as there: without a maxsize nobody looks at it
    assert q.qsize() == unbounded.qsize() == 1


def test_what_cannot_be_serialised_is_named_and_nothing_is_stored(store: Store) -> None:
    q: Queue[Any] = Queue(store=store, name="jobs")
    with pytest.raises(NotSerializable, match=r"'jobs'.*_thread\.lock.*Nothing was stored") as caught:
        q.put(threading.Lock())
    assert isinstance(caught.value, TypeError)
    assert caught.value.__cause__ is not None
    with pytest.raises(NotSerializable):
        q.put_many([1, lambda: None])
    assert (q.qsize(), q.unfinished_tasks) == (0, 0)


def test_a_bare_object_is_refused_with_the_reason(store: Store) -> None:
    q: Queue[object] = Queue(store=store)
    with pytest.raises(NotSerializable, match="come back as another") as refused:
        q.put(object())
    assert q.empty()
    assert ("markers=" in str(refused.value)) == store.capabilities.exclusive  # which nobody else takes


def test_items_are_serialised_before_any_lock(store: Store) -> None:
    q: Queue[Any] = Queue(1, store=store)

    class Looks:
        def __reduce__(self) -> Any:
            assert not q.mutex.locked()
            q.put_nowait("from inside")
            return (int, (7,))

    with pytest.raises(Full):
        q.put_nowait(Looks())
    assert q.get() == "from inside"


def test_serializers_are_chosen_by_name(store: Store) -> None:
    q: Queue[Any] = Queue(store=store, serializer="json")
    q.put({"a": [1, 2]})
    assert next(store.browse("default")).payload.startswith(b"{")
    assert q.get() == {"a": [1, 2]}


def test_two_queues_of_one_store_do_not_meet(store: Store) -> None:
    a: Queue[int] = Queue(store=store, name="a")
    b: Queue[int] = Queue(store=store, name="b")
    a.put(1)
    assert b.empty()


def test_each_item_goes_to_exactly_one_of_many_consumers(store: Store) -> None:
    q: Queue[int] = Queue(5, store=store)
    start = threading.Barrier(6)

    def produce() -> None:
        start.wait()
        for i in range(60):
            q.put(i)

    def consume() -> list[int]:
        start.wait()
        got = []
        for _ in range(60):
            got.append(q.get())
            q.task_done()
        return got

    workers = [Background(consume) for _ in range(3)] + [Background(produce) for _ in range(3)]
    got = [item for each in workers for item in each.result() or []]
    assert sorted(got) == sorted(list(range(60)) * 3)
    assert q.unfinished_tasks == 0


def test_a_closed_queue_says_so(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.close()
    q.close()
    for call in (lambda: q.put(1), q.get, lambda: q.put_many([1, 2])):
        with pytest.raises(StoreClosed):
            call()


def test_a_put_that_has_more_time_than_the_stores_own_waits_so_long_for_the_store(store: Store) -> None:
    class Noting(Watched):
        def commit(self, *ops: Any, **options: Any) -> Any:
            timeouts.append(options.get("timeout"))
            return super().commit(*ops, **options)

    timeouts: list[float | None] = []
    q: Queue[int] = Queue(9, store=Noting(store))
    for timeout in (60.0, LOCK_TIMEOUT - 1, None):
        q.put_many([1, 2], timeout=timeout)
    long, short, none = timeouts
    assert long is not None
    assert LOCK_TIMEOUT < long <= 60.0
    assert (short, none) == (None, None)


def test_closing_wakes_who_waits(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched)
    getter = Background(q.get)
    watched.settled()
    q.close()
    with pytest.raises(StoreClosed):
        getter.result()


def test_the_plain_put_is_one_commit_and_takes_no_mutex(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched, ack="task_done")
    q.put(1)
    q.get()
    q.task_done()
    assert watched.calls == [Put.__name__, "Ack"]
