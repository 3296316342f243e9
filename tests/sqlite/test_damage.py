"""Damaged files: a clear word, nothing that is whole is lost, nothing damaged is handed out."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pqadapters.errors import FormatError, StoreError
from pqadapters.opening import look_at, probe_file
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Put, Set
from pqadapters.stores.sqlite import SqliteStore, salvage
from pqadapters.stores.sqlite.damage.salvaged import Salvaged
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE

from .contents import fill, left


def test_a_flipped_bit_in_a_payload_is_found_by_its_checksum(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"first"), Put("q", b"damaged one"), Put("q", b"third"))
    database.write_bytes(database.read_bytes().replace(b"damaged one", b"damaged 0ne"))
    with SqliteStore(database) as store:
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"first", b"third"]
        (damage,) = store.damage
        assert "checksum" in damage.reason
        assert damage.path == str(database)
        assert store.depth("q")[:3] == (0, 0, 2)
    with sqlite3.connect(database) as raw:
        assert raw.execute("SELECT payload FROM damaged").fetchall() == [(b"damaged 0ne",)]
    raw.close()


def test_damage_is_told_with_the_store_free_for_others(database: Path) -> None:
    """A handler of a log waits for another thread, which has its lock and puts into the same store: for ever."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"damaged one"), Put("q", b"whole"))
    database.write_bytes(database.read_bytes().replace(b"damaged one", b"damaged 0ne"))
    heard: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            Task(lambda: store.commit(Put("log", b"")), patience=PATIENCE).result()
            heard.append(record.getMessage())

    handler = Handler()
    logger = logging.getLogger("pqadapters.stores.sqlite")
    logger.addHandler(handler)
    try:
        with SqliteStore(database) as store:
            assert [claim.payload for claim in store.claim("q")] == [b"whole"]
            assert store.depth("log").ready == len(heard) == 1
    finally:
        logger.removeHandler(handler)


def test_a_flipped_bit_in_the_formats_number(database: Path, tmp_path: Path) -> None:
    """It was told in SQLite's own words, with nothing of what to do."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"1"))
    data = bytearray(database.read_bytes())
    data[47] ^= 64
    database.write_bytes(data)
    with pytest.raises(FormatError, match=r"jobs\.db is damaged.*salvage"):
        SqliteStore(database)
    assert salvage(database, to=tmp_path / "new.db").records == 1


@pytest.mark.parametrize(("column", "value"), [("payload", 3), ("payload", 0.5), ("payload", "x"), ("attempts", -1)])
@pytest.mark.parametrize("ack", ["get", "task_done"])
def test_a_flipped_bit_in_a_columns_type(database: Path, column: str, value: object, ack: str) -> None:
    """With a number for a payload each get was a TypeError; with less than no attempts, one that is gone when it is
    handed out was taken for one that somebody had looked at, and held for good."""
    with SqliteStore(database, durability="process") as store:
        q: Queue[int] = Queue(store=store, ack=ack)
        for number in range(3):
            q.put(number)
        assert q.get() == 0
        q.task_done()
        with sqlite3.connect(database) as raw:
            raw.execute(f"UPDATE record SET {column} = ? WHERE place = (SELECT min(place) FROM record)", (value,))
        raw.close()
        assert q.get_nowait() == 2
        q.task_done()
        assert len(store.damage) == 1
        assert store.depth("default").unfinished == q.unfinished_tasks == 0


def test_a_flipped_bit_in_a_long_payload(database: Path) -> None:
    long = b"x" * 5000 + b"damaged one"
    with SqliteStore(database) as store:
        store.commit(Put("q", long), Put("q", b"whole"))
    database.write_bytes(database.read_bytes().replace(b"damaged one", b"damaged 0ne"))
    with SqliteStore(database) as store:
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"whole"]
        assert len(store.damage) == 1


def test_a_damaged_value_is_missing_and_reported(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Set("t", b"a", b"whole"), Set("t", b"b", b"damaged one"))
    database.write_bytes(database.read_bytes().replace(b"damaged one", b"damaged 0ne"))
    with SqliteStore(database) as store:
        assert (store.get("t", b"a"), store.get("t", b"b")) == (b"whole", None)
        assert list(store.scan("t")) == [(b"a", b"whole")]
        assert len(store.damage) == 1


def test_i8_random_damage_hands_out_nothing_that_was_not_put(database: Path) -> None:
    whole = fill(database)
    data = database.read_bytes()
    for seed in range(25):
        rng = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 3, 20])):
            at = rng.randrange(len(damaged))
            length = min(rng.choice([1, 1, 64, 2048]), len(damaged) - at)
            damaged[at : at + length] = rng.randbytes(length)
        database.write_bytes(damaged)
        for side in ("-wal", "-shm"):
            Path(f"{database}{side}").unlink(missing_ok=True)
        try:
            with SqliteStore(database) as store:
                found = {claim.payload for queue in "qr" for claim in store.claim(queue, limit=1000)}
                assert found <= whole
        except StoreError as error:
            assert str(database) in str(error)  # noqa: PT017
        target = database.with_name(f"new-{seed}.db")
        brought = salvage(database, to=target)
        with SqliteStore(target) as store:
            names = [record.payload for queue in _queues(target) for record in store.browse(queue, state=None)]
        assert set(names) <= whole
        assert brought.records == len(names)
        assert brought.records > 0


def test_a_sector_of_zeros_leaves_nothing_that_is_ready_and_that_nobody_gets(database: Path) -> None:
    """A cell of zeros is a row out of order: whole ones may stand behind it, and aren't found."""
    with SqliteStore(database, durability="process") as store:
        for n in range(30):
            store.commit(Put("q", b"%02d" % n * 20 * n))
    data = database.read_bytes()
    refused = 0
    for at in range(data.index(b"03" * 60) // 512 * 512, len(data), 512):
        database.write_bytes(data[:at] + bytes(512) + data[at + 512 :])
        for side in ("-wal", "-shm"):
            Path(f"{database}{side}").unlink(missing_ok=True)
        try:
            with SqliteStore(database, durability="process") as store:
                while store.claim("q", limit=7):
                    pass
                assert store.depth("q").ready == 0
        except FormatError as error:
            assert "salvage" in str(error)  # noqa: PT017
            refused += 1
    assert refused


def test_i7_a_count_that_is_too_high_is_made_right_by_who_finds_nothing(database: Path) -> None:
    """Else who waits for the end of what isn't there would wait for ever."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"payload"))
        with sqlite3.connect(database) as raw:
            raw.execute("UPDATE queue SET ready = 3 WHERE name = x'71'")
        raw.close()
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"payload"]
        assert store.claim("q") == []
        assert store.depth("q")[:3] == (0, 0, 1)
        assert ["they were counted" in damage.reason for damage in store.damage] == [True]


def _queues(database: Path) -> list[str]:
    raw = sqlite3.connect(database)
    names = [name.decode() for (name,) in raw.execute("SELECT name FROM queue WHERE number > 0")]
    raw.close()
    return names


def test_a_page_that_is_gone_costs_its_own_rows_and_no_others(database: Path) -> None:
    whole = fill(database)
    data = bytearray(database.read_bytes())
    at = data.index(b"payload 0200") // 2048 * 2048
    data[at : at + 2048] = bytes(2048)
    database.write_bytes(data)
    brought = salvage(database, to=database.with_name("new.db"))
    assert len(whole) - 30 < brought.records < len(whole)
    with SqliteStore(database.with_name("new.db")) as store:
        assert left(store) < whole
        assert store.count("t") == 40


@pytest.mark.parametrize("size", [0, 1])
def test_a_database_that_was_cut_to_nothing_keeps_its_wal(tmp_path: Path, size: int) -> None:
    """SQLite removes it where the database is empty, or has one byte, also for who only looks: all was gone without a
    word."""
    (tmp_path / "here").mkdir(mode=0o700)
    with SqliteStore(tmp_path / "here" / "q.db") as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(9)))
        shutil.copytree(tmp_path / "here", tmp_path / "there")  # as SIGKILL leaves it
    path = tmp_path / "there" / "q.db"
    os.truncate(path, size)
    looks: list[Callable[[], object]] = [
        lambda: SqliteStore(path),
        lambda: look_at(str(path), lambda sight: sight.queues()),
        lambda: probe_file(str(path)),
    ]
    for look in looks:
        with pytest.raises(FormatError, match=r"q\.db is empty, .*salvage.*move .*q\.db-wal away"):
            look()
    assert salvage(path, to=tmp_path / "new.db") == Salvaged(9, 0, 0)
    path.with_name("q.db-wal").unlink()
    os.truncate(path, 0)
    with SqliteStore(path) as store:
        assert list(store.browse("q")) == []


def test_i6_i8_a_database_that_was_cut_to_nothing_is_told_of(database: Path) -> None:
    """An empty one took its place without a word, and ids that were given were given again."""
    with SqliteStore(database) as store:
        ids = store.commit(*(Put("q", b"%d" % n) for n in range(9)))
    os.truncate(database, 0)
    with SqliteStore(database) as store:
        (damage,) = store.damage
        assert "its last commits are gone" in damage.reason
        assert store.commit(Put("q", b"new"))[0] > ids[-1]


def test_i8_a_mapping_that_was_cut_to_nothing_is_told_of(database: Path) -> None:
    """Ids aren't given to keys: it was empty without a word. An empty file that somebody has made is no damage."""
    with SqliteStore(database) as store:
        store.commit(Set("t", b"k", b"v"))
    os.truncate(database, 0)
    with SqliteStore(database) as store:
        (damage,) = store.damage
        assert "cut to nothing" in damage.reason
        store.commit(Set("t", b"k", b"v"))
    with SqliteStore(database) as store:
        assert store.damage == ()
    database.rename(database.with_name("kept.db"))
    database.touch()
    with SqliteStore(database) as store:
        assert store.damage == ()
