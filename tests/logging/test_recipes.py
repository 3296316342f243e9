"""The page docs/logging.md: each of its examples is a whole program, and runs; what it logs is in its sink's file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .sinks import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "logging.md").read_text()
SECTIONS = re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]
EXAMPLES = [
    (f"{section.partition(chr(10))[0]} {number}".replace(" 0", ""), example)
    for section in SECTIONS
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
]

#: What the file of an example's sink has in the end.
LOGGED = {
    "Plain logging": "INFO user ann has 3 invoices\n",
    "Plain logging 1": "from here\n",
    "dictConfig": "INFO the collector is down, the file has this\n",
    "dictConfig 1": "this one survives a power cut\n",
    "Django": "order 42 is paid\n",
    "loguru": "INFO user ann logged in\n",
    "structlog": '{"order": 42, "by": "ann", "event": "paid", "level": "info"}\n',
}

#: A program has 0.2 seconds at its end to deliver what it can; a busy machine takes longer.
PATIENT = """
from pqadapters.logging._delivery import listener
listener._EXIT = 30
"""

DOWN = """
import logging
def emit(self, record):
    raise ConnectionRefusedError
logging.FileHandler.emit = emit
"""


def _run(program: str, directory: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PATIENT + program], cwd=directory, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize(("title", "example"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_the_example_runs(tmp_path: Path, title: str, example: str) -> None:
    _run(example, tmp_path)
    (file,) = tmp_path.glob("*.log")
    assert file.read_text() == LOGGED[title]


@pytest.mark.parametrize(("title", "example"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_killed_before_anything_is_delivered_the_next_run_delivers_it(tmp_path: Path, title: str, example: str) -> None:
    """The first run has sinks that are down."""
    if title == "Plain logging 1":
        return  # it waits for its sink
    _run(f"{DOWN}{example}\nimport os\nos._exit(0)", tmp_path)
    (file,) = tmp_path.glob("*.log")
    assert file.read_text() == ""
    _run(example, tmp_path)
    assert file.read_text() == LOGGED[title] * 2


def test_every_recipe_has_an_example() -> None:
    assert [title for title, _ in EXAMPLES] == list(LOGGED)
