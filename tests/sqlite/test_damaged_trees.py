"""A tree that doesn't lead to where a row stands: it is met by who goes through the rows, and changed by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqadapters.errors import FormatError
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Claim, Put
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.changes import place_of


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
