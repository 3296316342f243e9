"""shutdown() on every Python, and the end of the block: who waits is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from pqadapters.errors import StoreClosed
from pqadapters.stdlib.asyncio import Queue, QueueShutDown

from .running import run, turns


def test_shutdown(url: str) -> None:
    async def main() -> None:
        async with Queue[int](1, store=url) as q:
            await q.put(1)
            putter = asyncio.ensure_future(q.put(2))
            await turns()
            q.shutdown()
            with pytest.raises(QueueShutDown):
                await putter
            assert await q.get() == 1
            with pytest.raises(QueueShutDown):
                await q.get()
            with pytest.raises(QueueShutDown):
                q.put_nowait(3)
        async with Queue[int](store=url, name="cut") as q:
            await q.put(1)
            q.shutdown(immediate=True)
            with pytest.raises(QueueShutDown):
                q.get_nowait()
            await q.join()
        async with Queue[int](store=url, name="cut") as q:
            assert q.get_nowait() == 1

    run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_who_waits_at_the_end_of_the_block_is_told(url: str, fails: bool) -> None:
    """close() told them; the end of `async with` left them waiting for ever."""

    async def main() -> None:
        with suppress(KeyError):
            async with Queue[int](1, store=url) as q:
                q.put_nowait(1)
                waiting = [asyncio.ensure_future(q.put(2)), asyncio.ensure_future(q.join())]
                await turns()
                if fails:
                    raise KeyError
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreClosed, StoreClosed]

    run(main())


def test_a_put_behind_shutdown_and_close_is_told_of_the_first(url: str) -> None:
    async def main() -> None:
        q: Queue[int] = Queue(store=url)
        q.shutdown()
        q.close()
        with pytest.raises(QueueShutDown):
            q.put_nowait(1)
        with pytest.raises(QueueShutDown):
            await q.put(1)

    run(main())
