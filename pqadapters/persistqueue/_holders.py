"""Who has items of an acknowledging queue in hand: a handle of a store, as long as it and its process live.

A *holder* is a record of a queue of its own, which whoever has items in hand keeps claimed. A claim ends with its
process or handle, and so a dead holder is told from a live one. Any thread and process may call anything; no lock is
held.
"""

from __future__ import annotations

import os
from struct import Struct

from ..astray import give_back
from ..store import Ack, Claim, Put, State, Store

HOLDERS = "/holders"  #: behind the name of the queue
_KEY = Struct(">q")


class Holders:
    """Those of one queue; `timeout`: seconds to wait for other users of the store."""

    def __init__(self, store: Store, queue: str, timeout: float) -> None:
        self._store, self._queue, self._timeout = store, queue + HOLDERS, timeout
        self._mine: dict[int, Claim] = {}  #: by process: a forked child has one of its own

    def mine(self) -> bytes:
        """The key of this handle's holder, claimed as long as the handle lives."""
        me = os.getpid()
        while (mine := self._mine.get(me)) is None:
            (id,) = self._store.commit(Put(self._queue, b""), timeout=self._timeout)
            claims = self._store.claim(self._queue, ids=[id], patience=self._timeout)
            if not claims and not id:
                return _KEY.pack(0)  # in the middle of another call of this thread there is none to be had
            if claims and self._mine.setdefault(me, claims[0]) is not claims[0]:
                self._store.commit(Ack(claims[0]), timeout=self._timeout)  # another thread was faster
        return _KEY.pack(mine.id)

    def dead(self) -> list[Claim]:
        """Those whose process or handle has ended, claimed."""
        dead: list[Claim] = []
        try:
            while more := self._store.claim(self._queue, limit=1000, patience=self._timeout):
                dead += more  # until there is none: then the claims of all dead processes have ended
        except BaseException:
            self.leave_dead(dead)
            raise
        return dead

    def leave_dead(self, dead: list[Claim]) -> None:
        """To the next one who asks: as long as this handle has them they pass for alive."""
        give_back(self._store, dead, self._timeout)

    def alive(self, dead: list[Claim], *, own: bool) -> set[bytes]:
        """The keys of all others; with `own`, without this handle's."""
        ids = {record.id for record in self._store.browse(self._queue, state=State.CLAIMED)}
        ids -= {claim.id for claim in dead}
        if own and (mine := self._mine.get(os.getpid())) is not None:
            ids.discard(mine.id)
        return set(map(_KEY.pack, ids))
