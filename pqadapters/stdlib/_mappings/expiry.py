"""Keys of a table whose time runs out: found by a queue of delayed records, so that they are deleted without a search.

A value whose time runs out begins with a capital letter and the moment (seconds since the epoch, a double, big-endian);
others begin with a small letter. Who reads one that is over doesn't see it. For such a key there is a record in the
queue "expiry/<table>", delayed to that moment or an earlier one, which the table of the same name has for the key: then
somebody looks at the key, and deletes it or delays the record again. So a key whose time is put off, or that is deleted
and set, again and again has one record, not one for each time.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from functools import partial

from ...clock import SYSTEM
from ...errors import ConditionFailed, LeaseLost, StoreError
from ...store import Ack, Claim, Delete, Depth, Expect, Nack, Op, Put, Set, State, Store
from .table import Table

_MOMENT = struct.Struct(">d")
_AT_ONCE = 256  #: records
_BYTES = 1 << 20  #: of values that are deleted in one commit
_EVERY = 64  #: keys that get a time, behind which twice as many are looked at
_WAIT = 1.0  #: seconds until a key that is being edited is looked at again
_APART = 1.0  #: seconds by which a server's clock may be ahead of ours: where it is more, records are put off by that


def ends(data: bytes) -> float | None:
    """When a stored value's time is over; None: never, or it is no value of ours."""
    if not _has_end(data):
        return None
    (end,) = _MOMENT.unpack_from(data, 1)
    return float(end)


def _has_end(data: bytes) -> bool:
    return data[:1].isupper() and len(data) > _MOMENT.size


def without_end(data: bytes) -> bytes:
    """The same value, for ever."""
    return data[:1].lower() + data[1 + _MOMENT.size :] if _has_end(data) else data


def with_end(data: bytes, end: float) -> bytes:
    """The same value, until then."""
    plain = without_end(data)
    return plain[:1].upper() + _MOMENT.pack(end) + plain[1:]


def is_over(data: bytes) -> bool:
    end = ends(data)
    return end is not None and end <= SYSTEM.wall()


def _note(name: str, key: bytes, end: float, due: bytes | None) -> list[Op]:
    """`due`: the moment of the record that there is."""
    if due is not None and _MOMENT.unpack(due)[0] <= end:
        return [Set(name, key, due, due)]
    return [Put(name, key, not_before=end), Set(name, key, _MOMENT.pack(end))]


def _spared(store: Store, name: str, notes: list[Op]) -> list[Op]:
    """What does for the notes of a batch: of each key the last one, or the condition where there is a record."""
    ends = {op.key: _MOMENT.unpack(op.value)[0] for op in notes if isinstance(op, Set)}
    due = store.snapshot(name, list(ends))
    return [op for key, end in ends.items() for op in _note(name, key, end, due.get(key))]


class Expiry:
    """Of one table. Any thread may use it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._store = table.store
        table.is_over = is_over
        self._name = f"expiry/{table.name}"
        table.spared = partial(_spared, self._store, self._name)
        self._left: list[Claim] = []  #: of a sweep that was broken off; nobody else can see to them while we live
        self._noted = _EVERY  #: keys that got a time since the last sweep; a run that sets few of them begins with one

    def note(self, key: bytes, end: float) -> list[Op]:
        """What is committed with a value whose time ends then: a record, or the condition that there is one in time. In
        a batch, whose end looks whether there is, a record."""
        self._noted += 1
        due = None if self._table.in_batch else self._store.get(self._name, key)
        return _note(self._name, key, end, due)

    def sweep(self) -> bool:
        """Delete all keys whose time is over, unless another process is about that: whether it may be."""
        while True:
            depth = self._depth()
            if not self._is_due(depth):
                return depth.claimed > 0
            if not self._sweep(_AT_ONCE):
                return True  # others were faster

    def hidden(self) -> set[bytes]:
        """Keys that are there though their time is over, as far as somebody else is about to delete them."""
        batch = self._table.mine()
        if batch is not None and batch.cleared:
            return set()
        changed = () if batch is None else batch.changes
        records = self._store.browse(self._name, state=State.CLAIMED)
        keys = {record.payload for record in records if record.payload not in changed}
        # One value at a time in memory: they may be large.
        return {key for key in keys if (value := self._table.read(key)) is not None and is_over(value)}

    def sweep_some(self) -> None:
        """Now and then, before keys get a time: what is over is deleted though nobody counts the keys. Not in a batch,
        which may build on what is over. Raises nothing: who sets a key isn't told what others are not rid of."""
        if self._noted >= _EVERY and not self._table.in_batch:
            self._noted = 0
            with suppress(StoreError):
                if self._is_due(self._depth()):
                    self._sweep(2 * _EVERY)

    def _depth(self) -> Depth:
        return self._store.depth(self._name, age=False)

    def _is_due(self, depth: Depth) -> bool:
        """Whether there is something to sweep, as far as we may."""
        return self._table.writable and bool(self._left or depth.ready)

    def _sweep(self, most: int) -> bool:
        """Whether there was anything."""
        claims, self._left = self._left, []
        try:
            claims += self._store.claim(self._name, limit=most)
            found = bool(claims)
            while claims:
                some, ops = self._some_of(claims)
                try:
                    self._store.commit(*ops)
                except (LeaseLost, ConditionFailed):  # one of them
                    for claim in some.values():
                        self._see_to(claim)
                claims[:] = [claim for claim in claims if some.get(claim.payload) is not claim]
            return found
        finally:
            self._left += claims

    def _some_of(self, claims: list[Claim]) -> tuple[dict[bytes, Claim], list[Op]]:
        """Those that are seen to in one commit, by key, and what does that: one of each key, not too much in memory."""
        some: dict[bytes, Claim] = {}
        ops: list[Op] = []
        size = 0
        for claim in claims:
            if claim.payload not in some and size < _BYTES:
                some[claim.payload] = claim
                more = self._what_to_do(claim)
                size += sum(len(op.expect) for op in more if isinstance(op, Delete) and isinstance(op.expect, bytes))
                ops += more
        return some, ops

    def _see_to(self, claim: Claim) -> None:
        while True:
            try:
                self._store.commit(*self._what_to_do(claim))
                return
            except LeaseLost:
                return  # it was committed all the same, when an interrupt came
            except ConditionFailed:
                continue

    def _what_to_do(self, claim: Claim) -> list[Op]:
        table, key, now = self._table.name, claim.payload, SYSTEM.wall()
        due = self._store.get(self._name, key)
        early = 0.0 if due is None else _MOMENT.unpack(due)[0] - now
        if early > _APART:
            return [Ack(claim, lazy=True)]  # there is a later record
        if early > 0.0:  # there is, or by the clock of a server its time is over
            return [Nack(claim, not_before=now + early + _APART)]
        found = self._store.get(table, key)
        end = None if found is None else ends(found)
        over: Op = Delete(self._name, key, Expect.ABSENT if due is None else due)
        if found is None or end is None:
            return [over, Ack(claim, lazy=True)]
        if end > now:
            later = Set(self._name, key, _MOMENT.pack(end), Expect.ABSENT if due is None else due)
            return [later, Nack(claim, not_before=end)]
        if self._table.locks.is_held(key):
            return [Nack(claim, not_before=now + _WAIT)]
        return [Delete(table, key, found), over, Ack(claim, lazy=True)]
