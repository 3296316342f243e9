"""Who holds a lock, as Linux lists it, or as the lock's file names itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pqadapters.stores import _holders
from pqadapters.stores._holders import holder_of, holders_of, is_written_here

NAMED, OTHER = 4711, 4712
Lists = Callable[..., None]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Of a lock: it names its holder, or the last one."""
    (tmp_path / "LOCK").write_text(f"{NAMED}\n")
    return str(tmp_path / "LOCK")


@pytest.fixture
def lists(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lists:
    """Lets the kernel list a lock on the file, in a line as in proc_locks(5)."""
    table, info = tmp_path / "locks", os.stat(file)
    table.touch()
    monkeypatch.setattr(_holders, "_LOCKS", str(table))

    def add(pid: int, *, waits: str = "", device: int = info.st_dev, inode: int = info.st_ino) -> None:
        where = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
        with open(table, "a") as lines:
            lines.write(f"1: {waits}FLOCK  ADVISORY  WRITE {pid} {where} 0 EOF\n")

    return add


def test_who_is_listed_holds_it_whoever_is_named(file: str, lists: Lists) -> None:
    assert holder_of(file) is None
    assert holders_of(file) == set()
    lists(OTHER)
    assert holder_of(file) == OTHER
    assert holders_of(file) == {OTHER}


def test_who_waits_for_a_lock_does_not_hold_it(file: str, lists: Lists) -> None:
    """Not even where its pid stands in the column that a holder has its file in, and is the file's number."""
    lists(OTHER, waits="-> ")
    lists(os.stat(file).st_ino, waits="-> ")
    assert holder_of(file) is None
    assert holders_of(file) == set()


def test_a_file_of_another_device_may_have_the_same_number(file: str, lists: Lists) -> None:
    lists(OTHER, device=os.makedev(0xFE, 0xED))
    assert holder_of(file) is None
    assert holders_of(file) == set()


def test_a_filesystem_may_number_its_device_in_two_ways(file: str, lists: Lists) -> None:
    """As btrfs does. Then it is the holder whom the file names."""
    lists(NAMED, device=os.makedev(0xFE, 0xED))
    assert holder_of(file) == NAMED


def test_a_holder_of_another_namespace_is_the_one_that_is_named(file: str, lists: Lists) -> None:
    """As in a container beside ours: there Linux says 0, or -1 of a lock that goes with an open file."""
    lists(-1)
    assert holder_of(file) == NAMED
    assert holders_of(file) == {0}
    Path(file).write_text("")
    assert holder_of(file) == 0


def test_without_a_list_the_one_that_is_named_holds_it_as_long_as_it_lives(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_holders, "_LOCKS", str(tmp_path / "none"))
    lives: list[type[OSError] | None] = [None, PermissionError, ProcessLookupError]

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (NAMED, 0)
        if error := lives.pop(0):
            raise error

    monkeypatch.setattr(os, "kill", kill)
    assert [holder_of(file) for _ in range(3)] == [NAMED, NAMED, None]
    assert holders_of(file) == set()


@pytest.mark.parametrize(("flags", "writes"), [(os.O_RDONLY, False), (os.O_WRONLY, True), (os.O_RDWR, True)])
def test_a_file_is_written_here_while_it_is_open_for_that(file: str, flags: int, writes: bool) -> None:
    fd = os.open(file, flags)
    try:
        assert is_written_here([file, f"{file}-gone"]) is writes
    finally:
        os.close(fd)
    assert not is_written_here([file])
