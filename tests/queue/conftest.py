"""The stores that the adapter's tests run over, and a place that is opened again as after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters.opening import open_path
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


STORES: dict[str, Callable[[Path], Callable[[], Store]]] = {"memory": _memory, "segment": _segment}


@pytest.fixture(params=list(STORES))
def place(request: Any, tmp_path: Path) -> Iterator[Place]:
    found = Place(STORES[request.param](tmp_path))
    yield found
    found.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()
