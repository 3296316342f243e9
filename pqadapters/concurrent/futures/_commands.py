"""Jobs that a command takes away or puts back: as an executor does it, so that a key goes with its job, and processes
that wait for it are told. The store is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...serializers.signed import peeled
from ...store import DEAD, Store
from ._backlog import overview
from ._jobs import wire
from .thread import ThreadPoolExecutor

if TYPE_CHECKING:
    from ._backlog.backlog import Backlog


def is_job(payload: bytes) -> bool:
    """Whether an executor has put it there."""
    try:
        job = wire.read(payload)
    except ValueError:
        return False
    call = peeled(job.call)
    return call[:1] == b"\x80" and call[-1:] == b"."


def purge(store: Store, queue: str, parts: Iterable[list[int]]) -> int:
    """Away with these records of a queue of jobs, or of their dead letters, a part at a time. Returns how many."""
    with _backlog(store, queue) as backlog:
        return sum(overview.purge_records(backlog, queue, part) for part in parts)


def requeue(store: Store, letters: str, parts: Iterable[list[int]]) -> int:
    """Back with these dead letters, a part at a time. Returns how many."""
    with _backlog(store, letters) as backlog:
        return overview.requeue_records(backlog, parts)


@contextmanager
def _backlog(store: Store, queue: str) -> Iterator[Backlog]:
    executor = ThreadPoolExecutor(1, store=store, name=queue.removesuffix(DEAD), recover="manual")
    try:
        yield executor._backlog
    finally:
        executor.shutdown(drain=False)
