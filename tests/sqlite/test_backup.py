"""A copy of a database that is in use."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, StoreRefused
from pqadapters.store import Ack, Put, Set
from pqadapters.stores.sqlite import SqliteStore, backup, salvage


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


def test_a_backup_that_fails_leaves_nothing(database: Path) -> None:
    with SqliteStore(database) as store, pytest.raises(DiskError, match="back up to"):
        store.backup(to=database.parent / "none" / "copy.db")
