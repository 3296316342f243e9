"""A record that is removed without having been claimed: by who looked at it, unless somebody else was first."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from pqadapters.errors import LeaseLost, StoreClosed
from pqadapters.persistqueue import FIFOSQLiteQueue, UniqueQ
from pqadapters.persistqueue.exceptions import Empty as TheirEmpty
from pqadapters.stdlib.queue import Empty, PriorityQueue, Queue
from pqadapters.store import Ack, Claim, Extend, Nack, Op, Order, Put, Update
from pqadapters.stores.sqlite import SqliteStore, schema
from pqadapters.stores.sqlite import store as stores
from pqadapters.stores.sqlite.schema import LONG

from ..contract.threads import Task, together

_PATIENCE = 60.0


def _store(path: Path) -> SqliteStore:
    return SqliteStore(path / "q.db", durability="process")


def _filled(path: Path, *payloads: bytes) -> SqliteStore:
    """With a handle that knows that there are records."""
    store = _store(path)
    store.commit(*(Put("q", payload) for payload in (b"0", *payloads)))
    (claim,) = store.claim("q")
    store.commit(Ack(claim))
    return store


def _seen(store: SqliteStore) -> Claim:
    claim = store.look("q")
    assert claim is not None
    return claim


def test_who_looks_has_nothing(tmp_path: Path) -> None:
    with _filled(tmp_path, b"a", b"b") as store:
        claim = _seen(store)
        assert (claim.queue, claim.payload, claim.attempt) == ("q", b"a", 0)
        assert claim.put_at == next(store.browse("q")).put_at
        assert store.depth("q")[:3] == (2, 0, 0)
        assert [each.payload for each in store.claim("q", limit=9)] == [b"a", b"b"]


@pytest.mark.parametrize("lazy", [False, True])
def test_an_acknowledgement_removes_it_once(tmp_path: Path, lazy: bool) -> None:
    with _filled(tmp_path, b"a", b"b") as store, _store(tmp_path) as other:
        claim = _seen(store)
        other.commit(Ack(claim, lazy=lazy))  # whoever it is: nobody has it
        assert [record.payload for record in store.browse("q", state=None)] == [b"b"]
        with pytest.raises(LeaseLost):
            store.commit(Ack(claim, lazy=lazy))
        assert _seen(store).payload == b"b"


def test_one_that_was_claimed_meanwhile_stays(tmp_path: Path) -> None:
    with _filled(tmp_path, b"a") as store, _store(tmp_path) as other:
        seen = _seen(store)
        (claim,) = other.claim("q")
        with pytest.raises(LeaseLost):
            store.commit(Ack(seen))
        other.commit(Nack(claim))
        with pytest.raises(LeaseLost):  # it may have been changed in those hands
            store.commit(Ack(seen))
        assert [(each.payload, each.attempt) for each in store.claim("q")] == [(b"a", 2)]


@pytest.mark.parametrize(
    "op",
    [Nack, lambda claim: Nack(claim, dead="why"), lambda claim: Nack(claim, 9e9), Extend, lambda c: Update(c, b"x")],
    ids=["nack", "dead", "delayed", "extend", "update"],
)
def test_nothing_else_can_be_done_with_it(tmp_path: Path, op: Callable[[Claim], Op]) -> None:
    with _filled(tmp_path, b"a") as store:
        with pytest.raises(LeaseLost):
            store.commit(op(_seen(store)))
        assert [record.payload for record in store.browse("q")] == [b"a"]


@pytest.mark.parametrize("more", [1, 9])
def test_in_a_larger_commit_all_is_done_or_nothing(tmp_path: Path, more: int) -> None:
    with _filled(tmp_path, b"a", *[b"b"] * more, b"c") as store:
        seen = _seen(store)
        claims = store.claim("q", ids=[seen.id + 1 + n for n in range(more)], limit=more)
        assert len(claims) == more
        store.commit(*map(Ack, claims), Ack(seen), Put("other", b"x"))
        assert [record.payload for record in store.browse("q", state=None)] == [b"c"]
        with pytest.raises(LeaseLost):
            store.commit(Ack(_seen(store)), Put("other", b"y"), Ack(seen))
        assert store.depth("q").ready == store.depth("other").ready == 1


def test_what_there_is_more_to_is_claimed(tmp_path: Path) -> None:
    with _store(tmp_path) as store:
        assert store.look("q") is None  # there is no such queue
        store.commit(Put("q", b"a"))
    with _store(tmp_path) as store:
        assert store.look("q") is None  # nobody has looked whether any is ready
        (claim,) = store.claim("q")
        store.commit(Nack(claim), Put("q", b"b"))
        assert store.look("q") is None  # it was claimed before
        store.commit(Ack(store.claim("q")[0]), Put("q", b"c"))
        assert _seen(store).payload == b"b"
        assert store.look("q") is None  # somebody is about that one
        store.commit(*map(Ack, store.claim("q")), Put("q", b"d"), Put("q", b"later", not_before=4e9))
        assert store.look("q") is None  # there may be others that are due by now
    with pytest.raises(StoreClosed):
        store.look("q")


@pytest.mark.parametrize("order", [Order.OLDEST, Order.NEWEST])
def test_a_long_one_is_removed_as_any_other(tmp_path: Path, order: Order) -> None:
    long = b"x" * (LONG + 1)
    with _filled(tmp_path, long) as store:
        claim = store.look("q", order)
        assert claim is not None
        assert claim.payload == long
        store.commit(Ack(claim))
        assert store.depth("q")[:3] == (0, 0, 0)
        assert store._core.reader.rows("SELECT count(*) FROM body") == [(0,)]


@pytest.mark.parametrize("change", ["DELETE FROM body", "UPDATE body SET payload = x'00'"])
def test_a_long_one_that_isnt_whole_any_more_is_left_to_who_claims(tmp_path: Path, change: str) -> None:
    """Somebody removed it between the two questions, or it is damaged."""
    with _filled(tmp_path, b"x" * (LONG + 1)) as store:
        with closing(sqlite3.connect(tmp_path / "q.db", isolation_level=None)) as connection:
            connection.execute(change)
        assert store.look("q") is None
        assert store.claim("q") == []
        assert len(store.damage) == 1


def test_who_has_put_one_knows_that_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets what was put right before looked whether anything is ready, each time."""
    with _store(tmp_path) as store:
        store.commit(Put("q", b"a"))
        store.commit(Ack(store.claim("q")[0]))
        any_ready, looks = store._looks.any_ready, list[str]()
        monkeypatch.setattr(store._looks, "any_ready", lambda queue: (looks.append(queue), any_ready(queue))[1])
        store.commit(Put("q", b"b"))
        assert _seen(store).payload == b"b"
        store.commit(Ack(store.claim("q")[0]))
        assert looks == []
        assert store.claim("q") == []
        assert looks == ["q"]


@pytest.mark.parametrize("durability", ["power", "process"])
def test_threads_that_want_the_same_one_claim_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    """All had looked at the first one, one removed it, and each sync was for one item; those who claim share them."""
    monkeypatch.setattr(stores, "_CROWDED", 2)
    with SqliteStore(tmp_path / "q.db", durability=durability) as store:
        store.commit(*(Put("q", payload) for payload in (b"0", b"a", b"b")))
        store.commit(Ack(store.claim("q")[0]))
        seen = _seen(store)
        assert store.look("q") is None  # another thread's
        store.commit(Ack(seen))
        if durability == "power":
            assert store.look("q") is store.look("q") is None
        assert _seen(store).payload == b"b"


class _Between:
    """A connection with something that happens between an answer and its end."""

    in_transaction = False

    def __init__(self, connection: Any, happens: Callable[[], object]) -> None:
        self._connection, self._happens = connection, happens

    def execute(self, *question: Any) -> Any:
        rows = self._connection.execute(*question).fetchall()
        self._happens()
        return SimpleNamespace(fetchall=lambda: rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_who_looks_asks_where_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader fetches each page anew that was written since it read it: a look took three times as long."""
    monkeypatch.setattr("pqadapters.stores.sqlite.core._BURY_EVERY", 1e9)  # who looks for dead processes asks it
    with _filled(tmp_path, b"a", b"b") as store:
        rows = store._core.reader.rows
        monkeypatch.setattr(store._core.reader, "rows", Mock(side_effect=AssertionError))
        assert _seen(store).payload == b"a"
        store.commit(Ack(store.claim("q")[0]))
        monkeypatch.setattr(store._core.reader, "rows", rows)
        monkeypatch.setattr(store._core.writer, "inside", True)  # another thread is at it
        assert _seen(store).payload == b"b"


def test_where_the_writer_cant_say_the_reader_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _filled(tmp_path, b"a") as store:
        fails = _Between(store._core.writer.connection, Mock(side_effect=sqlite3.OperationalError))
        monkeypatch.setattr(store._core.writer, "connection", fails)
        assert _seen(store).payload == b"a"
        monkeypatch.undo()


def test_what_an_interrupt_has_left_undecided_isnt_seen(tmp_path: Path) -> None:
    with _filled(tmp_path, b"a") as store:
        connection = store._core.writer.connection
        assert connection is not None
        connection.execute(schema.BEGIN)
        connection.execute("DELETE FROM record")
        assert _seen(store).payload == b"a"
        assert store.claim("q")[0].payload == b"a"


def test_a_finalizer_in_the_middle_of_a_look_puts_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _filled(tmp_path, b"a") as store:
        writer, ids = store._core.writer, list[tuple[int, ...]]()

        def finalize() -> None:
            monkeypatch.undo()
            ids.append(store.commit(Put("q", b"b")))

        monkeypatch.setattr(writer, "connection", _Between(writer.connection, finalize))
        assert _seen(store).payload == b"a"
        assert ids == [(0,)]  # it was put off
        assert [record.payload for record in store.browse("q")] == [b"a", b"b"]
        assert not writer.inside


def test_who_comes_during_a_look_is_called_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _filled(tmp_path, b"a") as store:
        writer, connection, tasks = store._core.writer, store._core.writer.connection, list[Task[Any]]()

        def come() -> None:
            writer.connection = connection
            tasks.append(Task(lambda: store.commit(Put("q", b"b")), patience=_PATIENCE))
            while not any(work.sleeper for work in writer._pending):
                assert tasks[0].running
                time.sleep(0.001)

        monkeypatch.setattr("pqadapters.stores._line._OVERSLEPT", 2 * _PATIENCE)
        monkeypatch.setattr(writer, "connection", _Between(connection, come))
        assert _seen(store).payload == b"a"
        tasks[0].result()


@pytest.mark.parametrize("durability", ["power", "process"])
def test_who_takes_turns_with_other_threads_claims(tmp_path: Path, durability: str) -> None:
    """Who looked did so beside the one whose turn it was, which then had to come by the interpreter's lock for each
    call: with ack="get" four threads got half as much through as with task_done(). Syncs are worth more than that."""
    with SqliteStore(tmp_path / "q.db", durability=durability) as store:
        store.commit(*(Put("q", payload) for payload in (b"0", b"a")))
        store.commit(Ack(store.claim("q")[0]))
        store._core.writer.aside += 1
        try:
            assert (store.look("q") is None) == (durability == "process")
        finally:
            store._core.writer.aside -= 1


def test_those_who_remove_share_them_with_those_who_claim(tmp_path: Path) -> None:
    def remove(store: SqliteStore) -> list[bytes]:
        got: list[bytes] = []
        while True:
            claim = store.look("q") or next(iter(store.claim("q")), None)
            if claim is None:
                return got
            try:
                store.commit(Ack(claim))
                got.append(claim.payload)
            except LeaseLost:
                assert not claim.attempt

    payloads = [b"%d" % number for number in range(400)]
    with _filled(tmp_path, *payloads) as store, _store(tmp_path) as other:
        got = together([lambda: remove(store), lambda: remove(other)] * 2, patience=_PATIENCE)
        assert sorted(chain(*got)) == sorted(payloads)
        assert store.depth("q").unfinished == 0


# Who looks

@contextmanager
def _claiming(store: SqliteStore) -> Iterator[list[str]]:
    """The statements of claims."""
    found: list[str] = []
    connection = store._core.writer.connection
    assert connection is not None
    connection.set_trace_callback(lambda text: found.append(text) if "UPDATE record" in text else None)
    yield found
    connection.set_trace_callback(None)


def test_an_item_that_is_gone_when_it_is_handed_out_is_written_once(tmp_path: Path) -> None:
    with _store(tmp_path) as store:
        q: Queue[int] = Queue(store=store, ack="get")
        for number in range(4):
            q.put(number)
        assert q.get() == 0
        with _claiming(store) as claims:
            assert [q.get(), q.get()] == [1, 2]
        assert claims == []
        assert q.unfinished_tasks == 4
        for _ in range(3):
            q.task_done()
        assert (q.get(), q.qsize()) == (3, 0)
        with pytest.raises(Empty):
            q.get_nowait()


def test_what_cant_be_decoded_goes_to_the_dead_letters(tmp_path: Path) -> None:
    with _filled(tmp_path, b"no pickle", b"neither") as store:
        q: Queue[int] = Queue(store=store, ack="get", name="q")
        q.put(1)
        q.put(2)
        assert [q.get(), q.get()] == [1, 2]
        assert [record.payload for record in store.browse("q.dead")] == [b"no pickle", b"neither"]
        assert store.depth("q").unfinished == 0


def test_who_counts_attempts_claims(tmp_path: Path) -> None:
    with _store(tmp_path) as store:
        q: Queue[int] = Queue(store=store, ack="get", max_attempts=3)
        for number in range(3):
            q.put(number)
        assert q.get() == 0
        with _claiming(store) as claims:
            assert q.get() == 1
        assert claims


def test_a_database_that_others_have_locked_is_waited_for_as_ever(tmp_path: Path) -> None:
    """Who has looked gives up after a moment, and claims, which waits for as long as the caller does."""
    claiming = threading.Event()

    def claim(queue: str, **options: Any) -> list[Claim]:
        claiming.set()
        return store.claim(queue, **options)

    with _store(tmp_path) as store, closing(sqlite3.connect(tmp_path / "q.db")) as other:
        q: Queue[int] = Queue(store=store, ack="get")
        for number in range(3):
            q.put(number)
        assert q.get() == 0
        q._line.claim = claim
        other.execute("BEGIN IMMEDIATE")
        got = Task(q.get, patience=_PATIENCE)
        assert claiming.wait(_PATIENCE)
        assert q.unfinished_tasks == 3
        other.rollback()
        assert got.result() == 1
        claiming.clear()
        assert (q.get(), q.unfinished_tasks, claiming.is_set()) == (2, 3, False)


@pytest.mark.parametrize("kind", [FIFOSQLiteQueue, UniqueQ])
def test_persist_queues_classes(kind: type[FIFOSQLiteQueue], tmp_path: Path) -> None:
    q = kind(str(tmp_path))
    for item in ("a", "b", "c"):
        q.put(item)
    assert q.get() == "a"
    store = q._store
    assert isinstance(store, SqliteStore)
    with _claiming(store) as claims:
        found = q.get(raw=True)
    assert claims == []
    assert (found["pqid"], found["data"]) == (2, "b")
    q.put("b")  # it has left, and may come again
    store.commit(Put(q._queue, b"no pickle"))
    assert [q.get(), q.get()] == ["c", "b"]
    with pytest.raises(TheirEmpty):
        q.get(block=False)
    assert [record.payload for record in store.browse(f"{q._queue}.dead")] == [b"no pickle"]
    q.close()


def test_a_look_has_an_order(tmp_path: Path) -> None:
    """Classes with another one than by age claimed what they got, each time."""
    with _filled(tmp_path, b"a", b"b", b"c") as store:
        newest, first = store.look("q", Order.NEWEST), store.look("q", Order.RANK)
        assert newest is not None
        assert first is not None  # without ranks that is the oldest one
        assert (newest.payload, first.payload) == (b"c", b"a")
        store.commit(Put("q", b"d", rank=b"2"), Put("q", b"e", rank=b"1"))
        store._core.names.ranked.clear()
        assert store.look("q", Order.RANK) is None  # there may be ranks: a claim finds it out
        (claim,) = store.claim("q", order=Order.RANK)
        store.commit(Ack(claim))
        assert claim.payload == b"a"
        assert [_by_rank(store) for _ in range(4)] == [b"b", b"c", b"e", b"d"]
        assert store.look("q", Order.RANK) is None


def _by_rank(store: SqliteStore) -> bytes:
    claim = store.look("q", Order.RANK)
    assert claim is not None
    store.commit(Ack(claim))
    return claim.payload


def test_a_put_with_a_rank_is_one_statement_once_there_are_some(tmp_path: Path) -> None:
    with _store(tmp_path) as store, _store(tmp_path) as other:
        store.commit(Put("q", b"", rank=b"9"))
        assert store._core.writer.connection is not None
        said: list[str] = []
        store._core.writer.connection.set_trace_callback(said.append)
        ids = [store.commit(Put("q", b"%d" % n, rank=b"%d" % n))[0] for n in (3, 1, 2)]
        assert [text for text in said if not text.lstrip().startswith(("INSERT", "--"))] == []
        assert ids == sorted(ids)
        claims = other.claim("q", order=Order.RANK, limit=9)
        assert [claim.payload for claim in claims] == [b"1", b"2", b"3", b""]
        assert [claim.rank for claim in claims] == [b"1", b"2", b"3", b"9"]
        store._core.writer.connection.set_trace_callback(None)


def test_the_first_rank_of_a_queue_that_has_records_counts(tmp_path: Path) -> None:
    with _store(tmp_path) as store:
        store.commit(Put("q", b"a"))
        store.commit(Put("q", b"b", rank=b"5"))
        store.commit(Put("q", b"c", rank=b"1"))
        assert [claim.payload for claim in store.claim("q", order=Order.RANK, limit=9)] == [b"a", b"c", b"b"]


def test_the_next_item_by_rank_is_looked_at_with_few_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`q.queue[0]` of a priority queue took 290 ms behind 60,000 items, all of which were read."""
    store = _store(tmp_path)
    q: PriorityQueue[tuple[int, int]] = PriorityQueue(store=store)
    items = [(n % 3, n) for n in range(600)]
    q.put_many(items)
    asked, rows = store._looks._ask, list[int]()

    def count(*question: Any) -> list[Any]:
        found = asked(*question)
        rows.append(len(found))
        return found

    monkeypatch.setattr(store._looks, "_ask", count)
    assert q.peek() == q.queue[0] == (0, 0)
    assert sum(rows) < 50
    assert list(q.queue) == sorted(items)
    store.close()
