"""Carrying out the operations of a commit one by one, in a transaction that is open: conditions are decided there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from ...errors import ConditionFailed, LimitReached
from ...store import Ack, Claim, Clear, Delete, Expect, Extend, Nack, Op, Put, Set, Update, dead_queue, meets
from .._trouble import lease_lost
from .errors import is_double
from .names import Names
from .plan import held, is_plain, row_of, told
from .schema import DELAYED, READY, digest, moment, name_blob, ready_at
from .session import Session
from .wire import Failed

_EVER = 1 << 62


def _enough(limit: float) -> int:
    """How many records have to be counted to know whether there are as many. A program's `maxsize` needn't be whole,
    nor finite."""
    return max(1, math.ceil(min(limit, _EVER)))


class Changes:
    """The operations of one commit. `ahead`: how many records of a queue its caller has fetched, for whom they are
    ready still."""

    def __init__(
        self,
        session: Session,
        names: Names,
        handle: int,
        now: float,
        ahead: Callable[[str], int] = lambda queue: 0,
    ) -> None:
        self._session = session
        self._names = names
        self._handle = handle
        self._now = now
        self._ahead = ahead

    def apply(self, ops: Sequence[Op]) -> list[int]:
        """Each op's number: the id for a Put, else 0. Raises ConditionFailed, LeaseLost, ValueError."""
        found: list[int] = []
        for plain_puts, group in groupby(ops, lambda op: isinstance(op, Put) and is_plain(op)):
            some: list[Any] = list(group)
            if plain_puts:
                found += self._session.put([row_of(self._names, op, self._now) for op in some])
            else:
                found += [_CARRIERS[type(op)](self, op) for op in some]
        return found

    # Records

    def _put(self, op: Put) -> int:
        row = row_of(self._names, op, self._now)
        self._check_room(self._names.make_queue(op.queue), op)
        return self._session.put([row])[0]

    def _check_room(self, number: int, op: Put) -> None:
        """Behind everybody else who puts into this queue on such a condition."""
        session, sql = self._session, self._session.sql
        session.ask(sql.LOCK_QUEUE, number)
        if op.limit is not None:
            values = (number, _enough(op.limit), number, moment(self._now))
            ready = int(session.ask(sql.COUNT_READY, *values).rows[0][0]) + self._ahead(op.queue)
            if ready >= op.limit:
                raise LimitReached(f"queue {op.queue!r} has {ready} ready records or more; its limit is {op.limit}")
        if op.limit_bytes is not None:
            filled, size = session.ask(sql.COUNT_BYTES, number).rows[0]
            if filled and int(size) + len(op.payload) > op.limit_bytes:
                raise LimitReached(f"queue {op.queue!r} has {size} bytes; its limit is {op.limit_bytes}")

    def _held(self, claim: Claim) -> tuple[Any, ...]:
        """The values that `schema._HELD` asks for."""
        number, place, attempt = held(self._names, claim, self._session.owner, self._handle)
        return number, place, min(max(claim.id, 0), _EVER), min(max(attempt, 0), _EVER)

    def _change(self, statement: str, claim: Claim, *values: Any) -> None:
        """Change the claimed record. Raises LeaseLost, where it is told twice that it isn't there: a statement that is
        killed may say so, too."""
        held = self._held(claim)
        if not any(self._session.change(statement, *values, *held) == 1 for _ in range(2)):
            raise lease_lost(claim)

    def _ack(self, op: Ack) -> int:
        self._change(self._session.sql.ACK, op.claim)
        return 0

    def ack_if_held(self, acks: Sequence[Ack]) -> None:
        """Those whose leases are lost are passed over."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for ack in acks:
            number, place, id, attempt = self._held(ack.claim)
            groups.setdefault((number, place, attempt), []).append(id)
        for held_so, ids in groups.items():
            self._session.tell_surely(len(ids), self._session.sql.ACK_SOME, *held_so, sorted(ids))

    def _state(self, op: Nack, rank: bytes | None) -> tuple[int, bytes, float]:
        if op.not_before > self._now:
            return DELAYED, moment(op.not_before), op.not_before
        return READY, ready_at(rank), op.not_before

    def _nack(self, op: Nack) -> int:
        sql, claim = self._session.sql, op.claim
        if op.dead is None:
            self._change(sql.NACK, claim, *self._state(op, claim.rank))
            return 0
        number = self._names.make_queue(dead_queue(claim.queue))
        if claim.rank:
            self._names.rank(number)
        note = name_blob(op.dead) if op.dead else None
        self._change(sql.BURY, claim, number, *self._state(op, claim.rank), note)
        return 0

    def _extend(self, op: Extend) -> int:
        session = self._session
        if not session.ask(session.sql.IS_HELD, *self._held(op.claim)).rows:
            raise lease_lost(op.claim)
        session.tell(session.sql.EXTEND, op.lease, session.owner)
        return 0

    def _update(self, op: Update) -> int:
        self._change(self._session.sql.UPDATE, op.claim, len(op.payload), op.payload)
        return 0

    # Tables

    def _tell(self, op: Set | Delete) -> int:
        session = self._session
        session.tell(told(self._names, session.sql, op))
        return 0

    def _clear(self, op: Clear) -> int:
        self._session.change_many(self._session.sql.CLEAR, self._names.make_table(op.table))
        return 0

    def _conditionally(self, op: Set | Delete) -> int:
        """Raises ConditionFailed where the key isn't as the op expects."""
        if op.expect is Expect.ANY:
            return self._tell(op)
        if op.expect is Expect.ABSENT:
            return self._add(op)
        session, number = self._session, self._names.make_table(op.table)
        rows = session.ask(session.sql.LOCK_VALUE, number, digest(op.key)).rows
        if not meets(op.expect, bytes(rows[0][0]) if rows else None):
            raise self._not_as_expected(op)
        return self._tell(op)

    def _add(self, op: Set | Delete) -> int:
        """A key that must be absent is set, also where it is to stay so, and taken away again then: what isn't there
        can't be locked, and another transaction might set it before this one is committed."""
        session, number = self._session, self._names.make_table(op.table)
        value = op.value if isinstance(op, Set) else b""
        try:
            session.attempt(session.sql.ADD, number, digest(op.key), op.key, value)
        except Failed as error:
            if is_double(error):
                raise self._not_as_expected(op) from None
            raise
        return self._tell(op) if isinstance(op, Delete) else 0

    @staticmethod
    def _not_as_expected(op: Set | Delete) -> ConditionFailed:
        return ConditionFailed(f"key {op.key!r} of table {op.table!r} is not as expected ({op.expect!r:.60})")


_CARRIERS: dict[type, Callable[[Changes, Any], int]] = {
    Put: Changes._put,
    Ack: Changes._ack,
    Nack: Changes._nack,
    Extend: Changes._extend,
    Update: Changes._update,
    Set: Changes._conditionally,
    Delete: Changes._conditionally,
    Clear: Changes._clear,
}
