"""Waiting in an event loop for what happens in a queue of a store, whoever does it: tasks, threads, processes.

To be called in one loop. What is attempted is done at once, in the loop; only waiting is left to a thread.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, Full
from types import TracebackType
from typing import Any, TypeVar

from ..clock import SYSTEM
from ..errors import StoreLocked
from ..stdlib._lines.line import weak
from ..stdlib._lines.stock import deadline_of, left_of
from ..stdlib._loops.watcher import Watcher
from ..stdlib._queues.beyond import check_timeout
from ..store import Depth, Store

T = TypeVar("T")
Self = TypeVar("Self", bound="InLoop")
_ASIDE = 0.002  #: seconds until a store that others have locked is tried again
_FEATURES = slice(0, 5)  #: of a depth; the age of the oldest record isn't known to who waits


class Bell:
    """Wakes tasks when the depth of a queue isn't any more what they have seen."""

    def __init__(self, store: Store, queue: str) -> None:
        self._store, self._queue = store, queue
        self._waiting: dict[asyncio.Future[None], Depth] = {}
        self._watcher = Watcher(store, queue, _until(weakref.ref(self)), weak(self.ring))

    def depth(self) -> Depth:
        return self._store.depth(self._queue)

    async def wait(self, seen: Depth, timeout: float | None) -> None:
        """Until the depth is another one, somebody rings, or `timeout` seconds have gone by."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting[waiter] = seen
        try:
            self._watcher.look_out(loop)
            self._store.wake(self._queue)  # the watcher may sleep already, and knows nothing of us
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
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


def _heard(done: asyncio.Future[Any]) -> None:
    """Its error is nobody's where who waited was cancelled: asyncio would report it, whenever it likes."""
    if not done.cancelled():
        done.exception()


def _over(turn: asyncio.Future[None], _: object) -> None:
    turn.set_result(None)


async def _in_a_thread(call: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """What the call gives. Where no thread can be started it is made here: asyncio's pool refuses it then, and has it
    in its line all the same, for a thread that can be started later."""
    outcome: Future[T] = Future()
    try:
        await asyncio.to_thread(_make, outcome, call, arguments)
    except RuntimeError:
        if outcome.cancel():  # else a thread has found it there by now
            return call(*arguments)
        return await asyncio.wrap_future(outcome)
    return outcome.result()


def _make(outcome: Future[T], call: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    """Make the call, unless that was done elsewhere."""
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(call(*arguments))
    except BaseException as error:
        outcome.set_exception(error)


class InLoop:
    """A queue whose methods are awaited. `_begin` comes first."""

    def _begin(self, queue: Any, bell: Bell, patience: float) -> None:
        self._queue, self._bell, self._patience = queue, bell, patience
        self._last_turn: asyncio.Future[None] | None = None  #: of the calls in threads, until that one is over
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
            await asyncio.sleep(_ASIDE)

    async def _apart(self, call: Callable[..., T], *arguments: Any) -> T:
        """A call that syncs, in a thread where one can be had, behind those that were asked for before. Cancelling who
        waits for it undoes nothing, and before its turn nothing was done."""
        loop = asyncio.get_running_loop()
        before, turn = self._last_turn, loop.create_future()
        under_way: asyncio.Future[Any] | None = before if before is not None and before.get_loop() is loop else None
        self._last_turn = turn

        async def attempt() -> T:
            nonlocal under_way
            under_way = asyncio.ensure_future(_in_a_thread(call, arguments))
            under_way.add_done_callback(_heard)
            return await asyncio.shield(under_way)

        try:
            if under_way is not None:
                await asyncio.shield(under_way)
            return await self._unlocked(attempt)
        finally:
            if loop.is_closed():
                pass  # nobody waits in it
            elif under_way is None:
                turn.set_result(None)
            else:
                under_way.add_done_callback(partial(_over, turn))

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
        """Let go of the store. What was got and isn't done is ready again. A second call does nothing."""
        self._bell.end()
        self._queue.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
