"""A mapping on a disk that is really full: what doesn't fit is refused, what was set is there, deleting frees space."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.errors import DiskError
from pqadapters.stdlib import shelve
from tests.crash.test_full_disk import fill

CAPACITY = 6 << 20
KINDS: dict[str, Callable[[Path], Any]] = {
    "sqlite": lambda mount: PDict(mount / "d.db"),
    "segment": lambda mount: PDict(store=f"file://{mount}/d?segment_bytes=262144"),
    "shelf": lambda mount: shelve.open(mount / "d"),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_sets_are_refused_and_deletes_free_space(small: Path, kind: str) -> None:
    d = KINDS[kind](small)
    expected = {f"k{n:04d}": "x" * 3000 for n in range(20)}
    d.update(expected)
    ballast = fill(small)
    with pytest.raises(DiskError, match=r"free some space.*delete keys") as caught:
        for n in range(20, 2000):
            d[f"k{n:04d}"] = "y" * 3000
            expected[f"k{n:04d}"] = "y" * 3000
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(DiskError), d.batch():
        for n in range(3000):
            d[f"batch {n}"] = "z" * 1000
    assert d == expected
    for key in list(expected)[::2]:
        assert d.pop(key) == expected.pop(key)
    assert d == expected
    ballast.unlink()
    d["again"] = 1
    d.close()
    with KINDS[kind](small) as again:
        assert again == {**expected, "again": 1}


@pytest.mark.parametrize("left", range(0, 500_000, 100_000))
def test_a_batch_that_frees_as_well_leaves_room_for_deletes(small: Path, left: int) -> None:
    """Where SQLite is built to write zeros over what is freed, these took the room that the copy of the WAL needs: each
    change was refused from then on."""
    with PDict[str, Any](small / "d.db", durability="process") as d:
        d["freed"], d["small"] = bytes(700_000), 1
        d.sync()
        d["e"], d["f"] = bytes(700_000), bytes(700_000)
        room = os.statvfs(small)
        (small / "ballast").write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - left)))
        with suppress(DiskError), d.batch():
            d["new"], d["other"] = bytes(700_000), bytes(700_000)
            del d["freed"]
        del d["small"]
