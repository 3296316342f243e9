"""Keys of a table whose time runs out: found by a queue of delayed records, so that they are deleted without a search.

A value whose time runs out begins with a capital letter and two moments (seconds since the epoch, doubles, big-endian):
when its time is over, and when its record is due. Others begin with a small letter. Who reads one that is over doesn't
see it. Its record, which has the key, stands in the queue "<table>.expiry", delayed to the second moment, which isn't
behind the first: then somebody looks at the key, and deletes it or delays the record again. So a key whose time is put
off again and again has one record, not one for each time.
"""

from __future__ import annotations

import struct

from ..clock import SYSTEM
from ..errors import ConditionFailed
from ..store import Ack, Claim, Delete, Nack, Op, Put, Set
from ._table import Table

_TIMES = struct.Struct(">dd")
_AT_ONCE = 256  #: records


def ends(data: bytes) -> float | None:
    """When a stored value's time is over; None: never."""
    return None if data[:1].islower() else _times(data)[0]


def without_end(data: bytes) -> bytes:
    """The same value, for ever."""
    return data if data[:1].islower() else data[:1].lower() + data[1 + _TIMES.size :]


def is_over(data: bytes) -> bool:
    end = ends(data)
    return end is not None and end <= SYSTEM.wall()


def _times(data: bytes) -> tuple[float, float]:
    end, due = _TIMES.unpack_from(data, 1)
    return end, due


def _with_end(data: bytes, end: float, due: float) -> bytes:
    plain = without_end(data)
    return plain[:1].upper() + _TIMES.pack(end, due) + plain[1:]


class Expiry:
    """Of one table. Any thread may use it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._store = table.store
        self._queue = f"{table.name}.expiry"

    def until(self, key: bytes, data: bytes, end: float, before: bytes | None) -> tuple[bytes, list[Op]]:
        """What is stored of a value whose time ends then, and what is committed with it. `before` is what it replaces,
        if that is made sure of; None where anything may stand there."""
        if before is not None and ends(before) is not None:
            due = _times(before)[1]
            if due <= end:
                return _with_end(data, end, due), []
        return _with_end(data, end, end), [Put(self._queue, key, not_before=end)]

    def sweep(self) -> None:
        """Delete all keys whose time is over, unless another process is about that."""
        if not self._table.writable or not self._store.depth(self._queue).ready:
            return
        while claims := self._store.claim(self._queue, limit=_AT_ONCE):
            for claim in claims:
                self._see_to(claim)

    def _see_to(self, claim: Claim) -> None:
        table, key = self._table.name, claim.payload
        while True:
            found = self._store.get(table, key)
            end = None if found is None else ends(found)
            try:
                if found is None or end is None:
                    self._store.commit(Ack(claim, lazy=True))
                elif end > SYSTEM.wall():
                    later = _with_end(found, end, end)
                    self._store.commit(Set(table, key, later, found), Nack(claim, not_before=end))
                else:
                    self._store.commit(Delete(table, key, found), Ack(claim, lazy=True))
                return
            except ConditionFailed:
                continue
