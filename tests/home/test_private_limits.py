"""Bounds of unnamed queues: what earlier runs left is no part of what this one may put."""

from __future__ import annotations

from pathlib import Path
from queue import Full

import pytest

from pqadapters.home.adoption import QUEUE
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Ack
from tests.queue.background import Background

from .world import (
    PATIENCE,
    kill_a_process_that,
    private,
    put,
    ready,
    two_slots,
)


def test_what_earlier_runs_left_is_told_apart_until_all_is_done(place: Path) -> None:
    """A put's limit isn't about that: its program acts as if it had begun with an empty queue."""
    two_slots(place)
    store = private()
    assert store.left == 0
    store.commit(put("new"))
    taken = store.left
    assert 0 < taken < len(ready(store)) - 1 == store.left
    claims = store.claim(QUEUE, limit=99)
    assert store.left == len(claims) - 1
    store.commit(*map(Ack, claims))
    assert store.left == 0
    store.commit(put("newer"))
    assert store.left == 0
    store.close()


def test_a_queue_that_is_filled_before_its_workers_start_and_is_killed(home: Path) -> None:
    def fill() -> Queue[int]:
        q: Queue[int] = Queue(maxsize=5)
        for n in range(5):
            q.put(n, timeout=PATIENCE)
        return q

    for _ in range(3):
        kill_a_process_that(fill)
    q = fill()
    assert [q.get() for _ in range(20)] == [*range(5)] * 4
    assert q.empty()


def bounded() -> Queue[int]:
    """All queues are made here: in one place."""
    return Queue(maxsize=3)


def test_a_look_before_the_workers_start_is_in_no_puts_way(home: Path) -> None:
    """The standard library's queue takes three items here, and so does this one, whatever an earlier run left."""

    def fill(first: int) -> Queue[int]:
        q = bounded()
        for n in range(first, first + 3):
            q.put_nowait(n)
            assert q.qsize() > n - first
        assert q.full()
        with pytest.raises(Full):
            q.put_nowait(99)
        return q

    kill_a_process_that(lambda: fill(0))
    kill_a_process_that(lambda: fill(10))
    q = fill(20)
    assert [q.get() for _ in range(9)] == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    for n in range(3):  # what was taken may be given back, by whomever
        Background(lambda n=n: q.put_nowait(n)).result()  # type: ignore[misc]
    for _ in range(12 - 3):
        q.task_done()
    assert [q.get(), q.get(), q.get()] == [0, 1, 2]
    for _ in range(3):
        q.task_done()
    for n in range(3):  # all was done: the limit is as it says
        q.put_nowait(n)
    with pytest.raises(Full):
        q.put_nowait(99)
    q.close()


class Hooked(Queue[int]):
    def _put(self, item: int) -> None:
        super()._put(item)


@pytest.mark.parametrize("kind", [Queue, Hooked])
def test_full_as_the_first_look_minds_only_what_this_run_has_put(home: Path, kind: type[Queue[int]]) -> None:
    """It compared the limit of before it had taken over what was left with the size of thereafter: full() was True, and
    put_nowait() of a subclass with a hook raised Full."""

    def fill() -> Queue[int]:
        q = kind(maxsize=2)
        if kind is Queue:
            assert not q.full()
        q.put_nowait(1)
        q.put_nowait(2)
        assert q.full()
        return q

    kill_a_process_that(fill)
    assert fill().qsize() == 4


def test_a_bounded_put_that_waits_goes_on_when_there_is_room(home: Path) -> None:
    def fill() -> Queue[int]:
        q = bounded()
        for n in range(3):
            q.put(n, timeout=PATIENCE)
        return q

    kill_a_process_that(fill)
    q = fill()
    waiter = Background(lambda: q.put(3, timeout=PATIENCE))
    assert q.get() == 0
    waiter.result()
    assert q.qsize() == 6
    q.close()
