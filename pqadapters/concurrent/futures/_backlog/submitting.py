"""How a job comes in: its bytes are stored, in one commit with its key where it has one, and then it is to be run.

Any thread may submit. When `submit` returns the job is on disk, as far as the store's durability says; when it raises,
nothing was stored.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from queue import Full
from typing import TYPE_CHECKING, Any, NoReturn

from ....apart import insist
from ....clock import SYSTEM
from ....errors import LimitReached, PqadaptersError, StoreClosed
from ....rank import rank
from ....store import PLAIN as PLAIN_PUT
from ....store import Depth, Op, Put, Set
from .._jobs import wire
from .._jobs.options import PLAIN, Options
from .._jobs.words import WhenFull
from .cancelling import cancel, cancel_stored
from .future import JobFuture
from .returning import find_late, wait_until_due

if TYPE_CHECKING:
    from .backlog import Backlog

_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path


def submit(backlog: Backlog, call: wire.Call, options: Options = PLAIN, flags: int = 0) -> JobFuture:
    """Store a job; the future of what becomes of it. Raises NotSerializable, queue.Full, RuntimeError, StoreError;
    no job was stored then."""
    if backlog.closing or backlog.forked or backlog.broken is not None:
        backlog.check()
    try:
        return _submit(backlog, call, options, flags)
    except StoreClosed:
        backlog.check()  # it was shut down just now
        raise


def _submit(backlog: Backlog, call: wire.Call, options: Options, flags: int) -> JobFuture:
    store = backlog._store or backlog.open()
    id = backlog.token + next(backlog.numbers).to_bytes(8, "big")
    data = wire.dump(call, options.retry_on)
    if backlog.begins_with_submit:
        backlog.take_in()  # before it: it may wait for their room, or find none
    bounds = wire.bounds_of(call, data, shared=backlog.shared)
    if backlog.opened is not wire.load and type(data) is wire.ByValue:
        call = backlog.opened(data)[0]  # the standard library would not give it to a worker
    data = backlog.sealing.close(data)
    future = JobFuture(backlog, id, call, options)
    if options is PLAIN and not (backlog.ranked or backlog.settings.max_pending or backlog.settings.max_bytes):
        put = _new(Put, (backlog.names.jobs, wire.write(id, data, flags=flags, meta=bounds)) + PLAIN_PUT)  # noqa: RUF005  # faster
        _store_plain(backlog, future, put)
    elif options.key is not None:
        from .keys import submit_keyed

        return submit_keyed(backlog, store, future, _put_for(backlog, future, data, flags, bounds))
    else:
        _store_job(backlog, future, (_put_for(backlog, future, data, flags, bounds),))
    return future


def _put_for(backlog: Backlog, future: JobFuture, data: bytes, flags: int, bounds: dict[str, str]) -> Put:
    """What stores a job that has options, or stands beside others that have."""
    options = future._options
    backlog.mixed = backlog.mixed or options is not PLAIN
    if options.priority and not backlog.ranked:
        backlog.commit(Set(backlog.names.facts, b"ranked", b"1"))
        backlog.ranked = True
    backlog.ranks = backlog.ranks or bool(options.priority)
    flags |= wire.REPLY if backlog.shared else 0
    return Put(
        backlog.names.jobs,
        wire.write(future._id, data, flags=flags, meta={**options.meta(), **bounds}),
        rank(options.priority)[0] if backlog.ranked else b"",
        SYSTEM.wall() + options.delay if options.delay else 0.0,
        backlog.settings.max_pending,
        backlog.settings.max_bytes,
    )


def _store_plain(backlog: Backlog, future: JobFuture, put: Put) -> None:
    """As `_store_job`, for what has no options: most jobs."""
    id = future._id
    backlog.live[id] = future  # before it is stored: whoever claims it at once finds it
    try:
        if backlog.closing:  # looked at behind that: a shutdown waits for it, or it isn't stored
            backlog.check()
        future._record = backlog.commit(put)[0]
        if not future._record:
            find_late(backlog)
        if not backlog.added() and id in backlog.live:
            _take_back(backlog, future)
    except BaseException:
        undo(backlog, future)
        raise


def _store_job(backlog: Backlog, future: JobFuture, ops: tuple[Op, ...]) -> None:
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
            future._undone = True
            future.cancel_here()  # who has it in hand just now, or fails to begin it, drops it
            with suppress(PqadaptersError):
                insist(partial(cancel_stored, backlog, future._id, future._record))
    finally:
        backlog.forget(future._id)  # and tell an end that waits for it


def put_job(backlog: Backlog, future: JobFuture, ops: tuple[Op, ...]) -> None:
    """Carry out what stores the job, as soon as there is room. Then it is to be run."""
    options = future._options
    if options.delay or options.retries:
        future._owner = backlog.owner()  # it must be there when the job is due
    if backlog.closing:  # as in _store_plain
        backlog.check()
    while True:
        try:
            future._record = backlog.commit(*ops)[-1]
            break
        except LimitReached:
            _wait_for_room(backlog, ops[-1])
    if not future._record:
        find_late(backlog)
    if options.delay:
        wait_until_due(backlog, future._id, options.delay)
    elif not backlog.added() and future._id in backlog.live:
        _take_back(backlog, future)


def _take_back(backlog: Backlog, future: JobFuture) -> NoReturn:
    """Nobody will run it: the pool has come to its end just now, or has no thread and gets none."""
    cancel(backlog, future)
    backlog.check()
    raise RuntimeError(backlog.refusal)


def _wait_for_room(backlog: Backlog, put: Any) -> None:
    limit, most = backlog.settings.max_pending, backlog.settings.max_bytes
    if backlog.settings.when_full is WhenFull.RAISE:
        raise Full(f"{backlog.names.jobs} has {limit} jobs" if limit else f"{backlog.names.jobs} has {most} bytes")
    size = len(put.payload)

    def has_room(depth: Depth) -> bool:
        fits = most is None or depth.bytes + size <= most or not depth.unfinished
        ends = backlog.closing or backlog.broken is not None
        return ends or (fits and (limit is None or depth.ready < limit))

    backlog.store.wait(backlog.names.jobs, has_room)
    backlog.check()
