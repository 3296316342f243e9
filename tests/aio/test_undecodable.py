"""Records that can't be decoded, which nobody is given: nobody waits for them either."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib._lines.objects import Gone
from pqadapters.stdlib.asyncio import Queue
from tests.home.world import begin_anew

from .running import run, turns


class Ruined:
    """An item that can't be decoded: it goes to the dead letters, is left to others where a module is missing, or goes
    as what has ended with the process that put it."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return _ruin, (self.error,)


def _ruin(error: type[Exception]) -> None:
    raise error("ruined")


@pytest.mark.parametrize("error", [ValueError, ImportError, Gone], ids=["buried", "set aside", "ended"])
def test_a_record_that_nobody_is_given_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Nobody told the put that waited for its place: it and the getter waited for each other for ever."""
    begin_anew(monkeypatch, tmp_path)

    async def main() -> None:
        async with Queue[Any](maxsize=1) as q:
            q.put_nowait(Ruined(error))
            putter = asyncio.ensure_future(q.put("next"))
            await turns()
            getter = asyncio.ensure_future(q.get())
            await putter
            assert await getter == "next"

    run(main())


def test_join_ends_with_the_last_dead_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for the task_done() of an item that nobody was given."""
    begin_anew(monkeypatch, tmp_path)

    async def main() -> None:
        async with Queue[Any]() as q:
            q.put_nowait(Ruined(ValueError))
            joiner = asyncio.ensure_future(q.join())
            await turns()
            getter = asyncio.ensure_future(q.get())
            await joiner
            getter.cancel()

    run(main())


def test_what_is_left_to_others_is_a_dead_letter_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looked for it again unless something else was put."""
    begin_anew(monkeypatch, tmp_path)
    monkeypatch.setattr("pqadapters.stdlib._lines.aside.PATIENCE", 0.05)

    async def main() -> None:
        async with Queue[Any]() as q:
            q.put_nowait(Ruined(ImportError))
            getter = asyncio.ensure_future(q.get())
            await q.join()
            assert len(q.dead_letters()) == 1
            getter.cancel()

    run(main())
