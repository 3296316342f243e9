"""Puts that are awaited: stored off the event loop, in the order of the calls, and all that have gathered while one
commit was under way by the next one, with one sync.

The line of a loop's puts into a queue, the first ones first::

    | those in the thread | with room | without room |
      `_batch_of`           `_with_room` says where that ends

A put for which there is room goes in front of those that wait for room, as in asyncio's queues: a task that puts back
what it has taken would wait for itself else. No two are given the same room: what is in the queue is looked at only
while none is in the thread, and behind that `_free` is what puts leave of it, and gets add to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

from ..clock import SYSTEM
from ..errors import ConditionFailed, LimitReached, StoreError, StoreLocked, TooLarge
from ..store import Depth, Op, Put
from ._bell import Bell
from .exceptions import Full

ASIDE = 0.002  #: seconds until a store that others have locked is tried again
_AT_ONCE = 1000  #: puts in one commit
_BYTES = 1 << 20  #: likewise, but for one that is larger by itself


class Outcome(NamedTuple):
    """What became of a batch."""

    results: list[Any]  #: of the first ones: the record's id, None for an item that is there already, an exception
    met: Exception | None  #: by the one behind them; it and the rest aren't stored, and may be tried again


class _Waiting:
    """A put in the line."""

    def __init__(self, ops: Sequence[Op], done: asyncio.Future[Any], *, waits: bool) -> None:
        self.ops, self.done = ops, done
        self.waits = waits  #: for room
        self.begun = SYSTEM.monotonic()
        self.size = sum(len(op.payload) for op in ops if isinstance(op, Put))


class Puts:
    """Those of one loop into one queue. `commit` stores operations, and gives a number for each: in a thread, one batch
    at a time; all else is done in the loop. `limit` says how many records may be ready (0 or less: any number). A store
    that others have locked is waited for `patience` seconds.

    A put that is cancelled before its batch begins stores nothing; later it may be stored.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        commit: Callable[[Sequence[Op]], Sequence[int]],
        limit: Callable[[], int],
        bell: Bell,
        patience: float,
    ) -> None:
        self.loop = loop
        self._commit, self._limit, self._bell, self._patience = commit, limit, bell, patience
        self._line: list[_Waiting] = []
        self._with_room = 0  #: how many of them, from the first on, have room in the queue
        self._free = 0  #: for how many more there is room
        self._busy = False  #: a batch is in the thread
        self._later: asyncio.TimerHandle | None = None  #: the next one begins then: others are at the store
        self._locked: float | None = None  #: since when (monotonic seconds)
        self._room: asyncio.Future[None] | None = None  #: the next one begins then: there may be room
        self._turns: list[asyncio.Future[None]] = []  #: of those who wait for the end of a batch

    async def put(self, ops: Sequence[Op], block: bool, timeout: float | None) -> Any:
        """The record's id once it is stored, None where the item is in the queue already. Raises Full, and what the
        store raises."""
        put = _Waiting(ops, self.loop.create_future(), waits=block)
        if self._is_room():
            self._line.insert(self._with_room, put)
            self._with_room += 1
            self._free -= 1
            self._go_on()
        else:
            self._line.append(put)
            if self._room is None or not block:  # else it waits as those before it do
                self._go_on()
        if block and timeout is not None:
            await self._wait(put, timeout)
        return await put.done

    async def _wait(self, put: _Waiting, timeout: float) -> None:
        try:
            await asyncio.wait({put.done}, timeout=timeout)
        except asyncio.CancelledError:
            put.done.cancel()
            raise
        put.waits = False  # if it isn't stored yet, it is looked once more
        self._go_on()

    def room_made(self) -> None:
        """By a get in this loop: for who puts in this turn of the loop, and else for those that wait."""
        self._free += 1
        if self._room is not None:
            self.loop.call_soon(self._look_again, self._room)

    async def settle(self) -> None:
        """Until what was asked for so far is stored, or waits for room."""
        asked = self._line[: self._with_room] if self._limit() > 0 else self._line[:]
        while self._busy or self._later is not None:
            turn = self.loop.create_future()
            self._turns.append(turn)
            await turn
            if all(put.done.done() for put in asked):
                return

    def _is_room(self) -> bool:
        """For one more, in front of those that wait for room."""
        return self._limit() > 0 and self._free > 0

    def _go_on(self) -> None:
        """Begin a batch, unless one is under way, or is to begin later."""
        if self._busy or self._later is not None:
            return
        self._leave_room()
        self._line = [put for put in self._line if not put.done.done()]
        limit, asked = self._limit(), self._line[:]
        batch = self._batch(limit) if asked else asked
        if not batch:
            return self._end_turn()
        self._busy = True
        outcome: Future[Outcome] = Future()
        outcome.add_done_callback(partial(self._call_back, asked))
        self._begin(outcome, [[_limited(op, limit) for op in put.ops] for put in batch])

    def _batch(self, limit: int) -> Sequence[_Waiting]:
        """For which there is room; where there is none, what becomes of those in the line."""
        self._with_room, self._free = len(self._line), 0
        if limit <= 0:
            return _batch_of(self._line)
        try:
            seen = self._bell.depth()
        except StoreLocked as error:
            self._stand_aside(self._line, error)
            return []
        except StoreError as error:
            self._fail(error)
            return []
        room = max(0, limit - seen.ready)
        self._with_room = min(room, len(self._line))
        self._free = room - self._with_room
        if not room:
            self._wait_for_room(seen)
        return _batch_of(self._line[: self._with_room])

    def _begin(self, outcome: Future[Outcome], batch: Sequence[Sequence[Op]]) -> None:
        """In a thread. Where none can be started, here: the pool refuses it then, and has it in its line all the same,
        for a thread that can be started later."""
        make = partial(self._make, Lock(), outcome, batch)
        try:
            self.loop.run_in_executor(None, make)
        except RuntimeError:
            make()

    def _make(self, once: Lock, outcome: Future[Outcome], batch: Sequence[Sequence[Op]]) -> None:
        if not once.acquire(blocking=False):
            return  # the other one has made it
        results: list[Any] = []
        try:
            outcome.set_result(Outcome(results, self._store(batch, results)))
        except BaseException as error:
            outcome.set_result(Outcome(results + [error] * (len(batch) - len(results)), None))

    def _call_back(self, asked: Sequence[_Waiting], outcome: Future[Outcome]) -> None:
        with suppress(RuntimeError):  # the loop was closed
            self.loop.call_soon_threadsafe(self._finish, asked, outcome)

    def _store(self, batch: Sequence[Sequence[Op]], results: list[Any]) -> Exception | None:
        """In the thread: all in one commit, or where that is refused on account of one of them, by halves. What is
        behind the results met the exception."""
        try:
            numbers = iter(self._commit([op for ops in batch for op in ops]))
            results += [[next(numbers) for _ in ops][-1] for ops in batch]
            return None
        except Exception as error:
            if isinstance(error, StoreLocked) or (isinstance(error, LimitReached) and len(batch) == 1):
                return error
            if len(batch) == 1 or (isinstance(error, StoreError) and not isinstance(error, TooLarge)):
                results += [None if isinstance(error, ConditionFailed) else error] * len(batch)
                return None
        half = len(batch) // 2
        return self._store(batch[:half], results) or self._store(batch[half:], results)

    def _finish(self, asked: Sequence[_Waiting], outcome: Future[Outcome]) -> None:
        self._busy = False
        results, met = outcome.result()
        for put, result in zip(asked, results):  # noqa: B905  # it is about the first ones
            _tell(put, result)
        if met is not None:
            self._stand_aside(asked[len(results) :], met)
        else:
            self._locked = None
            self._go_on()
        self._end_turn()

    def _stand_aside(self, rest: Sequence[_Waiting], met: Exception) -> None:
        """Others have the store locked, or have taken the room."""
        now = SYSTEM.monotonic()
        if isinstance(met, LimitReached):
            self._locked = None
            self._refuse(rest)
        else:
            since = self._locked = now if self._locked is None else self._locked
            for put in rest:
                if now - max(put.begun, since) > self._patience:
                    _tell(put, met)
        self._later = self.loop.call_later(ASIDE, self._come_again)

    def _come_again(self) -> None:
        self._later = None
        self._go_on()

    def _refuse(self, rest: Sequence[_Waiting]) -> None:
        for put in rest:
            if not put.waits:
                _tell(put, Full())

    def _wait_for_room(self, seen: Depth) -> None:
        self._refuse(self._line)
        if all(put.done.done() for put in self._line):
            return
        try:
            self._room = self._bell.waiter(seen)
        except Exception as error:  # the store is closed by now, say
            self._fail(error)
        else:
            self._room.add_done_callback(self._look_again)

    def _fail(self, error: Exception) -> None:
        for put in self._line:
            _tell(put, error)

    def _look_again(self, room: asyncio.Future[None]) -> None:
        if room is self._room:
            self._go_on()

    def _leave_room(self) -> None:
        if self._room is not None:
            self._bell.leave(self._room)
            self._room = None

    def _end_turn(self) -> None:
        for turn in self._turns:
            if not turn.done():
                turn.set_result(None)
        self._turns.clear()


def _batch_of(line: Sequence[_Waiting]) -> Sequence[_Waiting]:
    size = 0
    for n, put in enumerate(line[:_AT_ONCE]):
        size += put.size
        if n and size > _BYTES:
            return line[:n]
    return line[:_AT_ONCE]


def _limited(op: Op, limit: int) -> Op:
    return op._replace(limit=limit) if limit > 0 and isinstance(op, Put) else op


def _tell(put: _Waiting, result: Any) -> None:
    """Unless it was cancelled meanwhile."""
    if put.done.done():
        return
    if isinstance(result, BaseException):
        put.done.set_exception(result)
    else:
        put.done.set_result(result)
