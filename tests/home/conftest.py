"""A home of the test's own, the place of its unnamed queue in it, and the next process of the application."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .world import begin_anew, place_directory


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    begin_anew(monkeypatch, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def place(home: Path) -> Path:
    return place_directory(home)


@pytest.fixture
def restart(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on this is the next process of the application."""
    return lambda: begin_anew(monkeypatch, home)
