"""Runs of one operation on one queue, in one statement for all of them: plain puts, and acknowledgements.

In a transaction that is open. A statement for each would take about twice as long, most of it in Python.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any
from zlib import crc32

from ...store import PLAIN, Ack, Op, Put
from . import schema
from .schema import ID_BITS, IDS, LONG, checksum

FEW = 4  #: operations; for fewer than these a run isn't worth its own statements

Kind = tuple[type, str]


def runs_of(ops: Sequence[Op]) -> Iterator[tuple[Kind | None, list[Any]]]:
    """The operations in their order: runs of one kind on one queue, and what lies between, of kind None."""
    for kind, run in groupby(ops, _kind):
        yield kind, list(run)


def _kind(op: Any) -> Kind | None:
    kind = type(op)
    if kind is Ack:
        return kind, op.claim.queue
    if kind is Put and op[2:] == PLAIN and len(op.payload) <= LONG:
        return kind, op.queue
    return None


def put_run(connection: sqlite3.Connection, number: int, run: Sequence[Put], now: float) -> list[int] | None:
    """Short records without rank, delay and conditions: their ids. None where the ids don't suffice."""
    ((last,),) = connection.execute(schema.LAST).fetchall()
    if last + len(run) >= IDS:
        return None
    ((_, _, _, _, ranked),) = connection.execute(schema.COUNTS, (number,)).fetchall()
    rank, base, start = b"" if ranked else None, number << ID_BITS, checksum(number, now, None, None, b"")
    ids = list(range(last + 1, last + 1 + len(run)))
    rows = [
        (base | id, number, crc32(op.payload, start), len(op.payload), now, rank, op.payload)
        for id, op in zip(ids, run, strict=True)
    ]
    connection.executemany(schema.PUT_RUN, rows)
    return ids


def ack_run(
    connection: sqlite3.Connection, number: int | None, owner: int | None, handle: int, run: Sequence[Ack]
) -> bool:
    """Whether the handle held all of them; they are gone then. Else nothing was changed."""
    if number is None or owner is None:
        return False
    connection.execute(schema.SAVE_RUN)
    whole = _acknowledge(connection, number << ID_BITS, (owner, handle), run) == len(run)
    if not whole:
        connection.execute(schema.UNDO_RUN)
    connection.execute(schema.RELEASE_RUN)
    return whole


def _acknowledge(connection: sqlite3.Connection, base: int, who: tuple[int, int], run: Sequence[Ack]) -> int:
    """How many of them were held. What one consumer claims ahead is all that stands between the first and the last."""
    ids = [claim.id for claim, _ in run]
    first, last, attempt = min(ids), max(ids), run[0].claim.attempt
    neighbours = first > 0 and last < IDS and last - first == len(set(ids)) - 1 == len(ids) - 1
    if neighbours and all(claim.attempt == attempt for claim, _ in run):
        return connection.execute(schema.ACK_RANGE, (-(base | last), -(base | first), *who, attempt)).rowcount
    rows = [(-(base | claim.id), *who, claim.attempt) for claim, _ in run]
    return connection.executemany(schema.ACK, rows).rowcount
