"""Who delivers from a store that several processes put into: one of them at a time, so that nothing overtakes.

The turn is a record of a queue: whoever has it claimed delivers. It is free when that process ends, a server takes it
for dead, or its listener stops. In a directory each process has a slot of its own; there it is a lock of the process.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from ...clock import SYSTEM
from ...errors import ConditionFailed
from ...store import Claim, Expect, Put, Set, State, Store
from ...telling import logger
from .._spools.names import Spooled
from .owed import Owed

_KEY = b"record"
_PATIENCE = 1.0  #: seconds between two tries
_STEP = 0.1
_LOOK = 1.0  #: seconds between two looks whether it is ours still, where a live process may be taken for dead
_log = logger("pqadapters.logging")


class Turn:
    """Of one listener; for one thread, but for `is_lost`."""

    def __init__(self, spool: Spooled, owed: Owed) -> None:
        self._spool, self._owed = spool, owed
        self._claim: Claim | None = None
        self._store: Store | None = None
        self._look_at = 0.0
        self._lost: Claim | None = None  #: one that was found to be somebody else's
        self._has_lock = self._told = False

    def is_ours(self, stopping: threading.Event) -> bool:
        """Whether this listener delivers; waits a moment where another one does. Raises StoreError."""
        if not self._spool.shared:
            return self._has_lock or self._take_lock()
        store = self._spool.store
        if self._claim is None or self._store is not store or self.is_lost():
            id = self._record(store)
            claims = store.claim(self._spool.names.turn, ids=[id], timeout=_PATIENCE, stop=stopping.is_set)
            self._claim, self._store = (claims[0] if claims else None), store
        return self._claim is not None

    @property
    def is_held(self) -> bool:
        """Whether it was ours when that was asked last."""
        return self._has_lock or self._claim is not None

    def is_lost(self) -> bool:
        """Whether others have taken us for dead. Any thread may ask: who was stopped looks first when it goes on.
        Raises StoreError."""
        claim, store = self._claim, self._store
        if claim is None or store is None or not store.capabilities.hosts:
            return False
        if self._lost is not claim and SYSTEM.monotonic() >= self._look_at:
            self._look_at = SYSTEM.monotonic() + _LOOK
            claimed = store.browse(self._spool.names.turn, state=State.CLAIMED)
            if (claim.id, claim.attempt) not in {(record.id, record.attempts) for record in claimed}:
                self._lost = claim
        return self._lost is claim

    def _take_lock(self) -> bool:
        """In a directory the listeners of this process take turns."""
        self._has_lock = self._spool.turn.acquire(timeout=_STEP)
        if not self._has_lock and not self._told:
            self._told = True
            _log.warning("%s: another listener of this process delivers from there; this one waits", self._spool.place)
        return self._has_lock

    def _record(self, store: Store) -> int:
        queue = self._spool.names.turn
        while True:
            found = store.get(queue, _KEY)
            if found is not None:
                return int.from_bytes(found, "big")
            (id,) = store.commit(Put(queue, b""))
            with suppress(ConditionFailed):  # another one was faster
                store.commit(Set(queue, _KEY, id.to_bytes(8, "big"), Expect.ABSENT))

    def give_up(self) -> None:
        """Another listener may deliver."""
        if self._has_lock:
            self._has_lock = False
            self._spool.turn.release()
        if self._claim is not None and self._store is not None:
            self._owed.give_back(self._store, [self._claim])
        self._claim = None
