"""A copy of a database that is in use."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, StoreRefused
from pqadapters.store import Ack, Put, Set
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.sqlite import SqliteStore, backup, salvage

CAPACITY = 1 << 20

def test_a_backup_is_a_store_and_what_was_claimed_is_ready_in_it(database: Path) -> None:
    copy = database.with_name("copy.db")
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"), Put("q", b"b"), Set("t", b"k", b"v"))
        (claim,) = store.claim("q")
        store.backup(to=copy)
        with pytest.raises(StoreRefused, match="exists already"):
            store.backup(to=copy)
        store.commit(Ack(claim), Put("q", b"c"))
    with SqliteStore(copy) as store:
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"a", b"b"]
        assert store.get("t", b"k") == b"v"
    assert sorted(os.listdir(database.parent)) == ["copy.db", "copy.db-owners", "jobs.db", "jobs.db-owners"]


@pytest.mark.parametrize(
    "copies", [lambda store, to: store.backup(to=to), lambda store, to: salvage(store.place, to=to)]
)
def test_what_may_stand_where_a_copy_is_to_is_not_replaced(
    copies: Any, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that doesn't tell whether a file is there was taken to say no."""
    copy = database.with_name("copy.db")
    copy.write_bytes(b"somebody's")

    def failing(look: Any) -> Any:
        def fails(path: Any, **options: Any) -> Any:
            if str(path) == str(copy):
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            return look(path, **options)

        return fails

    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        for name in ("stat", "lstat"):
            monkeypatch.setattr(os, name, failing(getattr(os, name)))
        with pytest.raises(DiskError, match="the system's log"):
            copies(store, copy)
    assert copy.read_bytes() == b"somebody's"


@pytest.mark.parametrize("copies", [lambda store, to: store.backup(to=to), lambda store, to: store.salvage(to=to)])
@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("jobs.db", "jobs.db-journal"),
        ("jobs.db", "jobs.db-owners/copy.db"),
        ("jobs.db-wal", "jobs.db"),
        ("jobs.db-shm", "jobs.db"),
    ],
)
def test_a_copy_by_the_name_of_what_stands_beside_a_database(copies: Any, name: str, to: str, tmp_path: Path) -> None:
    """It was taken for a journal: nobody opened the database for a minute, and then it was gone. Or the database itself
    went, taken for the WAL of its copy."""
    with SqliteStore(tmp_path / name) as store:
        store.commit(*[Put("q", b"%d" % n) for n in range(9)])
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(StoreRefused, match="one of them stands beside the other"):
            copies(store, tmp_path / to)
        assert sorted(os.listdir(tmp_path)) == before
    with SqliteStore(tmp_path / name) as store:
        assert len(store.claim("q", limit=20)) == 9


def test_the_wal_of_a_lost_database_isnt_salvaged_into_its_place(database: Path) -> None:
    """Five records of six hundred were brought out, and the WAL, in which all were, was removed."""
    with SqliteStore(database, durability="process") as store:
        for n in range(600):
            store.commit(Put("q", b"%d " % n * 20))
        wal = Path(f"{database}-wal").read_bytes()
    for path in database.parent.iterdir():
        if path.is_file():
            path.unlink()
    kept = database.with_name(f"{database.name}-wal")
    kept.write_bytes(wal)
    with pytest.raises(StoreRefused, match="one of them stands beside the other"):
        salvage(kept, to=database)
    assert kept.read_bytes() == wal


def test_two_backups_to_one_name_at_a_time(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wrote into one file of that name: each took the other one's away, or gave it its name half written."""
    copy, real = database.with_name("copy.db"), backup._copy

    def slowly(path: str, part: str) -> None:
        monkeypatch.setattr(backup, "_copy", real)
        real(path, part)
        with SqliteStore(database) as other:
            other.backup(to=copy)

    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        monkeypatch.setattr(backup, "_copy", slowly)
        with pytest.raises(StoreRefused, match="exists already"):
            store.backup(to=copy)
    with SqliteStore(copy) as store:
        assert store.depth("q").ready == 1
    assert not list(database.parent.glob("*.part*"))


_KILLED = """
import os, sqlite3, sys
from pqadapters.stores.sqlite import SqliteStore, backup

def copy(path, part):
    connection = sqlite3.connect(part)
    connection.execute("CREATE TABLE half (way)")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO half VALUES (1)")
    os._exit(0)

backup._copy = copy
SqliteStore(sys.argv[1]).backup(to=sys.argv[2])
"""


def test_what_a_killed_backup_has_left_goes_with_the_next_one(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its name. What one that lives is about stays."""
    real, seen = backup._copy, list[list[Path]]()

    def slowly(path: str, part: str) -> None:
        monkeypatch.setattr(backup, "_copy", real)
        real(path, part)
        with SqliteStore(database) as other:
            other.backup(to=database.with_name("tuesday.db"))
        seen.append(list(database.parent.glob("*.part")))

    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        monday = database.with_name("monday.db")
        subprocess.run([sys.executable, "-c", _KILLED, str(database), str(monday)], check=True)
        assert len(list(database.parent.glob("monday.db.*"))) == 2
        monkeypatch.setattr(backup, "_copy", slowly)
        store.backup(to=database.with_name("wednesday.db"))
    assert [path.name.split(".")[0] for (path,) in seen] == ["wednesday"]
    assert not list(database.parent.glob("*.part*"))
    assert not list(database.parent.glob("*/backup-*"))
    for name in ("tuesday.db", "wednesday.db"):
        with SqliteStore(database.with_name(name)) as store:
            assert store.depth("q").ready == 1


def test_a_backup_that_fails_leaves_nothing(database: Path) -> None:
    with SqliteStore(database) as store, pytest.raises(DiskError, match="back up to"):
        store.backup(to=database.parent / "none" / "copy.db")


def test_a_backup_to_a_full_disk_leaves_nothing(database: Path, small: Path) -> None:
    """SQLite finds out about that, and not the system's call."""
    with SqliteStore(database) as store:
        store.commit(*(Put("q", os.urandom(1000)) for _ in range(2 * CAPACITY // 1000)))
        with pytest.raises(DiskError, match="free some space there") as refused:
            store.backup(to=small / "copy.db")
        assert (refused.value.errno, os.listdir(small)) == (errno.ENOSPC, [])
        assert not list(database.parent.glob("*/backup-*"))


def test_no_copy_is_put_into_the_directory_of_a_queue(database: Path, tmp_path: Path) -> None:
    """The queue couldn't be opened any more."""
    SegmentStore(tmp_path / "q").close()
    with SqliteStore(database) as store, pytest.raises(StoreRefused, match="q is the directory of a store"):
        store.backup(to=tmp_path / "q" / "copy.db")
    with pytest.raises(StoreRefused, match="q is the directory of a store"):
        salvage(database, to=tmp_path / "q" / "copy.db")
    SegmentStore(tmp_path / "q").close()
