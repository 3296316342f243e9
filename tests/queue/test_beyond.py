"""What durable queues offer beyond the standard library."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pqadapters.stdlib.queue import Empty, Full, Queue, ShutDown
from pqadapters.store import Store

from .background import Background, Watched, in_thread
from .conftest import Place


def test_many_are_put_in_one_commit_or_not_at_all(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(3, store=watched)
    q.put_many([1, 2])
    assert watched.calls == ["Put,Put"]
    with pytest.raises(Full):
        q.put_many([3, 4], block=False)
    with pytest.raises(Full):
        q.put_many([3, 4], timeout=0.01)
    with pytest.raises(ValueError, match="never fit"):
        q.put_many(range(4))
    assert list(q.queue) == [1, 2]
    q.put_many([])
    putter = Background(lambda: q.put_many(iter([3, 4])))
    assert q.get() == 1
    putter.result()
    assert q.get_many(9) == [2, 3, 4]


def test_get_many_takes_at_least_one(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched)
    with pytest.raises(Empty):
        q.get_many(2, timeout=0)
    with pytest.raises(ValueError, match="non-negative"):
        q.get_many(2, timeout=-1)
    with pytest.raises(ValueError, match="none"):
        q.get_many(0)
    getter = Background(lambda: q.get_many(3))
    watched.settled()
    q.put_many(range(4))
    assert getter.result() == [0, 1, 2]
    assert q.get_many(3) == [3]
    q.task_done()
    assert q.unfinished_tasks == 3


@pytest.mark.parametrize("most", [1.5, math.nan, "2", None])
def test_what_isnt_a_whole_number_is_refused(store: Store, most: Any) -> None:
    """A database was said to be damaged (1.5), or half a number was taken for a whole one."""
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    with pytest.raises(TypeError, match=f"a whole number, not {most!r}"):
        q.get_many(most, timeout=0)
    with pytest.raises(TypeError, match=f"a whole number, not {most!r}"):
        q.requeue([most])
    assert q.get_many(10**30) == [0, 1, 2]


@pytest.mark.parametrize(("ack", "left"), [("get", []), ("next", [0, 1]), ("task_done", [0, 1])])
def test_get_many_follows_the_ack_policy(place: Place, ack: str, left: list[int]) -> None:
    q: Queue[int] = Queue(store=place.open(), ack=ack)
    q.put_many(range(2))
    q.get_many(2)
    assert q.unfinished_tasks == 2
    assert list(Queue(store=place.restart()).queue) == left


def test_peek_leaves_the_item(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    with pytest.raises(Empty):
        q.peek()
    q.put(1)
    assert (q.peek(), q.get()) == (1, 1)


@pytest.mark.parametrize("ack", ["task_done", "get", "next"])
def test_a_lease_acknowledges_exactly_its_item(place: Place, ack: str) -> None:
    q: Queue[str] = Queue(store=place.open(), ack=ack)
    q.put_many("abc")
    with q.lease() as outer, q.lease(block=False) as inner:
        assert (outer, inner, q.unfinished_tasks) == ("a", "b", 3)
        with pytest.raises(ValueError, match="nobody holds"):
            q.task_done(outer)
    assert q.unfinished_tasks == 1
    assert list(Queue(store=place.restart()).queue) == ["c"]


def test_a_lease_that_fails_gives_the_item_back_in_its_place(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put_many("ab")
    with pytest.raises(LookupError), q.lease() as item:
        raise LookupError(item)
    assert list(q.queue) == ["a", "b"]


def test_a_crash_within_a_lease_is_a_redelivery(place: Place) -> None:
    q: Queue[str] = Queue(store=place.open(), ack="get")
    q.put("a")
    lease = q.lease()
    lease.__enter__()
    again: Queue[str] = Queue(store=place.restart())
    assert again.get_nowait() == "a"
    with pytest.raises(Exception, match="close"):
        lease.__exit__(None, None, None)


def test_a_lease_waits_and_raises_as_get(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    for options in ({"block": False}, {"timeout": 0.01}):
        with pytest.raises(Empty), q.lease(**options):
            pass
    with pytest.raises(ValueError, match="non-negative"), q.lease(timeout=-1):
        pass
    q.shutdown()
    with pytest.raises(ShutDown), q.lease():
        pass


def test_a_nacked_item_is_served_again_first(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put_many("abc")
    first, second = q.get(), q.get()
    q.nack(second)
    q.nack()
    assert q.unfinished_tasks == 3
    assert [q.get(), q.get(), q.get()] == [first, second, "c"]


def test_a_nack_with_a_delay_leaves_the_item_for_later(place: Place) -> None:
    q: Queue[Any] = Queue(store=place.open())
    q.put_many([None, "b"])
    assert q.get() is None
    q.nack(None, delay=3600)
    assert (q.get(), q.qsize(), q.stats()["delayed"], q.unfinished_tasks) == ("b", 0, 1, 2)
    again: Queue[str] = Queue(store=place.restart())
    assert list(again.queue) == ["b"]


def test_a_nack_of_what_nobody_holds_is_an_error(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put("a")
    with pytest.raises(ValueError, match="nobody holds"):
        q.nack()
    with pytest.raises(ValueError, match="nobody holds 'a'"):
        q.nack("a")
    for delay in (-1, math.nan):
        with pytest.raises(ValueError, match="delay"):
            q.nack(delay=delay)


def test_another_threads_item_is_nacked_by_name_alone(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put("a")
    in_thread(q.get)
    with pytest.raises(ValueError, match="nobody holds"):
        q.nack()
    q.nack("a")
    assert q.qsize() == 1


def test_stats_tell_what_is_in(store: Store) -> None:
    q: Queue[int] = Queue(store=store, name="jobs")
    q.put_many(range(3))
    q.get()
    stats = q.stats()
    assert {key: stats[key] for key in ("name", "ready", "claimed", "dead", "held", "unfinished")} == {
        "name": "jobs",
        "ready": 2,
        "claimed": 1,
        "dead": 0,
        "held": 1,
        "unfinished": 3,
    }
    assert stats["oldest_age"] >= 0
    assert stats["bytes"] > 0
    assert stats["place"] == store.place


class Speechless:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_one_that_has_no_repr_is_missed_as_any_other(store: Store) -> None:
    q: Queue[Any] = Queue(store=store)
    q.put(1)
    for miss in (q.task_done, lambda item: q.nack(item, delay=0), q.queue.remove):
        with pytest.raises(ValueError, match="<Speechless: RuntimeError>"):
            miss(Speechless())
    with pytest.raises(ValueError, match=r"^.{,500}$"):
        q.task_done("word " * 1000)
