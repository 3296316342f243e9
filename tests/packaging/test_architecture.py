"""ARCHITECTURE.md says what is where: each room is there, and each file of a store or of the executors has a place in
its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
SECTIONS = dict(section.split("\n", 1) for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:])
FOLDERS = ("pqadapters", "tests", "bench", "tools", "examples")
TABLES = {
    "The segment store": "stores/segment",
    "The SQLite store": "stores/sqlite",
    "The MySQL store": "stores/mysql",
    "The executors": "concurrent/futures",
}


def _named(text: str) -> set[str]:
    return set(re.findall(r"`(\w+\.py)`", text))


@pytest.mark.parametrize("section", SECTIONS)
def test_each_file_that_is_named_is_there(section: str) -> None:
    files = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert _named(SECTIONS[section]) <= files


@pytest.mark.parametrize("section", TABLES)
def test_each_file_has_its_row(section: str) -> None:
    rows = _named("\n".join(line for line in SECTIONS[section].splitlines() if line.startswith("|")))
    files = {path.name for path in (ROOT / "pqadapters" / TABLES[section]).rglob("*.py")}
    assert rows == files - {"__init__.py"}
