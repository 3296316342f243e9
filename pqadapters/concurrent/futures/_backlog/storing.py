"""A job's record gets into the store, and out again where submit() raises nevertheless."""

from __future__ import annotations

from queue import Full
from typing import TYPE_CHECKING, Any

from ....ending import is_over
from ....errors import LimitReached
from ....store import Depth, Op, Put
from .._jobs.words import WhenFull
from .cancelling import cancel, withdraw
from .clock import stands
from .future import JobFuture
from .returning import find_late, wait_until_due

if TYPE_CHECKING:
    from .backlog import Backlog


def store_plain(backlog: Backlog, future: JobFuture, put: Put) -> None:
    """As `store_job`, for what has no options, in a store that isn't shared: most jobs."""
    id = future._id
    backlog.live[id] = future  # before it is stored: whoever claims it at once finds it
    try:
        if backlog.closing:  # looked at behind that: a shutdown waits for it, or it isn't stored
            backlog.check()
        future._record = backlog.commit(put)[0]
        if not future._record:
            find_late(backlog, id)
        if not backlog.added() and id in backlog.live:
            _take_back(backlog, future)
    except BaseException:
        undo(backlog, future)
        raise


def store_job(backlog: Backlog, future: JobFuture, ops: tuple[Op, ...]) -> None:
    backlog.live[future._id] = future
    try:
        put_job(backlog, future, ops)
    except BaseException:
        undo(backlog, future)
        raise


def undo(backlog: Backlog, future: JobFuture) -> None:
    """submit() raises: whoever did that may be a signal handler, and the job stored already."""
    try:
        if future._record:
            withdraw(backlog, future)
    finally:
        backlog.forget(future._id)  # and tell an end that waits for it


def put_job(backlog: Backlog, future: JobFuture, ops: tuple[Op, ...]) -> None:
    """Carry out what stores the job, as soon as there is room. Then it is to be run."""
    options = future._options
    if options.delay or options.retries or backlog.shared:
        # It must be there when the job is due, or comes again since another process has begun it, and died.
        future._owner = backlog.owner()
    if backlog.closing:  # as in store_plain
        backlog.check()
    while True:
        try:
            future._record = backlog.commit(*ops)[-1]
            break
        except LimitReached as reached:
            _wait_for_room(backlog, ops[-1], reached)
    if not future._record:
        find_late(backlog, future._id)
    if options.delay:
        wait_until_due(backlog, future._id, options.delay)
        if stands() and not is_over():  # at the program's end it is for the next one
            backlog.refusal = "can't start new thread"
            _take_back(backlog, future)
    elif not backlog.added() and future._id in backlog.live:
        _take_back(backlog, future)


def _take_back(backlog: Backlog, future: JobFuture) -> None:
    """Nobody will run it here: the pool has come to its end just now, or has no thread and gets none. RuntimeError, but
    where another process has begun it already, and will say what it came to."""
    if not cancel(backlog, future) and backlog.shared and not backlog.stopped:
        return
    backlog.check()
    raise RuntimeError(backlog.refusal)


def _wait_for_room(backlog: Backlog, put: Any, reached: LimitReached) -> None:
    if backlog.settings.when_full is WhenFull.RAISE:
        raise Full(str(reached)) from None
    limit, most, size = backlog.settings.max_pending, backlog.settings.max_bytes, len(put.payload)

    def has_room(depth: Depth) -> bool:
        fits = most is None or depth.bytes + size <= most or not depth.unfinished
        ends = backlog.closing or backlog.broken is not None
        return ends or (fits and (limit is None or depth.ready < limit))

    backlog.store.wait(backlog.names.jobs, has_room)
    backlog.check()
