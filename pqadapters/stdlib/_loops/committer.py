"""Puts whose sync is awaited: they are committed off the event loop, all that have gathered meanwhile with one sync."""

from __future__ import annotations

import asyncio
from bisect import bisect
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from ...errors import LimitReached, StoreLocked, StoreUnreachable
from ...store import Put

_AT_ONCE = 1000  #: puts in one commit
_OF_ALL = (StoreLocked, StoreUnreachable)  #: what each put of a batch would run into, and of which it may be stored


class _Pending(NamedTuple):
    place: int
    item: Any
    put: Put
    done: asyncio.Future[None]


class Committer:
    """Of one queue. All but `commit` runs in the loop; that in a thread. `stored` is called for each put that is, and
    `settled` behind each batch: puts that failed or were cancelled may have left room; `ready` is how many items there
    are. Once a loop is closed the next one may put: `asyncio.run` makes one each time, and asyncio's queues bear with
    that.

    Puts are stored in the order of their places. Behind one that is refused, since there is no room, all are."""

    def __init__(
        self,
        commit: Callable[[list[Any], list[Put]], object],
        stored: Callable[[], object],
        settled: Callable[[], object],
        ready: Callable[[], int] = int,
    ) -> None:
        self._commit, self._stored, self._settled, self._ready = commit, stored, settled, ready
        self.begin_again()

    def begin_again(self) -> None:
        """In a forked child what is under way is the parent's, and so is the thread."""
        self._pending: list[_Pending] = []  #: by place
        self._loop: asyncio.AbstractEventLoop | None = None  #: that waits for the batch in the thread
        self._under_way = 0  #: puts of that batch
        self.had = 0  #: items that were ready when that batch began, less those taken since
        self._untold = 0  #: puts of batches whose loop was closed, since the last one that came to its end
        self._thread: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        """How many puts wait for their turn."""
        return 0 if self.stranded else len(self._pending)

    @property
    def unsettled(self) -> int:
        """Those, and the puts of the batch in the thread, which may be stored already."""
        return 0 if self.stranded else len(self._pending) + (self._under_way if self._loop is not None else 0)

    def coming(self, ready: int) -> int:
        """Those of them that aren't among the items that are ready: a put is there before its sync is over."""
        return len(self) if 0 < self._under_way <= ready - self.had else self.unsettled

    @property
    def stranded(self) -> bool:
        """Whether a loop was closed while a batch was in the thread: what of it is stored, nobody is told."""
        return self._loop is not None and self._loop.is_closed()

    async def put(self, item: Any, put: Put, place: int) -> None:
        """Returns when it is stored. Raises what the store raises. One that is cancelled before its turn isn't stored;
        later it may be. RuntimeError while another loop's puts are under way."""
        loop = asyncio.get_running_loop()
        self._part_from_others(loop)
        done = loop.create_future()
        self._pending.insert(bisect(self._pending, (place,)), _Pending(place, item, put, done))
        if self._loop is None:
            self._go_on(loop)
        await done

    def _part_from_others(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is None or self._loop is loop:
            return
        if not self.stranded:
            raise RuntimeError("another event loop's puts into this queue are under way; give each loop its own handle")
        self._untold += self._under_way  # told with the next batch, which the same thread stores after them
        self._pending.clear()
        self._loop = None

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[_Pending] = []
        while self._pending and not batch:
            batch = [each for each in self._pending[:_AT_ONCE] if not each.done.done()]
            del self._pending[:_AT_ONCE]
        if not batch:
            return
        self._loop, self._under_way, self.had = loop, len(batch), self._ready()
        job = self._begun([(each.item, each.put) for each in batch])

        def finish(job: Future[list[Exception | None]]) -> None:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._finish, job, [each.done for each in batch], loop)

        job.add_done_callback(finish)

    def _begun(self, puts: Sequence[tuple[Any, Put]]) -> Future[list[Exception | None]]:
        """In the thread; where none can be had, as behind the end of the main thread, it is over when this returns."""
        try:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "pqadapters-committer")
            return self._thread.submit(self._carry_out, puts)
        except RuntimeError:
            self._thread = None  # which may have the job in its line, and mustn't find a thread for it later
            job: Future[list[Exception | None]] = Future()
            job.set_result(self._carry_out(puts))
            return job

    def _carry_out(self, puts: Sequence[tuple[Any, Put]]) -> list[Exception | None]:
        """In the thread: what each came to."""
        try:
            self._commit([item for item, _ in puts], [put for _, put in puts])
        except Exception as error:
            if len(puts) == 1 or isinstance(error, _OF_ALL):
                return [error] * len(puts)
            return self._one_by_one(puts)
        return [None] * len(puts)

    def _one_by_one(self, puts: Sequence[tuple[Any, Put]]) -> list[Exception | None]:
        outcomes: list[Exception | None] = []
        for put in puts:
            last = outcomes[-1] if outcomes else None
            outcomes += [last] if isinstance(last, LimitReached) else self._carry_out([put])
        return outcomes

    def _finish(
        self,
        job: Future[list[Exception | None]],
        waiters: Sequence[asyncio.Future[None]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._loop = None
        for _ in range(self._untold):
            self._stored()
        self._untold = 0
        outcomes = job.result()
        for done, error in zip(waiters, outcomes, strict=True):
            if error is None:
                self._stored()
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        if isinstance(outcomes[-1], LimitReached):  # those that were refused come again before the next batch begins
            self._loop, self._under_way = loop, 0
            loop.call_soon(self._settle, loop)
        else:
            self._settle(loop)

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = None
        if self._pending:
            self._go_on(loop)
        self._settled()
