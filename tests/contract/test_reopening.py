"""I1 over a clean close: what a commit returned for is there when the store is opened again, and claims are not."""

from __future__ import annotations

import itertools

import pytest

from pqadapters.errors import ConditionFailed, LeaseLost, StoreClosed
from pqadapters.store import Ack, Delete, Expect, Nack, Order, Put, Set, State, Update

from .maker import Maker
from .snapshot import payloads, snapshot


def test_i1_everything_is_there_again(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(*(Put("q", b"%d" % n, rank=b"%d" % (9 - n)) for n in range(10)))
    store.commit(Put("q", b"later", not_before=clock.now + 60), Set("t", b"b", b"1"), Set("t", b"a", b"2"))
    a, b, c, d, e = store.claim("q", limit=5)
    store.commit(Ack(a), Ack(b, lazy=True), Nack(c, dead="reason"), Nack(d, not_before=clock.now + 30), Nack(e))
    store.commit(Set("t", b"b", b"3"), Set("t", b"c", b"4"), Delete("t", b"a"))
    before = snapshot(store)
    for _ in range(3):
        store = make_store.reopen()
        after = snapshot(store)
        assert [r._replace(attempts=0) for r in after.records] == [r._replace(attempts=0) for r in before.records]
        assert (after.depths, after.tables) == (before.depths, before.tables)
        assert list(store.damage) == []


def test_i1_it_is_there_after_a_checkpoint_too(make_store: Maker) -> None:
    for places in itertools.product((False, True), repeat=3):
        store = make_store()
        names = [b"%d" % n for n in range(3)]
        for name, checkpoint in zip(names, places, strict=True):
            store.commit(Put("q", name), Set("t", name, name))
            if checkpoint:
                store.checkpoint()
        store = make_store.reopen()
        assert payloads(store) == names, f"checkpoints at {places}"
        assert list(store.scan("t")) == [(name, name) for name in names]
        store.commit(*map(Ack, store.claim("q", limit=9)), *(Delete("t", name) for name in names))


def test_i4_claimed_records_are_ready_again_in_place(make_store: Maker) -> None:
    store = make_store.filled(*[b"%d" % n for n in range(8)])
    store.claim("q", limit=2)
    make_store().claim("q", limit=2, order=Order.NEWEST)
    (acked,) = store.claim("q")
    store.commit(Ack(acked))
    store = make_store.reopen()
    assert [(record.payload, record.state) for record in store.browse("q", state=None)] == [
        (payload, State.READY) for payload in (b"0", b"1", b"3", b"4", b"5", b"6", b"7")
    ]


def test_i5_counted_attempts_survive(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    for attempt in range(1, 5):
        (claim,) = store.claim("q", counted=True)
        assert claim.attempt == attempt, "a counted attempt was forgotten"
        if attempt % 2:
            store.checkpoint()
        store = make_store.reopen()
        assert [record.attempts for record in store.browse("q")] == [attempt, 0]


def test_i5_counted_attempts_survive_a_nack(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    store.commit(Nack(store.claim("q", counted=True)[0]))
    store.commit(Nack(store.claim("q", counted=True)[0], dead="twice"))
    store = make_store.reopen()
    assert [(claim.attempt, claim.note) for claim in store.claim("q.dead")] == [(3, "twice")]


def test_i5_attempts_begin_no_lower_than_one(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    store.claim("q")
    store = make_store.reopen()
    (claim,) = store.claim("q")
    assert claim.attempt in (1, 2)  # a claim that isn't counted may be forgotten


def test_i6_ids_are_not_reused_after_reopening(make_store: Maker) -> None:
    store = make_store()
    last = 0
    for n in range(6):
        ids = store.commit(Put("q", b"a"), Put("q", b"b"))
        assert min(ids) > last, "an id was used again"
        last = max(ids)
        store.commit(*map(Ack, store.claim("q", limit=2)))
        if n % 2:
            store.checkpoint()
        store = make_store.reopen()


def test_i6_a_claim_from_before_is_stale(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q", counted=True)
    old, store = store, make_store.reopen()
    with pytest.raises(LeaseLost):
        store.commit(Ack(claim))
    (again,) = store.claim("q", counted=True)
    with pytest.raises(LeaseLost):
        store.commit(Ack(claim))
    with pytest.raises(StoreClosed):
        old.commit(Ack(claim))
    store.commit(Ack(again))
    assert make_store.reopen().depth("q").unfinished == 0


def test_i2_a_failed_commit_is_not_there_after_reopening(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c")
    claims = store.claim("q", limit=3)
    with pytest.raises(ConditionFailed):
        store.commit(
            Put("q", b"new"),
            Ack(claims[0]),
            Nack(claims[1], dead="no"),
            Update(claims[2], b"C"),
            Set("t", b"k", b"v"),
            Set("t", b"other", b"v", expect=Expect.PRESENT),
        )
    store = make_store.reopen()
    assert payloads(store) == [b"a", b"b", b"c"]
    assert (store.depth("q").dead, store.count("t")) == (0, 0)


def test_updates_survive(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    a, b = store.claim("q", limit=2)
    store.commit(Update(a, b"A"))
    store.commit(Update(b, b"B" * 10_000))
    store.commit(Update(b, b"BB"), Nack(b, dead="no"))
    store = make_store.reopen()
    assert (payloads(store), payloads(store, "q.dead")) == ([b"A"], [b"BB"])
    assert store.depth("q").bytes == 1


def test_tables_keep_their_order(make_store: Maker) -> None:
    store = make_store()
    keys = [b"%d" % (n * 37 % 100) for n in range(100)]
    store.commit(*(Set("t", key, b"") for key in keys))
    for key in keys[::3]:
        store.commit(Set("t", key, b"set again"))
    store.commit(*(Delete("t", key) for key in keys[1::3]))
    store.commit(*(Set("t", key, b"at the end") for key in keys[1::6]))
    expected = [key for n, key in enumerate(keys) if n % 3 != 1] + keys[1::6]
    for _ in range(2):
        store = make_store.reopen()
        assert [key for key, _ in store.scan("t")] == expected
        assert store.get("t", keys[0]) == b"set again"
        assert store.get("t", keys[4]) is None
        store.checkpoint()


def test_a_delay_goes_on(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", not_before=clock.now + 60))
    store = make_store.reopen()
    assert store.claim("q") == []
    clock.advance(61)
    assert [claim.payload for claim in store.claim("q")] == [b"a"]


def test_i1_a_long_life_with_few_survivors(make_store: Maker) -> None:
    """Many records come and go around some that stay: space is given back, those are not."""
    store = make_store()
    expected: list[bytes] = []
    for n in range(12):
        store.commit(*(Put("q", b"%d-%d " % (n, m) + bytes(200)) for m in range(40)))
        claims = store.claim("q", limit=1000)
        kept = [claim for claim in claims if claim.payload in expected or claim is claims[-7]]
        expected = [claim.payload for claim in kept]
        store.commit(*(Ack(claim, lazy=n % 2 == 0) for claim in claims if claim not in kept), *map(Nack, kept))
        store.commit(Set("t", b"n", b"%d" % n), Set("t", b"%d" % n, b"x"), Delete("t", b"%d" % (n - 1)))
        if n % 3 == 2:
            store.checkpoint()
        if n % 4 == 3:
            store = make_store.reopen()
        assert payloads(store) == expected
    store = make_store.reopen()
    assert payloads(store) == expected
    assert list(store.scan("t")) == [(b"n", b"11"), (b"11", b"x")]


def test_an_empty_store_is_opened_again(make_store: Maker) -> None:
    make_store()
    store = make_store.reopen()
    assert snapshot(store) == snapshot(make_store.reopen())
    assert store.place
