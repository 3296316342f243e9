"""A program written against `shelve` and dict, with the import changed; each ignored line must be an error."""

from __future__ import annotations

import shelve as stdlib
from collections.abc import MutableMapping
from pathlib import Path

from typing_extensions import assert_type

from pqadapters import PDict
from pqadapters.stdlib import PDict as ReexportedPDict
from pqadapters.stdlib import shelve


def unchanged(path: str) -> None:
    with shelve.open(path, "c", protocol=2, writeback=True) as shelf:
        shelf["a"] = [1]
        shelf.setdefault("b", 2)
        shelf.sync()
        for key, value in shelf.items():
            assert_type(key, str)
            repr(value)
        takes_the_stdlibs(shelf)
    shelve.open(Path(path), flag="r").close()
    shelve.open(5)  # type: ignore[arg-type]


def takes_the_stdlibs(shelf: stdlib.Shelf[int]) -> None: ...


class Counts(shelve.DbfilenameShelf[int]):
    def __setitem__(self, key: str, value: int) -> None:
        super().__setitem__(key, value)


def with_types(path: str) -> None:
    """As the standard library's shelves, which are generic, too."""
    shelf: shelve.Shelf[int] = shelve.open(path)
    shelf["a"] = 1
    shelf["b"] = "2"  # type: ignore[assignment]
    assert_type(shelf["a"], int)
    for _, value in Counts(path).items():
        assert_type(value, int)
    takes_the_stdlibs(Counts(path))


def mapped(d: PDict[str, int]) -> None:
    d["a"] = 1
    d["b"] = "2"  # type: ignore[assignment]
    d[3] = 4  # type: ignore[index]
    assert_type(d["a"], int)
    assert_type(d.get("a"), "int | None")
    assert_type(d.get("a", 0.5), "int | float")
    assert_type(d.pop("a"), int)
    assert_type(d.pop("a", None), "int | None")
    assert_type(d.setdefault("a", 1), int)
    d.setdefault("a", "1")  # type: ignore[arg-type]
    assert_type(d.get_many(["a"]), dict[str, int])
    assert_type(d.copy(), dict[str, int])
    d.set("c", 3, expire=60)
    d |= {"x": 1}
    assert_type(d | {"y": 2}, dict[str, int])
    with d.batch(), d.edit("a", 0, timeout=1.5) as value:
        assert_type(value, int)
    takes_a_mapping(d)


def takes_a_mapping(d: MutableMapping[str, int]) -> None: ...


def made(directory: Path) -> None:
    with PDict[str, int](directory / "d.db", "d", serializer="json", durability="process") as d:
        mapped(d)
    mapped(ReexportedPDict(store="memory:"))
