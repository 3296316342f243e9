"""The dead letters of a queue: records that nobody could or should process, with the reason, until they are requeued.

They are records of the queue "<name>.dead" and survive like any others. Any thread may call anything here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...interrupts import works
from ...store import Ack, Op, Put, dead_queue
from .line import Line
from .stock import ALL, whole


class DeadLetter(NamedTuple):
    """A record that was moved out of its queue's way."""

    id: int
    item: Any  #: the item; its bytes where they can't be decoded
    reason: str
    attempts: int  #: how often it was claimed


def dead_letters(line: Line) -> list[DeadLetter]:
    """All of them, in the order in which they were put first."""
    return [
        DeadLetter(record.id, _item(line, record.payload), record.note, record.attempts)
        for record in line.store.browse(dead_queue(line.name), state=None)
    ]


def _item(line: Line, payload: bytes) -> Any:
    try:
        return line.decode(payload)
    except (Exception, SystemExit):
        if works(line.decode, payload):
            raise  # a signal handler's exception
        return payload


def requeue(line: Line, ids: Iterable[int] | None) -> int:
    """Put dead letters back, as new records at the end of the queue, all in one commit. Returns how many."""
    wanted = None if ids is None else [whole(each, "an id is a dead letter's `id`") for each in ids]
    claims = line.claim(dead_queue(line.name), ids=wanted, limit=ALL)
    ops: list[Op] = []
    for claim in claims:
        ops += [Ack(claim), Put(line.name, claim.payload, claim.rank)]
    try:
        line.commit(*ops)
    except BaseException:
        line.release(claims)
        raise
    return len(claims)
