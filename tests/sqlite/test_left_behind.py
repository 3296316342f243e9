"""What the files of a database take once it is closed: about what is in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pqadapters.store import Ack, Clear, Delete, Put, Set
from pqadapters.stores.sqlite import SqliteStore, schema
from pqadapters.stores.sqlite.keeper import Keeper
from pqadapters.stores.sqlite.space import room
from tests.segment.programs import PATIENCE

_VALUE = b"x" * (20 << 20)
_LITTLE = 4 << 20


@pytest.fixture(params=["power", "process"])
def store(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteStore]:
    """One of whose free pages nobody gives any back while it is open; who closes it has time for that."""
    monkeypatch.setattr(Keeper, "round", lambda self: False)
    monkeypatch.setattr(room, "_AT_THE_END", PATIENCE)
    with SqliteStore(tmp_path / "d" / "q.db", durability=request.param) as store:
        yield store


def _left(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def test_of_an_item_that_was_got(store: SqliteStore, tmp_path: Path) -> None:
    store.commit(Put("q", _VALUE))
    store.commit(Ack(store.claim("q")[0]))
    assert _left(tmp_path) > len(_VALUE)
    store.close()
    assert _left(tmp_path) < _LITTLE


@pytest.mark.parametrize("end", [Delete("t", b"k"), Set("t", b"k", b"v"), Clear("t")], ids=["del", "set", "clear"])
def test_of_a_value_that_is_no_more(store: SqliteStore, tmp_path: Path, end: Delete | Set | Clear) -> None:
    """A Delete brings next to nothing, so that nobody looked for what it had freed."""
    store.commit(Set("t", b"k", _VALUE))
    store.checkpoint()
    store.commit(end)
    store.close()
    assert _left(tmp_path) < _LITTLE


def test_who_ends_takes_no_longer_than_that(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have the database, or there is very much: the next one to end gives it back."""
    monkeypatch.setattr(room, "_AT_THE_END", 0.01)
    store.commit(Set("t", b"k", _VALUE))
    store.commit(Delete("t", b"k"))
    with closing(sqlite3.connect(tmp_path / "d" / "q.db", isolation_level=None)) as other:
        other.execute(schema.BEGIN)
        store.close()
    assert _left(tmp_path) > len(_VALUE)
    monkeypatch.setattr(room, "_AT_THE_END", PATIENCE)
    with SqliteStore(tmp_path / "d" / "q.db") as again:
        assert again.get("t", b"k") is None
    assert _left(tmp_path) < _LITTLE
