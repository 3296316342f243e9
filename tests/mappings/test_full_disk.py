"""A mapping on a disk that is really full: what doesn't fit is refused, what was set is there, deleting frees space."""

from __future__ import annotations

import errno
from collections.abc import Callable
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
    with pytest.raises(DiskError, match="free some space") as caught:
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
