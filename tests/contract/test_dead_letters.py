"""Dead letters: records in "<name>.dead", claimable like any other, with the reason."""

from __future__ import annotations

from pqadapters.store import Ack, Claim, Nack, Order, Put, Record, State, Store

from .maker import START, Maker
from .snapshot import payloads


def _bury(store: Store, reason: str, queue: str = "q") -> Claim:
    (claim,) = store.claim(queue)
    assert store.commit(Nack(claim, dead=reason)) == (0,)
    return claim


def test_a_dead_record_lies_in_the_dead_queue_with_its_reason(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"a", rank=b"rank"), Put("q", b"b"))
    make_store.clock.advance(3)
    buried = _bury(store, "can't be decoded: ungültig\n")
    assert payloads(store) == [b"b"]
    (record,) = store.browse("q.dead")
    expected = Record("q.dead", buried.id, State.READY, b"a", b"rank", 1, 0.0, 0.0, "can't be decoded: ungültig\n")
    assert record._replace(put_at=0.0) == expected
    assert abs(record.put_at - START) < 0.001


def test_the_depth_counts_the_dead_apart(make_store: Maker) -> None:
    store = make_store.filled(b"12", b"345", b"6")
    _bury(store, "no")
    _bury(store, "no")
    depth = store.depth("q")
    assert (depth.ready, depth.unfinished, depth.dead, depth.bytes) == (1, 1, 2, 1)
    (held,) = store.claim("q.dead")
    assert store.depth("q").dead == 2  # in any state
    assert store.depth("q.dead")[:5] == (1, 0, 1, 0, 5)
    store.commit(Ack(held))
    assert store.depth("q").dead == 1


def test_a_dead_letter_is_claimed_like_any_other(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    first, second = _bury(store, "one"), _bury(store, "")
    claims = store.claim("q.dead", limit=2, order=Order.NEWEST)
    assert [(c.queue, c.id, c.payload, c.note) for c in claims] == [
        ("q.dead", second.id, b"b", ""),
        ("q.dead", first.id, b"a", "one"),
    ]
    store.commit(Nack(claims[1]), Ack(claims[0]))
    assert [record.note for record in store.browse("q.dead")] == ["one"]


def test_i5_the_attempts_of_a_dead_letter_go_on(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    store.commit(Nack(store.claim("q")[0]))
    _bury(store, "no")
    assert [claim.attempt for claim in store.claim("q.dead")] == [3]


def test_a_dead_letter_is_requeued_in_one_commit(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    _bury(store, "no")
    (dead,) = store.claim("q.dead")
    _, id = store.commit(Ack(dead), Put("q", dead.payload, dead.rank))
    assert store.depth("q").dead == 0
    assert id > dead.id
    fresh = store.claim("q", limit=2)[1]
    assert (fresh.payload, fresh.attempt, fresh.note) == (b"a", 1, "")


def test_a_record_that_dies_again_stays_where_it_is(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    first = _bury(store, "first reason")
    _bury(store, "second reason", queue="q.dead")
    (record,) = store.browse("q.dead")
    assert (record.id, record.note) == (first.id, "second reason")
    assert store.depth("q.dead").dead == 0
    assert list(store.browse("q.dead.dead", state=None)) == []


def test_a_dead_record_may_be_delayed(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")
    store.commit(Nack(claim, not_before=START + 60, dead="no"))
    assert store.claim("q.dead") == []
    assert store.depth("q").dead == 1
    make_store.clock.advance(61)
    assert [claim.note for claim in store.claim("q.dead")] == ["no"]


def test_a_record_may_be_put_among_the_dead(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q.dead", b"a"))
    assert store.depth("q").dead == 1
    assert [claim.note for claim in store.claim("q.dead")] == [""]


def test_i4_the_dead_keep_their_order(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c")
    claims = store.claim("q", limit=3)
    store.commit(*(Nack(claims[n], dead="no") for n in (2, 0, 1)))
    assert payloads(store, "q.dead") == [b"a", b"b", b"c"]
