"""No item twice: a table beside the queue with the digest of each item that is in it, set in the commit of the put.

Equal items have equal bytes where the serializer sorts keys; dicts with the same keys in another order are equal.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ..errors import ConditionFailed, LimitReached
from ..serializers import Serializer
from ..store import Delete, Expect, Op, Set, Store
from ._stored import Stored

Digest = bytes


def digest(payload: bytes) -> Digest:
    return hashlib.sha256(payload).digest()


def enter(queue: str, payload: bytes) -> Op:
    """It is in the queue from now on; ConditionFailed where it is already."""
    return Set(f"{queue}/unique", digest(payload), b"", Expect.ABSENT)


def owed(queue: str) -> str:
    """The queue of a record that says that what is in it was persist-queue's, and hasn't been entered yet."""
    return f"pqadapters.unique/{queue}"


def leave(queue: str, payload: bytes) -> Op:
    """It isn't in the queue any more."""
    return Delete(f"{queue}/unique", digest(payload))


class Unique(Stored):
    """What the queues have in common in which no item is twice; first among their bases."""

    def _begin(self, store: Store, name: str, serializer: Serializer, **options: Any) -> None:
        super()._begin(store, name, serializer, **options)
        if store.depth(owed(self._queue)).unfinished:
            from .conversion.unique import settle

            settle(store, self._queue, serializer)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> int | None:
        """As `SQLiteQueue.put`; None for an item that is in the queue."""
        try:
            return super().put(item, block, timeout)
        except LimitReached:
            raise
        except ConditionFailed:
            return None

    def _dumps(self, item: Any) -> bytes:
        return self._serializer.dumps(item, sort_keys=True)

    def _made(self, payload: bytes) -> list[Op]:
        return [enter(self._queue, payload), *super()._made(payload)]
