"""Subclasses of PDict: they have a say in every method, and go to other processes as they are."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict, persistqueue


class Settings(PDict[str, int]):
    """A program's own, with an __init__ and attributes of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(directory / "settings.db")
        self.names = ["a"]


def test_a_subclass_goes_to_other_processes_as_it_is(tmp_path: Path) -> None:
    """Its __init__ was called with the arguments of PDict's."""
    with Settings(tmp_path) as d:
        d["a"] = 1
        for other in (pickle.loads(pickle.dumps(d)), copy.copy(d), copy.deepcopy(d)):
            with other:
                assert (type(other), other.directory, other.names, other) == (Settings, tmp_path, ["a"], {"a": 1})


def test_a_subclass_may_have_a_store_of_its_own(tmp_path: Path) -> None:
    """persist-queue's has none. To set one was an AttributeError."""

    class Stocked(persistqueue.PDict):
        def __init__(self) -> None:
            self.store = "mine"  # type: ignore[assignment]
            super().__init__(str(tmp_path), "stocks")

    with Stocked() as d:
        d["a"] = 1
        d.shrink_disk_usage()
        assert (d.store, d["a"]) == ("mine", 1)  # type: ignore[comparison-overlap]


class Guarded(PDict[str, int]):
    """Has what can't be pickled, and says so in the usual way."""

    def __init__(self, *where: Any) -> None:
        super().__init__(*where)
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.lock = threading.Lock()


def test_a_subclass_says_what_goes_to_other_processes(tmp_path: Path) -> None:
    """Its __getstate__ wasn't asked, and the lock was refused."""
    with Guarded(tmp_path / "d.db") as d:
        d["a"] = 1
        for other in (pickle.loads(pickle.dumps(d)), copy.copy(d)):
            with other:
                assert (other, other.lock.locked(), other.lock is d.lock) == ({"a": 1}, False, False)


def test_a_subclass_has_a_say_in_every_method(place: dict[str, Any]) -> None:
    class Upper(PDict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return super().__getitem__(key.upper())

        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key.upper(), value)

    with Upper(name="d", **place) as d:
        d.update(a=1)
        d["b"] = 2
        assert d.setdefault("c", 3) == 3
        assert (list(d), d.get("a"), d.get_many(["A"])) == (["A", "B", "C"], 1, {"A": 1})
        assert d.copy() == {"A": 1, "B": 2, "C": 3}
        assert [*reversed(d.values())] == [3, 2, 1]
        assert d.pop("n", 4) == 4
        with pytest.raises(KeyError, match="'N'"):
            d.pop("n")


def test_a_subclass_has_a_say_in_edits_and_in_popitem(place: dict[str, Any]) -> None:
    """An edit gave what is stored, not what the subclass makes of it; popitem gave the first item, not the last."""

    class Json(PDict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return json.loads(super().__getitem__(key.upper()))

        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key.upper(), json.dumps(value))

    with Json(name="d", **place) as d:
        d["a"], d["n"] = [1], 1
        with d.edit("a") as value:
            value.append(2)
        with d.edit("n") as value:
            d["n"] = value + 1
        with d.edit("new", []) as value:
            value.append(1)
        with d.edit("empty", []):
            pass
        with d.edit("set", 0):
            d["set"] = 5
        d["gone"] = 1
        with d.edit("gone"):
            del d["GONE"]
        with pytest.raises(KeyError), d.edit("missing"):
            pass
        with pytest.raises(ZeroDivisionError), d.edit("a") as value:
            value.append(3)
            raise ZeroDivisionError
        assert d.copy() == {"A": [1, 2], "N": 2, "NEW": [1], "EMPTY": [], "SET": 5}
        assert d.popitem() == ("SET", 5)
        assert len(d) == 4


def test_popitem_of_a_subclass_goes_on_to_the_next_one_where_another_was_faster(place: dict[str, Any]) -> None:
    """KeyError says that the mapping is empty: programs end their loops by it."""

    class Beaten(PDict[str, int]):
        def __getitem__(self, key: str) -> int:
            value = super().__getitem__(key)
            if key == "b":
                del self[key]
            if key == "x":
                raise KeyError("its own")
            return value

    with Beaten(name="d", **place) as d:
        d.update(a=1, b=2)
        assert d.popitem() == ("a", 1)
        with pytest.raises(KeyError, match="empty"):
            d.popitem()
        d["x"] = 3
        with pytest.raises(KeyError, match="its own"):
            d.popitem()


def test_a_subclass_whose_values_only_it_can_store_has_edits(place: dict[str, Any]) -> None:
    """The value that an edit gave was to be serialised by the mapping, which is given something else to store."""

    class Dates(PDict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return [date.fromisoformat(each) for each in super().__getitem__(key)]

        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key, [each.isoformat() for each in value])

    with Dates(name="d", serializer="json", **place) as d:
        d["a"] = [date(2024, 1, 2)]
        with d.edit("a") as value:
            value.append(date(2024, 1, 3))
        with d.edit("new", []) as value:
            value.append(date(2024, 1, 4))
        with d.edit("new"):
            d["new"] = [date(2024, 1, 5)]
        assert d.copy() == {"a": [date(2024, 1, 2), date(2024, 1, 3)], "new": [date(2024, 1, 5)]}


def test_a_wrapped_method_is_a_say(place: dict[str, Any]) -> None:
    """functools.wraps gives it the module of what it wraps: it was taken for that."""
    seen = []

    @functools.wraps(PDict.__getitem__)
    def get(self: PDict[Any, Any], key: str) -> Any:
        seen.append(key)
        return PDict.__getitem__(self, key)

    class Watched(PDict[str, int]):
        __getitem__ = get  # type: ignore[assignment]

    with Watched(name="d", **place) as d:
        d["a"] = 1
        assert (d.get("a"), list(d.items()), seen) == (1, [("a", 1)], ["a", "a"])
