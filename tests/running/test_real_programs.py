"""Programs that nobody here wrote do their job under `run`, on our classes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .programs import Place

TASKS = """
    def write(number):
        with open(f"{number}.txt", "w") as file:
            file.write(str(number ** 2))

    def task_square():
        for number in range(6):
            yield {"name": str(number), "actions": [(write, [number])], "targets": [f"{number}.txt"]}

    def task_sum():
        def add():
            with open("sum.txt", "w") as file:
                file.write(str(sum(int(open(f"{number}.txt").read()) for number in range(6))))
        return {"actions": [add], "file_dep": [f"{number}.txt" for number in range(6)], "targets": ["sum.txt"]}
"""


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_doit_runs_tasks_in_threads_and_in_processes(kind: str, tmp_path: Path) -> None:
    """A build tool: jobs and results go through queues."""
    place = Place(tmp_path, {"dodo.py": TASKS})
    ended = place.start("--explain", "--also", "doit", "-m", "doit", "-n", "2", "-P", kind)
    assert ended.status == 0, ended.errors
    assert (place.directory / "sum.txt").read_text() == "55"
    assert sorted(line.split()[-1] for line in ended.lines) == [*(f"square:{number}" for number in range(6)), "sum"]
    assert "doit.runner (" in ended.errors
    if kind == "thread":
        where = rf"doit\.runner\.MRunner\.run_tasks in {place.home}/doit-\w+/doit\.runner\.MRunner\.run_tasks-"
        assert len(re.findall(where, ended.errors)) == 2
    again = place.start("--also", "doit", "-m", "doit", "-n", "2", "-P", kind)
    assert (again.status, again.lines[-1]) == (0, "-- sum")  # up to date


def test_doit_stops_at_a_task_that_fails(tmp_path: Path) -> None:
    place = Place(tmp_path, {"dodo.py": 'def task_fails():\n    return {"actions": ["exit 3"]}\n'})
    plain = place.start("-m", "doit", "-n", "2", "-P", "thread", run=None)
    ours = place.start("--also", "doit", "-m", "doit", "-n", "2", "-P", "thread")
    assert (ours.status, ours.lines) == (plain.status, plain.lines)
    assert plain.status == 1


def test_json_store_converts_a_shelf(tmp_path: Path) -> None:
    """A converter, which opens the shelf that a program under `run` has made."""
    made = """
        import shelve
        with shelve.open("inventory") as shelf:
            shelf["apples"] = {"count": 3, "price": [1, 2.5]}
            shelf["pears"] = None
    """
    place = Place(tmp_path, {"app.py": made})
    place.well("app.py")
    assert (place.directory / "inventory").read_bytes().startswith(b"SQLite format 3")
    program = "import sys\nfrom json_store.shelve2json import main\nsys.exit(main())\n"
    (place.directory / "convert.py").write_text(program)
    ended = place.start("--explain", "--also", "json_store", "convert.py", "inventory")
    assert (ended.status, ended.out) == (0, "")
    found = json.loads((place.directory / "inventory.json").read_text())
    assert found == {"apples": {"count": 3, "price": [1, 2.5]}, "pears": None}
    assert f"{place.directory / 'inventory'}: durable" in ended.errors
