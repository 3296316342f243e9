"""Queues whose methods are awaited.

To be called in one loop. What is attempted is done at once, in the loop; puts, and waiting, are left to threads.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from queue import Empty, Full
from types import TracebackType
from typing import Any, TypeVar

from ..clock import SYSTEM
from ..errors import StoreLocked
from ..stdlib._lines.stock import deadline_of, left_of
from ..stdlib._queues.beyond import check_timeout
from ..store import Depth, Op
from ._bell import Bell
from ._putting import ASIDE, Puts

T = TypeVar("T")
Self = TypeVar("Self", bound="InLoop")


class InLoop:
    """A queue whose methods are awaited. `_begin` comes first."""

    def _begin(
        self, queue: Any, bell: Bell, patience: float, commit: Callable[[Sequence[Op]], Sequence[int]]
    ) -> None:
        self._queue, self._bell, self._patience, self._commit = queue, bell, patience, commit
        self._puts: Puts | None = None  #: of the loop in which there was the last one
        weakref.finalize(self, bell.end).atexit = False

    @property
    def maxsize(self) -> int:
        """How many items may be ready; 0 or less means no limit. A program may change it."""
        return int(self._queue.maxsize)

    @maxsize.setter
    def maxsize(self, maxsize: int) -> None:
        self._queue.maxsize = maxsize
        self._bell.ring()

    async def _within(self, attempt: Callable[[], Awaitable[T]], block: bool, timeout: float | None) -> T:
        """What the attempt gives, or Empty or Full if it gave nothing in time."""
        if block:
            check_timeout(timeout)
        deadline = deadline_of(timeout if block else 0.0)
        seen: Depth | None = None
        while True:
            try:
                return await self._unlocked(attempt)
            except (Empty, Full):
                left = left_of(deadline)
                if left is not None and left <= 0:
                    raise
            if seen is not None:
                await self._bell.wait(seen, left)
            seen = self._bell.depth()  # before the next attempt: nothing that comes after that is missed

    async def _unlocked(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Where others have the store locked, the loop goes on meanwhile."""
        begun = SYSTEM.monotonic()
        while True:
            try:
                return await attempt()
            except StoreLocked:
                if SYSTEM.monotonic() - begun > self._patience:
                    raise
            await asyncio.sleep(ASIDE)

    def _in_line(self, ops: Sequence[Op], block: bool, timeout: float | None) -> Coroutine[Any, Any, Any]:
        """What these operations come to, the last of which is a put. Behind those that were asked for before."""
        if block:
            check_timeout(timeout)
        loop = asyncio.get_running_loop()
        if self._puts is None or self._puts.loop is not loop:
            queue = self._queue
            self._puts = Puts(loop, self._commit, lambda: queue.maxsize, self._bell, self._patience)
        return self._puts.put(ops, block, timeout)

    def _room_made(self) -> None:
        """By a get of ours."""
        if self._puts is not None and self._puts.loop is asyncio.get_running_loop():
            self._puts.room_made()

    async def qsize(self) -> int:
        """How many items are ready."""
        return int(self._queue.qsize())

    async def empty(self) -> bool:
        """Whether no item is ready."""
        return not self._queue.qsize()

    async def full(self) -> bool:
        """Whether a put would wait."""
        return bool(self._queue.full())

    async def close(self) -> None:
        """Let go of the store, behind the puts that are under way; one that waits for room raises StoreClosed. What was
        got and isn't done is ready again. A second call does nothing."""
        queue, bell, puts = self._queue, self._bell, self._puts
        try:
            if puts is not None and puts.loop is asyncio.get_running_loop():
                await puts.settle()
        finally:
            bell.end()
            queue.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
