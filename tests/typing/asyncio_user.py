"""A program written against `asyncio`, with the import changed: all of it has the standard library's types."""

from __future__ import annotations

from typing_extensions import assert_type

from pqadapters.stdlib import asyncio


class Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def one() -> int:
    return 1


async def both() -> tuple[int, int]:
    return await asyncio.gather(one(), one())


async def soon(jobs: asyncio.Queue[int], lock: asyncio.Lock) -> int:
    task: asyncio.Task[int] = asyncio.create_task(jobs.get())
    try:
        async with lock:
            return await asyncio.wait_for(jobs.get(), 1)
    except (asyncio.QueueEmpty, asyncio.TimeoutError, asyncio.CancelledError):
        return await asyncio.shield(task)


def run() -> int:
    assert_type(asyncio.PriorityQueue[int]().get_nowait(), int)
    return asyncio.run(one())


def ends(process: asyncio.subprocess.Process) -> int | None:
    return process.returncode
