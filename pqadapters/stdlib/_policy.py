"""When a record that was handed out is done, as words: what a crash leaves of it follows from that."""

from __future__ import annotations

import enum


class AckPolicy(enum.Enum):
    """What acknowledges an item of a queue."""

    TASK_DONE = "task_done"  #: `task_done()`: an item not yet done is redelivered after a crash
    GET = "get"  #: `get()` itself: gone when handed out, at most once
    NEXT = "next"  #: the same consumer's next `get()`, `close()`, or a normal exit

    @classmethod
    def of(cls, value: str | AckPolicy) -> AckPolicy:
        """From what users write. Raises ValueError for another word."""
        try:
            return cls(value)
        except ValueError:
            words = ", ".join(repr(policy.value) for policy in cls)
            raise ValueError(f"ack is one of {words}, not {value!r}") from None
