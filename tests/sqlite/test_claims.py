"""What claims and acknowledgements of many cost, and what is right about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pqadapters.errors import LeaseLost, StoreError
from pqadapters.store import Ack, Claim, Nack, Order, Put
from pqadapters.stores.sqlite import SqliteStore, core, schema
from pqadapters.stores.sqlite import store as stores
from pqadapters.stores.sqlite.changes import Who
from pqadapters.stores.sqlite.claims import claim_oldest
from pqadapters.stores.sqlite.work import Work
from tests.contract.late import check_a_delay_that_runs_out_behind_a_look, check_a_late_commit_rings
from tests.contract.maker import ManualClock
from tests.segment.programs import run

_DUE = 25_000

_PUTS = """
import sys
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1]) as store:
    store.commit(Put("q", b"of another process"))
"""


def test_who_has_taken_the_last_record_begins_no_transaction_to_find_none(tmp_path: Path) -> None:
    """A loop that serves each item as it comes did for each of them."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        for payload in (b"a", b"b"):
            (claim,) = store.claim("q")
            assert claim.payload == payload
            store.commit(Ack(claim))
        connection = store._core.writer.connection
        statements: list[str] = []
        assert connection is not None
        connection.set_trace_callback(statements.append)
        assert store.claim("q") == []
        assert statements == []
        connection.set_trace_callback(None)
        run(_PUTS, tmp_path / "q.db")
        (claim,) = store.claim("q")
        assert claim.payload == b"of another process"


def test_the_end_of_a_handle_that_has_claimed_nothing_looks_for_no_claims(tmp_path: Path) -> None:
    """All that was claimed, by whomever, was looked through: beside 50,000 records a close took 7 ms."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        assert store.claim("q")
        connection = store._core.writer.connection
        statements: list[str] = []
        assert connection is not None
        connection.set_trace_callback(statements.append)
        for claims in (False, True):
            with SqliteStore(tmp_path / "q.db", durability="process") as other:
                other.commit(Put("q", b"c"))
                assert not claims or other.claim("q")
                statements.clear()
            assert any("place < 0" in statement for statement in statements) == claims
        connection.set_trace_callback(None)
        assert store.depth("q")[:3] == (3, 0, 1)


def test_the_last_one_of_a_ranked_queue_and_of_one_with_delayed_records(tmp_path: Path) -> None:
    """How many are ready, delayed, and whether there are ranks, is one number."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        for rank in (b"2", b"1"):
            store.commit(Put("ranked", rank, rank))
        assert [store.claim("ranked", order=Order.RANK)[0].payload for _ in range(2)] == [b"1", b"2"]
        assert store.claim("ranked", order=Order.RANK) == []
        store.commit(Put("q", b"later", not_before=4e9), Put("q", b"now"), Put("q", b"past", not_before=1.0))
        assert [store.claim("q")[0].payload for _ in range(2)] == [b"now", b"past"]
        assert store.claim("q") == []
        assert store.depth("q").delayed == 1


def test_acknowledgements_of_neighbours_are_one_statement(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(*[Put("q", b"%d" % number) for number in range(10)])
        claims = store.claim("q", limit=6)
        connection = store._core.writer.connection
        statements: list[str] = []
        assert connection is not None
        connection.set_trace_callback(statements.append)
        store.commit(*map(Ack, reversed(claims)))
        connection.set_trace_callback(None)
        assert len({statement for statement in statements if statement.startswith("DELETE")}) == 1
        assert (store.depth("q").unfinished, store.depth("q").bytes) == (4, 4)


_OTHERS: dict[str, Callable[[list[Claim]], list[Claim]]] = {
    "one twice, in place of another": lambda claims: [claims[0], *claims[:2], *claims[3:]],
    "one of another attempt": lambda claims: [*claims[:5], claims[5]._replace(attempt=2)],
    "one that isn't there": lambda claims: [*claims, claims[5]._replace(id=claims[5].id + 1)],
    "ids that no record has": lambda claims: [claims[n]._replace(id=n - 3) for n in range(6)],
    "one of another queue, in the middle": lambda claims: [*claims, claims[0]._replace(queue="other")],
}


@pytest.mark.parametrize("others", _OTHERS)
def test_neighbours_of_which_one_is_not_held(others: str, tmp_path: Path) -> None:
    """Nothing is done then, and certainly not to the one that wasn't named."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(*[Put("before", b"")] * 6)
        store.claim("before", limit=6)
        store.commit(*[Put("q", b"%d" % number) for number in range(6)])
        claims = store.claim("q", limit=6)
        with pytest.raises(LeaseLost):
            store.commit(*map(Ack, _OTHERS[others](claims)))
        assert [store.depth(name).claimed for name in ("before", "q")] == [6, 6]
        store.commit(*map(Ack, claims))
        assert store.depth("q").unfinished == 0


def test_neighbours_that_were_handed_out_unequally_often(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(*[Put("q", b"%d" % number) for number in range(6)])
        store.commit(*map(Nack, store.claim("q", limit=3)))
        claims = store.claim("q", limit=6)
        assert {claim.attempt for claim in claims} == {1, 2}
        store.commit(*map(Ack, claims))
        assert store.depth("q").unfinished == 0


def test_i5_a_claim_that_failed_takes_nothing_from_who_claims_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, say: what it would have had was given back when that went, from whoever had it by then."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(Put("q", b"first"), Put("q", b"second"))
        store.commit(*map(Ack, store.claim("q")))
        with monkeypatch.context() as patch:
            patch.setattr(core, "give_back", refuse)
            with monkeypatch.context() as failing:
                failing.setattr(schema, "COMMIT", "COMMIT that fails")
                with pytest.raises(StoreError):
                    store.claim("q")
            (claim,) = store.claim("q")
        assert store.depth("q").claimed == 1
        store.commit(Ack(claim))


def test_i7_a_late_commit_is_heard_of_at_once(tmp_path: Path) -> None:
    """What a finalizer put in the middle of a commit was found by a waiter's own look, a quarter of a second later."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        check_a_late_commit_rings(store)


def test_i7_a_delay_that_runs_out_behind_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was found by the next look of the waiter's own, a quarter of a second later."""
    monkeypatch.setattr(stores, "_WITHOUT_LOOKOUT", 3600.0)
    clock = ManualClock()
    with SqliteStore(tmp_path / "q.db", durability="process", clock=clock) as store:
        check_a_delay_that_runs_out_behind_a_look(store, clock, 12)


def test_a_process_has_one_number_however_often_it_asks_for_it(tmp_path: Path) -> None:
    """By a signal handler in the middle of asking: what was claimed with the first one would be a dead process's."""
    with SqliteStore(tmp_path / "q.db") as store:
        store.commit(Put("q", b"x"))
        claims = store.claim("q")
        store._core.writer.do(Work(store._core._enter, synced=False))
        store.commit(*map(Ack, claims))
        assert store.depth("q").unfinished == 0


def test_i7_who_waits_hears_that_a_dead_process_had_a_record(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "q.db") as store:
        mine = store._core
        store.commit(Put("q", b"x"))
        queue = mine.names.queue("q")
        assert queue is not None

        def die(connection: sqlite3.Connection) -> None:
            number = connection.execute(schema.ADD_OWNER, (1,)).lastrowid
            assert claim_oldest(connection, "q", queue, 1, Who(number, 1))

        mine.writer.do(Work(die, synced=False))
        rings = mine.bells.of("q").rings
        assert mine.bury_dead()
        assert mine.bells.of("q").rings > rings
        assert store.depth("q")[:3] == (1, 0, 0)


@pytest.mark.parametrize("by_id", [False, True])
def test_very_many_that_come_due_at_once_take_several_transactions(
    database: Path, monkeypatch: pytest.MonkeyPatch, by_id: bool
) -> None:
    """Of 700,000 one took 8 seconds, and what other processes put meanwhile was refused behind 5 (StoreLocked)."""
    clock = ManualClock()
    with SqliteStore(database, durability="process", clock=clock) as store:
        ids = store.commit(*(Put("q", b"%d" % n, not_before=clock.now + _DUE - n) for n in range(_DUE)))
        clock.advance(_DUE + 1)
        carry_out, changes = store._core.writer.carry_out, list[int]()

        def counting(batch: list[Work], **options: bool) -> None:
            connection = store._core.writer.connection
            before = connection.total_changes if connection is not None else 0
            carry_out(batch, **options)
            connection = store._core.writer.connection
            changes.append(connection.total_changes - before if connection is not None else 0)

        monkeypatch.setattr(store._core.writer, "carry_out", counting)
        claims = store.claim("q", ids=[ids[7], ids[3]], limit=2) if by_id else store.claim("q", limit=2)
        assert [claim.payload for claim in claims] == ([b"3", b"7"] if by_id else [b"0", b"1"])
        assert max(changes) < _DUE, "a trigger counts for each record"
        assert store.depth("q")[:3] == (_DUE - 2, 0, 2)
