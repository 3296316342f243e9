"""Commits of many threads share a transaction, and what may not be done in one undoes nothing of the others."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from functools import partial
from typing import Any

import pymysql
import pytest

from pqadapters.errors import ConditionFailed, LeaseLost, LimitReached, StoreUnreachable, TooLarge
from pqadapters.store import Ack, Delete, Expect, Op, Order, Put, Set, Store
from pqadapters.stores.mysql import MysqlStore, transactions
from pqadapters.stores.mysql.transactions import Part, Transactions
from pqadapters.stores.mysql.wire import Failed
from tests.contract.snapshot import payloads
from tests.contract.threads import Task, together
from tests.segment.programs import PATIENCE

from .server import Server


def _committed(server: Server) -> int:
    return int(server.run("SHOW GLOBAL STATUS LIKE 'Com_commit'")[0][1])


def _held_up(store: MysqlStore, calls: list[Any]) -> list[Any]:
    """The calls' results, which have all come in the middle of another transaction."""
    line: Any = store._core.writer
    inside, go = threading.Event(), threading.Event()

    def stop() -> bool:
        inside.set()
        assert go.wait(PATIENCE)
        return False

    first = Task(lambda: store.commit(Put("first", b""), stop=stop), patience=PATIENCE)
    assert inside.wait(PATIENCE)
    tasks = [Task(partial(_outcome, call), patience=PATIENCE) for call in calls]
    while len(line._pending) < len(calls) + 1:
        assert not go.wait(0.001)
    go.set()
    first.result()
    return [task.result() for task in tasks]


def _outcome(call: Any) -> Any:
    try:
        return call()
    except Exception as error:
        return type(error)


def test_commits_that_come_together_are_one_transaction(url: str, server: Server) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b""), Put("first", b""))
        before = _committed(server)
        calls = [partial(store.commit, Put("q", b"%d" % n)) for n in range(16)]
        results = _held_up(store, calls)
        assert _committed(server) - before == 2
        found = {record.id: record.payload for record in store.browse("q")}
        assert [found[id] for (id,) in results] == [b"%d" % n for n in range(16)]


def test_calls_without_time_wait_for_the_transaction_of_another_thread(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As each of an event loop's is: it went through when no thread of the process was about anything, by chance, and
    `await put()` was told that the server can't be reached."""
    monkeypatch.setattr(transactions.Transactions, "moment", PATIENCE)
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        put, claims = _held_up(
            store, [partial(store.commit, Put("p", b"b"), timeout=0.0), partial(store.claim, "q", patience=0.0)]
        )
        assert payloads(store, "p") == [b"b"]
        assert len(put) == 1
        assert [claim.payload for claim in claims] == [b"a"]


def test_what_is_refused_undoes_itself_alone(url: str) -> None:
    with MysqlStore(url) as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(3)), Set("t", b"k", b"v"))
        held, lost, _ = store.claim("q", limit=3)
        store.commit(Ack(lost))
        outcomes = _held_up(
            store,
            [
                partial(store.commit, Put("r", b"a")),
                partial(store.commit, Put("r", b"no"), Ack(lost)),
                partial(store.commit, Ack(held), Put("r", b"b")),
                partial(store.commit, Put("r", b"no"), Set("t", b"k", b"w", Expect.ABSENT)),
                partial(store.commit, Put("r", b"no", limit=0)),
                partial(store.commit, Set("t", b"l", b"v", Expect.ABSENT)),
                partial(store.claim, "q", limit=9),
            ],
        )
        errors = [each for each in outcomes if isinstance(each, type)]
        assert errors == [LeaseLost, ConditionFailed, LimitReached]
        assert sorted(payloads(store, "r")) == [b"a", b"b"]
        assert dict(store.scan("t")) == {b"k": b"v", b"l": b"v"}
        assert store.depth("q").claimed == 1


def test_a_key_that_is_there_takes_no_claim_from_who_claims_in_the_same_transaction(url: str) -> None:
    """It was told that nothing is ready: what the server had answered to its claim went with the refusal."""
    with MysqlStore(url) as store, MysqlStore(url) as other:
        store.commit(*(Put("q", b"%d" % n) for n in range(5)), Put("first", b""), Set("t", b"k", b"v"))
        store._core.bells.of("q").dry = False
        line: Any = store._core.writer

        def set_behind_it() -> None:
            while len(line._pending) < 2:
                time.sleep(0.001)
            store.commit(Set("t", b"k", b"w", Expect.ABSENT))

        calls = [partial(other.claim, "q", order=Order.RANK, limit=5), set_behind_it]
        claims, refused = _held_up(store, calls)
        assert refused is ConditionFailed
        assert [claim.payload for claim in claims] == [b"%d" % n for n in range(5)]


def test_one_acknowledgement_of_a_batch_that_is_late_spoils_no_other(url: str) -> None:
    with MysqlStore(url) as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(8)))
        claims = store.claim("q", limit=8)
        store.commit(Ack(claims[3]))
        outcomes = _held_up(store, [partial(store.commit, Ack(claim)) for claim in claims])
        assert [outcome is LeaseLost for outcome in outcomes] == [n == 3 for n in range(8)]
        assert not store.depth("q").unfinished


def test_what_waits_each_by_itself_doesnt_wait_one_behind_the_other(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others had locked what a batch needed, of which one part could not be done, each of the others waited once
    more for that: sixteen threads half a minute."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b""), Put("first", b""))
        tried = list[int]()
        attempt = Transactions._attempt

        def refuse(writer: Transactions, batch: list[Part], exactly: bool) -> None:
            if len(batch) == 1 and not tried:
                return attempt(writer, batch, exactly)
            tried.append(len(batch))
            for part in batch:
                part.deadline = 0.0
            raise Failed(pymysql.err.OperationalError(1048 if len(tried) == 1 else 1205, "refused"))

        monkeypatch.setattr(Transactions, "_attempt", refuse)
        results = _held_up(store, [partial(store.commit, Put("q", b"%d" % n)) for n in range(16)])
        monkeypatch.undo()
    assert set(results) == {StoreUnreachable}
    assert tried[:3] == [tried[0], 1, tried[0] - 1]  # the store's own threads may come, too
    assert len(tried) < 16


def test_large_batches_go_in_several_packets(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b""))
        wire: Any = store._core.writer._wire
        wire._most, wire.largest = 24_096, 20_000
        puts = [Put("q", bytes([n]) * 3000) for n in range(20)]
        ids = store.commit(*puts, *(Set("t", b"%d" % n, bytes(3000)) for n in range(9)))
        found = {record.id: record.payload for record in store.browse("q")}
        assert [found[id] for id in ids[:20]] == [bytes([n]) * 3000 for n in range(20)]
        assert store.count("t") == 9
        sets = [Set("t", b"more %d" % n, bytes(2000)) for n in range(4)]
        store.commit(*sets, Put("q", bytes(5000), limit=99), *sets, Set("t", b"new", bytes(5000), Expect.ABSENT))
        store.commit(Set("t", b"half", bytes(9000)), Put("q", bytes(9000)))
        assert store.count("t") == 15


def test_a_refusal_undoes_nothing_of_others_on_a_server_that_loads_in_bulk(url: str, server: Server) -> None:
    """MariaDB keeps no undo of rows of a table that was empty, then: with the refused one all of them were gone, also
    that of a commit which had returned."""
    server.run("SET GLOBAL unique_checks = 0", "SET GLOBAL foreign_key_checks = 0")
    try:
        with MysqlStore(url) as store:
            values = [b"a", b"b"]
            outcomes = _held_up(store, [partial(store.commit, Set("t", b"k", each, Expect.ABSENT)) for each in values])
            first = outcomes.index((0,))
            assert outcomes[1 - first] is ConditionFailed
            assert dict(store.scan("t")) == {b"k": values[first]}
    finally:
        server.run("SET GLOBAL unique_checks = 1", "SET GLOBAL foreign_key_checks = 1")


def test_ids_are_right_where_the_server_leaves_some_out(url: str, server: Server) -> None:
    """As servers do that take writes in turns with others."""
    server.run("SET GLOBAL auto_increment_increment = 3")
    try:
        with MysqlStore(url) as store:
            plain = store.commit(*(Put("q", b"%d" % n) for n in range(3)))
            limited = store.commit(Put("q", b"3"), Put("q", b"4"), Put("q", b"5", limit=9))
            ids = [record.id for record in store.browse("q")]
            assert [*plain, *limited] == ids
            assert ids[1] - ids[0] == 3
            assert [claim.payload for claim in store.claim("q", ids=[limited[1]])] == [b"4"]
    finally:
        server.run("SET GLOBAL auto_increment_increment = 1")


def test_an_item_that_no_packet_takes_is_told_of(url: str) -> None:
    """It was sent again and again until the time was over, since the server cuts the connection in the middle of such
    a packet, and then nobody knew whether it was stored."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        wire = store._core.writer._wire
        for size in (9 << 20, 20 << 20):
            with pytest.raises(TooLarge, match="max_allowed_packet"):
                store.commit(Put("q", bytes(size)), timeout=PATIENCE)
        with pytest.raises(TooLarge, match="max_allowed_packet"):
            store.commit(Set("t", b"k", bytes(20 << 20)), timeout=PATIENCE)
        store.commit(Put("q", b"b"), timeout=PATIENCE)
        assert payloads(store) == [b"a", b"b"]
        assert store._core.writer._wire is wire, "it was sent, and the connection is gone"


def test_deadlocks_are_tried_again(url: str) -> None:
    """Two processes' worth of commits that set the same keys in opposite orders."""
    with MysqlStore(url) as one, MysqlStore(url, lease=31) as other:
        keys = [b"%d" % n for n in range(6)]

        def change(store: Store, order: list[bytes]) -> None:
            for n in range(40):
                store.commit(*(Set("t", key, b"%d" % n, Expect.ANY) for key in order), timeout=PATIENCE)

        together([partial(change, one, keys), partial(change, other, keys[::-1])], patience=PATIENCE)
        assert one.count("t") == 6


def test_a_key_that_must_be_absent_stays_so_until_the_commit(url: str, server: Server) -> None:
    """What isn't there was looked for, and not locked: another process could set it before the transaction was
    committed. Who began to wait for a job in that moment was told of its end by nobody."""
    waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    with MysqlStore(url) as one, MysqlStore(url, lease=31) as other, closing(_raw(server, url)) as raw:
        one.commit(Set("t", b"held", b"v"), Set("t", b"more", b"v"))
        cursor = raw.cursor()

        def wait_until_locked(count: int, task: Task[Any]) -> None:
            while cursor.execute(waiting) and cursor.fetchone()[0] < count and task.running:
                time.sleep(0.12)  # the server looks at most ten times a second

        cursor.execute("SELECT * FROM pqa_entries FOR UPDATE")
        told = Set("t", b"end", b"!")
        ends: list[Op] = [Delete("watchers", b"job", Expect.ABSENT), Set("t", b"held", b"w", Expect.PRESENT), told]
        first = Task(lambda: one.commit(*ends, timeout=PATIENCE), patience=PATIENCE)
        wait_until_locked(1, first)

        def watch() -> bytes | None:
            other.commit(Set("watchers", b"job", b"other", Expect.ABSENT), timeout=PATIENCE)
            return other.get("t", b"end")

        second = Task(watch, patience=PATIENCE)
        wait_until_locked(2, second)
        raw.rollback()
        first.result()
        assert second.result() == b"!"
        with pytest.raises(ConditionFailed):
            one.commit(Delete("watchers", b"job", Expect.ABSENT))


def _raw(server: Server, url: str) -> Any:
    connection = pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2])
    connection.cursor().execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    return connection


def test_a_lock_that_is_never_let_go_of_is_told_within_the_callers_time(url: str, server: Server) -> None:
    with MysqlStore(url) as store:
        store.commit(Set("t", b"k", b"v"))
        with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as other:
            other.cursor().execute("SELECT * FROM pqa_entries FOR UPDATE")
            with pytest.raises(StoreUnreachable, match="others have locked"):
                Task(lambda: store.commit(Set("t", b"k", b"w"), timeout=0.5), patience=PATIENCE).result()
            put = Task(lambda: store.commit(Set("t", b"k", b"x"), timeout=PATIENCE), patience=PATIENCE)
            other.rollback()
            put.result()
        assert store.get("t", b"k") == b"x"


@pytest.mark.parametrize("lock", ["LOCK TABLES pqa_items WRITE", "FLUSH TABLES WITH READ LOCK"])
def test_tables_that_others_have_locked_leave_no_doubt(server: Server, url: str, lock: str) -> None:
    """A commit that waited for them hadn't answered in time, so nobody knew what became of it; a look took a minute."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as other:
            other.cursor().execute(lock)
            looked = Task(lambda: store.depth("q"), patience=PATIENCE)
            with pytest.raises(StoreUnreachable, match="others have locked"):
                Task(lambda: store.commit(Put("q", b"b"), timeout=0.5), patience=PATIENCE).result()
            if "READ" in lock:
                assert looked.result().ready == 1
            else:
                with pytest.raises(StoreUnreachable, match="others have locked"):
                    looked.result()
            put = Task(lambda: store.commit(Put("q", b"c"), timeout=PATIENCE), patience=PATIENCE)
            other.cursor().execute("UNLOCK TABLES")
            put.result()
        assert payloads(store) == [b"a", b"c"]


def test_more_works_than_a_transaction_takes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "_PER_TRANSACTION", 3)
    with MysqlStore(url) as store:
        store.commit(Put("q", b""))
        results = _held_up(store, [partial(store.commit, Put("q", b"%d" % n)) for n in range(10)])
        assert len({id for (id,) in results}) == 10
