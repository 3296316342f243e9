"""A tree that doesn't lead to where a row stands: it is met by who goes through the rows, and changed by nobody."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pqadapters import PDict
from pqadapters.errors import FormatError
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Claim, Put
from pqadapters.stores.sqlite import SqliteStore, salvage
from pqadapters.stores.sqlite.changes import place_of
from pqadapters.stores.sqlite.damage import index

from .contents import await_looks


def _number(value: int) -> bytes:
    """As SQLite's pages have it: groups of 7 bits, the first ones with their highest bit set."""
    found = bytes([value & 127])
    while value := value >> 7:
        found = bytes([value & 127 | 128]) + found
    return found


def _put_elsewhere(database: Path, id: int) -> None:
    """A flipped bit in the row's number: the rows are out of order."""
    place = place_of(1, id)
    data, before = database.read_bytes(), _number(place)
    assert data.count(before) == 1
    database.write_bytes(data.replace(before, _number(place ^ 1 << 17)))


def _filled(database: Path, *items: int) -> None:
    q: Queue[int] = Queue(store=f"sqlite:///{database}?durability=process", name="q")
    for item in items:
        q.put(item)
    q.close()


@pytest.mark.parametrize("ack", ["task_done", "get", "next"])
def test_what_cant_be_claimed_is_told_of_and_not_met_for_ever(ack: str, tmp_path: Path) -> None:
    """With ack="get" a get() never returned: what it had claimed was lost each time, and claimed again."""
    database = tmp_path / "q.db"
    _filled(database, *range(9))
    _put_elsewhere(database, 3)
    with SqliteStore(database, durability="process") as store:
        q: Queue[int] = Queue(store=store, ack=ack, name="q")
        got = []
        with pytest.raises(FormatError, match="is damaged"):
            while True:
                got.append(q.get_nowait())
                if ack == "task_done":
                    q.task_done()
        assert got == [0, 1]


@pytest.mark.parametrize("ids", [None, [3 | 1 << 17], [1, 2, 3 | 1 << 17]])
def test_claims_of_many_and_by_id(ids: list[int] | None, tmp_path: Path) -> None:
    database = tmp_path / "q.db"
    _filled(database, *range(9))
    _put_elsewhere(database, 3)
    with SqliteStore(database, durability="process") as store:
        claims: list[Claim] = []
        try:
            claims = store.claim("q", ids=ids, limit=5)
        except FormatError:
            pass
        assert 3 | 1 << 17 not in {claim.id for claim in claims}
        store.commit(Put("another", b"x"))
        assert [claim.payload for claim in store.claim("another")] == [b"x"]


_PAGE = 2048


def _mapping(database: Path) -> dict[int, str]:
    values = {n: f"{n}" * 300 for n in range(10, 20)}
    with PDict[int, str](database, durability="process") as d:
        d.update(values)
    return values


def _pages_of_rows(database: Path) -> list[int]:
    """Where the pages of a mapping's rows begin: the tree's root, and its leaves in order."""
    with closing(sqlite3.connect(database)) as raw:
        (root,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry'").fetchone()
    start, data = (root - 1) * _PAGE, database.read_bytes()
    assert data[start] == 5, "the root isn't the only page"
    cells = int.from_bytes(data[start + 3 : start + 5], "big")
    offsets = [int.from_bytes(data[start + 12 + 2 * n : start + 14 + 2 * n], "big") for n in range(cells)]
    leaves = [data[start + offset : start + offset + 4] for offset in offsets] + [data[start + 8 : start + 12]]
    return [start, *((int.from_bytes(leaf, "big") - 1) * _PAGE for leaf in leaves)]


def _write_page(database: Path, at: int, page: bytes) -> None:
    data = bytearray(database.read_bytes())
    data[at : at + _PAGE] = page
    database.write_bytes(data)


def _swap_leaves(database: Path) -> None:
    data, (_, one, *_, two) = database.read_bytes(), _pages_of_rows(database)
    _write_page(database, one, data[two : two + _PAGE])
    _write_page(database, two, data[one : one + _PAGE])


def _lose_leaves(database: Path) -> None:
    """The root is what it was when it was a leaf: a write of it went astray."""
    data, (root, first, *_) = database.read_bytes(), _pages_of_rows(database)
    _write_page(database, root, data[first : first + _PAGE])


@pytest.mark.parametrize("damage", [_swap_leaves, _lose_leaves])
def test_keys_whose_rows_are_astray_are_not_missing_without_a_word(
    damage: Callable[[Path], None], database: Path
) -> None:
    """The mapping was empty, or had the first few of its keys; what it was to forget is brought out."""
    values = _mapping(database)
    damage(database)
    for _ in range(2):
        with pytest.raises(FormatError, match="salvage"):
            PDict[int, str](database)
    salvage(database, to=database.with_name("whole.db"))
    with PDict[int, str](database.with_name("whole.db")) as whole:
        assert whole.copy() == values


@pytest.mark.parametrize("damage", [_swap_leaves, _lose_leaves])
def test_in_a_large_one_that_is_told(
    damage: Callable[[Path], None], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_FEW", 0)
    _mapping(database)
    await_looks()
    database.with_name("jobs.db-owners").joinpath("checked").unlink(missing_ok=True)
    damage(database)
    with SqliteStore(database) as store:
        await_looks()
        (found,) = store.damage
        assert "salvage" in found.reason
