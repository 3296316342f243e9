"""The records of jobs that wait, looked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .._jobs import wire

if TYPE_CHECKING:
    from ....store import Record, State
    from .backlog import Backlog


def there(backlog: Backlog, state: State | None = None) -> Iterator[Record]:
    """The records of jobs, but for those of delayed ones that were cancelled, and are dropped when they are due."""
    store = backlog.store  # only once it is open it is known whether there are any
    buried = set(store.keys(backlog.names.cancelled)) if backlog.tombs or backlog.shared else ()
    for record in store.browse(backlog.names.jobs, state=state):
        if wire.id_of(record.payload) not in buried:
            yield record


def find_record(backlog: Backlog, queue: str, id: bytes) -> int | None:
    """The record of a job in that queue; all of it may be looked through."""
    for record in there(backlog) if queue == backlog.names.jobs else backlog.store.browse(queue, state=None):
        if wire.id_of(record.payload) == id:
            return record.id
    return None
