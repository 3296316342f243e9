"""Where a mapping lives, and what is refused, in plain words."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.durability import Survives
from pqadapters.errors import DiskError, FormatError, StoreLocked, StoreRefused
from pqadapters.stdlib import shelve
from pqadapters.stores.memory import MemoryStore
from tests.segment.programs import PATIENCE, ROOT, run

Dict = PDict[Any, Any]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ValueError, "say where the mapping lives"),
        ({"path": "x", "store": "memory:"}, ValueError, "one of them"),
        ({"path": 5}, TypeError, "not int"),
        ({"path": ""}, ValueError, "names none"),
        ({"store": 7}, TypeError, "not int"),
        ({"store": "ftp://x"}, ValueError, "names no store"),
        ({"path": "ftp://x"}, ValueError, "names no store"),
        ({"store": "sqlite:///:memory:"}, ValueError, "memory:"),  # was a file of that name
        ({"store": MemoryStore(), "durability": "power"}, ValueError, "durability"),
        ({"path": "x", "name": ""}, ValueError, "empty"),
        ({"path": "x", "name": 3}, TypeError, "not int"),
        ({"path": "x", "serializer": "yaml"}, ValueError, "yaml"),
        ({"path": "x", "serializer": 3}, TypeError, "dumps"),
        ({"path": "x", "durability": "fast"}, ValueError, "'power' or 'process'"),
        ({"path": "x", "expire": -1}, ValueError, "expire"),
    ],
)
def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, error: Any, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        PDict(**options)
    assert os.listdir(tmp_path) == []


def test_a_path_is_the_file_of_a_database(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "settings.db"
    for place in (path, str(path), os.fsencode(path), f"sqlite:///{path}"):
        d: Dict = PDict(place, "colours")
        with d:
            d[type(place).__name__, str(place)] = 1
            assert (d.name, d.store.place) == ("colours", str(path))
            assert d.store.durability.survives is Survives.POWER
    with PDict(path, "colours") as d:
        assert len(d) == 4
        assert len(PDict(path)) == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_url_may_be_the_path(tmp_path: Path) -> None:
    d: Dict = PDict(f"file://{tmp_path}/log", "d")
    with d:
        d["a"] = 1
        assert d.store.capabilities.exclusive
        code = "import sys; from pqadapters import PDict; PDict(sys.argv[1], 'd')"
        with pytest.raises(AssertionError, match=f"StoreLocked.*{os.getpid()}"):
            run(code, f"file://{tmp_path}/log")
    with PDict(store=f"file://{tmp_path}/log", name="d") as d:
        assert d == {"a": 1}


def test_a_url_may_be_written_in_capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a path it would be one in a directory of that name, and a message would show its password."""
    monkeypatch.chdir(tmp_path)
    d: Dict = PDict("SQLITE:///jobs.db", "d")
    with d:
        d["a"] = 1
    assert not (tmp_path / "SQLITE:").exists()
    with PDict(store="Sqlite:///jobs.db", name="d") as d:
        assert d == {"a": 1}


@pytest.mark.parametrize("url", [" mysql://me:s3cr3t@:x/d", "mysql:me:s3cr3t@host/d", "mysql:/me:s3cr3t@host/d"])
def test_a_url_with_a_space_or_without_slashes_is_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """It was taken for one, which messages showed, with the password."""
    monkeypatch.chdir(tmp_path)
    openings: list[Callable[[], object]] = [
        lambda: PDict(url), lambda: PDict(store=url, name="d"), lambda: shelve.open(url)
    ]
    for opening in openings:
        with pytest.raises(ValueError, match="write mysql://") as caught:
            opening()
        assert "s3cr3t" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("directory", ["100%25", "a?b", "a#b"])
def test_a_relative_url_in_a_directory_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    """The directory's name was taken for a part of the URL: the file was in another directory, or was refused."""
    (tmp_path / directory).mkdir()
    monkeypatch.chdir(tmp_path / directory)
    one: Dict = PDict("sqlite:///one.db")
    two: Dict = PDict(store="sqlite:///two.db")
    with one, two:
        one["a"] = two["a"] = 1
        with pickle.loads(pickle.dumps(one)) as again:
            assert again == {"a": 1}
    assert {"one.db", "two.db"} < set(os.listdir(tmp_path / directory))
    assert os.listdir(tmp_path) == [directory]


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="is a directory"):
        PDict(tmp_path)
    assert os.listdir(tmp_path) == []


def test_foreign_damaged_and_newer_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    foreign, notes, newer, damaged = (tmp_path / name for name in ("foreign", "notes", "newer", "damaged"))
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t(x)")
    connection.close()
    notes.write_text("some notes\n" * 100)
    for path in (newer, damaged):
        d: Dict = PDict(path)
        d["a"] = 1
        d.close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    damaged.write_bytes(damaged.read_bytes()[:100] + b"\xff" * 5000)
    cases: list[tuple[Path, type[Exception], str]] = [
        (foreign, StoreRefused, "another program"),
        (notes, FormatError, "no database"),
        (newer, FormatError, "upgrade pqadapters"),
        (damaged, FormatError, "damaged"),
    ]
    for path, error, words in cases:
        before = path.read_bytes()
        with pytest.raises(error, match=words):
            _first(path)
        assert path.read_bytes() == before


def _first(path: Path) -> Any:
    d: Dict = PDict(path)
    return d["a"]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="file"):
        PDict(tmp_path / "file" / "d.db")
    with pytest.raises(DiskError, match="file"):
        shelve.open(tmp_path / "file" / "d")


def test_a_database_that_is_locked_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.db"
    d: Dict = PDict(path)
    d["a"] = 1
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("pqadapters.stores._work.LOCK_TIMEOUT", 0.2)
    monkeypatch.setattr("pqadapters.stores.sqlite.transactions.LOCK_TIMEOUT", 0.2)
    with pytest.raises(StoreLocked, match="nothing was stored"):
        d["a"] = 2
    assert d["a"] == 1
    other.rollback()
    other.close()
    d["a"] = 3
    assert d == {"a": 3}
    d.close()


APP = """
import sys
from pqadapters import PDict
d = PDict(name="settings")
d.setdefault("runs", 0)
with d.edit("runs") as runs:
    d["runs"] = runs + 1
print(d["runs"], d.store.place)
"""


def _run(tmp_path: Path, **environment: str) -> list[str]:
    (tmp_path / "app.py").write_text(APP)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PQADAPTERS_")}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "app.py")],
        env={**kept, "PYTHONPATH": str(ROOT), "PQADAPTERS_HOME": str(tmp_path / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_name_alone_is_one_of_the_applications(tmp_path: Path) -> None:
    first, second = _run(tmp_path), _run(tmp_path)
    assert [first[0], second[0]] == ["1", "2"]
    assert first[1] == second[1]
    assert first[1].startswith(str(tmp_path / "home"))
    assert first[1].endswith("named.db")


def test_one_by_name_goes_to_another_programs_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was the mapping of that name in the other program's home, or in a temporary one of its own."""
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path / "home"))
    with PDict[str, int](name="settings") as d:
        d["a"] = 1
        data = pickle.dumps(d)
        monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path / "other"))
        with pickle.loads(data) as copied:
            assert copied == {"a": 1}
            assert copied.store.place == d.store.place
    code = "import sys, pickle; print(dict(pickle.loads(bytes.fromhex(sys.argv[1]))))"
    monkeypatch.delenv("PQADAPTERS_HOME")
    assert run(code, data.hex()) == "{'a': 1}"


def test_the_environment_steers_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    assert _run(tmp_path, PQADAPTERS_URL=url)[1] == str(tmp_path / "shared.db")
    code = (
        "import sys; from pqadapters import PDict; from pqadapters.stdlib import shelve\n"
        "d = PDict(sys.argv[1]); s = shelve.open(sys.argv[2])\n"
        "print(d.store.durability.survives.value, s._table.store.durability.survives.value)"
    )
    assert run(code, tmp_path / "a.db", tmp_path / "b") == "power power"
    os.environ["PQADAPTERS_DURABILITY"] = "process"
    try:
        assert run(code, tmp_path / "a.db", tmp_path / "b") == "process process"
    finally:
        del os.environ["PQADAPTERS_DURABILITY"]
