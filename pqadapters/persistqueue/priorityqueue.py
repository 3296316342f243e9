"""persist-queue's priority queue, over a database: the lowest number leaves first. Else as in `sqlqueue`."""

from __future__ import annotations

from typing import Any

from ..overriding import declared_as, stored
from ..rank import rank
from ..store import Order, Put
from .exceptions import Empty, Full
from .sqlqueue import SQLiteQueue

__all__ = ["Empty", "Full", "PriorityQueue"]


class PriorityQueue(SQLiteQueue):
    """The item with the lowest priority number leaves first; among equals the one put first. Else as `SQLiteQueue`."""

    _TABLE_NAME = "priority_queue"
    _order = Order.RANK

    @declared_as(stored)
    def put(self, item: Any, priority: float = 0, block: bool = True, timeout: float | None = None) -> int:
        """As `SQLiteQueue.put`. Raises TypeError for what is no number, and for NaN (RankError)."""
        if not isinstance(priority, (int, float)):
            raise TypeError(f"priority is a number, not {type(priority).__name__}")
        return self._insert([Put(self._queue, self._dumps(item), rank(priority)[0])], block, timeout)

    def put_nowait(self, item: Any, priority: float = 0) -> int:
        """Store an item, or raise Full."""
        return self.put(item, priority, block=False)
