"""I1 and I2: what a commit returned for is there, wholly or not at all."""

from __future__ import annotations

import gc
import itertools
import weakref
from contextlib import suppress
from functools import partial

import pytest

from pqadapters.errors import ConditionFailed, LeaseLost, LimitReached, Stopped
from pqadapters.store import Ack, Claim, Delete, Expect, Extend, Nack, Op, Put, Set, Store, Update

from .maker import START, Maker
from .snapshot import payloads, snapshot
from .threads import Task, together


def test_i1_a_claim_carries_what_was_put(make_store: Maker) -> None:
    store = make_store()
    make_store.clock.advance(5)
    (id,) = store.commit(Put("q", b"payload", rank=b"rank"))
    make_store.clock.advance(5)
    (claim,) = store.claim("q")
    assert claim._replace(put_at=0.0) == Claim("q", id, 1, b"payload", b"rank", 0.0, "")
    assert claim.put_at == pytest.approx(START + 5, abs=0.001)


def test_i1_every_put_of_many_is_there(make_store: Maker) -> None:
    store = make_store()
    expected = [b"%d" % n for n in range(300)]
    for payload in expected[:150]:
        store.commit(Put("q", payload))
    store.commit(*(Put("q", payload) for payload in expected[150:]))
    assert payloads(store) == expected
    assert [claim.payload for claim in store.claim("q", limit=1000)] == expected


def test_i1_an_acknowledged_record_is_gone(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c")
    for lazy in (False, True):
        store.commit(Ack(store.claim("q")[0], lazy=lazy))
    assert [record.payload for record in store.browse("q", state=None)] == [b"c"]


def test_i1_commits_of_many_threads_are_all_there(make_store: Maker) -> None:
    store = make_store()

    def put(thread: int) -> list[int]:
        return [store.commit(Put("q", b"%d" % thread))[0] for _ in range(25)]

    ids = together([partial(put, n) for n in range(6)], patience=make_store.patience)
    assert all(mine == sorted(mine) for mine in ids)
    assert [record.id for record in store.browse("q")] == sorted(itertools.chain(*ids))
    assert len(set(itertools.chain(*ids))) == 150


def test_a_commit_returns_an_id_for_each_put_and_zero_for_the_rest(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c", b"d")
    a, b, c, d = store.claim("q", limit=4)
    results = store.commit(
        Put("q", b"x"),
        Set("t", b"k", b"v"),
        Delete("t", b"k"),
        Ack(a),
        Nack(b),
        Extend(c),
        Update(d, b"D"),
        Put("q", b"y"),
    )
    x, *others, y = results
    assert others == [0] * 6
    assert d.id < x < y
    assert [record.id for record in store.browse("q")] == [b.id, x, y]


def test_a_commit_of_nothing_does_nothing(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    before = snapshot(store)
    assert store.commit() == ()
    assert snapshot(store) == before


def test_a_commit_takes_a_timeout(make_store: Maker) -> None:
    store = make_store()
    for timeout in (None, 0, 0.0, 1.5):
        store.commit(Put("q", b"a"), timeout=timeout)
    assert store.depth("q").ready == 4


def test_i2_queues_and_tables_change_together(make_store: Maker) -> None:
    store = make_store.filled(b"job")
    (job,) = store.claim("q")
    store.commit(Ack(job), Set("results", b"job", b"done"), Put("follow-ups", b"next"))
    assert store.depth("q").unfinished == 0
    assert store.get("results", b"job") == b"done"
    assert payloads(store, "follow-ups") == [b"next"]


def _everything(store: Store) -> tuple[list[Op], list[Claim]]:
    """One op of each kind that would change something, and the claims they use."""
    store.commit(*(Put("q", b"claimed %d" % n) for n in range(6)), Put("q", b"ready"), Put("q.dead", b"dead"))
    store.commit(Set("t", b"old", b"1"), Set("t", b"gone", b"1"), Set("t", b"last", b"1"))
    claims = store.claim("q", limit=6)
    acked, lazily, given_back, delayed, died, updated = claims
    ops: list[Op] = [
        Put("q", b"new"),
        Put("q", b"new", not_before=START + 60),
        Put("other", b"new"),
        Ack(acked),
        Ack(lazily, lazy=True),
        Nack(given_back),
        Nack(delayed, not_before=START + 60),
        Nack(died, dead="no"),
        Update(updated, b"updated"),
        Set("t", b"old", b"2"),
        Set("t", b"new", b"2"),
        Delete("t", b"gone"),
        Set("fresh", b"k", b"v"),
    ]
    return ops, claims


def _refused(store: Store, lost: Claim) -> list[tuple[Op, type[ConditionFailed] | type[LeaseLost]]]:
    """Ops that fail, each with its error."""
    return [
        (Set("t", b"last", b"2", expect=Expect.ABSENT), ConditionFailed),
        (Set("t", b"nowhere", b"2", expect=Expect.PRESENT), ConditionFailed),
        (Delete("t", b"last", expect=b"another value"), ConditionFailed),
        (Put("q", b"", limit=1), LimitReached),
        (Put("q", b"too much", limit_bytes=10), LimitReached),
        (Ack(lost), LeaseLost),
        (Nack(lost), LeaseLost),
        (Update(lost, b""), LeaseLost),
        (Extend(lost), LeaseLost),
    ]


def test_i2_a_failed_commit_leaves_nothing(make_store: Maker) -> None:
    store = make_store.filled(b"lost")
    (lost,) = store.claim("q")
    store.commit(Ack(lost))
    ops, claims = _everything(store)
    before = snapshot(store, ["q", "other"], ["t", "fresh"])
    for (bad, error), place in itertools.product(_refused(store, lost), (0, len(ops) // 2, len(ops))):
        with pytest.raises(error):
            store.commit(*ops[:place], bad, *ops[place:])
        assert snapshot(store, ["q", "other"], ["t", "fresh"]) == before, f"{bad} at {place} left something"
    store.commit(*map(Ack, claims))  # they are still held


def test_i2_a_failed_commit_leaves_an_acked_record_its_place(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c")
    (a,) = store.claim("q")
    with pytest.raises(ConditionFailed):
        store.commit(Nack(a, dead="no"), Set("t", b"k", b"v", expect=Expect.PRESENT))
    store.commit(Nack(a))
    assert payloads(store) == [b"a", b"b", b"c"]


def test_i2_one_claim_acked_twice_in_a_commit_is_refused_whole(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")
    for again in (Ack(claim), Nack(claim), Update(claim, b""), Extend(claim)):
        with pytest.raises(LeaseLost):
            store.commit(Ack(claim), again)
    assert store.depth("q").claimed == 1
    store.commit(Ack(claim))


def test_i2_an_op_sees_the_ops_before_it(make_store: Maker) -> None:
    store = make_store()
    store.commit(
        Set("t", b"k", b"1", expect=Expect.ABSENT),
        Set("t", b"k", b"2", expect=b"1"),
        Set("t", b"k", b"3", expect=Expect.PRESENT),
        Delete("t", b"k", expect=b"3"),
        Set("t", b"k", b"4", expect=Expect.ABSENT),
    )
    assert list(store.scan("t")) == [(b"k", b"4")]
    with pytest.raises(LimitReached):
        store.commit(Put("q", b"a", limit=1), Put("q", b"b", limit=1))
    store.commit(Put("q", b"a", limit=1), Put("q", b"b", limit=2))
    (a,) = store.claim("q")
    with pytest.raises(LimitReached):
        store.commit(Nack(a), Put("q", b"c", limit=2))
    store.commit(Put("q", b"c", limit=2), Nack(a))


def test_i2_an_update_and_an_ack_in_one_commit(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    a, b = store.claim("q", limit=2)
    store.commit(Update(a, b"A"), Ack(a), Update(b, b"B"), Nack(b))
    assert payloads(store) == [b"B"]


def test_i2_a_reader_never_sees_half_of_a_commit(make_store: Maker) -> None:
    store = make_store()

    def write() -> None:
        for _ in range(50):
            store.commit(Put("q", b"left"), Put("q", b"right"))
            store.commit(Put("r", b"left"), Put("r", b"right"))
            store.commit(*map(Ack, store.claim("r", limit=2)), Put("r", b"left"), Put("r", b"right"))

    writer = Task(write, patience=make_store.patience)
    looks = 0
    while writer.running or not looks:
        looks += 1
        assert len(list(store.browse("q", state=None))) % 2 == 0
        assert store.depth("r").unfinished % 2 == 0
    writer.result()
    assert (store.depth("q").unfinished, store.depth("r").unfinished) == (100, 100)


def test_i9_a_stopped_commit_stores_nothing(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")
    before = snapshot(store)
    with pytest.raises(Stopped):
        store.commit(Put("q", b"b"), Ack(claim), Set("t", b"k", b"v"), stop=lambda: True)
    assert snapshot(store) == before
    store.commit(Put("q", b"b"), Ack(claim), stop=lambda: False)
    assert payloads(store) == [b"b"]


def test_i9_a_stop_that_raises_stores_nothing(make_store: Maker) -> None:
    store = make_store.filled(b"a")

    def stop() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.commit(Put("q", b"b"), stop=stop)
    store.commit(Put("q", b"c"))
    assert payloads(store) == [b"a", b"c"]


def test_i9_a_predicate_that_says_stop_once_is_heard(make_store: Maker) -> None:
    """It was asked again, and said something else by then."""
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")
    for op in (Put("q", b"x"), Set("t", b"k", b"x"), Ack(claim)):
        answers = iter([True])
        with pytest.raises(Stopped):
            store.commit(op, stop=lambda answers=answers: next(answers, False))  # type: ignore[misc]
    assert store.depth("q").unfinished == 1
    assert store.get("t", b"k") is None


def test_an_error_that_was_dealt_with_keeps_nothing(make_store: Maker) -> None:
    """It and the work that had it kept each other, and with them what was in the caller's hands, until the garbage
    collector came."""
    store = make_store.filled(b"a")

    def refused() -> weakref.ref[set[str]]:
        mine: set[str] = set()
        with suppress(LimitReached):
            store.commit(Put("q", b"b", limit=1))
        return weakref.ref(mine)

    gc.disable()
    try:
        assert refused()() is None
    finally:
        gc.enable()
