"""The thread that looks out for what others do in a queue, while its own loop is at it."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from pqadapters.stdlib import queue as threaded
from pqadapters.stdlib.asyncio import Queue

from .test_queue import PATIENCE, run

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

    monkeypatch.setattr("pqadapters.stdlib._watcher.time", SimpleNamespace(sleep=lull))

    async def main() -> None:
        q: Queue[int] = Queue(store=url, name="q")
        await _through(q)
        assert begun.is_set(), "it stays away while the loop is at it"
        assert q._watcher.looks < _ITEMS // 4
        waiting = asyncio.ensure_future(q.get())
        await asyncio.sleep(0)
        over.set()
        other: threaded.Queue[int] = threaded.Queue(store=url, name="q")
        with other:
            await asyncio.get_running_loop().run_in_executor(None, other.put, -1)
            assert await waiting == -1
        q.task_done()
        q.close()

    run(main())
