"""Executors of one process on one directory: a job is one future there, whichever of them runs it.

In a store that processes share, who waits for a job is told of its end (sharing.py). Executors of one process on a
store of its own need no such way: who begins a job that another one waits for takes over its future, and with it the
live call, and whoever asks for such a job gets that future. Job ids are unique, so nobody needs to know who has the
same store. Any thread may call anything that holds no backlog's lock.
"""

from __future__ import annotations

import weakref
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from ....interrupts import keep
from ....living import living

if TYPE_CHECKING:
    from .._backlog.backlog import Backlog
    from .._backlog.future import JobFuture

    _Taken = tuple[Backlog, dict[bytes, JobFuture], list[JobFuture | None]]  #: from whom, out of what, and which one

_open: weakref.WeakSet[Backlog] = weakref.WeakSet()


def enter(backlog: Backlog) -> None:
    """It has opened a store that no other process uses."""
    _open.add(backlog)


def several() -> bool:
    """Whether there may be others; quick."""
    return len(_open) > 1


def others(backlog: Backlog) -> list[Backlog]:
    """Those beside this one."""
    return [each for each in living(_open) if each is not backlog and not (each.closed or each.forked)]


def has(backlog: Backlog, id: bytes) -> bool:
    """Whether one of the others has submitted that job."""
    return several() and any(id.startswith(other.token) for other in others(backlog))


def find(backlog: Backlog, id: bytes) -> JobFuture | None:
    """The future of a job that isn't done, which one of the others has."""
    if not several():
        return None
    for other in others(backlog):
        future = other.unfinished(id)
        if future is not None:
            return future
    return None


def take_over(backlog: Backlog, id: bytes) -> JobFuture | None:
    """The future of a job that this one begins, and others have; they wait for its end as for that of their own jobs.
    Who has asked for a job of another one may have a future of its own."""
    taken: list[_Taken] = []
    try:
        return _taken_over(backlog, id, taken)
    except BaseException:  # a signal handler's: the job isn't begun, and they have it as they had
        for other, futures, found in taken:
            with other.lock:
                for future in filter(None, found):
                    futures.setdefault(id, future)
                    other.running.pop(id, None)
        raise


def _taken_over(backlog: Backlog, id: bytes, taken: list[_Taken]) -> JobFuture | None:
    own: list[JobFuture] = []
    asked_for: list[JobFuture] = []
    for other in others(backlog):
        with other.lock:  # who waits for its end must not find that there is none for a moment
            submitted = _take(other, other.live, id, taken)
            asked = _take(other, other.attached, id, taken)
            future = submitted or asked
            if future is None:
                continue
            other.running[id] = future
        own += [submitted] if submitted is not None else []
        asked_for += [asked] if asked is not None else []
        other.not_due(id)
        future.tell_first(partial(_ended, weakref.ref(other), id))
    if not (own or asked_for):
        return None
    future = (own or asked_for)[0]
    for each in own + asked_for:
        if each is not future:
            each.follow(future)
    if not own:
        backlog.attached.setdefault(id, future)
    future._backlog = backlog
    return future


def _take(other: Backlog, futures: dict[bytes, JobFuture], id: bytes, taken: list[_Taken]) -> JobFuture | None:
    """Out of these, in one step: who leaves cancels what is there."""
    found: list[JobFuture | None] = []
    taken.append((other, futures, found))
    keep(found, futures.pop, id, None)
    return found[0]


def home_of(backlog: Backlog, id: bytes) -> Backlog:
    """Where a job waits that was begun and comes again: with the one that has submitted it and still runs jobs, which
    may be there longer than who has begun it."""
    if several():
        for other in others(backlog):
            if id.startswith(other.token) and not other.stopped:
                return other
    return backlog


def wait_at_home(backlog: Backlog, future: JobFuture) -> Backlog:
    """It is no more one that runs. First it waits: who waits for the end must not find that there is none for a moment.
    Returns where."""
    id = future._id
    home = home_of(backlog, id)
    future._backlog = home
    home.live[id] = future
    home.running.pop(id, None)
    backlog.running.pop(id, None)
    return home


def _ended(ref: weakref.ref[Backlog], id: bytes, future: Future[Any]) -> None:
    other = ref()
    if other is None:
        return
    other.running.pop(id, None)
    other.changed()  # also where it is closed: another thread's shutdown() may wait
    if other.closing and not other.closed and other.idle():
        other.ended()


def forget(backlog: Backlog, id: bytes) -> list[JobFuture]:
    """A job that isn't on disk any more; the futures that the others have of it."""
    futures: list[JobFuture] = []
    for other in others(backlog):
        found = [each for each in (other.live.pop(id, None), other.attached.pop(id, None)) if each is not None]
        if found:
            futures += found
            other.not_due(id)
            other.less()
    return futures


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


def rank(backlog: Backlog) -> None:
    """A job has a priority: whoever begins those of the same place looks for that."""
    for other in others(backlog):
        store = other._store
        if other.names == backlog.names and (store is None or store.place == backlog.store.place):
            other.ranked = True
