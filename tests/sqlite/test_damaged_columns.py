"""A flipped bit in what isn't a payload: types, counts, owners. It costs its record or key, and no others."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty

import pytest

from pqadapters.errors import FormatError
from pqadapters.opening import look_at
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Ack, Clear, Delete, Nack, Put, Set
from pqadapters.stores.sqlite import SqliteStore, salvage, schema
from pqadapters.stores.sqlite.damage import index
from pqadapters.stores.sqlite.errors import translated

from .contents import await_looks

_NO_TEXT = "CAST(x'ff80' AS TEXT)"  #: the bits of a blob's type and of a text's differ in the last one alone
_OF_FIRST = "WHERE place = (SELECT min(place) FROM record WHERE place > 0)"


def change(database: Path, *statements: str) -> None:
    """As damage does: no trigger takes part."""
    connection = sqlite3.connect(database, isolation_level=None)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        assert connection.execute(statement).rowcount == 1
    for _, made in triggers:
        connection.execute(made)
    connection.close()


def drained(store: SqliteStore, name: str) -> list[int]:
    q: Queue[int] = Queue(store=store, name=name, ack="task_done")
    got = []
    try:
        while True:
            got.append(q.get_nowait())
            q.task_done()
    except Empty:
        return got


@pytest.fixture
def two_queues(database: Path) -> Path:
    with SqliteStore(database) as store:
        for name in "ab":
            q: Queue[int] = Queue(store=store, name=name)
            for number in range(4):
                q.put(number)
    return database


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((column, value) for column in ("payload", "rank", "note") for value in (_NO_TEXT, "7", "0.5", "NULL")),
        *((column, value) for column in ("attempts", "put_at") for value in (_NO_TEXT, "x'ff80'", "-7")),
    ],
)
def test_a_column_that_has_another_type(two_queues: Path, column: str, value: str) -> None:
    """Of a payload that was text by now, each get and each look was an error, and so was the whole queue."""
    change(two_queues, f"UPDATE record SET {column} = {value} {_OF_FIRST}")
    look_at(str(two_queues), lambda sight: [sight.depth("a"), list(sight.browse("a", state=None))])
    with SqliteStore(two_queues) as store:
        assert store.depth("a").ready == 4
        list(store.browse("a", state=None))
        assert drained(store, "a")[-3:] == [1, 2, 3]
        assert store.depth("a").unfinished == 0


def test_a_long_payload_that_is_text(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"x" * 5000), Put("q", b"whole"))
    change(database, f"UPDATE body SET payload = {_NO_TEXT}")
    with SqliteStore(database) as store:
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"whole"]


def test_more_attempts_than_there_are_numbers_for(database: Path) -> None:
    """It was handed out, and to give it back was an OverflowError."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"damaged"), Put("q", b"whole"))
    change(database, f"UPDATE record SET attempts = {2**63 - 1} {_OF_FIRST}")
    with SqliteStore(database) as store:
        (claim,) = store.claim("q", limit=5)
        assert claim.payload == b"whole"
        store.commit(Nack(claim, dead="no use"))


@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_record_that_is_counted_elsewhere(two_queues: Path, is_claimed: bool) -> None:
    """Who waited for the end of its own queue waited for ever, and of the other one a record wasn't handed out."""
    if is_claimed:
        change(two_queues, f"UPDATE record SET place = -place, owner = 77, handle = 1 {_OF_FIRST}")
        change(two_queues, "UPDATE queue SET ready = 3, claimed = 1 WHERE number = 1")
    change(two_queues, "UPDATE record SET queue = 2 WHERE place IN (SELECT min(place) FROM record)")
    with SqliteStore(two_queues) as store:
        assert (drained(store, "a"), drained(store, "b")) == ([1, 2, 3], [0, 1, 2, 3])
        for name in "ab":
            assert store.depth(name)[:3] == (0, 0, 0)
            assert store.depth(name).bytes == 0


@pytest.mark.parametrize("few", [1_000, 0], ids=["few", "many"])
@pytest.mark.parametrize("counts", ["ready = 0", "ready = 2", "ready = 9", "claimed = 3", "delayed = 1"])
def test_counts_that_are_wrong(two_queues: Path, counts: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many of them join() never returned; with too few the rest wasn't handed out."""
    monkeypatch.setattr(index, "_FEW", few)
    change(two_queues, f"UPDATE queue SET {counts} WHERE number = 1")
    with SqliteStore(two_queues) as store:
        if not few:
            await_looks()
        assert ["they were counted" in damage.reason for damage in store.damage] == [True]
        assert store.depth("a")[:3] == (4, 0, 0)
        assert drained(store, "a") == [0, 1, 2, 3]
        assert store.depth("a").unfinished == 0


@pytest.mark.parametrize("what", ["claimed = 'x'", "claimed = x''", "bytes = 'x'", "ready = 'x'", "delayed = x''"])
@pytest.mark.parametrize("number", [0, 1])
def test_counts_that_are_none(two_queues: Path, number: int, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody has looked yet, that is said."""
    change(two_queues, f"UPDATE queue SET {what} WHERE number = {number}")
    monkeypatch.setattr(index, "check", lambda *_: None)
    with suppress(FormatError), SqliteStore(two_queues) as store:
        for name in ("a", "none"):
            uses: list[Callable[[], object]] = [
                partial(store.depth, name),
                partial(drained, store, name),
                partial(store.commit, Put(name, b"1", limit=9)),
                partial(store.commit, Put(name, b"1", rank=b"2")),
            ]
            for use in uses:
                with suppress(FormatError):
                    use()
        assert drained(store, "b") == [0, 1, 2, 3]


@pytest.mark.parametrize("last", ["'x'", str(2 * schema.IDS), str((1 << 63) - 1)])
def test_a_last_id_that_cant_be(last: str, two_queues: Path) -> None:
    """What was put into one queue came out of another one, or of none."""
    change(two_queues, f"UPDATE queue SET last = {last} WHERE number = 0")
    with pytest.raises(FormatError, match="is damaged"):
        SqliteStore(two_queues)


@pytest.mark.parametrize("owner", ["NULL", "77", "'x'"])
def test_a_claim_that_is_nobodys(two_queues: Path, owner: str) -> None:
    """Its record was in nobody's hands, and in nobody's reach."""
    change(two_queues, f"UPDATE record SET place = -place, owner = {owner}, handle = 1 {_OF_FIRST}")
    with SqliteStore(two_queues) as store:
        assert drained(store, "a") == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [_NO_TEXT, "7", "0.5", "NULL"])
def test_a_value_that_has_another_type(database: Path, value: str) -> None:
    with SqliteStore(database) as store:
        store.commit(*(Set("t", key, b"value of " + key) for key in (b"a", b"b", b"c")))
    change(database, f"UPDATE entry SET value = {value} WHERE key = x'61'")
    whole = {key: b"value of " + key for key in (b"b", b"c")}
    for number, look in enumerate([SqliteStore.scan, SqliteStore.snapshot, SqliteStore.get]):
        copy = database.with_name(f"{number}.db")
        shutil.copy(database, copy)
        with SqliteStore(copy) as store:
            assert store.get("t", b"a") is None if look is SqliteStore.get else dict(look(store, "t")) == whole  # type: ignore[operator]
            assert (store.count("t"), list(store.keys("t"))) == (2, [b"b", b"c"])
            assert len(store.damage) == 1


@pytest.mark.parametrize("value", [_NO_TEXT, "7", "x''"])
def test_a_part_of_a_long_value_that_has_another_type(
    database: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the key could be looked at nor the database be brought out."""
    monkeypatch.setattr("pqadapters.stores.sqlite.entries.PART", 1000)
    with SqliteStore(database) as store:
        store.commit(Set("t", b"long", b"x" * 3500), Set("t", b"short", b"whole"))
    change(database, f"UPDATE part SET data = {value} WHERE nth = 1")
    brought = salvage(database, to=database.with_name("new.db"))
    assert (brought.keys, brought.lost) == (1, 1)
    with SqliteStore(database) as store:
        assert store.get("t", b"long") is None
        assert store.snapshot("t") == {b"short": b"whole"}


@pytest.mark.parametrize("key", [_NO_TEXT, "x'63'", "x'62'", "7", "NULL", "'a'"])
def test_a_key_that_is_another_one(database: Path, key: str) -> None:
    """Text kept the database shut; of others a key was listed that nobody had set, and the table couldn't be
    cleared."""
    with SqliteStore(database) as store:
        store.commit(*(Set("t", key, b"value of " + key) for key in (b"a", b"b")))
    _without_the_index(database, f"UPDATE entry SET key = {key} WHERE key = x'61'")
    with SqliteStore(database) as store:
        assert list(store.keys("t")) == [b"b"]
        assert (store.count("t"), store.snapshot("t")) == (1, {b"b": b"value of b"})
        assert any("was put aside" in damage.reason for damage in store.damage)
        store.commit(Set("t", b"a", b"again"), Delete("t", b"b"))
        store.commit(Clear("t"))
        assert store.count("t") == 0
    with SqliteStore(database) as store:
        assert not store.damage


def test_the_start_of_a_table_with_a_key(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Set("t", b"a", b"1"))
    _without_the_index(database, "UPDATE entry SET key = x'62' WHERE key IS NULL")
    with SqliteStore(database) as store:
        assert list(store.keys("t")) == [b"a"]
        store.commit(Clear("t"), Set("t", b"b", b"2"))
        assert store.snapshot("t") == {b"b": b"2"}
    with SqliteStore(database) as store:
        assert not store.damage


def _without_the_index(database: Path, statement: str) -> None:
    """The row says something else than the index."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA writable_schema = 1")
    (index,) = connection.execute("SELECT * FROM sqlite_master WHERE name = 'by_key'").fetchall()
    connection.execute("DELETE FROM sqlite_master WHERE name = 'by_key'")
    connection.execute("PRAGMA schema_version = 1000")
    connection.close()
    change(database, statement)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA writable_schema = 1")
    connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
    connection.execute("PRAGMA schema_version = 2000")
    connection.close()


@pytest.mark.parametrize("what", ["keys = 9", "keys = 0", "keys = -1", "keys = 'x'", "last = 3", "last = 'x'"])
def test_a_table_that_doesnt_know_how_many_keys_it_has(database: Path, what: str) -> None:
    """len() was wrong, or an error of Python's own; no new key could be set."""
    with SqliteStore(database) as store:
        store.commit(Set("t", b"a", b"1"), Set("t", b"b", b"2"))
    change(database, f"UPDATE entry SET {what} WHERE key = x'62'")
    with SqliteStore(database) as store:
        assert len(store.damage) == 1
        assert store.count("t") == 2
        store.commit(Set("t", b"c", b"3"), Delete("t", b"b"), Delete("t", b"c"))
        assert (store.count("t"), list(store.keys("t"))) == (1, [b"a"])


@pytest.mark.parametrize("keys", ["-1", "'x'", "x''"])
def test_while_nobody_has_looked_yet_it_is_said(database: Path, keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteStore(database) as store:
        store.commit(Set("t", b"a", b"1"))
    change(database, f"UPDATE entry SET keys = {keys} WHERE key = x'61'")
    monkeypatch.setattr(index, "check", lambda *_: None)
    with SqliteStore(database) as store, pytest.raises(FormatError, match="is damaged"):
        store.count("t")


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.IntegrityError("NOT NULL constraint failed: queue.bytes"),
        sqlite3.OperationalError("no such column: place"),
    ],
)
def test_what_only_damage_brings_about_is_told_as_such(error: sqlite3.Error, database: Path) -> None:
    """It came in SQLite's own words, which say nothing of what can be done."""
    assert isinstance(translated(error, str(database)), FormatError)


def test_sound_databases_are_left_as_they_are(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(*(Put(name, b"%d" % n) for n in range(9) for name in "ab"))
        store.commit(Put("a", b"later", not_before=1e12))
        store.commit(*map(Ack, store.claim("a", limit=2)), *(Set("t", b"%d" % n, b"") for n in range(9)))
        store.claim("b", limit=3)
        store.commit(Delete("t", b"8"), Set("u", b"", b""), Clear("u"))
        with SqliteStore(database) as other:
            assert not other.damage
        with sqlite3.connect(database) as connection:
            assert index._miscounted(connection) == []
            assert connection.execute(schema.MISCOUNTED_TABLES).fetchone() is None
        connection.close()
