"""Many operations of one kind in a commit or claim: what stores do for all of them at once is what they do for each."""

from __future__ import annotations

import pytest

from pqadapters.errors import LeaseLost
from pqadapters.store import Ack, Claim, Nack, Op, Order, Put, State

from .maker import Maker
from .snapshot import payloads, snapshot

MANY = 9


def _filled(make_store: Maker) -> list[bytes]:
    return [b"%d" % n for n in range(MANY)]


def test_i1_ids_of_many_puts_are_those_of_the_records(make_store: Maker) -> None:
    store = make_store.filled(b"before")
    items = _filled(make_store)
    ids = store.commit(*(Put("q", item) for item in items))
    assert [(each.id, each.payload) for each in store.browse("q")][1:] == list(zip(ids, items, strict=True))
    (after,) = store.commit(Put("q", b"after"))
    assert after > ids[-1]


def test_i2_puts_to_several_queues_among_other_ops_keep_their_order(make_store: Maker) -> None:
    store = make_store.filled(b"x")
    (claim,) = store.claim("q")
    ops: list[Op] = [Put("q", b"%d" % n) for n in range(5)]
    ops += [Put("r", b"%d" % n) for n in range(5)]
    ops += [Nack(claim), Put("q", b"a" * 5_000), *(Put("q", b"%d" % n) for n in range(5, 10))]
    results = store.commit(*ops)
    assert results[10] == 0
    assert [each.id for each in store.browse("q")] == [claim.id, *results[:5], *results[11:]]
    assert [each.id for each in store.browse("r")] == list(results[5:10])


def test_i4_many_puts_without_a_rank_come_before_those_with_one(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"ranked", rank=b"\1"))
    store.commit(*(Put("q", item) for item in _filled(make_store)))
    assert [claim.payload for claim in store.claim("q", order=Order.RANK, limit=20)][-1] == b"ranked"


def test_i6_many_acknowledgements_of_which_one_is_stale_change_nothing(make_store: Maker) -> None:
    store = make_store.filled(*_filled(make_store))
    claims = store.claim("q", limit=MANY)
    store.commit(Nack(claims[4]))
    before = snapshot(store)
    for lazy in (False, True):
        with pytest.raises(LeaseLost, match=str(claims[4].id)):
            store.commit(*(Ack(claim, lazy=lazy) for claim in claims))
        assert snapshot(store) == before
    store.commit(*(Ack(claim) for claim in claims if claim is not claims[4]))
    assert [(each.payload, each.state) for each in store.browse("q", state=None)] == [(b"4", State.READY)]


def test_i6_one_claim_acknowledged_twice_among_many_changes_nothing(make_store: Maker) -> None:
    store = make_store.filled(*_filled(make_store))
    claims = store.claim("q", limit=MANY)
    before = snapshot(store)
    with pytest.raises(LeaseLost):
        store.commit(*(Ack(claim) for claim in [*claims, claims[2]]))
    assert snapshot(store) == before


def test_a_claim_passes_over_the_stale_one_of_many_acknowledgements(make_store: Maker) -> None:
    store = make_store.filled(*_filled(make_store))
    claims = store.claim("q", limit=MANY - 1)
    store.commit(Nack(claims[3]))
    (next,) = store.claim("q", acks=[Ack(claim, lazy=True) for claim in claims])
    assert next.payload == b"3"
    assert payloads(store) == [b"8"]
    assert store.depth("q").unfinished == 2


def test_acknowledgements_of_several_queues_with_a_claim(make_store: Maker) -> None:
    store = make_store()
    store.commit(*(Put(queue, b"%d" % n) for queue in "qr" for n in range(5)))
    held: list[Claim] = [*store.claim("q", limit=4), *store.claim("r", limit=5)]
    (last,) = store.claim("q", acks=[Ack(claim) for claim in held])
    assert last.payload == b"4"
    assert (store.depth("q").unfinished, store.depth("r").unfinished) == (1, 0)


def test_i5_many_are_claimed_around_those_that_are_in_hand(make_store: Maker) -> None:
    store, other = make_store.filled(*_filled(make_store)), make_store()
    first, second, *_ = store.claim("q", limit=3)
    store.commit(Nack(first))
    assert [claim.payload for claim in other.claim("q", limit=20)] == [b"0", *(b"%d" % n for n in range(3, MANY))]
    store.commit(Ack(second))
    assert store.depth("q").claimed == MANY - 1


def test_many_claims_carry_attempts_bodies_and_what_was_updated(make_store: Maker) -> None:
    large = b"x" * 5_000
    store = make_store.filled(b"a", large, b"c", b"", b"e")
    store.commit(*(Nack(claim) for claim in store.claim("q", limit=2)))
    claims = store.claim("q", limit=5)
    assert [claim.payload for claim in claims] == [b"a", large, b"c", b"", b"e"]
    assert [claim.attempt for claim in claims] == [2, 2, 1, 1, 1]
    store.commit(*(Ack(claim) for claim in claims))
    assert store.depth("q").bytes == 0


def test_many_claims_are_ready_again_when_their_handle_is_closed(make_store: Maker) -> None:
    store, other = make_store.filled(*_filled(make_store)), make_store()
    other.claim("q", limit=6)
    assert payloads(store) == [b"6", b"7", b"8"]
    other.close()
    assert payloads(store) == _filled(make_store)
