"""Names, modules and arguments are those of persist-queue 1.1.0."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import persistqueue as old
import pytest

import pqadapters.persistqueue as persistqueue
from pqadapters.errors import StoreClosed
from pqadapters.serializers import msgpack

_DATABASE = "path name multithreading timeout auto_commit serializer db_file_name"
_ACK = "path auto_resume name multithreading timeout auto_commit serializer db_file_name"
_FILE = "path maxsize chunksize tempdir serializer autosave"

MODULES = {
    "queue": {"Queue": _FILE},
    "sqlqueue": dict.fromkeys(("SQLiteQueue", "FIFOSQLiteQueue", "FILOSQLiteQueue", "UniqueQ"), _DATABASE),
    "priorityqueue": {"PriorityQueue": _DATABASE},
    "sqlackqueue": dict.fromkeys(
        ("SQLiteAckQueue", "FIFOSQLiteAckQueue", "FILOSQLiteAckQueue", "UniqueAckQ"), _ACK
    ),
    "mysqlqueue": {"MySQLQueue": "host user passwd db_name name port charset auto_commit serializer"},
    "pdict": {"PDict": "path name multithreading"},
    "async_queue": {"AsyncQueue": _FILE},
    "async_sqlqueue": dict.fromkeys(
        ("AsyncSQLiteQueue", "AsyncFIFOSQLiteQueue", "AsyncFILOSQLiteQueue", "AsyncUniqueQ"), _DATABASE
    ),
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in MODULES for name in MODULES[module]])
def test_a_class_takes_the_same_arguments_in_the_same_order(module: str, name: str) -> None:
    found = getattr(importlib.import_module(f"pqadapters.persistqueue.{module}"), name)
    assert getattr(persistqueue, name) is found
    arguments = list(inspect.signature(found).parameters)
    assert [argument for argument in arguments if argument != "maxsize" or "maxsize" in MODULES[module][name]][
        : len(MODULES[module][name].split())
    ] == MODULES[module][name].split()


def test_the_version_is_the_one_whose_names_these_are() -> None:
    assert persistqueue.__version__ == old.__version__


def test_empty_and_full_are_the_standard_librarys() -> None:
    for module in [module for module in MODULES if module != "pdict"] + ["exceptions"]:
        found: Any = importlib.import_module(f"pqadapters.persistqueue.{module}")
        assert (found.Empty, found.Full) == (queue.Empty, queue.Full)
    assert (persistqueue.Empty, persistqueue.Full) == (queue.Empty, queue.Full)


@pytest.mark.parametrize("name", ["pickle", "json", "msgpack", "cbor2"])
def test_serializers_are_modules(name: str) -> None:
    module: Any = importlib.import_module(f"pqadapters.persistqueue.serializers.{name}")
    assert getattr(persistqueue.serializers, name) is module
    assert module.loads(module.dumps({"b": 1, "a": [2]}, sort_keys=True)).keys() == {"a", "b"}


def test_pickles_have_persist_queues_protocol(tmp_path: Any) -> None:
    """Programs look at `serializers.pickle.protocol`, and read what is stored with a `load` of their own."""
    serializer: Any = persistqueue.serializers.pickle
    assert serializer.protocol == 4
    assert serializer.dumps({"b": 1, "a": 2}, sort_keys=True)[:2] == b"\x80\x04"

    class Raw:
        dump = staticmethod(serializer.dump)

        @staticmethod
        def load(fp: Any) -> bytes:
            data: bytes = fp.read()
            return data

    q = persistqueue.Queue(str(tmp_path), serializer=Raw)
    q.put(b"a")
    assert q.get() == pickle.dumps(b"a", protocol=4)


def test_what_is_no_serializer_is_the_error_that_persist_queue_raises(tmp_path: Any) -> None:
    for kind in (persistqueue.Queue, persistqueue.AsyncQueue, persistqueue.SQLiteQueue):
        for expected in (AttributeError, TypeError):
            with pytest.raises(expected, match="not a serializer"):
                kind(str(tmp_path), serializer=object())
    assert not list(tmp_path.iterdir())


def test_a_serializer_without_its_library_is_said_at_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file queue said at the first put that it couldn't keep an item of this type."""
    monkeypatch.setitem(sys.modules, "msgpack", None)
    msgpack._library.cache_clear()
    for kind in (persistqueue.Queue, persistqueue.SQLiteQueue, persistqueue.AsyncQueue):
        with pytest.raises(ImportError, match=r"pip install 'pqadapters\[msgpack\]'"):
            kind(str(tmp_path / "q"), serializer=persistqueue.serializers.msgpack)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["Queue", "SQLiteQueue", "UniqueQ", "PriorityQueue", "SQLiteAckQueue", "PDict"])
def test_a_subclass_whose_del_calls_its_bases(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """persist-queue's have one: an AttributeError was said to be ignored for each object that was dropped."""
    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    base: Any = getattr(persistqueue, name)

    class Own(base):  # type: ignore[misc]
        def __del__(self) -> None:
            dropped.append(type(self))
            super().__del__()

    dropped: list[type] = []
    made = Own(str(tmp_path), *(["name"] if name == "PDict" else []))
    del made
    gc.collect()
    assert (dropped, said) == ([Own], [])


def test_who_calls_del_closes_a_database_queue(tmp_path: Any) -> None:
    for kind in (persistqueue.SQLiteQueue, persistqueue.SQLiteAckQueue):
        q: Any = kind(str(tmp_path))
        q.__del__()
        with pytest.raises(StoreClosed):
            q.put(1)


_WRONG: dict[str, Callable[[Any], object]] = {
    "both": lambda q: q.ack(1, id=1),
    "neither": lambda q: q.nack(),
    "order": lambda q: q.get(False, next_in_order=True),
    "no flag": lambda q: q.get(False, id=1, next_in_order=2),
    "timeout": lambda q: q.get(timeout=-1),
    "update": lambda q: q.update(1),
}


def _said(call: Callable[[], object]) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    pytest.fail("it raised nothing")


@pytest.mark.parametrize("wrong", _WRONG)
def test_errors_of_acknowledging_queues_have_persist_queues_text(tmp_path: Any, wrong: str) -> None:
    """Programs look at it, and so do their tests."""
    said = []
    for package in (old, persistqueue):
        q: Any = package.SQLiteAckQueue(str(tmp_path / package.__name__))
        said.append(_said(lambda: _WRONG[wrong](q)))  # noqa: B023  # called at once
        q.close()
    assert said[0] == said[1]


def test_a_task_done_too_many_has_persist_queues_text(tmp_path: Any) -> None:
    """That of its async queue has no full stop."""
    queues = [package.Queue(str(tmp_path / package.__name__)) for package in (old, persistqueue)]
    assert [_said(q.task_done) for q in queues] == ["task_done() called too many times."] * 2
    queue = persistqueue.AsyncQueue(str(tmp_path / "async"))
    assert _said(lambda: asyncio.run(queue.task_done())) == "task_done() called too many times"


def test_the_states_have_persist_queues_spelling() -> None:
    status = persistqueue.AckStatus
    assert (status.inited, status.ready, status.unack, status.acked, status.ack_failed) == ("0", "1", "2", "5", "9")


def test_what_is_loaded_when_it_is_asked_for_is_listed_from_the_start_on() -> None:
    program = (
        "import pqadapters.persistqueue as persistqueue, sys\n"
        "print(*dir(persistqueue))\nprint(persistqueue.pdict.PDict)\n"
        "from pqadapters.persistqueue import *\nprint(AsyncQueue, 'pqadapters.stdlib.asyncio' in sys.modules)\n"
        "print(hasattr(persistqueue, 'nothing'))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    names, mapping, queue, other = done.stdout.splitlines()
    assert {*MODULES, *persistqueue.__all__} <= {*names.split()}
    assert mapping == "<class 'pqadapters.persistqueue.pdict.PDict'>"
    assert (queue, other) == ("<class 'pqadapters.persistqueue.async_queue.AsyncQueue'> False", "False")
