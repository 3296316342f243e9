"""The records of jobs that wait, looked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .._jobs import wire

if TYPE_CHECKING:
    from ....store import Record, State
    from .backlog import Backlog

SURE = b""  #: in a tombstone: the job doesn't come any more, which everybody was told


def there(backlog: Backlog, state: State | None = None) -> Iterator[Record]:
    """The records of jobs, but for those of delayed ones that were cancelled, and are dropped when they are due."""
    store = backlog.store  # only once it is open it is known whether there are any
    gone = buried(backlog) if backlog.tombs or backlog.shared else ()
    for record in store.browse(backlog.names.jobs, state=state):
        if wire.id_of(record.payload) not in gone:
            yield record


def buried(backlog: Backlog) -> set[bytes]:
    """The ids of delayed jobs that were cancelled for good."""
    return {id for id, word in backlog.store.scan(backlog.names.cancelled) if word == SURE}


def record_at(backlog: Backlog, number: int) -> Record | None:
    """The record of that id, if it is a job's, in whatever state; no other one is looked at."""
    found = next(backlog.store.browse(backlog.names.jobs, state=None, after=number - 1), None)
    return found if found is not None and found.id == number else None


def find_record(backlog: Backlog, queue: str, id: bytes) -> int | None:
    """The record of a job in that queue; all of it may be looked through."""
    for record in there(backlog) if queue == backlog.names.jobs else backlog.store.browse(queue, state=None):
        if wire.id_of(record.payload) == id:
            return record.id
    return None
