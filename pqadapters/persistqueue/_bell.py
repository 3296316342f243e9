"""What happens in a queue of a store, told to those who wait for it in an event loop, whoever does it: tasks, threads,
processes.

To be called in one loop. Only waiting is left to a thread.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

from ..stdlib._lines.line import weak
from ..stdlib._loops.watcher import Watcher
from ..store import Depth, Store

_FEATURES = slice(0, 5)  #: of a depth; the age of the oldest record isn't known to who waits


class Bell:
    """Wakes tasks when the depth of a queue isn't any more what they have seen."""

    def __init__(self, store: Store, queue: str) -> None:
        self._store, self._queue = store, queue
        self._waiting: dict[asyncio.Future[None], Depth] = {}
        self._watcher = Watcher(store, queue, _until(weakref.ref(self)), weak(self.ring))

    def depth(self) -> Depth:
        return self._store.depth(self._queue, age=False)

    async def wait(self, seen: Depth, timeout: float | None) -> None:
        """Until the depth is another one, somebody rings, or `timeout` seconds have gone by."""
        waiter = self.waiter(seen)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
            self.leave(waiter)

    def waiter(self, seen: Depth) -> asyncio.Future[None]:
        """Done once the depth is another one, or somebody rings. Whoever waits no longer has to leave()."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting[waiter] = seen
        try:
            self._watcher.look_out(loop)
            self._store.wake(self._queue)  # the watcher may sleep already, and knows nothing of us
        except BaseException:
            self.leave(waiter)
            raise
        return waiter

    def leave(self, waiter: asyncio.Future[None]) -> None:
        self._waiting.pop(waiter, None)

    def ring(self) -> None:
        """Those who wait look for themselves. Who waited in a loop that was closed meanwhile never will."""
        for waiter in list(self._waiting):
            if waiter.get_loop().is_closed():
                self._waiting.pop(waiter, None)
            elif not waiter.done():
                waiter.set_result(None)

    def changed(self, depth: Depth) -> bool:
        waiting = list(self._waiting.values())
        return not waiting or any(depth[_FEATURES] != seen[_FEATURES] for seen in waiting)

    def end(self) -> None:
        self._watcher.end()
        self.ring()


def _until(ref: weakref.ref[Bell]) -> Callable[[Depth], bool]:
    def look(depth: Depth) -> bool:
        bell = ref()
        return bell is None or bell.changed(depth)

    return look
