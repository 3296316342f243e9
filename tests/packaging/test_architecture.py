"""ARCHITECTURE.md says what is where: each room is there, and each file of a store has a place in its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
SECTIONS = dict(section.split("\n", 1) for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:])
FOLDERS = ("pqadapters", "tests", "bench", "tools", "examples")
STORES = {"The segment store": "segment", "The SQLite store": "sqlite", "The MySQL store": "mysql"}


def _named(text: str) -> set[str]:
    return set(re.findall(r"`(\w+\.py)`", text))


@pytest.mark.parametrize("section", SECTIONS)
def test_each_file_that_is_named_is_there(section: str) -> None:
    files = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert _named(SECTIONS[section]) <= files


@pytest.mark.parametrize("section", STORES)
def test_each_file_of_a_store_has_its_row(section: str) -> None:
    rows = _named("\n".join(line for line in SECTIONS[section].splitlines() if line.startswith("|")))
    files = {path.name for path in (ROOT / "pqadapters" / "stores" / STORES[section]).glob("*.py")}
    assert rows == files - {"__init__.py"}
