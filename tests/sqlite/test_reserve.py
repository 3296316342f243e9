"""The reserve, where several processes are about it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite.space.reserve import Reserve


class _Full(Disk):
    def allocate(self, fd: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _FullAndGivenUp(_Full):
    """Another process gives it up in the middle of its growth, which fails."""

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        with suppress(FileNotFoundError):
            os.unlink(path)
        return super().open(path, create=create, write=write)


@pytest.mark.parametrize("alone", [False, True])
def test_one_that_was_given_up_meanwhile_isnt_there(tmp_path: Path, alone: bool) -> None:
    """It was cut to its old length: a file without blocks. Puts took all of the disk, and nothing could be got."""
    path = str(tmp_path / "reserve")
    reserve = Reserve(path, _FullAndGivenUp())
    assert Reserve(path, Disk()).keep()
    assert reserve.size() == Reserve.SIZE
    assert not reserve.keep(Reserve.SIZE // 2, ample=True, alone=alone)
    assert reserve.size() == 0


def test_only_who_is_alone_makes_one(tmp_path: Path) -> None:
    """Whoever failed to make it larger removed the one that another process was just making."""
    path = tmp_path / "reserve"
    assert not Reserve(str(path), Disk()).keep(alone=False)
    assert not path.exists()
    path.touch()  # another process is about to give it blocks
    full = _Full()
    assert not Reserve(str(path), full).keep(alone=False)
    assert path.exists()
    assert not Reserve(str(path), full).keep()
    assert not path.exists()


def test_one_that_is_too_small_is_made_larger_by_anybody(tmp_path: Path) -> None:
    reserve = Reserve(str(tmp_path / "reserve"), Disk())
    assert reserve.keep()
    assert reserve.keep(Reserve.SIZE, ample=True, alone=False)
    assert reserve.size() >= 2 * Reserve.SIZE


def test_one_that_grows_with_its_wal_is_made_larger_seldom(tmp_path: Path) -> None:
    """It was made larger for each quarter of a megabyte of the first sixteen, with a lock and some calls each time."""
    reserve = Reserve(str(tmp_path / "reserve"), Disk())
    assert reserve.keep()
    sizes = {reserve.size()}
    for wal in range(0, 16 << 20, 64 << 10):
        if not reserve.is_ample(wal):
            assert reserve.keep(wal, ample=True)
        assert Reserve.SIZE + wal <= reserve.size() <= 2 * (Reserve.SIZE + wal)
        sizes.add(reserve.size())
    assert len(sizes) < 16
