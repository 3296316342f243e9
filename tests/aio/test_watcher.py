"""The thread that looks out for what others do in a queue: beside its own loop, for who has just come, and missing."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.opening import open_store
from pqadapters.stdlib import queue as threaded
from pqadapters.stdlib._loops.watcher import _LONG_LULL, _LULL, _LULLS, _UNWATCHED, Watcher
from pqadapters.stdlib.asyncio import Queue
from pqadapters.store import Depth

from .running import PATIENCE, run, turns

_ITEMS = 300


async def _through(q: Queue[int]) -> None:
    """Items that the loop puts, and gets where it waits for them."""

    async def take() -> None:
        for _ in range(_ITEMS // 3):
            await q.get()
            q.task_done()

    takers = [asyncio.ensure_future(take()) for _ in range(3)]
    for number in range(_ITEMS):
        await q.put(number)
        await asyncio.sleep(0)
    await asyncio.gather(*takers)


def test_it_doesnt_look_at_all_that_the_loop_does_and_sees_what_others_do(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked at each put and get, and took the interpreter for it: a loop had a third of its speed, and its timers
    came 5 ms late."""
    begun, over = threading.Event(), threading.Event()

    def lull(seconds: float) -> None:
        begun.set()
        assert over.wait(PATIENCE)

    monkeypatch.setattr("pqadapters.stdlib._loops.watcher.time", SimpleNamespace(sleep=lull))

    async def main() -> None:
        q: Queue[int] = Queue(store=url, name="q")
        put = 0
        while not begun.is_set():  # the thread may be late; run() ends the wait for one that doesn't stay away
            await _through(q)
            put += _ITEMS
        assert q._watcher.looks < put // 4
        waiting = asyncio.ensure_future(q.get())
        await asyncio.sleep(0)
        over.set()
        other: threaded.Queue[int] = threaded.Queue(store=url, name="q")
        with other:
            await asyncio.get_running_loop().run_in_executor(None, other.put, -1)
            assert await waiting == -1
        q.task_done()
        q.close()

    try:
        run(main())
    finally:
        over.set()


def test_it_stays_away_the_longer_the_loop_is_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked twice each 2 ms, and the loop waited for the interpreter a quarter of its time."""
    lulls: list[float] = []

    class Busy:
        """A store whose watcher's loop puts something during each lull, but for the fifth."""

        def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None) -> None:
            if len(lulls) != 5:
                watcher.own += 1
            while not until(Depth()):
                watcher.own += 1

    monkeypatch.setattr("pqadapters.stdlib._loops.watcher.time", SimpleNamespace(sleep=lulls.append))
    store: Any = Busy()
    watcher = Watcher(store, "q", lambda depth: len(lulls) >= 6, lambda: None)
    watcher._wait(store)
    assert lulls[:7] == [_LULL, 2 * _LULL, 4 * _LULL, _LONG_LULL, _LONG_LULL, _LULL, 2 * _LULL]
    assert len(lulls) == 6 + _LULLS


def test_a_get_that_cannot_wait_is_not_woken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told of the next item, in place of a get that waited."""

    def refuse(watcher: Watcher, loop: asyncio.AbstractEventLoop, looks: int | None = None) -> None:
        raise MemoryError

    async def main() -> None:
        async with Queue[int](store=url) as q:
            with monkeypatch.context() as patched:
                patched.setattr(Watcher, "look_out", refuse)
                with pytest.raises(MemoryError):
                    await q.get()
            assert not q._getters

    run(main())


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("pqadapters.stdlib._loops.watcher.start_thread", refuse)


def test_who_waits_where_no_thread_can_be_had_looks_again(url: str, no_thread: None) -> None:
    """get() and join() raised "can't start new thread", where asyncio's wait: in a container at its limit of processes,
    and with Python 3.12 in the handlers of atexit."""

    async def main() -> None:
        async with Queue[int](store=url, maxsize=1) as q:
            other = threaded.Queue[int](store=url, ack="task_done")
            getters = [asyncio.ensure_future(q.get()) for _ in range(2)]
            await turns()
            await q.put(1)
            other.put(2)
            assert sorted(await asyncio.gather(*getters)) == [1, 2]
            for _ in getters:
                q.task_done()
            await q.put(3)
            putter = asyncio.ensure_future(q.put(4))
            await turns()
            assert [other.get(), await putter] == [3, None]
            joiner = asyncio.ensure_future(q.join())
            await turns()
            assert other.get() == 4
            other.task_done()
            other.task_done()
            await joiner
            other.close()

    run(main())


def test_it_looks_once_at_a_time_where_no_thread_can_be_had(no_thread: None) -> None:
    async def main() -> None:
        looked, enough = list[float](), asyncio.Event()
        loop = asyncio.get_running_loop()

        def changed() -> None:
            looked.append(loop.time())
            watcher.look_out(loop)
            watcher.look_out(loop)
            if len(looked) == 4:
                enough.set()

        with open_store("memory:") as store:
            watcher = Watcher(store, "q", lambda depth: False, changed)
            watcher.look_out(loop)
            watcher.look_out(loop)
            await asyncio.wait_for(enough.wait(), PATIENCE)
            watcher.end()
        assert looked[3] - looked[0] > 2.5 * _UNWATCHED

    run(main())


def test_join_hears_of_what_others_did_while_it_looked(url: str) -> None:
    """The thread that looks out for those who wait, here for a get, had looked before join() was one of them."""

    async def main() -> None:
        async with Queue[int](store=url) as q:
            other = threaded.Queue[int](store=url, ack="task_done")
            q.put_nowait(1)
            assert other.get() == 1
            getter = asyncio.ensure_future(q.get())
            await turns()
            seen = threading.Event()
            until, unfinished = q._until, q._line.unfinished

            def see(depth: Depth) -> bool:
                found = until(depth)
                if not depth.unfinished:
                    seen.set()
                return found

            def look() -> int:
                count = unfinished()
                if count:
                    other.task_done()
                    assert seen.wait(PATIENCE)
                return count

            q._until = see  # type: ignore[method-assign]
            q._line.unfinished = look  # type: ignore[method-assign]
            await q.join()
            getter.cancel()
            other.close()

    run(main())


def test_it_sleeps_while_nothing_happens(url: str) -> None:
    """Some stores look twice before they sleep: it took the second look for a change, and looked 500 times a second."""
    with open_store(url) as store:
        watcher = Watcher(store, "q", lambda depth: False, lambda: None)
        assert not store.wait("q", watcher._look, 0.01)


@pytest.mark.parametrize(("ack", "shut"), [("task_done", True), ("get", False), ("get", True)])
def test_it_sleeps_while_join_has_something_to_wait_for(url: str, ack: str, shut: bool) -> None:
    """It woke join() for nothing again and again, and took a whole core for it: behind a shutdown, and for an item that
    was acknowledged when it was handed out."""

    async def main() -> None:
        async with Queue[int](store=url, ack=ack) as q:
            q.put_nowait(1)
            q.get_nowait()
            if shut:
                q.shutdown()
            until, looked, found = q._until, threading.Event(), list[bool]()

            def see(depth: Depth) -> bool:
                found.append(until(depth))
                looked.set()
                return found[-1]

            q._until = see  # type: ignore[method-assign]
            joiner = asyncio.ensure_future(q.join())
            await turns()
            await asyncio.get_running_loop().run_in_executor(None, looked.wait, PATIENCE)
            assert not found[0]
            q.task_done()
            await joiner

    run(main())


async def _take(q: Queue[int], me: int, order: list[int], came: asyncio.Event) -> None:
    while True:
        await q.get()
        q.task_done()
        order.append(me)
        came.set()


async def _end(takers: list[asyncio.Task[None]]) -> None:
    for taker in takers:
        taker.cancel()
    await asyncio.gather(*takers, return_exceptions=True)


def test_items_of_others_go_to_who_waits_longest(url: str) -> None:
    """Each item woke all who waited, and the first of them, which came back in front of the others, had all items."""

    async def main() -> None:
        order: list[int] = []
        async with Queue[int](store=url) as q:
            came = asyncio.Event()
            takers = [asyncio.ensure_future(_take(q, n, order, came)) for n in range(3)]
            await turns()
            with threaded.Queue[int](store=url) as other:
                for n in range(6):
                    await asyncio.get_running_loop().run_in_executor(None, other.put, n)
                    await came.wait()
                    came.clear()
                    await turns()
            await _end(takers)
        assert order == [0, 1, 2, 0, 1, 2]

    run(main())


def test_who_has_to_stand_aside_keeps_its_item(tmp_path: Path) -> None:
    """While others have the database locked, the next one was woken for the same item, in vain, and lost its turn."""

    async def main() -> None:
        order: list[int] = []
        url = f"sqlite:///{tmp_path}/q.db?durability=process"
        async with Queue[int](store=url) as q:
            again, changed, calls = asyncio.Event(), q._watcher._changed, list[None]()

            def see() -> None:
                changed()
                calls.append(None)
                if len(calls) == 2:
                    again.set()

            q._watcher._changed = see

            came = asyncio.Event()
            takers = [asyncio.ensure_future(_take(q, n, order, came)) for n in range(2)]
            await turns()
            with threaded.Queue[int](store=url) as other, closing(sqlite3.connect(tmp_path / "q.db")) as locker:
                locker.isolation_level = None
                for n in range(2):
                    other.put(n)
                    if n == 0:
                        locker.execute("BEGIN IMMEDIATE")
                        await again.wait()
                        locker.rollback()
                    await came.wait()
                    came.clear()
                    await turns()
            await _end(takers)
        assert order == [0, 1]

    run(main())
