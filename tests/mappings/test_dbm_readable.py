"""Damaged dbm files: everything readable is moved over where that is asked for, and the rest told with its place."""

from __future__ import annotations

import importlib
import shelve as theirs
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.persistqueue import conversion
from pqadapters.stdlib import shelve
from pqadapters.stdlib._mappings.dbm import ShelfError
from pqadapters.stdlib._mappings.readable import _of_sqlite, pairs_in
from pqadapters.store import Damage

_PAGE = 4096


def _dumb(path: Path) -> Any:
    return importlib.import_module("dbm.dumb").open(str(path), "c")


def dumb(path: Path) -> None:
    """With a value that is cut off, and a line of the index that says nothing."""
    shelf: Any
    with theirs.Shelf(_dumb(path)) as shelf:
        shelf.update({"a": 1, "b": [2], "ä": "x", "none": None, "last": "y" * 2000})
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:-100])
    index = path.with_suffix(".dir")
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(lines[0] + b"'b', (\n" + lines[2] + b"\0\0\0\n" + lines[3] + lines[4])


def test_what_is_readable_of_a_dumb_one_is_moved_over(tmp_path: Path) -> None:
    path = tmp_path / "old"
    dumb(path)
    with pytest.raises(ShelfError, match="damaged"):
        shelve.migrate(path)
    damage: list[Damage] = []
    assert shelve.migrate(path, damage=damage) == 3
    with shelve.open(str(path)) as shelf:
        assert dict(shelf) == {"a": 1, "ä": "x", "none": None}
    lines = path.with_name("old.old.dir").read_bytes().splitlines(keepends=True)
    assert [(each.path.removeprefix(str(path)), each.offset, each.length) for each in damage] == [
        (".dir", len(lines[0]), len(lines[1])),
        (".dir", sum(map(len, lines[:3])), len(lines[3])),
        (".dat", 2048, damage[2].length),
    ]
    assert "of the value of key b'last' " in damage[2].reason


@pytest.mark.parametrize(
    "line",
    [b"'b', (0, 1 << 40)", b"'b', (0, 1099511627776)", b"'b', (-5, 3)", b"'b', (0, -1)", b"'b', 3", b"5, (0, 3)"],
)
def test_a_place_that_cant_be_is_told(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "old"
    shelf: Any
    with theirs.Shelf(_dumb(path)) as shelf:
        shelf["a"] = 1
    with open(f"{path}.dir", "ab") as index:
        index.write(line + b"\n'\xfc', (1180591620717411303424, 0)\n")
    damage: list[Damage] = []
    with closing(pairs_in(str(path), "dbm.dumb", damage)) as pairs:
        found = dict(pairs)
    assert list(found) == [b"a", b"\xfc"]
    assert len(damage) == 1


def test_a_conversion_reports_it_under_the_name_that_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "old"
    dumb(path)
    looked = conversion.look_at_shelf(str(path), own=True)
    report = conversion.convert_shelf(str(path), progress=lambda more: None)
    assert (looked.total, report.total) == (3, 3)
    assert [Path(each.path).name for each in looked.damage] == ["old.dir", "old.dir", "old.dat"]
    assert [Path(each.path).name for each in report.damage] == ["old.old.dir", "old.old.dir", "old.old.dat"]
    assert all(Path(each.path).exists() for each in report.damage)


def sqlite(path: Path, keys: int) -> None:
    """As dbm.sqlite3 makes it, some keys on a page."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
        connection.executemany("INSERT INTO Dict VALUES (?, ?)", ((b"%d" % key, bytes(520)) for key in range(keys)))
        connection.commit()


def leaves(path: Path) -> list[int]:
    """The pages with rows of the table, in their order."""
    data = path.read_bytes()
    pages = [number for number in range(1, len(data) // _PAGE) if data[number * _PAGE] == 0x0D]
    return [number for number in pages if bytes(400) in data[number * _PAGE : (number + 1) * _PAGE]]


@pytest.mark.parametrize("which", [[0], [3], [-1], [0, 1], [4, 9, 10], [-1, -2], [2, -1], list(range(30))])
def test_rows_on_other_pages_than_the_damaged_ones_are_found(tmp_path: Path, which: list[int]) -> None:
    path = tmp_path / "old"
    sqlite(path, 210)
    there = leaves(path)
    assert len(there) == 30
    data = bytearray(path.read_bytes())
    for number in which:
        at = there[number] * _PAGE
        data[at : at + _PAGE] = b"\xff" * _PAGE
    path.write_bytes(data)
    damage: list[Damage] = []
    found = dict(_of_sqlite(str(path), damage))
    lost = {7 * (number % 30) + row for number in which for row in range(7)}
    assert set(found) == {b"%d" % key for key in range(210) if key not in lost}
    runs = sum((number - 1) % 30 not in {each % 30 for each in which} or number % 30 == 0 for number in which)
    assert len(damage) == runs


def test_a_database_that_is_locked_isnt_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old"
    sqlite(path, 1)
    monkeypatch.setattr(sqlite3, "connect", lambda *a, connect=sqlite3.connect, **k: connect(*a, **k, timeout=0))
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ShelfError, match="database is locked"):
            list(_of_sqlite(str(path), []))


class _Gnu:
    """A dbm.gnu that is damaged behind its second key, and at the value of the first one."""

    def __init__(self, follows: Callable[[bytes], bytes]) -> None:
        self._follows = follows

    def firstkey(self) -> bytes:
        return b"first"

    def nextkey(self, key: bytes) -> bytes:
        return b"second" if key == b"first" else self._follows(key)

    def keys(self) -> list[bytes]:
        raise OSError("Database needs recovery")

    def __getitem__(self, key: bytes) -> bytes:
        return {b"second": b"2"}[key]

    def __len__(self) -> int:
        return 5

    def close(self) -> None:
        """Nothing."""


def _fails(key: bytes) -> bytes:
    raise OSError("Database needs recovery")


def _comes_back(key: bytes) -> bytes:
    return b"first"


@pytest.fixture
def gnu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    def make(database: Any) -> Path:
        path = tmp_path / "old"
        path.write_bytes(b"\xce\x9a\x57\x13" + bytes(60))
        monkeypatch.setitem(sys.modules, "dbm.gnu", SimpleNamespace(open=lambda *arguments: database))
        return path

    return make


@pytest.mark.parametrize(
    ("follows", "why"),
    [(_fails, "needs recovery"), (_comes_back, "comes back"), (lambda key: None, "there are 5 keys, and 2 were found")],
)
def test_what_a_module_reads_of_it(gnu: Callable[[Any], Path], follows: Any, why: str) -> None:
    path = gnu(_Gnu(follows))
    damage: list[Damage] = []
    with closing(pairs_in(str(path), "dbm.gnu", damage)) as pairs:
        assert dict(pairs) == {b"second": b"2"}
    value, keys = damage
    assert "the value of key b'first' can't be read: it has none" in value.reason
    assert why in keys.reason
