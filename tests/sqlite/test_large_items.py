"""Items of megabytes on a disk that they fill: what is in the WAL needs as much room again where it is copied."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, TooLarge
from pqadapters.store import Ack, Put
from pqadapters.stores.sqlite import SqliteStore

CAPACITY = 60 << 20
_SIZE = 3_000_000


def _fill(store: SqliteStore) -> int:
    count = 0
    with pytest.raises(DiskError, match="drain the queue"):
        while True:
            store.commit(Put("q", os.urandom(_SIZE)))
            count += 1
    return count


def _drain(store: SqliteStore, limit: int) -> int:
    count = 0
    while claims := store.claim("q", limit=limit):
        store.commit(*map(Ack, claims))
        count += len(claims)
    return count


@pytest.mark.parametrize("limit", [1, 5])
@pytest.mark.parametrize("durability", ["process", "power"])
def test_they_are_drained(small: Path, durability: str, limit: int) -> None:
    """Not one of them could be got: the WAL was larger than all that was left, and could never be used anew. And what
    was freed was written over with zeros, where SQLite is built for that."""
    with SqliteStore(small / "q.db", durability=durability) as store:
        count = _fill(store)
        assert count * _SIZE > CAPACITY * 3 // 4
        assert _drain(store, limit) == count
        assert store.depth("q").unfinished == 0


def test_pages_that_are_free_in_the_database_are_room_for_one(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was refused once for each 2 MiB of it."""
    with monkeypatch.context() as patch, SqliteStore(small / "q.db", durability="process") as store:
        patch.setattr("pqadapters.stores.sqlite.space.room.Room.give_back", lambda self, **_: False)  # has had no time
        count = _fill(store)
        assert _drain(store, 1) == count
        room = os.statvfs(small)
        (small / "ballast").write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - (1 << 20))))
        for _ in range(3):
            store.commit(Put("q", bytes(_SIZE)))


@pytest.mark.parametrize("size", [1_000_000_001, (1 << 31) + 1])
def test_one_that_sqlite_never_takes_is_refused_as_such(size: int, database: Path) -> None:
    """It was any error of a store, which is worth another try; above 2 GiB an OverflowError."""
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ) as nothing:
        payload: Any = nothing  # which takes no memory
        with SqliteStore(database) as store:
            for op in (Put("q", payload), Put("q", b"", rank=payload)):
                with pytest.raises(TooLarge, match="nothing was stored"):
                    store.commit(op)
            store.commit(Put("q", b"next"))
            assert [claim.payload for claim in store.claim("q", limit=9)] == [b"next"]
