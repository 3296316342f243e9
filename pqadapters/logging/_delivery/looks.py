"""Who waits for a look: until all that dead processes had left when they asked was delivered.

Any thread may ask; one looks.
"""

from __future__ import annotations

import threading


class Looks:
    """Events that are set when a look that began after they were asked for is through."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: threading.Event | None = None
        self._begun: list[threading.Event] = []

    def ask(self) -> threading.Event:
        """One for all who ask before the next look begins."""
        with self._lock:
            if self._next is None:
                self._next = threading.Event()
            return self._next

    @property
    def is_due(self) -> bool:
        """Whether somebody has asked since the last one began."""
        return self._next is not None

    @property
    def is_awaited(self) -> bool:
        return self._next is not None or bool(self._begun)

    def begin(self) -> None:
        with self._lock:
            if self._next is not None:
                self._begun.append(self._next)
                self._next = None

    def end(self) -> None:
        begun, self._begun = self._begun, []
        for event in begun:
            event.set()
