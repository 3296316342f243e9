"""The standard library's `asyncio.Queue`: in memory, and what programs use now."""

from __future__ import annotations

import asyncio

from ..contender import Contender, Level, LoopQueue, Speed


def open_loop(directory: str, level: Level) -> LoopQueue:
    queue: asyncio.Queue[str] = asyncio.Queue()
    return queue


CONTENDER = Contender(
    name="stdlib-asyncio",
    about="asyncio.Queue",
    open_loop=open_loop,
    speed={Level.MEMORY: Speed(1_000_000, 1_000_000)},
)
