"""The tasks that wait in durable asyncio queues: for items, for room, for the end of all work; and who wakes them.

Whoever waits is a future in one of three deques, as in asyncio's. It is woken by what happens to the queue here and,
where others have the store too, by the watcher (`watcher.py`), which looks at the depth in a thread of its own. Who
can't look since others have locked the store, or its server is away, comes again after a moment.
"""

from __future__ import annotations

import asyncio as stdlib
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ... import telling
from ...clock import SYSTEM
from ...errors import StoreError
from ...store import LOCK_TIMEOUT, Depth
from .._lines.line import Line
from .committer import Committer
from .owing import ASIDE, LONG_ASIDE, Reminder
from .watcher import Watcher

_log = telling.logger("pqadapters.queue")
_TOLD = float("-inf")  #: since when a get() waits that has said so


class Asking(NamedTuple):
    """One that waits, or is woken and didn't run yet."""

    among: deque[Any]
    place: int


class LoopWaiting:
    """Waiting and waking. To be called in the queue's loop."""

    _line: Line
    _watcher: Watcher
    _committer: Committer
    _reminder: Reminder
    _asking: dict[stdlib.Future[Any], Asking]
    _places: Iterator[int]
    _standing: set[int]
    _getters: deque[Any]
    _putters: deque[Any]
    _joiners: deque[stdlib.Future[bool | None]]
    _maxsize: int
    _finished: Any

    if TYPE_CHECKING:

        def _get_loop(self) -> stdlib.AbstractEventLoop: ...

    async def _wait_for_the_end(self) -> None:
        """Until nothing is unfinished, or somebody says so: `join()`, whatever a subclass has in its place."""
        while True:
            looks = self._watcher.looks
            if self._line.unfinished() <= 0 or await self._wait(self._joiners, looks):
                return

    async def _wait(self, waiters: deque[Any], looks: int, place: int | None = None) -> bool | None:
        """Until somebody wakes us, who is among the waiters meanwhile; whether it is over, and we needn't look. Who is
        cancelled wakes the next one. `looks`: the watcher's, before the caller looked. `place`: the caller's, of
        `_places`, who keeps it when it comes again; else at the end."""
        bound = self._finished if waiters is self._joiners else self  # as asyncio's, whose join() may have another loop
        loop: stdlib.AbstractEventLoop = bound._get_loop()
        waiter: stdlib.Future[bool | None] = loop.create_future()
        self._line_up(waiter, Asking(waiters, next(self._places) if place is None else place))
        line, timer = self._line, None
        try:
            if line.private is None or self._committer.stranded or line.store.depth(line.name, age=False).delayed:
                self._watcher.look_out(loop, looks)
            if line.owed:  # maybe of a loop that was closed
                self._reminder.later()
            if line.aside.claims:
                timer = loop.call_later(line.aside.next_due() or 0.0, self._item_came)
            return await waiter
        except BaseException:
            if not loop.is_closed():
                waiter.cancel()
            if waiter in waiters:
                waiters.remove(waiter)
            self._asking.pop(waiter, None)
            if not waiter.cancelled():  # we were woken, and go away
                self._pass_on(waiters)
            raise
        finally:
            self._asking.pop(waiter, None)
            if timer is not None:
                timer.cancel()

    def _line_up(self, waiter: stdlib.Future[Any], asking: Asking) -> None:
        waiters, place = asking
        self._asking[waiter] = asking
        if not waiters or self._place_of(waiters[-1]) <= place:
            return waiters.append(waiter)
        waiters.insert(next(at for at, other in enumerate(waiters) if self._place_of(other) > place), waiter)

    def _place_of(self, waiter: stdlib.Future[Any]) -> int:
        found = self._asking.get(waiter)
        return -1 if found is None else found.place

    def _is_behind(self, place: int) -> bool:
        """Whether a put that came before stands aside."""
        return bool(self._standing) and min(self._standing) < place

    def _go_on(self, place: int) -> None:
        """A put that stood aside is through. Those it lets in stand in its place until they ran: one that is new in
        this turn of the loop runs before them."""
        self._standing.remove(place)
        self._admit()
        self._standing.update(
            asking.place
            for each, asking in self._asking.items()
            if asking.among is self._putters and each.done() and not each.cancelled()
        )

    def _pass_on(self, waiters: deque[Any]) -> None:
        """The turn of one of them is another's."""
        if waiters is self._getters:
            self._serve()
        elif waiters is self._putters:
            self._admit()
        else:
            self._wakeup_next(waiters)

    def _record_went(self) -> None:
        """Out of the queue, with nobody who would say that it is done: there may be room now, or nothing left."""
        self._wakeup_next(self._putters)
        self._tell_joiners()

    def _tell_joiners(self) -> None:
        """Of the end, if nothing is unfinished. They wait no more, whatever is put before it is their turn."""
        if self._joiners and not self._line.unfinished():
            self._wake_all(self._joiners, over=True)

    def _item_came(self) -> None:
        self._wakeup_next(self._getters)

    def _until(self, depth: Depth) -> bool:
        """For the watcher: whether there may be something for those who wait."""
        return bool(
            (self._getters and depth.ready)
            or (self._putters and self._maxsize > 0 and self._room(depth) > 0)
            or (self._joiners and self._line.counts.finished(depth))
            or ((self._getters or self._putters) and self._line.stopped())
            or not (self._getters or self._putters or self._joiners)
        )

    def _changed(self) -> None:
        """In the loop, when the watcher has seen something. It goes on for those that keep their places."""
        self._wake_all(self._joiners)
        self._serve()
        self._admit()
        if self._getters or self._putters:
            self._watcher.look_out(stdlib.get_running_loop())

    def _serve(self) -> None:
        """Wake the gets that there are items for."""
        if self._getters:
            self._wake_for(self._getters, lambda depth: depth.ready)

    def _admit(self) -> None:
        """Wake the puts that there is room for."""
        if self._putters:
            self._wake_for(self._putters, self._room)

    def _room(self, depth: Depth) -> float:
        if self._maxsize <= 0:
            return len(self._putters)
        return self._line.bound(self._maxsize) - depth.ready - self._committer.unsettled

    def _wake_for(self, waiters: deque[Any], count: Callable[[Depth], float]) -> None:
        """So many, those included that are woken already."""
        line = self._line
        woken = sum(
            asking.among is waiters and each.done() and not each.cancelled() and not each.get_loop().is_closed()
            for each, asking in self._asking.items()
        )
        try:
            more: float = len(waiters) if line.stopped() else count(line.store.depth(line.name, age=False)) - woken
        except StoreError:  # which all of them have to meet
            more = len(waiters)
        while more > 0 and self._wakeup_next(waiters):
            more -= 1

    @staticmethod
    def _wakeup_next(waiters: deque[Any], over: bool | None = None) -> bool:
        """Whether there was one. Tasks of a loop that was closed wait no more; to wake them is an error. `over`: it
        needn't look."""
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(over)
                return True
        return False

    @classmethod
    def _wake_all(cls, waiters: deque[Any], over: bool | None = None) -> None:
        while cls._wakeup_next(waiters, over):
            pass


class Finished(stdlib.Event):
    """What programs look at of asyncio's queue, and set: whether nothing is unfinished."""

    def __init__(self, queue: LoopWaiting) -> None:
        super().__init__()
        self._of = weakref.ref(queue)

    def is_set(self) -> bool:
        queue = self._of()
        return queue is None or not queue._line.unfinished()

    def set(self) -> None:
        """Who is in `join()` waits no more, whatever is unfinished."""
        queue = self._of()
        if queue is not None:
            queue._wake_all(queue._joiners, over=True)

    async def wait(self) -> Literal[True]:
        queue = self._of()
        if queue is not None:
            await queue._wait_for_the_end()
        return True


async def stand_aside(begun: float | None, error: StoreError, *, for_ever: bool = False) -> float:
    """Somebody else has the store locked, or its server is away: let the loop go on for a moment; when the waiting
    began. Raises the error after as long as a call would wait for that, unless the caller waits for ever, as a get
    does: that is told then, once."""
    now = SYSTEM.monotonic()
    if begun is None or now - begun <= LOCK_TIMEOUT:
        await stdlib.sleep(ASIDE)
        return now if begun is None else begun
    if not for_ever:
        raise error
    if begun != _TOLD:
        _log.warning("a get() waits: %s", error)
    await stdlib.sleep(LONG_ASIDE)
    return _TOLD


def until(ref: weakref.ref[LoopWaiting]) -> Callable[[Depth], bool]:
    """What a watcher asks, without keeping the queue."""

    def look(depth: Depth) -> bool:
        queue = ref()
        return queue is None or queue._until(depth)

    return look
