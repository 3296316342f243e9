"""Unnamed queues of each kind over their private store, and at the end of their process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import StoreClosed
from pqadapters.home.adoption import QUEUE
from pqadapters.home.private import PrivateStore
from pqadapters.stdlib.queue import LifoQueue, PriorityQueue, Queue
from pqadapters.store import Put

from .test_private_limits import bounded
from .world import (
    Child,
    child,
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Queue, [3, 1, 2, 30, 10, 20, 5]),
        (LifoQueue, [5, 20, 10, 30, 2, 1, 3]),
        (PriorityQueue, [1, 2, 3, 5, 10, 20, 30]),
    ],
)
def test_queues_of_each_kind_find_what_was_left_in_their_order(home: Path, kind: Any, expected: list[int]) -> None:
    def fill(*numbers: int) -> Any:
        q = kind()
        for number in numbers:
            q.put(number)
        return q

    def fill_and_wait(me: Child, *numbers: int) -> None:
        q = fill(*numbers)
        me.say(q.name)
        me.hear()

    with child(lambda me: fill_and_wait(me, 3, 1, 2)) as first:
        assert first.hear() == "default"
        with child(lambda me: fill_and_wait(me, 30, 10, 20)) as second:
            assert second.hear() == "default"
    q = fill(5)
    assert [q.get() for _ in range(7)] == expected
    assert q.empty()


def test_whoever_comes_late_to_a_closed_queue_does_not_come_to_the_next_one(home: Path) -> None:
    """Its slot may be another queue's by then."""

    def used() -> Any:
        q = bounded()
        q.put(1)
        q.get()
        q.task_done()
        view = q.queue
        q.close()
        return view

    used()
    view = used()
    q = bounded()
    q.put(2)
    with pytest.raises(StoreClosed):
        view.clear()
    assert q.qsize() == 1
    q.close()


def test_what_a_dropped_queue_leaves_is_given_to_no_other_live_process(home: Path) -> None:
    """A worker's first request was given what another worker's first one had left, which was over."""

    def handle(request: str) -> tuple[str, int]:
        q: Queue[str] = Queue()
        q.put_many([request, f"{request}, over"])
        return q.get(), len(list(q.dead_letters()))

    def work(me: Child) -> None:
        for request in ("first", "second"):
            me.say(str(handle(request)))
            me.hear()

    with child(work) as other:
        assert other.hear() == "('first', 0)"
        assert handle("mine") == ("mine", 0)
        other.say("go on")
        assert other.hear() == "('second', 1)"


def test_what_a_dropped_queue_left_is_there_in_the_next_run(home: Path, restart: Callable[[], None]) -> None:
    def main(*items: str) -> list[str]:
        q: Queue[str] = Queue()
        q.put_many(items)
        return [] if items else [q.get() for _ in range(q.qsize())]

    main("one", "two")
    restart()
    assert main() == ["one", "two"]


def _emptied() -> tuple[Queue[int], PrivateStore, str]:
    """A queue that was used and has nothing in it, its store, and its slot."""
    q = bounded()
    q.put(1)
    q.get()
    q.task_done()
    private_store = q._line.private
    assert private_store is not None
    return q, private_store, q.stats()["place"]


def test_a_queue_that_was_put_down_at_the_end_of_the_process_may_be_used_again(home: Path) -> None:
    """By a handler of the program's own that comes behind ours."""
    q, private_store, place = _emptied()
    private_store.put_down()
    assert not os.path.exists(place)
    q.put(2)
    assert q.qsize() == 1
    private_store.put_down()
    assert os.path.exists(q.stats()["place"]), "there is something in it"
    assert q.get() == 2
    q.task_done()
    q.close()


def test_what_a_daemon_thread_puts_right_at_the_end_of_the_process_is_kept(home: Path) -> None:
    """Between the look, whether the slot is empty, and its removal: it went with the slot, behind put()'s return."""
    q, private_store, place = _emptied()
    holds, looks = private_store._holds, []

    def look(slot: Any) -> bool:
        looks.append(holds(slot))
        if len(looks) == 1:
            q.put(2)
        return looks[-1]

    private_store._holds = look  # type: ignore[method-assign]
    private_store.put_down()
    assert looks == [False, True]
    assert os.path.exists(place)
    assert q.get() == 2
    q.task_done()
    q.close()


def test_what_a_thread_puts_right_as_its_queue_is_closed_is_kept(home: Path) -> None:
    """It had come to the store before. Likewise."""
    q, private_store, place = _emptied()
    holds, looks = private_store._holds, []

    def look(slot: Any) -> bool:
        looks.append(holds(slot))
        if len(looks) == 1:
            slot.store.commit(Put(QUEUE, b"late"))
        return looks[-1]

    private_store._holds = look  # type: ignore[method-assign]
    q.close()
    assert looks == [False, True]
    assert os.path.exists(place)
