"""Mappings over every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict

from .places import PLACES

Maker = Callable[..., PDict[Any, Any]]


@pytest.fixture(params=list(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The arguments for one place."""
    return PLACES[request.param](tmp_path)


@pytest.fixture
def make(place: dict[str, Any]) -> Iterator[Maker]:
    """Opens handles on mappings in one place: `d = make()`, a second one with `make()` again."""
    made: list[PDict[Any, Any]] = []

    def open_one(**options: Any) -> PDict[Any, Any]:
        made.append(PDict(**{"name": "d", **place, **options}))
        return made[-1]

    yield open_one
    for each in made:
        each.close()


@pytest.fixture
def d(make: Maker) -> PDict[Any, Any]:
    return make()
