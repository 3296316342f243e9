"""How the tests of the other interpreters come to have their files in memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import in_memory

SHOWS = "import os, pathlib, sys; pathlib.Path(os.environ['TMPDIR'], 'left').touch(); print(os.environ['TMPDIR'])"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(in_memory, "has_room", lambda place: place.name != "full")
    return tmp_path


def test_a_commands_files_are_there_while_it_runs(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert in_memory.main(sys.executable, "-c", SHOWS, place=place) == 0
    assert Path(capfd.readouterr().out.strip()).parent == place
    assert list(place.iterdir()) == []


def test_they_are_gone_when_it_has_failed(place: Path) -> None:
    assert in_memory.main(sys.executable, "-c", f"{SHOWS}; sys.exit(3)", place=place) == 3
    assert list(place.iterdir()) == []


def test_without_room_they_are_where_they_always_are(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(place))
    assert in_memory.main(sys.executable, "-c", f"{SHOWS}; sys.exit(3)", place=place / "full") == 3
    assert capfd.readouterr().out == f"{place}\n"


def test_where_nothing_can_be_made_there_is_no_room(tmp_path: Path) -> None:
    assert not in_memory.has_room(tmp_path / "missing")
