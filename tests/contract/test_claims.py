"""I3 and I5: who gets a record, and in which state it is."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from functools import partial

import pytest

from pqadapters.store import Ack, Claim, Nack, Order, Put, Record, State, Store, Update

from .maker import Maker
from .snapshot import snapshot
from .threads import together


def test_a_claim_of_an_empty_queue_is_empty(make_store: Maker) -> None:
    store = make_store.filled(b"a", queue="other")
    for timeout in (0, 0.0, -1, -0.5, 0.01):
        assert store.claim("q", timeout=timeout) == []
    assert store.claim("q") == []


def test_a_claim_takes_up_to_its_limit(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c", b"d")
    assert [claim.payload for claim in store.claim("q")] == [b"a"]
    assert [claim.payload for claim in store.claim("q", limit=2)] == [b"b", b"c"]
    assert [claim.payload for claim in store.claim("q", limit=2, timeout=make_store.patience)] == [b"d"]


def test_a_claim_by_ids_takes_those_that_are_ready(make_store: Maker) -> None:
    store = make_store()
    ids = store.commit(*(Put("q", b"%d" % n) for n in range(6)))
    (elsewhere,) = store.commit(Put("other", b"x"))
    (held,) = store.claim("q", ids=[ids[1]])
    assert held.id == ids[1]
    wanted = [ids[4], ids[1], ids[2], elsewhere, ids[-1] + 1000]
    assert {claim.id for claim in store.claim("q", ids=wanted, limit=10)} == {ids[2], ids[4]}
    assert store.claim("q", ids=wanted) == []
    assert store.claim("q", ids=[]) == []
    assert [record.id for record in store.browse("q")] == [ids[0], ids[3], ids[5]]
    assert store.depth("other").ready == 1


def test_a_claim_by_ids_keeps_to_its_limit(make_store: Maker) -> None:
    store = make_store()
    ids = store.commit(*(Put("q", b"") for _ in range(4)))
    assert len(store.claim("q", ids=ids)) == 1
    assert len(store.claim("q", ids=ids, limit=2)) == 2
    assert store.depth("q").ready == 1


def test_i3_a_record_is_in_one_state(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"a"), Put("q", b"b"), Put("q", b"c", not_before=make_store.clock.now + 60))
    store.claim("q")
    by_state = {state: [record.payload for record in store.browse("q", state=state)] for state in State}
    assert by_state == {State.CLAIMED: [b"a"], State.READY: [b"b"], State.DELAYED: [b"c"]}
    assert [record.state for record in store.browse("q", state=None)] == [State.CLAIMED, State.READY, State.DELAYED]


def test_i5_a_claimed_record_is_not_claimed_again(make_store: Maker) -> None:
    first = make_store.filled(b"a", b"b")
    second = make_store()
    (a,) = first.claim("q")
    (b,) = second.claim("q")
    assert (a.payload, b.payload) == (b"a", b"b")
    assert first.claim("q") == second.claim("q") == second.claim("q", ids=[a.id, b.id]) == []


def test_i5_two_consumers_never_share_a_claim(make_store: Maker) -> None:
    store, expected = make_store(), {b"%d" % n for n in range(200)}
    store.commit(*map(_put, sorted(expected)))

    def consume(handle: Store) -> list[Claim]:
        taken = []
        while claims := handle.claim("q", limit=3):
            taken += claims
            handle.commit(*map(Ack, claims))
        return taken

    handles = [store, make_store(), store, make_store()]
    taken = together([partial(consume, handle) for handle in handles], patience=make_store.patience)
    counted = collections.Counter(claim.payload for claims in taken for claim in claims)
    assert counted == collections.Counter(expected), "a record went to two consumers, or to none"
    assert store.depth("q").unfinished == 0


def _put(payload: bytes) -> Put:
    return Put("q", payload)


def test_i5_consumers_and_producers_at_once(make_store: Maker) -> None:
    store, size = make_store(), 40
    left = threading.Semaphore(3 * size)

    def produce(name: int) -> list[Claim]:
        for n in range(size):
            store.commit(Put("q", b"%d-%d" % (name, n)))
        return []

    def consume() -> list[Claim]:
        taken = []
        while left.acquire(blocking=False):
            taken += store.claim("q", timeout=None)
        return taken

    threads: list[Callable[[], list[Claim]]] = [*(partial(produce, n) for n in range(3)), consume, consume]
    claims = [claim for some in together(threads, patience=make_store.patience) for claim in some]
    assert len({claim.id for claim in claims}) == len({claim.payload for claim in claims}) == 3 * size
    assert store.depth("q").claimed == 3 * size


def test_i5_the_attempt_grows_by_one(make_store: Maker) -> None:
    first = make_store.filled(b"a")
    second = make_store()
    for attempt in range(1, 7):
        handle = (first, second)[attempt % 2]
        (claim,) = handle.claim("q", counted=attempt > 3)
        assert claim.attempt == attempt
        handle.commit(Nack(claim))
    assert [record.attempts for record in first.browse("q")] == [6]


def test_a_counted_claim_is_like_any_other(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c")
    claims = store.claim("q", limit=2, counted=True, lease=1.0)
    assert [(claim.payload, claim.attempt) for claim in claims] == [(b"a", 1), (b"b", 1)]
    store.commit(Ack(claims[0]), Nack(claims[1]))
    assert [claim.attempt for claim in store.claim("q", limit=2, counted=True)] == [2, 1]


def test_i9_a_claim_of_no_records_gets_none(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    before = snapshot(store)
    for order in Order:
        assert store.claim("q", order=order, limit=0) == []
        assert snapshot(store) == before
    assert not store.damage


def test_i9_stop_is_looked_at_before_anything_is_claimed(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    before = snapshot(store)
    for timeout in (0, None, make_store.patience):
        assert store.claim("q", stop=lambda: True, timeout=timeout) == []
        assert snapshot(store) == before
    assert [claim.payload for claim in store.claim("q", stop=lambda: False)] == [b"a"]


def test_i9_a_stop_that_raises_claims_nothing(make_store: Maker) -> None:
    store = make_store.filled(b"a")

    def stop() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.claim("q", stop=stop)
    assert [claim.attempt for claim in store.claim("q")] == [1]


def test_an_update_stays_with_the_record(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    (claim,) = store.claim("q")
    assert store.commit(Update(claim, b"progress 1")) == (0,)
    store.commit(Update(claim, b"progress two"))  # the claim goes on
    (record,) = store.browse("q", state=State.CLAIMED)
    assert (record.id, record.payload) == (claim.id, b"progress two")
    assert store.depth("q").bytes == len(b"progress two" + b"b")
    store.commit(Nack(claim))
    (again,) = store.claim("q")
    assert (again.id, again.payload, again.attempt) == (claim.id, b"progress two", 2)


def test_an_update_leaves_everything_else_of_the_record(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"a", rank=b"rank"))
    (before,) = store.browse("q")
    (claim,) = store.claim("q")
    store.commit(Update(claim, b"b"), Nack(claim))
    (after,) = store.browse("q")
    assert after == Record("q", claim.id, State.READY, b"b", b"rank", 1, before.put_at, 0.0, "")


# Acknowledgements that travel with a claim


def test_a_claim_carries_out_acknowledgements_first(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    (first,) = store.claim("q")
    (second,) = store.claim("q", acks=[Ack(first)])
    assert second.payload == b"b"
    assert [record.payload for record in store.browse("q", state=None)] == [b"b"]
    assert store.claim("q", acks=[Ack(second, lazy=True)]) == []
    assert not store.depth("q").unfinished


def test_acknowledgements_are_carried_out_where_nothing_can_be_claimed(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    claims = store.claim("q", limit=2)
    assert store.claim("empty", acks=[Ack(claims[0])]) == []
    assert store.claim("empty", acks=[Ack(claims[1])], stop=lambda: True) == []
    assert not store.depth("q").unfinished


def test_of_a_claims_acknowledgements_those_of_lost_leases_are_passed_over(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c")
    first, second = store.claim("q", limit=2)
    store.commit(Nack(first))
    (again,) = store.claim("q", acks=[Ack(first), Ack(second)])
    assert again.id == first.id
    assert {record.payload for record in store.browse("q", state=None)} == {b"a", b"c"}
    assert [claim.payload for claim in store.claim("q", limit=3, acks=[Ack(again)])] == [b"c"]


def test_a_waiting_claim_has_carried_its_acknowledgements_out_already(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")

    def waiter() -> list[Claim]:
        return store.claim("q", timeout=make_store.patience, acks=[Ack(claim)])

    def other() -> list[Claim]:
        assert store.wait("q", lambda depth: not depth.unfinished, make_store.patience)
        store.commit(Put("q", b"b"))
        return []

    found, _ = together([waiter, other], patience=make_store.patience)
    assert [claim.payload for claim in found] == [b"b"]
