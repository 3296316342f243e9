"""Records that move here from another store: what was known of them there is known here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from pqadapters.errors import LimitReached
from pqadapters.store import Ack, Claim, Nack, Op, Order, Put, Record, Set, State, Store, Update

from .maker import START, Maker
from .snapshot import payloads, snapshot

THEN = START - 1000.5
NOTE = "can't be decoded: ungültig\n"

#: Each field alone, none, and all of them.
MOVED = [
    Put("q", b"%d%d%d" % (attempts > 0, put_at > 0, note > ""), attempts=attempts, put_at=put_at, note=note)
    for attempts, put_at, note in itertools.product((0, 3), (0.0, THEN), ("", NOTE))
]


def _known(record: Record) -> tuple[bytes, int, float, str]:
    return record.payload, record.attempts, record.put_at, record.note


def _told(claim: Claim) -> tuple[bytes, int, float, str]:
    return claim.payload, claim.attempt - 1, claim.put_at, claim.note


def _expected(put: Put) -> tuple[bytes, int, float, str]:
    return put.payload, put.attempts, put.put_at or START, put.note


def _busy(store: Store) -> None:
    """Others come and go, so many that a log is cleaned."""
    for n in range(40):
        store.commit(*(Put("busy", bytes(300)) for _ in range(5)), Set("t", b"%d" % (n % 3), bytes(100)))
        store.commit(*map(Ack, store.claim("busy", limit=5)))


def test_a_moved_record_is_shown_as_it_was(make_store: Maker) -> None:
    store = make_store()
    for put in MOVED:
        store.commit(put)
    assert [_known(record) for record in store.browse("q")] == [_expected(put) for put in MOVED]


def test_i5_the_attempts_of_a_moved_record_go_on(make_store: Maker) -> None:
    store = make_store()
    store.commit(*MOVED)
    claims = [*store.claim("q"), *store.claim("q"), *store.claim("q", limit=9)]
    assert [_told(claim) for claim in claims] == [_expected(put) for put in MOVED]
    store.commit(*map(Nack, claims))
    assert [claim.attempt for claim in store.claim("q", limit=9)] == [put.attempts + 2 for put in MOVED]


def test_moved_records_among_others_keep_what_is_theirs(make_store: Maker) -> None:
    """Each commit of its own, so that a store which remembers the last puts has its chance."""
    store, puts = make_store(), [put for moved in MOVED for put in (Put("q", b"plain"), moved)]
    for put in puts:
        store.commit(put)
    for put in puts:
        (claim,) = store.claim("q")
        assert _told(claim) == _expected(put)
        store.commit(Ack(claim))


def test_i1_what_is_known_of_a_moved_record_survives(make_store: Maker) -> None:
    store = make_store()
    store.commit(*MOVED, Put("q.dead", b"letter", rank=b"r", attempts=2, put_at=THEN, note=NOTE))
    before = snapshot(store)
    for turn in range(3):
        if turn == 1:
            store.checkpoint()
        store = make_store.reopen()
        assert snapshot(store) == before
    assert [_told(claim) for claim in store.claim("q", limit=9)] == [_expected(put) for put in MOVED]
    assert [_told(claim) for claim in store.claim("q.dead")] == [(b"letter", 2, THEN, NOTE)]


def test_i1_a_moved_record_is_known_after_a_long_time(make_store: Maker) -> None:
    store = make_store()
    store.commit(*MOVED, Put("q.dead", b"letter", rank=b"r", attempts=2, put_at=THEN, note=NOTE))
    before = snapshot(store)
    for _ in range(2):
        _busy(store)
        assert snapshot(store, tables=("u",)).records == before.records
        store = make_store.reopen()
        assert snapshot(store, tables=("u",)).records == before.records
    assert [_told(claim) for claim in store.claim("q", limit=9)] == [_expected(put) for put in MOVED]


def _nacked(make_store: Maker, store: Store, queue: str) -> int:
    store.commit(*map(Nack, store.claim(queue)))
    return 1


def _delayed(make_store: Maker, store: Store, queue: str) -> int:
    (claim,) = store.claim(queue)
    store.commit(Nack(claim, not_before=make_store.clock.now + 5))
    make_store.clock.advance(6)
    return 1


def _counted(make_store: Maker, store: Store, queue: str) -> int:
    store.commit(*map(Nack, store.claim(queue, counted=True)))
    return 1


def _updated(make_store: Maker, store: Store, queue: str) -> int:
    (claim,) = store.claim(queue)
    store.commit(Update(claim, b"new"), Nack(claim))
    return 1


def _updated_again(make_store: Maker, store: Store, queue: str) -> int:
    return _counted(make_store, store, queue) + _updated(make_store, store, queue)


def _given_back_by_closing(make_store: Maker, store: Store, queue: str) -> int:
    other = make_store()
    other.claim(queue)
    other.close()
    return 1


#: What may happen to a record; each returns how many claims it took.
CHANGES: list[Callable[[Maker, Store, str], int]] = [
    _nacked,
    _delayed,
    _counted,
    _updated,
    _updated_again,
    _given_back_by_closing,
]


def _changed(make_store: Maker) -> Iterator[tuple[str, int]]:
    """A queue for each change, and how often its record was claimed by then."""
    store = make_store()
    for change in CHANGES:
        queue = change.__name__
        store.commit(Put(queue, b"a", rank=b"r", attempts=3, put_at=THEN, note=NOTE))
        yield queue, 3 + change(make_store, store, queue)


def test_a_moved_record_keeps_what_is_known_of_it(make_store: Maker) -> None:
    store, changed = make_store(), dict(_changed(make_store))
    for _ in range(2):
        for queue, attempts in changed.items():
            (record,) = store.browse(queue)
            assert _known(record)[1:] == (attempts, THEN, NOTE), queue
        _busy(store)
    for queue, attempts in changed.items():
        (claim,) = store.claim(queue, order=Order.RANK)
        assert (*_told(claim)[1:], claim.rank) == (attempts, THEN, NOTE, b"r"), queue


def test_i1_a_changed_record_keeps_what_is_known_of_it(make_store: Maker) -> None:
    store, changed = make_store(), dict(_changed(make_store))
    for _ in range(2):
        store = make_store.reopen()
        for queue, attempts in changed.items():
            (record,) = store.browse(queue, order=Order.RANK)
            assert 3 <= record.attempts <= attempts, f"{queue}: attempts grow, and one that isn't counted may be lost"
            assert (record.put_at, record.note, record.rank) == (THEN, NOTE, b"r"), queue
        _busy(store)


def test_a_moved_record_is_shown_as_it_was_while_it_is_claimed(make_store: Maker) -> None:
    store = make_store()
    store.commit(*(Put("q", b"%d" % n, attempts=3, put_at=THEN, note=NOTE) for n in range(3)))
    (plain,), (counted, updated) = store.claim("q"), store.claim("q", limit=2, counted=True)
    store.commit(Update(updated, b"new"))
    for _ in range(2):
        found = [(_known(record), record.state) for record in store.browse("q", state=None)]
        assert found == [((payload, 4, THEN, NOTE), State.CLAIMED) for payload in (b"0", b"1", b"new")]
        _busy(store)
    store.commit(*map(Ack, (plain, counted, updated)))


def test_a_moved_dead_letter_lies_among_the_dead(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"alive"), Put("q.dead", b"12", attempts=7, put_at=THEN, note=NOTE))
    assert store.depth("q")[:5] == (1, 0, 0, 1, 5)
    assert store.depth("q.dead")[:5] == (1, 0, 0, 0, 2)
    (claim,) = store.claim("q.dead")
    assert _told(claim) == (b"12", 7, THEN, NOTE)
    store.commit(Nack(claim))
    assert [record.note for record in store.browse("q.dead")] == [NOTE]


def test_a_moved_record_dies_of_a_reason_of_its_own(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"a", attempts=7, note="first"), Put("q.dead", b"b", note="first"))
    (alive,), (dead,) = store.claim("q"), store.claim("q.dead")
    store.commit(Nack(alive, dead=""), Nack(dead, dead="second, and longer"))
    expected = [(b"a", 8, ""), (b"b", 1, "second, and longer")]
    assert [(r.payload, r.attempts, r.note) for r in store.browse("q.dead")] == expected
    store = make_store.reopen()
    assert [(r.payload, r.attempts, r.note) for r in store.browse("q.dead")] == expected


def test_notes_of_every_kind(make_store: Maker) -> None:
    notes = ["\udcff", "\0", "x" * 20_000, "記" * 3000, ""]
    store = make_store()
    store.commit(*(Put("q.dead", b"payload", rank=b"rank", note=note) for note in notes))
    for _ in range(2):
        found = [(record.payload, record.rank, record.note) for record in store.browse("q.dead")]
        assert found == [(b"payload", b"rank", note) for note in notes]
        store = make_store.reopen()


def test_the_oldest_age_follows_a_moved_record(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", put_at=THEN), Put("q", b"b"))
    assert store.depth("q").oldest_age == START - THEN
    clock.advance(10)
    assert store.depth("q").oldest_age == START - THEN + 10
    store.claim("q")
    assert store.depth("q").oldest_age == 10


def test_the_oldest_is_who_came_first(make_store: Maker) -> None:
    """A record that moves here goes behind those that are here, however old it is."""
    store = make_store.filled(b"a")
    store.commit(Put("q", b"b", put_at=THEN))
    assert payloads(store) == [b"a", b"b"]
    assert store.depth("q").oldest_age == 0
    store.claim("q")
    assert store.depth("q").oldest_age == START - THEN


def test_the_age_of_a_record_from_a_clock_that_is_ahead_is_not_negative(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"a", put_at=START + 60))
    assert store.depth("q").oldest_age == 0.0
    assert [claim.put_at for claim in store.claim("q")] == [START + 60]


def test_i4_moved_records_leave_by_rank(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"c", b"2", attempts=1), Put("q", b"a", b"1", put_at=THEN), Put("q", b"d", b"2", note="x"))
    store.commit(Put("q", b"b", b"1"))
    claims = store.claim("q", order=Order.RANK, limit=9)
    assert [(claim.payload, claim.rank, claim.attempt, claim.put_at, claim.note) for claim in claims] == [
        (b"a", b"1", 1, THEN, ""),
        (b"b", b"1", 1, START, ""),
        (b"c", b"2", 2, START, ""),
        (b"d", b"2", 1, START, "x"),
    ]


def test_a_moved_record_goes_on_being_late(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    moved = Put("q", b"a", rank=b"r", not_before=START + 60, attempts=3, put_at=THEN, note=NOTE)
    store.commit(moved)
    assert (store.claim("q"), store.depth("q")[:3]) == ([], (0, 1, 0))
    (record,) = store.browse("q", state=State.DELAYED)
    assert (*_known(record), record.not_before) == (*_expected(moved), START + 60)
    clock.advance(61)
    assert [_told(claim) for claim in store.claim("q")] == [_expected(moved)]


def test_i9_limits_hold_for_moved_records(make_store: Maker) -> None:
    store = make_store.filled(b"12")
    known = {"attempts": 3, "put_at": THEN, "note": NOTE}
    for limits in ({"limit": 1}, {"limit_bytes": 3}):
        with pytest.raises(LimitReached):
            store.commit(Put("q", b"34", **limits, **known))  # type: ignore[arg-type]
    assert payloads(store) == [b"12"]
    store.commit(Put("q", b"34", limit=2, limit_bytes=4, attempts=3, put_at=THEN, note=NOTE))
    assert [_known(record) for record in store.browse("q")][1] == (b"34", 3, THEN, NOTE)


def test_negative_attempts_are_refused(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    before = snapshot(store)
    refused: list[list[Op]] = [
        [Put("q", b"x", attempts=-1)],
        [Put("q.dead", b"x", rank=b"r", not_before=START + 60, attempts=-3, put_at=THEN, note=NOTE)],
        [Put("q", b"y"), Set("t", b"k", b"v"), Put("q", b"x", attempts=-1), Put("q", b"z")],
    ]
    for ops in refused:
        with pytest.raises(ValueError, match="-"):
            store.commit(*ops)
        assert snapshot(store) == before, "something was stored"
    assert snapshot(make_store.reopen()) == before


def test_negative_attempts_in_a_finalizer_are_nobody_elses_trouble(make_store: Maker) -> None:
    store = make_store()

    def stop() -> bool:  # it runs in the middle of a commit, as a finalizer may
        store.commit(Put("q", b"x", attempts=-1))
        return False

    store.commit(Put("q", b"a"), stop=stop)
    assert payloads(store) == [b"a"]
