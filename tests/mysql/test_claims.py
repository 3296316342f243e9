"""Claims take rows of the primary key, in its order, without a sort, whatever waits; prefetch gives the rest back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pymysql
import pytest

from pqadapters.errors import LeaseLost, LimitReached, StoreError
from pqadapters.store import Ack, Claim, Nack, Op, Order, Put, Update
from pqadapters.stores.mysql import MysqlStore, keeper
from pqadapters.stores.mysql.owners import Owners
from pqadapters.stores.mysql.schema import DUE_AT_ONCE, Statements, bound, moment
from pqadapters.stores.mysql.session import Session
from pqadapters.stores.mysql.transactions import Part
from pqadapters.stores.mysql.wire import Answer, Failed, Wire, readable
from tests.contract.maker import ManualClock
from tests.contract.snapshot import payloads
from tests.segment.programs import PATIENCE

from .server import Server

SQL = Statements("pqa_")


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (SQL.FIRST, (1, 1)),
        (SQL.FIRST, (1, 100)),
        (SQL.LAST, (1, 1)),
        (SQL.DUE, (1, moment(1.0))),
        (SQL.MATURE, (1, moment(1.0), moment(1.0), [1, 2])),
        (SQL.MATURE, (1, moment(1.0), moment(2.0), [1, 2])),
        (SQL.CLAIM, (b"x" * 12, 1, b"", [1, 2])),
        (SQL.ACK_SOME, (1, b"x" * 12, 1, [1, 2])),
        (SQL.CLAIMED_BY, ([1, 2], b"a", b"b")),
        (SQL.READY_BEHIND, (1, b"", 7, 8, 1, b"", 8)),
    ],
)
def test_a_claim_is_a_range_of_the_primary_key(
    url: str, server: Server, statement: str, values: Sequence[Any]
) -> None:
    with MysqlStore(url) as store:
        for n in range(20):
            store.commit(*(Put("q", b"%d" % n) for n in range(100)), Put(f"other {n}", b""))
        database = url.rpartition("/")[2]
        server.run("ANALYZE TABLE pqa_items", database=database)
        for row in server.run(f"EXPLAIN {bound(statement, values)}", database=database):
            assert row[5] == "PRIMARY", row
            assert "filesort" not in row[9], row
            assert row[3] in ("range", "ref"), row


@pytest.mark.parametrize("apart", [0.0, 0.001], ids=["at once", "one by one"])
@pytest.mark.parametrize("ids", [None, [7]])
def test_many_that_come_due_are_made_ready_in_several_transactions(
    ids: list[int] | None, apart: float, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one they were more locks than a server has, at some 100,000, and no claim ever got through; and the queue was
    empty for all others meanwhile."""
    clock, transactions, tell = ManualClock(), dict[Session, int](), Session.tell

    def counting(self: Session, statement: str, *values: Any) -> None:
        if statement == SQL.MATURE:
            transactions[self] = transactions.get(self, 0) + len(values[-1])
        tell(self, statement, *values)

    monkeypatch.setattr(Session, "tell", counting)
    with MysqlStore(url, clock=clock, prefetch=1) as store:
        store.commit(Put("q", b"other"))
        many = 2 * DUE_AT_ONCE + 100
        store.commit(*(Put("q", b"%d" % n, not_before=clock.now + 10 + (many - n) * apart) for n in range(many)))
        clock.advance(20)
        (claim,) = store.claim("q", ids=ids)
        assert claim.payload == (b"other" if ids is None else b"5")
        assert list(transactions.values()) == [DUE_AT_ONCE, DUE_AT_ONCE, 100]
        assert payloads(store)[:3] == ([b"0", b"1", b"2"] if ids is None else [b"other", b"0", b"1"])
        assert store.depth("q").ready == many


def test_a_claim_locks_its_records_and_nothing_beside_them(url: str, server: Server) -> None:
    """Neither the gaps, into which others put, nor the next record, which others claim."""
    with MysqlStore(url) as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(5)))
        holder: Any = store._core.dialer.dial(5, 60)
        try:
            holder.ask(SQL.FIRST, 1, 2)
            store.commit(Put("q", b"new"), timeout=PATIENCE)
            assert [claim.payload for claim in store.claim("q", limit=9)] == [b"2", b"3", b"4", b"new"]
        finally:
            holder.close()


def test_long_ranks_are_told_apart_behind_what_the_key_has_of_them(url: str) -> None:
    with MysqlStore(url) as store:
        ranks = [b"r" * 600 + b"%d" % (n * 7 % 10) for n in range(10)]
        store.commit(*(Put("q", rank, rank=rank) for rank in ranks), Put("q", b"first"), Put("q", b"last", rank=b"s"))
        taken: list[Claim] = []
        while claims := store.claim("q", order=Order.RANK, limit=3):
            taken += claims
        assert [claim.payload for claim in taken] == [b"first", *sorted(ranks), b"last"]


def test_the_first_by_rank_is_looked_at_with_few_others(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`q.queue[0]` of a priority queue asked for all ids and ranks."""
    with MysqlStore(url) as store:
        store.commit(*(Put("q", b"%d" % n, rank=b"%d" % (n % 3)) for n in range(600)))
        reader, rows = store._core.reader, list[int]()

        def counting(ask: Callable[..., Any], *question: Any) -> Any:
            found = list(ask(*question))
            rows.append(len(found))
            return found

        for name in ("rows", "scan"):
            monkeypatch.setattr(reader, name, partial(counting, getattr(reader, name)))
        assert next(store.browse("q", order=Order.RANK)).payload == b"0"
        assert sum(rows) < 50


def test_long_and_short_ranks_are_claimed_and_seen_in_one_order(url: str) -> None:
    """Claims of some at a time, and looks page by page, at places that have all of a rank, or the beginning of many."""
    with MysqlStore(url) as store:
        starts = [b"", b"a", b"b" * 511, b"b" * 512, b"b" * 600, b"c" * 900, b"d"]
        ranks = [start + b"%02d" % (n * 7 % 40) * (n % 3) for start in starts for n in range(40)]
        ids = store.commit(*(Put("q", b"", rank=rank) for rank in ranks[::-1]))
        expected = [id for _, id in sorted(zip(ranks[::-1], ids, strict=True))]
        assert [record.id for record in store.browse("q", order=Order.RANK)] == expected
        taken: list[Claim] = []
        while claims := store.claim("q", order=Order.RANK, limit=7):
            taken += claims
        assert [claim.id for claim in taken] == expected


def test_a_long_rank_costs_no_look_at_all_others(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of (1, "a long text"). Each claim read the ranks of all that waited, and so did a look at the first."""
    with MysqlStore(url) as store:
        store.commit(*(Put("q", b"%d" % n, rank=b"%03d" % n + b"long" * 200) for n in range(300)))
        query, rows = pymysql.cursors.Cursor._query, list[int]()

        def counted(cursor: Any, text: str) -> Any:
            found = query(cursor, text)
            rows.append(len(cursor._rows or ()))
            return found

        send, answers = Wire.send, list[int]()

        def sent(wire: Wire, *texts: Any) -> Any:
            found = send(wire, *texts)
            answers.extend(len(answer.rows) for answer in found)
            return found

        monkeypatch.setattr(pymysql.cursors.Cursor, "_query", counted)
        monkeypatch.setattr(Wire, "send", sent)
        assert next(store.browse("q", order=Order.RANK)).payload == b"0"
        assert store.claim("q", order=Order.RANK)[0].payload == b"0"
        assert max(rows) < 20
        assert 0 < max(answers) < 20


@pytest.mark.parametrize("rank", [b"", b"r"])
def test_large_payloads_are_looked_at_one_by_one(rank: bytes, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of them took as much memory as all of them have."""
    with MysqlStore(url) as store:
        payloads = [b"%d" % n * (100_000 if n % 4 == 1 else 1) for n in range(20)]
        ids = store.commit(*(Put("q", payload, rank=rank) for payload in payloads))
        largest = list[int]()
        query = pymysql.cursors.Cursor._query

        def measured(cursor: Any, text: str) -> Any:
            found = query(cursor, text)
            largest.append(sum(len(row[-1]) for row in cursor._rows or () if isinstance(row[-1], bytes)))
            return found

        monkeypatch.setattr(pymysql.cursors.Cursor, "_query", measured)
        for order in Order:
            found = [record.payload for record in store.browse("q", order=order)]
            assert found == (payloads[::-1] if order is Order.NEWEST else payloads)
        assert max(largest) == len(payloads[17])
        looking = store.browse("q")
        assert next(looking).id == ids[0]
        store.commit(*map(Ack, store.claim("q", ids=[ids[1]])))
        assert [record.payload for record in looking] == payloads[2:]


def test_a_queue_that_gets_its_first_rank_elsewhere_is_looked_at_anew(url: str) -> None:
    """Two processes' worth of what is known: a cache that is behind must not hide anything."""
    with MysqlStore(url) as one, MysqlStore(url, lease=31) as other:
        one.commit(Put("q", b"plain"))
        assert other.depth("q").ready == 1
        one.commit(Put("q", b"ranked", rank=b"a"), Put("q", b"plain too"))
        assert payloads(other) == [b"plain", b"ranked", b"plain too"]
        found = [claim.payload for claim in other.claim("q", limit=3)]
        assert found == [b"plain", b"ranked", b"plain too"]


def test_prefetch_takes_several_and_counts_them_as_ready(url: str) -> None:
    with MysqlStore(url, prefetch=4) as ahead, MysqlStore(url) as other:
        ahead.commit(*(Put("q", b"%d" % n) for n in range(6)))
        (first,) = ahead.claim("q")
        assert ahead.depth("q")[:3] == (5, 0, 1)
        assert other.depth("q")[:3] == (2, 0, 4)
        assert [claim.payload for claim in other.claim("q", limit=9)] == [b"4", b"5"]
        (second,) = ahead.claim("q", acks=[Ack(first)])
        assert second.payload == b"1"
        ahead.close()
        assert [(claim.payload, claim.attempt) for claim in other.claim("q", limit=9)] == [
            (b"1", 2),
            (b"2", 1),
            (b"3", 1),
        ]


def test_i9_a_limit_counts_what_prefetch_has_taken_as_ready(url: str) -> None:
    with MysqlStore(url, prefetch=4) as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(6)))
        store.claim("q")
        store.commit(Put("q", b"6", limit=6))
        with pytest.raises(LimitReached):
            store.commit(Put("q", b"7", limit=6))
        assert store.depth("q").ready == 6


def test_acknowledgements_that_were_put_off_come_with_the_next_transaction(url: str) -> None:
    with MysqlStore(url, prefetch=3) as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(6)))
        done: list[Ack] = []
        for _ in range(6):
            (claim,) = store.claim("q", acks=done)
            done = [Ack(claim, lazy=True)]
        assert store.claim("q", acks=done) == []
        assert not store.depth("q").unfinished


def test_one_consumer_gets_what_came_first(url: str) -> None:
    with MysqlStore(url, prefetch=7) as store:
        for n in range(50):
            store.commit(Put("q", b"%d" % n))
        found = [store.claim("q", timeout=PATIENCE)[0].payload for _ in range(50)]
        assert found == [b"%d" % n for n in range(50)]


def test_i4_what_is_given_back_comes_before_what_was_fetched_ahead(url: str) -> None:
    """It came behind all of it, where somebody had asked for a prefetch."""
    with MysqlStore(url, prefetch=4) as store:
        store.commit(*[Put("q", b"%d" % n) for n in range(6)])
        first, second = [store.claim("q")[0] for _ in range(2)]
        store.commit(Nack(second))
        assert [store.claim("q")[0].payload for _ in range(2)] == [b"1", b"2"]
        store.commit(Nack(first, not_before=store._core.clock.wall() + 3600))
        assert store._ahead.of("q", os.getpid())
        third = store.claim("q")[0]
        store.commit(Nack(third))
        claims = [store.claim("q")[0] for _ in range(3)]
        assert [(claim.payload, claim.attempt) for claim in claims] == [(b"3", 2), (b"4", 1), (b"5", 1)]


def test_the_keeper_goes_on_behind_an_exception_of_a_signal_handler(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that came to a thread which had the keeper's work in hand was the keeper's, too: nobody was heard of any
    more, and lost what it held."""
    failed, again = threading.Event(), threading.Event()

    def renew(owners: Owners) -> None:
        (again if failed.is_set() else failed).set()
        raise ValueError

    monkeypatch.setattr(keeper, "_SOON", 0.01)
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        assert store.claim("q")
        monkeypatch.setattr(Owners, "renew", renew)
        store._core.keeper.call()
        assert failed.wait(PATIENCE)
        assert again.wait(PATIENCE)
        monkeypatch.undo()


def test_the_keeper_goes_on_behind_a_lack_of_memory(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended for good: the process was heard of no more, and lost what it held to others."""
    lacked, renewed, renew = threading.Event(), threading.Event(), Owners.renew

    def lacking(descriptors: Sequence[int], seconds: float) -> list[int]:
        if not lacked.is_set():
            lacked.set()
            raise MemoryError
        return readable(descriptors, seconds)

    def told(owners: Owners) -> None:
        renew(owners)
        if lacked.is_set():
            renewed.set()

    monkeypatch.setattr(keeper, "readable", lacking)
    monkeypatch.setattr(Owners, "renew", told)
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        assert lacked.wait(PATIENCE)
        assert renewed.wait(PATIENCE)


def test_i5_a_claim_that_failed_takes_nothing_from_who_claims_next(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server without room, say: what it would have had was given back, though somebody had it by then."""
    with MysqlStore(url, prefetch=1) as store:
        store.commit(Put("q", b"first"), Put("q", b"second"))
        store.commit(*map(Ack, store.claim("q")))
        claims: list[Claim] = []
        leave = MysqlStore._leave

        def refuse(*_: object) -> None:
            raise Failed(pymysql.err.OperationalError(1021, "Disk full"))

        def come_first(handle: MysqlStore, part: Part) -> None:
            monkeypatch.undo()
            claims.extend(store.claim("q"))
            leave(handle, part)

        monkeypatch.setattr(Session, "commit", refuse)
        monkeypatch.setattr(MysqlStore, "_leave", come_first)
        with pytest.raises(StoreError, match="no room"):
            store.claim("q")
        store._give_back_ahead()
        assert store.depth("q").claimed == 1
        store.commit(*map(Ack, claims))


@pytest.mark.parametrize("prefetch", [None, 1])
def test_i5_a_claim_that_the_server_has_skipped_is_nobodys(
    url: str, monkeypatch: pytest.MonkeyPatch, prefetch: int | None
) -> None:
    """KILL QUERY ends an UPDATE before its first row, with no error, and the rest of the packet is carried out: what
    was claimed so had two consumers."""
    send, skipped, skips = Wire.send, list[str](), [True]

    def skip(wire: Wire, texts: Sequence[str]) -> list[Answer]:
        found = [*texts]
        if skips and (nth := next((n for n, text in enumerate(texts) if "SET state = 2" in text), -1)) >= 0:
            skipped.append(found[nth])
            found[nth] += " AND FALSE"
        return send(wire, found)

    with MysqlStore(url, prefetch=prefetch) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"a"))
        monkeypatch.setattr(Wire, "send", skip)
        assert store.claim("q") == []
        assert skipped
        skips.clear()
        (claim,) = other.claim("q")
        assert store.claim("q") == []
        other.commit(Nack(claim))
        (claim,) = store.claim("q", timeout=PATIENCE)
        store.commit(Ack(claim))
        assert not store.depth("q").unfinished


def test_i5_who_has_a_number_whose_move_the_server_has_skipped_keeps_what_it_has(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KILL QUERY did that to two commits in a row: the process took itself for dead, and gave up all its claims."""
    send, skips = Wire.send, [True, True, True]

    def skip(wire: Wire, texts: Sequence[str]) -> list[Answer]:
        found = [*texts]
        if skips and (nth := next((n for n, text in enumerate(texts) if "SET first_id" in text), -1)) >= 0:
            skips.pop()
            found[nth] += " AND FALSE"
        return send(wire, found)

    with MysqlStore(url, prefetch=1) as store:
        store.commit(Put("q", b"a"))
        (claim,) = store.claim("q")
        monkeypatch.setattr(Wire, "send", skip)
        store.commit(Put("q", b"b"), timeout=PATIENCE)
        assert not skips
        store.commit(Ack(claim))
        assert [record.payload for record in store.browse("q", state=None)] == [b"b"]


@pytest.fixture
def skipping(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Has the server skip the first statement that such words are in; what it has skipped."""
    send = Wire.send

    def skip_first(words: str) -> list[str]:
        skipped: list[str] = []

        def skip(wire: Wire, texts: Sequence[str]) -> list[Answer]:
            found = [*texts]
            if not skipped and (nth := next((n for n, text in enumerate(texts) if words in text), -1)) >= 0:
                skipped.append(found[nth])
                found[nth] += " AND FALSE"
            return send(wire, found)

        monkeypatch.setattr(Wire, "send", skip)
        return skipped

    return skip_first


def test_i3_what_lies_ahead_is_given_back_also_where_the_server_skips_that(
    url: str, skipping: Callable[[str], list[str]]
) -> None:
    """As above: nobody was given it while this process lived."""
    with MysqlStore(url, prefetch=5) as store, MysqlStore(url, lease=31) as other:
        store.commit(*(Put("q", b"%d" % n) for n in range(3)))
        assert store.claim("q")
        skipped = skipping("attempts - 1")
        assert payloads(store) == [b"1", b"2"]
        assert skipped
        assert [claim.payload for claim in other.claim("q", limit=3)] == [b"1", b"2"]


@pytest.mark.parametrize("prefetch", [None, 1, 5])
def test_what_is_acknowledged_with_a_claim_is_done_also_where_the_server_skips_that(
    url: str, skipping: Callable[[str], list[str]], prefetch: int | None
) -> None:
    """It came again when its process had ended."""
    with MysqlStore(url, lease=31) as other:
        with MysqlStore(url, prefetch=prefetch) as store:
            store.commit(*(Put("q", b"%d" % n) for n in range(3)))
            (first,) = store.claim("q")
            skipped = skipping("DELETE FROM pqa_items")
            (second,) = store.claim("q", acks=[Ack(first)])
            (third,) = store.claim("q", acks=[Ack(second)])
            store.sync()
            assert skipped
        assert payloads(other) == [third.payload]


@pytest.mark.parametrize(
    ("words", "change", "found"),
    [
        ("SET state = 0", Nack, [b"a"]),
        ("SET queue = ", lambda claim: Nack(claim, dead="why"), []),
        ("SET size = ", lambda claim: Update(claim, b"b"), [b"b"]),
    ],
)
def test_i6_a_change_that_the_server_skips_is_no_lost_lease(
    url: str, skipping: Callable[[str], list[str]], words: str, change: Callable[[Claim], Op], found: list[bytes]
) -> None:
    """The caller was told so, and the record was nobody's while its process lived."""
    with MysqlStore(url, lease=31) as other:
        with MysqlStore(url) as store:
            store.commit(Put("q", b"a"))
            (claim,) = store.claim("q")
            skipped = skipping(words)
            store.commit(change(claim))
            assert skipped
        assert payloads(other) == found


def test_i5_a_promise_to_live_that_the_server_skips_costs_no_claim(
    url: str, skipping: Callable[[str], list[str]]
) -> None:
    """The process took itself for one that others take for dead, and others were given what it had in hand."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        (claim,) = store.claim("q")
        skipped = skipping("SET lease_until = GREATEST")
        store._core.owners.renew()
        assert skipped
        store._core.catch_up()
        store.commit(Ack(claim))


@pytest.mark.parametrize("last", [True, False])
def test_i3_what_another_transaction_has_locked_when_its_handle_ends_is_given_back_later(
    url: str, server: Server, last: bool
) -> None:
    """It was passed over, and the row of its process went: the record was claimed by nobody, for good."""
    with MysqlStore(url, lease=31) as other:
        store, kept = MysqlStore(url), None if last else MysqlStore(url)
        store.commit(Put("q", b"a"))
        assert store.claim("q")
        with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as foreign:
            foreign.cursor().execute("SELECT id FROM pqa_items FOR UPDATE")
            store.close()
            assert other.depth("q").claimed == 1
        if kept is not None:
            kept._core.catch_up()
        (claim,) = other.claim("q", timeout=PATIENCE)
        other.commit(Ack(claim))
        if kept is not None:
            assert not kept._core.unreleased
            kept.close()


def test_i5_who_was_taken_for_dead_hands_out_nothing_that_it_had_fetched(url: str, server: Server) -> None:
    """Others had it by then: each item had two consumers."""
    with MysqlStore(url, prefetch=5) as store, MysqlStore(url, lease=31) as other:
        store.commit(*(Put("q", b"%d" % n) for n in range(5)))
        (claim,) = store.claim("q")
        server.run("UPDATE pqa_owners SET alive = 0", database=url.rpartition("/")[2])
        assert [claim.payload for claim in other.claim("q", limit=5, timeout=PATIENCE)] == [b"%d" % n for n in range(5)]
        store._core.owners.renew()
        store._core.catch_up()
        assert store.claim("q") == []
        assert store.depth("q").claimed == 5
        with pytest.raises(LeaseLost):
            store.commit(Ack(claim))


@pytest.mark.parametrize("new", [True, False])
def test_a_record_that_was_locked_for_a_moment_is_claimed_by_who_does_not_wait(
    url: str, server: Server, new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by another claim, which had looked at it and taken the one before: a worker that ends when the queue is empty
    ended early."""
    with MysqlStore(url) as store, MysqlStore(url) as other:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        taker = other if new else store
        if not new:
            taker.commit(Ack(taker.claim("q")[0]))
        with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as foreign:
            foreign.cursor().execute("SELECT id FROM pqa_items FOR UPDATE")
            looks, any_ready = taker._looks, taker._looks.any_ready
            asked: list[object] = []

            def until_then(*arguments: Any) -> Any:
                asked.append(any_ready(*arguments))
                if len(asked) > new:
                    foreign.rollback()
                return asked[-1]

            monkeypatch.setattr(looks, "any_ready", until_then)
            (claim,) = taker.claim("q")
        assert claim.payload == (b"a" if new else b"b")


def test_what_stays_locked_is_left_alone_by_who_does_not_wait(url: str, server: Server) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as foreign:
            foreign.cursor().execute("SELECT id FROM pqa_items FOR UPDATE")
            assert store.claim("q") == []


@pytest.mark.parametrize(
    ("order", "rank", "locked"), [(Order.OLDEST, b"r", 0), (Order.NEWEST, b"r", 2), (Order.RANK, b"r" * 600, 0)]
)
def test_what_others_have_locked_is_passed_over_in_every_order(
    url: str, server: Server, order: Order, rank: bytes, locked: int
) -> None:
    """Also where the key isn't in that order, and candidates are looked for first."""
    with MysqlStore(url) as store:
        ids = store.commit(*(Put("q", b"%d" % n, rank=rank + b"%d" % n) for n in range(3)))
        with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as foreign:
            foreign.cursor().execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")  # it locks no gaps
            foreign.cursor().execute(f"SELECT id FROM pqa_items WHERE id = {ids[locked]} FOR UPDATE")
            assert [claim.payload for claim in store.claim("q", order=order)] == [b"1"]


def test_a_note_that_is_no_text_holds_up_no_claim(url: str, server: Server) -> None:
    """Somebody has changed it by hand."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a", note="because"), Put("q", b"b"))
        server.run("UPDATE pqa_items SET note = x'62ff' WHERE payload = 'a'", database=url.rpartition("/")[2])
        assert [(record.payload, record.note) for record in store.browse("q")] == [(b"a", r"b\xff"), (b"b", "")]
        assert [(claim.payload, claim.note) for claim in store.claim("q", limit=2)] == [(b"a", r"b\xff"), (b"b", "")]
