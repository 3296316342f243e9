"""The order of acknowledging queues, with what was given back, and what a call looks at for it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from pqadapters.persistqueue import (
    FILOSQLiteAckQueue,
    SQLiteAckQueue,
)
from pqadapters.stores.sqlite.looks import Looks

from .test_ack_queues import filled


def _seen_by(q: Any) -> list[Any]:
    """The records that it looks at from now on."""
    browse, seen = q._store.browse, list[Any]()

    def counted(*arguments: Any, **options: Any) -> Any:
        for record in browse(*arguments, **options):
            seen.append(record)
            yield record

    q._store.browse = counted
    return seen


def test_an_item_that_was_given_back_costs_no_look_at_the_whole_backlog(path: str) -> None:
    # Each get of one read all that waits behind it: 30 ms with 10,000 items.
    q = filled(SQLiteAckQueue(":memory:"), range(300))
    for _ in range(3):
        q.nack(q.get())
    seen = _seen_by(q)
    assert q.get() == 0
    assert len(seen) < 10


@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue])
def test_no_other_call_looks_at_the_whole_backlog(kind: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """next_in_order, a FILO queue's nack, and the ack of what waits again did: 100 ms each with 10,000 items."""
    q = filled(kind(path), range(300))
    seen: list[Any] = []
    record = Looks._record

    def counted(looks: Any, queue: str, row: Any, now: float) -> Any:
        seen.append(row)
        return record(looks, queue, row, now)

    monkeypatch.setattr(Looks, "_record", counted)
    first = q.get(raw=True)
    second = q.get(id=first, next_in_order=True, raw=True)
    assert abs(second["pqid"] - first["pqid"]) == 1
    q.nack(first)
    q.nack(second)
    assert q.get() == first["data"]
    assert q.get(id=first, next_in_order=True) == second["data"]
    q.nack(second)
    q.ack(id=second["pqid"])
    q.update("changed", id=first["pqid"])
    assert (q.unack_count(), q.acked_count(), q.ready_count()) == (1, 1, 0)
    assert len(seen) < 50


@pytest.mark.parametrize("later", [0, 50])
def test_items_of_a_filo_queue_that_wait_again_cost_no_look_at_each_other(path: str, later: int) -> None:
    """Each get of one read all of them: after a restart with 4,000 in hand, two minutes until all were got again."""
    q = filled(FILOSQLiteAckQueue(path), range(150))
    for _ in range(100):
        q.get()
    for item in range(150, 150 + later):
        q.put(item)
    q.resume_unack_tasks()
    seen = _seen_by(q)
    got = [q.get() for _ in range(75)]
    q.put("new")
    assert q.get() == "new"
    got += [q.get() for _ in range(75 + later)]
    assert got == list(reversed(range(150 + later)))
    assert len(seen) < 2000


@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue])
def test_who_goes_from_item_to_item_and_gives_each_back_looks_at_each_once(kind: Any, path: str) -> None:
    """From the second time on all of them were looked at for each: 50 ms with 4,000."""
    q = filled(kind(path), range(100))
    seen = _seen_by(q)
    for _ in range(3):
        seen.clear()
        got = [q.get(raw=True)]
        q.nack(got[0])
        for _ in range(99):
            got.append(q.get(id=got[-1], next_in_order=True, raw=True))
            q.nack(got[-1])
        assert sorted(each["data"] for each in got) == list(range(100))
        assert abs(got[0]["pqid"] - got[-1]["pqid"]) == 99
    assert len(seen) < 1000


def test_a_filo_queue_is_in_order_whatever_was_given_back(path: str) -> None:
    random = Random(1)
    q, waiting, held = FILOSQLiteAckQueue(path), list[int](), list[int]()
    for item in range(1, 400):
        what = random.choice(["put", "put", "get", "get", "nack", "all"])
        if what == "put":
            waiting.append(item)
            q.put(item)
        elif what == "get" and waiting:
            held.append(q.get(block=False))
            assert held[-1] == max(waiting)
            waiting.remove(held[-1])
        elif what == "nack" and held:
            back = held.pop(random.randrange(len(held)))
            q.nack(back)
            waiting.append(back)
        elif what == "all" and item % 5 == 0:
            q.resume_unack_tasks()
            waiting, held = waiting + held, []
    assert [q.get(block=False) for _ in waiting] == sorted(waiting, reverse=True)


def test_what_was_given_back_is_in_its_old_place(path: str) -> None:
    q = filled(SQLiteAckQueue(path), "abcd")
    third = q.get(id=3)
    assert q.get() == "a"
    q.nack(third)
    q.nack(id=1)
    assert [q.get(block=False) for _ in range(4)] == ["a", "b", "c", "d"]


def test_filo_order_with_what_was_given_back(path: str) -> None:
    q = filled(FILOSQLiteAckQueue(path), "abc")
    c, b = q.get(), q.get()
    q.nack(b)
    q.put("d")
    q.nack(c)
    assert [q.get(block=False) for _ in range(4)] == ["d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("kind", "after", "last"), [(SQLiteAckQueue, ["b", "c"], 3), (FILOSQLiteAckQueue, ["b", "a"], 1)]
)
def test_next_in_order_goes_down_the_queue_and_starts_over(kind: Any, after: list[str], last: int, path: str) -> None:
    q = filled(kind(path))
    first = q.get()
    id = q.nack(first)
    for expected in after:
        item = q.get(id=id, next_in_order=True)
        assert item == expected
        id = q.nack(item)
    assert id == last
    assert q.get(id=id, next_in_order=True) == first
    q.put("last")
    for no in (None, 0):  # what persist-queue takes for False
        assert q.get(next_in_order=no, id=q.queue()[-1]["id"]) == "last"
        q.nack(id=q.queue()[-1]["id"])
    for wrong in ({"next_in_order": True}, {"id": 1, "next_in_order": "yes"}):
        with pytest.raises(ValueError, match="next_in_order"):
            q.get(**wrong)
