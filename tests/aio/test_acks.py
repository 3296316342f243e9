"""Who holds an item, what acknowledges it, what comes again, and join(), which waits for the last."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from pqadapters.stdlib.asyncio import Queue, QueueEmpty
from pqadapters.stdlib.queue import Queue as ThreadQueue

from .running import PATIENCE, Loop, run, turns


async def _get(q: Queue[int]) -> int:
    return await q.get()


def test_what_is_got_in_a_task_of_its_own_is_its_callers(url: str, loop: Loop) -> None:
    """`wait_for(q.get(), 5)` makes a task before Python 3.12: with two workers no task_done() acknowledged anything."""

    async def main() -> None:
        async with Queue[int](store=url, ack="task_done") as q:
            for n in range(4):
                q.put_nowait(n)
            assert await asyncio.wait_for(q.get(), PATIENCE) == 0
            await asyncio.create_task(_get(q))  # another worker has this one
            assert await asyncio.create_task(q.get()) == 2
            q.task_done()
            q.task_done()
            assert (q.stats()["claimed"], q.stats()["uncovered"]) == (1, 0)
            assert await q.get() == 3

    run(main(), loop)


def test_who_asks_again_in_a_task_of_its_own_has_done_the_last_one(url: str) -> None:
    async def main() -> None:
        async with Queue[int](store=url, ack="next") as q:
            for n in range(3):
                q.put_nowait(n)
            for n in range(3):
                assert await asyncio.create_task(q.get()) == n
            assert (q.stats()["claimed"], q.stats()["ready"]) == (1, 0)

    run(main())


def test_a_dropped_queue_ends_as_its_own_close(url: str) -> None:
    async def main() -> None:
        q = Queue[int](store=url, ack="next")
        q.put_nowait(1)
        q.put_nowait(2)
        assert await q.get() == 1
        del q
        assert list(Queue(store=url)._queue) == [2]

    run(main())


def test_what_is_not_done_comes_again(url: str) -> None:
    async def first() -> None:
        q = Queue[str](store=url, ack="task_done")
        for item in "abc":
            await q.put(item)
        assert await q.get() == "a"
        q.task_done()
        assert await q.get() == "b"
        q.close()

    async def second() -> None:
        async with Queue[str](store=url, ack="task_done") as q:
            assert [q.get_nowait(), q.get_nowait()] == ["b", "c"]
            with pytest.raises(QueueEmpty):
                q.get_nowait()
            q.task_done()
            q.task_done()
            await q.join()

    run(first())
    run(second())


def test_each_task_finishes_its_own(url: str) -> None:
    """A task that is slow acknowledges what it has fetched, not what another one has fetched before it."""

    async def main() -> None:
        q = Queue[str](store=url, ack="task_done")
        await q.put("slow")
        await q.put("quick")
        fetched = asyncio.Event()

        async def slow() -> None:
            assert await q.get() == "slow"
            fetched.set()
            await asyncio.Event().wait()

        async def quick() -> None:
            await fetched.wait()
            assert await q.get() == "quick"
            q.task_done()

        task = asyncio.ensure_future(slow())
        await quick_task(quick())
        q.close()
        task.cancel()

    async def quick_task(work: Coroutine[Any, Any, None]) -> None:
        await asyncio.ensure_future(work)

    async def again() -> None:
        async with Queue[str](store=url) as q:
            assert (q.qsize(), q.get_nowait()) == (1, "slow")
            q.task_done()

    run(main())
    run(again())


def test_join_waits_for_the_last(url: str, loop: Loop) -> None:
    async def main() -> None:
        async with Queue[int](store=url) as q:
            for n in range(5):
                await q.put(n)
            done: list[int] = []

            async def work() -> None:
                while True:
                    done.append(await q.get())
                    await turns(1)
                    q.task_done()

            tasks = [asyncio.ensure_future(work()) for _ in range(2)]
            await q.join()
            assert sorted(done) == list(range(5))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with pytest.raises(ValueError, match="too many times"):
                q.task_done()

    run(main(), loop)


def test_join_is_told_of_the_end_though_more_is_put_before_its_turn(url: str) -> None:
    """As asyncio's: it looked once more, and waited for ever beside a worker that puts what is to be done next."""

    async def main() -> None:
        async with Queue[int](store=url) as q:
            await q.put(1)
            joiner = asyncio.ensure_future(q.join())
            await turns()
            await q.get()
            q.task_done()
            q.put_nowait(2)
            await turns()
            assert joiner.done()
            assert q.qsize() == 1

    run(main())


async def _stop_in_the_middle(url: str, ack: Any, *, where: str) -> None:
    q: Queue[int] = Queue(store=url, ack=ack)
    for number in range(3):
        q.put_nowait(number)
    took: asyncio.Queue[int] = asyncio.Queue()

    async def work() -> None:
        while True:
            took.put_nowait(await q.get())
            if took.qsize() == 2 and where == "at work":
                await asyncio.Event().wait()
            if took.qsize() == 2 and where == "failed":
                raise ValueError
            await asyncio.sleep(0)

    worker = asyncio.create_task(work())
    while took.qsize() < (3 if where == "idle" else 2) and not worker.done():
        await asyncio.sleep(0)
    await turns()
    worker.cancel()  # as asyncio.run() does with whoever is left
    assert isinstance((await asyncio.gather(worker, return_exceptions=True))[0], (ValueError, asyncio.CancelledError))
    await turns()


@pytest.mark.parametrize("ack", ["next", None])
@pytest.mark.parametrize(("where", "left"), [("at work", [1, 2]), ("idle", []), ("failed", [2])])
def test_what_a_cancelled_task_had_in_hand_comes_again(
    where: str, left: list[int], ack: Any, url: str, loop: Loop
) -> None:
    """A caught Ctrl-C cancels all tasks, in the middle of their items, which were lost at the end. A task
    that fails is as a thread that does."""
    run(_stop_in_the_middle(url, ack, where=where), loop)
    gc.collect()
    assert list(ThreadQueue(store=url).queue) == left


def test_what_an_interrupted_task_had_in_hand_comes_again(url: str) -> None:
    """A signal handler's exception comes up in the task that runs, and then out of the loop."""

    async def main() -> None:
        q: Queue[int] = Queue(store=url, ack="next")
        for number in range(3):
            q.put_nowait(number)
        await q.get()
        await q.get()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(main())
    gc.collect()
    assert list(ThreadQueue(store=url).queue) == [1, 2]
