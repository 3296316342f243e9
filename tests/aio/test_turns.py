"""First come, first served, among those that wait for room and among those that wait for an item."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError
from pqadapters.stdlib.asyncio import Queue
from tests.home.world import begin_anew

from .running import PATIENCE, Loop, refusals_told_late, run, turns


@pytest.fixture(params=["segment", "sqlite"])
def power(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = f"file://{tmp_path}/q" if request.param == "segment" else f"sqlite:///{tmp_path}/q.db"
    return f"{place}?durability=power"


@pytest.mark.parametrize("maxsize", [1, 3])
def test_puts_at_power_do_not_overtake_each_other(power: str, maxsize: int, loop: Loop) -> None:
    """In a database the ones behind the first sync were refused, and went behind all that had waited from the start."""

    async def main() -> None:
        async with Queue[int](maxsize, store=power) as q:
            puts = [asyncio.ensure_future(q.put(n)) for n in range(12)]
            assert [await q.get() for _ in puts] == list(range(12))
            await asyncio.gather(*puts)

    run(main(), loop)


def test_who_is_woken_for_nothing_keeps_its_place(url: str) -> None:
    """It went to the end of the line, behind those that had come after it."""

    async def main() -> None:
        async with Queue[str](1, store=url) as q:
            getters = [asyncio.ensure_future(q.get()) for _ in range(3)]
            await turns()
            q.put_nowait("taken")
            assert q.get_nowait() == "taken"
            await turns()
            for item in "abc":
                await q.put(item)
            assert [await getter for getter in getters] == ["a", "b", "c"]
            q.put_nowait("first")
            putters = [asyncio.ensure_future(q.put(item)) for item in "def"]
            await turns()
            assert q.get_nowait() == "first"
            q.put_nowait("between")
            await turns()
            assert [await q.get() for _ in range(4)] == ["between", "d", "e", "f"]
            await asyncio.gather(*putters)

    run(main())


@pytest.mark.parametrize("later", [0, 1, 5])
def test_puts_that_are_refused_keep_their_places(power: str, later: int) -> None:
    """Others took the room that the first one was to have, and there is some again when it hears of it."""

    async def main() -> None:
        async with Queue[str](2, store=power) as q:
            go_on, refused, taken = refusals_told_late(q)
            puts = [asyncio.ensure_future(q.put("a"))]
            await turns()
            q.put_nowait("another's")
            q.put_nowait("another's")
            puts += [asyncio.ensure_future(q.put(item)) for item in "bcd"]
            await turns()
            go_on.set()
            await asyncio.get_running_loop().run_in_executor(None, refused.wait, PATIENCE)
            assert [q.get_nowait(), q.get_nowait()] == ["another's"] * 2
            await turns(later)
            taken.set()
            assert [await q.get() for _ in puts] == ["a", "b", "c", "d"]
            await asyncio.gather(*puts)

    run(main())


@pytest.mark.parametrize("durability", ["process", "power"])
def test_who_has_taken_an_item_may_put_one_in_its_place(power: str, durability: str) -> None:
    """As with asyncio's own, although others wait for room: a worker that puts things back would wait for itself."""

    async def main() -> None:
        async with Queue[str](2, store=power.replace("power", durability)) as q:
            await q.put("a")
            await q.put("b")
            putters = [asyncio.ensure_future(q.put(item)) for item in "cd"]
            await turns()
            for _ in range(60):
                await q.put(await q.get())
                q.task_done()
            for _ in range(4):
                await q.get()
            await asyncio.gather(*putters)

    run(main())


def test_who_fails_when_it_is_its_turn_hands_it_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one waited for ever, beside an item or room: nothing else happened to the queue."""
    begin_anew(monkeypatch, tmp_path)  # where no watcher puts it right

    async def main() -> None:
        async with Queue[str](1, ack="get") as q:

            def fail_once(method: str) -> None:
                real = getattr(q._line, method)

                def fail(*arguments: Any) -> None:
                    setattr(q._line, method, real)
                    raise DiskError("no")

                setattr(q._line, method, fail)

            await q.put("a")
            putters = [asyncio.ensure_future(q.put(item)) for item in "bc"]
            await turns()
            fail_once("stow")
            assert q.get_nowait() == "a"
            with pytest.raises(DiskError):
                await putters[0]
            await putters[1]
            assert q.get_nowait() == "c"
            getters = [asyncio.ensure_future(q.get()) for _ in range(2)]
            await turns()
            fail_once("take")
            q.put_nowait("d")
            with pytest.raises(DiskError):
                await getters[0]
            assert await getters[1] == "d"

    run(main())
