"""Damaged files: what was hit is missing, put aside and reported; everything else is there, and the mapping goes on."""

from __future__ import annotations

import random
import re
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.errors import FormatError, StoreError
from pqadapters.stdlib import shelve
from pqadapters.stores.sqlite import salvage
from pqadapters.stores.sqlite.damage import index
from pqadapters.stores.sqlite.database import connect
from pqadapters.stores.sqlite.errors import FULL
from pqadapters.stores.sqlite.work import Work
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE
from tests.sqlite.contents import await_looks

Dict = PDict[Any, Any]


def _damage(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "d.db"
    d: Dict = PDict(path)
    with d:
        d.update({f"key {n}": f"value {n:05d}" for n in range(50)})
    _damage(path, b"value 00007", b"value 00008")
    return path


def test_a_damaged_value_is_missing_for_every_method(path: Path) -> None:
    d: Dict = PDict(path)
    with d:
        assert len(d) == 50  # nobody has looked yet
        assert "key 7" not in d
        assert len(d) == 49
        assert [damage.reason for damage in d.store.damage] == [
            "key b'skey 7' of table 'dict/default': its checksum doesn't hold, it was put aside"
        ]
        assert list(d) == [f"key {n}" for n in range(50) if n != 7]
        assert d == {f"key {n}": f"value {n:05d}" for n in range(50) if n != 7}
        d["key 7"] = "again"
        assert d["key 7"] == "again"
        assert list(d)[-1] == "key 7"


@pytest.mark.parametrize(
    "step",
    [
        lambda d: d.setdefault("key 7", "new"),
        lambda d: d.pop("key 7", "new"),
        lambda d: d.get("key 7", "new"),
        lambda d: d.get_many(["key 7"]) or "new",
        lambda d: dict(d.items()).get("key 7", "new"),
        lambda d: d.copy().get("key 7", "new"),
    ],
    ids=["setdefault", "pop", "get", "get_many", "items", "copy"],
)
def test_it_is_missing_whoever_comes_first(path: Path, step: Any) -> None:
    d: Dict = PDict(path)
    with d:
        assert step(d) == "new"
        with d.edit("key 7", []) as value:
            if isinstance(value, list):
                value.append(1)
        assert len(d.store.damage) == 1
        assert len(d) == 50


def test_what_was_put_aside_can_be_looked_at(path: Path) -> None:
    d: Dict = PDict(path)
    with d:
        assert d.get("key 7") is None
    with sqlite3.connect(path) as connection:
        ((reason, key, value),) = connection.execute("SELECT reason, note, payload FROM damaged").fetchall()
    connection.close()
    assert (reason, key) == ("a key", b"skey 7")
    assert b"value 00008" in value


def test_a_shelf_too(tmp_path: Path) -> None:
    path = tmp_path / "shelf"
    with shelve.open(path) as shelf:
        shelf.update(a="aaaa whole", b="bbbb damaged")
    _damage(path, b"bbbb damaged", b"bbbb damagex")
    with shelve.open(path, "r") as shelf:
        assert "b" not in shelf
        with pytest.raises(KeyError):
            shelf["b"]
        assert dict(shelf.items()) == {"a": "aaaa whole"}


def test_an_index_that_hides_keys_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    d: Dict = PDict(path)
    with d:
        d.update({f"key {n}": n for n in range(30)})
    content = bytearray(path.read_bytes())
    (at,) = (each.start() for each in re.finditer(rb"skey 15(?!p\x80)", content))  # in a row its value follows
    content[at + 1] ^= 0x10  # whoever looks for others goes the wrong way there
    path.write_bytes(content)
    d = PDict(path)
    with d:
        assert [d[f"key {n}"] for n in range(30)] == list(range(30))
        assert ["made anew" in damage.reason for damage in d.store.damage] == [True]
    with PDict(path) as d:
        assert not d.store.damage


def test_the_rest_of_a_long_index_is_looked_at_beside_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqadapters.stores.sqlite.damage.index._AT_ONCE", 10)
    path = tmp_path / "d.db"
    d: Dict = PDict(path)
    with d:
        d.update({f"key {n}": n for n in range(200)})
    _hide_the_last_key(path)
    d = PDict(path)
    with d:
        await_looks()
        assert d["key 199"] == 199
        assert ["made anew" in damage.reason for damage in d.store.damage] == [True]


def test_the_look_at_a_long_index_ends_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for the thread that writes, and that one, which makes room, for it."""
    monkeypatch.setattr(index, "_FEW", 10)
    path, going = tmp_path / "d.db", threading.Event()
    d: Dict = PDict(path)
    with d:
        d.update({f"key {n}": n for n in range(200)})
    _hide_the_last_key(path)

    def late(path: str) -> sqlite3.Connection:
        assert going.wait(PATIENCE)
        return connect(path)

    monkeypatch.setattr(index, "connect", late)
    d = PDict(path)
    with d:
        store: Any = d.store
        writer, tries = store._core.writer, list[sqlite3.Connection]()

        def run(connection: sqlite3.Connection) -> int:
            tries.append(connection)
            if len(tries) == 1:
                going.set()
                while len(writer._pending) < 2:
                    threading.Event().wait(0.001)
                raise sqlite3.OperationalError(FULL)
            return len(tries)

        assert Task(lambda: writer.do(Work(run, synced=False)), patience=PATIENCE).result() == 2
        await_looks()
        assert d["key 199"] == 199


def _hide_the_last_key(path: Path) -> None:
    content = bytearray(path.read_bytes())
    (at,) = (each.start() for each in re.finditer(rb"skey 199(?!p\x80)", content))  # in a row its value follows
    content[at + 1] ^= 0x10
    path.write_bytes(content)


def test_random_damage_shows_nothing_that_was_not_set(tmp_path: Path) -> None:
    """Whatever byte is hit: a value is what was set, or missing; or the database says that it is damaged, and salvage
    brings out what is whole."""
    path, rng = tmp_path / "d.db", random.Random(3)
    expected = {f"key {n}": f"value {n} " * (1 + n % 60) for n in range(120)}
    d: Dict = PDict(path)
    with d:
        d.update(expected)
    whole = path.read_bytes()
    refused = 0
    for round in range(150):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 1, 4])):
            content[rng.randrange(100, len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            _look(path, expected, round)
        except FormatError:
            refused += 1
            found = _salvaged(path, tmp_path / f"salvaged {round}.db")
            assert set(found.items()) - {("new", round)} <= set(expected.items())
    assert refused < 100


def _look(path: Path, expected: dict[str, str], number: int) -> None:
    d: Dict = PDict(path)
    with d:
        for key in [*expected, "never"]:
            assert d.get(key) in (expected.get(key), None)
        assert set(d.items()) <= set(expected.items())
        d["new"] = number
        assert d["new"] == number


def _salvaged(path: Path, to: Path) -> dict[Any, Any]:
    try:
        salvage(path, to=to)
    except StoreError:
        return {}
    d: Dict = PDict(to)
    with d:
        return d.copy()


def test_an_index_that_hid_a_key_which_was_set_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.db"
    d: Dict = PDict(path)
    with d:
        d.update({f"key {n}": n for n in range(30)})
    content = bytearray(path.read_bytes())
    (at,) = (each.start() for each in re.finditer(rb"skey 15(?!p\x80)", content))
    content[at + 6] ^= 0x01
    path.write_bytes(content)
    with monkeypatch.context() as patch:  # a process that had it open already
        patch.setattr("pqadapters.stores.sqlite.damage.index.check", lambda *_: None)
        d = PDict(path)
        with d:
            assert "key 15" not in d
            d["key 15"] = "again"
    for _ in range(2):
        d = PDict(path)
        with d:
            assert d == {**{f"key {n}": n for n in range(30)}, "key 15": "again"}
            assert len(d) == 30
            d["new"] = 1
            del d["new"]
