"""The standard library's own classes of `queue`, whatever gevent has put in their place: its own ones, which know
nothing of hooks and conditions, are no base for ours."""

from __future__ import annotations

import queue
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queue import LifoQueue, PriorityQueue, Queue, SimpleQueue
else:

    def _original(name: str) -> Any:
        monkey = sys.modules.get("gevent.monkey")
        return getattr(queue, name) if monkey is None else monkey.get_original("queue", name)

    Queue, LifoQueue, PriorityQueue = map(_original, ("Queue", "LifoQueue", "PriorityQueue"))
    SimpleQueue = _original("SimpleQueue")

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]
