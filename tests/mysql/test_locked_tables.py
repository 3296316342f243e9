"""Others hold tables of the store (LOCK TABLES, ALTER TABLE, a backup): calls end in their time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest

from pqadapters.errors import StoreUnreachable
from pqadapters.store import Ack, Put, Set
from pqadapters.stores._line import Line
from pqadapters.stores.mysql import MysqlStore
from pqadapters.stores.mysql.reader import Reader
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE

from .server import Server


@contextmanager
def _locked(server: Server, url: str, *tables: str) -> Iterator[None]:
    with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as other:
        other.cursor().execute(f"LOCK TABLES {', '.join(f'pqa_{table} WRITE' for table in tables)}")
        yield


def test_a_look_waits_once_for_what_is_locked(server: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DBUtils took that for a lost connection and asked three times, each of which waited as long for the lock."""
    with MysqlStore(url) as store:
        store.commit(Set("t", b"k", b"v"))
        asked, tried = list[str](), list[object]()
        query, ask = pymysql.cursors.Cursor._query, Reader._ask

        def asking(cursor: Any, text: str) -> Any:
            if cursor.connection.open:
                asked.append(text)
            return query(cursor, text)

        def trying(reader: Reader, question: Any) -> Any:
            if not threading.current_thread().name.startswith("pqadapters"):  # threads of the store look, too
                tried.append(question)
            return ask(reader, question)

        monkeypatch.setattr(pymysql.cursors.Cursor, "_query", asking)
        monkeypatch.setattr(Reader, "_ask", trying)
        with _locked(server, url, "entries"), pytest.raises(StoreUnreachable, match="others have locked"):
            Task(lambda: store.get("t", b"k"), patience=PATIENCE).result()
        assert 0 < sum("value FROM pqa_entries" in text for text in asked) == len(tried)
        assert store.get("t", b"k") == b"v"


_CALLS: dict[str, Callable[[MysqlStore], object]] = {
    "commit": lambda store: store.commit(Put("new", b"a", limit=9), Set("new", b"k", b"v")),
    "commit at once": lambda store: store.commit(Put("new", b"a", rank=b"r"), timeout=0.0),
    "claim": lambda store: store.claim("q", timeout=PATIENCE),
    "claim nothing": lambda store: store.claim("empty"),
    "depth": lambda store: store.depth("q"),
    "wait": lambda store: store.wait("q", lambda depth: depth.ready > 5, 0.0),
    "browse": lambda store: store.browse("q"),
    "get": lambda store: store.get("t", b"k"),
    "count": lambda store: store.count("t"),
    "snapshot": lambda store: store.snapshot("t"),
    "close": lambda store: store.close(),
}


@pytest.mark.parametrize("name", _CALLS)
def test_the_steps_of_a_call_share_its_time(url: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each of them had 5 seconds of its own for what was locked, so that a call took 17 seconds, and 44."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"), Put("q", b"b"), Put("empty", b"c"), Set("t", b"k", b"v"))
        store.claim("empty")
        monkeypatch.setattr(store._core.keeper, "watch", lambda: None)  # what is put off is the call's to carry out
        store._ahead.put_off([*map(Ack, store.claim("q"))], store._core.process)
        store._core.names.forget()
        me, until = threading.get_ident(), list[float]()
        ask, do = Reader._ask, Line.do

        def asking(reader: Reader, question: Any) -> Any:
            if threading.get_ident() == me:
                until.append(reader._local.deadline)
            return ask(reader, question)

        def doing(line: Line, work: Any) -> Any:
            if threading.get_ident() == me:
                until.append(work.deadline)
            return do(line, work)

        monkeypatch.setattr(Reader, "_ask", asking)
        monkeypatch.setattr(Line, "do", doing)
        _CALLS[name](store)
        monkeypatch.undo()
    assert len(until) > 1
    assert max(until) == until[0]  # a commit's own may be a moment earlier


def test_a_name_that_is_looked_up_in_a_transaction_is_waited_for_as_the_rest_of_it(server: Server, url: str) -> None:
    """It had 5 seconds, in which nothing else was committed, and then the call failed that had time left."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a", limit=9))
        tried, pause = list[None](), threading.Event()

        def stop() -> bool:
            store._core.names.forget()  # as when others have taken the process for dead
            tried.append(None)
            return False

        with _locked(server, url, "queues"):
            put = Task(lambda: store.commit(Put("q", b"b", limit=9), stop=stop, timeout=PATIENCE), patience=PATIENCE)
            while len(tried) < 3 and put.running:
                assert not pause.wait(0.01)
        assert put.result()
