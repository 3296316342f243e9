"""Several processes on one server: claims of the dead come back, those of the living stay, and everybody hears."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest

from pqadapters.errors import ConditionFailed, LeaseLost
from pqadapters.store import Ack, Claim, Expect, Extend, Nack, Op, Order, Put, Set, Store, Update
from pqadapters.stores.mysql import MysqlStore, keeper, owners
from pqadapters.stores.mysql.address import address_of
from pqadapters.stores.mysql.owners import Owners
from pqadapters.stores.mysql.schema import ALIVE, DEAD, DYING, Statements
from pqadapters.stores.mysql.wire import Dialer, readable
from tests.contract.snapshot import payloads
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, forked, go_on, run, running, said

from .proxy import Proxy
from .server import Server

_OPEN = """
import os, sys, threading
from pqadapters.errors import LeaseLost
from pqadapters.store import Ack, Nack, Put, Set
from pqadapters.stores.mysql import MysqlStore
store = MysqlStore(sys.argv[1])
"""
_CLAIM = _OPEN + """
(claim,) = store.claim("q", timeout=None)
print(claim.payload.decode(), claim.attempt, flush=True)
sys.stdin.readline()
try:
    store.commit(Ack(claim))
    print("acked", flush=True)
except LeaseLost:
    print("lost", flush=True)
sys.stdin.readline()
"""


def _claimed(store: Store) -> Claim:
    (claim,) = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE).result()
    return claim


def test_i5_what_a_killed_process_had_claimed_is_ready_again(url: str) -> None:
    """Long before its lease is over: its connection is gone with it."""
    with MysqlStore(url, lease=86_400) as store, running(_CLAIM, url) as child:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        assert said(child) == "a 1"
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"b"]
        child.kill()
        child.wait(PATIENCE)
        claim = _claimed(store)
        assert (claim.payload, claim.attempt) == (b"a", 2)
        store.commit(Ack(claim))


def test_i5_beside_a_backlog_it_is_ready_again_though_nobody_waits(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever always finds something had no look at who has died: it came when the backlog was done, days later."""
    monkeypatch.setattr(keeper, "_PER_LOOK", 0.1)
    monkeypatch.setattr(keeper, "GRACE", 0.0)
    monkeypatch.setattr(owners, "GRACE", 0.0)
    with MysqlStore(url, lease=86_400, prefetch=1) as store, running(_CLAIM, url) as child:
        store.commit(*(Put("q", b"%d" % n) for n in range(3)))
        assert said(child) == "0 1"
        assert [claim.payload for claim in store.claim("q")] == [b"1"]
        child.kill()
        child.wait(PATIENCE)
        pause, claimed, look = threading.Event(), 2, "SELECT COUNT(*) FROM pqa_items WHERE state = 2"
        while claimed == 2:
            assert not pause.wait(0.01)
            ((claimed,),) = server.run(look, database=url.rpartition("/")[2])
        assert not store._core.lookout.runs
        assert [(claim.payload, claim.attempt) for claim in store.claim("q", limit=2)] == [(b"0", 2), (b"2", 1)]


@pytest.mark.parametrize("refused", [False, True])
def test_i5_who_only_waits_is_given_what_a_killed_process_had_claimed(url: str, refused: bool) -> None:
    """Looking for the dead, or a commit that was refused, gave it a number that nobody renewed: once the lease was over
    it took the server for away, and nobody else for dead, for good."""
    code = _OPEN + """
store.commit(Put("q", b"a"))
store.claim("q")
print("claimed", flush=True)
sys.stdin.readline()
"""
    with MysqlStore(url, lease=1) as store:
        if refused:
            with pytest.raises(ConditionFailed):
                store.commit(Set("t", b"k", b"v", Expect.PRESENT))
        with running(code, url) as child:
            assert said(child) == "claimed"
            child.kill()
            child.wait(PATIENCE)
            claim = _claimed(store)
            assert (claim.payload, claim.attempt) == (b"a", 2)


def test_i5_records_that_were_fetched_ahead_come_back_too(url: str) -> None:
    with MysqlStore(url) as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(9)))
        with running(_CLAIM.replace("(sys.argv[1])", "(sys.argv[1], prefetch=8)"), url) as child:
            assert said(child) == "0 1"
            assert (store.depth("q").ready, store.depth("q").claimed) == (1, 8)
            child.kill()
            child.wait(PATIENCE)
            assert store.wait("q", lambda depth: depth.ready == 9, PATIENCE)


def test_i6_a_stopped_process_loses_its_claims_with_its_lease_and_its_late_ack_is_refused(url: str) -> None:
    code = _CLAIM.replace("(sys.argv[1])", "(sys.argv[1], lease=2)")
    with MysqlStore(url) as store, running(code, url) as child:
        store.commit(Put("q", b"a"))
        assert said(child) == "a 1"
        os.kill(child.pid, signal.SIGSTOP)
        claim = _claimed(store)
        assert (claim.payload, claim.attempt) == (b"a", 2)
        os.kill(child.pid, signal.SIGCONT)
        go_on(child)
        assert said(child) == "lost"
        store.commit(Ack(claim))


def test_i5_a_process_that_was_taken_for_dead_claims_anew(url: str) -> None:
    code = _OPEN.replace("(sys.argv[1])", "(sys.argv[1], lease=2)") + """
store.claim("q", timeout=None)
print("claimed", flush=True)
sys.stdin.readline()
lost = True
while lost:
    (claim,) = store.claim("r", timeout=None)
    try:
        store.commit(Ack(claim), Put("done", claim.payload))
        lost = False
    except LeaseLost:  # a slow machine took more than two seconds for that
        pass
print("done", flush=True)
sys.stdin.readline()
"""
    with MysqlStore(url) as store, running(code, url) as child:
        store.commit(Put("q", b"a"), Put("r", b"b"))
        assert said(child) == "claimed"
        os.kill(child.pid, signal.SIGSTOP)
        _claimed(store)
        os.kill(child.pid, signal.SIGCONT)
        go_on(child)
        assert said(child) == "done"
        assert [record.payload for record in store.browse("done")] == [b"b"]


def test_i5_a_stopped_process_is_not_robbed_before_that(url: str) -> None:
    code = _CLAIM.replace("(sys.argv[1])", "(sys.argv[1], lease=60)")
    with MysqlStore(url) as store, running(code, url) as child:
        store.commit(Put("q", b"a"))
        assert said(child) == "a 1"
        os.kill(child.pid, signal.SIGSTOP)
        assert store.claim("q", timeout=3.0) == []
        os.kill(child.pid, signal.SIGCONT)
        go_on(child)
        assert said(child) == "acked"


def test_i5_whose_lease_ran_out_while_the_server_was_away_has_a_moment_to_renew_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever was there first took all others for dead, and live consumers lost their claims."""
    now = 0.0
    monkeypatch.setattr(owners, "SYSTEM", SimpleNamespace(monotonic=lambda: now))
    us = owners.Owners(Dialer(address_of("mysql://u@h/d"), Statements("pqa_")), 30.0)
    us.number, us._held = 1, True

    def dead(*, ours: bool, theirs: bool) -> list[int]:
        return us.dead([(1, ALIVE, ours, False, 9), (2, ALIVE, theirs, True, 9)])

    assert dead(ours=False, theirs=True) == []
    now += 0.9
    assert dead(ours=False, theirs=True) == []
    now += 0.2
    assert dead(ours=False, theirs=True) == [2]
    for _ in range(3):  # it takes no changes from anybody
        now += 1.0
        assert dead(ours=True, theirs=True) == []
    now += 0.1
    assert dead(ours=False, theirs=True) == []
    us.drop_locked()  # it is gone, and nobody has looked meanwhile
    now += 60.0
    assert dead(ours=False, theirs=True) == []
    us._held, us._since = True, now
    now += 0.9
    assert dead(ours=False, theirs=True) == []
    now += 0.2
    assert dead(ours=False, theirs=True) == [2]


def test_i5_who_holds_its_lock_is_waited_for_until_it_is_to_be_heard_of_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's clock was put forward, and who was heard of there first robbed all others, alive and well."""
    now = 0.0
    monkeypatch.setattr(owners, "SYSTEM", SimpleNamespace(monotonic=lambda: now))
    us = owners.Owners(Dialer(address_of("mysql://u@h/d"), Statements("pqa_")), 30.0)
    us.number, us._held = 1, True

    def dead(*, overdue: bool) -> list[int]:
        return us.dead([(1, ALIVE, False, False, 9), (2, ALIVE, overdue, False, 9)])

    assert dead(overdue=True) == []
    now += us.pause + 0.9
    assert dead(overdue=True) == []
    now += 0.2
    assert dead(overdue=True) == [2]
    assert dead(overdue=False) == []
    assert dead(overdue=True) == []


def test_i5_whose_lease_ends_by_a_jump_of_the_servers_clock_keeps_its_claims(url: str, server: Server) -> None:
    database = url.rpartition("/")[2]
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"a"))
        (claim,) = store.claim("q")
        other.commit(Put("r", b""))
        jumped = "UPDATE pqa_owners SET lease_until = lease_until - 3600"  # as good as one
        server.run(jumped, database=database)
        other._core.owners.renew()
        other._core.look_for_dead()
        assert other.claim("q", timeout=2.0) == []
        store._core.owners.renew()
        store.commit(Ack(claim))


def test_i5_who_gets_its_number_behind_an_outage_looks_once_more(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To wait on an empty queue takes none, so it can't tell from its own lease whether the server takes changes."""
    monkeypatch.setattr(owners, "GRACE", 0.0)
    monkeypatch.setattr(keeper.Keeper, "ensure", lambda self: None)  # it looks, too
    database, alive = url.rpartition("/")[2], "SELECT alive FROM pqa_owners WHERE number = 77"
    with MysqlStore(url) as store:
        server.run("INSERT INTO pqa_owners VALUES (77, 1, 0, 0, 0, 'theirs', 1)", database=database)
        store._core.look_for_dead()
        assert server.run(alive, database=database) == ((ALIVE,),)
        assert store._core.owners.number
        store._core.look_for_dead()
        assert server.run(alive, database=database) == ((DYING,),)


def test_i3_what_others_had_locked_when_a_process_died_is_given_back_later(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "GRACE", 0.0)
    monkeypatch.setattr(keeper.Keeper, "ensure", lambda self: None)
    database = url.rpartition("/")[2]
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"a"))
        assert other.claim("q")
        number = other._core.owners.number
        other._core.owners.drop_locked()  # as the end of its process
        with pymysql.connect(unix_socket=server.socket, user="root", database=database) as third:
            third.cursor().execute("SELECT id FROM pqa_items FOR UPDATE")
            for _ in range(3):
                store._core.look_for_dead()
            assert store.depth("q").claimed
            third.rollback()
        for _ in range(2):
            store._core.look_for_dead()
        assert payloads(store) == [b"a"]
        assert server.run(f"SELECT alive FROM pqa_owners WHERE number = {number}", database=database) == ((DEAD,),)


def test_i5_who_is_back_right_before_it_is_buried_keeps_its_claims(url: str) -> None:
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"a"))
        (claim,) = store.claim("q")
        other.commit()
        number = store._core.owners.number
        other._core.owners._suspected = {number: 0.0}  # its lock was free at the last looks
        other._core._bury(number)
        assert other.claim("q") == []
        store.commit(Ack(claim))


def test_i5_a_lock_whose_idle_connection_the_server_has_ended_is_ours_again_at_once(url: str, server: Server) -> None:
    """With a wait_timeout of a second it was free for a quarter of that, in which others took its owner for dead."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        ours = store._core.owners
        lock = f"'{ours.base}{ours.number}'"
        with ours.lock:
            ((holder,),) = server.run(f"SELECT IS_USED_LOCK({lock})")
            server.run(f"KILL {holder}")
            fd = ours.fileno()
            assert fd is not None
            assert readable([fd], PATIENCE)
            ours.renew()
            assert server.run(f"SELECT IS_FREE_LOCK({lock})") == ((0,),)


def test_i5_the_keeper_sees_that_the_connection_is_gone_before_it_is_to_come_again(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_PER_LOOK", 3600.0)
    renewed, renew = threading.Event(), Owners.renew

    def renewing(ours: Owners) -> None:
        renew(ours)
        renewed.set()

    monkeypatch.setattr(Owners, "renew", renewing)
    with MysqlStore(url, lease=3600) as store:
        store.commit(Put("q", b"a"))
        assert renewed.wait(PATIENCE)
        question = f"SELECT IS_USED_LOCK('{store._core.owners.base}{store._core.owners.number}')"
        ((holder,),) = server.run(question)
        renewed.clear()
        server.run(f"KILL {holder}")
        assert renewed.wait(PATIENCE)
        assert server.run(question)[0][0] not in (None, holder)


def test_an_extension_outlasts_the_lease(url: str) -> None:
    code = _OPEN.replace("(sys.argv[1])", "(sys.argv[1], lease=1)").replace("Ack, Nack", "Ack, Extend, Nack") + """
while True:
    (claim,) = store.claim("q", timeout=None)
    try:
        store.commit(Extend(claim, 600))
    except LeaseLost:  # a slow machine took more than a second for that
        continue
    break
print(claim.payload.decode(), flush=True)
sys.stdin.readline()
"""
    with MysqlStore(url) as store, running(code, url) as child:
        store.commit(Put("q", b"a"))
        assert said(child) == "a"
        os.kill(child.pid, signal.SIGSTOP)
        assert store.claim("q", timeout=4.0) == []
        os.kill(child.pid, signal.SIGCONT)


def test_i6_whatever_a_late_owner_asks_for_is_refused(url: str, server: Server) -> None:
    """Every op on a claim whose owner was taken for dead."""
    with MysqlStore(url) as late, MysqlStore(url) as store:
        late.commit(*[Put("q", b"a")] * 5)
        claims = late.claim("q", limit=5)
        database = url.rpartition("/")[2]
        server.run("UPDATE pqa_items SET state = 0, place = ''", database=database)
        a, b, c, d, e = claims
        uses: list[Op] = [Ack(a), Nack(b), Nack(c, dead="no"), Update(d, b"x"), Extend(e)]
        for op in uses:
            with pytest.raises(LeaseLost):
                late.commit(op)
        assert [record.payload for record in store.browse("q")] == [b"a"] * 5


def test_i5_a_process_that_ends_without_a_word_leaves_its_claims(url: str) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        run(_OPEN + 'store.claim("q"); os._exit(0)', url)
        assert _claimed(store).attempt == 2


def test_i7_a_put_wakes_a_getter_in_another_process(url: str) -> None:
    with MysqlStore(url) as store, running(_OPEN + """
print("waiting", flush=True)
(claim,) = store.claim("q", timeout=None)
print(claim.payload.decode(), flush=True)
""", url) as child:
        assert said(child) == "waiting"
        store.commit(Put("q", b"hello"))
        assert said(child) == "hello"


def test_join_goes_on_when_another_process_has_done_the_last_task(url: str) -> None:
    with MysqlStore(url) as store, running(_CLAIM, url) as child:
        store.commit(Put("q", b"a"))
        assert said(child) == "a 1"
        joined = Task(lambda: store.wait("q", lambda depth: not depth.unfinished), patience=PATIENCE)
        go_on(child)
        assert joined.result()


def test_ten_processes_make_the_tables_at_once(url: str, server: Server) -> None:
    code = """
import sys
sys.stdin.readline()
""" + _OPEN + """
store.commit(Put("q", sys.argv[2].encode()))
print(store.depth("q").ready > 0, flush=True)
store.close()
"""
    with ExitStack() as stack:
        children = [stack.enter_context(running(code, url, n)) for n in range(10)]
        for child in children:
            go_on(child)
        assert [said(child) for child in children] == ["True"] * 10
        assert [child.wait(PATIENCE) for child in children] == [0] * 10
    with MysqlStore(url) as store:
        assert sorted(record.payload for record in store.browse("q")) == [b"%d" % n for n in range(10)]
    assert server.run("SELECT count(*) FROM pqa_owners", database=url.rpartition("/")[2]) == ((0,),)


def test_counts_are_true_in_every_process(url: str) -> None:
    with MysqlStore(url) as store:
        store.commit(*[Put("q", b"12345")] * 6, Set("t", b"k", b"v"))
        held = store.claim("q", limit=3)
        store.commit(Ack(held[0]), Nack(held[1], dead="no"))
        told = run(_OPEN + 'print(store.depth("q")[:5], store.count("t"), store.get("t", b"k"))', url)
        assert told == "(3, 0, 1, 1, 20) 1 b'v'"


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on_with_connections_of_its_own(url: str) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"parent's"), Put("q", b"child's"), Set("t", b"k", b"v"))
        (claim,) = store.claim("q")
        core = store._core

        def connection() -> Any:
            wire: Any = core.owners._wire
            with core.owners.lock:  # which the keeper uses it with
                return wire.ask("SELECT CONNECTION_ID()").rows

        before = connection()

        def child() -> bool:
            with pytest.raises(LeaseLost):
                store.commit(Ack(claim))
            (mine,) = store.claim("q")
            store.commit(Ack(mine), Put("r", mine.payload))
            return mine.payload == b"child's" and store.get("t", b"k") == b"v"

        assert forked(child) == 0
        assert connection() == before, "a child has ended it"
        assert [record.payload for record in store.browse("r")] == [b"child's"]
        store.commit(Ack(claim))
        assert store.depth("q").unfinished == 0


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_that_ends_takes_nothing_from_its_parent(url: str) -> None:
    """It closes neither connections nor locks, and what the parent has claimed stays so."""
    with MysqlStore(url) as store, running(_OPEN + """
import gc
(claim,) = store.claim("q", timeout=None)
pid = os.fork()
if not pid:
    store.depth("q")
    del store
    gc.collect()
    sys.exit(0)
print(os.waitpid(pid, 0)[1], flush=True)
sys.stdin.readline()
store.commit(Ack(claim), Put("r", b"b"))
print("acked", flush=True)
""", url) as child:
        store.commit(Put("q", b"a"))
        assert said(child) == "0"
        assert store.claim("q", timeout=2.5) == []
        go_on(child)
        assert said(child) == "acked"
        assert [store.depth(queue).ready for queue in "qr"] == [0, 1]


def test_i6_records_of_a_process_that_vanished_in_the_middle_are_locked_for_nobody(url: str, server: Server) -> None:
    """A transaction that another program has left open is passed over, and what it locks is claimed when it ends."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as other:
            other.cursor().execute("SELECT id FROM pqa_items ORDER BY id LIMIT 1 FOR UPDATE")
            assert [claim.payload for claim in store.claim("q", limit=5)] == [b"b"]
            other.rollback()
        assert _claimed(store).payload == b"a"


def test_i5_a_process_that_others_have_forgotten_gets_a_new_number(url: str, server: Server) -> None:
    """It was away for days: its row is gone, and so is its connection."""
    database = url.rpartition("/")[2]
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        other.commit()
        number = store._core.owners.number
        server.run(f"DELETE FROM pqa_owners WHERE number = {number}", database=database)
        store._core.writer.disconnect_locked()
        (claim,) = store.claim("q")
        assert store._core.owners.number != number
        store.commit(Ack(claim))
        store.claim("q")
        store.close()
        assert [claim.payload for claim in other.claim("q", limit=9)] == [b"b"]


def test_tables_that_were_emptied_and_filled_anew_have_other_numbers(url: str, server: Server) -> None:
    """Who had them open went on with the old ones: its items came out of other queues, and looks were IndexErrors."""
    database = url.rpartition("/")[2]
    with MysqlStore(url) as store:
        store.commit(Put("mine", b"a"), Put("more", b"a", rank=b"r"))
        tables = [name for (name,) in server.run("SHOW TABLES", database=database) if name != "pqa_meta"]
        server.run(*(f"TRUNCATE TABLE {name}" for name in tables), database=database)
        assert store.claim("mine") == store.claim("more", order=Order.RANK) == []
        assert store.depth("more").unfinished == 0
        digest = sha256(b"theirs").hexdigest()
        server.run(f"INSERT INTO pqa_queues VALUES (1, x'{digest}', 'theirs', 0)", database=database)
        store._core.owners.renew()
        store.commit(Put("mine", b"b"))
        assert [claim.payload for claim in store.claim("mine")] == [b"b"]
        assert store.depth("theirs").unfinished == 0


def test_i5_in_tables_that_were_made_anew_nobody_has_another_ones_number(url: str, server: Server) -> None:
    """Who had them open took the row of the one that came first for its own, and each ended the other's connections."""
    database = url.rpartition("/")[2]
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        number = store._core.owners.number
        theirs = f"UPDATE pqa_owners SET host = 'theirs', pid = 1 WHERE number = {number}"
        server.run(theirs, database=database)
        store._core.owners.renew()
        store.commit()
        second = store._core.owners.number
        server.run(theirs.replace(str(number), str(second)), database=database)
        store._core.writer.disconnect_locked()
        store.commit(Put("q", b"b"))
        assert len({number, second, store._core.owners.number}) == 3


def test_i3_on_another_server_nothing_goes_into_a_queue_that_has_the_number_there(
    url: str, server: Server, proxy: Proxy
) -> None:
    """A replica that took over before it had heard of our queue, and knew our process: it was put into another one."""
    through, database = url.replace(f":{server.port}/", f":{proxy.port}/"), url.rpartition("/")[2]
    with MysqlStore(through) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("first", b""), Put("mine", b"a"), Set("my table", b"k", b"v"))
        proxy.refuse()
        lose = [f"DELETE FROM pqa_{name}" for name in ("items WHERE queue = 2", "queues WHERE number = 2", "kinds")]
        begin = [f"ALTER TABLE pqa_{name} AUTO_INCREMENT = 1" for name in ("queues", "kinds")]
        server.run(*lose, "DELETE FROM pqa_entries", *begin, database=database)
        other.commit(Put("theirs", b"b"), Set("their table", b"k", b"w"))
        proxy.accept()
        store.commit(Put("mine", b"c"), Set("my table", b"k", b"x"), timeout=PATIENCE)
        assert [[record.payload for record in other.browse(queue)] for queue in ("mine", "theirs")] == [[b"c"], [b"b"]]
        assert [other.get(table, b"k") for table in ("my table", "their table")] == [b"x", b"w"]
        assert [claim.payload for claim in store.claim("mine", limit=5)] == [b"c"]
