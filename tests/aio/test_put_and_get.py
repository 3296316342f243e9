"""Items in and out: order, room, places, delays, dead letters, what can't be stored."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pqadapters.durability import Survives
from pqadapters.errors import NotSerializable, StoreClosed
from pqadapters.stdlib.asyncio import LifoQueue, PriorityQueue, Queue, QueueFull
from tests.home.world import begin_anew, kill_a_process_that

from .running import Loop, run, turns


def test_what_is_put_comes_out_in_order(url: str, loop: Loop) -> None:
    async def main() -> None:
        async with Queue[int](store=url) as q:
            for n in (3, 1, 2):
                await q.put(n)
            assert (q.qsize(), q.empty(), q.full()) == (3, False, False)
            assert [await q.get() for _ in range(3)] == [3, 1, 2]
        async with LifoQueue[int](store=url, name="stack") as stack:
            for n in (3, 1, 2):
                stack.put_nowait(n)
            assert [await stack.get() for _ in range(3)] == [2, 1, 3]
        async with PriorityQueue[tuple[int, str]](store=url, name="ranks") as ranks:
            for n in (3, 1, 2):
                await ranks.put((n, "x"))
            assert [(await ranks.get())[0] for _ in range(3)] == [1, 2, 3]

    run(main(), loop)


def test_beyond_asyncio(url: str) -> None:
    async def main() -> None:
        async with Queue[str](store=url, max_attempts=2, ack="task_done") as q:
            await q.put("a")
            assert q.name == "default"
            for _ in range(2):
                assert await q.get() == "a"
                q.nack()
            getter = asyncio.ensure_future(q.get())
            await turns()
            assert [letter.item for letter in q.dead_letters()] == ["a"]
            assert q.requeue() == 1
            assert await getter == "a"
            q.task_done("a")
            with pytest.raises(ValueError, match="nobody holds"):
                q.nack()
            assert q.stats()["ready"] == 0

    run(main())


def test_a_delayed_item_wakes_who_waits(url: str) -> None:
    async def main() -> None:
        async with Queue[str](store=url) as q:
            await q.put("a")
            assert await q.get() == "a"
            before = time.monotonic()
            q.nack(delay=0.2)
            assert q.empty() or time.monotonic() - before > 0.15  # a busy machine's is due by now
            assert await q.get() == "a"

    run(main())


def test_what_cannot_be_stored(url: str) -> None:
    async def main() -> None:
        async with Queue[Any](store=url) as q:
            with pytest.raises(NotSerializable):
                await q.put(lambda: 0)
            with pytest.raises(NotSerializable):
                q.put_nowait(lambda: 0)
            assert q.empty()
        with pytest.raises(StoreClosed):
            await q.put(1)

    run(main())


def test_a_queue_without_a_place_is_the_applications(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_anew(monkeypatch, tmp_path)
    before = set(threading.enumerate())

    async def main() -> None:
        q = Queue[int]()
        assert list(tmp_path.iterdir()) == []
        await q.put(1)
        assert str(q.stats()["place"]).startswith(str(tmp_path))
        assert q._line.store.durability == (Survives.PROCESS, 0.05)
        assert await q.get() == 1
        q.task_done()
        await q.join()
        q.close()
        assert not any(thread.name == "pqadapters-watcher" for thread in set(threading.enumerate()) - before)

    run(main())


@pytest.mark.parametrize("word", ["argument", "environment", "url"])
def test_process_is_fifty_milliseconds_however_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """Who wrote down the default had a sync after a second."""

    async def main() -> None:
        given: dict[str, Any] = {"durability": "process"} if word == "argument" else {}
        if word == "environment":
            monkeypatch.setenv("PQADAPTERS_DURABILITY", "process")
        query = "?durability=process" if word == "url" else ""
        async with (
            Queue[int](store=f"sqlite:///{tmp_path}/q.db{query}", **given) as q,
            Queue[int](store=f"sqlite:///{tmp_path}/q.db{query}", **given, max_lag=2.0) as other,
        ):
            assert q._line.store.durability == (Survives.PROCESS, 0.05)
            assert other._line.store.durability == (Survives.PROCESS, 2.0)

    run(main())


@pytest.mark.parametrize("nowait", [False, True])
def test_a_bounded_queue_is_filled_whatever_a_killed_run_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowait: bool
) -> None:
    """The first put compared the limit of before it had taken over what was left with the size of thereafter: in the
    second run it waited for ever, or raised QueueFull, where a program fills the queue before its workers start."""
    begin_anew(monkeypatch, tmp_path)

    async def fill() -> int:
        q = Queue[int](maxsize=2)
        for n in range(2):
            if nowait:
                q.put_nowait(n)
            else:
                await q.put(n)
        assert q.full()
        with pytest.raises(QueueFull):
            q.put_nowait(99)
        return q.qsize()

    kill_a_process_that(lambda: run(fill()))
    assert run(fill()) == 4
