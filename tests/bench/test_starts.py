"""A program's start, side by side."""

from __future__ import annotations

from pathlib import Path

from bench.contenders import contenders

from .test_mappings import run


def test_each_way_to_start_the_program_is_measured(tmp_path: Path) -> None:
    found = run(tmp_path, "--scenario", "start")
    starts = {each["contender"]: each["values"]["start"] for each in found["measurements"]}
    assert set(starts) == {"python", "pqadapters-run", "pqadapters-by-hand"}
    assert all(start > 0 for start in starts.values())
    assert len({contenders()[name].program for name in starts}) == len(starts)
