"""The end of an executor, whatever it was: by shutdown(), by nobody's having it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ...ending import is_over
from ...errors import StoreError
from ._backlog.backlog import Backlog, nothing
from ._backlog.cancelling import cancel_all
from ._backlog.keys import sweep

INSIDE = "cannot join current thread"  #: the standard library's word to a job or a callback that shuts down


def is_inside(backlog: Backlog, *threads: object) -> bool:
    """Whether the caller is one of these threads, or one that tells what jobs came to: it would wait for itself."""
    sharing = backlog.sharing
    return threading.current_thread() in (*threads, sharing.thread if sharing is not None else None)


def shut_down(
    backlog: Backlog,
    stdlibs: Callable[..., None],
    wait_for_all: Callable[[], None],
    wait: bool,
    cancel_futures: bool,
    drain: bool,
    *,
    hold: bool = False,
    cancel_unstored: Callable[[], None] = nothing,
) -> None:
    """`stdlibs` is the standard library's shutdown() of the pool, `wait_for_all` waits for the jobs. `hold`: the pool
    must stay open while any job isn't begun. `cancel_unstored`: calls that jobs would be waited for behind."""
    backlog.closing = True
    if backlog.forked:
        return stdlibs(wait=False)
    if cancel_futures and not backlog.closed:
        cancel_all(backlog)
    drain = drain and not backlog.left
    if not drain or is_over():  # then no pool begins any more
        backlog.leave()
    if cancel_futures or not drain:
        cancel_unstored()
    _say_so(backlog)
    if wait:
        if not backlog.closed:
            wait_for_all()
            backlog.stopped = True  # the pool ends: whoever comes again, behind an interrupt here, finds nothing to do
        stdlibs(wait=True, cancel_futures=cancel_futures or not drain)
        _close(backlog)
    elif backlog.drained() or backlog.stopped:
        backlog.stopped = True
        stdlibs(wait=False, cancel_futures=cancel_futures or not drain)
        backlog.ended = partial(_close, backlog)
        if backlog.idle():  # looked at behind that: the last one may come to its end in between
            _close(backlog)
    else:
        _end_later(backlog, stdlibs, cancel_futures, hold)


def leave(backlog: Backlog) -> None:
    """For a signal handler, of which the rest of an end must keep away: its own thread may hold a lock of the pool's,
    or open the store. No more jobs are taken or begun; what isn't stored is cancelled by who shuts down."""
    backlog.closing = backlog.left = True
    if not backlog.forked:
        backlog.leave()
        _say_so(backlog)


def _say_so(backlog: Backlog) -> None:
    backlog.changed()
    if backlog._store is not None and not backlog.closed:
        backlog._store.wake(backlog.names.jobs)  # who waits for room is refused


def _end_later(backlog: Backlog, stdlibs: Callable[..., None], cancel_futures: bool, hold: bool) -> None:
    """There are jobs that must still be done. While the clock has some of them, or nobody is at it because the store
    has refused, the pool must stay open for them."""

    def end(*_: Any) -> None:
        if backlog.drained() or backlog.stopped:
            stdlibs(wait=False)
            _close(backlog)
            backlog.ended = nothing  # this refers to the executor, whose finalizer has the backlog

    with backlog.lock:  # whoever looks for jobs now, and is refused, ends before that or stays behind it
        backlog.pool_shut = not (hold or backlog.idle() or backlog.to_come or _may_come_again(backlog))
    if backlog.pool_shut:
        stdlibs(wait=False, cancel_futures=cancel_futures)
    backlog.ended = end
    if backlog.drained():  # as above
        end()


def _may_come_again(backlog: Backlog) -> bool:
    """Whether a job that somebody has begun may have to be begun once more: here, or in another process that dies. One
    that is being begun just now isn't found among the others."""
    if backlog.delayed or (backlog.shared and backlog.live) or (backlog.mixed and not backlog.idle()):
        return True
    return any(future._options.retries for future in [*backlog.live.values(), *backlog.running.values()])


def _close(backlog: Backlog) -> None:
    if backlog._store is not None and not backlog.closed:
        with suppress(StoreError):
            sweep(backlog)
    backlog.close()
