"""One queue and several loops: one after another, two at a time, closed ones that left somebody waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib.asyncio import Queue
from tests.contract.threads import Task
from tests.home.world import begin_anew

from .running import PATIENCE, run, turns


@pytest.mark.parametrize("options", [{"durability": "power"}, {}, {"store": "memory:"}])
def test_one_queue_serves_one_loop_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    """As asyncio's own, which minds only the loop that it had to wait in: a put at "power" had bound the queue to the
    first of several calls of asyncio.run(), and so had one into memory."""
    begin_anew(monkeypatch, tmp_path)
    q = Queue[int](maxsize=3, **options)  # type: ignore[arg-type]

    async def fill() -> None:
        for n in range(3):
            await q.put(n)

    async def drain() -> list[int]:
        return [await q.get() for _ in range(3)]

    for _ in range(3):
        asyncio.run(fill())
        assert asyncio.run(drain()) == [0, 1, 2]
    q.close()


@pytest.mark.parametrize("first", ["get", "put"])
def test_a_loop_that_is_closed_while_its_put_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Nobody is left to hear that it is stored: the next loop's gets still find it, and its puts aren't held up."""
    begin_anew(monkeypatch, tmp_path)
    q = Queue[str](maxsize=2, durability="power")
    begun, go_on = threading.Event(), threading.Event()
    real = q._committer._commit

    def held(items: list[Any], puts: list[Any]) -> object:
        begun.set()
        assert go_on.wait(PATIENCE)
        return real(items, puts)

    q._committer._commit = held

    async def leave() -> None:
        for item in ("stored", "not its turn yet"):
            left.append(asyncio.ensure_future(q.put(item)))
            left[-1]._log_destroy_pending = False  # type: ignore[attr-defined]  # as is meant here
        await turns()
        assert begun.wait(PATIENCE)

    async def go_on_with_it() -> None:
        put = asyncio.ensure_future(q.put("next")) if first == "put" else None
        await turns()
        getters = [asyncio.ensure_future(q.get()) for _ in range(2)]
        await turns()
        go_on.set()
        await getters[0]
        await (put or q.put("next"))
        await getters[1]
        assert [getter.result() for getter in getters] == ["stored", "next"]

    left: list[asyncio.Future[None]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    run(go_on_with_it())
    q.close()


def test_puts_of_two_loops_at_a_time_are_refused(tmp_path: Path) -> None:
    q = Queue[int](path=tmp_path / "q", durability="power")
    go_on = threading.Event()
    real = q._committer._commit
    q._committer._commit = lambda items, puts: go_on.wait(PATIENCE) and real(items, puts)

    async def main() -> None:
        first = asyncio.ensure_future(q.put(1))
        await turns()
        other = Task(lambda: run(q.put(2)), patience=PATIENCE)
        with pytest.raises(RuntimeError, match="another event loop"):
            other.result()
        go_on.set()
        await first
        assert (await q.get(), q.qsize()) == (1, 0)

    run(main())
    q.close()


def test_a_queue_belongs_to_one_loop(url: str) -> None:
    q = Queue[int](store=url)

    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(q.get(), 0.01)

    run(wait())
    with pytest.raises(RuntimeError, match="different"):
        run(wait())
    q.put_nowait(1)  # needs no loop
    assert q.get_nowait() == 1
    q.close()


def test_join_minds_only_the_loop_that_it_had_to_wait_in(url: str) -> None:
    """As asyncio's own, which has an event for it: a get() that had waited in an earlier loop made it raise."""
    q = Queue[int](store=url)

    async def use(step: Coroutine[Any, Any, Any]) -> None:
        waiting = asyncio.ensure_future(step)
        await turns()
        if q.empty():
            q.put_nowait(1)
            await waiting
        else:
            q.get_nowait()
        q.task_done()
        await waiting

    run(use(q.get()))
    q.put_nowait(2)
    run(use(q.join()))
    q.close()


def test_tasks_of_a_closed_loop_wait_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put was stored and raised "Event loop is closed"; so did shutdown()."""
    begin_anew(monkeypatch, tmp_path)
    for use in ("put_nowait", "shutdown", "close"):
        q = Queue[int]()
        loop = asyncio.new_event_loop()

        async def leave(q: Queue[int] = q) -> list[asyncio.Future[Any]]:
            steps: list[Coroutine[Any, Any, Any]] = [q.get(), q.join()]
            left: list[asyncio.Future[Any]] = [asyncio.ensure_future(step) for step in steps]
            for each in left:
                each._log_destroy_pending = False  # type: ignore[attr-defined]  # as is meant here
            await turns()
            return left

        q.put_nowait(0)
        assert q.get_nowait() == 0  # for join() to wait
        left = loop.run_until_complete(leave())
        loop.close()
        getattr(q, use)(*([1] if use == "put_nowait" else []))
        if use == "put_nowait":
            assert q.get_nowait() == 1
        q.close()
        del left
