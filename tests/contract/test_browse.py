"""`browse`: the records as they are, claimed by nobody through it."""

from __future__ import annotations

import itertools

from pqadapters.store import Ack, Nack, Order, Put, Record, State, Store

from .maker import START, Maker
from .snapshot import snapshot


def _mixed(make_store: Maker) -> Store:
    """Records 0 to 8: claimed where n % 3 == 0, delayed where n % 3 == 1; ranks fall."""
    store = make_store()
    for n in range(9):
        store.commit(Put("q", b"%d" % n, rank=b"%d" % (9 - n), not_before=START + 60 if n % 3 == 1 else 0.0))
    ids = [record.id for record in store.browse("q")]
    store.claim("q", ids=ids[::2], limit=3)
    return store


def test_browse_shows_all_of_a_record(make_store: Maker) -> None:
    store = make_store()
    (id,) = store.commit(Put("q", b"payload", rank=b"rank", not_before=START + 60))
    (record,) = store.browse("q", state=None)
    assert record._replace(put_at=0.0) == Record("q", id, State.DELAYED, b"payload", b"rank", 0, 0.0, START + 60, "")
    assert abs(record.put_at - START) < 0.001


def test_browse_by_state_and_order(make_store: Maker) -> None:
    store = _mixed(make_store)
    for state, order in itertools.product([*State, None], Order):
        names = {State.CLAIMED: b"036", State.DELAYED: b"147", State.READY: b"258", None: b"012345678"}[state]
        expected = [b"%c" % n for n in names][:: 1 if order is Order.OLDEST else -1]
        found = list(store.browse("q", state=state, order=order))
        assert [record.payload for record in found] == expected, f"{state} {order}"
        assert state is None or {record.state for record in found} == {state}


def test_browse_after_an_id(make_store: Maker) -> None:
    store = _mixed(make_store)
    ids = [record.id for record in store.browse("q", state=None)]
    for n, order in itertools.product((0, 3, 7, 8), Order):
        found = store.browse("q", state=None, after=ids[n], order=order)
        assert sorted(record.id for record in found) == ids[n + 1 :]
    assert [record.payload for record in store.browse("q", after=ids[4])] == [b"5", b"8"]
    assert list(store.browse("q", after=ids[-1] + 100)) == []
    store.commit(Put("behind", b"of another queue"))
    for name, payloads in (("q", [b"2", b"5", b"8"]), ("behind", [b"of another queue"])):
        assert [record.payload for record in store.browse(name, after=-(2**42))] == payloads


def test_browse_of_many(make_store: Maker) -> None:
    """Page by page, however the states lie among each other."""
    for ranks in (1, 7):
        store, name = make_store(), f"of {ranks}"
        ranked = [b"%d" % (n % ranks) if ranks > 1 else b"" for n in range(700)]
        later = [START + 60 if n % 5 == 1 else 0.0 for n in range(700)]
        ids = store.commit(*[Put(name, b"", rank=rank, not_before=at) for rank, at in zip(ranked, later, strict=True)])
        store.claim(name, ids=ids[300:420], limit=700)
        for order in Order:
            found = [record.id for record in store.browse(name, state=None, order=order)]
            first = sorted(ids, key=lambda id: (ids.index(id) % ranks)) if order is Order.RANK else list(ids)
            assert found == (first[::-1] if order is Order.NEWEST else first), f"{ranks} {order}"
        assert [record.id for record in store.browse(name, state=None, after=ids[13])] == list(ids[14:])


def test_browse_of_many_that_are_ready(make_store: Maker) -> None:
    """In the order in which claims take them, also those whose delay is over and that nobody has claimed since."""
    for ranks, later, start in itertools.product((1, 3, 700), (0.0, 60.0), (b"", b"long" * 200)):
        store, name = make_store(), f"of {ranks} {later} {len(start)}"
        ranked = [start * (n > 90) + b"%03d" % (n * 7 % ranks) if ranks > 1 else b"" for n in range(700)]
        due = [START + later if n % 5 == 1 else 0.0 for n in range(700)]
        ids = store.commit(*[Put(name, b"", rank=rank, not_before=at) for rank, at in zip(ranked, due, strict=True)])
        store.claim(name, ids=ids[300:420], limit=700)
        make_store.clock.advance(later)
        found = {order: [record.id for record in store.browse(name, order=order)] for order in Order}
        assert found[Order.NEWEST] == found[Order.OLDEST][::-1]
        for order in (Order.OLDEST, Order.RANK):
            claims = store.claim(name, order=order, limit=700)
            assert [claim.id for claim in claims] == found[order], f"{ranks} {later} {order}"
            store.commit(*map(Nack, claims))


def test_browse_while_records_come_and_go(make_store: Maker) -> None:
    """What was there all the time is seen once, in its place; what has left meanwhile, and come back, once at most."""
    for order, ranks in itertools.product(Order, (1, 2)):
        store, name = make_store(), f"{order} {ranks}"
        ranked = [b"%d" % (n % ranks) if ranks > 1 else b"" for n in range(40)]
        ids = store.commit(*[Put(name, b"", rank=rank) for rank in ranked])
        stay = [record.id for record in store.browse(name, order=order)]
        looking = store.browse(name, order=order)
        found = [next(looking).id]
        first, *others = store.claim(name, ids=[found[0], *ids[5:8]], limit=9)
        store.commit(Put(name, b"new", rank=ranked[-1]), Nack(first), *map(Ack, others))
        found += [record.id for record in looking]
        gone = {claim.id for claim in others}
        assert len(set(found)) == len(found)
        assert [id for id in found if id in ids and id not in gone] == [id for id in stay if id not in gone]


def test_browse_claims_nothing(make_store: Maker) -> None:
    store = _mixed(make_store)
    before = snapshot(store)
    for state in (*State, None):
        list(store.browse("q", state=state))
        next(iter(store.browse("q", state=state)))
    assert snapshot(store) == before
    assert [claim.attempt for claim in store.claim("q", limit=9)] == [1, 1, 1]


def test_browse_of_nothing(make_store: Maker) -> None:
    store = make_store.filled(b"a", queue="other")
    assert list(store.browse("q", state=None)) == []
    assert list(store.browse("other", state=State.CLAIMED)) == []


def test_browse_counts_attempts(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    store.commit(Nack(store.claim("q")[0]))
    store.claim("q")
    assert [record.attempts for record in store.browse("q", state=None)] == [2, 0]


def test_browse_while_the_queue_changes(make_store: Maker) -> None:
    store = make_store()
    ids = store.commit(*(Put("q", b"%d" % n) for n in range(60)))
    claims = {claim.id: claim for claim in store.claim("q", ids=ids[1::2], limit=30)}
    for order in Order:
        seen = []
        for n, record in enumerate(store.browse("q", order=order, state=None)):
            seen.append(record.id)
            store.commit(Put("q", b"new", rank=b"x"))
            if n % 5 == 0 and claims:
                store.commit(Ack(claims.popitem()[1]))
            if n > 500:  # an iterator that follows the new ones for ever
                break
        assert len(seen) == len(set(seen)), "a record was shown twice"
        assert set(seen) >= set(ids[::2]), "a record that stayed was not shown"


def test_browse_by_several_threads_and_handles(make_store: Maker) -> None:
    store, other = make_store.filled(b"a", b"b"), make_store()
    ours, theirs = store.browse("q"), other.browse("q")
    assert [record.payload for pair in zip(ours, theirs, strict=True) for record in pair] == [b"a", b"a", b"b", b"b"]
