"""When a record that was handed out is done, as words: what a crash leaves of it follows from that."""

from __future__ import annotations

import enum

from ...store import Claim

#: So many items may be fetched without a task_done() before "auto" takes the program for one that never calls it.
FETCHES = 1000
_LARGE = 17  #: the logarithm of as many bytes as count for one item more: what is outstanding is in memory


def weight(claim: Claim) -> int:
    """How many fetches one of this record counts for."""
    return 1 + (len(claim.payload) >> _LARGE)


class AckPolicy(enum.Enum):
    """What acknowledges an item of a queue.

    "auto" learns which of "task_done" and "next" the program means. Until the queue's first task_done() everything
    fetched stays claimed. That call settles on "task_done", for good. A normal end (no uncaught exception), close() or
    the 1,001st fetch without one (fewer of large items: each 128 KiB counts for one more) settles on "next", until
    there is a task_done() after all. What is learnt is stored with the queue.
    """

    AUTO = "auto"
    TASK_DONE = "task_done"  #: `task_done()`: an item not yet done is redelivered after a crash
    GET = "get"  #: `get()` itself: gone when handed out, at most once
    NEXT = "next"  #: the same consumer's next `get()`, `close()`, or a normal exit

    @property
    def meaning(self) -> str:
        """In words."""
        return _MEANINGS[self.value]


class Markers(enum.Enum):
    """What becomes of `None` and a bare `object()`, which programs put to stop their workers."""

    DROP = "drop"  #: the very object comes back; what a dead process left of them is dropped
    KEEP = "keep"  #: `None` is an item like any other, and a bare `object()` is refused


class Volatile(enum.Enum):
    """What becomes of an item that can't be serialised."""

    RAISE = "raise"  #: put() raises NotSerializable
    WARN = "warn"  #: it stays in memory alone, in its place, and a NotDurableWarning says so


_MEANINGS = {
    "auto": "when it is learnt whether the program calls task_done()",
    "task_done": "at task_done()",
    "get": "when it is handed out",
    "next": "when the same consumer asks for its next one",
}
