"""How a job comes in: its bytes are stored, in one commit with its key where it has one, and then it is to be run.

Any thread may submit. When `submit` returns the job is on disk, as far as the store's durability says; when it raises,
nothing was stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....clock import SYSTEM
from ....errors import StoreClosed
from ....rank import rank
from ....store import PLAIN as PLAIN_PUT
from ....store import Put, Set
from .._jobs import wire
from .._jobs.options import PLAIN, Options
from .._others import peers
from .backlog import ending
from .finishing import let_begin
from .future import JobFuture
from .keys import submit_keyed
from .storing import store_job, store_plain

if TYPE_CHECKING:
    from .backlog import Backlog

_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path


def submit(backlog: Backlog, call: wire.Call, options: Options, flags: int = 0) -> JobFuture:
    """Store a job; the future of what becomes of it. Raises NotSerializable, queue.Full, RuntimeError, StoreError;
    no job was stored then."""
    ends = ending and not options.delay  # that is for the next run
    if backlog.closing or backlog.forked or backlog.broken is not None or ends:
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
    if backlog.suspects.all_running:
        backlog.suspects.submitted(id)
    if options is PLAIN and not (backlog.ranked or backlog.settings.max_pending or backlog.settings.max_bytes):
        put = _new(Put, (backlog.names.jobs, wire.write(id, data, flags=flags, meta=bounds)) + PLAIN_PUT)  # noqa: RUF005  # faster
        store_plain(backlog, future, put)
    elif options.key is not None:
        there = submit_keyed(backlog, store, future, _put_for(backlog, future, data, flags, bounds))
        if there is not future:
            let_begin(backlog, there)
        return there
    else:
        store_job(backlog, future, (_put_for(backlog, future, data, flags, bounds),))
    return future


def _put_for(backlog: Backlog, future: JobFuture, data: bytes, flags: int, bounds: dict[str, str]) -> Put:
    """What stores a job that has options, or stands beside others that have."""
    options = future._options
    backlog.mixed = backlog.mixed or options is not PLAIN
    if options.priority and not backlog.ranked:
        backlog.commit(Set(backlog.names.facts, b"ranked", b"1"))
        backlog.ranked = True
        peers.rank(backlog)
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
