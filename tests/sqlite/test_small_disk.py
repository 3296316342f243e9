"""A disk that has no room for a whole reserve, and several processes that share what there is."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pqadapters.errors import DiskError
from pqadapters.store import Ack, Delete, Put
from pqadapters.stores.sqlite import SqliteStore, schema
from pqadapters.stores.sqlite.space.room import Room
from tests.segment.programs import PATIENCE, ROOT

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


@pytest.mark.parametrize("left", [32_768, 50_000])
@pytest.mark.parametrize("size", [20, 3000])
def test_pages_that_are_free_in_the_database_are_room_for_puts(
    small: Path, size: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A put was refused while three quarters of the file were free, until a checkpoint gave them back."""
    with monkeypatch.context() as patch, SqliteStore(small / "q.db", durability="process") as store:
        patch.setattr(Room, "give_back", lambda self, **options: False)  # the keeper has had no time for it
        with pytest.raises(DiskError):
            while True:
                store.commit(Put("q", bytes(size)))
        while claims := store.claim("q"):
            store.commit(*map(Ack, claims))
        room = os.statvfs(small)
        (small / "ballast").write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - left)))
        for _ in range(20):
            store.commit(Put("q", bytes(size)))


def test_pages_arent_given_back_while_a_reader_keeps_the_wal(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 32 rounds waited for it, seven seconds with the writer's lock held, and took room."""
    path, given = small / "q.db", 0

    def count(self: Room, most: int) -> bool:
        nonlocal given
        given += 1
        return False

    with SqliteStore(path, durability="process") as store, closing(sqlite3.connect(path)) as reader:
        store.commit(Put("q", b"first"))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM record").fetchone()
        monkeypatch.setattr(Room, "_give_back_few", count)
        with pytest.raises(DiskError):
            while True:
                store.commit(Put("q", bytes(3000)))
        assert given == 0
        reader.rollback()
        with pytest.raises(DiskError):
            while True:
                store.commit(Put("q", bytes(3000)))
        assert given > 0


def test_what_was_given_up_is_nobody_elses_until_the_next_try(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes made the reserve anew before it came, again and again: an acknowledgement was refused."""
    tries: list[bool] = []
    given = False
    give_up = Room._give_up_reserve

    def note(self: Room) -> None:
        nonlocal given
        give_up(self)
        given = True

    def look(statement: str) -> None:
        nonlocal given
        if given and statement == schema.BEGIN:
            given = False
            hold = core.owners.hold("checkpoint")
            tries.append(hold is None)
            if hold is not None:
                hold.close()

    with SqliteStore(small / "q.db", durability="process") as store:
        core = store._core
        with pytest.raises(DiskError):
            while True:
                store.commit(Put("q", bytes(3000)))
        monkeypatch.setattr(Room, "_tighten", lambda self, **options: setattr(self._core.mark, "crowded", True))
        monkeypatch.setattr(Room, "_give_up_reserve", note)
        assert core.writer.connection is not None
        core.writer.connection.set_trace_callback(look)
        while claims := store.claim("q"):
            store.commit(*map(Ack, claims), Delete("table", b"key"))
    assert tries
    assert all(tries)


_FILLS = """
import sys
from pqadapters.errors import DiskError
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1], durability="process") as store:
    refused = count = 0
    while refused < 5:
        try:
            store.commit(Put("q", bytes(int(sys.argv[2]))))
            count += 1
        except DiskError:
            refused += 1
print(count)
"""
_DRAINS = """
import sys
from pqadapters.store import Ack
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1], durability="process") as store:
    count = 0
    while claims := store.claim("q", timeout=1.0):
        store.commit(*map(Ack, claims))
        count += 1
print(count)
"""


def _three(program: str, database: Path, size: int) -> int:
    command = [sys.executable, "-c", program, str(database), str(size)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    told = [each.communicate(timeout=PATIENCE) for each in running]
    for _, trouble in told:
        assert not trouble, (trouble[-2000:], [(each.name, each.stat().st_size) for each in database.parent.rglob("*")])
    return sum(int(count) for count, _ in told)


@pytest.mark.parametrize("size", [100, 3000])
def test_processes_that_filled_it_together_drain_it_together(small: Path, size: int) -> None:
    """What one gave up for an acknowledgement others took for puts, or for a reserve: nothing could be got, or some
    of them were told that the disk is full."""
    count = _three(_FILLS, small / "q.db", size)
    assert count * size > CAPACITY // 16
    assert _three(_DRAINS, small / "q.db", size) == count
    with SqliteStore(small / "q.db", durability="process") as store:
        assert store.depth("q").unfinished == 0
        store.commit(Put("q", b"and on"))


def test_a_disk_without_room_for_more_files_says_so(small: Path) -> None:
    """SQLite couldn't make the files beside the database, and a permission was said to be missing; and where ours
    couldn't be made, space, of which there was enough."""
    files, opened, told = 2, False, list[DiskError]()
    while not opened:
        files += 1
        subprocess.run(["mount", "-o", f"remount,nr_inodes={files}", str(small)], check=True)
        try:
            with SqliteStore(small / "q.db") as store:
                store.commit(Put("q", b"a"))
                opened = True
        except DiskError as error:
            told.append(error)
    assert len(told) > 2
    assert {error.errno for error in told} == {errno.ENOSPC}
    assert all("df -i" in str(error) for error in told)
