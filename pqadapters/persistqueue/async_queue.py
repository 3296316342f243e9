"""persist-queue's file queue for asyncio: `Queue`, whose methods are awaited, and the same directory.

A put is on disk when it was awaited; who is cancelled while it runs doesn't know whether it is. To be used in one loop.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ..stdlib._lines.held import Consumer
from ..stdlib._lines.stock import deadline_of, left_of
from ..stdlib._loops.asking import as_coroutine_function, caller, for_asker
from ..store import LOCK_TIMEOUT
from . import serializers
from ._bell import Bell
from ._loop import InLoop
from .exceptions import Empty, Full
from .queue import MOMENT, File, Queue

__all__ = ["AsyncQueue", "Empty", "Full"]

_NEVER = 0.0  #: nobody else has the store locked: this process holds it


def _stored(queue: Queue, ops: Sequence[Any]) -> Sequence[int]:
    queue._line.stow_all((), ops)
    return [0] * len(ops)  # their ids are nobody's business


class AsyncQueue(InLoop):
    """A FIFO queue in a directory. Arguments, errors and what survives are those of `Queue`; the consumer, whose items
    `task_done()` acknowledges, is the task."""

    def __init__(
        self,
        path: str,
        maxsize: int = 0,
        chunksize: int = 100,
        tempdir: str | None = None,
        serializer: Any = None,
        autosave: bool = False,
    ) -> None:
        serializer = serializers.pickle if serializer is None else serializer
        queue = Queue(path, maxsize, chunksize, tempdir, serializer, autosave)
        queue._TOO_OFTEN = "task_done() called too many times"  # persist-queue's async one says it so
        self.path, self.chunksize = path, chunksize
        self.tempdir, self.serializer, self.autosave = tempdir, serializer, autosave
        self._putting = 0  #: puts that are under way
        self._begin(queue, Bell(queue._line.store, queue.name), _NEVER, partial(_stored, queue))

    async def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Store an item; with a `maxsize`, wait for room: for ever, `timeout` seconds, or not at all. Raises Full."""

        self._putting += 1
        try:
            await self._in_line([self._queue._line.make(item)], block, timeout)
        finally:
            self._putting -= 1

    async def put_nowait(self, item: Any) -> None:
        """Store an item, or raise Full."""
        await self.put(item, block=False)

    @as_coroutine_function
    def get(self, block: bool = True, timeout: float | None = None) -> Coroutine[Any, Any, Any]:
        """Take the next item; wait for one: for ever, `timeout` seconds, or not at all, but for puts under way,
        as `Queue.get`. The item is the task's that has called this, whichever awaits it. Raises Empty."""
        return self._get_for(caller(), block, timeout)

    async def _get_for(self, asker: Consumer | None, block: bool, timeout: float | None) -> Any:
        async def attempt() -> Any:
            # in no case waiting: the loop would stand still
            item = for_asker(asker, self._queue._line.held, lambda: self._queue.get(timeout=0.0))
            self._room_made()
            return item

        try:
            return await self._within(attempt, block, timeout)
        except Empty:
            if block or not self._putting:
                raise
        deadline = deadline_of(LOCK_TIMEOUT)
        while left_of(deadline) and self._putting:
            with suppress(Empty):
                return await self._within(attempt, True, MOMENT)
        return await self._within(attempt, True, MOMENT)

    @as_coroutine_function
    def get_nowait(self) -> Coroutine[Any, Any, Any]:
        """Take the next item, or raise Empty."""
        return self.get(block=False)

    async def task_done(self) -> None:
        """All that this task has got is done; one task fewer to wait for in `join()`. Raises ValueError when called
        more often than there were items."""
        self._queue.task_done()
        self._bell.ring()

    @property
    def unfinished_tasks(self) -> int:
        """How many `task_done()` there are to come, for `join()`."""
        return int(self._queue.unfinished_tasks)

    @property
    def headf(self) -> File | None:
        """As `tailf`: None once the queue is closed."""
        file: File = self._queue.headf
        return None if file.closed else file

    tailf = headf

    async def join(self) -> None:
        """Wait until as many `task_done()` were called as there were items."""
        seen = self._bell.depth()
        while self._queue.unfinished_tasks:
            await self._bell.wait(seen, None)
            seen = self._bell.depth()
