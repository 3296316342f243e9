"""`q.queue`: the live view of what is ready."""

from __future__ import annotations

from typing import Any

import pytest

from pqadapters.errors import DiskError
from pqadapters.stdlib.queue import LifoQueue, PriorityQueue, Queue
from pqadapters.store import Put, Store

from .conftest import Place


def test_it_looks_like_the_standard_librarys_container(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put_many("abc")
    view = q.queue
    assert (len(view), list(view), list(reversed(view)), bool(view)) == (3, list("abc"), list("cba"), True)
    assert (view[0], view[1], view[-1], view[-3]) == ("a", "b", "c", "a")
    assert "b" in view
    assert "x" not in view
    for index in (3, -4):
        with pytest.raises(IndexError):
            view[index]
    assert "['a', 'b', 'c']" in repr(view)
    assert view == q.queue


def test_it_is_live(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    view = q.queue
    q.put(1)
    assert list(view) == [1]
    q.get()
    assert not view


def test_a_stacks_last_is_the_next_to_leave(store: Store) -> None:
    q: LifoQueue[str] = LifoQueue(store=store)
    q.put_many("abc")
    assert (list(q.queue), q.queue[-1], q.queue.pop(), q.get()) == (["a", "b", "c"], "c", "c", "b")


def test_a_priority_queues_first_is_the_next_to_leave(store: Store) -> None:
    q: PriorityQueue[int] = PriorityQueue(store=store)
    q.put_many([3, 1, 2])
    assert (q.queue[0], q.queue[-1], list(q.queue), list(reversed(q.queue))) == (1, 3, [1, 2, 3], [3, 2, 1])
    assert q.queue.pop() == 1


def test_clear_drops_what_is_ready_for_good(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    q.get()
    with q.mutex:
        q.queue.clear()
    assert (q.qsize(), q.unfinished_tasks) == (0, 1)
    assert list(Queue(store=place.restart()).queue) == [0]


def test_append_and_popleft_are_durable(place: Place) -> None:
    q: Queue[int] = Queue(1, store=place.open())
    with q.mutex:
        q.queue.append(1)
        q.queue.append(2)
    assert q.queue.popleft() == 1
    q.task_done()
    q = Queue(store=place.restart())
    assert list(q.queue) == [2]
    q.queue.pop()
    with pytest.raises(IndexError):
        q.queue.pop()
    with pytest.raises(IndexError):
        q.queue.popleft()


def test_remove_drops_one_equal_item(place: Place) -> None:
    q: Queue[str] = Queue(store=place.open())
    q.put_many("abab")
    q.queue.remove("b")
    with pytest.raises(ValueError, match="'x' is not in"):
        q.queue.remove("x")
    assert list(Queue(store=place.restart()).queue) == ["a", "a", "b"]


def test_assigning_to_it_replaces_what_is_ready(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    q.queue = [7, 8]
    assert [q.get(), q.get(), q.qsize()] == [7, 8, 0]


def test_what_cannot_be_decoded_is_passed_over(store: Store) -> None:
    q: Queue[Any] = Queue(store=store)
    q.put(1)
    store.commit(Put("default", b"no pickle"))
    q.put(2)
    assert list(q.queue) == [1, 2]
    assert q.peek() == 1


def test_a_clear_that_fails_gives_everything_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    commit = q._line.commit

    def full(*ops: Any, **options: Any) -> Any:
        if len(ops) > 1:
            raise DiskError(28, "disk full")
        return commit(*ops, **options)

    q._line.commit = full
    with pytest.raises(OSError, match="disk full"):
        q.queue.clear()
    assert list(q.queue) == [0, 1, 2]
