"""Executors of one process on one directory: a job is one future there, whichever of them runs it.

In a store that processes share, who waits for a job is told of its end (_sharing.py). Executors of one process on a
store of its own need no such way: who begins a job that another one waits for takes over its future, and with it the
live call, and whoever asks for such a job gets that future. Job ids are unique, so nobody needs to know who has the
same store. Any thread may call anything; no backlog's lock is held.
"""

from __future__ import annotations

import weakref
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._backlog import Backlog
    from ._future import JobFuture

_open: tuple[weakref.ref[Backlog], ...] = ()  #: replaced, never changed: who looks needs no lock


def enter(backlog: Backlog) -> None:
    """It has opened a store that no other process uses."""
    global _open
    _open = (*(ref for ref in _open if _lives(ref)), weakref.ref(backlog))


def _lives(ref: weakref.ref[Backlog]) -> bool:
    backlog = ref()
    return backlog is not None and not (backlog.closed or backlog.forked)


def several() -> bool:
    """Whether there may be others; quick."""
    return len(_open) > 1


def others(backlog: Backlog) -> list[Backlog]:
    """Those beside this one."""
    there = [ref() for ref in _open if _lives(ref)]
    return [each for each in there if each is not None and each is not backlog]


def has(backlog: Backlog, id: bytes) -> bool:
    """Whether one of the others has submitted that job."""
    return several() and any(id.startswith(other.token) for other in others(backlog))


def find(backlog: Backlog, id: bytes) -> JobFuture | None:
    """The future of a job that isn't done, which one of the others has."""
    if not several():
        return None
    for other in others(backlog):
        for futures in (other.live, other.running, other.attached):
            future = futures.get(id)
            if future is not None and not future.done():
                return future
    return None


def take_over(backlog: Backlog, id: bytes) -> JobFuture | None:
    """The future of a job that this one begins, and another one has; that one waits for its end as for its own jobs."""
    for other in others(backlog):
        future = other.live.get(id) or other.attached.get(id)
        if future is None:
            continue
        other.running[id] = future
        if other.live.pop(id, None) is None:
            backlog.attached[id] = future
        other.attached.pop(id, None)
        other.not_due(id)
        future._backlog = backlog
        Future.add_done_callback(future, partial(_ended, weakref.ref(other), id))
        return future
    return None


def _ended(ref: weakref.ref[Backlog], id: bytes, future: Future[Any]) -> None:
    other = ref()
    if other is None or other.closed:
        return
    other.running.pop(id, None)
    other.changed()
    if other.closing and other.idle():
        other.ended()


def forget(backlog: Backlog, id: bytes) -> JobFuture | None:
    """A job that isn't on disk any more; the future that one of the others has of it."""
    for other in others(backlog):
        future = other.live.pop(id, None) or other.attached.pop(id, None)
        if future is not None:
            other.not_due(id)
            other.changed()
            return future
    return None


def settle(backlog: Backlog, id: bytes, result: Any, error: BaseException | None) -> None:
    """Tell a future that somebody has asked for while the job was on its way."""
    for other in others(backlog):
        future = other.attached.pop(id, None)
        if future is not None:
            future.settle(result, error)


def bury(backlog: Backlog) -> None:
    """A delayed job was cancelled: whoever finds it when it is due looks for its tombstone."""
    for other in others(backlog):
        other.tombs = True
