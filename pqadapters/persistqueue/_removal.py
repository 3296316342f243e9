"""What goes with a record of a queue of persist-queue's where not the queue itself removes it, or puts it back, but
`pqadapters purge` and `dead`."""

from __future__ import annotations

import re

from ..store import Ack, Claim, Delete, Op, Store
from ._digests import enter, leave
from ._rows import FRESH, payload_of
from ._states import READY

_QUEUE = re.compile(r"(?P<ack>ack_)?(filo_|(?P<unique>unique_))?queue_")


def removal(store: Store, claim: Claim) -> list[Op]:
    """What makes an end of the record, and of what stands for its item elsewhere. Of another program's queue, the first
    alone. ConditionFailed where the item is updated meanwhile."""
    kind = _QUEUE.match(claim.queue)
    payload, ops = claim.payload, list[Op]([Ack(claim)])
    if kind is None:
        return ops
    if kind["ack"] and claim.rank != FRESH:  # a ticket: its payload is the item's key
        ready, rows, key = f"{claim.queue}/{READY}", f"{claim.queue}/rows", claim.payload
        data = store.get(rows, key)
        if data is None or store.get(ready, key) is None:
            return ops  # it has outlived that the item waits
        payload = payload_of(data)
        ops += [Delete(ready, key), Delete(rows, key, data)]
    if kind["unique"]:
        ops.append(leave(claim.queue, payload))
    return ops


def entry(queue: str, payload: bytes) -> list[Op]:
    """What goes with a dead letter's way back: in a queue without doubles it had left. ConditionFailed where an equal
    item is in it."""
    kind = _QUEUE.match(queue)
    return [enter(queue, payload)] if kind is not None and kind["unique"] and not kind["ack"] else []
