"""Durable mirrors of standard-library modules: same names, signatures, exceptions and results."""

from typing import TYPE_CHECKING, Any

from .queue import Empty, Full, LifoQueue, PriorityQueue, Queue, SimpleQueue

if TYPE_CHECKING:
    from .pdict import PDict
else:

    def __getattr__(name: str) -> Any:
        if name == "PDict":  # a program that has queues alone starts without what mappings need
            from .pdict import PDict

            return PDict
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), "PDict"})


__all__ = ["Empty", "Full", "LifoQueue", "PDict", "PriorityQueue", "Queue", "SimpleQueue"]
