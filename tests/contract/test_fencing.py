"""I6: a stale claim changes nothing, and ids are never reused."""

from __future__ import annotations

import pytest

from pqadapters.errors import ConditionFailed, LeaseLost, PqadaptersError, StoreClosed
from pqadapters.store import Ack, Claim, Expect, Extend, Nack, Op, Order, Put, Set, Store, Update

from .maker import START, Maker
from .snapshot import snapshot
from .threads import together


def _uses(claim: Claim) -> list[Op]:
    """Every op that needs the claim to be held."""
    return [
        Ack(claim),
        Ack(claim, lazy=True),
        Nack(claim),
        Nack(claim, not_before=START + 60),
        Nack(claim, dead="no"),
        Extend(claim),
        Update(claim, b"stale"),
    ]


def _assert_stale(store: Store, claim: Claim) -> None:
    before = snapshot(store)
    for op in _uses(claim):
        with pytest.raises(LeaseLost):
            store.commit(op)
        assert snapshot(store) == before, f"a stale {type(op).__name__} changed something"


def test_i6_a_claim_that_was_acknowledged_is_stale(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    for lazy in (False, True):
        (claim,) = store.claim("q")
        store.commit(Ack(claim, lazy=lazy))
        _assert_stale(store, claim)


def test_i6_a_claim_that_was_given_back_is_stale(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")
    store.commit(Nack(claim))
    _assert_stale(store, claim)
    (again,) = store.claim("q")
    _assert_stale(store, claim)  # the same handle, the same record, the attempt before
    store.commit(Ack(again))
    _assert_stale(store, claim)


def test_i6_a_claim_that_died_or_was_delayed_is_stale(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    dead, delayed = store.claim("q", limit=2)
    store.commit(Nack(dead, dead="no"), Nack(delayed, not_before=make_store.clock.now + 60))
    _assert_stale(store, dead)
    _assert_stale(store, delayed)
    store.claim("q.dead")
    _assert_stale(store, dead)


def test_i6_another_handles_claim_is_not_ours(make_store: Maker) -> None:
    owner = make_store.filled(b"a")
    other = make_store()
    (claim,) = owner.claim("q")
    _assert_stale(other, claim)
    owner.commit(Extend(claim), Ack(claim))


def test_i6_a_claim_taken_over_is_stale(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    owner = make_store()
    (claim,) = owner.claim("q")
    owner.close()
    (again,) = store.claim("q")
    assert (again.id, again.attempt) == (claim.id, 2)
    _assert_stale(store, claim)
    with pytest.raises(StoreClosed):
        owner.commit(Ack(claim))
    store.commit(Ack(again))


def test_i6_an_invented_claim_is_stale(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    (claim,) = store.claim("q")
    _assert_stale(store, claim._replace(attempt=2))
    _assert_stale(store, claim._replace(attempt=0))
    _assert_stale(store, claim._replace(id=claim.id + 1000))
    _assert_stale(store, claim._replace(id=claim.id + 1))
    store.commit(Ack(claim))


def test_i6_a_claim_that_is_held_can_be_used(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")
    before = snapshot(store)
    assert store.commit(Extend(claim), Extend(claim, lease=60.0)) == (0, 0)
    assert snapshot(store) == before
    assert store.commit(Ack(claim)) == (0,)


def test_i6_one_of_many_threads_acknowledges(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")

    def ack() -> bool:
        try:
            store.commit(Ack(claim), Put("done", b""))
        except LeaseLost:
            return False
        return True

    assert sum(together([ack] * 8, patience=make_store.patience)) == 1
    assert store.depth("done").ready == 1


def test_i6_ids_grow(make_store: Maker) -> None:
    store = make_store()
    ids = [*store.commit(Put("q", b"")), *store.commit(Put("a", b""), Put("q", b""), Put("b", b""))]
    ids += make_store().commit(Put("q", b""))
    ids += store.commit(Put("q", b"", rank=b""), Put("q", b"", not_before=START + 60))
    assert ids == sorted(set(ids))
    assert ids[0] > 0


def test_i6_ids_are_never_reused(make_store: Maker) -> None:
    store = make_store()
    last = 0
    for _ in range(5):
        ids = store.commit(Put("q", b""), Put("q", b""))
        assert min(ids) > last, "an id was used again"
        last = max(ids)
        store.commit(*map(Ack, store.claim("q", order=Order.NEWEST, limit=2)))


def test_i6_ids_are_not_reused_after_a_failed_commit(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    claims = store.claim("q", limit=2)
    with pytest.raises(ConditionFailed):
        store.commit(*map(Ack, claims), Put("q", b""), Set("t", b"k", b"", expect=Expect.PRESENT))
    (id,) = store.commit(Put("q", b""))
    assert id > claims[1].id


def test_a_lost_lease_is_told_with_the_queue(make_store: Maker) -> None:
    store = make_store.filled(b"a", queue="jobs")
    (claim,) = store.claim("jobs")
    store.commit(Ack(claim))
    with pytest.raises(PqadaptersError, match="jobs"):
        store.commit(Ack(claim))
