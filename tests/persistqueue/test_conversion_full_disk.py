"""A conversion on a disk that is really full leaves the old as it was, and nothing beside it; with room it is done."""

from __future__ import annotations

import dbm.dumb
import errno
import os
import shelve as stdlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import persistqueue as old
import pytest

import pqadapters.persistqueue as ours
from pqadapters.errors import DiskError
from pqadapters.stdlib import shelve
from tests.crash.test_full_disk import fill

from . import theirs

CAPACITY = 4 << 20
ITEMS = [f"{n}" * 500 for n in range(100, 300)]
ROOM = (0, 12, 24, 48, 96, 192)  #: KiB


def _shelf(path: str) -> None:
    os.mkdir(path)
    module: Any = dbm.dumb
    with stdlib.Shelf[str](module.open(f"{path}/s", "c")) as shelf:
        shelf.update({item[:3]: item for item in ITEMS})


def _moved(path: str) -> list[Any]:
    shelve.migrate(f"{path}/s")
    with shelve.open(f"{path}/s") as shelf:
        return list(shelf.values())


def _items(q: Any) -> list[Any]:
    return [q.get(block=False) for _ in range(q.qsize())]


MAKE: dict[str, Callable[[str], None]] = {
    "files": lambda path: theirs.file_queue(path, ITEMS, chunksize=50),
    "database": lambda path: theirs.database(path, old.SQLiteQueue, ITEMS),
    "shelf": _shelf,
}
FOUND: dict[str, Callable[[str], list[Any]]] = {
    "files": lambda path: _items(ours.Queue(path)),
    "database": lambda path: _items(ours.SQLiteQueue(path)),
    "shelf": _moved,
}


@pytest.mark.parametrize("kind", list(MAKE))
def test_no_room(small: Path, kind: str) -> None:
    path = str(small / "q")
    MAKE[kind](path)
    os.chmod(path, 0o700)
    before = theirs.contents(path)
    ballast = fill(small)
    size, told = ballast.stat().st_size, ""
    for room in ROOM:
        os.truncate(ballast, size - (room << 10))
        with pytest.raises(DiskError) as caught:
            FOUND[kind](path)
        told += f"{caught.value} {caught.value.filename}\n"
        left = theirs.contents(path)
        if kind != "database":  # whose WAL may go into it
            assert {name: left[name] for name in before} == before
        assert not [name for name in left if "convert" in name or "new-shelf" in name or name == "LOCK"], room
        if room >= 96:  # of less SQLite says that the disk has an error
            assert caught.value.errno == errno.ENOSPC
    assert sorted(os.listdir(small)) == ["ballast", "q"]
    if kind != "shelf":
        assert "there is no room to convert it" in told
        assert path in told
        assert "migrate PATH --to URL" in told
    ballast.unlink()
    assert FOUND[kind](path) == ITEMS
