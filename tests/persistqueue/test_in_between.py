"""What comes in between a database queue's steps: an interrupt, an error of the disk, another handle's step. No item is
lost or handed out twice, and the next call does what the one before couldn't."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pqadapters
from pqadapters import persistqueue
from pqadapters.errors import DiskError, StoreLocked
from pqadapters.persistqueue import Empty, FILOSQLiteAckQueue, SQLiteAckQueue, SQLiteQueue, UniqueAckQ, UniqueQ
from pqadapters.persistqueue._rows import KEY, TICKET
from pqadapters.store import Ack, Nack, Put
from tests.contract.interrupting import interrupted
from tests.contract.threads import Task
from tests.segment.programs import run

from .test_sqlite_queues import drained

_PATIENCE = 60.0

_HERE, _ALL = tuple(persistqueue.__path__), tuple(pqadapters.__path__)


def _filled(q: Any) -> Any:
    for item in "ab":
        q.put(item)
    return q


def _everywhere(
    make: Callable[[str], Any],
    call: Callable[[Any], Any],
    check: Callable[[Any, list[Any]], None],
    files: tuple[str, ...],
) -> int:
    nth, struck = 0, True
    while struck:
        nth += 1
        q, given = make(f"n{nth}"), []  # type: ignore[var-annotated]
        struck = interrupted(lambda q=q, given=given: given.append(call(q)), nth, files)  # type: ignore[misc]
        check(q, given)
        q.close()
    return nth


_PLACES = {"fresh": [], "first given back": [0], "second given back": [1]}


def _given_back(q: Any, places: list[int]) -> Any:
    ids = [row["id"] for row in _filled(q).queue()]
    for place in places:
        q.nack(q.get(id=ids[place]))
    return q


@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue])
@pytest.mark.parametrize("places", _PLACES.values(), ids=_PLACES)
def test_what_an_interrupted_get_had_waits_again(kind: Any, places: list[int], path: str) -> None:
    """It was claimed, or unack, in the hands of a handle that lived on and knew nothing of it."""

    def make(name: str) -> Any:
        return _given_back(kind(path, name=name), places)

    def check(q: Any, given: list[Any]) -> None:
        assert sorted(given + drained(q)) == ["a", "b"]

    assert _everywhere(make, lambda q: q.get(block=False), check, _HERE) > 10


@pytest.mark.parametrize("kind", [SQLiteQueue, UniqueQ])
def test_what_an_interrupted_task_done_has_not_done_the_next_one_does(kind: Any, path: str) -> None:
    def make(name: str) -> Any:
        q = _filled(kind(path, name=name, auto_commit=False))
        assert [q.get(), q.get()] == ["a", "b"]
        return q

    def check(q: Any, given: list[Any]) -> None:
        q.task_done()
        assert q.queue() == []

    assert _everywhere(make, lambda q: q.task_done(), check, _ALL) > 10


@pytest.mark.parametrize("kind", [SQLiteQueue, SQLiteAckQueue])
@pytest.mark.parametrize("error", [SystemExit, TimeoutError])
def test_what_a_signal_handler_raises_as_the_items_are_listed_is_raised(
    kind: Any, error: type[BaseException], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM's exit was swallowed, and the item missing from the list."""
    q = _filled(kind(path))
    loads, signals = q._serializer.loads, [error]

    def interrupted(payload: bytes) -> Any:
        if signals:
            raise signals.pop()
        return loads(payload)

    monkeypatch.setattr(q, "_serializer", SimpleNamespace(loads=interrupted))
    with pytest.raises(error):
        q.queue()
    assert [row["data"] for row in q.queue()] == ["a", "b"]


def test_what_a_task_done_could_not_write_the_next_one_writes(path: str) -> None:
    """It had forgotten what it was to do: the items came again after a restart, and join() waited for ever."""
    q = _filled(SQLiteQueue(path, auto_commit=False, timeout=0.1))
    assert q.get() == "a"
    another = sqlite3.connect(Path(path, "data.db"), isolation_level=None)
    another.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLocked):
        q.task_done()
    another.execute("ROLLBACK")
    another.close()
    q.task_done()
    assert [row["data"] for row in q.queue()] == ["b"]


def test_calls_of_others_are_counted_again_where_they_could_not_be_written(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = _filled(SQLiteQueue(path, auto_commit=False))
    q.task_done()
    fetcher = threading.Thread(target=lambda: (q.get(), q.get()))
    fetcher.start()
    fetcher.join()
    q.task_done()
    with monkeypatch.context() as patch:
        patch.setattr(q._store, "commit", _full)
        with pytest.raises(DiskError):
            q.task_done()
    assert len(q.queue()) == 2
    q.task_done()
    assert q.queue() == []


def test_a_sync_that_failed_is_made_by_the_next_task_done(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    q = _filled(SQLiteQueue(path, auto_commit=False))
    syncs: list[str] = []

    def locked() -> None:
        raise StoreLocked("locked")

    with monkeypatch.context() as patch:
        patch.setattr(q._store, "sync", locked)
        with pytest.raises(StoreLocked):
            q.task_done()
    monkeypatch.setattr(q._store, "sync", lambda: syncs.append("sync"))
    q.task_done()
    assert syncs == ["sync"]


@pytest.mark.parametrize("step", ["scan", "claim", "browse"])
def test_what_a_live_one_gets_while_another_resumes_stays_its_own(
    step: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one had looked who lives, and then at what was unack: what was got in between had nobody."""
    mine, other = _filled(SQLiteAckQueue(path)), SQLiteAckQueue(path)
    got: list[Any] = []
    real = getattr(other._store, step)

    def first(*args: Any, **options: Any) -> Any:
        if not got:
            got.append(mine.get())
        return real(*args, **options)

    monkeypatch.setattr(other._store, step, first)
    other.resume_unack_tasks()
    assert (got, other.unack_count(), drained(other)) == (["a"], 1, ["b"])


def test_what_has_another_holder_by_now_is_not_resumed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead holder's item was resumed by one, got by a second, and taken from it by a third who had looked before."""
    dead = _filled(SQLiteAckQueue(path))
    assert dead.get() == "a"
    third, second = SQLiteAckQueue(path), SQLiteAckQueue(path)
    dead.close()
    got: list[Any] = []
    real = third._store.browse

    def first(*args: Any, **options: Any) -> Any:
        if not got:
            second.resume_unack_tasks()
            got.append(second.get(block=False))
        return real(*args, **options)

    monkeypatch.setattr(third._states._holders, "dead", list)
    monkeypatch.setattr(third._store, "browse", first)
    third.resume_unack_tasks()
    assert (got, third.unack_count(), drained(third)) == (["a"], 1, ["b"])


def test_a_forked_child_does_not_resume_what_its_parent_has(path: str) -> None:
    program = (
        "import os, sys; from pqadapters.persistqueue import SQLiteAckQueue; q = SQLiteAckQueue(sys.argv[1]); "
        "q.put(1); q.get(); pid = os.fork(); "
        "(q.resume_unack_tasks(), os._exit(0)) if not pid else os.waitpid(pid, 0); "
        "print(q.unack_count(), q.size)"
    )
    assert run(program, path) == "1 0"


def test_threads_that_get_at_once_have_one_holder(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each made one, and what was in the hands of the one that was forgotten couldn't be resumed."""
    q = _filled(SQLiteAckQueue(path))
    real, got = q._store.claim, []  # type: ignore[var-annotated]

    def meanwhile(queue: str, **options: Any) -> Any:
        claims = real(queue, **options)
        if queue.endswith("/holders") and not got:
            got.append(None)
            other = threading.Thread(target=lambda: got.append(q.get()))
            other.start()
            other.join()
        return claims

    monkeypatch.setattr(q._store, "claim", meanwhile)
    got.append(q.get())
    assert (sorted(got[1:]), q.unack_count()) == (["a", "b"], 2)
    q.resume_unack_tasks()
    assert (q.unack_count(), q.size) == (0, 2)


def _full(*ops: Any, **options: Any) -> Any:
    raise DiskError(errno.ENOSPC, "No space left on device")


def _full_at(store: Any, wanted: int, patch: pytest.MonkeyPatch) -> None:
    """Commits of so many operations don't fit."""
    commit = store.commit
    patch.setattr(store, "commit", lambda *ops, **options: (_full if len(ops) >= wanted else commit)(*ops, **options))


def test_what_could_not_be_resumed_is_resumed_by_the_next_call(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one kept the dead holders claimed, so that they passed for alive."""
    dead = _filled(SQLiteAckQueue(path))
    assert dead.get() == "a"
    q = SQLiteAckQueue(path)
    dead.close()
    with monkeypatch.context() as patch:
        _full_at(q._store, 2, patch)
        with pytest.raises(DiskError):
            q.resume_unack_tasks()
    q.resume_unack_tasks()
    assert (q.unack_count(), q.size) == (0, 2)


def test_what_an_interrupted_call_did_not_resume_the_next_one_does(path: str) -> None:
    """Behind a signal the dead holders passed for alive, as long as the queue was open."""

    def make(name: str) -> Any:
        dead = _filled(SQLiteAckQueue(path, name=name))
        assert dead.get() == "a"
        q = SQLiteAckQueue(path, name=name)
        dead.close()
        return q

    def check(q: Any, given: list[Any]) -> None:
        q.resume_unack_tasks()
        assert (q.unack_count(), drained(q)) == (0, ["a", "b"])

    assert _everywhere(make, lambda q: q.resume_unack_tasks(), check, _HERE) > 10


@pytest.fixture(params=[SQLiteQueue, UniqueQ, SQLiteAckQueue])
def refused(request: pytest.FixtureRequest, path: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A queue whose database was locked for so long that two items could neither be got nor given back."""
    q = _filled(request.param(path))
    commit, locked = q._store.commit, True

    def locking(*ops: Any, **options: Any) -> Any:
        if locked and any(isinstance(op, (Ack, Nack)) for op in ops):
            raise StoreLocked("locked")
        return commit(*ops, **options)

    monkeypatch.setattr(q._store, "commit", locking)
    for _ in range(2):
        with pytest.raises(StoreLocked):
            q.get(block=False)
    locked = False
    return q


def test_an_item_that_could_neither_be_got_nor_given_back_is_there_again(refused: Any) -> None:
    """It stayed claimed until the queue was closed."""
    assert drained(refused) == ["a", "b"]


def test_who_gives_back_waits_no_longer_than_the_timeout(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, acks = _filled(SQLiteQueue(path, timeout=0.5)), _filled(SQLiteAckQueue(f"{path}/acks", timeout=0.5))
    waits: list[float | None] = []

    def locked(*ops: Any, timeout: float | None = None, **options: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            waits.append(timeout)
        raise StoreLocked("locked")

    claims = [plain._store.claim(plain._queue)[0], acks._states._claiming.exactly(1)]
    for q in (plain, acks):
        monkeypatch.setattr(q._store, "commit", locked)
    plain._give_back(claims[:1])
    acks._states._claiming.give_back(claims[1])
    for q in (plain, acks):
        with pytest.raises((StoreLocked, Empty)):
            q.get(block=False)
    assert len(waits) >= 4
    assert set(waits) == {0.5}


def test_others_get_it_whatever_this_one_does_meanwhile(refused: Any, path: str) -> None:
    other = type(refused)(path, auto_resume=False) if isinstance(refused, SQLiteAckQueue) else type(refused)(path)
    assert sorted(other.get(timeout=_PATIENCE) for _ in "ab") == ["a", "b"]
    for thread in threading.enumerate():
        if thread.name == "pqadapters-astray":
            thread.join(_PATIENCE)
            assert not thread.is_alive()


@pytest.mark.parametrize("nacked", [False, True], ids=["inited", "ready"])
def test_a_waiting_item_whose_state_could_not_be_written_waits_on(
    nacked: bool, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed claimed, and nobody got it any more."""
    q = _filled(SQLiteAckQueue(path))
    if nacked:
        q.nack(q.get())
    with monkeypatch.context() as patch:
        _full_at(q._store, 2, patch)
        with pytest.raises(DiskError):
            q.ack(id=1)
    assert drained(q) == ["a", "b"]


@pytest.mark.parametrize("kind", [SQLiteAckQueue, UniqueAckQ])
def test_two_that_update_an_item_at_once(kind: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one was told that its item was in the queue already, or of a condition that it knew nothing of."""
    q = _filled(kind(path))
    q.get()
    real, done = q._store.get, []  # type: ignore[var-annotated]

    def meanwhile(table: str, key: bytes) -> Any:
        found = real(table, key)
        if table.endswith("/rows") and not done:
            done.append(kind(path, auto_resume=False).update("c", id=1))
        return found

    monkeypatch.setattr(q._store, "get", meanwhile)
    assert q.update("d", id=1) == 1
    assert [row["data"] for row in q.queue()] == ["d", "b"]
    if kind is UniqueAckQ:
        with pytest.raises(ValueError, match="is in the queue already"):
            q.update("b", id=1)
        assert q.put("c") is not None


def test_an_item_that_another_thread_does_while_it_is_updated_is_done(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no such item any more, and update() says nothing of that; it was LeaseLost."""
    q = _filled(SQLiteQueue(path, auto_commit=False))
    q.get()
    commit, done = q._store.commit, []  # type: ignore[var-annotated]

    def meanwhile(*ops: Any, **options: Any) -> Any:
        if not done:
            done.append(True)
            q.task_done()
        return commit(*ops, **options)

    monkeypatch.setattr(q._store, "commit", meanwhile)
    assert q.update("c", id=1) == 1
    assert [row["data"] for row in q.queue()] == ["b"]


def test_an_item_that_is_updated_while_it_is_cleared_leaves_no_trace(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was cleared as what it had been, and what it had become could never be put again."""
    q = _filled(UniqueAckQ(path))
    q.ack(q.get())
    commit, done = q._states._claiming.commit, []  # type: ignore[var-annotated]

    def meanwhile(*ops: Any) -> None:
        if not done:
            done.append(UniqueAckQ(path, auto_resume=False).update("c", id=1))
        commit(*ops)

    monkeypatch.setattr(q._states._claiming, "commit", meanwhile)
    q.clear_acked_data(keep_latest=0)
    q.clear_acked_data(keep_latest=0)
    assert [row["data"] for row in q.queue()] == ["b"]
    assert q.put("c") is not None


@pytest.mark.parametrize("change", [lambda q: q.update("c", id=1), lambda q: q.ack(id=1)], ids=["update", "ack"])
def test_who_changes_what_another_is_just_getting_waits_no_longer_than_its_timeout(
    path: str, change: Callable[[Any], Any]
) -> None:
    """A process may be stopped in the middle of a get: update() waited for it for ever."""
    other, q = _filled(SQLiteAckQueue(path)), SQLiteAckQueue(path, timeout=0.1)
    assert other._states._claiming.exactly(1) is not None
    with pytest.raises(StoreLocked, match="is being got by another process"):
        Task(lambda: change(q), patience=20).result()


@pytest.fixture
def before_look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, int, Callable[[], object]], None]:
    """Something is done before a queue looks at its store for the so many-th time."""

    def arrange(q: Any, number: int, do: Callable[[], object]) -> None:
        looks: list[str] = []

        def look(name: str, *arguments: Any, **options: Any) -> Any:
            looks.append(name)
            if len(looks) == number:
                do()
            return getattr(type(q._store), name)(q._store, *arguments, **options)

        for name in ("depth", "count", "get", "keys", "snapshot", "browse"):
            monkeypatch.setattr(q._store, name, partial(look, name), raising=False)

    return arrange


@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue])
@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("look", [lambda q: len(q.queue()), lambda q: q.active_size()], ids=["queue", "active_size"])
def test_an_item_that_is_given_back_meanwhile_is_seen(
    kind: Any, number: int, look: Callable[[Any], int], path: str, before_look: Any
) -> None:
    """It was in no state: queue() left it out, it was counted neither among what waits nor among what is in hand, and
    join() ended."""
    q, other = kind(path), kind(path, auto_resume=False)
    q.put("a")
    item = other.get(raw=True)
    before_look(q, number, lambda: other.nack(item))
    assert look(q) == 1


def test_an_item_that_is_given_back_meanwhile_is_got(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was Empty, though the item was to be had before that and behind it."""
    q, other = SQLiteAckQueue(path), SQLiteAckQueue(path, auto_resume=False)
    q.put("a")
    other.ack(item := other.get(raw=True))
    commit, done = q._states._claiming.commit, []  # type: ignore[var-annotated]

    def meanwhile(*ops: Any) -> None:
        if not done:
            done.append(other.nack(item))
        commit(*ops)

    monkeypatch.setattr(q._states._claiming, "commit", meanwhile)
    assert q.get(block=False, id=item) == "a"


@pytest.mark.parametrize("id", [-(2**70), -(2**63), -1, 2**62, 2**63 - 1, 2**70, "9" * 30])
@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue, UniqueAckQ])
def test_an_id_that_no_item_can_have(kind: Any, id: Any, path: str) -> None:
    """It was struct.error, OverflowError, or endless recursion where another queue has been made before."""
    _filled(kind(path, name="before"))
    q = _filled(kind(path))
    with pytest.raises(Empty):
        q.get(block=False, id=id)
    assert (q.ack(id=id), q.nack(id=id), q.ack_failed(id=id)) == (None, None, None)
    q.update("c", id=id)
    first, second = ("b", "a") if kind is FILOSQLiteAckQueue else ("a", "b")
    assert [q.get(id=id, next_in_order=True) for _ in range(2)] == [first, second]
    with pytest.raises(Empty):
        q.get(block=False, id=id, next_in_order=True)


@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue])
@pytest.mark.parametrize("places", _PLACES.values(), ids=_PLACES)
@pytest.mark.parametrize("next_in_order", [False, True], ids=["by id", "next in order"])
def test_what_an_interrupted_get_by_id_had_waits_again(
    kind: Any, places: list[int], next_in_order: bool, path: str
) -> None:
    def make(name: str) -> Any:
        return _given_back(kind(path, name=name), places)

    def check(q: Any, given: list[Any]) -> None:
        assert sorted(given + drained(q)) == ["a", "b"]

    def call(q: Any) -> Any:
        return q.get(block=False, id=q.queue()[0]["id"], next_in_order=next_in_order)

    assert _everywhere(make, call, check, _HERE) > 10


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreLocked])
def test_what_a_get_gave_back_and_another_thread_got_stays_with_that_thread(
    error: type[BaseException], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken out of that thread's hands as the first one was interrupted, and handed out again."""
    q = FILOSQLiteAckQueue(path)
    for item in "abc":
        q.put(item)
    for id in sorted(q.get(raw=True)["pqid"] for _ in "abc")[:2]:
        q.nack(id=id)
    first, calls, got = q._states._claiming.first, [], []  # type: ignore[var-annotated]

    def meanwhile(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == 2:
            got.append(Task(lambda: q.get(block=False), patience=_PATIENCE).result())
            raise error("meanwhile")
        return first(*arguments)

    monkeypatch.setattr(q._states._claiming, "first", meanwhile)
    with pytest.raises(error):
        q.get(block=False)
    assert (got, drained(q), q.unack_count()) == (["b"], ["a"], 3)


def test_what_an_interrupted_get_had_that_was_done_is_done(path: str) -> None:
    """It was unack, in nobody's hands, and came again behind the next start."""

    def make(name: str) -> Any:
        q = _filled(SQLiteAckQueue(path, name=name))
        q.ack(q.get())
        return q

    def check(q: Any, given: list[Any]) -> None:
        if not given:
            assert (q.unack_count(), q.acked_count(), drained(q)) == (0, 1, ["b"])

    assert _everywhere(make, lambda q: q.get(id=q.queue()[0]["id"]), check, _HERE) > 10


def test_a_ticket_that_outlived_its_items_state_goes(path: str) -> None:
    """It would be claimed as long as the handle lives, and counted among what waits."""
    q = _filled(SQLiteAckQueue(path))
    q.ack(q.get())
    q._store.commit(Put(q._queue, KEY.pack(1), rank=TICKET + KEY.pack(1)))
    assert drained(q) == ["b"]
    assert (q.size, q.acked_count()) == (0, 1)


def test_an_item_that_is_another_ones_by_now_is_not_let_go(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread resumes what the queue has in hand while another one reads an item of that, which a third gets."""
    q, other = _filled(SQLiteAckQueue(path)), SQLiteAckQueue(path)
    got: list[Any] = []

    def meanwhile(payload: bytes) -> Any:
        q.resume_unack_tasks()
        got.append(other.get(block=False))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(q, "_serializer", SimpleNamespace(loads=meanwhile))
        with pytest.raises(KeyboardInterrupt):
            q.get(block=False)
    assert (got, drained(q), q.unack_count()) == (["a"], ["b"], 2)


def test_what_interrupts_a_get_is_raised_though_the_item_can_not_be_let_go(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = _filled(SQLiteAckQueue(path))

    def locked(*ops: Any) -> None:
        raise StoreLocked("locked")

    def interrupted(payload: bytes) -> Any:
        monkeypatch.setattr(q._states._claiming, "commit", locked)
        raise KeyboardInterrupt

    monkeypatch.setattr(q, "_serializer", SimpleNamespace(loads=interrupted))
    with pytest.raises(KeyboardInterrupt):
        q.get(block=False)


def test_an_item_that_is_got_as_its_state_is_looked_at_is_acknowledged(path: str, before_look: Any) -> None:
    """It was looked for in the state in which it wasn't yet, and then in the one in which it wasn't any more."""
    q, other = SQLiteAckQueue(path), SQLiteAckQueue(path, auto_resume=False)
    q.put("a")
    q.nack(q.get())
    before_look(q, 2, lambda: other.get(block=False))
    assert q.ack(id=1) == 1
    assert (q.unack_count(), q.acked_count()) == (0, 1)


def test_the_id_of_a_record_that_stands_for_an_item_is_no_items(path: str) -> None:
    q = SQLiteAckQueue(path)
    q.put("a")
    q.nack(q.get())
    (ticket,) = q._store.browse(q._queue)
    assert q.ack(id=ticket.id) is None
    assert (drained(q), q.acked_count()) == (["a"], 0)


def _lose_a_claim(q: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server takes us for dead, say, as the next one is ended."""
    commit, lost = q._states._claiming.commit, []  # type: ignore[var-annotated]

    def meanwhile(*ops: Any) -> None:
        if not lost:
            lost.append(ops[0].claim)
            commit(Nack(ops[0].claim))
        commit(*ops)

    monkeypatch.setattr(q._states._claiming, "commit", meanwhile)


def test_an_item_whose_claim_is_lost_as_it_is_acknowledged_is_acknowledged(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = _filled(SQLiteAckQueue(path))
    _lose_a_claim(q, monkeypatch)
    assert q.ack(id=1) == 1
    assert (drained(q), q.acked_count()) == (["b"], 1)


def test_an_item_that_could_not_be_got_by_its_id_waits_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    q = _filled(SQLiteAckQueue(path))
    with monkeypatch.context() as patch:
        _full_at(q._store, 2, patch)
        with pytest.raises(DiskError):
            q.get(block=False, id=1)
    assert drained(q) == ["a", "b"]


def test_a_done_item_that_was_got_and_can_not_be_read_is_done(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was unack, in nobody's hands."""
    q = _filled(SQLiteAckQueue(path))
    q.ack(q.get())

    def unread(id: int) -> Any:
        raise DiskError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(q._states, "row", unread)
        with pytest.raises(DiskError):
            q.get(block=False, id=1)
    assert (q.unack_count(), q.acked_count(), drained(q)) == (0, 1, ["b"])


@pytest.mark.parametrize("done", [False, True])
def test_of_a_holder_that_is_gone_nothing_is_left(done: bool, path: str) -> None:
    dead = _filled(SQLiteAckQueue(path))
    item = dead.get(raw=True)
    if done:
        dead.ack(item)
    dead.close()
    q = SQLiteAckQueue(path)
    assert list(q._store.browse(f"{q._queue}/holders", state=None)) == []


def test_an_item_that_another_is_just_getting_is_seen_and_counted(path: str) -> None:
    q, other = _filled(SQLiteAckQueue(path)), SQLiteAckQueue(path)
    claim = other._states._claiming.exactly(1)
    assert claim is not None
    assert (q.size, q.active_size(), len(q.queue())) == (2, 2, 2)
    other._states._claiming.give_back(claim)


def test_an_item_that_is_got_as_it_is_updated_is_updated(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    q, other = _filled(SQLiteAckQueue(path)), SQLiteAckQueue(path)
    real, got = q._states._is_fresh, []  # type: ignore[var-annotated]

    def meanwhile(id: int) -> bool:
        if not got:
            got.append(other.get(block=False))
        return bool(real(id))

    monkeypatch.setattr(q._states, "_is_fresh", meanwhile)
    q.update("c", id=1)
    assert (got, [row["data"] for row in q.queue()]) == (["a"], ["c", "b"])


def test_what_changes_its_state_as_it_is_cleared_stays_alone(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    q, other = _filled(SQLiteAckQueue(path)), SQLiteAckQueue(path)
    for _ in "ab":
        q.ack(q.get())
    commit, changed = q._states._claiming.commit, []  # type: ignore[var-annotated]

    def meanwhile(*ops: Any) -> None:
        if not changed:
            changed.append(other.nack(id=1))
        commit(*ops)

    monkeypatch.setattr(q._states._claiming, "commit", meanwhile)
    q.clear_acked_data(keep_latest=0)
    assert [row["data"] for row in q.queue()] == ["a"]


def test_what_a_dead_holder_had_is_resumed_though_the_claim_of_that_is_lost(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = _filled(SQLiteAckQueue(path))
    assert dead.get() == "a"
    q = SQLiteAckQueue(path)
    dead.close()
    _lose_a_claim(q, monkeypatch)
    q.resume_unack_tasks()
    assert (q.unack_count(), drained(q)) == (0, ["a", "b"])


def test_who_waits_for_an_item_gets_it_once_another_handle_has_acknowledged_it(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which changes nothing in the queue itself, and so wakes nobody."""
    q, other = _filled(SQLiteAckQueue(path)), SQLiteAckQueue(path)
    item, wait, done = other.get(raw=True), q._store.wait, []  # type: ignore[var-annotated]

    def meanwhile(*arguments: Any) -> bool:
        if not done:
            done.append(other._states.mark(item["pqid"], "5"))
        return bool(wait(*arguments))

    monkeypatch.setattr(q._store, "wait", meanwhile)
    assert Task(lambda: q.get(id=item), patience=20).result() == "a"
