"""Cancelling: a job that nobody runs goes off the disk, and stays cancelled after a restart.

A ready job is claimed and acknowledged. A delayed one can't be claimed: it gets a tombstone, and who finds it when it
is due drops both. Where it was claimed just before, by who may not have looked for one, the tombstone is taken away
again; so its key is freed, and who waits for it is told, only when it is known to stay. Any thread may call anything.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ....apart import insist
from ....errors import ConditionFailed, PqadaptersError, StoreClosed, StoreError
from ....store import Ack, Delete, Expect, Nack, Op, Set, State
from .._jobs import wire
from .._others import peers
from .records import SURE, find_record, record_at
from .refusals import let_go

if TYPE_CHECKING:
    from ....store import Claim, Record
    from .backlog import Backlog
    from .future import JobFuture

_MANY = 500  #: of one commit
_UNSURE = b"?"  #: in a tombstone: it may be taken away again, and to who waits for the job that is still to come
_LOOKS = 3  #: for a job that comes due as it is cancelled


def cancel(backlog: Backlog, future: JobFuture) -> bool:
    """Take a job of ours that nobody runs off the disk; False if somebody does."""
    if backlog.closed or backlog.forked:
        return False  # the job stays on disk
    record: int | None = future._record
    if future._id not in backlog.live:
        if future._id not in backlog.attached:  # it was begun
            return False
        if not record:  # somebody else's, found by its key
            record = find_record(backlog, backlog.names.jobs, future._id)
    try:
        found = record is not None and cancel_stored(backlog, future._id, record, future)
    except StoreClosed:
        if not backlog.closed:
            raise
        return False  # it came to its end just now
    if found and not future._begun:  # else it was begun just now, and whoever finds it cancelled tells it
        _forget(backlog, future)
    return found


def is_gone(backlog: Backlog, future: JobFuture) -> bool:
    """Whether the job that cancel() was about is off the disk; then it is forgotten."""
    begun = future.running() and future._id not in backlog.live
    if begun or backlog.closed or future._id in backlog.running or not future._record:
        return False
    with suppress(StoreError):
        there = record_at(backlog, future._record)
        if there is None or wire.id_of(there.payload) != future._id or _is_buried(backlog, future._id):
            _forget(backlog, future)
            return True
    return False


def withdraw(backlog: Backlog, future: JobFuture) -> None:
    """A job whose submit() raises, and which may be stored."""
    future._undone = True
    future.cancel_here()  # who has it in hand just now, or fails to begin it, drops it
    with suppress(PqadaptersError):
        insist(partial(cancel_stored, backlog, future._id, future._record))


def _forget(backlog: Backlog, future: JobFuture) -> None:
    """A job that is gone, whose future the caller cancels; others of it are cancelled here."""
    for each in backlog.forget(future._id):
        if each is not future:
            each.cancel_here()


def _is_buried(backlog: Backlog, id: bytes) -> bool:
    return backlog.tombs and backlog.store.get(backlog.names.cancelled, id) is not None


def cancel_stored(backlog: Backlog, id: bytes, record: int, future: JobFuture | None = None) -> bool:
    """The same for a job by its record. Where a future is given that was begun meanwhile, the job may wait for its next
    try, and is left alone: the future is running to whoever looks."""
    for _ in range(_LOOKS):
        ahead = backlog.ahead.pull(record)
        claims = [ahead] if ahead is not None else backlog.claim(backlog.names.jobs, ids=[record])
        if claims:
            try:
                return _cancel_claimed(backlog, claims[0], future)
            except BaseException:
                try:
                    insist(partial(let_go, backlog, claims[0]))
                finally:
                    backlog.added()  # who has looked meanwhile has found none
                raise
        waiting = record_at(backlog, record)
        if waiting is None or waiting.state is State.CLAIMED or wire.id_of(waiting.payload) != id:
            return False
        if waiting.state is State.DELAYED:
            return not (future is not None and future._begun) and bury(backlog, waiting, future)
    return False  # it came due between the two, again and again


def _cancel_claimed(backlog: Backlog, claim: Claim, future: JobFuture | None) -> bool:
    if future is not None and future._begun:
        backlog.commit(Nack(claim))
        backlog.added()
        return False
    backlog.commit_ends([Ack(claim), *backlog.forget_key(claim.payload)], claim.payload)
    return True


def bury(backlog: Backlog, delayed: Record, future: JobFuture | None = None) -> bool:
    """A tombstone for a delayed job; False where it came due just now, and was claimed by who may not have seen it. The
    future as of `cancel_stored`."""
    id = wire.id_of(delayed.payload)
    backlog.tombs = True  # before it is there: who begins the job looks for it
    peers.bury(backlog)
    if backlog.store.get(backlog.names.cancelled, id) == SURE:
        return True
    try:
        backlog.commit(Set(backlog.names.cancelled, id, _UNSURE, Expect.ABSENT))
    except ConditionFailed:  # somebody else cancels it just now, or was killed as he did
        return _is_in_time(backlog, delayed, future) and _make_sure(backlog, delayed, id)
    if not _stays_buried(backlog, delayed, id, future):
        return False
    with suppress(StoreError):  # else its key is free, and others are told, when it is due
        _make_sure(backlog, delayed, id)
    return True


def _make_sure(backlog: Backlog, delayed: Record, id: bytes) -> bool:
    """The tombstone stays: whether it is there to."""
    ends = [Set(backlog.names.cancelled, id, SURE, _UNSURE), *backlog.forget_key(delayed.payload)]
    if backlog.commit_ends(ends, delayed.payload, still=partial(_is_unsure, backlog, id)):
        return True
    return backlog.store.get(backlog.names.cancelled, id) == SURE  # somebody else has made it so


def _is_in_time(backlog: Backlog, delayed: Record, future: JobFuture | None) -> bool:
    """Of a tombstone that is there: whether nobody has claimed the job before, who may have failed by now."""
    there = record_at(backlog, delayed.id)
    if there is None or there.state is State.CLAIMED:
        return False
    return future is None or not future._begun


def _stays_buried(backlog: Backlog, delayed: Record, id: bytes, future: JobFuture | None) -> bool:
    """Whether our tombstone came in time; else it is away again, before anybody is told."""
    if _is_in_time(backlog, delayed, future):
        return True
    try:
        backlog.commit(Delete(backlog.names.cancelled, id, _UNSURE))
    except ConditionFailed:  # it was found
        return True
    return False


def _is_unsure(backlog: Backlog, id: bytes) -> bool:
    """Whether nobody has come upon the tombstone meanwhile, who has told everybody."""
    return backlog.store.get(backlog.names.cancelled, id) == _UNSURE


def cancel_all(backlog: Backlog) -> None:
    """Cancel all that was submitted here and wasn't begun, some hundred in a commit."""
    live = backlog.live.copy()  # a job of somebody else, which has failed here, is among them until its next try
    futures = [future for id, future in live.items() if id.startswith(backlog.token)]
    for first in range(0, len(futures), _MANY):
        records = {future._record: future for future in futures[first : first + _MANY]}
        claims: list[Claim] = []
        ops: list[Op] = []
        try:
            claims = backlog.claim(backlog.names.jobs, ids=list(records), limit=len(records))
            for claim in claims:
                ops += [Ack(claim), *backlog.forget_key(claim.payload)]
            backlog.commit_ends(ops, *(claim.payload for claim in claims))
            _told(backlog, [records[claim.id] for claim in claims])
        except BaseException:  # of a store that refuses, or of a signal handler
            insist(partial(_make_up_for, backlog, [(claim, records[claim.id]) for claim in claims]))
            raise
        taken = {claim.id for claim in claims}
        for record, future in records.items():
            if record in taken:
                continue
            if future.running() and future._id in backlog.live:  # it waits for its next try, or has just begun it
                if cancel_stored(backlog, future._id, record):
                    future.cancel_here()
                    backlog.forget_cancelled(future._id)
            else:
                future.cancel()  # delayed; or somebody has begun it just now


def _make_up_for(backlog: Backlog, claimed: list[tuple[Claim, JobFuture]]) -> None:
    """Their end was broken off: those that it hadn't come to are ready again."""
    for claim, _ in claimed:
        let_go(backlog, claim)
    _told(backlog, [future for _, future in claimed if is_gone(backlog, future)])
    backlog.added()


def _told(backlog: Backlog, futures: list[JobFuture]) -> None:
    for future in futures:
        backlog.forget_cancelled(future._id)
        future.cancel_here()
