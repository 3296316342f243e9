"""Notebooks, prompts and commands: their queues are temporary, unless PQADAPTERS_HOME says where to keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .harness import NOTHING, App, Left, swapped

QUEUE_CELL = """\
import queue
from tests.unchanged.progress import report
jobs = queue.Queue()
for job in range({first}, {first} + 3):
    jobs.put(job)
"""
WORK_CELL = """\
while not jobs.empty():
    job = jobs.get()
    report("begin", job)
"""
TEMPORARY = r"[^\n]*NotDurableWarning: this is {}: queues without a path or URL are temporary here[^\n]*\n[^\n]*\n?"


class Notebook:
    def __init__(self, directory: Path) -> None:
        self.app = App(directory, "kernel", swap=False)
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.app.env["TMPDIR"] = str(self.temporary)

    def cells(self, *texts: str) -> list[Path]:
        cells = [self.app.directory / f"cell{number}" for number in range(len(texts))]
        for cell, text in zip(cells, texts, strict=True):
            cell.write_text(text)
        return cells


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path)


def queue_cell(first: int) -> str:
    return swapped(QUEUE_CELL.format(first=first))


@pytest.mark.parametrize("kept", [True, False])
def test_a_cell_that_is_run_twice(kept: bool, notebook: Notebook) -> None:
    app = notebook.app
    if not kept:
        del app.env["PQADAPTERS_HOME"]
    make, work = notebook.cells(queue_cell(0), WORK_CELL)
    run = app.run(make, work, make, work, errors="" if kept else TEMPORARY.format("a notebook"))
    assert run.items("begin") == [0, 1, 2, 0, 1, 2]
    assert list(notebook.temporary.iterdir()) == []
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_a_cell_that_is_run_twice_at_once(notebook: Notebook) -> None:
    """The new queue is made while the old one lives, and has nothing of it; what was left in that is kept."""
    make, work = notebook.cells(queue_cell(0), WORK_CELL)
    run = notebook.app.run(make, make, work)
    assert run.items("begin") == [0, 1, 2]
    assert notebook.app.left() == Left([0, 1, 2], [])
    assert notebook.app.run(make, work).items("begin") == [0, 1, 2, 0, 1, 2]
    assert notebook.app.left() == NOTHING


def test_a_kernel_that_is_killed_and_restarted(notebook: Notebook) -> None:
    app = notebook.app
    first, second, work = notebook.cells(queue_cell(0), queue_cell(10), WORK_CELL)
    app.killed(first, work, at=["begin 1"])
    assert app.run(second, work).items("begin") == [0, 1, 2, 10, 11, 12]
    assert (app.left(), app.slots()) == (NOTHING, [])


@pytest.fixture
def typed(tmp_path: Path) -> App:
    app = App(tmp_path, "interactive")
    (tmp_path / "tmp").mkdir()
    app.env |= {"TMPDIR": str(tmp_path / "tmp")}
    del app.env["PQADAPTERS_HOME"]
    return app


def ways(app: App) -> dict[str, dict[str, Any]]:
    return {
        "prompt": {"command": ["-q", "-i"], "stdin": app.script.open()},
        "stdin": {"command": ["-"], "stdin": app.script.open()},
        "command": {"command": ["-c", app.script.read_text()]},
    }


@pytest.mark.parametrize(
    ("way", "name"),
    [
        ("prompt", "an interactive session, or a script from standard input"),
        ("stdin", "an interactive session, or a script from standard input"),
        ("command", "a -c command"),
    ],
)
def test_queues_that_go_with_the_session(way: str, name: str, typed: App) -> None:
    prompts = r"(?:>>> |\.\.\. |\n)*" if way == "prompt" else ""
    run = typed.run(errors=prompts + TEMPORARY.format(name) + prompts, **ways(typed)[way])
    assert run.items("begin") == [40]
    assert run.errors.count("temporary here") == 1
    assert list((typed.directory / "tmp").iterdir()) == []
    assert typed.slots() == []


@pytest.mark.parametrize("way", ["prompt", "stdin", "command"])
def test_queues_of_a_session_that_are_kept(way: str, typed: App) -> None:
    typed.env["PQADAPTERS_HOME"] = str(typed.home)
    run = typed.run(errors=r"(?:>>> |\.\.\. |\n)*", **ways(typed)[way])
    assert run.items("begin") == [40]
    assert typed.left() == Left([1, 2], [])
    typed.run(errors=r"(?:>>> |\.\.\. |\n)*", **ways(typed)[way])
    assert typed.left() == Left([2, 0, 1, 2], [])
