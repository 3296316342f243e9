"""Claiming several at once for one handle: nobody loses an item by it, nor its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pqadapters import stores
from pqadapters.errors import DiskError, LimitReached
from pqadapters.store import Ack, Claim, Depth, Nack, Order, Put, State
from pqadapters.stores._ahead import Ahead
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite import store as sqlite_store
from tests.contract.interrupting import interrupted
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, running, said


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.db"
    with SqliteStore(path) as store:
        store.commit(*[Put("q", b"%d" % n) for n in range(10)])
    return path


def _got(store: SqliteStore, limit: int = 1) -> list[bytes]:
    return [claim.payload for claim in store.claim("q", limit=limit)]


def test_the_handles_own_view_is_that_of_one_at_a_time(database: Path) -> None:
    with SqliteStore(database, prefetch=4) as store:
        assert [_got(store) for _ in range(3)] == [[b"0"], [b"1"], [b"2"]]
        assert store.depth("q")[:3] == (7, 0, 3)
        assert [record.payload for record in store.browse("q")] == [b"%d" % n for n in range(3, 10)]
        assert len(list(store.browse("q", state=State.CLAIMED))) == 3


def test_a_depth_counts_once_what_another_thread_fetches_meanwhile(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStore(database, prefetch=4) as store:
        look, got = store._looks.depth, list[bytes]()

        def depth(queue: str, *, age: bool) -> Depth:
            found = look(queue, age=age)
            if not got:
                got.extend(_got(store))
            return found

        monkeypatch.setattr(store._looks, "depth", depth)
        assert store.depth("q")[:3] == (9, 0, 1)
        assert got == [b"0"]


def test_i9_a_limit_counts_what_lies_ahead_as_ready(database: Path) -> None:
    """A queue with `maxsize=3` took three more as soon as its consumer had fetched the first three."""
    with SqliteStore(database, prefetch=4) as store:
        assert _got(store) == [b"0"]
        store.commit(Put("q", b"10", limit=10))
        with pytest.raises(LimitReached):
            store.commit(Put("q", b"11", limit=10))
        assert store.depth("q").ready == 10


def test_who_waits_for_room_hears_of_what_is_handed_out_from_ahead(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "_WITHOUT_LOOKOUT", 2 * PATIENCE)
    with SqliteStore(database, prefetch=10) as store:
        monkeypatch.setattr(store._core.lookout, "ensure", lambda: None)
        assert _got(store) == [b"0"]
        with pytest.raises(LimitReached):
            store.commit(Put("q", b"10", limit=9))
        waiter = Task(lambda: store.wait("q", lambda depth: depth.ready < 9, 2 * PATIENCE), patience=PATIENCE)
        while not store._core.bells.waiting:
            assert waiter.running
        assert _got(store) == [b"1"]
        assert waiter.result()


def test_others_see_those_ahead_as_claimed_until_the_handle_ends(database: Path) -> None:
    store, other = SqliteStore(database, prefetch=4), SqliteStore(database)
    (first,) = store.claim("q")
    assert other.depth("q")[:3] == (6, 0, 4)
    store.commit(Ack(first))
    store.close()
    assert [(claim.payload, claim.attempt) for claim in other.claim("q", limit=3)] == [(b"1", 1), (b"2", 1), (b"3", 1)]
    other.close()


def test_what_was_put_off_is_done_soon_though_nobody_asks_again(database: Path) -> None:
    """A consumer may take its time over an item; the ones before it are done, and SIGKILL brings none back."""
    store, other = SqliteStore(database, prefetch=4), SqliteStore(database)
    for left in (9, 8):
        (first,) = store.claim("q")
        (second,) = store.claim("q", acks=[Ack(first)])
        assert other.wait("q", lambda depth: depth.unfinished == left, PATIENCE)  # noqa: B023
        store.commit(Ack(second))
        assert other.wait("q", lambda depth: depth.unfinished == left - 1, PATIENCE)  # noqa: B023
        other.commit(Put("q", b"more"))
    store.close()
    other.close()


def test_what_was_put_off_is_lost_with_no_handle(database: Path) -> None:
    store = SqliteStore(database, prefetch=4)
    (first,) = store.claim("q")
    store.claim("q", acks=[Ack(first)])
    del store
    with SqliteStore(database) as other:
        assert other.wait("q", lambda depth: not depth.claimed, PATIENCE)  # the keeper may have it in hand
        assert other.depth("q").unfinished == 9
        assert _got(other) == [b"1"]


def test_what_was_put_off_is_done_at_the_end_of_a_process_that_fails(database: Path) -> None:
    """It came again, as behind a SIGKILL, though its consumer had asked for the next ones."""
    program = """
import sys
from pqadapters.store import Ack
from pqadapters.stores import _ahead
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite import store as sqlite_store

_ahead.PUT_OFF = 1e9
store = SqliteStore(sys.argv[1], prefetch=4)
(claim,) = store.claim("q")
for _ in range(2):
    (claim,) = store.claim("q", acks=[Ack(claim)])
1 / 0
"""
    done = subprocess.run([sys.executable, "-c", program, str(database)], capture_output=True, text=True, timeout=100)
    assert "ZeroDivisionError" in done.stderr
    with SqliteStore(database) as store:
        assert _got(store) == [b"2"]


def test_a_dropped_handle_gives_back_what_it_had_ahead(database: Path) -> None:
    store, other = SqliteStore(database, prefetch=4), SqliteStore(database)
    store.commit(*[Ack(claim) for claim in store.claim("q")])
    del store
    assert other.wait("q", lambda depth: not depth.claimed, PATIENCE)
    assert _got(other, 3) == [b"1", b"2", b"3"]
    other.close()


@pytest.mark.parametrize("order", [Order.NEWEST, Order.RANK])
def test_another_order_gives_back_first(database: Path, order: Order) -> None:
    with SqliteStore(database, prefetch=20) as store:
        assert _got(store) == [b"0"]
        (claim,) = store.claim("q", order=order)
        assert (claim.payload, claim.attempt) == (b"9" if order is Order.NEWEST else b"1", 1)


def test_what_can_not_be_given_back_stays_ahead(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk, say: nobody had them until the handle was closed."""
    with SqliteStore(database, prefetch=4) as store:
        assert _got(store) == [b"0"]
        with monkeypatch.context() as patch:
            patch.setattr(store._core.writer, "do", _fail)
            with pytest.raises(DiskError):
                store.claim("q", limit=5)
        assert store.depth("q")[:3] == (9, 0, 1)
        assert [_got(store)[0] for _ in range(9)] == [b"%d" % n for n in range(1, 10)]


def test_what_is_given_back_comes_before_those_ahead(database: Path) -> None:
    """It came behind them, out of its place, and peek() showed another item than the next get() gave."""
    with SqliteStore(database, prefetch=4) as store:
        first, second = [store.claim("q")[0] for _ in range(2)]
        store.commit(Nack(second))
        assert [_got(store) for _ in range(2)] == [[b"1"], [b"2"]]
        store.commit(Nack(first))
        assert [_got(store) for _ in range(3)] == [[b"0"], [b"3"], [b"4"]]
        assert [claim.attempt for claim in store.claim("q")] == [1]


def test_i2_a_commit_is_done_though_those_ahead_can_not_be_given_back(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller was told that nothing was stored, and would have stored it twice."""
    with SqliteStore(database, prefetch=4) as store:
        (claim,) = store.claim("q")
        with monkeypatch.context() as patch:
            patch.setattr(store._core, "give_back_claims", lambda claims, handle: _fail(claims))
            assert store.commit(Nack(claim), Put("results", b"r"))[1]
        assert (store.depth("results").ready, store.depth("q")[:3]) == (1, (10, 0, 0))
        assert sorted(_got(store)[0] for _ in range(10)) == [b"%d" % n for n in range(10)]


def test_ids_and_counted_claims_are_exact(database: Path) -> None:
    with SqliteStore(database, prefetch=20) as store:
        (first,) = store.claim("q")
        assert [claim.payload for claim in store.claim("q", ids=[first.id + 4])] == [b"4"]
        assert [claim.attempt for claim in store.claim("q", counted=True)] == [1]


def test_i9_who_has_stopped_gets_nothing_of_what_lies_ahead_and_what_it_has_done_is_done(database: Path) -> None:
    with SqliteStore(database, prefetch=4) as store, SqliteStore(database) as other:
        (first,) = store.claim("q")
        assert store.claim("q", acks=[Ack(first)], stop=lambda: True) == []
        assert other.depth("q").unfinished == 9
        assert _got(store) == [b"1"]


def test_i7_a_thread_that_waits_is_given_what_another_has_ahead(database: Path) -> None:
    with SqliteStore(database, prefetch=4) as store:
        taken = [store.claim("q") for _ in range(10)]
        waiting = [Task(lambda: store.claim("q", timeout=None), patience=PATIENCE) for _ in range(2)]
        store.commit(Put("q", b"x"), Put("q", b"y"))
        assert sorted(task.result()[0].payload for task in waiting) == [b"x", b"y"]
        assert len(taken) == 10


def test_what_a_killed_process_had_ahead_comes_in_its_old_place(database: Path) -> None:
    with running("""
import sys
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite import store as sqlite_store
store = SqliteStore(sys.argv[1], prefetch=5)
print(store.claim("q")[0].payload.decode(), flush=True)
sys.stdin.read()
""", database) as child:
        assert said(child) == "0"
        child.kill()
        child.wait(PATIENCE)
    with SqliteStore(database) as store:
        assert _got(store, 10) == [b"%d" % n for n in range(10)]


def test_acknowledgements_wait_for_the_next_look_at_the_database(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pqadapters.stores._ahead.PUT_OFF", 1e9)  # else a busy machine's have waited long enough
    store, other = SqliteStore(database, prefetch=4), SqliteStore(database)
    claims = store.claim("q")
    for n in range(1, 4):
        claims = store.claim("q", acks=[Ack(claims[0], lazy=True)])
        assert claims[0].payload == b"%d" % n
        assert other.depth("q")[:3] == (6, 0, 4)
    claims = store.claim("q", acks=[Ack(claims[0], lazy=True)])
    assert claims[0].payload == b"4"
    assert other.depth("q")[:3] == (2, 0, 4)
    for look in (lambda: store.depth("q"), lambda: store.commit(Put("other", b"")), store.close):
        ready, _, claimed, *_ = other.depth("q")
        claims = store.claim("q", acks=[Ack(claims[0], lazy=True)]) or claims
        look()
        assert other.depth("q").unfinished < ready + claimed
    other.close()


def test_a_slow_consumers_acknowledgements_do_not_wait(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = SqliteStore(database, prefetch=10), SqliteStore(database)
    now = 0.0
    monkeypatch.setattr("pqadapters.stores._ahead.SYSTEM", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(store._core.keeper, "settle_soon", lambda *_: None)  # its thread might come first
    claims = store.claim("q")
    claims = store.claim("q", acks=[Ack(claims[0], lazy=True)])
    assert other.depth("q").unfinished == 10
    now += 0.06
    claims = store.claim("q", acks=[Ack(claims[0], lazy=True)])
    assert other.depth("q").unfinished == 8
    assert claims[0].payload == b"2"
    store.close()
    other.close()


def test_an_interrupt_as_the_keeper_is_called_leaves_the_record_to_others(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed claimed until the handle was closed."""

    def interrupted(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with SqliteStore(database, prefetch=4) as store:
        (first,) = store.claim("q")
        monkeypatch.setattr(store._core.keeper, "settle_soon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.claim("q", acks=[Ack(first)])
        assert sorted(_got(store)[0] for _ in range(9)) == [b"%d" % n for n in range(1, 10)]


def test_what_could_not_be_acknowledged_is_acknowledged_later(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStore(database, prefetch=2) as store:
        claims = store.claim("q")
        claims = store.claim("q", acks=[Ack(claims[0], lazy=True)])
        with monkeypatch.context() as patch:
            patch.setattr(store._core.writer, "do", _fail)
            with pytest.raises(DiskError):
                store.claim("q", acks=[Ack(claims[0], lazy=True)])
        assert store.depth("q").unfinished == 8
        assert _got(store) == [b"2"]


def _fail(work: object) -> None:
    raise DiskError(5, "a bad day")


@pytest.mark.parametrize("first", ["pop", "put_off", "take_waiting"])
def test_a_forked_child_has_nothing_of_what_its_parent_has(first: str) -> None:
    ahead, parent, child = Ahead(), 1, 2
    claims = [Claim("q", id, 1, b"x") for id in (1, 2, 3)]
    ahead.put_off([Ack(claims[2])], parent)
    ahead.keep_rest("q", claims[:2])
    assert ahead.of("q", parent) == 1
    assert ahead.of("q", child) == 0
    if first == "pop":
        assert ahead.pop("q", child) is None
    elif first == "put_off":
        assert not ahead.put_off([], child)
    assert ahead.take_waiting(child) == []
    assert (ahead.of("q", child), ahead.pop_all(child)) == (0, [])


def test_those_that_are_given_back_are_had_by_somebody_wherever_that_is_interrupted(tmp_path: Path) -> None:
    """Nobody got them as long as the handle lived: they were neither ahead nor ready."""
    going, nth = True, 0
    while going:
        nth += 1
        with SqliteStore(tmp_path / f"{nth}.db", durability="process", prefetch=4) as store:
            store.commit(*(Put("q", b"%d" % n) for n in range(4)))
            (claim,) = store.claim("q")
            store.commit(Ack(claim))
            going = interrupted(lambda: list(store.browse("q")), nth, (os.path.dirname(stores.__file__),))
            found = []
            while claims := store.claim("q"):
                found += [each.payload for each in claims]
                store.commit(*map(Ack, claims))
            assert found == [b"1", b"2", b"3"], f"at place {nth}"
            assert store.depth("q").unfinished == 0
    assert nth > 50


@pytest.mark.parametrize("prefetch", [0, -1, 10_001])
def test_a_senseless_number_is_refused(tmp_path: Path, prefetch: int) -> None:
    with pytest.raises(ValueError, match="prefetch is how many records a claim takes"):
        SqliteStore(tmp_path / "x.db", prefetch=prefetch)
