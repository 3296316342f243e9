"""The stores that the adapter's tests run over, and a place that is opened again as after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters.opening import open_database, open_path
from pqadapters.store import Store
from pqadapters.stores.memory import MemoryData, MemoryStore


class Place:
    """Where a test's queues live. `open()` gives a handle; a clean close of it, and `open()` is a restart."""

    def __init__(self, opener: Callable[[], Store]) -> None:
        self._opener = opener
        self._opened: list[Store] = []

    def open(self) -> Store:
        self._opened.append(self._opener())
        return self._opened[-1]

    def restart(self) -> Store:
        """Everything of the last run is closed, and what it held is ready again."""
        self.close()
        return self.open()

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()


def _memory(_: Path) -> Callable[[], Store]:
    data = MemoryData()
    return lambda: MemoryStore(data)


def _segment(directory: Path) -> Callable[[], Store]:
    return lambda: open_path(directory / "q", durability="process")


def _sqlite(directory: Path) -> Callable[[], Store]:
    return lambda: open_database(directory / "q.db", durability="process")


STORES: dict[str, Callable[[Path], Callable[[], Store]]] = {"memory": _memory, "segment": _segment, "sqlite": _sqlite}


SHARED = {"sqlite"}  #: with other processes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that is marked `exclusive` is of what only a store can do that one process holds."""
    if "place" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("exclusive") is not None
        metafunc.parametrize("place", [name for name in STORES if not (alone and name in SHARED)], indirect=True)


@pytest.fixture
def place(request: Any, tmp_path: Path) -> Iterator[Place]:
    found = Place(STORES[request.param](tmp_path))
    yield found
    found.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()
