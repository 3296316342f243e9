"""`MySQLQueue`: a database of a server, which several hosts share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import persistqueue as old
import pytest

from pqadapters.errors import StoreRefused, StoreUnreachable
from pqadapters.persistqueue import Empty, Full, MySQLQueue, serializers
from pqadapters.persistqueue.conversion import moving, servers
from pqadapters.stores.mysql import guest
from pqadapters.stores.mysql.driver import FLAGS
from tests.contract.threads import Task
from tests.mysql.proxy import How, Proxy
from tests.mysql.server import Server, shared
from tests.segment.programs import PATIENCE, run, running

from . import theirs

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


def test_no_password_is_an_empty_one(where: dict[str, Any]) -> None:
    """It was a TypeError about bytes; PyMySQL, and so persist-queue, takes it."""
    with MySQLQueue(**{**where, "passwd": None}) as q:
        assert q.put("a")


def test_a_connection_for_the_programs_own_statements(where: dict[str, Any]) -> None:
    """As persist-queue's own tests clean up by."""
    q = MySQLQueue(**where)
    q.put("a")
    connection = q.get_pooled_conn()
    with connection.cursor() as cursor:
        cursor.execute(f"drop table if exists {q._table_name}")
        cursor.execute("select database()")
        assert cursor.fetchall() == ((where["db_name"],),)
    assert (connection._read_timeout, connection.client_flag & FLAGS) == (None, 0)  # as PyMySQL makes one
    connection.commit()
    connection.close()
    assert q.get() == "a"
    q.close()


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
    with pytest.raises(ValueError, match="PQADAPTERS_SIGNING_KEY") as refused:
        MySQLQueue(**where)
    assert "signing_key=" not in str(refused.value)  # no argument of persist-queue's
    q = MySQLQueue(**where, serializer=serializers.json)
    q.put({"a": 1})
    assert q.get() == {"a": 1}
    q.close()


# What persist-queue has written


def _theirs(where: dict[str, Any], name: str, serializer: str, count: int = 30) -> None:
    q = old.MySQLQueue(**where, name=name, serializer=theirs.serializer(serializer))
    for n in range(count):
        q.put({"n": n})
    q.get()


def test_what_needs_no_signature_is_converted(
    where: dict[str, Any], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    _theirs(where, "mail", "json")
    _theirs(where, "mail2", "json")
    with MySQLQueue(**where, name="mail", serializer=serializers.json) as q:
        assert [q.get()["n"] for _ in range(q.size)] == list(range(1, 30))
    MySQLQueue(**where, name="mail", serializer=serializers.json).close()
    tables = {row[0] for row in server.run("SHOW TABLES", database=where["db_name"])}
    assert {"kept_queue_mail", "queue_mail2"} <= tables
    assert not {"queue_mail", "kept_queue_mail2"} & tables
    _theirs(where, "mail", "json", 3)  # somebody goes on with persist-queue
    with MySQLQueue(**where, name="mail", serializer=serializers.json) as q:
        assert [q.get()["n"] for _ in range(q.size)] == [1, 2]
    tables = {row[0] for row in server.run("SHOW TABLES", database=where["db_name"])}
    assert {"kept_queue_mail", "kept_queue_mail#2"} <= tables


def test_what_is_converted_is_whole_whatever_the_server_limits(
    where: dict[str, Any], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit for every SELECT hid the table, and the queue was empty."""
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    _theirs(where, "mail", "json")
    before = server.run("SELECT @@sql_select_limit")[0][0]
    server.run("SET GLOBAL sql_select_limit = 3, autocommit = 0, tx_read_only = 1")
    try:
        with MySQLQueue(**where, name="mail", serializer=serializers.json) as q:
            assert [q.get()["n"] for _ in range(q.size)] == list(range(1, 30))
    finally:
        server.run(f"SET GLOBAL sql_select_limit = {before}, autocommit = 1, tx_read_only = 0")


def test_what_is_not_signed_is_not_taken_for_the_programs_own(where: dict[str, Any], server: Server) -> None:
    """Whoever can write to the server can make a table that looks like persist-queue's, with a pickle in it."""
    _theirs(where, "jobs", "pickle")
    for serializer in (serializers.pickle, serializers.json):
        with pytest.raises(StoreRefused, match="pqadapters migrate mysql://root@"):
            MySQLQueue(**where, name="jobs", serializer=serializer)
    MySQLQueue(**where, name="ours").close()
    assert server.run("SELECT COUNT(*) FROM queue_jobs", database=where["db_name"]) == ((29,),)


def test_a_conversion_that_was_killed_goes_on(
    where: dict[str, Any], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind each of its steps: nothing is there twice, nothing is missing, and who opens the queue sees all of it."""
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    _theirs(where, "mail", "json", 50)
    for steps in range(1, 14, 2):
        with running(_KILLED, *(where[name] for name in ("user", "passwd", "db_name", "port")), steps) as child:
            child.wait(60)
    with MySQLQueue(**where, name="mail", serializer=serializers.json) as q:
        assert [q.get()["n"] for _ in range(q.size)] == list(range(1, 50))
    assert server.run("SELECT COUNT(*) FROM kept_queue_mail", database=where["db_name"]) == ((49,),)


_KILLED = """
import os, signal, sys
from pqadapters.persistqueue import MySQLQueue, serializers
from pqadapters.persistqueue.conversion import moving
from pqadapters.stores.mysql import MysqlStore
from pqadapters.stores.mysql.guest import Guest

moving._AT_ONCE = 10
left = int(sys.argv[5])

def counted(method):
    def call(self, *arguments, **options):
        global left
        found = method(self, *arguments, **options)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return call

MysqlStore.commit, Guest.ask = counted(MysqlStore.commit), counted(Guest.ask)
MySQLQueue(
    host="127.0.0.1", user=sys.argv[1], passwd=sys.argv[2], db_name=sys.argv[3], port=int(sys.argv[4]), name="mail",
    serializer=serializers.json,
).close()
"""


@pytest.mark.parametrize("how", [How.CUT_BEFORE, How.CUT_AFTER])
@pytest.mark.parametrize("step", [b"RENAME TABLE", b"_id > 21 "])
def test_a_connection_that_is_cut_breaks_it_off_and_the_next_opening_goes_on(
    where: dict[str, Any], server: Server, monkeypatch: pytest.MonkeyPatch, how: How, step: bytes
) -> None:
    """It said that nothing was stored, behind some hundred items that were."""
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    monkeypatch.setattr(moving, "_AT_ONCE", 20)
    monkeypatch.setattr(servers, "_AT_ONCE", 20)
    _theirs(where, "mail", "json", 50)
    with Proxy(server.port) as proxy:
        proxy.at(step, how)
        through = {**where, "port": proxy.port}
        with pytest.raises(StoreUnreachable, match=r"broken off.*goes on where it was"):
            MySQLQueue(**through, name="mail", serializer=serializers.json).close()
        assert proxy.came.is_set()
    with MySQLQueue(**where, name="mail", serializer=serializers.json) as q:
        assert [q.get()["n"] for _ in range(q.size)] == list(range(1, 50))


def test_what_was_broken_off_and_what_came_since_are_told_together(
    where: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two originals the last one alone was told of."""
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    monkeypatch.setattr(moving, "_AT_ONCE", 20)
    monkeypatch.setattr(servers, "_AT_ONCE", 20)
    _theirs(where, "mail", "json", 50)
    with Proxy(shared().port) as proxy:
        proxy.at(b"_id > 21 ", How.CUT_BEFORE)
        with pytest.raises(StoreUnreachable, match="broken off"):
            MySQLQueue(**{**where, "port": proxy.port}, name="mail", serializer=serializers.json).close()
    _theirs(where, "mail", "json", 3)  # somebody goes on with persist-queue
    with MySQLQueue(**where, name="mail", serializer=serializers.json) as q:
        assert [q.get()["n"] for _ in range(q.size)] == [*range(1, 50), 1, 2]
    assert "(queue_mail: 51). The original is kept as table kept_queue_mail" in caplog.text
    assert "and table kept_queue_mail#2" in caplog.text


def test_a_server_that_stores_names_in_small_letters_has_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue was empty, and what persist-queue had put stayed where nobody looks."""
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY", raising=False)
    monkeypatch.setattr(moving, "_AT_ONCE", 20)
    monkeypatch.setattr(servers, "_AT_ONCE", 20)
    small = Server(lower_case_table_names=1)
    try:
        small.start()
        with small.database() as url, Proxy(small.port) as proxy:
            where: dict[str, Any] = {"host": "127.0.0.1", "user": "root", "passwd": ""}
            where["db_name"] = urlsplit(url).path[1:]
            _theirs({**where, "port": small.port}, "Mail", "json", 50)
            proxy.at(b"_id > 21 ", How.CUT_BEFORE)
            with pytest.raises(StoreUnreachable, match="broken off"):
                MySQLQueue(**where, port=proxy.port, name="Mail", serializer=serializers.json).close()
            with MySQLQueue(**where, port=small.port, name="Mail", serializer=serializers.json) as q:
                assert [q.get()["n"] for _ in range(q.size)] == list(range(1, 50))
    finally:
        small.close()


def test_a_server_that_turns_silent_while_a_queue_is_opened_is_told_of(
    where: dict[str, Any], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was waited for without end."""
    monkeypatch.setattr(guest, "_PATIENCE", 0.5)
    with Proxy(server.port) as proxy:
        proxy.at(b"information_schema.columns", How.HANG)
        with pytest.raises(StoreUnreachable):
            Task(lambda: MySQLQueue(**{**where, "port": proxy.port}), patience=PATIENCE).result()


def test_two_that_open_at_once_convert_once(where: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    _theirs(where, "mail", "json", 200)
    barrier = threading.Barrier(4)
    sizes: list[int] = []

    def use() -> None:
        barrier.wait()
        with MySQLQueue(**where, name="mail", serializer=serializers.json) as q:
            sizes.append(q.size)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sizes == [199] * 4


def test_rows_that_are_no_items(
    where: dict[str, Any], server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("PQADAPTERS_SIGNING_KEY")
    _theirs(where, "mail", "json", 3)
    server.run("INSERT INTO queue_mail (data, timestamp) VALUES (NULL, 1)", database=where["db_name"])
    with MySQLQueue(**where, name="mail", serializer=serializers.json) as q:
        assert q.size == 2
    assert "row 4 of table kept_queue_mail: its data is NoneType" in caplog.text


def test_another_programs_table_is_left_alone(where: dict[str, Any], server: Server) -> None:
    server.run("CREATE TABLE queue_sql (_id INT, data BLOB, timestamp FLOAT, tenant INT)", database=where["db_name"])
    server.run("CREATE TABLE kept_queue_sql (_id INT, data BLOB, timestamp FLOAT)", database=where["db_name"])
    with MySQLQueue(**where) as q:
        assert not q.size
    assert server.run("SELECT COUNT(*) FROM kept_queue_sql", database=where["db_name"]) == ((0,),)
