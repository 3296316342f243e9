"""`SQLiteQueue` and its kin: a database that threads and processes share."""

from __future__ import annotations

import ast
import json
import os
import sys
import threading
import time
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import persistqueue as old
import pytest

from pqadapters.errors import DiskError, NotSerializable, RankError, StoreRefused
from pqadapters.persistqueue import (
    AsyncSQLiteQueue,
    Empty,
    FIFOSQLiteQueue,
    FILOSQLiteQueue,
    Full,
    PDict,
    PriorityQueue,
    Queue,
    SQLiteAckQueue,
    SQLiteQueue,
    UniqueQ,
    serializers,
)
from pqadapters.store import Put
from tests.segment.programs import go_on, run, running, said

KINDS: list[Any] = [FIFOSQLiteQueue, FILOSQLiteQueue, UniqueQ, PriorityQueue]

_KILLED = """
import sys, os, signal
from pqadapters.persistqueue import SQLiteQueue
q = SQLiteQueue(sys.argv[1], auto_commit=sys.argv[2] == "True")
for item in "abcd": q.put(item)
q.get(); q.task_done(); q.get(); q.put("e")
os.kill(os.getpid(), signal.SIGKILL)
"""
_CONSUMER = """
import sys
from pqadapters.persistqueue import SQLiteQueue, Empty
q = SQLiteQueue(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
got = []
try:
    while True: got.append(q.get(block=False))
except Empty:
    print(*got, flush=True)
"""
_PUTTER = """
import sys
from pqadapters.persistqueue import SQLiteQueue
sys.stdin.readline()
SQLiteQueue(sys.argv[1]).put("from afar")
"""


class _Exits:
    """Whoever loads it is told to exit: by a module that is a script as well."""

    def __reduce__(self) -> Any:
        return sys.exit, ()


def drained(q: Any) -> list[Any]:
    items = []
    try:
        while True:
            items.append(q.get(block=False))
    except Empty:
        return items


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("auto_commit", [True, False])
def test_put_get_and_sizes(kind: Any, auto_commit: bool, path: str) -> None:
    q = kind(path, auto_commit=auto_commit)
    assert (q.size, q.qsize(), len(q), q.empty(), q.full()) == (0, 0, 0, True, False)
    first, second = q.put("a"), q.put_nowait("b")
    assert first < second
    assert (q.size, q.total, q.qsize(), len(q), q.empty()) == (2, 2, 2, 2, False)
    assert [(row["id"], row["data"]) for row in q.queue()] == [(first, "a"), (second, "b")]
    assert abs(q.queue()[0]["timestamp"] - time.time()) < 60
    assert sorted(drained(q)) == ["a", "b"]
    q.task_done()
    assert q.queue() == []
    q.shrink_disk_usage()
    q.close()
    q.close()


@pytest.mark.parametrize("auto_commit", [True, False])
def test_filo_serves_the_last_first(auto_commit: bool, path: str) -> None:
    q = FILOSQLiteQueue(path, auto_commit=auto_commit)
    for item in (1, 2, 3):
        q.put(item)
    raw = q.get(raw=True)
    assert (raw["data"], q.get(), q.get()) == (3, 2, 1)


def test_priorities(path: str) -> None:
    q = PriorityQueue(path)
    for item, priority in (("low", 10), ("first", 1), ("second", 1), ("urgent", -5), ("between", 1.5)):
        q.put(item, priority=priority)
    q.put_nowait("default")
    assert drained(q) == ["urgent", "default", "first", "second", "between", "low"]
    with pytest.raises(RankError):
        q.put("x", priority=float("nan"))
    with pytest.raises(TypeError, match="number"):
        q.put("x", priority="high")


def test_a_unique_queue_takes_an_item_again_once_it_has_left(path: str) -> None:
    q = UniqueQ(path)
    assert q.put({"a": 1, "b": 2}) is not None
    assert q.put({"b": 2, "a": 1}) is None
    assert (q.size, q.get()) == (1, {"a": 1, "b": 2})
    again = q.put({"b": 2, "a": 1})
    assert again is not None
    other = (1, "x")
    assert q.put(other) is not None
    assert q.put((1, "".join(["x"]))) is None
    with pytest.raises(ValueError, match="already"):
        q.update(other, id=again)
    assert q.update("new", id=again) == again
    assert q.put({"a": 1, "b": 2}) is not None
    assert q.put("new") is None


@pytest.mark.parametrize("name", ["pickle", "json", "msgpack", "cbor2"])
def test_a_unique_queue_knows_a_dict_by_what_is_in_it(path: str, name: str) -> None:
    """One of a derived class was another item, as persist-queue's never is."""
    q = UniqueQ(path, serializer=getattr(serializers, name))
    assert q.put(OrderedDict(b=1, a=2)) is not None
    assert q.put({"a": 2, "b": 1}) is None
    assert q.put(defaultdict(int, a=2, b=1)) is None
    assert (q.get(), q.qsize()) == ({"a": 2, "b": 1}, 0)


@pytest.mark.parametrize("name", ["pickle", "msgpack", "cbor2"])
def test_a_unique_queue_takes_dicts_in_items_whose_keys_cannot_be_sorted(path: str, name: str) -> None:
    q = UniqueQ(path, serializer=getattr(serializers, name))
    assert q.put({"row": {None: 1, "b": 2, 3: 4}}) is not None
    assert q.put({"row": {3: 4, "b": 2, None: 1}}) is None
    assert q.get() == {"row": {None: 1, "b": 2, 3: 4}}


def test_a_unique_queue_takes_an_item_that_holds_itself(path: str) -> None:
    """Such as a node that knows its parent: ValueError, and for lists and dicts RecursionError."""
    node, held = SimpleNamespace(below=[]), list[Any]([1])
    node.below.append(SimpleNamespace(parent=node))
    held.append(held)
    q = UniqueQ(path)
    for item in (node, held, {"all": held}):
        assert q.put(item) is not None
        assert q.put(item) is None
    found = q.get()
    assert found.below[0].parent is found


def test_what_was_got_and_not_persisted_is_still_in_a_unique_queue(path: str) -> None:
    q = UniqueQ(path, auto_commit=False)
    q.put("a")
    q.get()
    assert q.put("a") is None
    q.task_done()
    assert q.put("a") is not None


def test_what_is_updated_in_hand_has_left_a_unique_queue_once_it_is_done(path: str) -> None:
    q = UniqueQ(path, auto_commit=False)
    id = q.put("a")
    q.get()
    assert q.update("b", id=id) == id
    assert (q.put("a") is not None, q.put("b")) == (True, None)
    q.task_done()
    assert q.put("b") is not None


def test_in_memory_nobody_else_could_have_the_class_that_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    q = SQLiteQueue(":memory:")
    q._store.commit(Put("queue_default", b"cnowhere\nMissing\n."))
    with pytest.raises(Empty):
        q.get(block=False)
    assert "is a dead letter now" in caplog.text
    assert q._store.depth("queue_default").unfinished == 0


def test_by_id_and_raw(path: str) -> None:
    q = SQLiteQueue(path)
    ids = [q.put(item) for item in "abc"]
    assert q.get(id=ids[1]) == "b"
    raw = q.get(raw=True)
    assert (raw["pqid"], raw["data"], set(raw)) == (ids[0], "a", {"pqid", "data", "timestamp"})
    assert q.update("new", id=ids[2]) == ids[2]
    assert q.update({"pqid": ids[2], "data": "newer", "timestamp": 0.0}) == ids[2]
    assert q.get(id={"pqid": ids[2]}) == "newer"
    with pytest.raises(Empty):
        q.get_nowait(id=ids[2])
    with pytest.raises(ValueError, match="id"):
        q.update("x")
    assert q.update("x", id=1000) == 1000


def test_a_users_dict_with_the_key_pqid_is_an_item(path: str) -> None:
    q = SQLiteQueue(path)
    id = q.put("old")
    q.update({"pqid": "mine", "more": 1}, id=id)
    assert q.get() == {"pqid": "mine", "more": 1}


def test_none_is_an_item(path: str) -> None:
    q = SQLiteQueue(path)
    q.put(None)
    assert q.get(timeout=1) is None


@pytest.mark.parametrize("auto_commit", [True, False])
def test_empty_and_timeouts(auto_commit: bool, path: str) -> None:
    q = SQLiteQueue(path, auto_commit=auto_commit)
    for arguments in ({"block": False}, {"timeout": 0.01}, {"timeout": 0}):
        with pytest.raises(Empty):
            q.get(**arguments)
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-1)


def test_maxsize(path: str) -> None:
    q = SQLiteQueue(path, maxsize=1)
    q.put("a")
    assert q.full()
    with pytest.raises(Full):
        q.put_nowait("b")
    with pytest.raises(Full):
        q.put("b", timeout=0.01)
    with pytest.raises(ValueError, match="non-negative"):
        q.put("b", timeout=-1)
    putter = threading.Thread(target=q.put, args=("b",))
    putter.start()
    assert q.get() == "a"
    putter.join(60)
    assert q.get() == "b"


@pytest.mark.parametrize(("auto_commit", "left"), [(True, ["c", "d", "e"]), (False, ["b", "c", "d", "e"])])
def test_sigkill(auto_commit: bool, left: list[str], path: str) -> None:
    with running(_KILLED, path, auto_commit) as child:
        child.wait(60)
    assert drained(SQLiteQueue(path)) == left


def test_task_done_leaves_what_another_thread_has_in_hand(path: str) -> None:
    q = SQLiteQueue(path, auto_commit=False)
    q.put("theirs")
    q.put("ours")
    got, done = threading.Barrier(2), threading.Event()

    def other() -> None:
        q.get()
        got.wait()
        done.wait()

    thread = threading.Thread(target=other)
    thread.start()
    got.wait()
    q.task_done()  # for the puts
    assert q.get() == "ours"
    q.task_done()
    done.set()
    thread.join()
    q.close()
    assert drained(SQLiteQueue(path)) == ["theirs"]


def test_one_task_done_persists_all_that_was_got_and_calls_for_another_are_counted(path: str) -> None:
    q = SQLiteQueue(path, auto_commit=False)
    for item in range(5):
        q.put(item)
    q.task_done()
    q.get()
    q.get()
    assert (len(q.queue()), q.size) == (5, 3)
    q.task_done()
    assert len(q.queue()) == 3
    q.get()
    q.get()
    workers = [threading.Thread(target=q.task_done) for _ in range(2)]
    for worker, left in zip(workers, (3, 1), strict=True):
        worker.start()
        worker.join()
        assert len(q.queue()) == left


def test_task_done_syncs_what_was_put_by_whomever(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing where nothing was: a done item may come again after a power cut, a put one mustn't be lost."""
    q = SQLiteQueue(path, auto_commit=False)
    syncs: list[int] = []
    sync = q._store.sync
    monkeypatch.setattr(q._store, "sync", lambda: (syncs.append(q.size), sync()))
    putter = threading.Thread(target=lambda: [q.put(item) for item in "abc"])
    putter.start()
    putter.join()
    assert not syncs
    q.get()
    q.task_done()
    assert syncs == [2]
    q.get()
    q.task_done()
    assert syncs == [2]
    q.put("d")
    q.task_done()
    assert syncs == [2, 2]


def test_prefetch(path: str) -> None:
    q, other = SQLiteQueue(path, auto_commit=False, prefetch=3), SQLiteQueue(path)
    for item in "abcdef":
        q.put(item)
    assert q.get() == "a"
    assert (q.size, other.size) == (5, 3)
    assert other.get() == "d"
    assert q.get() == "b"
    q.task_done()
    q.close()
    assert drained(other) == ["c", "e", "f"]


def test_what_is_updated_in_hand_is_what_comes_again(path: str) -> None:
    q = SQLiteQueue(path, auto_commit=False)
    id = q.put("a")
    q.get()
    q.update("b", id=id)
    q.close()
    assert drained(SQLiteQueue(path)) == ["b"]


def test_join_waits_for_what_is_not_persisted(path: str) -> None:
    q = SQLiteQueue(path, auto_commit=False)
    q.put("a")
    q.get()
    joiner = threading.Thread(target=q.join)
    joiner.start()
    joiner.join(0.05)
    assert joiner.is_alive()
    q.task_done()
    joiner.join(60)
    assert not joiner.is_alive()


def test_a_new_process_finds_what_the_last_one_left(path: str) -> None:
    put = "import sys; from pqadapters.persistqueue import SQLiteQueue; print(SQLiteQueue(sys.argv[1]).put((1, 'x')))"
    assert run(put, path) == "1"
    assert SQLiteQueue(path).get(block=False) == (1, "x")


def test_three_processes_share_the_items_without_a_second_delivery(path: str) -> None:
    q = SQLiteQueue(path)
    for item in range(150):
        q.put(item)
    with running(_CONSUMER, path) as a, running(_CONSUMER, path) as b, running(_CONSUMER, path) as c:
        for child in (a, b, c):
            assert said(child) == "ready"
        for child in (a, b, c):
            go_on(child)
        got = Counter(int(word) for child in (a, b, c) for word in said(child).split())
    assert got == Counter(range(150))


def test_a_waiting_get_is_woken_by_another_object_and_another_process(path: str) -> None:
    q, other = SQLiteQueue(path), SQLiteQueue(path)
    got: list[Any] = []
    waiter = threading.Thread(target=lambda: got.append(q.get()))
    waiter.start()
    other.put("near")
    waiter.join(60)
    assert got == ["near"]
    with running(_PUTTER, path) as child:
        waiter = threading.Thread(target=lambda: got.append(q.get()))
        waiter.start()
        go_on(child)
        child.wait(60)
        waiter.join(60)
    assert got == ["near", "from afar"]
    assert (q.qsize(), other.qsize()) == (0, 0)


def test_queues_of_other_names_kinds_and_files_are_apart(path: str) -> None:
    queues = [
        SQLiteQueue(path),
        SQLiteQueue(path, name="other"),
        SQLiteQueue(path, db_file_name="other.db"),
        FILOSQLiteQueue(path),
        UniqueQ(path),
        PriorityQueue(path),
    ]
    for n, q in enumerate(queues):
        q.put(n)
    assert [drained(q) for q in queues] == [[n] for n in range(len(queues))]


def test_a_database_is_in_its_directory_however_its_name_begins(path: str, tmp_path: Path) -> None:
    """persist-queue puts a slash between them and goes to where that is; ours was at a place of the name alone."""
    name = f"{tmp_path}/x.db"
    Path(f"{path}/{tmp_path}").mkdir(parents=True)
    queue = old.SQLiteQueue(path, db_file_name=name)
    queue.put("a")
    queue.close()
    assert drained(SQLiteQueue(path, db_file_name=name)) == ["a"]


@pytest.mark.parametrize("kind", [SQLiteQueue, SQLiteAckQueue, PDict, AsyncSQLiteQueue])
def test_a_directory_that_cannot_be_made_is_a_disk_error(kind: Any, path: str) -> None:
    """It was the bare OSError of the call that makes it, and what was made was open to others."""
    kind(f"{path}/deep", name="name")
    assert {os.stat(each).st_mode & 0o777 for each in (path, f"{path}/deep")} == {0o700}
    Path(path, "file").touch()
    with pytest.raises(DiskError, match="create and write"):
        kind(f"{path}/file/q", name="name")
    with pytest.raises(FileNotFoundError, match="names none"):
        kind("", name="name")


@pytest.mark.parametrize("wrote", [Queue, old.Queue])
def test_a_new_database_is_not_put_into_a_file_queue(wrote: Any, path: str) -> None:
    # It was, and the next start of the program couldn't open the file queue any more.
    wrote(path).put("a")
    for kind in (SQLiteQueue, PDict):
        with pytest.raises(StoreRefused, match="a directory of its own"):
            kind(path, "name")
    assert Queue(path).get(block=False) == "a"


def test_memory(path: str) -> None:
    q = SQLiteQueue(":memory:", multithreading=True)
    q.put("a")
    assert SQLiteQueue(":memory:").empty()
    assert q.get() == "a"


def test_an_item_that_exits_when_it_is_read_is_out_of_the_way(path: str) -> None:
    """It ended whoever got it, and was there again for the next one."""
    q = SQLiteQueue(path)
    q.put(_Exits())
    q.put("fine")
    assert [row["data"] for row in q.queue()] == ["fine"]
    assert q.get() == "fine"


def test_an_item_that_cannot_be_read_is_out_of_the_way_and_the_next_one_is_served(path: str) -> None:
    q = SQLiteQueue(path)
    q.put({1, 2})
    q.put("fine")
    reader = SQLiteQueue(path, serializer=serializers.json)
    q.put("too")
    with pytest.raises(Empty):
        reader.get(timeout=0)
    reader.put("json")
    assert reader.get() == "json"
    assert reader.join() is None


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_whose_class_this_program_lacks_is_left_to_others_first(kind: Any, path: str) -> None:
    # In a rolling deploy the older program buried what the newer one had put.
    class Job(int):
        pass

    newer = ModuleType("newer")
    Job.__module__, Job.__qualname__, newer.Job = "newer", "Job", Job  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "newer", newer)
        q = kind(path)
        q.put("plain")
        q.put(Job(7))
        q.close()
    older = kind(path)
    assert older.get(block=False) == "plain"
    with pytest.raises(Empty):
        older.get(block=False)
    depth = older._store.depth(older._queue)
    assert (depth.delayed, depth.dead) == (1, 0)


def test_what_cannot_be_stored_raises_and_stores_nothing(path: str) -> None:
    q = SQLiteQueue(path, serializer=serializers.json)
    with pytest.raises(TypeError):
        q.put({1, 2})
    assert q.empty()
    with pytest.raises(ValueError, match="empty"):
        SQLiteQueue(path, name="")


def test_a_users_own_serializer_with_functions_for_values_alone(path: str) -> None:
    class Reversed:
        dumps = staticmethod(lambda value: value[::-1].encode())
        loads = staticmethod(lambda data: data.decode()[::-1])

    q = SQLiteQueue(path, serializer=Reversed)
    q.put("abc")
    assert q.get() == "abc"


class _Text:
    """As persist-queue takes it, which keeps text as SQLite does."""

    dumps = staticmethod(lambda value, sort_keys=False: repr(value))
    loads = staticmethod(ast.literal_eval)  # takes text alone


@pytest.mark.parametrize("kind", [SQLiteQueue, FILOSQLiteQueue, UniqueQ, SQLiteAckQueue, PriorityQueue])
def test_a_users_own_serializer_of_text(path: str, kind: Any) -> None:
    """Its text reached the store as it was: a TypeError of the put told of bytes-like objects."""
    theirs = getattr(old, kind.__name__)(path, serializer=_Text)
    theirs.put({"a": "\N{SNOWMAN}"})
    theirs.close()
    with kind(path, serializer=_Text) as q:
        q.put(("b", 2))
        assert sorted([q.get(), q.get()], key=repr) == [("b", 2), {"a": "\N{SNOWMAN}"}]


@pytest.mark.parametrize("dumps", [lambda value: value, lambda value: value.strip()])
def test_a_serializer_of_text_that_takes_no_none(path: str, dumps: Any) -> None:
    """Its text reached the store, too, whose error told of bytes-like objects."""
    serializer = SimpleNamespace(dumps=dumps, loads=dumps)
    with SQLiteQueue(path, serializer=serializer) as q:
        with pytest.raises(NotSerializable, match=r"dumps\(None\)"):
            q.put("text")
        q.put(b"bytes")
        assert q.get() == b"bytes"
        assert not len(q)


def _by_file(value: Any, file: Any, sort_keys: bool = False) -> None:
    file.write(json.dumps(value, sort_keys=sort_keys).encode())


def _of_bytes(value: Any, sort_keys: bool = False) -> bytes:
    if value is None:
        raise ValueError("no value")
    return json.dumps(value, sort_keys=sort_keys).encode()


def _of_text(value: Any, sort_keys: bool = False) -> str:
    return json.dumps(value, sort_keys=sort_keys)


@pytest.mark.parametrize(
    "serializer",
    [
        SimpleNamespace(dump=_by_file, load=json.load),
        SimpleNamespace(dumps=_of_bytes, loads=json.loads),
        SimpleNamespace(dumps=_of_text, loads=json.loads),
    ],
    ids=["by file", "that takes no None", "of text"],
)
def test_a_unique_queue_sorts_keys_by_a_users_own_serializer(path: str, serializer: Any) -> None:
    with UniqueQ(path, serializer=serializer) as q:
        assert q.put({"a": 1, "b": 2}) is not None
        assert q.put({"b": 2, "a": 1}) is None
        assert q.get() == {"a": 1, "b": 2}


def test_a_serializer_of_text_need_not_sort_keys(path: str) -> None:
    serializer = SimpleNamespace(dumps=lambda value: json.dumps(value), loads=json.loads)
    with SQLiteQueue(path, serializer=serializer) as q:
        q.put({"b": 2, "a": 1})
        assert list(q.get()) == ["b", "a"]
