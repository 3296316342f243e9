"""A disk that has no room for a whole reserve."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqadapters.errors import DiskError
from pqadapters.store import Ack, Put
from pqadapters.stores.sqlite import SqliteStore

CAPACITY = 1 << 20


@pytest.mark.parametrize("size", [20, 5000])
def test_it_is_drained(small: Path, size: int) -> None:
    with SqliteStore(small / "q.db", durability="process") as store:
        count = 0
        with pytest.raises(DiskError):
            while True:
                store.commit(Put("q", bytes(size)))
                count += 1
        assert count * size > CAPACITY // 32
        for _ in range(count):
            store.commit(*map(Ack, store.claim("q")))
        assert store.depth("q").unfinished == 0
        store.commit(Put("q", b"and on"))
