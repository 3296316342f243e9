"""An executor's jobs as they stand in its store: to look at, to put back, to take away. Any thread may ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ....astray import give_back
from ....choosing import choice
from ....clock import SYSTEM
from ....errors import LeaseLost
from ....portions import parts_of
from ....store import Ack, Delete, Op, Put, Record, State
from .._jobs import wire
from .._jobs.options import Options
from .._jobs.outcome import Kept
from .._jobs.words import JobState
from .cancelling import bury
from .keys import forget
from .records import buried, find_record, record_at, there

if TYPE_CHECKING:
    from .backlog import Backlog

_STATES = {State.READY: JobState.PENDING, State.DELAYED: JobState.DELAYED, State.CLAIMED: JobState.RUNNING}


class JobInfo(NamedTuple):
    """A job as it stands in the store."""

    job_id: str
    state: str  #: "pending", "delayed", "running" or "dead"
    function: str  #: what it calls, as far as that is known without loading it
    key: str  #: as it was written, in quotes if it is text; "" for none
    attempts: int  #: how often it was started
    put_at: float  #: seconds since the epoch
    not_before: float  #: seconds since the epoch; 0.0 for at once
    reason: str  #: why it is dead


def stats(backlog: Backlog) -> dict[str, Any]:
    """Counts, where it lives, and `oldest_age` in seconds."""
    depth, ahead = backlog.store.depth(backlog.names.jobs), len(backlog.ahead)
    delayed, due = _cancelled(backlog)
    return {
        "name": backlog.names.jobs,
        "place": backlog.store.place,
        "pending": max(0, depth.ready - due) + ahead,
        "delayed": max(0, depth.delayed - delayed),
        "running": max(0, depth.claimed - ahead),
        "dead": depth.dead,
        "bytes": depth.bytes,
        "oldest_age": depth.oldest_age,
        "results": backlog.store.count(backlog.names.results),
        "keys": backlog.store.count(backlog.names.keys),
        "submitted_here": len(backlog.live),
        "running_here": len(backlog.running),
    }


def _cancelled(backlog: Backlog) -> tuple[int, int]:
    """How many delayed jobs were cancelled: those that are still delayed, and those that nobody has dropped yet."""
    gone = buried(backlog)
    if not gone:
        return 0, 0
    there = backlog.store.browse(backlog.names.jobs, state=State.DELAYED)
    delayed = sum(wire.id_of(record.payload) in gone for record in there)
    return delayed, len(gone) - delayed


def jobs(backlog: Backlog, state: str | JobState | None) -> Iterator[JobInfo]:
    """Those in that state, or all, in the order in which they were submitted. Raises ValueError, at once."""
    return _jobs(backlog, None if state is None else choice(JobState, state, "state"))


def _jobs(backlog: Backlog, wanted: JobState | None) -> Iterator[JobInfo]:
    if wanted is not JobState.DEAD:
        ahead = backlog.ahead.ids()
        for record in there(backlog):
            found = _STATES[record.state]
            if record.id in ahead:
                found, record = JobState.PENDING, record._replace(attempts=record.attempts - 1)
            if wanted in (None, found):
                yield _info(backlog, record, found)
    if wanted in (None, JobState.DEAD):
        for record in backlog.store.browse(backlog.names.dead, state=None):
            begun = max(0, record.attempts - 1)  # whoever has parked it had claimed it, and didn't begin it
            yield _info(backlog, record._replace(attempts=begun), JobState.DEAD)


def _info(backlog: Backlog, record: Record, state: JobState) -> JobInfo:
    try:
        job = wire.read(record.payload)
        key = Options.of(job.meta).key or b""
        id, function = job.id.hex(), wire.name_of(backlog.sealing.peeled(job.call))
    except (ValueError, TypeError):
        id, key, function = "", b"", "?"
    return JobInfo(
        id,
        state.value,
        function,
        key.decode("utf-8", "replace"),
        record.attempts,
        record.put_at,
        record.not_before,
        record.note,
    )


def requeue(backlog: Backlog, job_id: str | None) -> int:
    """Put a parked job, or all of them, back at the end of the backlog, with no attempt counted. Returns how many."""
    if job_id is None:
        return requeue_records(backlog, None)
    record = find_record(backlog, backlog.names.dead, wire.id_from(job_id))
    return 0 if record is None else requeue_records(backlog, [[record]])


def requeue_records(backlog: Backlog, parts: Iterable[list[int]] | None) -> int:
    """The same with these dead letters, a part at a time, or all that there are now: of what is parked again meanwhile
    it would find no end."""
    count = 0
    backlog.open()  # what claims there is known from then on
    if parts is None:
        parts = parts_of({record.id: len(record.payload) for record in backlog.store.browse(backlog.names.dead)})
    try:
        for part in parts:
            count += _put_back(backlog, part)
    finally:
        if count:
            backlog.recovering = True
            backlog.added()
    return count


def _put_back(backlog: Backlog, ids: list[int]) -> int:
    """All of them that are still there, in one commit. Returns how many."""
    claims = backlog.claim(backlog.names.dead, ids=ids, limit=len(ids))
    ops: list[Op] = []
    for claim in claims:
        payload = wire.with_failures(claim.payload, 0) if wire.id_of(claim.payload) else claim.payload
        ops += [Ack(claim), Put(backlog.names.jobs, payload, claim.rank)]
        ops.append(Delete(backlog.names.results, wire.id_of(claim.payload)))
    try:
        backlog.commit(*ops)
    except BaseException:
        give_back(backlog.store, claims)
        raise
    return len(claims)


def purge(
    backlog: Backlog, state: str | JobState | None, job_id: str | None, key: bytes | None, older_than: float
) -> int:
    """Take away for good: see `purge` of the executors. Returns how many."""
    if key is not None:
        return _purge_key(backlog, key)
    if job_id is not None:
        return _purge_id(backlog, wire.id_from(job_id))
    if state == "results":
        if older_than:
            raise ValueError("older_than= is about when jobs were submitted, which isn't known of their results")
        return _purge_results(backlog)
    try:
        wanted = JobState(state)
    except ValueError:
        raise ValueError(f"purge takes 'pending', 'delayed', 'dead' or 'results', not {state!r}") from None
    if wanted is JobState.RUNNING:
        raise ValueError("what runs can't be purged")
    queue = backlog.names.dead if wanted is JobState.DEAD else backlog.names.jobs
    before = SYSTEM.wall() - older_than
    backlog.ahead.give_back(backlog)  # they are pending
    if wanted is JobState.DEAD:
        found = backlog.store.browse(queue)
    else:
        found = there(backlog, State.DELAYED if wanted is JobState.DELAYED else State.READY)
    parts = parts_of({record.id: len(record.payload) for record in found if record.put_at <= before})
    return sum(purge_records(backlog, queue, part) for part in parts)


def purge_records(backlog: Backlog, queue: str, records: list[int]) -> int:
    """Away with these of the jobs, or of the dead letters. Returns how many."""
    count = 0
    backlog.open()
    claims = backlog.claim(queue, ids=records, limit=len(records))
    for at, claim in enumerate(claims):
        id = wire.id_of(claim.payload)
        try:
            ops: list[Op] = [Ack(claim), Delete(backlog.names.results, id)]
            backlog.commit_ends([*ops, *(backlog.forget_key(claim.payload) if id else [])], claim.payload)
        except LeaseLost:
            continue
        except BaseException:
            give_back(backlog.store, claims[at:])
            raise
        count += 1
        backlog.forget_cancelled(id)
    if queue == backlog.names.jobs:
        taken = {claim.id for claim in claims}
        for each in records:  # by itself: all that are delayed may be far more
            record = None if each in taken else record_at(backlog, each)
            if record is not None and record.state is State.DELAYED and bury(backlog, record):
                backlog.forget_cancelled(wire.id_of(record.payload))
                count += 1
    return count


def _purge_id(backlog: Backlog, id: bytes) -> int:
    entry = backlog.store.get(backlog.names.results, id)
    if entry is not None:
        forget(backlog, id, Kept.load(entry).key)
    backlog.ahead.give_back(backlog)
    for queue in (backlog.names.dead, backlog.names.jobs, backlog.names.dead):  # it may be parked just now
        record = find_record(backlog, queue, id)
        if record is not None:
            return max(purge_records(backlog, queue, [record]), int(entry is not None))
    return int(entry is not None)


def _purge_key(backlog: Backlog, key: bytes) -> int:
    id = backlog.store.get(backlog.names.keys, key)
    return 0 if id is None else _purge_id(backlog, id)


def _purge_results(backlog: Backlog) -> int:
    """All but those of parked jobs, which go with them."""
    results = backlog.store.scan(backlog.names.results)
    found = [(id, kept.key) for id, kept in ((id, Kept.load(entry)) for id, entry in results) if kept.until < inf]
    for id, key in found:
        forget(backlog, id, key)
    return len(found)
