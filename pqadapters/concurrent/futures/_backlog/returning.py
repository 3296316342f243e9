"""Jobs that come again: when they are due, when they were put back, when another process has moved them.

What is due is called by the clock's thread; all else by any thread. None of it keeps the executor alive, but for
jobs of this process that are delayed or wait for their next try, or are in a store that processes share.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from ....clock import SYSTEM
from ....ending import is_over
from ....errors import StoreError
from ....store import Ack, Order, Put, State, Store
from .._jobs import wire
from .._others import peers
from .clock import call_in

if TYPE_CHECKING:
    from ....store import Claim
    from .backlog import Backlog
    from .future import JobFuture

_MOST = 10_000  #: delayed jobs of earlier processes that are looked at
_SOON = 5.0  #: seconds
_AGAIN = 1.0  #: seconds
_LATE, _RARELY = 0.02, 60.0  #: seconds between two looks for a job that is stored late, at first and at last


def come_back(backlog: Backlog, id: bytes, seconds: float) -> None:
    """A job is ready in that many seconds: see to it then."""
    backlog.not_due(id)
    backlog.delayed[id] = due = list[Callable[[], object]]()
    due.append(call_in(seconds + 0.001, partial(_back, backlog, id)))  # which may be over by now


def wait_until_due(backlog: Backlog, id: bytes, seconds: float) -> None:
    """The same of a job that was stored just now, and whose future waits; unless somebody has ended it since."""
    come_back(backlog, id, seconds)
    if id not in backlog.live:
        backlog.not_due(id)
        backlog.less()


def _back(backlog: Backlog, id: bytes) -> None:
    """It is due, or was: somebody may have begun it already, and it may be waiting for its next try by now."""
    if not backlog.closed:
        backlog.recovering = backlog.recovering or backlog.foreign  # it may be one of somebody else
    backlog.delayed.pop(id, None)
    if not backlog.closed:
        begin_ready(backlog)
        if id in backlog.live:  # all are busy; or the store's clock isn't there yet
            call_in(_AGAIN, partial(_back, backlog, id))


def look_later(backlog: Backlog) -> None:
    """No job could be claimed, since the store failed (a full disk): that may be over in a moment."""
    call_in(_AGAIN, partial(look, weakref.ref(backlog)))


def look(ref: weakref.ref[Backlog]) -> None:
    """Others than ours may be ready, too."""
    backlog = ref()
    if backlog is not None and not (backlog.closed or backlog.stopped):
        backlog.recovering = backlog.recovering or backlog.foreign
        begin_ready(backlog)


def begin_ready(backlog: Backlog) -> None:
    """See that somebody looks at what is ready. Behind the program's end nobody will, and who shuts down leaves it."""
    with suppress(OSError):  # no worker can be started: that was told, and is tried again
        if not backlog.added() and backlog.closing and is_over():
            backlog.leave()
            backlog.changed()


def find_late(backlog: Backlog, id: bytes, seconds: float = _LATE) -> None:
    """A finalizer or signal handler has submitted in the middle of a commit: the job is stored at the end of that,
    however long it takes (others may have the database locked), and its record isn't known."""
    call_in(seconds, partial(_find_late, weakref.ref(backlog), id, seconds))


def _find_late(ref: weakref.ref[Backlog], id: bytes, seconds: float) -> None:
    backlog = ref()
    future = backlog.live.get(id) if backlog is not None and not backlog.closed else None
    if backlog is None or future is None:
        return
    with suppress(StoreError):  # it is looked for again
        for record in backlog.store.browse(backlog.names.jobs, state=None, order=Order.NEWEST):
            if wire.id_of(record.payload) == id:
                future._record = record.id
                break
    backlog.added()
    if not future._record:
        find_late(backlog, id, min(2 * seconds, _RARELY))


def expect_soon(backlog: Backlog, store: Store) -> None:
    """Jobs that an earlier process has put back for a moment: who shuts down waits for those as well."""
    now = SYSTEM.wall()
    for record in islice(store.browse(backlog.names.jobs, state=State.DELAYED), _MOST):
        if record.not_before <= now + _SOON:
            come_back(backlog, wire.id_of(record.payload), max(0.0, record.not_before - now))


def put_back(backlog: Backlog, claim: Claim, seconds: float, *, awaited: bool = True) -> int:
    """A job that was claimed and isn't begun: ready again in that time, and the attempt doesn't count. Who shuts down
    waits for it where it is `awaited`. The number of its record."""
    put = Put(
        claim.queue,
        claim.payload,
        claim.rank,
        SYSTEM.wall() + seconds,
        attempts=claim.attempt - 1,
        put_at=claim.put_at,
    )
    record = backlog.commit(Ack(claim), put)[1]
    id = wire.id_of(claim.payload)
    home = peers.home_of(backlog, id)
    future = home.live.get(id)
    if future is not None:
        future._record = record
    if future is not None and home is not backlog:
        come_back(home, id, seconds)
    elif awaited:
        come_back(backlog, id, seconds)
    return record


def wait_again(backlog: Backlog, future: JobFuture, attempt: int | None = None) -> bool:
    """A job that was begun here waits again: first its future, then what is on disk, so whoever claims it at once
    finds it. Where an `attempt` is given and doesn't run here any more, False and nothing of that."""
    id = future._id

    def runs() -> bool:
        return attempt is None or (backlog.running.get(id) is future and future.attempts == attempt)

    if not runs():
        return False  # of one that is over nobody would take back that we want to hear
    with suppress(StoreError):  # it may come back to us as well
        hear_of(backlog, id)
    with backlog.lock:
        if not runs():
            return False
        submitted_here = id.startswith(peers.home_of(backlog, id).token)
        if submitted_here or backlog.attached.setdefault(id, future) is not future:
            peers.wait_at_home(backlog, future)
        backlog.running.pop(id, None)
        return True


def hear_of(backlog: Backlog, id: bytes) -> None:
    """A job that somebody else has submitted is let go of: another process may bring its end, of which only those are
    told who have submitted it, or wait for it. Raises StoreError."""
    if backlog.sharing is not None and not id.startswith(backlog.token):
        backlog.sharing.watch(id)


def find_moved(backlog: Backlog) -> bool:
    """Another process may have put back a job of ours, which is another record then: whether one was found."""
    began = SYSTEM.monotonic()
    if backlog.sharing is None or began < backlog.look_at:
        return False
    backlog.look_at = began + _AGAIN
    found = False
    for record in backlog.store.browse(backlog.names.jobs, state=State.READY):
        future = backlog.live.get(wire.id_of(record.payload))
        if future is not None and future._record and future._record != record.id:
            future._record, found = record.id, True
    now = SYSTEM.monotonic()
    backlog.look_at = now + max(_AGAIN, 10 * (now - began))  # a long backlog isn't looked through all the time
    return found
