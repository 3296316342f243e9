"""Queues of an event loop side by side."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.contender import Contender, Kind, Level
from bench.contenders import contenders
from bench.subject import in_a_loop

from .test_mappings import run

LOOPS = {name: each for name, each in contenders().items() if each.kind is Kind.LOOP}


@pytest.fixture(params=LOOPS)
def contender(request: pytest.FixtureRequest) -> Contender:
    return LOOPS[request.param]


def test_a_contender_is_a_queue_of_the_running_loop(contender: Contender, tmp_path: Path) -> None:
    async def main() -> list[str]:
        assert contender.open_loop is not None
        queue = contender.open_loop(str(tmp_path), next(iter(contender.speed)))
        getter = asyncio.ensure_future(queue.get())
        await queue.put("a")
        await queue.put("b")
        found = [await getter, await queue.get()]
        queue.task_done()
        queue.task_done()
        return found

    assert asyncio.run(main()) == ["a", "b"]


def test_it_is_observed_as_a_queue_is(tmp_path: Path) -> None:
    ours: Any = contenders()["pqadapters-asyncio"].open_loop
    handle = in_a_loop(ours, str(tmp_path), Level.PROCESS)
    handle.put("a")
    handle.put("b")
    got = handle.get()
    handle.done(got)
    handle.close()
    again = in_a_loop(ours, str(tmp_path), Level.PROCESS)
    assert again.item(again.get_now()) == "b"
    again.close()


@pytest.mark.parametrize("scenario", ["loop-pairs", "loop-together"])
def test_a_small_run(tmp_path: Path, scenario: str) -> None:
    found = run(tmp_path, "--scenario", scenario)
    names = {each["contender"] for each in found["measurements"]}
    assert {"pqadapters-asyncio", "pqadapters-asyncio-sqlite"} <= names
    assert all(value > 0 for each in found["measurements"] for value in each["values"].values())
