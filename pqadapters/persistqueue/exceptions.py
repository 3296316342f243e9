"""`Empty` and `Full`: those of the standard library, so that `except queue.Empty` catches them, too."""

from queue import Empty, Full

__all__ = ["Empty", "Full"]
