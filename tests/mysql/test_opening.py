"""Opening a store on a server: what is refused, in which words, and what is in none of them."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest

from pqadapters.commands.failures import Failure
from pqadapters.commands.places import find
from pqadapters.errors import FormatError, StoreRefused, StoreUnreachable
from pqadapters.opening import open_store, visit_server
from pqadapters.store import LOCK_TIMEOUT, Ack, Clear, Delete, Expect, Extend, Nack, Order, Put, Set, State, Update
from pqadapters.stores.mysql import MysqlStore, keeper, schema
from pqadapters.stores.mysql.address import address_of
from pqadapters.stores.mysql.create import prepare
from pqadapters.stores.mysql.errors import is_lost, translated
from pqadapters.stores.mysql.owners import Owners
from pqadapters.stores.mysql.wire import Dialer, Failed
from tests.contract.snapshot import payloads
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, run

from .server import Server

SECRET = "s3cr3t/w@rd:#1"
QUOTED = "s3cr3t%2Fw%40rd%3A%231"


@pytest.fixture
def user(server: Server, url: str) -> Iterator[str]:
    """A user with a password and no more than is needed to work with tables that are there."""
    name = f"user_{url.rpartition('_')[2]}"
    database = url.rpartition("/")[2]
    MysqlStore(url).close()
    server.run(
        f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{SECRET}'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {name}@'127.0.0.1'",
    )
    yield name
    server.run(f"DROP USER {name}@'127.0.0.1'")


def _as(url: str, user: str, password: str = "") -> str:
    return url.replace("root@", f"{user}{':' + password if password else ''}@")


def _refusal(
    url: str, kind: type[Exception], *, open_store: Callable[..., object] = open_store, **options: Any
) -> str:
    with pytest.raises(kind) as caught:
        Task(lambda: open_store(url, **options), patience=PATIENCE).result()
    seen = [str(caught.value), repr(caught.value)]
    cause: BaseException | None = caught.value
    while cause is not None:
        seen.append(repr(cause))
        cause = cause.__cause__ or cause.__context__
    assert not any(secret in text for text in seen for secret in (SECRET, QUOTED)), seen
    return str(caught.value)


def test_least_privileges_are_enough_for_everything_but_making_tables(url: str, user: str) -> None:
    with MysqlStore(_as(url, user, QUOTED)) as store, MysqlStore(_as(url, user, QUOTED)) as other:
        store.commit(*(Put("q", b"%d" % n, rank=b"%d" % (n % 2)) for n in range(8)), Put("q", b"", limit=20))
        store.commit(Put("q", b"later", not_before=1.0, limit_bytes=1000), Put("d", b"", not_before=9e9))
        a, b, c, d = store.claim("q", limit=4, order=Order.RANK)
        store.commit(Ack(a), Nack(b), Nack(c, dead="no"), Update(d, b"x"), Extend(d, 60.0))
        store.commit(Set("t", b"k", b"v"), Set("t", b"l", b"v", Expect.ABSENT), Delete("t", b"k"), Clear("u"))
        assert store.depth("q").dead == 1
        assert list(store.scan("t")) == [(b"l", b"v")]
        assert store.snapshot("t", [b"%d" % n for n in range(1500)]) == {}
        assert len(list(store.browse("q", state=State.CLAIMED))) == 1
        store.checkpoint()
        store.close()
        assert len(other.claim("q", limit=20)) == 8


def test_a_user_who_may_not_make_tables_is_told_which_privileges_it_takes(server: Server, url: str, user: str) -> None:
    said = _refusal(_as(url, user, QUOTED), StoreRefused, prefix="other_")
    assert "CREATE" in said
    assert user in said


def test_what_was_refused_for_want_of_a_privilege_goes_on_once_it_is_granted(
    server: Server, url: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server looks at the grants when a connection comes, and the store kept those that it had: all was refused until
    the process began anew, and what it held was others' when its lease was over."""
    update = f"UPDATE ON {url.rpartition('/')[2]}.* {{}} {user}@'127.0.0.1'"
    monkeypatch.setattr(keeper.Keeper, "ensure", lambda self: None)
    with MysqlStore(_as(url, user, QUOTED)) as store:
        server.run(f"REVOKE {update.format('FROM')}", f"KILL USER {user}")
        for _ in range(2):
            with pytest.raises(StoreRefused, match="UPDATE"):
                store.commit(Put("q", b"a"))
        with pytest.raises(Failed, match="UPDATE"):
            store._core.owners.renew()
        server.run(f"GRANT {update.format('TO')}")
        store.commit(Put("q", b"a"))
        with suppress(Failed):
            store._core.owners.renew()
        store._core.owners.renew()


def test_what_was_refused_while_a_name_was_made_goes_on_once_it_is_granted(
    server: Server, url: str, user: str
) -> None:
    """Each of the connections that look had the old grants still, and was refused once."""
    insert = f"INSERT ON {url.rpartition('/')[2]}.* {{}} {user}@'127.0.0.1'"
    with MysqlStore(_as(url, user, QUOTED)) as store:
        server.run(f"REVOKE {insert.format('FROM')}", f"KILL USER {user}")
        ask = store._core.reader._patiently
        ask(lambda _: ask(lambda _: store.get("t", b"k")))  # on three connections
        with pytest.raises(StoreRefused, match="INSERT"):
            store.commit(Put("q", b"a"))
        server.run(f"GRANT {insert.format('TO')}")
        store.commit(Put("q", b"a"))


def test_what_was_granted_before_it_is_needed_isnt_refused_once(server: Server, url: str, user: str) -> None:
    """A server looks at the grants when a connection comes: the first acknowledgement, or the first put into a new
    queue, of a program that ran before was refused, and the second one wasn't."""
    grants = f"DELETE, INSERT ON {url.rpartition('/')[2]}.* {{}} {user}@'127.0.0.1'"
    with MysqlStore(_as(url, user, QUOTED)) as store:
        store.commit(Put("q", b"a"))
        (claim,) = store.claim("q")
        server.run(f"REVOKE {grants.format('FROM')}", f"KILL USER {user}")
        store.commit(Nack(claim))  # over a connection with the grants of now
        (claim,) = store.claim("q")
        assert store.depth("q").claimed == 1  # over another one
        with pytest.raises(StoreRefused, match="INSERT"):
            store.commit(Put("q", b"b"))
        with pytest.raises(StoreRefused, match="DELETE"):
            store.commit(Ack(claim))
        store.commit(Extend(claim, 60.0))
        server.run(f"GRANT {grants.format('TO')}")
        store.commit(Ack(claim))
        store.commit(Put("r", b"b"))


def test_a_wrong_password_is_refused_at_once_and_isnt_shown(url: str, user: str, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    said = _refusal(_as(url, user, "wr%40ng"), StoreRefused)
    assert "password" in said
    assert user in said
    assert "wr@ng" not in said + caplog.text


def test_looks_with_a_password_that_was_changed_are_refused_at_once(
    server: Server, url: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were tried again for five seconds: of a connection that was lost, DBUtils says no more than that."""
    with MysqlStore(_as(url, user, QUOTED)) as store:
        store.commit(Put("q", b"a"))
        assert payloads(store) == [b"a"]
        server.run(f"ALTER USER {user}@'127.0.0.1' IDENTIFIED BY 'other'", f"KILL USER {user}")
        monkeypatch.setattr(store._core.reader, "_rest", lambda pause: pytest.fail("there is nothing to wait for"))
        with pytest.raises(StoreRefused, match="password"):
            payloads(store)


@pytest.mark.parametrize("how", ["ACCOUNT LOCK", "PASSWORD EXPIRE"])
def test_an_account_that_is_locked_or_has_expired_is_refused(server: Server, url: str, user: str, how: str) -> None:
    """As a number of the server's: programs that catch StoreRefused didn't know it for one."""
    server.run(f"ALTER USER {user}@'127.0.0.1' {how}")
    assert "Look at the user" in _refusal(_as(url, user, QUOTED), StoreRefused)


@pytest.mark.parametrize("number", [1036, 1047, 1129, 1135, 1792, 1874])
def test_a_server_that_is_of_no_use_for_now_is_waited_for(number: int) -> None:
    """InnoDB read-only, a node without its cluster, a host that is blocked until FLUSH HOSTS, no more threads."""
    error = pymysql.err.OperationalError(number, "for now")
    assert is_lost(error)
    assert isinstance(translated(error, "there"), StoreUnreachable)


def test_a_server_that_goes_in_the_middle_of_its_tls_greeting_is_waited_for() -> None:
    """It was refused, as one that can't do what tls= asks for, and who waited through the outage gave up."""
    text = "EOF occurred in violation of protocol (_ssl.c:1006)"
    for error in (
        pymysql.err.OperationalError(2003, f"Can't connect ([SSL: UNEXPECTED_EOF_WHILE_READING] {text})"),
        ssl.SSLEOFError(8, text),
    ):
        assert is_lost(error)
        assert isinstance(translated(error, "there"), StoreUnreachable)


def test_who_must_come_encrypted_is_told_of_it(server: Server, url: str, user: str) -> None:
    """A server that takes nothing else was told of by its number alone, and a user by the password, which was right."""
    server.run(f"ALTER USER {user}@'127.0.0.1' REQUIRE SSL")
    assert "encrypted (tls=)" in _refusal(_as(url, user, QUOTED), StoreRefused)
    server.run("SET GLOBAL require_secure_transport = 1")
    try:
        assert "Give tls='on'" in _refusal(_as(url, user, QUOTED), StoreRefused)
        with open_store(_as(url, user, QUOTED), tls="on") as store:
            store.commit(Put("q", b"a"))
    finally:
        server.run("SET GLOBAL require_secure_transport = 0")


def test_a_way_to_send_passwords_that_isnt_installed_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """caching_sha2_password without TLS wants `cryptography`, and only when the server has forgotten the password."""

    def connect(**options: object) -> None:
        raise RuntimeError("'cryptography' package is required for sha256_password")

    monkeypatch.setattr(pymysql, "connect", connect)
    assert "'cryptography' package is required" in _refusal(url, StoreRefused)


@pytest.mark.parametrize("name", ["nowhere", "SSLstore"])
def test_a_database_that_isnt_there_is_named(server: Server, name: str) -> None:
    """One with SSL in its name was told to be a matter of tls=."""
    said = _refusal(server.url(name), StoreRefused)
    assert name in said
    assert "CREATE DATABASE" in said


def test_a_host_that_isnt_there_is_named() -> None:
    said = _refusal(f"mysql://me:{QUOTED}@no.such.host.invalid/jobs", StoreUnreachable)
    assert "no.such.host.invalid" in said


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://me:{QUOTED}@host",
        f"mysql://me:{QUOTED}@host/",
        f"mysql://me:{QUOTED}@ho..st/jobs",
        f"mysql://me:{QUOTED}@{'h' * 64}.example/jobs",
        f"mysql://me:{QUOTED}@host/jobs\udcff",
        f"mysql://me:{QUOTED}@host/a/b",
        f"mysql://me:{QUOTED}@host:port/jobs",
        f"mysql://me:{SECRET}@host/jobs",  # not quoted
        f"mysql://me:{QUOTED}@host/jobs?prefetch=many",
        f"mysql://me:{QUOTED}@host/jobs?segment_bytes=1",
        f"mysql://me:{QUOTED}@host/jobs?prefix=a-b",
        f"mysql://me:{QUOTED}@host/jobs?prefix=a;b",
        f"mysql://me:{QUOTED}@host/jobs?prefix={'a' * 33}",
        f"mysql://me:{QUOTED}@host/jobs?tls=maybe",
        f"mysql://me:{QUOTED}@host/jobs?tls=off&tls_ca=/ca.pem",
        f"mysql://me:{QUOTED}@host/jobs?tls_ca=/nowhere/ca.pem",
        f"mysql://me:{QUOTED}@127.0.0.1:1/jobs?tls_key=/nowhere/key.pem",
        f"mysql://me:{QUOTED}@host/jobs?lease=0",
        f"mysql://me:{QUOTED}@host/jobs?prefetch=0",
        f"mysql://me:{QUOTED}@host/jobs#part",
        "mysql://me@host/jobs?password_file=/nowhere/password",
        f"maria://me:{QUOTED}@host/jobs",
    ],
)
def test_bad_urls_and_options_are_refused_without_their_password(url: str) -> None:
    assert "codec" not in _refusal(url, ValueError)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me@host/jobs?password=s3cr3t",
        "mysql://me@host/jobs?prefetch=2&passwd=s3cr3t&tls=on",
        "mysql://me@host/jobs?signing_key=s3cr3t",
        "mysql://me@host/jobs?pasword=s3cr3t",
        "mysql://me@host/jobs?pw=s3cr3t",
        "mysql://me:s3cr3t?s3cr3t@host/jobs",
        "mysql://me:s3cr3t?s3cr3t=1@host/jobs",
        "mysql:me:s3cr3t@host/jobs",
        "mysql:/me:s3cr3t@host/jobs",
        "//me:s3cr3t@host/jobs",
    ],
)
def test_a_url_whose_password_stands_elsewhere_is_refused_without_it(url: str) -> None:
    """`?password=`, as other drivers have it, a `?` that isn't %3F and missing slashes had it in the message."""
    with pytest.raises(ValueError, match=r"is no option|%3F|names no store|write mysql://") as caught:
        open_store(url)
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(Failure) as refused:
        find(url)
    assert "s3cr3t" not in str(refused.value)


def test_the_password_comes_from_a_file_or_the_environment(
    url: str, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(f"\ufeff{SECRET}\n", encoding="utf-8")  # as some editors write it
    bare = _as(url, user)
    with open_store(f"{bare}?password_file={file}") as store:
        store.commit(Put("q", b"a"))
    monkeypatch.setenv("PQADAPTERS_MYSQL_PASSWORD", SECRET)
    with open_store(bare) as store:
        assert payloads(store) == [b"a"]
    _refusal(_as(url, user, "wrong"), StoreRefused)  # what the URL says wins
    monkeypatch.setenv("PQADAPTERS_MYSQL_PASSWORD", os.fsdecode(b"p\xff"))
    assert address_of(bare).options()["password"] == b"p\xff", "it needn't be text"


def test_the_password_is_in_nothing_that_a_store_shows(url: str, user: str) -> None:
    with MysqlStore(_as(url, user, QUOTED)) as store:
        core: Any = store._core
        address = core.dialer.address
        shown = [store.place, repr(store), repr(core), repr(address), str(address), str(vars(store))]
        assert not any(SECRET in text or QUOTED in text for text in shown)
        assert user in store.place


def test_an_ipv6_address_with_its_interface() -> None:
    """`%25`, as RFC 6874 writes the `%`, was looked up as it stands."""
    address = address_of("mysql://me@[fe80::1%25eth0]:3307/jobs")
    assert (address.host, address.port) == ("fe80::1%eth0", 3307)


def test_a_unix_socket(server: Server, url: str) -> None:
    database = url.rpartition("/")[2]
    with open_store(f"mysql://root@localhost/{database}?socket={server.socket}") as store:
        store.commit(Put("q", b"a"))
        assert server.socket in store.place


def test_stores_of_several_prefixes_share_a_database(url: str) -> None:
    with open_store(f"{url}?prefix=one_") as one, open_store(url, prefix="two_") as two:
        one.commit(Put("q", b"one"))
        two.commit(Put("q", b"two"))
        assert (payloads(one), payloads(two)) == ([b"one"], [b"two"])
        assert one.place != two.place


def test_options_in_the_url_and_arguments_that_win(url: str) -> None:
    with open_store(f"{url}?durability=process&prefetch=8&lease=60", prefetch=4) as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(9)))
        store.claim("q")
        assert store.depth("q")[:3] == (8, 0, 1)
        with MysqlStore(url) as other:
            assert other.depth("q")[:3] == (5, 0, 4)


# Versions


def test_tables_of_a_newer_version_are_left_alone(server: Server, url: str) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
    database = url.rpartition("/")[2]
    server.run(f"UPDATE pqa_meta SET number = {schema.VERSION + 1}", database=database)
    with pytest.raises(FormatError, match=rf"version {schema.VERSION + 1}.*upgrade pqadapters"):
        MysqlStore(url)
    server.run("UPDATE pqa_meta SET number = 0", database=database)  # nobody has ever written that
    with pytest.raises(FormatError, match="another prefix="):
        MysqlStore(url)
    server.run(f"UPDATE pqa_meta SET number = {schema.VERSION}", database=database)
    with MysqlStore(url) as store:
        assert payloads(store) == [b"a"]


@pytest.mark.parametrize("table", ["pqa_meta", "pqa_items"])
def test_tables_of_another_program_are_left_alone(server: Server, url: str, table: str) -> None:
    """It was "the server says 1054", and not what to do."""
    database = url.rsplit("/", 1)[1]
    server.run(f"CREATE TABLE {table} (theirs INT)", database=database)
    with pytest.raises(StoreRefused, match=r"another program's.*prefix="), MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
    assert [row[0] for row in server.run(f"SHOW COLUMNS FROM {table}", database=database)] == ["theirs"]
    with MysqlStore(url, prefix="mine_") as store:
        store.commit(Put("q", b"a"))


def test_tables_of_an_older_version_are_brought_up_to_date(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    change = "ALTER TABLE {p}items COMMENT = 'of the next version'"
    monkeypatch.setitem(schema.UPGRADES, schema.VERSION - 1, (change,))
    with MysqlStore(url) as store:
        assert payloads(store) == [b"a"]
    database = url.rpartition("/")[2]
    ((comment,),) = server.run(
        "SELECT table_comment FROM information_schema.tables "
        f"WHERE table_schema='{database}' AND table_name='pqa_items'"
    )
    assert comment == "of the next version"
    assert server.run("SELECT number FROM pqa_meta", database=database) == ((schema.VERSION,),)


@pytest.mark.parametrize("table", ["meta", "queues", "items", "kinds", "entries", "owners"])
def test_i2_tables_of_another_engine_are_refused(server: Server, url: str, table: str) -> None:
    """A commit that was refused had stored what stood before its condition, without a word."""
    MysqlStore(url).close()
    database = url.rpartition("/")[2]
    server.run(f"ALTER TABLE pqa_{table} ENGINE=Aria", database=database)
    message = _refusal(url, StoreRefused)
    assert f"pqa_{table} (Aria)" in message
    server.run(f"ALTER TABLE pqa_{table} ENGINE=InnoDB", database=database)
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))


def test_one_process_at_a_time_makes_the_tables(server: Server, url: str) -> None:
    """Whoever comes meanwhile waits for it: to change the tables of an older version twice would fail."""
    database = url.rpartition("/")[2]
    base = Owners(Dialer(address_of(url), schema.Statements("pqa_")), 30.0).base
    with pymysql.connect(unix_socket=server.socket, user="root", database=database) as maker:
        maker.cursor().execute("SELECT GET_LOCK(%s, 0)", (f"{base}schema",))
        task = Task(lambda: MysqlStore(url), patience=PATIENCE)
        waits = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock'"
        while server.run(waits) == ((0,),):
            assert task.running
        assert server.run("SHOW TABLES", database=database) == ()
        maker.cursor().execute("SELECT RELEASE_LOCK(%s)", (f"{base}schema",))
        task.result().close()
    assert len(server.run("SHOW TABLES", database=database)) == 6


def test_making_the_tables_is_taken_up_where_a_killed_process_left_it(server: Server, url: str) -> None:
    database = url.rpartition("/")[2]
    statements = schema.Statements("pqa_").created()
    server.run(*statements[:3], database=database)
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"), Set("t", b"k", b"v"))
        assert payloads(store) == [b"a"]


# Durability


def test_behind_the_making_of_tables_answers_are_waited_for_as_any(url: str) -> None:
    dialer = Dialer(address_of(url), schema.Statements("pqa_"))
    with closing(dialer.dial(PATIENCE, LOCK_TIMEOUT)) as wire:
        prepare(wire, "lock", "here")
        assert wire.raw._read_timeout == LOCK_TIMEOUT


def test_power_is_refused_where_the_server_doesnt_sync(server: Server, url: str) -> None:
    with MysqlStore(url) as store:
        server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        try:
            with pytest.raises(StoreRefused, match=r"innodb_flush_log_at_trx_commit=1 \(it is 2\)"):
                MysqlStore(url)
            with MysqlStore(url, durability="process") as careless:
                careless.commit(Put("q", b"a"))
                with pytest.raises(StoreRefused, match="durability"):
                    MysqlStore(url, durability="power")
                careless.commit(Put("q", b"b"))
        finally:
            server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        assert payloads(store) == [b"a", b"b"]


def test_each_call_to_a_server_that_syncs_no_more_has_an_error_of_its_own(server: Server, url: str) -> None:
    """It was one for all, and kept the frames of each of them."""
    with MysqlStore(url) as store:
        server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        try:
            with store._core.writer.lock:
                store._core.writer.disconnect_locked()
            errors: list[StoreRefused] = []
            for _ in range(2):
                with pytest.raises(StoreRefused, match="innodb_flush_log_at_trx_commit=1") as caught:
                    store.commit(Put("q", b"a"))
                errors.append(caught.value)
            assert errors[0] is not errors[1]
        finally:
            server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


def test_power_is_refused_where_the_binary_log_isnt_synced() -> None:
    other = Server(log_bin="binlog", sync_binlog=0)
    try:
        other.start(skip_log_bin=0)
        with other.database() as url:
            with pytest.raises(StoreRefused, match="sync_binlog=1"):
                MysqlStore(url)
            other.run("SET GLOBAL sync_binlog = 1")
            with MysqlStore(url) as store:
                store.commit(Put("q", b"a"))
    finally:
        other.close()


def test_the_servers_defaults_for_sessions_change_nothing(server: Server, url: str) -> None:
    """A limit for every SELECT cut scans short without a word; others ended connections, and refused statements."""
    before = server.run("SELECT @@sql_select_limit")[0][0]
    server.run("SET GLOBAL sql_select_limit = 3, completion_type = 2, sql_safe_updates = 1, autocommit = 0")
    server.run("SET GLOBAL max_statement_time = 9")
    try:
        with MysqlStore(url) as store:
            store.commit(*(Put("q", b"%d" % n) for n in range(9)), *(Set("t", b"%d" % n, b"v") for n in range(9)))
            assert len(payloads(store)) == len(list(store.scan("t"))) == len(store.snapshot("t")) == 9
            assert len(store.claim("q", limit=9)) == 9
            store.checkpoint()
            assert store._core.reader.rows("SELECT @@max_statement_time") == ((0,),)
    finally:
        server.run(
            f"SET GLOBAL sql_select_limit = {before}, completion_type = 0, sql_safe_updates = 0, autocommit = 1",
            "SET GLOBAL max_statement_time = 0",
        )


def test_what_the_server_does_with_each_connection_changes_nothing(server: Server, url: str, user: str) -> None:
    """The driver hears nothing of it: a process locked its own row, and no call came to an end."""
    server.run(
        f"GRANT ALL ON {url.rpartition('/')[2]}.* TO {user}@'127.0.0.1'",
        "SET GLOBAL init_connect = 'SET autocommit = 0, tx_read_only = 1, max_join_size = 1'",
    )
    try:
        with MysqlStore(_as(url, user, QUOTED), prefix="other_") as store:
            store.commit(*(Put("q", b"%d" % n) for n in range(9)), *(Set("t", b"%d" % n, b"v") for n in range(9)))
            assert len(payloads(store)) == len(store.snapshot("t")) == store.depth("q").ready == 9
            assert len(store.claim("q", limit=9)) == 9
            assert server.run(
                "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p "
                f"ON t.trx_mysql_thread_id = p.id WHERE p.user = '{user}'"
            ) == ((0,),)
    finally:
        server.run("SET GLOBAL init_connect = ''")


def test_i5_who_writes_the_databases_name_otherwise_lives_as_well() -> None:
    """Where that is the same database: each took the other one for dead within a second, and its claims."""
    other = Server(lower_case_table_names=1)
    try:
        other.start()
        other.run("CREATE DATABASE jobs")
        with MysqlStore(other.url("jobs")) as small, MysqlStore(other.url("JOBS"), prefix="PQA_") as large:
            small.commit(Put("q", b"a"))
            large.commit(Put("q", b"b"))
            lock = f"{large._core.owners.base}{small._core.owners.number}"
            assert other.run(f"SELECT IS_USED_LOCK('{lock}') IS NOT NULL") == ((1,),)
            assert payloads(large) == [b"a", b"b"]
    finally:
        other.close()


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate of it for localhost."""
    directory = tmp_path_factory.mktemp("tls")
    for words in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem "
        "-out a.csr",
        "x509 -req -in a.csr -CA ca.pem -CAkey ca.key -days 2 -copy_extensions copy -out cert.pem",
    ):
        done = subprocess.run(["openssl", *words.split()], cwd=directory, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no certificates can be made here: {done.stderr}")
    return directory


def test_tls_is_on_off_or_verified(authority: Path) -> None:
    server = Server(ssl_cert=authority / "cert.pem", ssl_key=authority / "key.pem", ssl_ca=authority / "ca.pem")
    try:
        server.start()
        with server.database() as url:
            url = url.replace("127.0.0.1", "localhost")
            for options, encrypted in (
                ({"tls": "off"}, False),
                ({"tls": "on"}, True),
                ({"tls": "verify", "tls_ca": str(authority / "ca.pem")}, True),
                ({"tls_ca": str(authority / "ca.pem")}, True),
            ):
                with open_store(url, **options) as store:
                    store.commit(Put("q", b"a"))
                    wire: Any = store._core.writer._wire  # type: ignore[attr-defined]
                    assert isinstance(wire.raw._sock, ssl.SSLSocket) == encrypted, options
            with pytest.raises(StoreRefused, match=r"TLS.*(?i:certificate)"):
                open_store(url, tls="verify")  # nobody we know has signed it
            with pytest.raises(StoreRefused, match=r"TLS.*(?i:certificate)"):
                open_store(url.replace("localhost", "127.0.0.1"), tls_ca=str(authority / "ca.pem"))
    finally:
        server.close()


def test_a_server_without_tls_is_refused_where_tls_is_asked_for() -> None:
    server = Server(skip_ssl=1)
    try:
        server.start()
        with server.database() as url, pytest.raises(StoreRefused, match="TLS"):
            open_store(url, tls="on")
    finally:
        server.close()


def test_without_the_driver_the_extra_is_named() -> None:
    said = run(
        "import sys; sys.modules['pymysql'] = None\n"
        "from pqadapters.opening import open_store\n"
        "try:\n    open_store('mysql://me@host/jobs')\n"
        "except ImportError as error:\n    print(error)"
    )
    assert "pqadapters[mysql]" in said


@pytest.mark.parametrize("opening", [open_store, visit_server])
@pytest.mark.parametrize("greeting", [b"\x05\x00\x00\x00\x0bHy\x00\x06", b"\x05\x00\x00\x00\x0a8.0\x00"])
def test_what_greets_otherwise_is_no_such_server(greeting: bytes, opening: Callable[[str], object]) -> None:
    """As MySQL's own other protocol does, on port 33060: it was a bare struct.error."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(greeting)

        greeting_once = Task(greet, patience=PATIENCE)
        text = _refusal(f"mysql://root@127.0.0.1:{listening.getsockname()[1]}/d", StoreRefused, open_store=opening)
        greeting_once.result()
    assert "33060 is for another protocol" in text
