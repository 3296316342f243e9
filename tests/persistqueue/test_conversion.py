"""What persist-queue has written is converted when it is opened: the very items in the very order, in each class."""

from __future__ import annotations

import asyncio
import json
import math
import os
import pickle
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import persistqueue as old
import pytest

import pqadapters.persistqueue as ours
from pqadapters.persistqueue import serializers
from pqadapters.persistqueue._digests import owed
from pqadapters.persistqueue.conversion import framing, unique
from pqadapters.serializers import msgpack
from pqadapters.store import Delete, Op
from tests.segment.programs import run, running, said

from . import theirs

ITEMS = [{"n": n, "text": "ü" * n, "list": [n, None, 1.5]} for n in range(50)]
NAMES = ["pickle", "json", "msgpack", "cbor2"]


def all_of(q: Any) -> list[Any]:
    return [q.get(block=False) for _ in range(q.qsize())]


# File queues


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("got", [0, 7, 10, 49, 50])
def test_a_file_queue(path: str, name: str, got: int) -> None:
    theirs.file_queue(path, ITEMS, got=got, chunksize=7, name=name)
    before = theirs.contents(path)
    with ours.Queue(path, serializer=getattr(serializers, name)) as q:
        assert q.qsize() == 50 - got
        assert [item["n"] for item in all_of(q)] == list(range(got, 50))
        q.put("more")
        assert q.get() == "more"
    assert theirs.contents(f"{path}.persist-queue") == before
    assert not set(before) & set(os.listdir(path))


def test_a_file_queue_of_one_large_chunk_and_large_items(path: str) -> None:
    items = ["x" * 200_000, b"\x80\x04." * 50_000, [pickle.dumps([n]) for n in range(1000)], None, "end"]
    theirs.file_queue(path, items, chunksize=1_000_000)
    with ours.Queue(path) as q:
        assert all_of(q) == items


def test_an_async_file_queue(path: str) -> None:
    theirs.file_queue(path, ITEMS, got=3)

    async def use() -> list[Any]:
        async with ours.AsyncQueue(path) as q:
            return [await q.get() for _ in range(await q.qsize())]

    assert asyncio.run(use()) == ITEMS[3:]


def test_what_was_got_and_not_done_comes_again(path: str) -> None:
    q = old.Queue(path)
    for item in "abc":
        q.put(item)
    q.get()
    del q
    with ours.Queue(path) as again:
        assert all_of(again) == ["a", "b", "c"]


def test_a_put_that_was_broken_off_is_no_item(path: str) -> None:
    theirs.file_queue(path, ["a"])
    with open(f"{path}/q00000", "ab") as chunk:
        chunk.write(pickle.dumps("b", 4))  # its `info` was never written
    with ours.Queue(path) as q:
        assert all_of(q) == ["a"]


class _Own:
    """A program's serializer, which writes a value behind a colon's length."""

    @staticmethod
    def dump(value: Any, fp: Any) -> None:
        data = json.dumps(value).encode()
        fp.write(b"%d:" % len(data) + data)

    @staticmethod
    def load(fp: Any) -> Any:
        digits = b""
        while (digit := fp.read(1)) != b":":
            if not digit.isdigit():
                raise ValueError(digit)
            digits += digit
        return json.loads(fp.read(int(digits)))


def test_a_serializer_of_the_programs_own(path: str) -> None:
    q = old.Queue(path, serializer=_Own, chunksize=3)
    for n in range(10):
        q.put({"n": n})
    del q
    with ours.Queue(path, serializer=_Own) as again:
        assert all_of(again) == [{"n": n} for n in range(10)]


def test_persist_queues_own_serializer_modules(path: str) -> None:
    theirs.file_queue(path, ITEMS, name="msgpack")
    with ours.Queue(path, serializer=theirs.serializer("msgpack")) as q:
        assert [item["n"] for item in all_of(q)] == list(range(50))


class _Bomb:
    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (self.file,)


def test_no_pickle_is_loaded_by_the_conversion(path: str, tmp_path: Path) -> None:
    """A pickle is a program: it runs when the consumer gets it, and not before."""
    theirs.file_queue(path, [_Bomb(str(tmp_path / "file"))])
    theirs.database(f"{path}-db", old.SQLiteQueue, [_Bomb(str(tmp_path / "database"))])
    theirs.database(f"{path}-db", old.UniqueQ, [_Bomb(str(tmp_path / "unique"))])
    with ours.Queue(path) as q:
        assert q.qsize() == 1
    ours.SQLiteQueue(f"{path}-db", name="another", serializer=serializers.json).close()
    ours.UniqueQ(f"{path}-db", serializer=serializers.json).close()
    assert not {"file", "database", "unique"} & set(os.listdir(tmp_path))


def test_no_pickle_is_loaded_where_persist_queues_own_module_is_given(path: str, tmp_path: Path) -> None:
    theirs.file_queue(path, [_Bomb(str(tmp_path / "run")), "a"])
    with ours.Queue(path, serializer=theirs.serializer("pickle")) as q:
        assert q.qsize() == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [*NAMES, "async_pickle", "another"])
def test_persist_queues_own_modules_are_known_by_their_names(name: str) -> None:
    """By its own functions the items would be loaded, and those of the async one read no file of ours."""
    found = framing.name_of(ModuleType(f"persistqueue.serializers.{name}"))
    assert found == {"async_pickle": "pickle", "another": None}.get(name, name)


def test_an_info_that_would_run_something_is_damaged(path: str, tmp_path: Path) -> None:
    theirs.file_queue(path, ["a"])
    Path(path, "info").write_bytes(pickle.dumps(_Bomb(str(tmp_path / "run")), 4))
    with ours.Queue(path) as q:
        assert all_of(q) == ["a"]
    assert not (tmp_path / "run").exists()


# Databases


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["SQLiteQueue", "FILOSQLiteQueue", "UniqueQ", "PriorityQueue"])
def test_a_database_queue(path: str, kind: str, name: str) -> None:
    theirs.database(path, getattr(old, kind), ITEMS, "jobs", serializer=theirs.serializer(name))
    [table] = [each for each in ("queue", "filo_queue", "unique_queue", "priority_queue") if _has(path, f"{each}_jobs")]
    rows = theirs.rows(f"{path}/data.db", f"{table}_jobs")
    with getattr(ours, kind)(path, name="jobs", serializer=getattr(serializers, name)) as q:
        assert q.size == 50
        assert [row["timestamp"] for row in q.queue()] == [row[2] for row in rows]
        order = range(49, -1, -1) if kind == "FILOSQLiteQueue" else range(50)
        raw = q.get(raw=True)
        assert (raw["data"]["n"], raw["timestamp"]) == (order[0], rows[order[0]][2])
        assert [item["n"] for item in all_of(q)] == list(order)[1:]
    assert theirs.rows(f"{path}/data.db.persist-queue", f"{table}_jobs") == rows


def _has(path: str, table: str) -> bool:
    try:
        theirs.rows(f"{path}/data.db", table)
        return True
    except sqlite3.OperationalError:
        return False


def test_priorities_that_are_no_numbers(path: str) -> None:
    """SQLite keeps whatever it is given, and sorts text behind numbers; text was all one."""
    q = old.PriorityQueue(path)
    priorities: list[Any] = ["low", b"x", "high", math.inf, "7", 2.5, None]
    for item, priority in enumerate(priorities):
        q.put(item, priority=priority)
    q.close()
    before = old.PriorityQueue(shutil.copytree(path, f"{path}.copy"))
    with ours.PriorityQueue(path) as again:
        assert all_of(again) == all_of(before) == [6, 5, 4, 3, 2, 0, 1]
    before.close()


def test_priorities(path: str) -> None:
    q = old.PriorityQueue(path)
    for item, priority in (("c", 3), ("a", -2), ("b1", 0), ("b2", 0), ("d", 2**40), ("b3", 0)):
        q.put(item, priority=priority)
    q.close()
    with ours.PriorityQueue(path) as again:
        assert all_of(again) == ["a", "b1", "b2", "b3", "c", "d"]


def test_without_auto_commit_what_was_not_done_is_there(path: str) -> None:
    q = old.SQLiteQueue(path, auto_commit=False)
    for item in "abcd":
        q.put(item)
    q.get()
    q.task_done()
    q.get()
    q.close()
    with ours.SQLiteQueue(path, auto_commit=False) as again:
        assert all_of(again) == ["b", "c", "d"]


@pytest.mark.parametrize("kind", ["SQLiteAckQueue", "FILOSQLiteAckQueue"])
def test_an_acknowledging_queue_keeps_all_states(path: str, kind: str) -> None:
    states = theirs.each_state(path, getattr(old, kind))
    with getattr(ours, kind)(path, auto_resume=False) as q:
        assert {row["data"]: row["status"] for row in q.queue()} == states
        counts = (q.ready_count(), q.unack_count(), q.acked_count(), q.ack_failed_count())
        assert counts == tuple(list(states.values()).count(status) for status in (1, 2, 5, 9))
        assert q.size == sum(status < 2 for status in states.values())
    with getattr(ours, kind)(path) as q:  # which resumes what is unack
        waiting = [item for item, status in states.items() if status <= 2]
        assert all_of(q) == (waiting[::-1] if kind.startswith("FILO") else waiting)


def test_a_unique_acknowledging_queue(path: str) -> None:
    q = old.UniqueAckQ(path)
    for item in ("a", {"z": 1, "y": {"x": 2}}, (1, 2)):
        q.put(item)
    q.ack(q.get())
    q.close()
    with ours.UniqueAckQ(path) as again:
        assert [again.put(item) for item in ("a", {"y": {"x": 2}, "z": 1}, (1, 2))] == [None, None, None]
        assert again.put("b")
        again.clear_acked_data(keep_latest=0)
        assert again.put("a")
        assert all_of(again) == [{"z": 1, "y": {"x": 2}}, (1, 2), "b", "a"]


def test_an_item_that_goes_while_a_unique_queue_is_opened_keeps_no_other_from_being_known(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"z": n, "y": 0} for n in range(4)]
    q = old.UniqueAckQ(path)
    for item in items:
        q.put(item)
        q.ack(q.get())
    q.close()
    real = unique._Work._all_or_each

    def go(work: unique._Work, changes: list[list[Op]]) -> None:
        with ours.SQLiteQueue(path) as other:
            key = next(iter(other._store.keys(work._rows)))
            other._store.commit(Delete(work._rows, key))
        real(work, changes)

    monkeypatch.setattr(unique._Work, "_all_or_each", go)
    with ours.UniqueAckQ(path) as again:
        again_put = [again.put(dict(sorted(item.items()))) for item in items]
        assert again_put[1:] == [None, None, None]
        assert again_put[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_unique_queue_knows_its_items_again(path: str, name: str) -> None:
    """persist-queue's pickles and JSON of equal items are other bytes than ours."""
    item = {"b": 1, "a": ["text", {"y": 1, "x": 2}]}
    theirs.database(path, old.UniqueQ, [item], serializer=theirs.serializer(name))
    ours.SQLiteQueue(path).close()  # the database is converted; whose serializer the other queue has nobody knows yet
    with ours.UniqueQ(path, serializer=getattr(serializers, name)) as q:
        assert q.put({"a": ["text", {"x": 2, "y": 1}], "b": 1}) is None
        got = q.get()
        assert (got["b"], list(got["a"])) == (1, item["a"])
        assert q.put(item)


@pytest.mark.parametrize("got", [False, True])
def test_a_unique_queues_items_are_read_again_a_few_at_a_time(
    path: str, got: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = old.UniqueAckQ(path)
    for number in range(3):
        q.put({"z": number, "y": 0})
        if got:
            q.ack(q.get())
    q.close()
    name, at_once = "_all_or_each" if got else "_records", list[int]()
    real = getattr(unique._Work, name)

    def counting(work: unique._Work, some: list[Any]) -> None:
        at_once.append(len(some))
        real(work, some)

    monkeypatch.setattr(unique._Work, name, counting)
    monkeypatch.setattr("pqadapters.portions.BYTES", 1)
    with ours.UniqueAckQ(path) as again:
        assert [again.put({"y": 0, "z": number}) for number in range(3)] == [None] * 3
    assert at_once == [1, 1, 1]


def test_a_unique_queue_and_the_wrong_serializer(path: str) -> None:
    """Whoever comes with the right one still finds equal items."""
    theirs.database(path, old.UniqueQ, [{"b": 1, "a": 2}])
    ours.UniqueQ(path, serializer=serializers.json).close()
    with ours.UniqueQ(path) as q:
        assert q.put({"a": 2, "b": 1}) is None
        assert q.size == 1


def test_a_unique_queue_in_which_there_is_nothing(path: str) -> None:
    theirs.database(path, old.UniqueQ, [])
    with ours.UniqueQ(path) as q:
        assert q.put("a")
        assert q.put("a") is None


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_unique_queue_whose_opening_is_broken_off_is_opened_again(
    path: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the exception lived, so did the handle that had claimed that work: the next opening waited for it."""
    theirs.database(path, old.UniqueQ, [{"b": 1, "a": n} for n in range(9)])

    def broken_off(work: unique._Work, payload: bytes) -> bytes:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(unique._Work, "_ours", broken_off)
        with pytest.raises(error) as broken:
            ours.UniqueQ(path)
    with ours.SQLiteQueue(path) as other:
        depths = [other._store.depth(name) for name in (owed("unique_queue_default"), "unique_queue_default")]
        assert [(depth.ready, depth.claimed) for depth in depths] == [(1, 0), (9, 0)]
    with ours.UniqueQ(path) as q:
        assert q.put({"a": 3, "b": 1}) is None
    assert broken.value.__traceback__ is not None


class _Exit:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def test_an_item_of_a_unique_queue_that_ends_the_program_is_left_to_who_gets_it(path: str) -> None:
    theirs.database(path, old.UniqueQ, ["a", _Exit(), "b"])
    with ours.UniqueQ(path) as q:
        assert q.put("b") is None
        assert [q.get(block=False), q.get(block=False)] == ["a", "b"]


def test_an_item_by_which_a_serializer_of_the_programs_own_ends_the_program_is_damaged(path: str) -> None:
    theirs.file_queue(path, ["a", _Exit(), "b"], chunksize=1)
    with ours.Queue(path, serializer=SimpleNamespace(dump=pickle.dump, load=pickle.load)) as q:
        assert all_of(q) == ["a", "b"]
        assert "SystemExit" in q._line.store.damage[0].reason


def _once(function: Callable[..., Any], error: type[BaseException], at: int) -> Callable[..., Any]:
    """As a signal handler does it in the middle of the nth call."""
    calls = count(1)

    def raising(*args: Any, **options: Any) -> Any:
        if next(calls) == at:
            raise error
        return function(*args, **options)

    return raising


@pytest.mark.parametrize("error", [MemoryError, TimeoutError, SystemExit])
@pytest.mark.parametrize("place", ["info", "item", "written", "msgpack"])
def test_what_a_signal_handler_raises_in_a_conversion_is_no_damage(
    place: str, error: type[BaseException], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the chunk was, or items that were got already came again; and the program didn't end."""
    name = "msgpack" if place == "msgpack" else "pickle"
    theirs.file_queue(path, list("abc"), got=1, name=name)
    serializer: Any = getattr(serializers, name)
    before = theirs.contents(path)
    with monkeypatch.context() as patch:
        if place == "msgpack":
            patch.setattr(msgpack, "loads", _once(msgpack.loads, error, 4))  # two are of the start, and of the info
        elif place == "info":
            patch.setattr(framing, "_plain", _once(framing._plain, error, 1))
        else:
            load, dumps = pickle.load, pickle.dumps
            load = _once(load, error, 3) if place == "item" else load
            dumps = _once(dumps, error, 2) if place == "written" else dumps  # before that it is tried on None
            serializer = SimpleNamespace(dump=pickle.dump, load=load, dumps=dumps, loads=pickle.loads)
        with pytest.raises(error):
            ours.Queue(path, serializer=serializer)
    assert theirs.contents(path) == before
    with ours.Queue(path, serializer=getattr(serializers, name)) as q:
        assert all_of(q) == ["b", "c"]


@pytest.mark.parametrize("error", [TimeoutError, SystemExit])
def test_what_a_signal_handler_raises_as_a_unique_queue_is_opened_is_raised(
    error: type[BaseException], path: str
) -> None:
    """The item stayed in persist-queue's bytes, in which equal ones aren't found."""
    theirs.database(path, old.UniqueQ, [{"b": 1, "a": 2}])
    ours.SQLiteQueue(path).close()
    own: Any = SimpleNamespace(**{name: getattr(serializers.pickle, name) for name in ("dump", "load", "dumps")})
    own.loads = _once(serializers.pickle.loads, error, 1)
    with pytest.raises(error):
        ours.UniqueQ(path, serializer=own)
    with ours.UniqueQ(path) as q:
        assert q.put({"a": 2, "b": 1}) is None


def test_a_mapping(path: str) -> None:
    d = old.PDict(path, "settings")
    d["a"], d["ü\0"], d[1], d[b"raw"] = 1, [2], "one", "bytes"
    del d["a"]
    d.close()
    again = ours.PDict(path, "settings")
    assert dict(again) == {"ü\0": [2], "1": "one", b"raw": "bytes"}  # persist-queue stores 1 as text
    assert again["1"] == "one"


def test_all_queues_of_a_database_are_converted_together(path: str) -> None:
    theirs.database(path, old.SQLiteQueue, [1, 2])
    theirs.database(path, old.SQLiteQueue, [3], 'it\'s "other"')
    theirs.database(path, old.FILOSQLiteQueue, [4, 5])
    states = theirs.each_state(path)
    d = old.PDict(path, "d")
    d["k"] = "v"
    d.close()
    ours.PriorityQueue(path, name="new").close()
    assert all_of(ours.SQLiteQueue(path)) == [1, 2]
    assert all_of(ours.SQLiteQueue(path, name='it\'s "other"')) == [3]
    assert all_of(ours.FILOSQLiteQueue(path)) == [5, 4]
    with ours.SQLiteAckQueue(path, auto_resume=False) as q:
        assert {row["data"]: row["status"] for row in q.queue()} == states
    assert ours.PDict(path, "d")["k"] == "v"
    assert sorted(name for name in os.listdir(path) if "-" not in name or "persist" in name) == [
        "data.db",
        "data.db.persist-queue",
    ]


def test_another_name_of_the_file(path: str) -> None:
    theirs.database(path, old.SQLiteQueue, ["a"], db_file_name="mine.sqlite")
    with ours.SQLiteQueue(path, db_file_name="mine.sqlite") as q:
        assert q.get() == "a"
    assert Path(path, "mine.sqlite.persist-queue").exists()


def test_a_name_that_is_a_number(path: str) -> None:
    """persist-queue makes a table's name of whatever it is given; ours was a TypeError."""
    number: Any = 5
    theirs.database(path, old.SQLiteQueue, ["a"], name=number)
    theirs.database(path, old.SQLiteAckQueue, ["b"], name=number)
    mapping = old.PDict(path, number + 2)
    mapping["key"] = "c"
    mapping.close()
    for kind, item in ((ours.SQLiteQueue, "a"), (ours.SQLiteAckQueue, "b")):
        with kind(path, name=number) as q:
            assert all_of(q) == [item]
    with ours.PDict(path, number + 2) as d:
        assert dict(d) == {"key": "c"}


@pytest.mark.parametrize(
    ("kind", "table", "items"),
    [
        (ours.AsyncSQLiteQueue, "queue", ["a", "b", "c"]),
        (ours.AsyncFILOSQLiteQueue, "filo_queue", ["c", "b", "a"]),
        (ours.AsyncUniqueQ, "unique_queue", ["a", "b", "c"]),
    ],
)
def test_an_async_database(tmp_path: Path, kind: Any, table: str, items: list[str]) -> None:
    file = str(tmp_path / "async.db")
    theirs.async_database(file, table)

    async def use() -> list[Any]:
        async with kind(file, name="jobs") as q:
            return [await q.get() for _ in range(await q.qsize())]

    assert asyncio.run(use()) == items


def test_an_async_table_beside_one_of_that_name(path: str) -> None:
    """Both would be the same queue here, and the conversion be refused for it."""
    theirs.database(path, old.SQLiteQueue, ["x"])
    theirs.async_database(f"{path}/data.db", "queue")
    with ours.SQLiteQueue(path) as q, ours.SQLiteQueue(path, name="async") as other:
        assert (all_of(q), all_of(other)) == (["x"], ["a", "b", "c"])


def test_what_stands_in_the_wal_is_taken(path: str) -> None:
    """A process that was killed leaves its commits in the WAL."""
    code = (
        "import sys, persistqueue\nq = persistqueue.SQLiteQueue(sys.argv[1])\n"
        "for n in range(100): q.put(n)\nprint('there', flush=True)\nsys.stdin.read()"
    )
    with running(code, path) as child:
        assert said(child) == "there"
        child.kill()
    assert os.path.getsize(f"{path}/data.db-wal") > 0
    assert all_of(ours.SQLiteQueue(path)) == list(range(100))


# What comes of it


def test_the_original_goes_on_with_persist_queue(path: str) -> None:
    """Who wants to go back can."""
    theirs.file_queue(path, ITEMS, got=3, chunksize=10)
    theirs.database(f"{path}-db", old.SQLiteQueue, ITEMS)
    with ours.Queue(path) as q:
        q.get()
    ours.SQLiteQueue(f"{path}-db").close()
    back = old.Queue(f"{path}.persist-queue")
    assert [back.get()["n"] for _ in range(47)] == list(range(3, 50))
    del back
    os.rename(f"{path}-db/data.db.persist-queue", f"{path}-db/old.db")
    again = old.SQLiteQueue(f"{path}-db", db_file_name="old.db")
    assert [again.get()["n"] for _ in range(50)] == list(range(50))
    again.close()


@pytest.mark.parametrize("kind", ["Queue", "SQLiteQueue"])
def test_who_has_gone_back_to_persist_queue_comes_again(path: str, kind: str) -> None:
    """What ours has left beside it, as the mark of the ids that were given, is no sign of damage then."""
    theirs.file_queue(path, ["a"]) if kind == "Queue" else theirs.database(path, old.SQLiteQueue, ["a"])
    with getattr(ours, kind)(path) as q:
        for n in range(50):
            q.put(n)
    if kind == "Queue":
        shutil.rmtree(path)
        os.rename(f"{path}.persist-queue", path)
        theirs.file_queue(path, ["b"])
    else:
        os.replace(f"{path}/data.db.persist-queue", f"{path}/data.db")
        theirs.database(path, old.SQLiteQueue, ["b"])
    with getattr(ours, kind)(path) as q:
        assert all_of(q) == ["a", "b"]
        assert not (q._line.store if kind == "Queue" else q._store).damage


def test_a_conversion_says_what_it_did(path: str, caplog: pytest.LogCaptureFixture) -> None:
    theirs.database(path, old.SQLiteQueue, [1, 2, 3])
    ours.SQLiteQueue(path).close()
    ours.SQLiteQueue(path).close()
    [record] = [record for record in caplog.records if record.name == "pqadapters.conversion"]
    assert "queue_default: 3" in record.getMessage()
    assert record.getMessage().endswith("data.db.persist-queue")


def test_a_conversion_of_a_file_queue_says_what_it_did(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """And not that the queue was used meanwhile."""
    theirs.file_queue(path, [1, 2, 3])
    ours.Queue(path).close()
    ours.Queue(path).close()
    [record] = [record for record in caplog.records if record.name == "pqadapters.conversion"]
    assert "default: 3" in record.getMessage()
    assert record.getMessage().endswith("mypath.persist-queue")


def test_another_process_finds_the_converted_one(path: str) -> None:
    theirs.database(path, old.SQLiteQueue, ["a"])
    ours.SQLiteQueue(path).close()
    code = "import sys, pqadapters.persistqueue as o; print(o.SQLiteQueue(sys.argv[1]).get())"
    assert run(code, path) == "a"


def test_the_example_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    theirs.database("jobs", old.SQLiteQueue, ["a", "b"])
    names: dict[str, Any] = {}
    text = (Path(__file__).resolve().parents[2] / "docs" / "coming-from-persist-queue.md").read_text()
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(example, names)
    assert all_of(names["q"]) == ["a", "b"]
    names["q"].close()
    for kept in re.findall(r"`(jobs/data\.db\.[a-z-]+)`", text):
        assert Path(kept).exists()
