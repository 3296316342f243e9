"""persist-queue used on a database that is ours already: it is said, and `migrate` takes over what it has put.

Its tables stood beside ours without a word: an old program that was started once more put items that nobody got.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import persistqueue as old
import pytest

import pqadapters.persistqueue as ours
from pqadapters.errors import DiskError, StoreLocked, StoreRefused
from pqadapters.persistqueue import conversion
from pqadapters.persistqueue.conversion import moving, strays
from tests.commands.command import loaded, out, refusal

from . import theirs


@pytest.fixture
def file(path: str) -> str:
    """A database of ours with one item, into which persist-queue has put some."""
    with ours.SQLiteQueue(path) as q:
        q.put("ours")
    theirs.database(path, old.SQLiteQueue, list(range(2500)))
    return f"{path}/data.db"


def all_of(q: Any) -> list[Any]:
    return [q.get(block=False) for _ in range(q.qsize())]


def test_the_next_opening_says_so(path: str, file: str, caplog: pytest.LogCaptureFixture) -> None:
    with ours.SQLiteQueue(path) as q:
        assert q.qsize() == 1
    [record] = [each for each in caplog.records if path in each.getMessage()]
    assert record.levelname == "ERROR"
    assert f"(queue_default: 2500). End the programs that use persist-queue, and call: pqadapters migrate {file}" in (
        record.getMessage()
    )


def test_nothing_is_said_where_there_is_nothing(path: str, caplog: pytest.LogCaptureFixture) -> None:
    ours.SQLiteQueue(path).close()
    old.SQLiteQueue(path).close()  # its table, without a row
    ours.SQLiteQueue(path).close()
    assert path not in caplog.text
    assert "nothing to do" in out("migrate", path)


def test_migrate_takes_over_all_of_it_once_while_ours_is_used(path: str, file: str) -> None:
    states = theirs.each_state(path)
    theirs.database(path, old.UniqueQ, [(1, 2)])
    d = old.PDict(path, "settings")
    d["k"] = "v"
    d.close()
    with ours.SQLiteQueue(path) as q:
        counts = {part["was"]: sum(part["counts"].values()) for part in loaded("migrate", path, "--json")[0]["parts"]}
        assert counts == {"queue_default": 2500, "ack_queue_default": 10, "unique_queue_default": 1, "dict_settings": 1}
        assert q.qsize() == 2501
        assert "nothing to do" in out("migrate", path)
        assert all_of(q) == ["ours", *range(2500)]
    with ours.SQLiteAckQueue(path, auto_resume=False) as acks:
        assert {row["data"]: row["status"] for row in acks.queue()} == states
    assert ours.UniqueQ(path).put((1, 2)) is None
    assert dict(ours.PDict(path, "settings")) == {"k": "v"}


@pytest.mark.parametrize(("table", "kind"), [("filo_queue", ours.FILOSQLiteQueue), ("unique_queue", ours.UniqueQ)])
def test_what_an_async_class_has_put(
    path: str, table: str, kind: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Its table has no name. Of the plain queues' ones persist-queue can't make one here: so is one of ours called."""
    ours.SQLiteQueue(path).close()
    theirs.async_database(f"{path}/data.db", table)
    kind(path).close()
    assert f"({table}: 3)" in caplog.text
    out("migrate", path)
    assert sorted(all_of(kind(path))) == ["a", "b", "c"]


def test_what_is_put_in_the_moment_in_which_it_is_taken_over(
    path: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left to the next call: its table has its name still, and persist-queue gets what is in it."""
    set_aside = strays._set_aside

    def late(*arguments: Any) -> None:
        set_aside(*arguments)
        theirs.database(path, old.SQLiteQueue, ["late"])

    with monkeypatch.context() as patch:
        patch.setattr(strays, "_set_aside", late)
        out("migrate", file)
    assert ours.SQLiteQueue(path).qsize() == 2501
    assert theirs.rows(file, "queue_default")
    out("migrate", file)
    assert all_of(ours.SQLiteQueue(path)) == ["ours", *range(2500), "late"]


def test_a_table_of_another_version_is_left_alone(path: str) -> None:
    ours.SQLiteQueue(path).close()
    with closing(sqlite3.connect(f"{path}/data.db")) as connection, connection:
        connection.execute("CREATE TABLE queue_default (_id INTEGER PRIMARY KEY, data BLOB)")
        connection.execute("INSERT INTO queue_default (data) VALUES ('x')")
    assert "nothing to do" in out("migrate", path)
    assert theirs.rows(f"{path}/data.db", "queue_default") == [(1, "x")]


def test_a_table_whose_name_is_damaged_keeps_nobody_out(path: str, file: str) -> None:
    """The database couldn't be opened, for a UnicodeEncodeError."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE queue_default RENAME TO queue_theirs")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    Path(file).write_bytes(Path(file).read_bytes().replace(b"queue_theirs", b"queue_their\xf3"))
    with ours.SQLiteQueue(path) as q:
        assert q.get(block=False) == "ours"
    assert "is damaged: a table of persist-queue's has a name that is no text" in refusal("migrate", file)


def test_what_comes_behind_is_taken_over_too(path: str, file: str) -> None:
    out("migrate", file)
    theirs.database(path, old.SQLiteQueue, ["late"])
    out("migrate", file)
    assert all_of(ours.SQLiteQueue(path))[-2:] == [2499, "late"]


def test_a_program_that_still_uses_persist_queue_gets_an_error(path: str, file: str) -> None:
    running = old.SQLiteQueue(path)
    out("migrate", file)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        running.get(block=False)
    running.close()


def test_a_database_that_somebody_writes_to(path: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "PATIENCE", 0.01)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked):
            strays._rename(file, {"queue_default": "converting_queue_default#1"})
    out("migrate", path)
    assert ours.SQLiteQueue(path).qsize() == 2501


@pytest.mark.parametrize("step", ["copy", "name"])
def test_what_was_broken_off_goes_on(path: str, file: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, rename, calls = moving.Mover._commit, strays._rename, list[object]()

    def failing(call: Any) -> Any:
        def run(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:
                raise DiskError(28, "as on a full disk")
            return call(*arguments)

        return run

    with monkeypatch.context() as patch:
        if step == "copy":
            patch.setattr(moving.Mover, "_commit", failing(commit))
        else:
            patch.setattr(strays, "_rename", failing(rename))
        with pytest.raises(DiskError):
            conversion.convert_strays(file)
    out("migrate", path)
    assert all_of(ours.SQLiteQueue(path)) == ["ours", *range(2500)]
    with closing(sqlite3.connect(file)) as connection:
        [(kept,)] = connection.execute("SELECT name FROM sqlite_master WHERE name GLOB '*queue_default*'").fetchall()
        assert kept.startswith("kept_queue_default#")
        assert connection.execute(f'SELECT COUNT(*) FROM "{kept}"').fetchone() == (2500,)


def test_a_mapping_of_both_is_left_alone_and_can_be_put_elsewhere(path: str, tmp_path: Path) -> None:
    with ours.PDict(path, "m") as d:
        d["k"] = "ours"
    stray = old.PDict(path, "m")
    stray["k"] = "theirs"
    stray.close()
    assert "keys would be lost" in refusal("migrate", path)
    assert theirs.rows(f"{path}/data.db", "dict_m")
    with pytest.raises(StoreRefused):
        conversion.convert_strays(f"{path}/data.db")
    out("migrate", path, "--to", f"sqlite:///{tmp_path}/other/data.db")
    assert (ours.PDict(path, "m")["k"], ours.PDict(str(tmp_path / "other"), "m")["k"]) == ("ours", "theirs")
