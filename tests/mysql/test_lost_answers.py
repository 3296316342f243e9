"""Connections that are cut at chosen moments: what was committed is found out, never guessed, and never done twice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from pqadapters.clock import SYSTEM
from pqadapters.errors import ConditionFailed, LeaseLost, OutcomeUnknown, Stopped, StoreRefused, StoreUnreachable
from pqadapters.stdlib.asyncio import Queue as LoopQueue
from pqadapters.stdlib.pdict import PDict
from pqadapters.store import LOCK_TIMEOUT, Ack, Expect, Nack, Op, Put, Set, Store, Update
from pqadapters.stores.mysql import MysqlStore, core, patience, reader
from pqadapters.stores.mysql.errors import translated
from pqadapters.stores.mysql.transactions import Doubt, Transactions
from pqadapters.stores.mysql.wire import Answer, Dialer, Failed, Wire
from tests.contract.snapshot import payloads
from tests.contract.threads import Task, together
from tests.segment.programs import PATIENCE

from .proxy import How, Proxy
from .server import Server

_GONE = [How.CUT_BEFORE, How.CUT_AFTER, How.HALF]


@pytest.fixture
def through(url: str, proxy: Proxy, server: Server) -> str:
    """The URL of the same database, through the proxy."""
    return url.replace(f":{server.port}/", f":{proxy.port}/")


def _again(store: Store, call: Callable[[], object]) -> object:
    return Task(call, patience=PATIENCE).result()


@pytest.mark.parametrize("how", _GONE)
def test_i2_a_put_is_there_once_and_its_id_is_right(through: str, url: str, proxy: Proxy, how: How) -> None:
    with MysqlStore(through) as store:
        store.commit(Put("q", b"before"))
        proxy.at(b"COMMIT", how)
        ids = _again(store, lambda: store.commit(Put("q", b"a"), Put("q", b"b"), timeout=PATIENCE))
        assert proxy.came.is_set()
        assert payloads(store) == [b"before", b"a", b"b"]
        assert [record.id for record in store.browse("q")][1:] == list(ids)  # type: ignore[call-overload]


def _fail_behind_a_commit(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """The next one is carried out, and its answer is an error."""
    send, failed = Wire.send, list[int]()

    def fail(wire: Wire, texts: Sequence[str]) -> list[Answer]:
        answers = send(wire, texts)
        if len(texts) > 1 and texts[-1] == "COMMIT" and not failed:
            failed.append(number)
            raise Failed(pymysql.err.OperationalError(number, "Got error 1"))
        return answers

    monkeypatch.setattr(Wire, "send", fail)
    return failed


def test_i2_an_error_of_the_commit_itself_says_nothing_of_what_has_become_of_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        failed = _fail_behind_a_commit(monkeypatch, 1180)
        ids = store.commit(Put("q", b"b"))
        assert failed
        assert [(record.id, record.payload) for record in store.browse("q")] == [(1, b"a"), (*ids, b"b")]


@pytest.mark.parametrize("how", _GONE)
def test_i2_a_commit_of_everything_is_done_once(through: str, proxy: Proxy, how: How) -> None:
    with MysqlStore(through) as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(4)))
        acked, nacked, died, updated = store.claim("q", limit=4)
        proxy.at(b"COMMIT", how)
        ops: list[Op] = [
            Ack(acked),
            Nack(nacked),
            Nack(died, dead="no"),
            Update(updated, b"updated"),
            Put("q", b"new"),
            Put("q", b"bounded", limit=9),
            Set("t", b"k", b"v"),
            Set("t", b"l", b"v", expect=Expect.ABSENT),
        ]
        _again(store, lambda: store.commit(*ops, timeout=PATIENCE))
        assert proxy.came.is_set()
        assert payloads(store) == [b"1", b"new", b"bounded"]
        assert payloads(store, "q.dead") == [b"2"]
        assert dict(store.scan("t")) == {b"k": b"v", b"l": b"v"}
        store.commit(Ack(updated))  # the claim has outlived the connection that it was made over


@pytest.mark.parametrize("how", _GONE)
def test_i5_a_claim_takes_each_record_once(through: str, proxy: Proxy, how: How) -> None:
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        proxy.at(b"COMMIT", how)
        claims = Task(lambda: store.claim("q", patience=PATIENCE), patience=PATIENCE).result()
        assert proxy.came.is_set()
        assert [(claim.payload, claim.attempt) for claim in claims] == [(b"a", 1)]
        assert (store.depth("q").ready, store.depth("q").claimed) == (1, 1)
        store.commit(*map(Ack, claims))


@pytest.mark.parametrize("marker", [b"FOR UPDATE SKIP LOCKED", b"UPDATE pqa_items SET state = 2"])
@pytest.mark.parametrize("how", _GONE)
def test_i5_a_claim_that_is_cut_off_on_its_way_is_made_again(
    through: str, proxy: Proxy, how: How, marker: bytes
) -> None:
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"))
        proxy.at(marker, how)
        claims = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE).result()
        assert proxy.came.is_set()
        assert [claim.payload for claim in claims] == [b"a"]
        store.commit(*map(Ack, claims))
        assert not store.depth("q").unfinished


@pytest.mark.parametrize("ended", [True, False])
def test_i2_a_commit_that_reaches_the_server_late_is_not_done_twice(
    through: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """The worst of all: the connection is gone, the packet isn't. By then it was done again over another one. The
    server is told to end the old connection; should that not go, the transaction's number is used up."""
    if not ended:
        monkeypatch.setattr(Wire, "alone", lambda wire, name: True)
    with MysqlStore(through) as store:
        store.commit(Put("q", b"before"))
        proxy.at(b"COMMIT", How.LATE)
        _again(store, lambda: store.commit(Put("q", b"a"), timeout=PATIENCE))
        assert payloads(store) == [b"before", b"a"]
        proxy.go.set()
        _again(store, lambda: store.wait("q", lambda depth: depth.ready != 2, 1.0))
        assert payloads(store) == [b"before", b"a"]


def test_i2_a_commit_that_was_refused_behind_a_lost_connection_stays_refused(
    through: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was looked up, wasn't there, and isn't tried again; the packet that comes late must not do it after all."""
    monkeypatch.setattr(Wire, "alone", lambda wire, name: True)
    asked = list[None]()

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 1

    with MysqlStore(through) as store:
        store.commit(Put("q", b"before"))
        proxy.at(b"COMMIT", How.LATE)
        with pytest.raises(Stopped):
            _again(store, lambda: store.commit(Put("q", b"a"), stop=stop, timeout=PATIENCE))
        proxy.go.set()
        assert not store.wait("q", lambda depth: depth.ready != 1, 1.5)


def test_i1_a_commit_is_not_looked_up_in_a_row_of_another_process(
    through: str, url: str, proxy: Proxy, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that has never heard of us its number may be ours: what was on its way was told to be there."""
    settle, database = Transactions._settle, url.rpartition("/")[2]

    def be_on_another_server(writer: Transactions, wire: Wire, doubt: Doubt) -> None:
        server.run(f"UPDATE pqa_owners SET host = 'theirs', seq = {doubt.seq}", database=database)
        settle(writer, wire, doubt)

    monkeypatch.setattr(Transactions, "_settle", be_on_another_server)
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"))
        proxy.at(b"COMMIT", How.CUT_BEFORE)
        with pytest.raises(OutcomeUnknown):
            store.commit(Put("q", b"b"), timeout=PATIENCE)
        assert payloads(store) == [b"a"]
        store.commit(Put("q", b"c"))
    rows = server.run("SELECT seq FROM pqa_owners WHERE host = 'theirs'", database=database)
    assert rows == ((2,),)  # nobody has moved it on, or taken it away


def test_i5_a_claim_of_who_was_taken_for_dead_before_it_is_looked_up_is_not_handed_out(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Transactions._settle

    def be_taken_for_dead(writer: Transactions, wire: Wire, doubt: Doubt) -> None:
        server.run(f"UPDATE pqa_owners SET alive = 0 WHERE number = {doubt.owner}", database=url.rpartition("/")[2])
        settle(writer, wire, doubt)

    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"a"))
        monkeypatch.setattr(Transactions, "_settle", be_taken_for_dead)
        failed = _fail_behind_a_commit(monkeypatch, 2013)
        assert store.claim("q") == []
        assert failed
        (claim,) = other.claim("q", timeout=PATIENCE)
        other.commit(Ack(claim))


def test_i2_a_commit_that_comes_later_than_the_end_of_its_process_is_not_done_twice(
    through: str, url: str, proxy: Proxy, server: Server
) -> None:
    """The row with its number is gone by then; and the connection wasn't ended, since it had been made under the number
    of a process that was taken for dead."""
    with MysqlStore(url) as other:
        with MysqlStore(through) as store:
            store.commit(Put("q", b"a"))
            server.run("UPDATE pqa_owners SET alive = 0", database=url.rpartition("/")[2])
            store._core.owners.renew()
            store.commit(Put("q", b"b"))
            name = f"{store._core.owners.base}{store._core.owners.number}-commits"
            assert server.run(f"SELECT IS_USED_LOCK('{name}')") != ((None,),)
            proxy.at(b"COMMIT", How.LATE)
            _again(store, lambda: store.commit(Put("q", b"c"), timeout=PATIENCE))
        proxy.go.set()
        assert not other.wait("q", lambda depth: depth.ready > 3, 1.0)


def test_i6_whose_row_is_gone_claims_and_acknowledges_nothing(url: str, server: Server) -> None:
    """Whoever was away for days, or whose tables were emptied: what it claimed was nobody's, for good."""
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        (claim,) = store.claim("q")
        number = store._core.owners.number
        forget = f"DELETE FROM pqa_owners WHERE number = {number}"
        ready = "UPDATE pqa_items SET state = 0, place = '' WHERE state = 2"
        server.run(forget, ready, database=url.rpartition("/")[2])
        with pytest.raises(LeaseLost):
            store.commit(Ack(claim))
        again = store.claim("q", limit=5)
        assert store._core.owners.number != number
        assert [claim.payload for claim in again] == [b"a", b"b"]
        dead = f"UPDATE pqa_owners SET alive = 0 WHERE number = {store._core.owners.number}"
        server.run(dead, database=url.rpartition("/")[2])
        assert len(other.claim("q", limit=5, timeout=PATIENCE)) == 2


def test_i6_an_acknowledgement_that_comes_late_takes_nothing_from_the_next_owner(through: str, proxy: Proxy) -> None:
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"))
        (claim,) = store.claim("q")
        proxy.at(b"COMMIT", How.LATE)
        _again(store, lambda: store.commit(Nack(claim), timeout=PATIENCE))
        (again,) = store.claim("q")
        proxy.go.set()
        assert not store.wait("q", lambda depth: depth.claimed != 1, 1.0)
        with pytest.raises(LeaseLost):
            store.commit(Ack(claim))
        store.commit(Ack(again))


@pytest.mark.parametrize("how", _GONE)
def test_i2_commits_of_many_threads_are_each_done_once(through: str, proxy: Proxy, how: How) -> None:
    with MysqlStore(through) as store:
        store.commit(Put("q", b"first"))

        def put(name: int) -> list[int]:
            return [store.commit(Put("q", b"%d.%d" % (name, n)), timeout=PATIENCE)[0] for n in range(20)]

        proxy.at(b"COMMIT", how)
        ids = together([partial(put, name) for name in range(6)], patience=PATIENCE)
        assert proxy.came.is_set()
        found = {record.id: record.payload for record in store.browse("q")}
        assert len(found) == 121
        for name, mine in enumerate(ids):
            assert [found[id] for id in mine] == [b"%d.%d" % (name, n) for n in range(20)]


def test_i5_claims_outlive_a_cut_of_all_connections(through: str, proxy: Proxy) -> None:
    """The process is there again before anybody takes it for dead."""
    with MysqlStore(through) as store, MysqlStore(through.replace("127.0.0.1", "localhost")) as _:
        store.commit(Put("q", b"a"))
        (claim,) = store.claim("q")
        proxy.cut()
        _again(store, lambda: store.commit(Ack(claim), timeout=PATIENCE))
        assert not store.depth("q").unfinished


def test_a_cut_connection_takes_the_claims_of_who_doesnt_come_back(through: str, url: str, proxy: Proxy) -> None:
    cut = MysqlStore(through)
    with MysqlStore(url) as store:
        cut.commit(Put("q", b"a"))
        (claim,) = cut.claim("q")
        proxy.refuse()
        (again,) = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE).result()
        assert again.attempt == 2
        proxy.accept()
        with pytest.raises(LeaseLost):
            _again(cut, lambda: cut.commit(Ack(claim), timeout=PATIENCE))
        store.commit(Ack(again))
    cut.close()


def test_a_server_that_is_silent_is_told_of_within_the_callers_time(through: str, proxy: Proxy) -> None:
    """Nothing comes back, and nothing says that the connection is gone."""
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"))
        proxy.at(b"COMMIT", How.HANG)
        with pytest.raises(OutcomeUnknown, match="hasn't answered in time"):
            _again(store, lambda: store.commit(Put("q", b"b"), timeout=1.0))
        proxy.go.set()
        store.commit(Put("q", b"c"))
        assert payloads(store) == [b"a", b"c"]  # it was looked up behind that: it never came there


def test_i2_who_is_let_in_no_more_behind_a_commit_is_told_that_nobody_knows(
    through: str, server: Server, proxy: Proxy
) -> None:
    """It was told of the password alone, as of a call that had stored nothing."""
    server.run("CREATE OR REPLACE USER app@'%' IDENTIFIED BY 'old'", "GRANT ALL ON *.* TO app@'%'")
    with MysqlStore(through.replace("root@", "app:old@")) as store:
        store.commit(Put("q", b"before"))
        server.run("ALTER USER app@'%' IDENTIFIED BY 'new'")
        proxy.at(b"COMMIT", How.CUT_AFTER)
        with pytest.raises(OutcomeUnknown, match=r"asked to commit.*Access denied"):
            _again(store, lambda: store.commit(Put("q", b"a")))
        with pytest.raises(StoreRefused, match="refuses the password"):
            _again(store, lambda: store.commit(Put("q", b"lost")))
        server.run("ALTER USER app@'%' IDENTIFIED BY 'old'")
        store.commit(Put("q", b"b"))
        assert payloads(store) == [b"before", b"a", b"b"]


def test_i2_who_gets_no_encrypted_connection_behind_a_commit_is_told_that_nobody_knows(
    through: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Wire:
        raise StoreRefused("the server offers no TLS")

    with MysqlStore(through) as store:
        store.commit(Put("q", b"before"))
        proxy.at(b"COMMIT", How.CUT_AFTER)
        with monkeypatch.context() as patch, pytest.raises(OutcomeUnknown, match="no TLS"):
            patch.setattr(Dialer, "dial", refuse)
            _again(store, lambda: store.commit(Put("q", b"a")))
        store.commit(Put("q", b"b"))
        assert payloads(store) == [b"before", b"a", b"b"]


def test_i5_a_claim_of_unknown_outcome_is_given_back(
    through: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Wire:
        raise Failed(ConnectionRefusedError("not now"))

    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"))
        proxy.at(b"COMMIT", How.CUT_AFTER)
        with monkeypatch.context() as patch, pytest.raises(OutcomeUnknown):
            patch.setattr(Dialer, "dial", refuse)
            Task(lambda: store.claim("q", patience=0.0), patience=PATIENCE).result()
        assert proxy.came.is_set()
        (claim,) = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE).result()
        assert claim.payload == b"a"


@pytest.mark.parametrize("how", _GONE)
def test_i2_a_call_without_time_is_told_what_has_become_of_it(
    through: str, proxy: Proxy, how: How, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut connection was enough for OutcomeUnknown, and so for `await put()` and `await get()`, which have time."""
    monkeypatch.setattr(reader, "_SHORTEST", PATIENCE)  # on a busy machine a look may need a new connection for long
    with MysqlStore(through) as store:
        store.commit(Put("q", b"before"))
        proxy.at(b"COMMIT", how)
        _again(store, lambda: store.commit(Put("q", b"a"), timeout=0.0))
        assert proxy.came.is_set()
        assert payloads(store) == [b"before", b"a"]
        proxy.at(b"COMMIT", how)
        (claim,) = Task(lambda: store.claim("q", patience=0.0), patience=PATIENCE).result()
        assert proxy.came.is_set()
        assert (claim.payload, claim.attempt) == (b"before", 1)


def test_a_loops_get_whose_answer_is_lost_asks_again(
    through: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised OutcomeUnknown: what it may have claimed comes back, and it has time for that."""
    dial, refusals = Dialer.dial, [Failed(ConnectionRefusedError("not now")) for _ in range(3)]

    def refuse(self: Dialer, *arguments: Any, **options: Any) -> Wire:
        if refusals:
            raise refusals.pop()
        return dial(self, *arguments, **options)

    async def main() -> None:
        async with LoopQueue[str](store=through, durability="process", signing_key=b"k" * 16) as q:
            await q.put("a")
            proxy.at(b"COMMIT", How.CUT_AFTER)
            with monkeypatch.context() as patch:
                patch.setattr(Dialer, "dial", refuse)
                assert await asyncio.wait_for(q.get(), PATIENCE) == "a"
            assert proxy.came.is_set()
            q.task_done()
            assert not q.qsize()

    asyncio.run(main())


def test_an_idle_connection_is_kept_in_mind_by_what_lies_between(url: str) -> None:
    """A box that forgets it without a word made the first commit behind an idle time one of unknown outcome."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        wire: Any = store._core.writer._wire
        sock = wire.raw._sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert 0 < sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


def test_a_delayed_answer_is_waited_for(through: str, proxy: Proxy) -> None:
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"))
        proxy.at(b"COMMIT", How.DELAY)
        task = Task(lambda: store.commit(Put("q", b"b"), timeout=PATIENCE), patience=PATIENCE)
        assert proxy.came.wait(PATIENCE)
        assert payloads(store) == [b"a"]
        proxy.go.set()
        task.result()
        assert payloads(store) == [b"a", b"b"]


def test_looks_are_made_again_over_a_new_connection(through: str, proxy: Proxy) -> None:
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"), Set("t", b"k", b"v"), *(Set("u", b"%d" % n, b"v") for n in range(1200)))
        looks: list[Callable[[], object]] = [
            lambda: store.depth("q").ready == 1,
            lambda: payloads(store) == [b"a"],
            lambda: store.get("t", b"k") == b"v",
            lambda: len(list(store.scan("u"))) == 1200,
            lambda: store.count("t") == 1,
            lambda: len(store.snapshot("u", [b"%d" % n for n in range(1200)])) == 1200,
            lambda: store.wait("q", lambda depth: depth.ready == 1),
        ]
        for look in looks:
            proxy.cut()
            assert look()
            for how in _GONE:
                proxy.at(b"SELECT", how)
                assert look()


@pytest.mark.parametrize("how", _GONE)
@pytest.mark.parametrize("first", [True, False], ids=["the first one", "the next one"])
@pytest.mark.parametrize("where", [b"CREATE TABLE IF NOT EXISTS pqa_items", b"innodb_flush_log_at_trx_commit"])
def test_an_opening_that_is_cut_off_goes_on(
    through: str, url: str, proxy: Proxy, how: How, first: bool, where: bytes
) -> None:
    """It was told that the server can't be reached, as no other call is while it has time."""
    if not first:
        MysqlStore(url).close()
    proxy.at(where, how)
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"))
        assert proxy.came.is_set() or not first
        assert payloads(store) == [b"a"]


@pytest.mark.parametrize("how", _GONE)
def test_an_opening_whose_server_is_gone_says_so(
    through: str, proxy: Proxy, how: How, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store's own modules tell each other of a lost connection came out of it, past the tables' making."""
    monkeypatch.setattr(core, "LOCK_TIMEOUT", 0.5)
    monkeypatch.setattr(core, "rest", lambda pause: proxy.refuse() or 0.05)
    proxy.at(b"innodb_flush_log_at_trx_commit", how)
    with pytest.raises(StoreUnreachable, match="can't be reached"):
        MysqlStore(through)
    assert proxy.came.is_set()


def test_a_server_that_refuses_connections_is_told_of_within_the_callers_time(through: str, proxy: Proxy) -> None:
    with MysqlStore(through) as store:
        store.commit(Put("q", b"a"))
        proxy.refuse()
        for call in (
            lambda: store.commit(Put("q", b"b"), timeout=0.5),
            lambda: store.claim("q", timeout=0.5, patience=0.2),
            lambda: store.depth("q"),
        ):
            with pytest.raises(StoreUnreachable, match="can't be reached"):
                Task(call, patience=PATIENCE).result()
        proxy.accept()
        _again(store, lambda: store.commit(Put("q", b"c"), timeout=PATIENCE))
        assert payloads(store) == [b"a", b"c"]


def test_i7_a_getter_waits_through_an_outage(through: str, url: str, proxy: Proxy) -> None:
    with MysqlStore(through) as store, MysqlStore(url) as other:
        task = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE)
        proxy.refuse()
        other.commit(Put("q", b"a"))
        assert not other.wait("q", lambda depth: depth.ready == 0, 1.0)
        proxy.accept()
        assert [claim.payload for claim in task.result()] == [b"a"]


@pytest.mark.parametrize("fails", [False, True])
def test_an_edit_that_the_server_left_keeps_its_key_from_nobody(
    through: str, url: str, proxy: Proxy, fails: bool
) -> None:
    """Its lock stayed with its process: who edited the key waited for ever, wherever. And the server's error came in
    place of the program's own."""
    here, there = PDict[str, list[int]](through, serializer="json"), PDict[str, list[int]](url, serializer="json")
    with here, there:
        here["k"] = []
        with pytest.raises(ZeroDivisionError if fails else StoreUnreachable), here.edit("k") as value:
            value.append(1)
            proxy.refuse()
            if fails:
                raise ZeroDivisionError
        proxy.accept()
        with there.edit("k", timeout=PATIENCE) as value:
            value.append(2)
        assert here["k"] == [2]


def test_an_edit_whose_lock_was_lost_says_so(url: str, server: Server) -> None:
    """It was a LeaseLost of a record that nobody knows."""
    with PDict[str, list[int]](url, serializer="json") as mapping:
        mapping["k"] = []
        told = r"taken for dead.*Nothing of it was stored: do it again"
        with pytest.raises(ConditionFailed, match=told), mapping.edit("k") as value:
            value.append(1)
            server.run("UPDATE pqa_items SET attempts = attempts + 1", database=url.rpartition("/")[2])
        assert mapping["k"] == []


def test_whose_time_is_over_when_it_was_taken_for_dead_is_told_that() -> None:
    """He was told of a column."""
    said = translated(pymysql.err.IntegrityError(1048, "Column 'seq' cannot be null"), "mysql://here")
    assert isinstance(said, StoreUnreachable)
    assert "taken this process for dead" in str(said)


def test_a_put_into_a_new_queue_waits_for_its_server_as_long_as_its_timeout_says(
    through: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue's number was waited for 5 seconds, whatever the timeout."""
    ahead, left = 0.0, 3

    def rest(pause: float) -> float:
        nonlocal ahead, left
        ahead += LOCK_TIMEOUT
        left -= 1
        if not left:
            proxy.accept()
        return pause

    with MysqlStore(through) as store:
        clock = SimpleNamespace(monotonic=lambda: SYSTEM.monotonic() + ahead)
        for module in (reader, patience):
            monkeypatch.setattr(module, "SYSTEM", clock)
        monkeypatch.setattr(store._core.reader, "_rest", rest)
        proxy.refuse()
        assert store.commit(Put("new", b"a"), timeout=PATIENCE)
        assert payloads(store, "new") == [b"a"]
