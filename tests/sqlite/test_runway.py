"""The WAL's room ahead: there where commits are synced, never in the way, and nothing of it is taken for commits."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pqadapters.store import Put
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.space import runway


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


def _wal(database: Path) -> bytes:
    return Path(f"{database}-wal").read_bytes()


def _extended(store: SqliteStore, database: Path) -> bool:
    """Whether room was made now."""
    before = len(_wal(database))
    store._core.room.extend_wal()
    return len(_wal(database)) > before


def test_room_is_made_beside_synced_commits(database: Path) -> None:
    with SqliteStore(database) as store:
        for number in range(runway.COMMITS):
            store.commit(Put("q", b"%d" % number))
        assert store.wait("q", lambda _: os.path.getsize(f"{database}-wal") == runway.FIRST, 30)
        assert not any(_wal(database)[-runway.FIRST // 4 :])


def test_none_is_made_where_nobody_waits_for_syncs(database: Path) -> None:
    with SqliteStore(database, durability="process", max_lag=0.01) as store:
        for number in range(2 * runway.COMMITS):
            store.commit(Put("q", b"%d" % number))
        store._core.keeper.round()
        assert os.path.getsize(f"{database}-wal") < runway.FIRST


def test_it_is_made_again_once_it_is_used_up_and_has_an_end(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runway, "FIRST", 1 << 16)
    monkeypatch.setattr(runway, "MOST", 1 << 18)
    with SqliteStore(database, durability="process") as store:
        store.commit(Put("q", b"x"))
        assert _extended(store, database)
        assert not _extended(store, database)
        for length in (1 << 17, 1 << 18):
            while not _extended(store, database):
                store.commit(Put("q", bytes(1000)))
            assert len(_wal(database)) == length
        while len(_wal(database)) <= 1 << 18:
            store.commit(Put("q", bytes(1000)))
        assert not _extended(store, database)


def test_what_was_committed_is_there_after_a_crash(database: Path, tmp_path: Path) -> None:
    with SqliteStore(database) as store:
        for number in range(10):
            store.commit(Put("q", b"%d" % number))
            if number in (0, 5):
                store._core.room.extend_wal()
        copy = tmp_path / "copy"
        copy.mkdir()
        for path in (database, Path(f"{database}-wal")):
            shutil.copy(path, copy)
    with SqliteStore(copy / "q.db") as store:
        assert [record.payload for record in store.browse("q")] == [b"%d" % n for n in range(10)]
        assert not store.damage


class _Short(Disk):
    """Has so many bytes free, and refuses blocks of zeros."""

    room = 0
    full = False

    def free(self, directory: str) -> int:
        return self.room

    def write(self, fd: int, data: bytes, offset: int) -> None:
        if self.full and len(data) > runway.FIRST // 2:
            super().write(fd, data[:100_000], offset)
            raise OSError(28, "No space left on device")
        super().write(fd, data, offset)


def test_a_disk_that_is_nearly_full_is_left_alone(database: Path) -> None:
    disk = _Short()
    with SqliteStore(database, disk=disk) as store:
        store.commit(Put("q", b"x"))
        disk.room = runway.FIRST
        assert not _extended(store, database)
        disk.room, disk.full = 1 << 40, True
        before = _wal(database)
        store._core.room.extend_wal()
        assert _wal(database) == before
        disk.full = False
        assert _extended(store, database)
