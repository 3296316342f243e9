"""A home of the test's own, the places of a queue, and the contexts of multiprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib import multiprocessing
from tests.home.world import begin_anew

from .harness import METHODS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    begin_anew(monkeypatch, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(params=["home", "name", "url"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    places: dict[str, dict[str, Any]] = {
        "home": {},
        "name": {"name": "jobs"},
        "url": {"store": f"sqlite:///{tmp_path}/queue.db?durability=process", "name": "jobs"},
    }
    return places[str(request.param)]


@pytest.fixture(params=METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    return multiprocessing.get_context(request.param)
