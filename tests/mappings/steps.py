"""What a program does to a mapping, step by step, and what a dict has after each step: for tests that crash it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import write
from typing import Any

from pqadapters import PDict
from pqadapters.stdlib import shelve


def _batch(d: Any) -> None:
    with d.batch():
        d["b"] = "from the batch"
        del d["a"]
        d["e"] = "x" * 5000
        d["a"] = "moved"


def _edit(d: Any) -> None:
    with d.edit("n") as n:
        d["n"] = n + 1
        d["log"] = f"n was {n}"


def _edit_in_place(d: Any) -> None:
    with d.edit("list") as value:
        value.append(len(value))


STEPS: list[Callable[[Any], object]] = [
    lambda d: d.__setitem__("a", 1),
    lambda d: d.update(b=2, c="x" * 3000, n=0, list=[]),
    lambda d: d.__setitem__("a", "another"),
    lambda d: d.setdefault("d", 4),
    lambda d: d.setdefault("a", 5),
    lambda d: d.pop("c"),
    _edit,
    _edit_in_place,
    _batch,
    lambda d: d.sync(),
    lambda d: d.popitem(),
    lambda d: d.__delitem__("b"),
    _edit,
    _edit_in_place,
    lambda d: d.clear(),
    lambda d: d.update({"z": 1, "y": "x" * 900}),
]


class Model(dict[str, Any]):
    """A dict with what else the steps use."""

    @contextmanager
    def batch(self) -> Iterator[None]:
        yield

    @contextmanager
    def edit(self, key: str) -> Iterator[Any]:
        yield self[key]

    def sync(self) -> None:
        pass


def states() -> list[list[tuple[str, Any]]]:
    """The items before the first step, and after each one."""
    model = Model()
    found: list[list[tuple[str, Any]]] = [[]]
    for step in STEPS:
        step(model)
        found.append([(key, list(value) if isinstance(value, list) else value) for key, value in model.items()])
    return found


def open_mapping(kind: str, path: str, **options: Any) -> Any:
    return PDict(path, "d", **options) if kind == "pdict" else shelve.open(path, **options)


def main(kind: str, durability: str) -> None:
    d = open_mapping(kind, "d.db", durability=durability)
    for number, step in enumerate(STEPS):
        write(1, f"begin {number}\n".encode())
        step(d)
        write(1, f"end {number}\n".encode())
    d.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
