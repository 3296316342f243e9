"""No item twice: a table beside the queue with the digest of each item that is in it, set in the commit of the put.

Equal items have equal bytes where the serializer sorts keys; dicts with the same keys in another order are equal.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ..errors import ConditionFailed, LimitReached, StoreError
from ..overriding import asked, declared_as
from ..serializers import Serializer, in_bytes
from ..store import Op, Store
from ._digests import enter, owed
from ._stored import Stored


class Unique(Stored):
    """What the queues have in common in which no item is twice; first among their bases."""

    def _begin(self, store: Store, name: str, serializer: Serializer, **options: Any) -> None:
        super()._begin(store, name, serializer, **options)
        if store.depth(owed(self._queue)).unfinished:
            from .conversion.unique import settle  # few need what is behind it

            try:
                settle(store, self._queue, serializer)
            except BaseException:
                with suppress(StoreError):
                    store.close()  # gives back what it had in hand: whoever opens the queue next would wait for it
                raise

    @declared_as(asked)
    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> int | None:
        """As `SQLiteQueue.put`; None for an item that is in the queue."""
        try:
            id: int | None = super().put(item, block, timeout)
        except LimitReached:
            raise
        except ConditionFailed:
            return None
        return id

    def _dumps(self, item: Any) -> bytes:
        return in_bytes(self._serializer.dumps(item, sort_keys=True))

    def _made(self, payload: bytes) -> list[Op]:
        return [enter(self._queue, payload), *super()._made(payload)]
