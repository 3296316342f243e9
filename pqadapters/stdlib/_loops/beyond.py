"""What durable asyncio queues offer beyond asyncio's: nacks, dead letters, an end."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, TypeVar

from ...overriding import Yielding
from .._lines.letters import DeadLetter, dead_letters, requeue
from .._lines.line import name_of
from .waiting import LoopWaiting

Q = TypeVar("Q", bound="LoopBeyond")
ABSENT: Any = object()  #: an argument that wasn't given, where None would be an item


class LoopBeyond(LoopWaiting):
    """The methods that `asyncio.Queue` lacks. To be called in the queue's loop."""

    name = Yielding(name_of)

    def nack(self, item: Any = ABSENT, delay: float = 0.0) -> None:
        """Give an item back: this task's oldest, or the one given. It is ready again, in its place, after `delay`
        seconds. Raises ValueError if nobody holds it, and for a negative delay."""
        self._line.nack(*(() if item is ABSENT else (item,)), delay=delay)
        self._item_came()

    def dead_letters(self) -> list[DeadLetter]:
        """What was put out of the way, with the reason: it could not be decoded, or was tried too often."""
        return dead_letters(self._line)

    def requeue(self, ids: Iterable[int] | None = None) -> int:
        """Put dead letters (all, or those ids) back at the end of the queue, in one commit. Returns how many."""
        count = requeue(self._line, ids)
        for _ in range(count):
            self._item_came()
        return count

    def stats(self) -> dict[str, Any]:
        """What is in the queue, and what this handle did: counts, `bytes`, and `oldest_age` in seconds."""
        return self._line.stats()

    def close(self) -> None:
        """Let go of the queue, and of the store if the queue opened it. What is held and not done is ready again;
        under ack="next", and under "auto" without a task_done() so far, it is done, save what another task still holds.
        """
        self._close(normal=True)

    def _close(self, *, normal: bool) -> None:
        self._watcher.end()
        try:
            self._line.close(normal=normal)
        finally:
            for waiters in (self._getters, self._putters, self._joiners):
                self._wake_all(waiters)

    async def __aenter__(self: Q) -> Q:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(normal=kind is None)
