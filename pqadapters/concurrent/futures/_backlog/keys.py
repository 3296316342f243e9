"""Jobs that are found again: by their key, which stands for one run, and by their id.

    keys[key] = job id          set with the job, in one commit, on the condition that the key is free
    results[job id] = outcome   set with the acknowledgement, in one commit

So a key without a result is that of a job which is still to come to its end, wherever it is. Any thread may ask.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from ....clock import SYSTEM
from ....errors import ConditionFailed
from ....store import Delete, Expect, Op, Put, Set, Store
from .._jobs import wire
from .._jobs.errors import UnknownJob
from .._jobs.outcome import Kept, load
from .._others import peers
from .future import JobFuture
from .records import SURE, find_record, record_at
from .refusals import let_go
from .storing import put_job, undo

if TYPE_CHECKING:
    from ....store import Claim
    from .backlog import Backlog

_LOOK = 1024  #: results that one sweep looks at


def submit_keyed(backlog: Backlog, store: Store, future: JobFuture, put: Put) -> JobFuture:
    """Store the job if its key is free; else the future of the job that has it."""
    key, names, id = future._options.key, backlog.names, future._id
    assert key is not None
    while True:
        found = store.get(names.keys, key)
        if found is not None:
            there = attach(backlog, found, still=lambda: store.get(names.keys, key) == found)  # noqa: B023
            if there is not None:
                if backlog.closing:  # as where it is stored: see put_job
                    backlog.check()
                return there
        ops: list[Op] = [Set(names.keys, key, id, Expect.ABSENT if found is None else found)]
        if found is not None:
            ops.append(Delete(names.results, found))
        try:
            backlog.live[id] = backlog.known[id] = future
            put_job(backlog, future, (*ops, put))
            return future
        except ConditionFailed:  # somebody was quicker
            backlog.forget(id)
        except BaseException:
            undo(backlog, future)
            raise


def attach(backlog: Backlog, id: bytes, record: int = 0, *, still: Callable[[], bool]) -> JobFuture | None:
    """The future of a job that has come to its end, or will; None where what it came to isn't kept any longer.
    `still`: whether the job, without a kept result, is there at all."""
    with backlog.attaching:  # nobody else is given the future before it is known that it comes to an end
        return _attach(backlog, id, record, still)


def _attach(backlog: Backlog, id: bytes, record: int, still: Callable[[], bool]) -> JobFuture | None:
    known = backlog.unfinished(id) or backlog.known.get(id)
    if known is not None and not known.done():
        return known
    theirs = peers.find(backlog, id)
    if theirs is not None:
        return theirs
    mine = future = JobFuture(backlog, id, None, record=record)
    interrupted = backlog.interrupted.pop(id, None)
    if interrupted is not None:
        return _begun_again(backlog, future, interrupted)
    outcome = _kept(backlog, id)
    if outcome is None:
        try:
            first = backlog.attached.setdefault(id, future)  # then look: who brings its end has it, or we see that
            outcome, is_there = _watched(backlog, id, still)
        except BaseException:  # a store that was closed just now, say: nobody is to find what nobody tells the end of
            _take_back(backlog, mine)
            raise
        if not is_there and (first is not future or backlog.attached.pop(id, None) is future):
            return None  # it has come to its end meanwhile, and nobody will say to what
        future = first
        if outcome is None and backlog.closed:  # nobody will tell it any more; who closes looked before it was there
            future.cancel_here()
    if outcome is not None:
        try:
            found = load(outcome.outcome, backlog.sealing)
        except BaseException:
            _take_back(backlog, mine)
            raise
        backlog.attached.pop(id, None)
        there = backlog.known.get(id)
        if there is not None and there.done() and not there.cancelled():
            return there
        future.settle(found.result, found.error)
    backlog.known[id] = future
    return future


def _take_back(backlog: Backlog, future: JobFuture) -> None:
    """It was made here, and nobody else has it."""
    if backlog.attached.get(future._id) is future:
        backlog.attached.pop(future._id, None)


def _begun_again(backlog: Backlog, future: JobFuture, claim: Claim) -> JobFuture:
    """A job that Ctrl-C has broken off in its worker is begun once more, for who asks for it."""
    id = future._id
    future._record = claim.id
    backlog.live[id] = backlog.known[id] = future
    let_go(backlog, claim)
    backlog.added()
    return future


def _watched(backlog: Backlog, id: bytes, still: Callable[[], bool]) -> tuple[Kept | None, bool]:
    """From now on we are told of the job's end. What is kept of it, and whether either that or the job is there."""
    if backlog.sharing is not None:
        backlog.sharing.watch(id)
    outcome = _kept(backlog, id)
    if outcome is None and not _has_run_out(backlog, id) and still():
        return None, True
    outcome = outcome or _kept(backlog, id)
    if backlog.sharing is not None:
        backlog.sharing.watch_no_more(id)
    return outcome, outcome is not None


def _kept(backlog: Backlog, id: bytes) -> Kept | None:
    entry = backlog.store.get(backlog.names.results, id)
    if entry is None:
        return None
    kept = Kept.load(entry)
    return kept if kept.until > SYSTEM.wall() else None


def _has_run_out(backlog: Backlog, id: bytes) -> bool:
    entry = backlog.store.get(backlog.names.results, id)
    return entry is not None and Kept.load(entry).until <= SYSTEM.wall()


def find(backlog: Backlog, job_id: str | None, key: bytes | None) -> JobFuture:
    """The future of a job by its id, or by its key. Raises UnknownJob, ValueError for what is no id."""
    names, store = backlog.names, backlog.store
    if key is not None:
        id = store.get(names.keys, key)
        found = None
        if id is not None:
            found = attach(backlog, id, still=lambda: store.get(names.keys, key) == id)
        if found is None:
            raise UnknownJob(f"no job has the key {key.decode(errors='replace')}, or its result isn't kept any longer")
        return found
    id = wire.id_from(job_id or "")
    with backlog.attaching:  # another thread's, of which it isn't known yet whether it may stay
        known = backlog.live.get(id) or backlog.running.get(id) or backlog.attached.get(id)
    if known is not None:
        return known
    theirs = peers.find(backlog, id)
    if theirs is not None:
        return theirs
    if _kept(backlog, id) is None:
        record = find_record(backlog, names.jobs, id)
        if record is not None:
            still = partial(_is_there, backlog, id, record)
            return attach(backlog, id, record, still=still) or _gone(job_id)
        if _kept(backlog, id) is None:  # else it has come to its end meanwhile
            raise UnknownJob(f"there is no job {job_id}: it is done and its result isn't kept, or it never was there")
    return attach(backlog, id, still=lambda: False) or _gone(job_id)


def _is_there(backlog: Backlog, id: bytes, record: int) -> bool:
    """Whether a job without a result is still on disk: where it was, or put back as another record."""
    if backlog.store.get(backlog.names.cancelled, id) == SURE:
        return False
    found = record_at(backlog, record)
    if found is not None and wire.id_of(found.payload) == id:
        return True
    return find_record(backlog, backlog.names.jobs, id) is not None


def _gone(job_id: str | None) -> JobFuture:
    raise UnknownJob(f"the result of job {job_id} isn't kept any longer")


def forget(backlog: Backlog, id: bytes, key: bytes) -> None:
    """Take a result away, with its key if that is still its."""
    with suppress(ConditionFailed):
        backlog.commit(*_end_of(backlog, id, key))
        return
    backlog.commit(Delete(backlog.names.results, id))


def _end_of(backlog: Backlog, id: bytes, key: bytes) -> list[Op]:
    ops: list[Op] = [Delete(backlog.names.results, id)]
    if key and backlog.store.get(backlog.names.keys, key) == id:
        ops.append(Delete(backlog.names.keys, key, id))
    return ops


def sweep(backlog: Backlog) -> None:
    """Take away results that have run out, some at a time: the space of old ones comes back as new ones come."""
    now, last, seen = SYSTEM.wall(), None, 0
    over: list[tuple[bytes, bytes]] = []
    for id, entry in islice(backlog.store.scan(backlog.names.results, after=backlog.swept), _LOOK):
        kept, seen = Kept.load(entry), seen + 1
        if kept.until <= now:
            over.append((id, kept.key))
        else:
            last = id
    backlog.swept = last if seen == _LOOK else None  # at the end: from the beginning on, where the old ones are
    if not over:
        return
    try:
        backlog.commit(*(op for id, key in over for op in _end_of(backlog, id, key)))
    except ConditionFailed:  # one of the keys is another job's by now
        for id, key in over:
            forget(backlog, id, key)
