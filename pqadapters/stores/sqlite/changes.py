"""Carrying out the operations of a commit, each in a transaction that is open; the condition is decided there (I9)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...errors import ConditionFailed, LimitReached, StoreError
from ...store import (
    PLAIN,
    Ack,
    Claim,
    Clear,
    Delete,
    Expect,
    Extend,
    Nack,
    Op,
    Put,
    Set,
    Update,
    dead_queue,
    meets,
)
from .._trouble import lease_lost
from . import entries, schema
from .errors import malformed
from .names import Names
from .runs import FEW, ack_run, put_run, runs_of
from .schema import DELAYED, ID_BITS, IDS, LONG, checksum

_ID = IDS - 1  #: the bits of a place that are the id


class Who(NamedTuple):
    """A handle, as rows name it."""

    owner: int | None
    handle: int


def place_of(number: int, id: int) -> int:
    """Where a record stands when it is ready."""
    return number << ID_BITS | id


def ack_held(connection: sqlite3.Connection, names: Names, who: Who, claim: Claim) -> bool:
    """Acknowledge a record; whether it was held, or is as it was looked at."""
    number = names.queue_here(connection, claim[0])
    if number is None:
        return False
    place = number << ID_BITS | claim[1]
    if not claim[2]:
        return connection.execute(schema.ACK_LOOKED_AT, (place,)).rowcount == 1
    held = (-place, *who, claim[2])  # of no owner it finds nothing
    return connection.execute(schema.ACK, held).rowcount == 1


class Changes:
    """The operations of one transaction. `touched` gets the queues that it changes, and how many records more are
    ready there; None where that isn't all that has changed for who takes some. `ahead`: how many records of a queue
    its caller has fetched, for whom they are ready still."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        names: Names,
        who: Who,
        now: float,
        touched: dict[str, int | None],
        ahead: Callable[[str], int] = lambda queue: 0,
    ) -> None:
        self._connection = connection
        self._names = names
        self._who = who
        self._now = now
        self._touched = touched
        self._ahead = ahead

    def apply_all(self, ops: Sequence[Op]) -> tuple[int, ...]:
        """The numbers of all ops: the id for a Put, else 0. Raises ConditionFailed, LeaseLost, ValueError."""
        if len(ops) < FEW:
            return tuple([_CARRIERS[type(op)](self, op) for op in ops])
        numbers: list[int] = []
        for kind, run in runs_of(ops):
            found = self._apply_run(*kind, run) if kind is not None and len(run) >= FEW else None
            numbers += [_CARRIERS[type(op)](self, op) for op in run] if found is None else found
        return tuple(numbers)

    def ack_what_is_held(self, acks: Sequence[Ack]) -> None:
        """Carry out acknowledgements; one whose lease is lost is passed over."""
        together = len(acks) >= FEW and len({ack.claim.queue for ack in acks}) == 1
        if together and self._apply_run(Ack, acks[0].claim.queue, acks) is not None:
            return
        for ack in acks:
            if ack_held(self._connection, self._names, self._who, ack.claim):
                self._touch(ack.claim.queue, 0)

    def _apply_run(self, kind: type, queue: str, run: Sequence[Any]) -> list[int] | None:
        """The numbers of a run's ops; None where it can't be carried out as one."""
        if kind is Put:
            numbers = put_run(self._connection, self._names.make_queue(self._connection, queue), run, self._now)
            if numbers is not None:
                self._touch(queue, len(run))
            return numbers
        number = self._names.queue_here(self._connection, queue)
        if not ack_run(self._connection, number, *self._who, run):
            return None
        self._touch(queue, 0)
        return [0] * len(run)

    def _one(self, question: str, *values: Any) -> Any:
        return self._connection.execute(question, values).fetchone()

    def _counts(self, number: int) -> Any:
        """A queue's row."""
        row = self._one(schema.COUNTS, number)
        if row is None or any(type(count) is not int for count in row[:4]):
            raise malformed()
        return row

    # Records

    def _put(self, op: Put) -> int:
        if op.attempts < 0:
            raise ValueError(f"a record was claimed 0 times or more, not {op.attempts}")
        number = self._names.make_queue(self._connection, op.queue)
        if op.limit is not None or op.limit_bytes is not None:
            self._check_room(number, op)
        self._touch(op.queue, 1)
        if op[2:4] == PLAIN[:2] and op[6:] == PLAIN[4:] and len(op.payload) <= LONG:
            return put_plain(self._connection, schema.put(number, op.payload, self._now))
        return self._put_with_all(number, op)

    def _check_room(self, number: int, op: Put) -> None:
        ready, delayed, claimed, size, _ = self._counts(number)
        filled = ready or delayed or claimed
        if delayed:
            ready += self._one(schema.DUE, number, self._now)[0]
        ready += self._ahead(op.queue)
        if op.limit is not None and ready >= op.limit:
            raise LimitReached(f"queue {op.queue!r} has {ready} ready records; its limit is {op.limit}")
        if op.limit_bytes is not None and filled and size + len(op.payload) > op.limit_bytes:
            raise LimitReached(f"queue {op.queue!r} has {size} bytes; its limit is {op.limit_bytes}")

    def _put_with_all(self, number: int, op: Put) -> int:
        connection = self._connection
        id = self._one(schema.LAST)[0] + 1
        if id >= IDS:
            raise StoreError(f"queue {op.queue!r} can't take more: all {IDS - 1} ids of its database are used up")
        rank = self._rank(number, op.rank)
        note = schema.name_blob(op.note) if op.note else None
        put_at = op.put_at or self._now
        place = place_of(number, id) + DELAYED * (op.not_before > self._now)
        short = len(op.payload) <= LONG
        crc = checksum(number, put_at, rank, note, op.payload)
        values = (crc, len(op.payload), put_at, op.attempts, op.not_before, rank, note)
        connection.execute(schema.PUT_WITH_ALL, (number, place, *values, op.payload if short else None))
        if not short:
            connection.execute(schema.PUT_BODY, (id, op.payload))
        return int(id)

    def _rank(self, number: int, rank: bytes | None) -> bytes | None:
        """What a record's rank is in a queue, which is ranked from its first one on."""
        if self._counts(number)[4]:
            return rank or b""
        if not rank:
            return None
        self._connection.execute(schema.MARK_RANKED, (number,))
        self._connection.execute(schema.GIVE_RANKS, (number,))
        return rank

    def _held(self, claim: Claim) -> tuple[int, ...]:
        """The values that `schema._HELD` asks for."""
        number = self._names.queue_here(self._connection, claim.queue)
        if number is None or self._who.owner is None:
            raise lease_lost(claim)
        return (-place_of(number, claim.id), self._who.owner, self._who.handle, claim.attempt)

    def _change(self, statement: str, claim: Claim, *values: Any) -> int:
        """Change the claimed record: its queue's number. Raises LeaseLost."""
        held = self._held(claim)
        if self._connection.execute(statement, (*values, *held)).rowcount != 1:
            raise lease_lost(claim)
        self._touch(claim.queue)
        return -held[0] >> ID_BITS

    def _touch(self, queue: str, ready: int | None = None) -> None:
        before = self._touched.get(queue, 0)
        self._touched[queue] = None if before is None or ready is None else before + ready

    def _ack(self, op: Ack) -> int:
        if not ack_held(self._connection, self._names, self._who, op.claim):
            raise lease_lost(op.claim)
        self._touch(op.claim.queue, 0)
        return 0

    def _nack(self, op: Nack) -> int:
        claim = op.claim
        if op.dead is not None:
            return self._bury(op, op.dead)
        number = self._names.queue_here(self._connection, claim.queue) or 0
        place = place_of(number, claim.id) + DELAYED * (op.not_before > self._now)
        self._change(schema.NACK, claim, place, op.not_before)
        return 0

    def _bury(self, op: Nack, reason: str) -> int:
        claim, target = op.claim, dead_queue(op.claim.queue)
        held = self._held(claim)
        row = self._one(schema.ONE, held[0])
        if row is None:
            raise lease_lost(claim)
        number = self._names.make_queue(self._connection, target)
        rank, note = self._rank(number, row[6]), schema.name_blob(reason) if reason else None
        crc = checksum(number, row[3], rank, note, payload_of(self._connection, row))
        place = place_of(number, claim.id) + DELAYED * (op.not_before > self._now)
        self._change(schema.BURY, claim, place, op.not_before, number, note, rank, crc)
        self._touch(target)
        return 0

    def _extend(self, op: Extend) -> int:
        if self._one(schema.IS_HELD, *self._held(op.claim)) is None:
            raise lease_lost(op.claim)
        return 0

    def _update(self, op: Update) -> int:
        claim = op.claim
        held = self._held(claim)
        row = self._one(schema.IS_HELD, *held)
        if row is None:
            raise lease_lost(claim)
        rank, note, put_at = row
        short = len(op.payload) <= LONG
        crc = checksum(-held[0] >> ID_BITS, put_at, rank, note, op.payload)
        self._change(schema.UPDATE, claim, crc, len(op.payload), op.payload if short else None)
        if short:
            self._connection.execute(schema.DROP_BODY, (claim.id,))
        else:
            self._connection.execute(schema.PUT_BODY, (claim.id, op.payload))
        return 0

    # Tables

    def _entry(self, op: Set | Delete) -> tuple[int, Any]:
        """The table's number and the key's row, which is as the op expects. Raises ConditionFailed."""
        connection, expect = self._connection, op.expect
        number = self._names.make_table(connection, op.table)
        row = entries.find(connection, number, op.key)
        value = None if row is None else entries.value_of(connection, row) if isinstance(expect, bytes) else b""
        if not meets(expect, value):
            raise ConditionFailed(f"key {op.key!r} of table {op.table!r} is not as expected ({expect!r:.60})")
        return number, row

    def _set(self, op: Set) -> int:
        if op.expect is Expect.ANY:
            number = self._names.make_table(self._connection, op.table)
        else:
            number, _ = self._entry(op)
        entries.put(self._connection, number, op.key, op.value)
        return 0

    def _delete(self, op: Delete) -> int:
        number, row = self._entry(op)
        if row is not None:
            entries.drop(self._connection, number, row)
        return 0

    def _clear(self, op: Clear) -> int:
        entries.clear(self._connection, self._names.make_table(self._connection, op.table))
        return 0


_CARRIERS: dict[type, Callable[[Changes, Any], int]] = {
    Put: Changes._put,
    Ack: Changes._ack,
    Nack: Changes._nack,
    Extend: Changes._extend,
    Update: Changes._update,
    Set: Changes._set,
    Delete: Changes._delete,
    Clear: Changes._clear,
}


def put_plain(connection: sqlite3.Connection, put: tuple[str, tuple[Any, ...]]) -> int:
    """A short record without delay and past, of `schema.put`: its id."""
    return (connection.execute(*put).lastrowid or 0) & _ID


def payload_of(connection: sqlite3.Connection, row: Any) -> bytes:
    """The payload of a row of `schema._FIELDS`; b"" where its body is missing, which its checksum tells."""
    if row[8] is not None:
        return bytes(row[8])
    body = connection.execute(schema.BODY, (abs(row[0]) & (IDS - 1),)).fetchone()
    return body[0] if body is not None else b""
