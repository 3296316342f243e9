"""What a store has refused to be told: which records are done, and which are given back.

It is told before more of them are claimed, and by who ends until it is; else they would be in the hands of this process
for as long as it lives, and nobody would get them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from ...errors import LeaseLost, StoreClosed, StoreError, StoreForked, StorePoisoned, StoreUnreachable
from ...store import Claim, Nack, Op, Store

_AGAIN = 0.5  #: seconds between two tries at the end
_OVER = (StoreClosed, StoreForked, StorePoisoned)  #: the claims ended with the store


class Owed:
    """By one listener. Any thread may call anything."""

    def __init__(self) -> None:
        self._ops: deque[tuple[Store, Op]] = deque()
        self._paying = threading.Lock()

    def carry_out(self, store: Store, ops: Sequence[Op]) -> None:
        """Commit these, but for those whose lease is lost. Raises StoreError: then they are owed."""
        try:
            _commit(store, ops)
        except _OVER:
            raise
        except StoreError:
            self._ops.extend((store, op) for op in ops)
            raise

    def give_back(self, store: Store, claims: Sequence[Claim]) -> None:
        """Ready again, in their old places, as far as they are still ours; later where the store refuses."""
        with suppress(StoreError):
            self.carry_out(store, [Nack(claim) for claim in claims])

    def pay(self, store: Store) -> None:
        """What is owed to that store, before more is claimed there: else that would overtake it. Raises
        StoreUnreachable. Where there is no room for it the rest goes on, which makes some, and it is owed still."""
        if not self._ops:
            return
        with self._paying:
            ours = [each for each in list(self._ops) if each[0] is store]
            try:
                _commit(store, [op for _, op in ours])
            except _OVER:
                pass
            except StoreUnreachable:
                raise
            except StoreError:
                return
            for each in ours:
                self._ops.remove(each)

    def pay_at_last(self) -> None:
        """All of it, however long that takes: the last thing of a thread that nobody waits for."""
        pause = threading.Event()
        while some := list(self._ops)[:1]:
            with suppress(StoreError):
                self.pay(some[0][0])
            if self._ops:
                pause.wait(_AGAIN)


def _commit(store: Store, ops: Sequence[Op]) -> None:
    """All at once, or one by one where a lease was lost: that record is somebody else's by now."""
    if not ops:
        return
    try:
        store.commit(*ops)
    except LeaseLost:
        for op in ops:
            with suppress(LeaseLost):
                store.commit(op)
