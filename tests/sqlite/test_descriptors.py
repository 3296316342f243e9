"""How many files a store has open."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path

import pytest

from pqadapters.errors import DiskError
from pqadapters.store import Ack, Nack, Put, Set
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.database import connect

from ..contract.descriptors import descriptors_left, open_below

#: More than a connection's cache has room for.
_SORTED = """
WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 20000)
SELECT count(*) FROM (SELECT randomblob(1000) AS data FROM numbers ORDER BY data LIMIT 20000)
"""


def _use(store: SqliteStore) -> None:
    store.commit(Put("q", b"a"), Put("q", b"b"), Set("t", b"k", b"v"))
    first, second = store.claim("q", limit=2)
    store.commit(Nack(first))
    store.commit(Ack(second))
    store.depth("q")
    store.sync()
    store.checkpoint()
    store.commit(Ack(store.claim("q")[0], lazy=True))


def test_no_call_leaves_one_open(tmp_path: Path) -> None:
    for durability in ("process", "power"):
        with SqliteStore(tmp_path / durability / "q.db", durability=durability) as store:
            _use(store)
            before = len(open_below(tmp_path))
            for _ in range(9):
                _use(store)
            assert len(open_below(tmp_path)) < before + 9  # the thread that syncs has one now and then
    assert open_below(tmp_path) == []


@pytest.mark.parametrize("left", range(6))
def test_a_database_is_opened_and_there_is_no_descriptor(tmp_path: Path, left: int) -> None:
    """Where SQLite itself wanted one, that was "Permission denied"."""
    with descriptors_left(left), pytest.raises(DiskError, match="ulimit -n") as caught:
        SqliteStore(tmp_path / "q.db")
    assert caught.value.errno == errno.EMFILE
    assert open_below(tmp_path) == []
    with SqliteStore(tmp_path / "q.db") as store:
        _use(store)


def test_a_connection_needs_no_temporary_files(tmp_path: Path) -> None:
    """SQLite kept some of what a transaction changes there: a store with room was said to be full where the disk of
    those was, and large items couldn't be acknowledged where no such file can be opened."""
    with SqliteStore(tmp_path / "q.db"), closing(connect(str(tmp_path / "q.db"))) as connection, descriptors_left(0):
        (size,) = connection.execute(_SORTED).fetchone()
    assert size == 20_000
