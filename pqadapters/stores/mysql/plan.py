"""What a commit has for operations that need no answer, as SQL, written by its own thread before it stands in line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...store import PLAIN, Ack, Delete, Expect, Op, Put, Set
from .names import Names
from .schema import DELAYED, READY, Statements, bound, digest, held_by, literal, moment, name_blob, ready_at
from .session import Held, Plan


def row_of(names: Names, op: Put, now: float) -> str:
    """A record's row. Its queue gets a number. ValueError for negative attempts."""
    if op.attempts < 0:
        raise ValueError(f"a record was claimed 0 times or more, not {op.attempts}")
    number = names.make_queue(op.queue)
    if op[2:] == PLAIN:
        return f"({number},0,x'',0,{len(op.payload)},{now!r},0,NULL,NULL,{literal(op.payload)})"
    if op.rank:
        names.rank(number)
    delayed = op.not_before > now
    values = (
        number,
        DELAYED if delayed else READY,
        moment(op.not_before) if delayed else ready_at(op.rank),
        op.attempts,
        len(op.payload),
        op.put_at or now,
        op.not_before,
        op.rank or None,
        name_blob(op.note) if op.note else None,
        op.payload,
    )
    return f"({literal(values)})"


def is_plain(op: Op) -> bool:
    """Whether it needs no answer."""
    kind = type(op)
    if kind is Put:
        return op.limit is None and op.limit_bytes is None  # type: ignore[union-attr]
    if kind is Set or kind is Delete:
        return op.expect is Expect.ANY  # type: ignore[union-attr]
    return kind is Ack


def plan_of(ops: Sequence[Op], names: Names, sql: Statements, owner: int, handle: int, now: float) -> Plan | None:
    """The plan of a commit of such operations alone; None for another one."""
    if not all(map(is_plain, ops)):
        return None
    plan = Plan([], [], [], len(ops))
    for nth, op in enumerate(ops):
        if isinstance(op, Put):
            plan.puts.append((nth, row_of(names, op, now)))
        elif isinstance(op, Ack):
            plan.acks.append((held(names, op.claim, owner, handle), op.claim.id))
        else:
            plan.told.append(told(names, sql, op))
    return plan


def held(names: Names, claim: Any, owner: int, handle: int) -> Held:
    """Where what the handle has claimed stands; a queue without a number has no such place."""
    return names.queue(claim.queue) or 0, held_by(owner, handle), claim.attempt


def told(names: Names, sql: Statements, op: Any) -> str:
    """The statement of an operation on a table that has no condition."""
    return _TOLD[type(op)](names.make_table(op.table), sql, op)


_TOLD: dict[type, Callable[[int, Statements, Any], str]] = {
    Set: lambda number, sql, op: bound(sql.SET, (number, digest(op.key), op.key, op.value)),
    Delete: lambda number, sql, op: bound(sql.DELETE, (number, digest(op.key))),
}
