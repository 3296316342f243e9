"""ack="auto": what a program means by get() is learnt from what it does, stored with the queue, and found again."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pqadapters.errors import DiskError
from pqadapters.stdlib._lines import acks
from pqadapters.stdlib.queue import Queue, SimpleQueue
from pqadapters.store import Ack, Set

from .background import Background, Watched, in_thread
from .conftest import Place

KILLED = -signal.SIGKILL


def left(place: Place) -> list[Any]:
    """What a restart finds."""
    return list(Queue[Any](store=place.restart()).queue)


def learnt(place: Place, **options: Any) -> Any:
    """What the next run knows from the beginning."""
    return Queue[Any](store=place.restart(), **options).stats()["learnt"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four fetches without a task_done() are enough."""
    monkeypatch.setattr(acks, "FETCHES", 4)


def test_until_anything_is_learnt_all_that_was_fetched_comes_again(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(4))
    q.get()
    assert q.get_many(2) == [1, 2]
    assert (q.stats()["ack"], q.stats()["learnt"], q.stats()["claimed"]) == ("auto", None, 3)
    assert left(place) == [0, 1, 2, 3]


def test_the_first_task_done_settles_for_good(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(4))
    q.get()
    q.get()
    q.task_done()
    assert q.stats()["learnt"] == "task_done"
    q.close()
    again: Queue[int] = Queue(store=place.restart())
    assert (again.stats()["learnt"], again.get()) == ("task_done", 1)
    again.close()  # under "auto" this would have been the end of what it holds
    assert left(place) == [1, 2, 3]


def test_task_done_of_an_item_settles_as_well(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(2))
    q.task_done(q.get())
    assert learnt(place) == "task_done"


def test_the_1001st_fetch_settles_on_next(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(1002))
    for _ in range(1000):
        q.get()
    assert (q.stats()["learnt"], q.stats()["claimed"]) == (None, 1000)
    q.get()
    assert (q.stats()["learnt"], q.stats()["claimed"]) == ("next", 1)
    again: Queue[int] = Queue(store=place.restart())
    assert again.stats()["learnt"] == "next"
    assert list(again.queue) == [1000, 1001]


@pytest.mark.usefixtures("few")
def test_fewer_large_items_settle_on_next(place: Place) -> None:
    """What is outstanding is in memory: a thousand frames of a camera were more than there is."""
    q: Queue[bytes] = Queue(store=place.open())
    q.put_many(bytes(1 << 17) for _ in range(4))
    q.get()
    assert (q.stats()["learnt"], q.stats()["claimed"]) == (None, 1)
    q.get_many(1)
    assert (q.stats()["learnt"], q.stats()["claimed"]) == (None, 2)
    q.get()
    assert (q.stats()["learnt"], q.stats()["claimed"]) == ("next", 1)


@pytest.mark.usefixtures("few")
def test_large_items_that_were_given_back_teach_nothing(place: Place) -> None:
    q: Queue[bytes] = Queue(store=place.open())
    q.put_many(bytes(3 << 17) for _ in range(4))
    for _ in range(3):
        q.get()
        q.nack()
    assert q.stats()["learnt"] is None


@pytest.mark.usefixtures("few")
def test_settling_on_next_spares_what_live_threads_work_on(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(7))
    at_work, go_on = threading.Event(), threading.Event()

    def work() -> None:
        q.get()
        q.get()  # has asked for more: the first one is done, and the second one isn't
        at_work.set()
        go_on.wait()

    worker = Background(work)
    at_work.wait()
    assert [q.get(), q.get()] == [2, 3]  # the main thread's are no different
    settles = Background(lambda: (q.get(), q.get()))
    settles.result()
    assert q.stats()["learnt"] == "next"
    found = left(place)
    go_on.set()
    worker.result()
    assert found == [1, 3, 5, 6]


@pytest.mark.usefixtures("few")
def test_a_consumer_that_gave_back_what_it_had_when_it_asked_has_nothing_acknowledged(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(7))

    def fetch() -> None:
        q.get_many(3)
        q.get()
        q.nack(2)  # it was the last one that it had when it asked for more

    in_thread(fetch)
    in_thread(lambda: (q.get(), q.get()))  # 2 again, and 4 settles
    assert q.stats()["learnt"] == "next"
    assert left(place) == [0, 1, 3, 4, 5, 6]


def test_a_batch_beyond_the_1001st_is_counted_right(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(2001))
    for _ in range(2000):
        q.get()
    joiner = Background(q.join)
    for done in range(2000):
        assert q.unfinished_tasks == 2001 - done
        q.task_done()
    assert (q.stats()["learnt"], q.stats()["claimed"], q.stats()["ready"]) == ("task_done", 0, 1)
    q.get()
    assert joiner.thread.is_alive()
    q.task_done()
    joiner.result()
    with pytest.raises(ValueError, match="called too many times"):
        q.task_done()
    assert learnt(place) == "task_done"


@pytest.mark.usefixtures("few")
def test_what_is_fetched_after_the_change_of_mind_waits_for_its_task_done(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(8))
    for _ in range(6):
        q.get()
    for _ in range(5):
        q.task_done()  # 0 to 4 were done when the next one was asked for
    q.get()
    q.task_done()
    assert q.unfinished_tasks == 2
    assert left(place) == [6, 7]


@pytest.mark.usefixtures("few")
def test_what_is_given_back_counts_for_nothing(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put(1)
    for _ in range(10):
        q.get()
        q.nack()
    assert q.stats()["learnt"] is None
    q.get()
    assert left(place) == [1]


@pytest.mark.parametrize("use", ["nack", "lease", "failing lease", "peek", "nothing"])
def test_what_teaches_nothing(place: Place, use: str) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    if use == "nack":
        q.get()
        q.nack()
    elif use == "lease":
        with q.lease():
            pass
    elif use == "failing lease":
        with pytest.raises(LookupError), q.lease():
            raise LookupError
    elif use == "peek":
        q.peek()
    q.close()
    assert learnt(place) is None
    assert left(place) == ([1, 2] if use == "lease" else [0, 1, 2])


@pytest.mark.parametrize("take", [lambda q: [q.get(), q.get()], lambda q: q.get_many(2)], ids=["get", "get_many"])
@pytest.mark.parametrize("end", ["close", "with", "failing with"])
def test_the_end_of_a_queue(place: Place, take: Callable[[Any], list[int]], end: str) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    if end == "close":
        take(q)
        q.close()
    elif end == "with":
        with q:
            take(q)
    else:
        with pytest.raises(LookupError), q:
            take(q)
            raise LookupError
    assert learnt(place) == (None if end == "failing with" else "next")
    assert left(place) == ([0, 1, 2] if end == "failing with" else [2])


def test_close_spares_what_another_live_thread_works_on(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(4))
    at_work, go_on = threading.Event(), threading.Event()

    def work() -> None:
        q.get()
        q.get()
        at_work.set()
        go_on.wait()

    worker = Background(work)
    at_work.wait()
    q.get()
    q.close()
    go_on.set()
    worker.result()
    assert left(place) == [1, 3]


def test_a_simple_queue_has_nothing_to_learn(place: Place) -> None:
    store = place.open()
    q: SimpleQueue[int] = SimpleQueue(store=store)
    for i in range(3):
        q.put(i)
    q.get()
    q.get()
    assert (q.stats()["ack"], q.stats()["learnt"]) == ("next", None)
    q.close()
    assert store.count("pqadapters.learnt") == 0
    assert left(place) == [2]


class Refuses(Watched):
    """A store whose disk has no room for what is learnt, while it is full."""

    full = True

    def commit(self, *ops: Any, **options: Any) -> Any:
        if self.full and any(isinstance(op, Set) for op in ops):
            raise DiskError(28, "disk full")
        return super().commit(*ops, **options)


def test_what_cannot_be_kept_is_no_obstacle_and_is_learnt_next_time(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    q: Queue[int] = Queue(store=Refuses(place.open()))
    q.put_many(range(3))
    q.get()
    with caplog.at_level(logging.WARNING, "pqadapters.queue"):
        q.task_done()
    assert "can't be kept" in caplog.text
    assert (q.stats()["learnt"], q.unfinished_tasks) == ("task_done", 2)
    again: Queue[int] = Queue(store=place.restart())
    assert (again.stats()["learnt"], again.get()) == (None, 1)
    again.task_done()
    assert learnt(place) == "task_done"
    assert left(place) == [2]


@pytest.mark.usefixtures("few")
def test_a_disk_that_refuses_the_acknowledgements_of_the_settling_fetch(place: Place) -> None:
    class Fails(Watched):
        broken = False

        def commit(self, *ops: Any, **options: Any) -> Any:
            if self.broken and any(isinstance(op, Ack) for op in ops):
                raise DiskError(5, "EIO")
            return super().commit(*ops, **options)

    store = Fails(place.open())
    q: Queue[int] = Queue(store=store)
    q.put_many(range(6))
    for _ in range(4):
        q.get()
    store.broken = True
    with pytest.raises(OSError, match="EIO"):
        q.get()
    assert (q.stats()["claimed"], q.unfinished_tasks) == (4, 6)
    store.broken = False
    assert q.get() == 4
    assert (q.stats()["claimed"], q.unfinished_tasks) == (1, 6)
    q.close()
    assert learnt(place) == "next"


def test_each_queue_of_a_store_has_its_own(place: Place) -> None:
    store = place.open()
    one: Queue[int] = Queue(store=store, name="one")
    two: Queue[int] = Queue(store=store, name="two")
    for q in (one, two):
        q.put_many(range(2))
        q.get()
    one.task_done()
    two.close()
    assert learnt(place, name="one") == "task_done"
    assert learnt(place, name="two") == "next"
    assert learnt(place, name="three") is None


def test_next_is_never_written_over_task_done(place: Place) -> None:
    """Two handles: one has learnt that there are task_done() calls; the other one ends in the middle of its item."""
    store = place.open()
    q: Queue[int] = Queue(store=store)
    other: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    other.get()
    q.get()
    q.task_done()
    other.close()
    assert learnt(place) == "task_done"
    assert left(place) == [0, 2]


@pytest.mark.usefixtures("few")
def test_the_settling_fetch_looks_for_what_others_have_learnt(place: Place) -> None:
    store = place.open()
    q: Queue[int] = Queue(store=store)
    other: Queue[int] = Queue(store=store)
    q.put_many(range(7))
    q.get()
    q.task_done()
    for _ in range(5):
        other.get()
    assert other.stats()["learnt"] == "task_done"
    assert left(place) == [1, 2, 3, 4, 5, 6]


def test_task_done_is_written_over_next(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    q.get()
    q.close()
    again: Queue[int] = Queue(store=place.restart())
    assert again.stats()["learnt"] == "next"
    again.get()
    again.task_done()
    assert learnt(place) == "task_done"


@pytest.mark.parametrize(("word", "claimed"), [("task_done", 2), ("next", 1), ("get", 0)])
def test_a_given_policy_neither_learns_nor_cares(place: Place, word: str, claimed: int) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(4))
    q.get()
    q.close()  # learns "next"
    explicit: Queue[int] = Queue(store=place.restart(), ack=word)
    explicit.get()
    explicit.get()
    assert (explicit.stats()["ack"], explicit.stats()["learnt"]) == (word, None)
    assert explicit.stats()["claimed"] == claimed
    explicit.task_done()
    assert explicit.stats()["ack"] == word
    assert learnt(place) == "next"


def test_an_argument_wins_over_the_environment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_ACK", "get")
    store = place.open()
    assert Queue[int](store=store).stats()["ack"] == "get"
    assert Queue[int](store=store, ack="auto").stats()["ack"] == "auto"
    assert SimpleQueue[int](store=store).stats()["ack"] == "next"
    monkeypatch.setenv("PQADAPTERS_ACK", "")
    assert Queue[int](store=store).stats()["ack"] == "auto"
    monkeypatch.setenv("PQADAPTERS_ACK", "sometimes")
    with pytest.raises(ValueError, match="PQADAPTERS_ACK is one of"):
        Queue(store=store)
    assert Queue[int](store=store, ack="next").stats()["ack"] == "next"
