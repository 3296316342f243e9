"""A WAL that is damaged in its middle: SQLite takes it for one that ends there, and writes over the rest."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pqadapters.store import Ack, Put, Set
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore, salvage
from pqadapters.stores.sqlite.damage.wal_index import knows_of_more
from tests.segment.programs import run

_FRAME = 24 + 2048
_OPEN = """
import sys
from pqadapters.stores.sqlite import SqliteStore
print(len(SqliteStore(sys.argv[1]).damage))
"""
_KNOWS = """
import sys
from pqadapters.stores.sqlite.damage.wal_index import knows_of_more
print(knows_of_more(sys.argv[1]))
"""
_LOOK = """
import resource, sys
from pqadapters.opening import look_at
before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
print(look_at(sys.argv[1], lambda sight: sight.queues()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before)
"""
_DIE = """
import os
import sys
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore

class Dying(Disk):
    def rename(self, source, target):
        os._exit(0)

SqliteStore(sys.argv[1], disk=Dying())
"""


def _killed(database: Path, to: Path) -> Path:
    """What a process with sixty records and keys in its WAL leaves behind."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"old"), Set("t", b"old", b"1"))
        store.checkpoint()
        for n in range(60):
            store.commit(Put("q", b"%d" % n + b"x" * (n * 97 % 4000)), Set("t", b"%d" % n, b"v" * (n * 53 % 5000)))
        shutil.copytree(database.parent, to)
    return to / database.name


def _flip(path: str, at: int) -> None:
    data = bytearray(Path(path).read_bytes())
    data[at] ^= 4
    Path(path).write_bytes(data)


def _numbers(store: SqliteStore) -> list[bytes]:
    return [record.payload.rstrip(b"x") for record in store.browse("q")]


def _copies(database: Path) -> list[Path]:
    return sorted(database.parent.glob("damaged-*"))


@pytest.mark.parametrize("at", [2, 17, 24, 32 + 3, 32 + 9 * _FRAME + 9, 32 + 30 * _FRAME + 17, 32 + 70 * _FRAME + 17])
def test_i1_what_stands_behind_damage_is_put_aside_before_it_is_written_over(
    at: int, database: Path, tmp_path: Path
) -> None:
    copy = _killed(database, tmp_path / "killed")
    _flip(f"{copy}-wal", at)
    with SqliteStore(copy) as store:
        (damage,) = store.damage
        assert _copies(copy) == [Path(damage.quarantine)]
        assert damage.quarantine in damage.reason
        assert "salvage" in damage.reason
        found = _numbers(store)
        assert len(found) < 61
        store.commit(*map(Ack, store.claim("q", limit=3)))
        store.commit(*(Put("q", b"new%d" % n) for n in range(90)))
        store.commit(Set("t", b"59", b"newer"))
        store.checkpoint()
    with SqliteStore(copy) as store:
        assert store.damage == ()
    salvage(copy, to=tmp_path / "new.db")
    with SqliteStore(tmp_path / "new.db") as store:
        behind = [b"%d" % n for n in range(len(found) - 1, 60)]
        assert _numbers(store) == found[3:] + behind + [b"new%d" % n for n in range(90)]
        assert store.get("t", b"59") == b"newer"
        assert all(store.get("t", b"%d" % n) == b"v" * (n * 53 % 5000) for n in range(59))


def test_a_gap_that_a_power_cut_has_left_is_not_said_to_be_damage_for_sure(database: Path, tmp_path: Path) -> None:
    """What waits for a sync comes to the disk in any order: claims, at "power", whose frames are lost or not."""
    copy = _killed(database, tmp_path / "killed")
    wal = Path(f"{copy}-wal")
    data, gap = wal.read_bytes(), slice(32 + 30 * _FRAME, 32 + 31 * _FRAME)
    wal.write_bytes(data[: gap.start] + bytes(_FRAME) + data[gap.stop :])
    with SqliteStore(copy) as store:
        (damage,) = store.damage
        assert "or by a power cut" in damage.reason
        assert damage.quarantine in damage.reason


def _killed_with_keys(database: Path, to: Path) -> Path:
    """The same of a process that gave no ids: nothing is missing in their sequence."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"old"), Set("t", b"old", b"1"))
        store.checkpoint()
        for n in range(60):
            store.commit(Set("t", b"%d" % n, b"v" * (n * 53 % 5000)))
        store.claim("q")
        shutil.copytree(database.parent, to)
    return to / database.name


@pytest.mark.parametrize("at", [2, 17, 24, 32 + 3, 32 + 30 * _FRAME + 17, 32 + 70 * _FRAME + 100])
def test_keys_that_stand_behind_damage_are_put_aside(at: int, database: Path, tmp_path: Path) -> None:
    copy = _killed_with_keys(database, tmp_path / "killed")
    _flip(f"{copy}-wal", at)
    with SqliteStore(copy) as store:
        (damage,) = store.damage
        assert _copies(copy) == [Path(damage.quarantine)]
        assert "its last commits are gone" in damage.reason
        assert store.count("t") < 61
        store.commit(*map(Ack, store.claim("q")))
        store.commit(*(Set("t", b"59", b"newer%d" % n) for n in range(90)))
    with SqliteStore(copy) as store:
        assert store.damage == ()
    assert len(_copies(copy)) == 1
    salvage(copy, to=tmp_path / "new.db")
    with SqliteStore(tmp_path / "new.db") as store:
        assert _numbers(store) == []  # what is done doesn't come again
        assert store.get("t", b"59") == b"newer89"
        assert all(store.get("t", b"%d" % n) == b"v" * (n * 53 % 5000) for n in range(59))


def test_the_tail_of_a_wal_of_keys_is_torn(database: Path, tmp_path: Path) -> None:
    """As a power cut leaves it where the wal-index came to the disk: nothing is behind it."""
    killed = _killed_with_keys(database, tmp_path / "killed")
    whole = Path(f"{killed}-wal").read_bytes()
    for cut in (0, 8, 32 + 8, 32 + 20 * _FRAME, 32 + 20 * _FRAME + 24):
        copy = tmp_path / str(cut) / killed.name
        shutil.copytree(killed.parent, copy.parent)
        Path(f"{copy}-wal").write_bytes(whole[:cut] + bytes(len(whole) - cut))
        with SqliteStore(copy) as store:
            assert store.damage == ()
        assert not _copies(copy)


def test_what_no_wal_index_tells_of_is_not_looked_for(database: Path, tmp_path: Path) -> None:
    """It is damaged, or made by nobody."""
    killed = _killed_with_keys(database, tmp_path / "killed")
    assert not knows_of_more(str(killed))
    _flip(f"{killed}-wal", 32 + 30 * _FRAME + 17)
    assert knows_of_more(str(killed))
    for at in (1, 12, 16, 40, 48 + 16):
        copy = tmp_path / str(at) / killed.name
        shutil.copytree(killed.parent, copy.parent)
        _flip(f"{copy}-shm", at)
        assert not knows_of_more(str(copy))
        _flip(f"{copy}-shm", (at + 48) % 96)  # both alike
        assert not knows_of_more(str(copy))
    os.truncate(f"{killed}-shm", 20)
    assert not knows_of_more(str(killed))
    os.unlink(f"{killed}-shm")
    assert not knows_of_more(str(killed))


def test_a_wal_that_somebody_writes_is_not_read(database: Path, tmp_path: Path) -> None:
    """Here: a look would let go of SQLite's locks. Or in another process, which knows what it has written."""
    copy = _killed_with_keys(database, tmp_path / "killed")
    with SqliteStore(copy) as store:
        store.commit(Set("t", b"one", b"1"))
        _flip(f"{copy}-wal", 32 + 9 * _FRAME + 9)
        assert not knows_of_more(str(copy))
        look = [sys.executable, "-c", _KNOWS, str(copy)]
        assert subprocess.run(look, stdout=subprocess.PIPE, text=True, check=True).stdout == "False\n"
        shutil.copytree(copy.parent, tmp_path / "again")
    assert knows_of_more(str(tmp_path / "again" / copy.name))


def test_a_block_of_a_wal_that_is_gone(database: Path, tmp_path: Path) -> None:
    """The first one, with the head: the frames were taken for those of an earlier round."""
    copy = _killed(database, tmp_path / "killed")
    data = Path(f"{copy}-wal").read_bytes()
    Path(f"{copy}-wal").write_bytes(bytes(4096) + data[4096:])
    with SqliteStore(copy) as store:
        assert len(_copies(copy)) == 1
    salvage(copy, to=tmp_path / "new.db")
    with SqliteStore(tmp_path / "new.db") as store:
        assert _numbers(store) == [b"old", *(b"%d" % n for n in range(60))]


def test_a_torn_tail_is_no_damage(database: Path, tmp_path: Path) -> None:
    """As a power cut leaves it at durability "process", with a mark that came to the disk."""
    killed = _killed(database, tmp_path / "killed")
    whole = Path(f"{killed}-wal").read_bytes()
    size = len(whole.rstrip(b"\0"))
    size += -(size - 32) % _FRAME
    for cut in (32 + 8, 32 + 24, 32 + 20 * _FRAME, 32 + 20 * _FRAME + 24, size - 1000, size - _FRAME - 1000):
        for rest in (b"", bytes(len(whole) - cut)):
            copy = tmp_path / f"{cut}-{len(rest)}" / killed.name
            shutil.copytree(killed.parent, copy.parent)
            Path(f"{copy}-wal").write_bytes(whole[:cut] + rest)
            with SqliteStore(copy) as store:
                assert [damage.quarantine for damage in store.damage] == [""]
            assert not _copies(copy)


def test_a_whole_wal_of_a_killed_process_is_copied_nowhere(database: Path, tmp_path: Path) -> None:
    copy = _killed(database, tmp_path / "killed")
    with SqliteStore(copy) as store:
        assert store.damage == ()
        assert len(_numbers(store)) == 61
    assert not _copies(copy)


def test_processes_that_open_it_at_once_make_one_copy(database: Path, tmp_path: Path) -> None:
    copy = _killed(database, tmp_path / "killed")
    _flip(f"{copy}-wal", 32 + 30 * _FRAME + 17)
    command = [sys.executable, "-c", _OPEN, str(copy)]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sorted(each.communicate()[0] for each in several) == ["0\n", "0\n", "0\n", "1\n"]
    assert len(_copies(copy)) == 1


def test_the_locks_are_kept(database: Path, tmp_path: Path) -> None:
    copy = _killed(database, tmp_path / "killed")
    _flip(f"{copy}-wal", 32 + 30 * _FRAME + 17)
    with SqliteStore(copy) as store:
        assert _copies(copy)
        take = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode = DELETE')"
        told = subprocess.run([sys.executable, "-c", take, str(copy)], capture_output=True, text=True)
        assert "locked" in told.stderr
        store.commit(Put("q", b"and on"))


def test_who_died_in_the_middle_of_copying(database: Path, tmp_path: Path) -> None:
    copy = _killed(database, tmp_path / "killed")
    _flip(f"{copy}-wal", 32 + 30 * _FRAME + 17)
    subprocess.run([sys.executable, "-c", _DIE, str(copy)], check=True)
    assert [path.suffix for path in _copies(copy)] == [".tmp"]
    SqliteStore(copy).close()
    assert [path.suffix for path in _copies(copy)] == [".bin"]


def test_who_died_behind_copying_has_copied(database: Path, tmp_path: Path) -> None:
    copy = _killed(database, tmp_path / "killed")
    _flip(f"{copy}-wal", 32 + 30 * _FRAME + 17)
    shutil.copytree(copy.parent, tmp_path / "again")
    SqliteStore(copy).close()
    (made,) = _copies(copy)
    shutil.copy(made, tmp_path / "again")
    with SqliteStore(tmp_path / "again" / copy.name) as store:
        assert [damage.quarantine for damage in store.damage] == [str(tmp_path / "again" / made.name)]


@pytest.mark.parametrize("free", [0, 1 << 20])
def test_a_full_disk_is_told_of(free: int, database: Path, tmp_path: Path) -> None:
    """The store serves what it has, and no room is taken that its commits need."""

    class Full(Disk):
        def free(self, directory: str) -> int:
            return free

    copy = _killed(database, tmp_path / "killed")
    _flip(f"{copy}-wal", 32 + 30 * _FRAME + 17)
    with SqliteStore(copy, disk=Full()) as store:
        (damage,) = store.damage
        assert os.strerror(errno.ENOSPC) in damage.reason
        assert "couldn't be copied" in damage.reason
        assert store.claim("q")
    assert not _copies(copy)


def test_a_look_at_a_database_with_another_file_for_its_wal(database: Path, tmp_path: Path) -> None:
    """SQLite tried a hundred times to make sense of it, where a dead process had left its "-shm", and slept for ten
    seconds in between."""
    copy = _killed(database, tmp_path / "killed")
    Path(f"{copy}-wal").write_bytes(b"some notes\n" * 900)
    queues, slept = run(_LOOK, copy).splitlines()
    assert queues == "['q']"
    assert int(slept) < 50
