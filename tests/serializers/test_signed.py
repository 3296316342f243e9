"""Signed values: what isn't signed by a key of ours isn't loaded."""

from __future__ import annotations

import enum
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import NotSerializable
from pqadapters.serializers import json, serializer
from pqadapters.serializers import pickle as pickles
from pqadapters.serializers.signed import Seal, Signed, WrongSignature, protected
from pqadapters.stdlib import shelve
from pqadapters.stdlib._mappings.keys import Keys
from pqadapters.stdlib.pdict import PDict
from pqadapters.stdlib.queue import Empty, Queue
from pqadapters.store import Put, Set
from pqadapters.stores.sqlite import SqliteStore

KEY, OTHER = "0123456789abcdef" * 2, b"fedcba9876543210"


class Bomb:
    """Loading its pickle makes a directory."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)


@pytest.mark.parametrize("name", ["pickle", "json", "msgpack", "cbor2"])
def test_values_come_back(name: str) -> None:
    signed = Signed(serializer(name), Seal(KEY))
    value = {"b": [1, 2.5], "a": "x"}
    assert signed.loads(signed.dumps(value)) == serializer(name).loads(serializer(name).dumps(value))
    assert signed.dumps({"b": 1, "a": 2}, sort_keys=True) == signed.dumps({"a": 2, "b": 1}, sort_keys=True)
    file = io.BytesIO()
    signed.dump(1, file)
    signed.dump("two", file)
    file.seek(0)
    assert [signed.load(file), signed.load(file)] == [1, "two"]


def test_what_was_changed_anywhere_is_refused_unopened(tmp_path: Path) -> None:
    signed = Signed(pickles, Seal(KEY))
    whole = signed.dumps("value")
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(WrongSignature):
            signed.loads(bytes(changed))
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    by_another = Signed(pickles, Seal(OTHER)).dumps(Bomb(tmp_path / "exploded"))
    for forged in (bomb, b"H" + bytes(32) + bomb, by_another, b"", b"H"):
        with pytest.raises(WrongSignature):
            signed.loads(forged)
    assert not (tmp_path / "exploded").exists()


def test_a_refusal_names_the_mapping(tmp_path: Path) -> None:
    """A program with several mappings wasn't told which of them."""
    path = tmp_path / "settings.db"
    with PDict[str, int](path, "colours", signing_key=KEY) as d, shelve.open(str(path), signing_key=KEY) as shelf:
        d["a"] = shelf["a"] = 1
    with PDict[str, int](path, "colours", signing_key=OTHER) as d, pytest.raises(WrongSignature, match="'colours' in"):
        d["a"]
    with shelve.open(str(path), signing_key=OTHER) as shelf, pytest.raises(WrongSignature, match=r"settings\.db"):
        shelf["a"]


def test_who_has_no_key_is_told_that_a_value_may_be_signed(tmp_path: Path) -> None:
    """It was pickle's word for garbage."""
    path = tmp_path / "settings.db"
    with PDict[str, int](path, "colours", signing_key=KEY) as d, shelve.open(str(path), signing_key=KEY) as shelf:
        d["a"] = shelf["a"] = 1
        d.set("b", 2, expire=1000)
    with PDict[str, int](path, "colours") as d, shelve.open(str(path)) as shelf:
        for read in (lambda: d["a"], lambda: d["b"], lambda: shelf["a"]):
            with pytest.raises(pickle.UnpicklingError, match=r"signing_key=") as caught:
                read()
            assert str(caught.value).startswith("invalid load key")


def test_keys_are_changed_by_giving_both() -> None:
    choices: tuple[Any, ...] = (KEY, [OTHER, KEY], OTHER)
    old, both, new = (Signed(pickles, Seal(keys)) for keys in choices)
    assert both.loads(old.dumps(1)) == both.loads(new.dumps(1)) == new.loads(both.dumps(1)) == 1
    with pytest.raises(WrongSignature):
        old.loads(both.dumps(1))


@pytest.mark.parametrize(("keys", "error"), [("short", ValueError), ("", ValueError), ([], TypeError), (7, TypeError)])
def test_bad_keys_are_refused(keys: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="key") as caught:
        Seal(keys)
    assert "short" not in str(caught.value)


def test_pickles_of_several_hosts_need_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="PQADAPTERS_SIGNING_KEY"):
        protected(pickles, None, hosts=True, place="mysql://host/jobs")
    assert protected(pickles, None, hosts=False, place="") is pickles
    assert protected(json, None, hosts=True, place="") is json
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    assert isinstance(protected(pickles, None, hosts=True, place=""), Signed)
    assert isinstance(protected(json, None, hosts=True, place=""), Signed)
    assert protected(pickles, None, hosts=False, place="") is pickles  # what is there already isn't signed


def test_a_queue_buries_what_isnt_signed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.db")
    store.commit(Put("jobs", pickle.dumps(Bomb(tmp_path / "exploded"))))
    with Queue[str](store=store, name="jobs", signing_key=KEY) as queue:
        queue.put("mine")
        assert queue.get() == "mine"
        (letter,) = queue.dead_letters()
        assert "isn't signed" in letter.reason
    assert not (tmp_path / "exploded").exists()
    store.close()


def test_a_program_without_the_key_is_told_of_it(tmp_path: Path) -> None:
    """Its dead letters said "invalid load key, 'H'"."""
    with Queue[int](path=tmp_path, signing_key=KEY) as q:
        q.put(1)
    with Queue[int](path=tmp_path) as q:
        with pytest.raises(Empty):
            q.get_nowait()
        (letter,) = q.dead_letters()
        assert "signing_key=" in letter.reason


def test_a_mapping_refuses_what_isnt_signed(tmp_path: Path) -> None:
    path = tmp_path / "map.db"
    with PDict[Any, str](path, signing_key=KEY) as mapping:
        mapping["k"] = mapping[("t", 1)] = "v"
    with PDict[Any, str](path, signing_key=KEY) as mapping:
        assert dict(mapping) == {"k": "v", ("t", 1): "v"}
    with SqliteStore(path) as store:
        store.commit(Set("dict/default", b"sk", b"p" + pickle.dumps(Bomb(tmp_path / "exploded"))))
    with PDict[Any, str](path, signing_key=KEY) as mapping, pytest.raises(ValueError, match="signed"):
        mapping["k"]
    assert not (tmp_path / "exploded").exists()


class Colour(enum.Enum):
    RED = 1


class Name:
    """Equal by value; a key that is pickled."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def test_a_mapping_makes_no_key_of_a_type_that_isnt_signed(tmp_path: Path) -> None:
    """Keys that say of which type they are weren't signed: to list a mapping was to import and call what they named."""
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'exploded')!r})\n")
    path = tmp_path / "map.db"
    parts = ("named", "evil", "Point", 1)
    forged = b"o" + b"".join(struct.pack(">I", len(data)) + data for data in map(Keys(pickles).encode, parts))
    with SqliteStore(path) as store:
        store.commit(Set("dict/default", forged, b"p" + Signed(pickles, Seal(KEY)).dumps(1)))
    with PDict[Any, int](path, signing_key=KEY) as mapping:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(WrongSignature, match="key in mapping 'default'"):
            patch.syspath_prepend(tmp_path)
            list(mapping)
        mapping.clear()
        mapping[Colour.RED] = 1
        assert dict(mapping) == {Colour.RED: 1}
    with PDict[Any, int](path) as mapping, pytest.raises(WrongSignature, match="key in mapping 'default'"):
        list(mapping)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", ["flag", "named", "data", "enum"])
def test_a_key_calls_nothing_but_a_type_of_its_kind(kind: str) -> None:
    keys = Keys(pickles)
    parts = (kind, "os", "getenv", "HOME")
    with pytest.raises(NotSerializable, match=r"os\.getenv"):
        keys.decode(b"o" + b"".join(struct.pack(">I", len(data)) + data for data in map(keys.encode, parts)))


@pytest.mark.parametrize("key", [Colour.RED, Name("a"), ("x", Name("a")), frozenset({Colour.RED, 1})])
def test_a_mappings_keys_are_found_when_the_signing_key_changes(tmp_path: Path, key: Any) -> None:
    """They have the signature in them: what the old one had signed was missing, and set once more beside it."""
    path = tmp_path / "map.db"
    with PDict[Any, int](path, signing_key=KEY) as mapping:
        mapping.update({"first": 0, key: 1, "last": 2})
    with PDict[Any, int](path, signing_key=[OTHER, KEY]) as mapping:
        assert (mapping[key], mapping.get(key), key in mapping) == (1, 1, True)
        assert mapping.get_many([key]) == {key: 1}
        mapping[key] += 1
        with mapping.edit(key) as value:
            mapping[key] = value + 1
        assert mapping.setdefault(key, 9) == 3
        assert dict(mapping) == {"first": 0, key: 3, "last": 2}
        with mapping.batch():
            mapping[key] = mapping.pop(key)  # now it is signed by the new one
    with PDict[Any, int](path, signing_key=OTHER) as mapping:
        for each in mapping:
            mapping[each] = 3  # the values of the others are signed by the old one
        assert dict(mapping) == {"first": 3, "last": 3, key: 3}
        assert mapping.pop(key) == 3
        assert list(mapping) == ["first", "last"]


def test_a_shelf_refuses_what_isnt_signed(tmp_path: Path) -> None:
    path = str(tmp_path / "shelf")
    with shelve.open(path, signing_key=KEY) as shelf:
        shelf["k"] = [1]
        assert shelf["k"] == [1]
    with shelve.open(path, signing_key=OTHER) as shelf, pytest.raises(ValueError, match="signature"):
        shelf["k"]
    with shelve.open(path, signing_key=[OTHER, KEY]) as shelf:
        assert dict(shelf) == {"k": [1]}
