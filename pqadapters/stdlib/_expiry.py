"""Keys of a table whose time runs out: found by a queue of delayed records, so that they are deleted without a search.

A value says itself when its time is over; who reads it later doesn't see it. For each such key there is a record in the
queue "<table>.expiry", delayed to that moment or to an earlier one: then somebody looks at the key, deletes it, or
delays the record again. So a key whose time is put off again and again has one record, not one for each time.
"""

from __future__ import annotations

from collections.abc import Callable

from ..clock import SYSTEM
from ..errors import ConditionFailed
from ..store import Ack, Claim, Delete, Nack, Op, Put
from ._table import Table

_AT_ONCE = 256  #: records


class Expiry:
    """`ends` says when a stored value's time is over, in seconds since the epoch; None: never."""

    def __init__(self, table: Table, ends: Callable[[bytes], float | None]) -> None:
        self._table = table
        self._store = table.store
        self._queue = f"{table.name}.expiry"
        self._ends = ends

    def is_over(self, data: bytes) -> bool:
        end = self._ends(data)
        return end is not None and end <= SYSTEM.wall()

    def note(self, key: bytes, end: float, before: bytes | None) -> list[Op]:
        """What is committed with a value whose time ends then, in place of the one before."""
        earlier = None if before is None else self._ends(before)
        return [] if earlier is not None and earlier <= end else [Put(self._queue, key, not_before=end)]

    def sweep(self) -> None:
        """Delete all keys whose time is over, unless another process is about that."""
        if not self._table.writable or not self._store.depth(self._queue).ready:
            return
        while claims := self._store.claim(self._queue, limit=_AT_ONCE):
            for claim in claims:
                self._see_to(claim)

    def _see_to(self, claim: Claim) -> None:
        key = claim.payload
        while True:
            found = self._store.get(self._table.name, key)
            end = None if found is None else self._ends(found)
            try:
                if found is None or end is None:
                    self._store.commit(Ack(claim, lazy=True))
                elif end > SYSTEM.wall():
                    self._store.commit(Nack(claim, not_before=end))
                else:
                    self._store.commit(Delete(self._table.name, key, found), Ack(claim, lazy=True))
                return
            except ConditionFailed:
                continue
