"""A flipped bit in an index: SQLite finds no row by it, and says nothing."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

from pqadapters.store import Order, Put, Set
from pqadapters.stores.sqlite import SqliteStore, salvage
from pqadapters.stores.sqlite.damage import index
from tests.contract.maker import ManualClock

from .contents import await_looks

_DUE = 2e9 + 0.123


def _fill(database: Path, clock: ManualClock) -> None:
    with SqliteStore(database, clock=clock) as store:
        store.commit(Put("alpha", b"1"), Put("beta", b"2"), Set("one", b"k", b"1"), Set("two", b"k", b"1"))
        store.commit(*(Put("ranked", b"%d" % n, rank=b"rank %d" % n) for n in range(4)))
        store.commit(*(Put("later", b"%d" % n, not_before=_DUE + n) for n in range(4)))
    await_looks()  # whose connection may be the last one, which puts the WAL into the database


def _flip(database: Path, index: str, cell: bytes, byte: int = 0) -> None:
    """In what the index has of a row: its columns, and the row's key."""
    with closing(sqlite3.connect(database)) as raw:
        (page,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (index,)).fetchone()
    data = bytearray(database.read_bytes())
    at = data.index(cell, (page - 1) * 2048)
    assert at < page * 2048
    data[at + byte] ^= 4
    database.write_bytes(data)


_FLIPS = [
    ("sqlite_autoindex_queue_1", b"beta", 0),
    ("sqlite_autoindex_queue_1", b"beta", 4),
    ("sqlite_autoindex_kind_1", b"two", 0),
    ("sqlite_autoindex_kind_1", b"two", 3),
    ("by_rank", b"rank 2", 5),
    ("due", struct.pack(">d", _DUE + 2), 1),
]


@pytest.mark.parametrize("few", [1_000, 0], ids=["few", "many"])
@pytest.mark.parametrize(("name", "cell", "byte"), _FLIPS)
def test_a_flipped_bit_in_an_index_hides_nothing(
    name: str, cell: bytes, byte: int, few: int, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue or table was empty; of a queue with ranks the records came last or never, and what was delayed never."""
    monkeypatch.setattr(index, "_FEW", few)
    clock = ManualClock()
    _fill(database, clock)
    database.with_name("jobs.db-owners").joinpath("checked").unlink(missing_ok=True)
    _flip(database, name, cell, byte)
    with SqliteStore(database, clock=clock) as store:
        await_looks()
        (damage,) = store.damage
        assert "it was made anew" in damage.reason
        store.commit(Put("beta", b"3"), Set("two", b"l", b"1"))
        assert [claim.payload for claim in store.claim("beta", limit=9)] == [b"2", b"3"]
        assert [store.count(name) for name in ("one", "two")] == [1, 2]
        assert len(store.claim("ranked", order=Order.RANK, limit=9)) == 4
        clock.advance(3e9)
        assert len(store.claim("later", limit=9)) == 4
    with SqliteStore(database, clock=clock) as store:
        assert store.damage == ()


@pytest.mark.parametrize("few", [1_000, 0], ids=["few", "many"])
def test_a_key_that_was_set_again_is_there_once(few: int, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By who didn't find it, before this was looked for: what was set last counts."""
    with SqliteStore(database) as store:
        store.commit(*(Set("t", name, b"old") for name in (b"kept", b"lost")))
    _flip(database, "by_key", b"lost", 3)
    checked = database.with_name("jobs.db-owners") / "checked"
    checked.touch()
    with monkeypatch.context() as patch:
        patch.setattr(index, "_FEW", 0)
        with SqliteStore(database) as store:
            assert store.get("t", b"lost") is None
            store.commit(Set("t", b"lost", b"new"))
    monkeypatch.setattr(index, "_FEW", few)
    checked.unlink()
    with SqliteStore(database) as store:
        await_looks()
        (damage,) = store.damage
        assert "it was made anew" in damage.reason
        assert list(store.scan("t")) == [(b"kept", b"old"), (b"lost", b"new")]
        assert store.get("t", b"lost") == b"new"
        assert store.count("t") == 2


def test_a_name_that_was_given_again_is_told_of(database: Path) -> None:
    """By who came before this was looked for. In place that can't be mended."""
    with SqliteStore(database) as store:
        store.commit(Put("alpha", b"1"), Put("beta", b"2"))
    _flip(database, "sqlite_autoindex_queue_1", b"beta")
    with closing(sqlite3.connect(database)) as raw, raw:
        raw.execute("INSERT INTO queue(number, name, crc) SELECT 3, name, crc FROM queue WHERE number = 2")
    for _ in range(2):
        with SqliteStore(database) as store:
            (damage,) = store.damage
            assert "was given again since" in damage.reason
            store.commit(Put("beta", b"3"))
    assert salvage(database, to=database.with_name("new.db")).records == 4
    with SqliteStore(database.with_name("new.db")) as store:
        assert [record.payload for record in store.browse("beta")] == [b"2", b"3", b"3"]


def test_a_damaged_name_is_no_reason_to_take_it_for_the_right_one(database: Path) -> None:
    """The index still leads to the queue by the name that was given."""
    with SqliteStore(database) as store:
        store.commit(Put("alpha", b"1"), Put("beta", b"2"))
    _flip(database, "queue", b"beta")
    with SqliteStore(database) as store:
        assert store.damage == ()
        assert [claim.payload for claim in store.claim("beta")] == [b"2"]
