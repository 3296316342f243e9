"""What durable queues offer beyond the standard library: batches, leases, nacks, dead letters, an end.

The part of `Queue` and its kin that has no model there. Any thread may call anything; no lock is held across calls of
the store.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import ShutDown
from ...interrupts import keep
from ...store import LOCK_TIMEOUT
from .._lines.held import Own
from .._lines.letters import DeadLetter, dead_letters, requeue
from .._lines.line import Line
from .._lines.stock import Turned, most_of
from . import originals as stdlib
from .seam import LOCKS, Noticed, Seam, Unmade, get_through, is_held, put_through, tell

T = TypeVar("T")
Self = TypeVar("Self", bound="Beyond[Any]")
ABSENT: Any = object()  #: an argument that wasn't given, where None would be an item


class Beyond(stdlib.Queue[T]):
    """The methods of durable queues that `queue.Queue` lacks."""

    _line: Line
    _seam: Seam
    not_empty: Noticed
    not_full: Noticed
    all_tasks_done: Noticed
    # Defaults are the class's: a subclass may have a __getattr__ that knows everything
    _own_container: Any = ABSENT  #: what the program has for `queue`
    _early_hooks: dict[str, Any] = {}  # noqa: RUF012  #: those that were replaced before the constructor ran

    if not TYPE_CHECKING:  # a subclass has an `__init__` of its own; and any attribute is no attribute

        def __new__(cls, *args: object, **options: object) -> Any:
            q = super().__new__(cls)
            object.__setattr__(q, "_line", Unmade(q, "_line"))
            object.__setattr__(q, "_seam", Unmade(q, "_seam"))
            return q

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name in LOCKS:
                self._seam.relock()

    def put_many(self, items: Iterable[T], block: bool = True, timeout: float | None = None) -> None:
        """Store all items in one commit, or none. As put(); ValueError if they are more than `maxsize`.

        Through the hooks of a subclass they go one by one, in as many commits.
        """
        items = tuple(items)
        if 0 < self.maxsize < len(items):
            raise ValueError(f"{len(items)} items never fit a queue with maxsize={self.maxsize}; put them in parts")
        if items and not self._seam.hooked:
            try:
                self._put_all(items, block, timeout)
                return self._notify_waiting(self.not_empty, len(items))
            except Turned as turned:
                timeout = turned.left
        for item in items:
            put_through(self, item, block, timeout)

    def get_many(self, most: int, timeout: float | None = None) -> list[T]:
        """At least one item and at most `most`, without waiting for more than the first. As get(); Empty if none came
        within `timeout` seconds (None: wait for ever)."""
        most = most_of(most)
        if self._seam.hooked:
            return self._get_many_by_one(most, timeout)
        check_timeout(timeout)
        items: list[T] = self._line.take_many(most, timeout)
        self._notify_waiting(self.not_full, len(items))
        return items

    def _get_many_by_one(self, most: int, timeout: float | None) -> list[T]:
        items = [get_through(self, True, timeout)]
        while len(items) < most:
            try:
                items.append(get_through(self, False, None))
            except (Empty, ShutDown):
                break
        return items

    def peek(self) -> T:
        """The item that the next get() would serve, left where it is. Raises Empty."""
        for item in self._direct("peek()").items():
            return item  # type: ignore[no-any-return]
        raise Empty

    @contextmanager
    def lease(self, block: bool = True, timeout: float | None = None) -> Iterator[T]:
        """`with q.lease() as item:` acknowledges exactly this item at the end, and gives it back on an exception.

        It isn't the thread's for task_done(). Waits and raises as get().
        """
        line = self._direct("lease()")
        if block:
            check_timeout(timeout)
        lent, held = Own(), line.held  # another `held`: this is a forked child by now, and the lease is the parent's
        try:
            item: T = line.take(timeout if block else 0.0, lent=lent)
            self._notify_waiting(self.not_full)
            yield item
            if line.held is held:
                line.settle_lease(lent)
        except BaseException:
            try:
                if lent and line.held is held:
                    line.end_lease(lent)
                    self._notify_waiting(self.not_empty)
            finally:
                if lent and line.held is held:  # a signal handler has broken that off
                    line.end_lease(lent)
            raise
        if line.held is held:
            self._notify_joining()

    def nack(self, item: Any = ABSENT, delay: float = 0.0) -> None:
        """Give an item back: the caller's oldest, or the one given. It is ready again, in its old place, after `delay`
        seconds. Raises ValueError if nobody holds it, and for a negative delay."""
        self._durable("nack()").nack(*(() if item is ABSENT else (item,)), delay=delay)
        self._notify_waiting(self.not_empty)

    def dead_letters(self) -> list[DeadLetter]:
        """What was put out of the way, with the reason: it could not be decoded, or was tried too often."""
        return dead_letters(self._durable("dead_letters()"))

    def requeue(self, ids: Iterable[int] | None = None) -> int:
        """Put dead letters (all, or those ids) back at the end of the queue, in one commit. Returns how many."""
        count = requeue(self._durable("requeue()"), ids)
        self._notify_waiting(self.not_empty, count)
        return count

    def stats(self) -> dict[str, Any]:
        """What is in the queue, and what this handle did: counts, `bytes`, and `oldest_age` in seconds."""
        return self._durable("stats()").stats()

    def close(self) -> None:
        """Let go of the queue, and of the store if the queue opened it. What was handed out and isn't done is ready
        for the next handle; under ack="next", and under "auto" without a task_done() so far, it is done, save what
        another live thread still holds."""
        if not self._seam.volatile:
            self._line.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._seam.volatile:
            self._line.close(normal=False)  # what was in hand when it failed isn't done

    def _put_all(self, items: Iterable[T], block: bool, timeout: float | None) -> None:
        if self._line.stopped():
            raise self._line.ending()
        if self.maxsize > 0 and block:
            check_timeout(timeout)
        self._line.put_within(lambda: self._line.bound(self.maxsize), tuple(items), timeout if block else 0.0)

    def _durable(self, what: str) -> Line:
        if self._seam.volatile:
            raise TypeError(f"{type(self).__qualname__} keeps its items in a container of its own: no {what}")
        return self._line

    def _direct(self, what: str) -> Line:
        if "_get" in self._seam.overridden:
            raise TypeError(f"{what} would go past {type(self).__qualname__}._get: use get() and task_done(item)")
        return self._durable(what)

    def _make_late(self) -> None:
        raise NotImplementedError

    def _notify_waiting(self, condition: Noticed, n: int = 1) -> None:
        """Wake who waits by hand. A mutex that its own thread holds (a finalizer) is no deadlock."""
        if not self._somebody_may_wait(condition):
            return
        taken = list[bool]()
        try:
            keep(taken, condition.acquire, True, LOCK_TIMEOUT)
            if True in taken:
                tell(condition, n)
        finally:
            if True in taken:
                condition.release()

    def _notify_joining(self) -> None:
        if self._somebody_may_wait(self.all_tasks_done) and not self._line.unfinished():
            self._notify_waiting(self.all_tasks_done, sys.maxsize)

    def _somebody_may_wait(self, condition: Noticed) -> bool:
        return self._seam.relocked or bool(condition.waiting) or is_held(self.mutex)


def check_timeout(timeout: float | None) -> None:
    """Raise the standard library's ValueError for a negative timeout."""
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
