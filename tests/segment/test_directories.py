"""Where a store may live, and what is said where it may not. Nothing is lost in any of these cases."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import (
    DiskError,
    FormatError,
    StoreLocked,
    StoreRefused,
    UnsafeFilesystemWarning,
)
from pqadapters.store import Put
from pqadapters.stores import _directory
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import SegmentStore, format
from pqadapters.stores.segment.core import Core
from pqadapters.stores.segment.store import MIN_SEGMENT_BYTES
from pqadapters.stores.sqlite import SqliteStore

from ..contract.descriptors import open_below
from ..contract.threads import Task
from ..crash.promises import die
from .contents import filled, payloads
from .programs import running, said
from .users import USER, as_root, as_user, home_of_user, open_to_all, owners

HOLD = """
import sys
from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore
store = SegmentStore(sys.argv[1])
store.commit(Put("q", b"theirs"))
print("held", flush=True)
sys.stdin.readline()
"""


class KilledHere(BaseException):
    pass


class Making(Disk):
    """Knows which of the directories that it has made have a name on the disk. `killed_at`: behind so many that it has
    made it makes and syncs no more."""

    def __init__(self, killed_at: int | None) -> None:
        self.killed_at, self.made, self.synced = killed_at, set[str](), set[str]()

    def mkdir(self, path: str) -> None:
        super().mkdir(path)
        self.made.add(path)
        if len(self.made) == self.killed_at:
            raise KilledHere

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        super().sync_directory(path, fd)
        self.synced |= {each for each in self.made if os.path.dirname(each) == path}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_system_syncs_each_file_and_each_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests look at what a disk is asked for, and put one of their own in its place."""
    synced: list[os.stat_result] = []

    def noting(call: Callable[[int], None]) -> Callable[[int], None]:
        def noted(fd: int) -> None:
            call(fd)
            synced.append(os.fstat(fd))

        return noted

    monkeypatch.setattr(os, "fsync", noting(os.fsync))
    monkeypatch.setattr(os, "fdatasync", noting(os.fdatasync))
    path = tmp_path / "a" / "q"
    segment = path / f"{1:016d}.seg"
    for places in [(tmp_path, tmp_path / "a", path), (tmp_path / "a", path, segment)]:  # made, and perhaps not synced
        synced.clear()
        with SegmentStore(path) as store:
            for place in places:
                assert any(os.path.samestat(os.stat(place), each) for each in synced), f"{place} was not synced"
            synced.clear()
            store.commit(Put("q", b"1"))
            assert any(os.path.samestat(os.stat(segment), each) for each in synced)
        lazy = SegmentStore(path, durability="process", max_lag=1000.0)
        lazy.commit(Put("q", b"2"))
        die(lazy)


def _make_store(path: Path, disk: Disk) -> None:
    SegmentStore(path, disk=disk).close()


def _make_database(path: Path, disk: Disk) -> None:
    SqliteStore(path / "q.db", disk=disk).close()


def _make_parent(path: Path, disk: Disk) -> None:
    _directory.prepare_parent(str(path), disk, trust=False)


@pytest.mark.parametrize("make", [_make_store, _make_database, _make_parent])
def test_directories_that_a_killed_process_has_begun_to_make_are_synced_by_the_next_one(
    make: Callable[[Path, Disk], None], tmp_path: Path
) -> None:
    """Behind a power cut all of them would be gone, and what is below them."""
    path = tmp_path / "a" / "b" / "q"
    for killed_at in range(4):
        disk = Making(killed_at)
        with suppress(KilledHere):
            make(path, disk)
        disk.killed_at = None
        make(path, disk)
        assert {str(each) for each in (path, path.parent, path.parent.parent)} <= disk.synced
        shutil.rmtree(tmp_path / "a")


@pytest.mark.parametrize("umask", [0, 0o177])
def test_missing_directories_are_made_and_are_private(umask: int, tmp_path: Path) -> None:
    """By a program that has set its umask for files, nobody but root could enter what it had made."""
    before = os.umask(umask)
    try:
        path = filled(tmp_path / "a" / "b", b"1")
    finally:
        os.umask(before)
    assert [mode(path), mode(path.parent)] == [0o700, 0o700]
    assert {mode(file) for file in path.iterdir()} == {0o600}


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q").write_text("mine")
    with pytest.raises(StoreRefused, match=r"q is a file; a store is a directory: give the path of"):
        SegmentStore(tmp_path / "q")
    assert (tmp_path / "q").read_text() == "mine"


def test_a_file_above_the_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "q").write_text("mine")
    with pytest.raises(DiskError, match="give a directory that this user may create and write") as caught:
        SegmentStore(tmp_path / "q" / "below")
    assert caught.value.errno == errno.ENOTDIR
    assert str(tmp_path / "q") in str(caught.value)


@pytest.mark.parametrize("below", ["sub", "sub/deep", "jobs.db"])
@pytest.mark.parametrize("make", [SegmentStore, SqliteStore])
def test_no_store_is_made_in_another_ones_directory(make: Callable[[Path], object], below: str, tmp_path: Path) -> None:
    """It worked, and the next start was told that what had been made there is foreign."""
    path = filled(tmp_path / "q", b"1")
    with pytest.raises(StoreRefused, match=r"q is the directory of a store, .* give a place that isn't below it"):
        make(path / below)
    assert payloads(path) == [b"1"]


def test_a_directory_of_other_files_may_have_a_store_in_it(tmp_path: Path) -> None:
    (tmp_path / "speech-01.seg").touch()
    assert payloads(filled(tmp_path / "q", b"1")) == [b"1"]


def test_a_disk_that_fails_is_no_matter_of_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Disk, path: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(Disk, "mkdir", fails)
    with pytest.raises(DiskError, match="look at the disk and at the system's log") as caught:
        SegmentStore(tmp_path / "q")
    assert caught.value.errno == errno.EIO


def test_what_fails_behind_the_opening_lets_go_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files stayed open, and its lock was kept for as long as the exception lived."""
    path, real = filled(tmp_path / "q", b"1"), os.stat

    def failing(name: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if name == str(path) and open_below(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        return real(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", failing)
        with pytest.raises(DiskError, match="can't look at the directory") as failure:
            SegmentStore(path)
    assert not open_below(path)
    assert payloads(path) == [b"1"]
    assert failure.value.errno == errno.EIO


@pytest.mark.parametrize(("call", "number"), [("lock", errno.ENOLCK), ("sync_directory", errno.EINVAL)])
def test_a_filesystem_without_locks_or_syncs_is_no_matter_of_permissions(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS without its lock daemon, and shared folders of virtual machines."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Disk, call, refuse)
    makers: list[Callable[[], object]] = [
        lambda: SegmentStore(tmp_path / "queue"),
        lambda: SqliteStore(tmp_path / "queue.db"),
    ]
    for make in makers:
        with pytest.raises(DiskError, match="give a directory on a local disk") as caught:
            make()
        assert caught.value.errno == number


@as_root
@pytest.mark.parametrize("made", [False, True], ids=["missing", "there"])
def test_a_directory_that_may_not_be_written_is_an_error(tmp_path: Path, made: bool) -> None:
    open_to_all(tmp_path)
    home = tmp_path / "home"
    home.mkdir(0o755)
    path = home / "q"
    if made:
        path.mkdir()
        os.chown(path, 12345, 12345)
        path.chmod(0o500)
    with (
        as_user(12345),
        pytest.raises(DiskError, match="give a directory that this user may create and write") as caught,
    ):
        SegmentStore(path)
    assert caught.value.errno == errno.EACCES
    assert caught.value.filename == str(path)
    assert made or not path.exists()


@as_root
def test_a_file_that_another_user_has_made_there(tmp_path: Path) -> None:
    """Root, who trusted the directory. Its owner was told to give one that they may write."""
    open_to_all(tmp_path)
    path = filled(tmp_path / "q", b"1")
    (made,) = path.glob("*.seg")
    for each in (path, *path.iterdir()):
        os.chown(each, 0 if each == made else 12345, -1)
    with as_user(12345), pytest.raises(DiskError, match=r"user 0, .* as user 12345: .*chown") as caught:
        SegmentStore(path)
    assert made.name in str(caught.value)


@as_root
def test_somebody_elses_directory_is_refused_unless_trusted(tmp_path: Path) -> None:
    path = filled(tmp_path / "q", b"1")
    os.chown(path, 12345, 12345)
    with pytest.raises(
        StoreRefused, match=r"belongs to user 12345, and this process runs as user 0.*trust_directory=True"
    ):
        SegmentStore(path)
    with SegmentStore(path, trust_directory=True) as store:
        assert [record.payload for record in store.browse("q")] == [b"1"]
    assert path.stat().st_uid == 12345


@as_root
@pytest.mark.parametrize("name", ["0000000000000001.seg", "LOCK", "checkpoint"])
def test_what_another_user_has_put_into_a_directory_that_others_write(name: str, tmp_path: Path) -> None:
    """It was the store's from then on, with whatever pickles were in it; and they could read what came to it."""
    path = filled(tmp_path / "q", b"1")
    (path / name).touch()
    os.chown(path / name, USER, -1)
    path.chmod(0o2775)
    with pytest.raises(StoreRefused, match=f"{name} in it belongs to user {USER}, not 0 .*move it away"):
        SegmentStore(path)
    os.chown(path / name, 0, -1)
    assert (payloads(path), mode(path)) == ([b"1"], 0o700)


@as_root
def test_what_root_makes_in_another_users_directory_is_that_users(tmp_path: Path) -> None:
    """Its owner couldn't open the store any more: a segment in it was root's."""
    home = home_of_user(tmp_path)
    with SegmentStore(home / "a" / "q", segment_bytes=MIN_SEGMENT_BYTES, trust_directory=True) as store:
        store.commit(*[Put("q", b"%d" % n * 5000) for n in range(3)])
    assert owners(home) == {USER}
    with as_user():
        assert payloads(home / "a" / "q") == [b"%d" % n * 5000 for n in range(3)]


@as_root
def test_a_file_that_is_there_already_is_given_to_nobody(tmp_path: Path) -> None:
    """It may be a second name of one that isn't theirs."""
    home = home_of_user(tmp_path)
    (tmp_path / "secret").write_bytes(b"")
    os.link(tmp_path / "secret", home / "LOCK")
    with SegmentStore(home, trust_directory=True) as store:
        store.commit(Put("q", b"1"))
    assert (tmp_path / "secret").stat().st_uid == 0


@pytest.mark.parametrize("loose", [0o2775, 0o777, 0o755])
def test_our_own_directory_is_put_right(tmp_path: Path, loose: int) -> None:
    path = filled(tmp_path / "q", b"1")
    path.chmod(loose)
    assert payloads(path) == [b"1"]
    assert mode(path) & 0o777 == 0o700


def test_a_directory_for_everybody_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(StoreRefused, match="shared by all users"):
        SegmentStore(tmp_path)
    assert mode(tmp_path) == 0o1777


def test_a_daemon_whose_standard_streams_were_closed(tmp_path: Path) -> None:
    """It puts /dev/null in their place: the files had their numbers, so what was put behind that was nowhere, and the
    lock was gone."""
    code = """
import os, sys
from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore
heard, said = os.dup(0), os.dup(1)
os.closerange(0, 3)
store = SegmentStore(sys.argv[1])
nothing = os.open(os.devnull, os.O_RDWR)
for stream in range(3):
    os.dup2(nothing, stream)
store.commit(Put("q", b"late"))
os.write(said, b"put\\n")
os.read(heard, 1)
"""
    with running(code, tmp_path / "q") as child:
        assert said(child) == "put"
        with pytest.raises(StoreLocked):
            SegmentStore(tmp_path / "q")
    assert payloads(tmp_path / "q") == [b"late"]


def test_foreign_content_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "info").write_bytes(b"somebody's")
    (tmp_path / "q00000").write_bytes(b"data")
    with pytest.raises(StoreRefused, match=r"holds 'info', which is no part of a store \(and 1 more\)"):
        SegmentStore(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["info", "q00000"]
    assert mode(tmp_path) == 0o755


def test_a_foreign_file_in_a_store_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    path = filled(tmp_path / "q", b"1")
    (path / "notes.txt").write_text("mine")
    with pytest.raises(StoreRefused, match=r"'notes.txt'.*move the file away"):
        SegmentStore(path)
    (path / "notes.txt").unlink()
    assert payloads(path) == [b"1"]


def test_what_filesystems_and_volumes_leave_is_no_foreign_content(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".gitkeep").touch()
    assert payloads(filled(tmp_path, b"1")) == [b"1"]


def test_a_segment_of_another_store_is_refused(tmp_path: Path) -> None:
    one, other = filled(tmp_path / "one", b"1"), filled(tmp_path / "other", b"2")
    (other / "0000000000000001.seg").rename(one / "0000000000000002.seg")
    with pytest.raises(StoreRefused, match=r"0000000000000002.seg belongs to another store"):
        SegmentStore(one)
    (one / "0000000000000002.seg").unlink()
    assert payloads(one) == [b"1"]


def test_a_newer_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = filled(tmp_path / "q", b"1")
    segment = path / "0000000000000001.seg"
    data = bytearray(segment.read_bytes())
    for at in (0, format.HEADER_COPY):
        struct.pack_into("<H", data, at + 8, format.VERSION + 1)
    segment.write_bytes(data)
    with pytest.raises(FormatError, match=rf"format version {format.VERSION + 1}.*upgrade pqadapters"):
        SegmentStore(path)
    assert segment.read_bytes() == data, "what can't be read must not be touched"


def test_another_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with running(HOLD, tmp_path / "q") as child:
        assert said(child) == "held"
        with pytest.raises(StoreLocked, match=rf"q is held by process {child.pid}: one process at a time") as caught:
            SegmentStore(tmp_path / "q")
        assert caught.value.pid == child.pid
        child.kill()
        child.wait()
        assert payloads(tmp_path / "q") == [b"theirs"]


@pytest.mark.parametrize("before", [b"", b"7\n", b"4194304\n", b"4194304   \n", b"longer than any number\n"])
def test_a_lock_names_its_holder_whatever_stood_there(tmp_path: Path, before: bytes) -> None:
    file = tmp_path / "LOCK"
    file.write_bytes(before)
    hold = _directory.try_lock(str(file), Disk())
    assert hold is not None
    assert _directory.holder(str(file)) == os.getpid()
    hold.close()


def test_two_handles_of_one_process_share_a_store(tmp_path: Path) -> None:
    first = SegmentStore(tmp_path / "q")
    first.commit(Put("q", b"1"))
    second = SegmentStore(str(tmp_path / "." / "q"))
    first.close()
    assert [claim.payload for claim in second.claim("q")] == [b"1"]
    second.close()
    assert payloads(tmp_path / "q") == [b"1"]


def test_a_store_is_opened_while_its_last_handle_closes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened anew, behind that: what is closed serves nobody."""
    store, opening, joins = SegmentStore(tmp_path), list[Task[SegmentStore]](), threading.Event()
    close, join = store._core.log.close, Core.join

    def closing() -> None:
        opening.append(Task(lambda: SegmentStore(tmp_path), patience=60))
        assert joins.wait(60)
        close()

    def joining(core: Core, owner: object) -> bool:
        joins.set()
        return join(core, owner)

    monkeypatch.setattr(store._core.log, "close", closing)
    monkeypatch.setattr(Core, "join", joining)
    store.close()
    with opening[0].result() as again:
        again.commit(Put("q", b"x"))
        assert again.depth("q").ready == 1


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "fuse.rclone"])
def test_a_network_filesystem_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(_directory, "_filesystem", lambda path: kind)
    with pytest.warns(UnsafeFilesystemWarning, match=rf"lies on {kind}.*Put the store on a local disk"):
        SegmentStore(tmp_path / "q").close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's table of mounts")
def test_the_type_of_a_filesystem_is_found() -> None:
    assert _directory._filesystem("/proc") == "proc"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's table of mounts")
def test_the_type_of_a_filesystem_is_found_once_there_are_descriptors_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was unknown from then on, and a network filesystem as good as any."""
    _directory._filesystem_of.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(_directory, "open", _no_descriptor, raising=False)
        assert _directory._filesystem("/proc") == ""
    assert _directory._filesystem("/proc") == "proc"


def _no_descriptor(path: str, **_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"durability": "fsync"}, "durability is 'power' or 'process', not 'fsync'"),
        ({"max_lag": 0}, "max_lag"),
        ({"segment_bytes": 12}, "segment_bytes is from 4096"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_anything_is_made(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SegmentStore(tmp_path / "q", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "q").exists()
