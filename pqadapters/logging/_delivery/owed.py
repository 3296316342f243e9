"""What a store has refused to be told: which records are done, and which are given back.

It is told before more of them are claimed, and by who ends until it is; else they would be in the hands of this process
for as long as it lives, and nobody would get them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from ...errors import FOR_GOOD, StoreError, StoreUnreachable
from ...store import Ack, Claim, Nack, Store, acknowledge

_AGAIN = 0.5  #: seconds between two tries at the end


class Owed:
    """By one listener. Any thread may call anything."""

    def __init__(self) -> None:
        self._ops: deque[tuple[Store, Ack | Nack]] = deque()
        self._paying = threading.Lock()

    def carry_out(self, store: Store, ops: Sequence[Ack | Nack]) -> None:
        """Commit these, but for those whose lease is lost. Raises StoreError: then they are owed."""
        try:
            if ops:
                acknowledge(store, ops)
        except FOR_GOOD:
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
                if ours:
                    acknowledge(store, [op for _, op in ours])
            except FOR_GOOD:
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
