"""Calls of functions are counted: all of them, and no others."""

from __future__ import annotations

from pathlib import Path
from queue import Empty

from bench.contender import Handle, Level, itself, nothing
from bench.contenders import OURS, contenders
from bench.scenario import Job, Values
from bench.scenarios import scenarios
from bench.scenarios.calls import count


def test_calls_of_python_and_of_c(tmp_path: Path) -> None:
    items: list[str] = []

    def put(item: str) -> None:
        items.append(item)

    def get() -> str:
        return items.pop(0)

    def get_now() -> str:
        if items:
            return get()
        raise Empty

    handle = Handle(put, get, get_now, nothing, itself, lambda: None)
    contender = contenders()[OURS]._replace(open=lambda directory, level: handle)
    found: list[Values] = []
    count(scenarios()["calls"], contender, Job("calls", OURS, Level.PROCESS.value, str(tmp_path), 1000), found.append)
    (values,) = found
    assert values == {"put": 2, "get+done": 3}, "what puts, and appends; what gets, pops, and acknowledges"
