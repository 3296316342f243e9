"""Which job is begun next: claimed, counted on disk, and found fit to run. What isn't is put out of the way.

Any thread may ask.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .... import telling, wording
from ....clock import SYSTEM
from ....errors import LeaseLost, PqadaptersError
from ....interrupts import of_handler
from ....store import Ack, Delete, Order, Update
from .._jobs import wire
from .._jobs.errors import qualified
from .._jobs.options import PLAIN, Options
from .._jobs.words import Interrupted
from .._others import peers
from .cancelling import withdraw
from .finishing import drop, let_go_of_suspect, park
from .future import JobFuture
from .loading import LATER, SOON, Started, lives, loaded
from .refusals import try_later, undo_claim
from .returning import find_moved, put_back, wait_again

if TYPE_CHECKING:
    from ....store import Claim
    from .backlog import Backlog

_log = telling.logger("pqadapters.executor")
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path
_RANK, _OLDEST = Order.RANK, Order.OLDEST  # an enum's attribute takes a search
_OWN = 1000  #: jobs of ours that are asked for at a time, where only ours are run
_FEW = 16  #: the same where none has a priority: they are in their order


def next_job(backlog: Backlog) -> Started | None:
    """Claim the next job that can be run; None if there is none. Raises StoreError."""
    while not backlog.stopped:
        if backlog.unsaved or not (backlog.live or backlog.recovering):
            return None  # what was done comes first; and of what others have put there watch.py tells
        claim = future = None
        entry = object()
        try:
            free = backlog.suspects.enter(entry)
            ahead = free or not backlog.suspects.is_waited_for()  # what was claimed ahead waits as other new jobs do
            claim = (backlog.ahead.pop() if ahead else None) or _next_claim(backlog, free)
            if claim is None:
                backlog.suspects.leave(entry)
                return None
            future = backlog.live.get(claim.payload[2:18])  # where a job has its id; known before it is taken away
            if future is not None and backlog.live.pop(future._id, None) is None:
                future = None  # it was cancelled just now
            if future is None and peers.several():
                future = peers.take_over(backlog, claim.payload[2:18])
            if future is not None and claim.attempt == 1 and future._options is PLAIN and future._call is not None:
                started: Started | None = _new(Started, (future, claim, future._call, PLAIN, 0, 0))
            else:
                started = _looked_at_or_parked(backlog, claim, wire.id_of(claim.payload), future)
        except BaseException:
            try:
                if claim is not None:
                    _leave_as_it_was(backlog, claim, future)
            finally:  # a further signal may come, and a suspect would wait for this thread for ever
                backlog.suspects.leave(entry)
            raise
        try:
            begins = started is not None and _begins(backlog, started)
            backlog.suspects.leave(entry)  # behind that: one that runs can be seen
            if begins:
                return started
        except BaseException as error:
            try:
                if started is not None and not isinstance(error, Exception):  # of a signal handler
                    give_up(backlog, started)
            finally:
                backlog.suspects.leave(entry)
            raise
    return None


def _leave_as_it_was(backlog: Backlog, claim: Claim, future: JobFuture | None) -> None:
    """A job that was claimed, and what is to become of it isn't known, or can't be stored."""
    if future is not None:
        backlog.live[future._id] = future
    backlog.suspects.end(wire.id_of(claim.payload))
    undo_claim(backlog, claim, awaited=False)  # it is looked at again when the caller says


def _begins(backlog: Backlog, started: Started) -> bool:
    """The job is running from here on, unless it was cancelled just now."""
    future = started.future
    future.attempts = started.claim.attempt
    if not future.begin():
        _not_begun(backlog, started)
        return False
    backlog.running[future._id] = future
    return True


def _not_begun(backlog: Backlog, started: Started) -> None:
    """Its future was cancelled just now: with the job, whose tombstone is there then, by a submit() that raises, or by
    the end of an executor, which leaves the job to the next one."""
    claim, id = started.claim, started.future._id
    if _bury_cancelled(backlog, claim, id):
        backlog.forget_cancelled(id)
    elif started.future._undone:
        drop(backlog, started)
    else:
        with suppress(LeaseLost):
            put_back(backlog, claim, 0.0)
    let_go_of_suspect(backlog, id)


def _takes_anybodys(backlog: Backlog) -> bool:
    """Whether jobs that others have submitted are begun now. Who shuts down leaves them to others that live."""
    if backlog.modest_until and SYSTEM.monotonic() < backlog.modest_until:
        return False
    return not backlog.closing or backlog.sharing is None or backlog.sharing.is_alone()


def _next_claim(backlog: Backlog, free: bool) -> Claim | None:
    """The next of all jobs that are ready, or of ours. `free`: no suspect runs, at whose end all are looked for."""
    claims: list[Claim]
    anybodys = free and backlog.foreign and (backlog.sharing is None or _takes_anybodys(backlog))
    if anybodys:
        claims = _claim_anybodys(backlog)
        if beyond := claims[1:]:
            backlog.ahead.keep(backlog, beyond)
    else:
        claims = _claim_own(backlog, _OWN if backlog.ranks else _FEW)
        if not claims and len(backlog.live) > _FEW:
            claims = _claim_own(backlog, _OWN)
        if not claims and backlog.live and find_moved(backlog):
            claims = _claim_own(backlog, _OWN)
    if not claims:
        if free and not anybodys:
            backlog.recovering = False
        return None
    return claims[0]


def _claim_anybodys(backlog: Backlog) -> list[Claim]:
    ahead, order = backlog.ahead, _RANK if backlog.ranked else _OLDEST  # OLDEST is quicker, where none has a rank
    most = ahead.how_many(backlog) if ahead.allowed and len(backlog.live) > 1 else 1
    claims: list[Claim] = []
    before, more = backlog.begin_look(), True
    try:
        try:
            claims = backlog.claim(backlog.names.jobs, order=order, limit=most, counted=True)
            more = bool(claims)
        finally:
            backlog.end_look(before, more)
    except BaseException:  # a signal handler's, behind the claim
        for claim in claims:
            undo_claim(backlog, claim)
        raise
    return claims


def _claim_own(backlog: Backlog, most: int) -> list[Claim]:
    """One of the first jobs of ours; while a suspect is waited for, of those that jobs have submitted."""
    suspects = backlog.suspects
    while True:
        try:
            if suspects.is_waited_for():
                some = [backlog.live[id] for id in suspects.children() if id in backlog.live]
            else:
                some = list(islice(backlog.live.values(), most))
            break
        except (RuntimeError, KeyError):  # it has changed meanwhile
            continue
    own = [future._record for future in some if suspects.allow(future)]
    return backlog.claim(backlog.names.jobs, order=_RANK, ids=own, counted=True) if own else []


def _looked_at_or_parked(backlog: Backlog, claim: Claim, id: bytes, future: JobFuture | None) -> Started | None:
    """As `_looked_at`. A job for which that fails again, whatever of it that is, would hold up all others for good: it
    is a dead letter. A store that has failed refuses that as well."""
    try:
        return _looked_at(backlog, claim, id, future)
    except BaseException as error:
        if not _may_be_the_jobs(error):
            raise
    backlog.suspects.end(id)
    try:
        return _looked_at(backlog, claim, id, future)
    except BaseException as error:
        if not _may_be_the_jobs(error):
            raise
        _log.error("job %s can't be begun", id.hex(), exc_info=error)
        park(backlog, claim, f"it can't be begun: {qualified(type(error))}: {wording.text_of(error)}", future)
        let_go_of_suspect(backlog, id)
        return None


def _may_be_the_jobs(error: BaseException) -> bool:
    """Whether it is no word of the store, of the system or of a signal handler."""
    if isinstance(error, (PqadaptersError, OSError, MemoryError)) or of_handler(error, None) is not None:
        return False
    return isinstance(error, (Exception, SystemExit))


def _looked_at(backlog: Backlog, claim: Claim, id: bytes, future: JobFuture | None) -> Started | None:
    """The job behind a claim that isn't simply ours and new; None after it was put out of the way."""
    try:
        job = wire.read(claim.payload)
        called = future is not None and future._call is not None  # else it was asked for, and knows of no options
        options = future._options if future is not None and called else Options.of(job.meta)
    except (ValueError, TypeError) as error:
        park(backlog, claim, f"it can't be read: {error}")
        return None
    buries = backlog.tombs or (backlog.shared and bool(future is None or options.delay or job.failures))
    if buries and _bury_cancelled(backlog, claim, id):
        _cancel_here(backlog, id, future)
        return None
    if future is None:
        future = backlog.attached.get(id)
    reason = _interruption(backlog, claim, options, job)
    if reason is not None:
        if reason:
            park(backlog, claim, reason, future)
        else:
            _cancel_here(backlog, id, future)
        return None
    if future is None and job.flags & wire.MAPPED and not backlog.settings.recover_map and not lives(backlog, id):
        drop(backlog, Started(JobFuture(backlog, id, None), claim, (None, (), {})))
        _log.info("a job that map() had submitted ended with its process: recover_map=True would run it")
        return None
    if not _may_be_last(backlog, claim, options, job.failures, future):
        return None
    started = loaded(backlog, claim, job, options, future)
    if started is None:
        let_go_of_suspect(backlog, id)
        return None
    if backlog.attached.get(id) is started.future:  # one that was asked for just now stays, and hears of the end
        backlog.attached.pop(id, None)
    return started


def _cancel_here(backlog: Backlog, id: bytes, future: JobFuture | None) -> None:
    """A job is gone that never came to an outcome."""
    backlog.forget_cancelled(id)
    if future is not None:
        future.cancel_here()


def _bury_cancelled(backlog: Backlog, claim: Claim, id: bytes) -> bool:
    """Whether the job has a tombstone; both are gone then. One that isn't sure may be taken away in between."""
    store, table = backlog.store, backlog.names.cancelled
    while (word := store.get(table, id)) is not None:
        ops = [Ack(claim), Delete(table, id, word), *backlog.forget_key(claim.payload)]
        if backlog.commit_ends(ops, claim.payload, still=partial(_has_word, backlog, id, word)):
            return True
    return False


def _has_word(backlog: Backlog, id: bytes, word: bytes) -> bool:
    return backlog.store.get(backlog.names.cancelled, id) == word


def _interruption(backlog: Backlog, claim: Claim, options: Options, job: wire.Wire) -> str | None:
    """Why a job isn't run that was begun before and came to no end; "" where it was dropped, None where it is run.
    Attempts count as they are claimed: where another job ended the process right then, more are counted than were."""
    interruptions = claim.attempt - 1 - job.failures
    if interruptions <= 0:
        return None
    word = options.interrupted or backlog.settings.interrupted
    most = options.max_attempts or backlog.settings.max_attempts
    if word is Interrupted.DROP:
        backlog.commit_ends([Ack(claim), *backlog.forget_key(claim.payload)], claim.payload)
        return ""
    if word is Interrupted.FAIL:
        return "its process ended while it ran (interrupted='fail')"
    if interruptions >= most and (job.flags & wire.LAST or most == 1):
        return f"its process ended while it ran, {most} times (max_attempts={most})"
    return None


def _may_be_last(backlog: Backlog, claim: Claim, options: Options, failures: int, future: JobFuture | None) -> bool:
    """Of jobs on their last attempt one runs at a time, and alone if that can be: one that kills its process must not
    take others with it, by its loading either, nor be taken for it. That it is begun is on disk then."""
    most = options.max_attempts or backlog.settings.max_attempts
    if most == 1 or claim.attempt - failures < most:
        return True
    id, suspects = wire.id_of(claim.payload), backlog.suspects
    if suspects.begin(id):
        if not suspects.patience or _waits_until_alone(backlog):
            backlog.commit(Update(claim, wire.on_its_last_attempt(claim.payload)))
            return True
        suspects.end(id)
    if future is not None:
        wait_again(backlog, future)
    put_back(backlog, claim, 0.0 if backlog.stopped else min(max(SOON, suspects.age()), LATER))
    if backlog.stopped:
        backlog.leave()  # nobody begins it here any more
    return False


def _waits_until_alone(backlog: Backlog) -> bool:
    """Whether it is to be begun then."""
    suspects = backlog.suspects
    try:
        suspects.waiting = 1
        if backlog.running and backlog.live:
            backlog.added()  # a job may have submitted one just now, and counted on this thread
        return suspects.wait_until_alone(lambda: backlog.stopped)
    finally:
        suspects.waiting = 0


def give_up(backlog: Backlog, started: Started, *, at_once: bool = True) -> None:
    """A job that can't be begun after all, since the pool is broken or gone: it stays on disk, for the next one. Its
    future waits again, so whoever ends what waits ends it, too. `at_once`: it is tried again now, and not when the
    caller says."""
    future = started.future
    wait_again(backlog, future)
    go_back = partial(_go_back, backlog, started, at_once)
    try:
        go_back()
    except LeaseLost:
        if backlog.sharing is not None:
            backlog.sharing.doubt(future._id)
    except PqadaptersError:  # that counts as no attempt either
        try_later(backlog, future._id, go_back, partial(_withdraw_undone, backlog, future))
    let_go_of_suspect(backlog, future._id)
    _withdraw_undone(backlog, future)


def _go_back(backlog: Backlog, started: Started, at_once: bool) -> None:
    if started.future._undone:
        drop(backlog, started)
    else:
        started.future._record = put_back(backlog, started.claim, 0.0, awaited=at_once)


def _withdraw_undone(backlog: Backlog, future: JobFuture) -> None:
    """Its submit() raised meanwhile, and found it in our hands."""
    if future._undone:
        withdraw(backlog, future)
        backlog.forget(future._id)
