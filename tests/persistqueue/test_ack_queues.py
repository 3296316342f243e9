"""`SQLiteAckQueue` and its kin: the states of items, kept by whoever opens the database."""

from __future__ import annotations

import errno
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, StoreLocked, StorePoisoned
from pqadapters.persistqueue import (
    AckStatus,
    Empty,
    FILOSQLiteAckQueue,
    Full,
    SQLiteAckQueue,
    SQLiteQueue,
    UniqueAckQ,
    serializers,
    sqlackqueue,
)
from pqadapters.persistqueue._states import States
from tests.contract.descriptors import open_below
from tests.segment.programs import go_on, run, running, said

KINDS: list[Any] = [SQLiteAckQueue, FILOSQLiteAckQueue, UniqueAckQ]

_KILLED = """
import sys, os, signal
from pqadapters.persistqueue import SQLiteAckQueue
q = SQLiteAckQueue(sys.argv[1])
for item in "abcde": q.put(item)
q.ack(q.get()); q.ack_failed(q.get()); q.nack(q.get()); q.get(); q.get()
os.kill(os.getpid(), signal.SIGKILL)
"""
_HOLDER = """
import sys
from pqadapters.persistqueue import SQLiteAckQueue
q = SQLiteAckQueue(sys.argv[1])
print(q.get(), flush=True)
sys.stdin.readline()
"""
_CONSUMER = """
import sys
from pqadapters.persistqueue import SQLiteAckQueue, Empty
q = SQLiteAckQueue(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
got = []
try:
    while True:
        item = q.get(block=False)
        q.ack(item)
        got.append(item)
except Empty:
    print(*got, flush=True)
"""


class _Exits:
    """Whoever loads it is told to exit: by a module that is a script as well."""

    def __reduce__(self) -> Any:
        return sys.exit, ()


def filled(q: Any, items: Any = "abc") -> Any:
    for item in items:
        q.put(item)
    return q


def _counts(q: Any) -> tuple[int, ...]:
    return (q.size, q.ready_count(), q.unack_count(), q.acked_count(), q.ack_failed_count(), q.active_size())


def _states(q: Any) -> dict[Any, int]:
    return {row["data"]: row["status"] for row in q.queue()}


@pytest.mark.parametrize("kind", KINDS)
def test_states_and_counts(kind: Any, path: str) -> None:
    q = filled(kind(path))
    assert (_counts(q), len(q), q.qsize(), q.empty(), q.full()) == ((3, 0, 0, 0, 0, 3), 3, 3, False, False)
    first, second, third = q.get(), q.get(), q.get()
    assert _counts(q) == (0, 0, 3, 0, 0, 3)
    assert q.empty()
    q.ack(first)
    q.ack_failed(second)
    q.nack(third)
    assert _counts(q) == (1, 1, 0, 1, 1, 1)
    again = q.get()
    assert again == third
    assert _counts(q) == (0, 0, 1, 1, 1, 1)
    assert _states(q) == {first: 5, second: 9, third: 2}
    q.task_done()
    q.shrink_disk_usage()


@pytest.mark.parametrize("kind", KINDS)
def test_states_survive_sigkill_and_are_resumed_when_asked(kind: Any, path: str) -> None:
    program = _KILLED.replace("SQLiteAckQueue", kind.__name__)
    with running(program, path) as child:
        child.wait(60)
    q = kind(path, auto_resume=False)
    assert (q.unack_count(), q.acked_count(), q.ack_failed_count(), q.active_size()) == (2, 1, 1, 3)
    left = {row["data"] for row in q.queue() if row["status"] not in (5, 9)}
    assert left == ({"a", "b", "c"} if kind is FILOSQLiteAckQueue else {"c", "d", "e"})
    q.resume_unack_tasks()
    assert (q.unack_count(), q.size) == (0, 3)
    assert {q.get(block=False) for _ in range(3)} == left


def test_without_auto_resume_what_is_unack_stays_with_nobody_through_many_openings(path: str) -> None:
    filled(SQLiteAckQueue(path), "a").get()
    look = (
        "import sys; from pqadapters.persistqueue import SQLiteAckQueue; "
        "q = SQLiteAckQueue(sys.argv[1], auto_resume=False); print(q.size, q.unack_count())"
    )
    assert [run(look, path) for _ in range(2)] == ["0 1", "0 1"]
    assert SQLiteAckQueue(path).get(block=False) == "a"


def test_a_second_opener_leaves_alone_what_a_live_one_works_on(path: str) -> None:
    mine = filled(SQLiteAckQueue(path))
    with running(_HOLDER, path) as child:
        assert said(child) == "a"
        assert mine.get() == "b"
        second = SQLiteAckQueue(path)
        assert _counts(second) == _counts(mine) == (1, 0, 2, 0, 0, 3)
        second.resume_unack_tasks()
        assert second.unack_count() == 2
    third = SQLiteAckQueue(path)  # the child was killed
    assert [row["data"] for row in third.queue() if row["status"] == 1] == ["a"]
    mine.close()
    assert _counts(SQLiteAckQueue(path)) == (3, 2, 0, 0, 0, 3)


def test_resuming_by_hand_brings_back_what_this_object_has(path: str) -> None:
    q = filled(SQLiteAckQueue(path))
    item = q.get()
    q.resume_unack_tasks()
    assert (q.unack_count(), q.ready_count()) == (0, 1)
    assert q.get(block=False) == "a"
    assert q.ack(item) == 1


def test_an_opening_that_cant_resume_lets_go_of_the_store(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who keeps the exception and tries again was given the same store, in which nothing goes any more."""

    def refuse(self: States, *, own: bool) -> int:
        raise StorePoisoned("a sync failed")

    with SQLiteAckQueue(path) as q:
        q.put(1)
    with monkeypatch.context() as patch:
        patch.setattr(States, "resume", refuse)
        with pytest.raises(StorePoisoned) as kept:
            SQLiteAckQueue(path)
    assert "a sync failed" in str(kept.value)
    assert not open_below(Path(path))


def test_who_works_on_an_item_while_it_is_resumed_can_still_acknowledge_it(path: str) -> None:
    # It was unknown by then: the work was done, and done again by the next one who got it.
    q = filled(SQLiteAckQueue(path), ["a" * 20, "b" * 20])
    item, other = q.get(), q.get()
    q.resume_unack_tasks()
    assert (q.ack(item), q.nack(other)) == (1, 2)
    assert (q.acked_count(), q.ready_count()) == (1, 1)
    assert q.ack(item) is None
    assert q.get(block=False) == "b" * 20


def test_what_others_acknowledge_by_id_does_not_stay_in_memory(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object gives out items whose ids other processes acknowledge: it kept all of them for its whole life."""
    monkeypatch.setattr(sqlackqueue, "MANY", 10)
    items = [f"item {number}" for number in range(100)]
    q, other = filled(SQLiteAckQueue(path), items), SQLiteAckQueue(path)
    first, back = q.get(), q.get(id=100)
    other.nack(id=100)
    for _ in range(97):
        other.ack(id=q.get(raw=True)["pqid"])
    assert len(q._in_hand) < 30
    late = q.get(id=99)
    assert [q.ack(item) for item in (first, late, back)] == [1, 99, 100]


def test_by_id(path: str) -> None:
    q = filled(SQLiteAckQueue(path))
    assert q.get(id=2) == "b"
    with pytest.raises(Empty):
        q.get(id=2, block=False)
    with pytest.raises(Empty):
        q.get(id=99, timeout=0.01)
    q.ack_failed(id=2)
    assert q.get(id={"pqid": 2}, raw=True)["data"] == "b"
    assert q.nack(id="2") == 2
    assert q.get(id=2) == "b"


@pytest.mark.parametrize("method", ["ack", "nack", "ack_failed"])
def test_what_acknowledging_takes(method: str, path: str) -> None:
    q = filled(SQLiteAckQueue(path), "abcde")
    call = getattr(q, method)
    assert call(q.get()) == 1
    q.get(id=2)
    assert call(id=2) == 2
    assert call(q.get(id=3, raw=True)) == 3
    assert call(id=q.get(id=4, raw=True)) == 4
    assert call("nobody's") is None
    assert call(id=99) is None
    for wrong in ((None, None), ("a", 1)):
        with pytest.raises(ValueError, match="an id or an item"):
            call(*wrong)


@pytest.mark.parametrize("kind", [SQLiteQueue, SQLiteAckQueue])
def test_a_raw_item_in_which_a_program_has_noted_something(kind: Any, path: str) -> None:
    """It was nobody's then: update() raised, and ack() left the item in hand for good."""
    q = filled(kind(path), "ab")
    raw = {**q.get(raw=True), "tries": 1}
    if kind is SQLiteAckQueue:
        assert (q.update({**raw, "data": "c"}), q.ack(raw)) == (1, 1)
        assert _states(q) == {"c": 5, "b": 0}
    else:
        id = q.queue()[0]["id"]
        assert (q.update({**raw, "pqid": id, "data": "c"}), q.get()) == (id, "c")


@pytest.mark.parametrize("method", ["ack", "nack", "ack_failed"])
def test_none_is_an_item_like_any_other(path: str, method: str) -> None:
    """`ack(get())` raised for it, and the item came again with each restart."""
    q = SQLiteAckQueue(path)
    q.put(None)
    assert getattr(q, method)(q.get()) == 1
    with pytest.raises(ValueError, match="an id or an item"):
        getattr(q, method)(None)


def test_a_waiting_item_can_be_acknowledged_by_its_id(path: str) -> None:
    q = filled(SQLiteAckQueue(path))
    assert q.ack(id=1) == 1
    q.nack(q.get())
    assert q.ack_failed(id=2) == 2
    assert _states(q) == {"a": 5, "b": 9, "c": 0}
    assert q.nack(id=3) == 3
    assert (q.ready_count(), q.size) == (1, 1)  # as persist-queue: it stayed inited
    assert [q.get(block=False)] == ["c"]
    assert q.empty()


@pytest.mark.parametrize("kind", KINDS)
def test_get_nowait(kind: Any, path: str) -> None:
    # persist-queue's acknowledging queues inherit it, and ours had none.
    q = kind(path)
    with pytest.raises(Empty):
        q.get_nowait()
    ids = [q.put(item) for item in "abc"]
    assert q.get_nowait(id=ids[1]) == "b"
    assert q.get_nowait(raw=True)["data"] in "ac"


def test_an_id_in_digits(path: str) -> None:
    # get() took them for no id and handed out the first item; update() refused them.
    q = filled(SQLiteAckQueue(path))
    assert (q.get(id="3"), q.nack(id="3")) == ("c", 3)
    assert q.get(id="1", next_in_order=True) == "b"
    assert q.update("z", id="3") == 3
    assert (q.get(id=3), q.ack(id="3")) == ("z", 3)
    other = filled(SQLiteQueue(path))
    id = other.queue()[0]["id"]
    assert (other.update("y", id=str(id)), other.get()) == (id, "y")


def test_a_users_dict_that_looks_like_a_raw_item(path: str) -> None:
    q = filled(SQLiteAckQueue(path), [{"x": 1}, {"pqid": 1, "data": "mine"}])
    q.get()
    mine = q.get()
    assert q.ack(mine) == 2
    assert [row["status"] for row in q.queue()] == [2, 5]


def test_none_and_equal_items(path: str) -> None:
    q = filled(SQLiteAckQueue(path), [None, (1, "x"), (1, "x")])
    assert q.get() is None
    a, b = q.get(), q.get()
    assert (q.ack(id=1), q.ack(b), q.ack(a)) == (1, 3, 2)


def test_another_object_sees_the_same_and_acknowledges_by_id(path: str) -> None:
    q, other = filled(SQLiteAckQueue(path)), SQLiteAckQueue(path)
    q.get()
    assert _counts(other) == (2, 0, 1, 0, 0, 3)
    assert other.ack(id=1) == 1
    assert _counts(q) == (2, 0, 0, 1, 0, 2)


def test_update_in_every_state(path: str) -> None:
    q = filled(SQLiteAckQueue(path))
    q.get()
    raw = q.get(raw=True)
    q.nack(raw)
    for id, new in ((1, "A"), (2, "B"), (3, "C")):
        assert q.update(new, id=id) == id
    raw["data"] = "BB"
    assert q.update(raw) == 2
    assert [(row["data"], row["status"]) for row in q.queue()] == [("A", 2), ("BB", 1), ("C", 0)]
    assert [q.get(), q.get()] == ["BB", "C"]
    with pytest.raises(ValueError, match="id"):
        q.update("x")


def test_timestamps_stay(path: str) -> None:
    q = filled(SQLiteAckQueue(path), "a")
    before = q.queue()[0]["timestamp"]
    raw = q.get(raw=True)
    q.nack(raw)
    q.update("b", id=1)
    assert q.get(raw=True) == {"pqid": 1, "data": "b", "timestamp": before}


def test_clear_acked_data(path: str) -> None:
    q = filled(SQLiteAckQueue(path), range(6))
    for n in range(6):
        (q.ack_failed if n == 5 else q.ack)(q.get())
    q.clear_acked_data()
    assert q.acked_count() == 5
    q.clear_acked_data(max_delete=2, keep_latest=1)
    assert [row["data"] for row in q.queue()] == [0, 1, 4, 5]
    q.clear_acked_data(keep_latest=0)
    assert [row["data"] for row in q.queue()] == [5]
    q.clear_acked_data(keep_latest=0, clear_ack_failed=True)
    assert q.queue() == []


def test_what_is_acked_is_cleared_on_a_full_disk(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # To clear is what frees space, and all at once took more than what a full disk keeps in reserve.
    q = filled(UniqueAckQ(path), range(40))
    for _ in range(40):
        q.ack(q.get())
    commit, room = q._states._claiming.commit, 20

    def full(*ops: Any) -> None:
        if len(ops) > room:
            raise DiskError(errno.ENOSPC, "No space left on device")
        commit(*ops)

    monkeypatch.setattr(q._states._claiming, "commit", full)
    q.clear_acked_data(keep_latest=0)
    assert (q.acked_count(), q.queue()) == (0, [])
    assert q.put(1) is not None
    q.ack(q.get())
    room = 1
    with pytest.raises(DiskError):
        q.clear_acked_data(keep_latest=0)
    assert q.acked_count() == 1


def test_a_unique_queue_takes_an_item_again_once_it_was_cleared(path: str) -> None:
    q = UniqueAckQ(path)
    item = {"a": (1, 2), "b": 2}
    id = q.put(item)
    assert q.put({"b": 2, "a": (1, 2)}) is None
    q.ack(q.get())
    assert q.put(item) is None
    other = q.put("other")
    with pytest.raises(ValueError, match="already"):
        q.update(item, id=other)
    q.update("more", id=other)
    assert q.put("other") is not None
    q.clear_acked_data(keep_latest=0)
    assert q.put(item) not in (None, id)


def test_maxsize_timeouts_and_a_put_that_wakes(path: str) -> None:
    q = SQLiteAckQueue(path, maxsize=1)
    for arguments in ({"block": False}, {"timeout": 0.01}, {"timeout": 0}):
        with pytest.raises(Empty):
            q.get(**arguments)
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-1)
    got: list[Any] = []
    waiter = threading.Thread(target=lambda: got.append(q.get()))
    waiter.start()
    SQLiteAckQueue(path).put("a")
    waiter.join(60)
    assert got == ["a"]
    q.put("b")
    assert q.full()
    with pytest.raises(Full):
        q.put_nowait("c")


def test_a_nack_wakes_who_waits(path: str) -> None:
    q, other = filled(SQLiteAckQueue(path), "a"), SQLiteAckQueue(path)
    item = q.get()
    got: list[Any] = []
    waiter = threading.Thread(target=lambda: got.append(other.get()))
    waiter.start()
    q.nack(item)
    waiter.join(60)
    assert got == ["a"]


def test_join_waits_for_the_last_acknowledgement(path: str) -> None:
    q = filled(SQLiteAckQueue(path), "ab")
    q.ack(q.get())
    item = q.get()
    joiner = threading.Thread(target=q.join)
    joiner.start()
    joiner.join(0.05)
    assert joiner.is_alive()
    q.ack_failed(item)
    joiner.join(60)
    assert not joiner.is_alive()


def test_auto_commit_false_warns_and_is_ignored(path: str) -> None:
    with pytest.warns(UserWarning, match="auto_commit"):
        q = SQLiteAckQueue(path, auto_commit=False)
    assert q.auto_commit


def test_processes_share_the_items_without_a_second_delivery(path: str) -> None:
    q = filled(SQLiteAckQueue(path), range(60))
    with running(_CONSUMER, path) as a, running(_CONSUMER, path) as b:
        for child in (a, b):
            assert said(child) == "ready"
        for child in (a, b):
            go_on(child)
        got = Counter(int(word) for child in (a, b) for word in said(child).split())
    assert got == Counter(range(60))
    assert _counts(q) == (0, 0, 0, 60, 0, 0)


def test_threads_that_give_back_and_acknowledge(path: str) -> None:
    q = filled(SQLiteAckQueue(path), range(30))
    seen: Counter[int] = Counter()

    def work() -> None:
        while True:
            try:
                item = q.get(timeout=0.3)
            except Empty:
                return
            seen[item] += 1
            (q.nack if seen[item] == 1 and item % 3 == 0 else q.ack)(item)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == Counter({n: 2 if n % 3 == 0 else 1 for n in range(30)})
    assert _counts(q) == (0, 0, 0, 30, 0, 0)


def test_an_item_that_cannot_be_read_has_failed(path: str) -> None:
    q = filled(SQLiteAckQueue(path), [{1, 2}])
    reader = SQLiteAckQueue(path, serializer=serializers.json)
    reader.put("fine")
    assert reader.get() == "fine"
    assert [row["status"] for row in q.queue() if row["id"] == 1] == [int(AckStatus.ack_failed)]


def test_an_item_that_exits_when_it_is_read_has_failed(path: str) -> None:
    """It ended whoever got it, and was there again for the next one."""
    q = filled(SQLiteAckQueue(path), [_Exits(), "fine"])
    assert q.get() == "fine"
    assert (q.ack_failed_count(), [row["data"] for row in q.queue()]) == (1, ["fine"])


def test_memory() -> None:
    q = filled(SQLiteAckQueue(":memory:"), "ab")
    assert q.ack(q.get()) == 1
    assert _counts(q) == (1, 0, 0, 1, 0, 1)


def test_what_a_forked_child_had_is_resumed_though_its_parent_lives(path: str) -> None:
    program = (
        "import os, sys; from pqadapters.persistqueue import SQLiteAckQueue; q = SQLiteAckQueue(sys.argv[1]); "
        "q.put(1); q.put(2); q.get(); pid = os.fork(); "
        "(q.get(), os._exit(0)) if not pid else os.waitpid(pid, 0); "
        "print([row['status'] for row in SQLiteAckQueue(sys.argv[1]).queue()])"
    )
    assert run(program, path) == "[2, 1]"


def test_a_name_that_another_queue_has_for_its_holders_is_refused(path: str) -> None:
    """What was put there was gone as soon as the other queue was opened: it was taken for a dead holder."""
    with pytest.raises(ValueError, match="/holders"):
        SQLiteAckQueue(path, name="jobs/holders")


def test_a_get_and_an_acknowledgement_are_one_transaction_each(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(SQLiteAckQueue(path)) as q:
        q.ack(q.get())
        connection, said = _writer(q), list[str]()
        connection.set_trace_callback(said.append)
        item = q.get()
        assert (said.count("BEGIN IMMEDIATE"), said.count("COMMIT")) == (1, 1)
        with monkeypatch.context() as patch:
            patch.setattr(q._store, "get", None)  # the state of what is in hand is known
            q.ack(item)
        assert said.count("COMMIT") == 2
        assert not [text for text in said if text.startswith("SELECT number FROM")], "names that are known"
        connection.set_trace_callback(None)


def _writer(q: Any) -> Any:
    return q._store._core.writer.connection


@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue])
def test_what_another_takes_at_the_same_moment_is_its_own(
    kind: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at the first item and the commit that takes it."""
    with filled(kind(path)) as one, kind(path) as other:
        one.ack(one.get())
        look, taken = one._store.look, list[str]()

        def late(*arguments: Any) -> Any:
            seen = look(*arguments)
            if not taken:
                taken.append(other.get())
            return seen

        monkeypatch.setattr(one._store, "look", late)
        got = one.get()
        assert {*taken, got} == ({"b", "c"} if kind is SQLiteAckQueue else {"a", "b"})
        assert (one.unack_count(), one.size) == (2, 0)


def test_an_interrupted_get_leaves_the_item_to_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the commit that takes it, when nobody knows of it."""
    with filled(SQLiteAckQueue(path)) as q:
        q.ack(q.get())
        commit = q._store.commit

        def interrupted(*ops: Any, **options: Any) -> Any:
            commit(*ops, **options)
            monkeypatch.setattr(q._store, "commit", commit)
            raise KeyboardInterrupt

        monkeypatch.setattr(q._store, "commit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            q.get()
        assert (q.unack_count(), q.size) == (0, 2)
        assert [q.get(), q.get()] == ["b", "c"]


@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue])
def test_one_item_is_looked_for_alone(kind: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 256 others: it took three times as long."""
    with filled(kind(path), range(300)) as q:
        first = q.get(raw=True)
        browse, browsed = q._store.browse, list[Any]()
        monkeypatch.setattr(q._store, "browse", lambda *a, **options: (browsed.append(a), browse(*a, **options))[1])
        item = first
        for step in range(1, 5):
            item = q.get(id=item, next_in_order=True, raw=True)
            assert item["data"] == (step if kind is SQLiteAckQueue else 299 - step)
        assert q.get(id=100) == 99
        assert browsed == []
        q.nack(id=item["pqid"])
        assert q.get(id=item) == item["data"]


def test_who_finds_the_database_locked_waits_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was only looked at isn't to be given back, which took as long again."""
    with filled(SQLiteAckQueue(path)) as q:
        q.ack(q.get())
        commit, refused = q._store.commit, list[Any]()

        def locked(*ops: Any, **options: Any) -> Any:
            refused.append(ops)
            raise StoreLocked("others have it")

        with monkeypatch.context() as patch:
            patch.setattr(q._store, "commit", locked)
            with pytest.raises(StoreLocked):
                q.get()
        assert len(refused) == 1
        assert q._store.commit == commit
        assert [q.get(), q.get()] == ["b", "c"]


def test_an_id_beyond_all_is_no_other_queues_item(path: str) -> None:
    """Queues of a database have numbers in front of their ids."""
    with filled(SQLiteAckQueue(path)) as q, filled(SQLiteAckQueue(path, name="other"), "xyz") as other:
        for queue, first in ((q, "a"), (other, "x")):
            assert [queue._states._claiming.record(id) for id in (-1, (1 << 42) + 1, 1 << 50)] == [None] * 3
            assert queue.get(id=1 << 60, next_in_order=True) == first


def test_an_item_that_is_given_back_as_it_is_acknowledged_is_acknowledged_all_the_same(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, other = SQLiteAckQueue(path), SQLiteAckQueue(path)
    id = q.put("a")
    q.get()
    state, looks = other._states.state, list[str | None]()

    def then_it_is_given_back(wanted: int) -> str | None:
        found = state(wanted)
        if not looks:
            q.nack(id=wanted)
        looks.append(found)
        return found

    monkeypatch.setattr(other._states, "state", then_it_is_given_back)
    assert other.ack(id=id) == id
    assert looks == [AckStatus.unack, AckStatus.ready]
    assert (q.acked_count(), q.size) == (1, 0)


@pytest.mark.parametrize("kind", [SQLiteAckQueue, FILOSQLiteAckQueue])
def test_next_in_order_where_another_takes_the_item_passes_it_over(
    kind: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, other = kind(path), kind(path)
    first, *ids = [q.put(n) for n in (range(4) if kind is SQLiteAckQueue else range(3, -1, -1))]
    before = first if kind is SQLiteAckQueue else ids[-1]
    assert q.get(id=before) == 0
    behind, taken = q._states._search.behind, list[Any]()

    def then_it_is_taken(id: int) -> int | None:
        found = behind(id)
        if not taken:
            taken.append(other.get())
        return found  # type: ignore[no-any-return]

    monkeypatch.setattr(q._states._search, "behind", then_it_is_taken)
    assert q.get(id=before, next_in_order=True, block=False) == 2
    assert taken == [1]


def test_next_in_order_goes_down_a_filo_queue_over_a_gap(path: str) -> None:
    q = FILOSQLiteAckQueue(path)
    ids = [q.put(n) for n in range(5)]
    q.ack(q.get(id=ids[2]))
    assert q.get(id=ids[3], next_in_order=True) == 1
    assert q.get(id=ids[1], next_in_order=True) == 0
    assert q.get(id=ids[0], next_in_order=True) == 4
