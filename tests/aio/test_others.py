"""One store and others at it: threads, loops with handles of their own, who has the database locked."""

from __future__ import annotations

import asyncio
import copy
import gc
import sqlite3
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import StoreLocked
from pqadapters.stdlib import queue as threaded
from pqadapters.stdlib._loops import waiting
from pqadapters.stdlib.asyncio import Queue, QueueShutDown
from pqadapters.stores.sqlite import SqliteStore
from tests.contract.threads import Task
from tests.home.world import child

from .running import PATIENCE, Loop, run, turns


def test_a_shallow_copy_is_the_same_queue_and_outlives_it(url: str, loop: Loop) -> None:
    """The queue was closed when the first of the two was dropped."""

    async def main() -> None:
        q: Queue[int] = Queue(store=url)
        q = copy.copy(q)
        gc.collect()
        getting = asyncio.create_task(q.get())
        await turns()
        with threaded.Queue[int](store=url) as other:
            await asyncio.to_thread(other.put, 1)
            assert await getting == 1
        q.task_done()
        await q.join()
        await q.put(2)
        del q
        gc.collect()
        async with Queue[int](store=url) as again:
            assert await again.get() == 2

    run(main(), loop)


def test_an_asyncio_producer_and_a_threaded_consumer(url: str, loop: Loop) -> None:
    found: list[int] = []

    def consume() -> None:
        with threaded.Queue[int](store=url) as q:
            while (item := q.get(timeout=PATIENCE)) >= 0:
                found.append(item)
                q.task_done()
            q.task_done()

    async def produce() -> None:
        async with Queue[int](5, store=url) as q:
            consumer = Task(consume, patience=PATIENCE)
            for n in range(200):
                await q.put(n)
            await q.put(-1)
            await q.join()
            await asyncio.get_running_loop().run_in_executor(None, consumer.result)

    run(produce(), loop)
    assert found == list(range(200))


def test_a_threaded_producer_and_an_asyncio_consumer(url: str, loop: Loop) -> None:
    def produce() -> None:
        with threaded.Queue[int](5, store=url) as q:
            for n in range(200):
                q.put(n, timeout=PATIENCE)
            q.join()

    async def consume() -> None:
        async with Queue[int](store=url) as q:
            producer = Task(produce, patience=PATIENCE)
            for n in range(200):
                assert await q.get() == n
                q.task_done()
            await asyncio.get_running_loop().run_in_executor(None, producer.result)

    run(consume(), loop)


def test_loops_in_several_threads(url: str) -> None:
    """Each has a handle of its own on one queue."""
    found: list[int] = []

    async def work(count: int) -> None:
        async with Queue[int](store=url) as q:
            for _ in range(count):
                found.append(await q.get())
                q.task_done()

    keeper: threaded.Queue[int] = threaded.Queue(store=url)
    tasks = [Task(lambda: run(work(50)), patience=PATIENCE) for _ in range(3)]
    for n in range(150):
        keeper.put(n)
    for task in tasks:
        task.result()
    assert sorted(found) == list(range(150))
    keeper.join()
    keeper.close()


def test_a_get_waits_for_a_database_that_is_locked_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It raised StoreLocked after five seconds, as a put does, in a consumer that waits for ever."""
    monkeypatch.setattr(waiting, "LOCK_TIMEOUT", 0.01)
    monkeypatch.setattr(waiting, "LONG_ASIDE", 0.002)
    path = tmp_path / "q.db"

    async def main() -> None:
        async with Queue[int](store=f"sqlite:///{path}?durability=process") as q:
            await q.put(1)
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            getter = asyncio.ensure_future(q.get())
            with pytest.raises(StoreLocked):
                await q.put(2)
            while not caplog.records:
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0.002)
            assert not getter.done()
            other.rollback()
            other.close()
            assert await getter == 1
            q.task_done()

    run(main())
    assert len(caplog.records) == 1


@pytest.mark.parametrize("maxsize", [0, 2])
def test_who_waits_for_a_database_that_is_locked_is_told_of_shutdown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maxsize: int
) -> None:
    """A get waited on for as long as the lock was held, a put into a queue with a maxsize until it was refused."""
    monkeypatch.setattr(waiting, "LOCK_TIMEOUT", PATIENCE)
    path = tmp_path / "q.db"

    async def main() -> None:
        async with Queue[int](maxsize, store=f"sqlite:///{path}?durability=process") as q:
            await q.put(1)
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            waits = [asyncio.ensure_future(each) for each in (q.get(), q.put(2), q.put(3))]
            await turns()
            q.shutdown(immediate=True)
            done, _ = await asyncio.wait(waits, timeout=PATIENCE / 2)
            other.rollback()
            other.close()
            assert [type(each.exception()) for each in waits if each in done] == [QueueShutDown] * 3

    run(main())
    with threaded.Queue[int](store=f"sqlite:///{path}") as q:
        assert q.get_nowait() == 1
        assert q.empty()


def test_the_loop_goes_on_while_others_have_the_database_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOCK_TIMEOUT", PATIENCE)  # a slow machine's put isn't refused
    path = tmp_path / "q.db"

    async def main() -> None:
        async with Queue[int](store=f"sqlite:///{path}?durability=process") as q:
            await q.put(0)
            other = sqlite3.connect(path, isolation_level=None)
            steps: list[Coroutine[Any, Any, Any]] = [q.put(1), q.get()]
            for step in steps:
                other.execute("BEGIN IMMEDIATE")
                task = asyncio.ensure_future(step)
                for _ in range(20):  # the loop isn't stopped, and comes here again and again
                    await asyncio.sleep(0.005)
                assert not task.done()
                other.rollback()
                await task
            assert q.get_nowait() == 1
            other.execute("BEGIN IMMEDIATE")
            task = asyncio.ensure_future(q.put(2))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other.rollback()
            other.close()
            assert q.empty()

    run(main())


@pytest.mark.parametrize("maxsize", [0, 2])
@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("later", range(5))
def test_a_put_waits_behind_one_that_found_the_database_locked(
    tmp_path: Path, maxsize: int, gone: bool, later: int
) -> None:
    """It was tried again after a moment, and whoever came meanwhile went before it. `later`: in turns of the loop, of
    which one is that in which it is through."""
    path = tmp_path / "q.db"

    async def main() -> None:
        async with Queue[str](maxsize, store=f"sqlite:///{path}?durability=process") as q:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            puts = [asyncio.ensure_future(q.put(item)) for item in "abc"]
            await turns()
            other.rollback()
            other.close()
            if gone:
                puts[0].cancel()
                await asyncio.wait([puts.pop(0)])
            if later:
                time.sleep(0.005)  # the moment is over
                await turns(later)
            puts.append(asyncio.ensure_future(q.put("d")))
            await turns(1)  # else it is new behind the first get, and may go before who is woken by that, as asyncio's
            assert "".join([await q.get() for _ in puts]) == ("bcd" if gone else "abcd")
            await asyncio.gather(*puts)

    run(main())


def test_a_forked_childs_loop_never_waits_for_others_to_remove_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There what is gone when it is handed out was removed without a claim, for which the loop waits."""
    looked: list[str] = []
    monkeypatch.setattr(SqliteStore, "look", lambda store, queue: looked.append(queue))
    q: Queue[int] = Queue(store=f"sqlite:///{tmp_path}/q.db?durability=process", ack="get")

    async def put_and_get() -> list[int]:
        for number in range(3):
            await q.put(number)
        return [await q.get() for _ in range(3)]

    with child(lambda me: me.say(f"{run(put_and_get())} {looked}")) as process:
        assert process.hear() == "[0, 1, 2] []"
        assert process.wait() == 0
    q.close()
