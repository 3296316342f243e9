"""A database that is taken away: nothing more is acknowledged, and what was put in its place isn't mixed with it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.errors import DiskError, StorePoisoned, StoreRefused
from pqadapters.store import Put, Set
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore, onlooker, pairing
from pqadapters.stores.sqlite.damage import index
from pqadapters.stores.sqlite.database import connect
from pqadapters.stores.sqlite.frozen import FrozenTables
from pqadapters.stores.sqlite.takeover.predecessor import Snapshot
from pqadapters.stores.sqlite.takeover.probe import probe

from ..contract.threads import Task
from ..segment.programs import PATIENCE, running, said
from .contents import await_looks


def _replace(path: Path) -> None:
    with SqliteStore(path.with_name("other.db")) as other:
        other.commit(Put("q", b"other"))
    path.with_name("other.db").rename(path)


def _remove_all(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir(mode=0o700)


_VICTIM = """
import os, sys
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
store.commit(Put("q", b"one"))
if sys.argv[2] == "forked":
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
store.backup(to=sys.argv[1].replace("q.db", "backup.db"))
store.commit(Put("q", b"two"))
print("stored", flush=True)
sys.stdin.readline()
"""


TAKEN: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "removed with its directory": _remove_all,
    "moved": lambda path: path.rename(path.with_name("elsewhere.db")),
    "replaced": _replace,
}


def test_a_commit_of_several_operations_is_refused_as_well(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "q.db") as store:
        store.commit(Put("q", b"one"))
        (tmp_path / "q.db").unlink()
        with pytest.raises(StorePoisoned, match="was removed"):
            store.commit(Put("q", b"two"), Put("p", b"three"))


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("how", TAKEN)
def test_a_database_that_is_taken_away_is_noticed(how: str, durability: str, tmp_path: Path) -> None:
    path = tmp_path / "place" / "q.db"
    path.parent.mkdir(mode=0o700)
    store = SqliteStore(path, durability=durability)
    store.commit(Put("q", b"one"))
    store.sync()
    highest = store._core.mark.read()
    TAKEN[how](path)
    # with the directory its WAL goes first, as a rule, and the keeper may look just then
    with pytest.raises(StorePoisoned, match=r"q\.db(-wal)? was removed, moved or replaced while it was open"):
        store.commit(Put("q", b"two"))  # at "power" it has a sync of its own
        store.sync()
    assert store._core.writer.trouble is not None
    if durability == "power":
        assert highest == store._core.mark.read()  # nothing was acknowledged
    with pytest.raises(StorePoisoned, match="was removed, moved or replaced"):
        store.commit(Put("q", b"three"))
    store.close()
    if how == "replaced":
        _restore(path)
    with SqliteStore(path) as store:
        store.commit(Put("q", b"four"))
        expected = [b"other", b"four"] if how == "replaced" else [b"four"]
        assert [record.payload for record in store.browse("q")] == expected


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("by", [None, Path.touch, Path.mkdir])
def test_a_wal_that_is_taken_away_is_noticed(
    by: Callable[[Path], object] | None, several: bool, durability: str, tmp_path: Path
) -> None:
    """It was synced without a name, or another file in its place was: all that was acknowledged since the last copy was
    gone behind a SIGKILL."""
    path, wal, n, acknowledged = tmp_path / "q.db", tmp_path / "q.db-wal", 0, {0}
    with SqliteStore(path, durability=durability, max_lag=1e6 if durability == "process" else None) as store:
        store.commit(Put("q", b"0"))
        store.sync()  # else the keeper may notice it before the next commit
        wal.unlink()
        if by is not None:
            by(wal)
        with pytest.raises(StorePoisoned, match=r"q\.db-wal was removed, moved or replaced while .*Close the store"):
            while n < (40 if by is not None and durability == "power" else 1):  # at "power" each has a sync of its own
                n += 1
                store.commit(*(Put("q", b"%d" % n) for _ in range(1 + several)))  # refused where it is known by now
                acknowledged.add(n)
            store.sync()
        assert n <= 32
        with pytest.raises(StorePoisoned, match="-wal was removed"):
            store.commit(Put("q", b"more"))
        store._core.reader.close()
        with pytest.raises(DiskError):
            store._core.names.queue("another")  # by the WAL that has the name now
    if wal.is_dir():
        wal.rmdir()
    with SqliteStore(path) as store:
        found = {int(record.payload) for record in store.browse("q")}
        assert acknowledged <= found <= {*range(n + 1)}
        store.commit(Put("q", b"more"))


_WAITS: dict[str, Callable[[SqliteStore], object]] = {
    "for a record": lambda store: store.claim("q", timeout=PATIENCE),
    "for a depth": lambda store: store.wait("q", lambda depth: depth.ready > 0, timeout=PATIENCE),
}


@pytest.mark.parametrize("what", _WAITS)
def test_who_only_waits_notices_it_as_well(what: str, tmp_path: Path) -> None:
    """A consumer waited for ever: what came in was put into the database in the other one's place."""
    path = tmp_path / "q.db"
    with SqliteStore(path) as store:
        task = Task(lambda: _WAITS[what](store), patience=PATIENCE)
        while not store._core.bells.waiting:
            threading.Event().wait(0.001)
        path.unlink()
        with pytest.raises(StorePoisoned, match=r"q\.db was removed, moved or replaced while it was open"):
            task.result()


def _restore(path: Path) -> None:
    """As somebody does who reads the message."""
    with pytest.raises(StoreRefused, match=r"in the place of another database.*move .*q\.db-wal and .*q\.db-shm away;"):
        SqliteStore(path)
    path.with_name("q.db-wal").unlink()
    path.with_name("q.db-shm").unlink()


def _copy_over(backup: Path, path: Path) -> None:
    """Many a file system gives the new file the inode of the one that was removed just now."""
    path.unlink()
    shutil.copy(backup, path)
    if not pairing._generation(str(path)):  # the system tells no more than that: see below
        path.rename(path.with_name("moved"))
        shutil.copy(backup, path)


@pytest.mark.parametrize("restore", [Path.rename, _copy_over], ids=["moved", "copied"])
@pytest.mark.parametrize("before", ["", "forked"])
def test_a_backup_over_a_database_whose_last_process_was_killed(
    before: str, restore: Callable[[Path, Path], object], tmp_path: Path
) -> None:
    """Its WAL stays behind, another one behind a fork, and SQLite would put its pages into the other database."""
    path = tmp_path / "q.db"
    with running(_VICTIM, path, before) as child:
        assert said(child) == "stored"
    restore(tmp_path / "backup.db", path)
    _restore(path)
    with SqliteStore(path) as store:
        assert [record.payload for record in store.browse("q")] == [b"one"]


def test_a_file_with_the_inode_of_a_removed_one_is_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "q.db").touch()
    found = []
    for generation in (1, 2):
        monkeypatch.setattr(pairing, "_generation", lambda path, it=generation: it)
        found.append(pairing._very_file_at(str(tmp_path / "q.db")))
    assert found[0] != found[1]
    assert found[0][1] == found[1][1]


def test_a_copy_of_all_files_is_opened_with_its_wal(tmp_path: Path) -> None:
    """They are other files, and belong together all the same."""
    (tmp_path / "here").mkdir(mode=0o700)
    store = SqliteStore(tmp_path / "here" / "q.db")
    store.commit(Put("q", b"one"))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    store.close()
    assert (tmp_path / "there" / "q.db-wal").stat().st_size
    with SqliteStore(tmp_path / "there" / "q.db") as copy:
        assert [record.payload for record in copy.browse("q")] == [b"one"]


def test_who_may_not_look_any_more_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that has given up its privileges has the files open still."""

    def refuse(path: str) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with SqliteStore(tmp_path / "q.db") as store:
        store.commit(Put("q", b"one"))
        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", refuse)
            store.commit(Put("q", b"two"))
        assert [record.payload for record in store.browse("q")] == [b"one", b"two"]


@pytest.mark.parametrize("theirs", ["a file", "a database"])
def test_a_new_database_takes_no_other_file_away(theirs: str, tmp_path: Path) -> None:
    """What was salvaged to "q.db.new" went when somebody opened "q.db" before it had been put in its place."""
    path = tmp_path / "q.db.new"
    if theirs == "a file":
        path.write_text("theirs")
    else:
        with SqliteStore(path) as store:
            store.commit(Put("q", b"theirs"))
    with SqliteStore(tmp_path / "q.db") as store:
        assert store.depth("q").ready == 0
    if theirs == "a file":
        assert path.read_text() == "theirs"
    else:
        with SqliteStore(path) as store:
            assert [record.payload for record in store.browse("q")] == [b"theirs"]
    assert sorted(os.listdir(f"{tmp_path / 'q.db'}-owners")) == ["checkpoint", "mark", "opening", "reserve"]


class _PowerCut(BaseException):
    pass


class _CutAtRename(Disk):
    """The power goes as a database gets its name: what was removed and not synced is there again."""

    def __init__(self, *, armed: bool = True) -> None:
        self.armed = armed
        self._removed: dict[str, bytes] = {}

    def unlink(self, path: str) -> None:
        before = Path(path).read_bytes()
        super().unlink(path)
        self._removed[path] = before

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        self._removed = {name: data for name, data in self._removed.items() if os.path.dirname(name) != path}

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        if self.armed:
            for name, data in self._removed.items():
                if not name.startswith(source):
                    Path(name).write_bytes(data)
            raise _PowerCut


def test_a_crash_in_the_place_of_a_removed_database_is_no_damage(tmp_path: Path) -> None:
    """What knew of the old one's ids was taken for the new one's: "its last commits are gone"."""
    path = tmp_path / "q.db"
    with SqliteStore(path) as store:
        store.commit(*(Put("q", b"old") for _ in range(9)))
    path.unlink()
    with pytest.raises(_PowerCut):
        SqliteStore(path, disk=_CutAtRename())
    _check_new(path)


def _check_new(path: Path) -> None:
    with SqliteStore(path) as store:
        assert store.damage == ()
        assert list(store.browse("q")) == []
        store.commit(Put("q", b"new"))
        assert [record.payload for record in store.browse("q")] == [b"new"]


def test_a_backup_in_the_place_of_a_removed_database_is_no_damage(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "backup.db") as before:
        before.commit(*(Put("q", b"old") for _ in range(9)))
    (tmp_path / "backup.db").unlink()
    with SqliteStore(tmp_path / "q.db") as store:
        store.commit(Put("q", b"one"))
        store.backup(to=tmp_path / "backup.db")
    with SqliteStore(tmp_path / "backup.db") as copy:
        assert copy.damage == ()
        assert [record.payload for record in copy.browse("q")] == [b"one"]


def test_a_power_cut_brings_no_wal_of_a_removed_database_back(tmp_path: Path) -> None:
    """SQLite would put its pages into the new one, which has its name."""
    path = tmp_path / "q.db"
    with running(_VICTIM, path, "") as child:
        assert said(child) == "stored"
    path.unlink()
    assert path.with_name("q.db-wal").stat().st_size
    with pytest.raises(_PowerCut):
        SqliteStore(path, disk=_CutAtRename())
    _check_new(path)


def test_a_power_cut_brings_no_wal_of_a_removed_database_back_beside_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "backup.db"
    with running(_VICTIM, tmp_path / "q.db", "") as child:
        assert said(child) == "stored"
    for name in tmp_path.glob("q.db-*"):
        if name.is_file():
            name.rename(tmp_path / name.name.replace("q.db", "backup.db"))
    path.unlink()
    with SqliteStore(tmp_path / "other.db", disk=(disk := _CutAtRename(armed=False))) as store:
        store.commit(Put("q", b"other"))
        disk.armed = True
        with pytest.raises(_PowerCut):
            store.backup(to=path)
    with SqliteStore(path) as copy:
        assert [record.payload for record in copy.browse("q")] == [b"other"]


class _OutOfReach(Disk):
    """What is opened is refused."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        raise OSError(self.number, os.strerror(self.number), path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.EMFILE, errno.ENOSPC])
def test_only_a_full_disk_is_said_to_be_full(number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And not a reserve that can't be reached: privileges were given up, or the directory is gone, or
    this process has no descriptor to spare."""
    with SqliteStore(tmp_path / "q.db") as store:
        store.commit(Put("q", b"one"))
        reserve = store._core.room.reserve
        reserve.give_up()
        with monkeypatch.context() as patched:
            patched.setattr(reserve, "_disk", _OutOfReach(number))
            store._core.room.keep_reserve()
            with pytest.raises(DiskError, match="full") if number == errno.ENOSPC else nullcontext():
                store.commit(Put("q", b"two"))


@pytest.mark.parametrize(
    "look", [probe, Snapshot, FrozenTables, lambda path: onlooker.see(path, lambda sight: list(sight.queues()))]
)
def test_who_looks_at_a_database_that_is_removed_meanwhile_makes_none(
    look: Callable[[str], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An empty file had its name from then on."""
    path, real = tmp_path / "q.db", sqlite3.connect
    SqliteStore(path).close()

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        path.unlink(missing_ok=True)
        connection: sqlite3.Connection = real(*arguments, **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(DiskError):
        look(str(path))
    assert not path.exists()


@pytest.mark.parametrize("fails", [None, OSError("Dynamic loading not supported")])
def test_a_python_that_can_load_no_library_has_databases_too(
    fails: OSError | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was built without libffi has no ctypes, and one that is linked statically has no use for it."""

    def load(name: None) -> Any:
        assert fails is not None
        raise fails

    monkeypatch.setitem(sys.modules, "ctypes", fails and SimpleNamespace(CDLL=load))
    for _ in range(2):
        with SqliteStore(tmp_path / "q.db") as store:
            store.commit(Put("q", b"one"))
    with SqliteStore(tmp_path / "q.db") as store:
        assert store.depth("q").ready == 2


def test_what_is_looked_at_beside_the_work_is_not_made_anew_behind_a_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look went on with a closed database, and made an empty file where there was none any more. Under a shelf's
    name that hid the dbm file that was put there: a new, empty shelf came beside it."""
    monkeypatch.setattr(index, "_FEW", 0)
    begun, removed, look = threading.Event(), threading.Event(), index._look

    def wait(connection: sqlite3.Connection, after: int, most: int) -> int | None:
        found = look(connection, after, most)
        if found is None:  # that was all, and it goes on with what else is to be looked at
            begun.set()
            assert removed.wait(PATIENCE)
        return found

    path = tmp_path / "data.db"
    with SqliteStore(path) as store:
        store.commit(Set("t", b"key", b"value"))
    await_looks()
    path.with_name("data.db-owners").joinpath("checked").unlink(missing_ok=True)
    monkeypatch.setattr(index, "_look", wait)
    with SqliteStore(path) as store:
        assert begun.wait(PATIENCE)
    for left in tmp_path.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    removed.set()
    await_looks()
    assert not list(tmp_path.iterdir()), store


def test_a_connection_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connect(str(tmp_path / "data.db"))
    assert not list(tmp_path.iterdir())
