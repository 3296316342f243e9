"""Records whose class or module this program lacks: left to others for an hour, then dead letters.

During a rolling deploy an older program meets items of a newer one. It must neither bury them nor trip over them.

- Where only this process holds the store, nobody else could serve the record now, but this program's next version can,
  as soon as it starts: the record stays *claimed*, set aside in this handle. It is ready again, in its place, the
  moment the handle closes or dies. An hour later it goes to the dead letters, so that join() ends.
- Where others share the store, it is given back with a delay of an hour, for whoever knows the class. When this handle
  meets it again, it goes to the dead letters.

The hour counts as unfinished. Any thread may call anything here.
"""

from __future__ import annotations

from typing import NamedTuple

from ...clock import SYSTEM
from ...store import Claim, Nack, Store

#: How long a record whose class is missing is left to others, in seconds.
PATIENCE = 3600.0

#: What unpickling raises when a class or module isn't there.
MISSING = (AttributeError, ImportError)


class Waiting(NamedTuple):
    """A record set aside."""

    claim: Claim
    reason: str
    due: float  # monotonic seconds


class Aside:
    """What one handle has set aside."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.claims: dict[int, Waiting] = {}
        self._delayed: set[int] = set()

    def add(self, claim: Claim, reason: str) -> bool:
        """Leave the claimed record to others; False if they had their hour."""
        if self._store.capabilities.exclusive:
            self.claims[claim.id] = Waiting(claim, reason, SYSTEM.monotonic() + PATIENCE)
            return True
        if claim.id in self._delayed:
            self._delayed.discard(claim.id)
            return False
        self._store.commit(Nack(claim, not_before=SYSTEM.wall() + PATIENCE))
        self._delayed.add(claim.id)
        return True

    def overdue(self) -> list[Waiting]:
        """Those that had their hour."""
        now = SYSTEM.monotonic()
        return [waiting for waiting in list(self.claims.values()) if waiting.due <= now]

    def next_due(self) -> float | None:
        """Seconds until the next one had its hour; None for none."""
        now = SYSTEM.monotonic()
        return min((max(0.0, waiting.due - now) for waiting in list(self.claims.values())), default=None)

    def pop_all(self) -> list[Claim]:
        """Everything set aside, to be given back."""
        return [self.claims.pop(id).claim for id in list(self.claims)]
