"""Ends of claims that the store couldn't take at once: others have it locked, or its server is away.

Who has an event loop to go on with doesn't wait for that: it owes them, and comes again. Until then their records are
claimed, and unfinished; a crash has them come again, as it has what wasn't done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress

from ...errors import LeaseLost, OutcomeUnknown, StoreLocked, StoreUnreachable
from ...store import Ack, Nack

AWAY = (StoreLocked, StoreUnreachable, OutcomeUnknown)  #: it may be done later; once more does no harm
AT_ONCE = 0.05  #: seconds; the short writes of others are over by then
_IN_ONE = 1000  #: ends in one commit


class Owed:
    """Of one handle. `commit` is the store's; `later` has `settle` called before long, or says False: nobody would."""

    def __init__(self, commit: Callable[..., object], later: Callable[[], bool]) -> None:
        self._commit, self._later = commit, later
        self._ends: list[Ack | Nack] = []

    def __bool__(self) -> bool:
        return bool(self._ends)

    @property
    def done(self) -> int:
        """How many records are done here, and aren't in the store."""
        return sum(type(end) is Ack for end in self._ends)

    def end(self, end: Ack | Nack) -> None:
        """End a claim now, or before long. Raises LeaseLost and what the store raises else; nothing is owed then."""
        lost = False  # an answer, so that it may be done
        if not self._ends:
            try:
                self._commit(end, timeout=AT_ONCE)
                return
            except AWAY as error:
                lost = isinstance(error, OutcomeUnknown)
        if not self.owe(end):  # as any call, which waits for the store
            self.settle()
            with suppress(LeaseLost) if lost else nullcontext():
                self._commit(end)

    def owe(self, end: Ack | Nack) -> bool:
        """End a claim before long. False where nobody would come again for it."""
        if not self._later():
            return False
        if not self._ends or self._ends[-1].claim is not end.claim:  # else an interrupt came right behind that
            self._ends.append(end)
        return True

    def take(self) -> list[Ack | Nack]:
        """What is owed isn't any more."""
        ends, self._ends = self._ends, []
        return ends

    def settle(self, timeout: float | None = None) -> None:
        """Make all of them. Raises what the store raises, and those that are left stay owed. What is somebody else's
        by now is that one's to end, or had been ended already."""
        ends = self.take()  # the end of the process may come in another thread than the loop's
        try:
            while ends:
                count = len(ends[:_IN_ONE])
                try:
                    self._commit(*ends[:count], timeout=timeout)
                except LeaseLost:
                    self._settle_each(ends, count, timeout)
                else:
                    del ends[:count]
        finally:
            self._ends[:0] = ends

    def _settle_each(self, ends: list[Ack | Nack], count: int, timeout: float | None) -> None:
        for _ in range(count):
            with suppress(LeaseLost):
                self._commit(ends[0], timeout=timeout)
            del ends[0]
