"""A conversion that is killed, loses power or is refused something leaves the old or the new; the next one ends it."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import persistqueue as old
import pytest

import pqadapters.persistqueue as ours
from pqadapters.errors import DiskError, StoreError
from pqadapters.persistqueue import conversion
from pqadapters.persistqueue.conversion import directories, is_theirs, moving
from pqadapters.serializers import pickle
from pqadapters.store import Op, Store
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment import predecessor as files
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.takeover import predecessor as databases
from tests.crash.trees import TreeDisk, build, die_at, one_by_one, power_cuts, refuse_at
from tests.home.world import Child, child
from tests.segment.programs import PATIENCE, ROOT

from . import theirs

ITEMS = [f"item {n:03d}" * (n % 7) for n in range(60)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a file queue in the directory "q"."""
    place = tmp_path_factory.mktemp("original") / "tree"
    place.mkdir(mode=0o700)
    theirs.file_queue(str(place / "q"), ITEMS, got=5, chunksize=9)
    (place / "q").chmod(0o700)
    return place


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    return _copy(original, tmp_path / "place")


def _copy(original: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(original, target)
    return target


def convert(place: Path, disk: Disk) -> None:
    """A file queue's conversion, with all that it does to files done by this disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directories, "take_over_directory", lambda path, known: files.Predecessor(path, known, disk=disk))
        patch.setattr(
            directories, "open_path", lambda path, durability: SegmentStore(path, durability=durability, disk=disk)
        )
        directories.convert_directory(str(place / "q"), pickle)


def check(place: Path) -> None:
    """What the next process finds."""
    with ours.Queue(str(place / "q")) as q:
        assert [q.get(block=False) for _ in range(q.qsize())] == ITEMS[5:]
    assert not {".converting", ".converted", "info", "q00000", "q00001"} & set(os.listdir(place / "q"))
    kept = [path for path in (*place.iterdir(), *(place / "q").iterdir()) if path.name.endswith(".persist-queue")]
    [full] = [path for path in kept if os.listdir(path)]
    back = old.Queue(str(full))
    assert [back.get() for _ in range(back.qsize())] == ITEMS[5:]


def _killed_at(place: Path, nth: int) -> bool:
    def call(me: Child) -> None:
        disk = TreeDisk(place)
        die_at(disk, nth)
        convert(place, disk)

    with child(call) as process:
        status = process.wait()
        assert status in (0, -signal.SIGKILL)
        return status != 0


def test_sigkill_before_each_change_of_files(place: Path, original: Path, caplog: pytest.LogCaptureFixture) -> None:
    for nth in itertools.count():
        killed = _killed_at(place, nth)
        check(place)
        if not killed:
            break
        _copy(original, place)
    assert nth > 30
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], "a crash looks like damage"


def test_sigkill_twice(place: Path, original: Path) -> None:
    rng = random.Random(1)
    for _ in range(40):
        _copy(original, place)
        _killed_at(place, rng.randrange(10, 60))
        _killed_at(place, rng.randrange(0, 60))
        check(place)


def test_power_cuts_of_files(place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(7)
    disk = TreeDisk(place)
    convert(place, disk)
    last = next(at for at, change in enumerate(disk.changes) if change.after and change.after[1] == ".converted")
    crashes = [*range(1, last - 5, 9), *range(last - 5, len(disk.changes) + 1)]
    for crash in crashes:
        singly = one_by_one(disk, crash) if crash > last else ()
        for keep in chain(power_cuts(disk, crash, rng, 1), singly):
            build(disk, crash, keep, tmp_path / "ruin")
            check(tmp_path / "ruin")
            shutil.rmtree(tmp_path / "ruin")
    build(disk, len(disk.changes), next(power_cuts(disk, len(disk.changes), rng, 0)), tmp_path / "ruin")
    assert not {"info", ".converted"} & set(os.listdir(tmp_path / "ruin" / "q")), "it is ours, and on the disk"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "from then on"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_change_that_is_refused(place: Path, original: Path, code: int, times: int) -> None:
    """A full disk, a broken one, one that may only be read: an error that says so, and nothing lost."""
    disk = TreeDisk(place)
    convert(place, disk)
    for nth in range(0, len(disk.changes), 1 if times == 1 else 4):
        _copy(original, place)
        disk = TreeDisk(place)
        refuse_at(disk, nth, code, times)
        with suppress(StoreError):  # what is only tidied up may fail without a word
            convert(place, disk)
        assert disk.refused
        check(place)


# Databases


_OPEN = "import sys, pqadapters.persistqueue as ours\nours.SQLiteQueue(sys.argv[1]).close()"
_CALLS = ("fsync", "fdatasync", "rename", "link", "unlink", "rmdir", "mkdir", "ftruncate", "pwrite64")
_EVERY = {"unlink": 6, "fdatasync": 5, "ftruncate": 6, "pwrite64": 40}  #: a kill costs a process


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a database in it, some of which stands in its WAL."""
    place = tmp_path_factory.mktemp("database") / "db"
    place.mkdir(mode=0o700)
    at = str(place / "made")
    theirs.database(at, old.SQLiteQueue, ITEMS)
    theirs.each_state(at)
    q = old.SQLiteQueue(at)
    q.put("last")
    shutil.copytree(at, place / "q")
    q.close()
    assert (place / "q" / "data.db-wal").stat().st_size
    return place / "q"


def check_database(path: Path, states: dict[Any, int]) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(f"{path}-copy")
    shutil.copytree(path, f"{path}-copy", ignore=shutil.ignore_patterns("*-owners"))
    copy = Path(f"{path}-copy", "data.db")
    assert not is_theirs(str(copy)) or len(theirs.rows(copy, "queue_default")) == len(ITEMS) + 1
    with ours.SQLiteQueue(str(path)) as q, ours.SQLiteAckQueue(str(path), auto_resume=False) as acks:
        assert [q.get(block=False) for _ in range(q.size)] == [*ITEMS, "last"]
        assert {row["data"]: row["status"] for row in acks.queue()} == states
        assert not q._store.damage
    assert sorted(name for name in os.listdir(path) if not name.startswith("data.db-")) == [
        "data.db",
        "data.db.persist-queue",
    ]


def _traced(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    strace = ["strace", "-f", "-qq", "-e", f"trace={','.join(_CALLS)}", *options]
    command = [*strace, sys.executable, "-c", _OPEN, str(path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=env)


@pytest.mark.timeout(600)
def test_sigkill_at_system_calls_of_a_databases_conversion(database: Path, tmp_path: Path) -> None:
    path = _copy(database, tmp_path / "q")
    rows = theirs.rows(_copy(database, tmp_path / "look") / "data.db", "ack_queue_default")
    states = dict(enumerate(row[3] for row in rows))
    done = _traced(path)
    check_database(path, states)
    counts = Counter(re.findall(r"^(?:\[pid +\d+\] )?(\w+)\(", done.stderr, re.MULTILINE))
    assert counts["rename"] > 1
    killed = 0
    for call in _CALLS:
        for nth in range(1, counts[call] + 1, _EVERY.get(call, 1)):
            _copy(database, path)
            done = _traced(path, "-e", f"inject={call}:signal=KILL:when={nth}")
            killed += done.returncode != 0
            check_database(path, states)
    assert killed > 30


def test_sigkill_around_each_commit_into_another_store(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put there to have ids of its own goes with the next one, too."""
    path = str(_copy(database, tmp_path / "q") / "data.db")
    monkeypatch.setattr(moving, "_AT_ONCE", 25)

    def move(store: Store) -> dict[str, dict[str, int]]:
        return {part.name: part.counts for part in conversion.move_database(path, store).parts}

    with SqliteStore(tmp_path / "whole.db") as store:
        expected = move(store)
    assert len(expected["ack_queue_default"]) == 5
    for nth in itertools.count():
        with child(partial(_move_dying, move, tmp_path / f"{nth}.db", nth)) as process:
            status = process.wait()
            assert status in (0, -signal.SIGKILL)
        with SqliteStore(tmp_path / f"{nth}.db") as store:
            assert move(store) == expected
            assert store.depth(moving._RESERVED).unfinished == 0
        if status == 0:
            break
    assert nth > 20


def _move_dying(move: Callable[[Store], object], target: Path, nth: int, me: Child) -> None:
    """Dies before every commit, and behind every one."""
    store, count = SqliteStore(target), itertools.count()
    real = store.commit

    def commit(*ops: Op, **options: Any) -> Any:
        if next(count) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*ops, **options)
        if next(count) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    vars(store)["commit"] = commit
    move(store)
    store.close()


def test_power_cuts_where_the_new_database_takes_the_place(database: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    (place / "data.db").write_text("old")
    (place / "data.db.converting").write_text("new")
    disk = TreeDisk(place)
    before = databases.Predecessor(str(place / "data.db"), seconds=1.0, disk=disk)
    before.hand_over(f"{place}/data.db.converting", before.free_name(".persist-queue"))
    before.close()
    kinds = [change.kind for change in disk.changes if change.node == disk._entries[0]["data.db"]]
    assert kinds == ["sync", "link"], "the new one is on the disk before it has the name"
    rng = random.Random(3)
    for crash in range(1, len(disk.changes) + 1):
        for keep in power_cuts(disk, crash, rng, 3):
            build(disk, crash, keep, tmp_path / "ruin")
            found = (tmp_path / "ruin" / "data.db").read_text()
            kept = tmp_path / "ruin" / "data.db.persist-queue"
            assert found == "old" or (found, kept.read_text()) == ("new", "old")
            shutil.rmtree(tmp_path / "ruin")
    build(disk, len(disk.changes), next(power_cuts(disk, len(disk.changes), rng, 0)), tmp_path / "ruin")
    assert (tmp_path / "ruin" / "data.db").read_text() == "new", "what is put from now on would be lost"


class _NoLinks(Disk):
    def link(self, source: str, target: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_filesystem_without_hard_links(tmp_path: Path) -> None:
    (tmp_path / "data.db").write_bytes(b"old" * 1_000_000)
    (tmp_path / "new").write_bytes(b"new")
    before = databases.Predecessor(str(tmp_path / "data.db"), seconds=1.0, disk=_NoLinks())
    before.hand_over(str(tmp_path / "new"), str(tmp_path / "kept"))
    before.close()
    assert (tmp_path / "data.db").read_bytes() == b"new"
    assert (tmp_path / "kept").read_bytes() == b"old" * 1_000_000


def test_a_full_disk_leaves_a_database_as_it_was(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _copy(database, tmp_path / "q")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(databases, "keep_file", full)
        with pytest.raises(DiskError, match="free some space"):
            ours.SQLiteQueue(str(path))
    assert len(theirs.rows(path / "data.db", "queue_default")) == len(ITEMS) + 1
    assert not [name for name in os.listdir(path) if "persist-queue" in name or "converting" in name]
    with ours.SQLiteQueue(str(path)) as q:
        assert q.size == len(ITEMS) + 1


def test_a_conversion_that_fails_leaves_no_lock(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that was being read kept the original locked for as long as the exception lived."""
    path = _copy(database, tmp_path / "q")

    def full(*arguments: object) -> None:
        raise DiskError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data.db.converting")

    monkeypatch.setattr(moving.Mover, "_commit", full)
    with pytest.raises(DiskError) as failure:
        ours.SQLiteQueue(str(path))
    assert len(theirs.rows(path / "data.db", "queue_default")) == len(ITEMS) + 1
    assert failure.value.errno == errno.ENOSPC


def test_a_directory_that_is_a_volume_keeps_the_original_inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be put beside it."""
    real = Disk.mkdir

    def mkdir(self: Disk, path: str) -> None:
        if path.endswith("q.persist-queue"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        real(self, path)

    monkeypatch.setattr(Disk, "mkdir", mkdir)
    with ours.Queue(str(place / "q")) as q:
        assert q.qsize() == len(ITEMS) - 5
    assert "q00000" in os.listdir(place / "q" / ".persist-queue")
    with ours.Queue(str(place / "q")) as q:
        assert q.qsize() == len(ITEMS) - 5
