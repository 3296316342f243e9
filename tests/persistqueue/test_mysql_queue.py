"""`MySQLQueue`: a database of a server, which several hosts share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from pqadapters.errors import StoreRefused
from pqadapters.persistqueue import Empty, Full, MySQLQueue, serializers
from tests.mysql.server import Server, shared
from tests.segment.programs import run

KEY = "0123456789abcdef" * 2
_README = """
import os, sys
import pqadapters.persistqueue as persistqueue
db_conf = {
    "host": "127.0.0.1",
    "user": sys.argv[1],
    "passwd": sys.argv[2],
    "db_name": sys.argv[3],
    # "name": "",
    "port": int(sys.argv[4]),
}
q = persistqueue.MySQLQueue(name="testtable", **db_conf)
"""


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    with shared().database() as url:
        parts = urlsplit(url)
        yield {
            "host": parts.hostname,
            "user": parts.username,
            "passwd": parts.password or "",
            "db_name": parts.path[1:],
            "port": parts.port,
        }


@pytest.fixture
def server() -> Server:
    return shared()


def test_the_readmes_example(where: dict[str, Any]) -> None:
    arguments = [where[name] for name in ("user", "passwd", "db_name", "port")]
    first = _README + "q.put('str1'); q.put('str2'); q.put('str3'); print(repr(q.get())); del q"
    assert run(first, *arguments) == "'str1'"
    assert run(_README + "print(repr(q.get()))", *arguments) == "'str2'"


def test_what_a_sqlite_queue_has(where: dict[str, Any]) -> None:
    q, other = MySQLQueue(**where, maxsize=2), MySQLQueue(**where)
    id = q.put("a")
    assert q.put_nowait(b"x" * 100_000)
    with pytest.raises(Full):
        q.put("c", timeout=0.01)
    assert (q.size, other.qsize(), len(q), q.full(), q.name) == (2, 2, 2, True, "sql")
    assert q.update("b", id=id) == id
    assert [row["data"] for row in other.queue()] == ["b", b"x" * 100_000]
    assert other.get(raw=True)["data"] == "b"
    assert other.get() == b"x" * 100_000
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    got: list[Any] = []
    waiter = threading.Thread(target=lambda: got.append(other.get()))
    waiter.start()
    q.put("late")
    waiter.join(30)
    assert got == ["late"]
    q.close()
    other.close()


def test_without_auto_commit_what_was_not_done_comes_again(where: dict[str, Any]) -> None:
    q = MySQLQueue(**where, auto_commit=False)
    for item in "abc":
        q.put(item)
    q.get()
    q.task_done()
    q.get()
    q.close()
    again = MySQLQueue(**where)
    assert [again.get(), again.get()] == ["b", "c"]
    again.close()


def test_pickles_need_a_key_and_json_none(where: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    with pytest.raises(ValueError, match="PQADAPTERS_SIGNING_KEY"):
        MySQLQueue(**where)
    q = MySQLQueue(**where, serializer=serializers.json)
    q.put({"a": 1})
    assert q.get() == {"a": 1}
    q.close()


def test_a_queue_of_persist_queue_is_not_hidden(where: dict[str, Any], server: Server) -> None:
    columns = "(_id INTEGER PRIMARY KEY AUTO_INCREMENT, data BLOB, timestamp FLOAT)"
    server.run(f"CREATE TABLE queue_theirs {columns}", database=where["db_name"])
    with pytest.raises(StoreRefused, match="queue_theirs, which persist-queue wrote"):
        MySQLQueue(**where, name="theirs")
    MySQLQueue(**where, name="ours").close()
