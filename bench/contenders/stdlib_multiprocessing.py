"""The standard library's `multiprocessing.Queue`: a pipe, and what programs use now."""

from __future__ import annotations

import multiprocessing
from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself, nothing


def open_queue(directory: str, level: Level) -> Handle:
    queue: Any = multiprocessing.get_context("fork").Queue()
    return Handle(queue.put, queue.get, queue.get_nowait, nothing, itself, queue.close)


CONTENDER = Contender(
    name="stdlib-multiprocessing",
    about="multiprocessing.Queue",
    open=open_queue,
    speed={Level.MEMORY: Speed(200_000, 200_000)},
    inherited=True,
)
