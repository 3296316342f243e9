"""The records of one queue as a handle claims them and gives them back."""

from __future__ import annotations

from typing import cast

from ..astray import give_back, give_back_later, settle
from ..store import Claim, Looks, Op, Order, Record, Store


class Claiming:
    """What a handle has claimed for a moment. `timeout`: seconds to wait for other users of the store."""

    def __init__(self, store: Store, queue: str, timeout: float) -> None:
        self._store, self._queue, self._timeout = store, queue, timeout

    def commit(self, *ops: Op) -> None:
        self._store.commit(*ops, timeout=self._timeout)

    def first(self, order: Order, timeout: float | None) -> Claim | None:
        """The first record that is ready within `timeout` seconds."""
        claims = self._store.claim(self._queue, order=order, timeout=timeout, patience=self._timeout)
        return claims[0] if claims else None

    def seen(self, order: Order) -> Claim | None:
        """The first record that is ready, not claimed: None where it is to be claimed. Only an Ack of it goes."""
        if self._store.capabilities.looks:
            return cast("Looks", self._store).look(self._queue, order)
        return None

    def record(self, id: int) -> Record | None:
        """The record with that id, in whatever state it is."""
        if self._store.capabilities.looks:
            return cast("Looks", self._store).record(self._queue, id)
        found = next(self._store.browse(self._queue, state=None, after=id - 1), None)
        return found if found is not None and found.id == id else None

    def exactly(self, id: int, timeout: float = 0.0) -> Claim | None:
        """That record; None where it doesn't get ready within `timeout` seconds."""
        claims = self._store.claim(self._queue, ids=[id], timeout=timeout, patience=self._timeout)
        return claims[0] if claims else None

    def give_back(self, claim: Claim) -> None:
        give_back(self._store, [claim], self._timeout)

    def settle(self) -> None:
        """What couldn't be given back is, if it goes now."""
        settle(self._store, self._timeout)

    def give_back_later(self, claim: Claim) -> None:
        give_back_later(self._store, [claim])
