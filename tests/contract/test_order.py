"""I4: ready records leave in the claim's order, and one that comes back keeps its place."""

from __future__ import annotations

import itertools

from pqadapters.store import Ack, Claim, Nack, Order, Put, Store

from .maker import Maker

RANKS = [b"m", b"", b"\xff", b"a", b"\x00", b"m", b"a\x00", b"\x00\x00", b"ab", b"", b"m\xff", b"a"]


def _ranked(store: Store) -> list[int]:
    """Puts one record for each rank; the ids, in the order of RANK."""
    ids = store.commit(*(Put("q", b"%d" % n, rank=rank) for n, rank in enumerate(RANKS)))
    return [id for _, id in sorted(zip(RANKS, ids, strict=True))]


def _drain(store: Store, order: Order, limit: int = 1) -> list[int]:
    taken: list[Claim] = []
    while claims := store.claim("q", order=order, limit=limit):
        taken += claims
    return [claim.id for claim in taken]


def _give_back(store: Store, ids: list[int]) -> None:
    claims = {claim.id: claim for id in ids for claim in store.claim("q", ids=[id])}
    store.commit(*(Nack(claims[id]) for id in ids))


def test_i4_oldest_newest_and_rank(make_store: Maker) -> None:
    for order, limit in itertools.product(Order, (1, 2, 5, 100)):
        store = make_store()
        ranked = _ranked(store)
        expected = {Order.RANK: ranked, Order.OLDEST: sorted(ranked), Order.NEWEST: sorted(ranked, reverse=True)}
        assert _drain(store, order, limit) == expected[order], f"{order} by {limit}"
        make_store.close()
        store = make_store()
        store.commit(*map(Ack, store.claim("q", limit=100)))


def test_i4_orders_may_be_mixed_on_one_queue(make_store: Maker) -> None:
    store = make_store()
    left = _ranked(store)
    for order in itertools.islice(itertools.cycle(Order), len(left)):
        expected = {Order.RANK: left[0], Order.OLDEST: min(left), Order.NEWEST: max(left)}[order]
        (claim,) = store.claim("q", order=order)
        assert claim.id == expected
        left.remove(expected)


def test_i4_equal_ranks_leave_by_id(make_store: Maker) -> None:
    store = make_store()
    ids = list(store.commit(*(Put("q", b"", rank=b"same") for _ in range(20))))
    assert _drain(store, Order.RANK) == ids


def test_i4_a_rank_put_later_leaves_earlier(make_store: Maker) -> None:
    store = make_store()
    for rank in (b"c", b"b", b"d", b"a"):
        store.commit(Put("q", rank, rank=rank))
        assert next(store.browse("q", order=Order.RANK)).rank == min(r.rank for r in store.browse("q"))
    (first,) = store.claim("q", order=Order.RANK)
    assert (first.payload, first.rank) == (b"a", b"a")


def test_i4_a_nacked_record_keeps_its_place(make_store: Maker) -> None:
    for order in Order:
        store = make_store()
        ranked = _ranked(store)
        _give_back(store, [ranked[n] for n in (7, 3, 11, 0, 5)])  # in an order of its own
        expected = {Order.RANK: ranked, Order.OLDEST: sorted(ranked), Order.NEWEST: sorted(ranked, reverse=True)}
        assert _drain(store, order) == expected[order], f"{order}"
        make_store.close()
        store = make_store()
        store.commit(*map(Ack, store.claim("q", limit=100)))


def test_i4_an_owner_that_closed_gives_records_back_in_place(make_store: Maker) -> None:
    store = make_store()
    ranked = _ranked(store)
    owner = make_store()
    owner.claim("q", order=Order.RANK, limit=3)
    owner.claim("q", order=Order.NEWEST, limit=3)
    owner.close()
    assert _drain(store, Order.RANK) == ranked


def test_i4_a_record_whose_delay_ran_out_has_the_place_of_its_id(make_store: Maker) -> None:
    store = make_store()
    late = make_store.clock.now + 10
    ids = store.commit(Put("q", b"a"), Put("q", b"b", not_before=late), Put("q", b"c"), Put("q", b"d", rank=b"z"))
    (a,) = store.claim("q")
    store.commit(Nack(a, not_before=late))
    assert [record.id for record in store.browse("q")] == [ids[2], ids[3]]
    make_store.clock.advance(11)
    for order, expected in ((Order.OLDEST, ids), (Order.NEWEST, ids[::-1]), (Order.RANK, ids)):
        claims = store.claim("q", order=order, limit=10)
        assert [claim.id for claim in claims] == list(expected), f"{order}"
        store.commit(*map(Nack, claims))


def test_i4_claims_by_ids_come_in_order(make_store: Maker) -> None:
    store = make_store()
    ranked = _ranked(store)
    some = [ranked[n] for n in (6, 1, 9, 4)]
    expected = {Order.RANK: [ranked[n] for n in (1, 4, 6, 9)], Order.OLDEST: sorted(some)}
    expected[Order.NEWEST] = expected[Order.OLDEST][::-1]
    for order, ids in expected.items():
        claims = store.claim("q", order=order, ids=some, limit=10)
        assert [claim.id for claim in claims] == ids
        store.commit(*map(Nack, claims))


def test_i4_queues_have_orders_of_their_own(make_store: Maker) -> None:
    store = make_store()
    for n in range(6):
        store.commit(Put("even" if n % 2 == 0 else "odd", b"%d" % n, rank=b"%d" % (9 - n)))
    assert [claim.payload for claim in store.claim("even", limit=9)] == [b"0", b"2", b"4"]
    assert [claim.payload for claim in store.claim("odd", order=Order.RANK, limit=9)] == [b"5", b"3", b"1"]


def test_i4_records_that_came_back_leave_one_by_one_among_the_others(make_store: Maker) -> None:
    store = make_store()
    ids = store.commit(*[Put("q", b"")] * 7)
    taken = store.claim("q", limit=6)
    store.commit(*(Nack(taken[n]) for n in (4, 0, 5, 2)))
    assert _drain(store, Order.OLDEST) == [ids[n] for n in (0, 2, 4, 5, 6)]
