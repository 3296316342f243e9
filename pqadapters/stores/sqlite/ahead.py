"""Records that a handle has claimed ahead of being asked for, oldest first: `prefetch`.

For its users they are ready still. Whoever asks for anything but the oldest one gives them back first, as if they had
never been claimed; so does the end of the handle. The death of its process makes them ready with one attempt more.
"""

from __future__ import annotations

import sqlite3
from collections import deque

from ...store import Claim
from . import schema
from .changes import place_of
from .names import Names


class Ahead:
    """One handle's. Any thread may call anything: each record is popped once."""

    def __init__(self) -> None:
        self._claims: dict[str, deque[Claim]] = {}
        self.process = 0  #: whose claims these are: a forked child has none of its parent's

    def pop(self, queue: str, process: int) -> Claim | None:
        """The oldest one of a queue."""
        if self.process != process:
            self._claims.clear()
            self.process = process
        try:
            return self._claims[queue].popleft()
        except (KeyError, IndexError):
            return None

    def keep(self, queue: str, claims: list[Claim]) -> None:
        self._claims.setdefault(queue, deque()).extend(claims)

    def of(self, queue: str, process: int) -> int:
        """How many there are of a queue."""
        found = self._claims.get(queue)
        return len(found) if found and self.process == process else 0

    def pop_all(self, process: int) -> list[Claim]:
        """All of them, to be given back."""
        taken: list[Claim] = []
        for queue in list(self._claims):
            while (claim := self.pop(queue, process)) is not None:
                taken.append(claim)
        return taken


def give_back(
    connection: sqlite3.Connection, names: Names, claims: list[Claim], owner: int | None, handle: int
) -> None:
    """Make them ready in their old places, in a transaction, as if they had never been claimed."""
    places = [(-place_of(names.queue_here(connection, claim.queue) or 0, claim.id), owner, handle) for claim in claims]
    connection.executemany(schema.UNTOUCHED, places)
