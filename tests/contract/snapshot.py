"""What is in a store, to be compared: before and after, one store and another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pqadapters.store import Depth, Record, Store, dead_queue


class Snapshot(NamedTuple):
    """All that a store shows of some queues and tables."""

    records: list[Record]
    depths: list[Depth]
    tables: list[tuple[str, int, list[tuple[bytes, bytes]]]]


def snapshot(store: Store, queues: Iterable[str] = ("q",), tables: Iterable[str] = ("t",)) -> Snapshot:
    names = sorted({name for queue in queues for name in (queue, dead_queue(queue))})
    return Snapshot(
        [record for name in names for record in store.browse(name, state=None)],
        [store.depth(name) for name in names],
        [(table, store.count(table), list(store.scan(table))) for table in tables],
    )


def payloads(store: Store, queue: str = "q") -> list[bytes]:
    """The payloads of the queue's ready records, the oldest first."""
    return [record.payload for record in store.browse(queue)]
