"""The outcome of a job: stored first, in one commit with the acknowledgement, and then told.

A claim that is lost (the job ran out of time, was taken over by another process) has no outcome any more: it is
refused by the store, and whoever holds the claim now brings one.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .... import telling, wording
from ....clock import SYSTEM
from ....errors import ConditionFailed, LeaseLost, PqadaptersError, StoreError, TooLarge
from ....store import Ack, Delete, Nack, Op, Set, Update
from .._jobs import outcome as _outcome
from .._jobs import wire
from .._jobs.errors import parked, told
from .._jobs.options import PLAIN, Options
from .._others import peers
from .refusals import try_later
from .returning import hear_of, wait_until_due

if TYPE_CHECKING:
    from ....store import Claim
    from .backlog import Backlog
    from .future import JobFuture
    from .loading import Started

_log = telling.logger("pqadapters.executor")
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path
_FOREVER = float("inf")
_SWEEP = 256  #: outcomes that are kept between two looks for such as have run out


def finish(backlog: Backlog, started: Started, result: Any, error: BaseException | None) -> None:
    """The job has come to this. Never raises but for what isn't an Exception."""
    try:
        _finish(backlog, started, result, error)
    except Exception as problem:
        if not is_held(backlog, started):
            raise
        _log.error("job %s is done, and what it came to is told as text", _name(started.future), exc_info=problem)
        _finish(backlog, started, None, told(error or problem))


def _finish(backlog: Backlog, started: Started, result: Any, error: BaseException | None) -> None:
    future, options = started.future, started.options
    if backlog.running.get(future._id) is not future or future.attempts != started.claim.attempt:
        return refuse(future)
    try:
        if error is not None and options.retries_on(error, started.failures + 1):
            return _try_again(backlog, started, error)
        problem = _store_what_goes(backlog, started, result, error)
        if problem is not None and backlog.settings.ttl(options):
            result, error = None, problem
    except LeaseLost:
        lost(backlog, future, started.claim)
        return refuse(future)
    except PqadaptersError as problem:
        _log.error("job %s is done, which can't be stored for now: %s", _name(future), problem)
        _store_later(backlog, started, result, error)
        if backlog.settings.ttl(options):
            result, error = None, problem
    _let_go(backlog, future)
    if error is not None:
        _tell(backlog, future, error)
    _settle(backlog, future, result, error)


def _store_later(backlog: Backlog, started: Started, result: Any, error: BaseException | None) -> None:
    """The outcome, which could not be stored. Its future doesn't wait for that."""
    future = started.future
    then = partial(_settle_other, backlog, future, result, error)
    try_later(backlog, future._id, partial(_store_what_goes, backlog, started, result, error), then)


def leave_to_next(backlog: Backlog, started: Started, error: BaseException) -> None:
    """Ctrl-C has broken it off in its worker. Its future fails, and the job stays claimed until this executor ends, or
    somebody asks for it: who has begun it wouldn't have it begin at once."""
    future = started.future
    if not is_held(backlog, started):
        return refuse(future)
    backlog.interrupted[future._id] = started.claim
    _let_go(backlog, future)
    _settle(backlog, future, None, error)


def is_held(backlog: Backlog, started: Started) -> bool:
    """Whether this run of the job is the one that counts here: it may be out of time, and the next one begun."""
    return _is_run(backlog, started.future, started.claim)


def _is_run(backlog: Backlog, future: JobFuture, claim: Claim) -> bool:
    return backlog.running.get(future._id) is future and future.attempts == claim.attempt


def refuse(future: JobFuture) -> None:
    """What a run came to that doesn't count any more."""
    _log.warning("job %s: an outcome that came too late is refused", _name(future))


def lost(backlog: Backlog, future: JobFuture, claim: Claim) -> None:
    """The claim of this run is."""
    if _is_run(backlog, future, claim):
        _let_go(backlog, future)
    _wait_for_others(backlog, future)


def _wait_for_others(backlog: Backlog, future: JobFuture) -> None:
    """Another process runs our job, and will say what it came to."""
    if backlog.sharing is not None and not future.done() and future._id not in backlog.live:
        there = backlog.attached.setdefault(future._id, future)
        if there is not future:
            future.follow(there)
        backlog.sharing.doubt(future._id)


def hear(backlog: Backlog, id: bytes, data: bytes) -> None:
    """Another process has brought a job to its end: also one that still runs here, and has lost its claim."""
    if id in backlog.live or id in backlog.attached or id in backlog.running:
        hear_outcome(backlog, id, _outcome.load(data, backlog.sealing, by_thread=True))


def hear_outcome(backlog: Backlog, id: bytes, found: _outcome.Outcome) -> None:
    """The same, of what it came to."""
    futures = (backlog.live.pop(id, None), backlog.attached.pop(id, None), backlog.running.get(id))
    backlog.not_due(id)
    try:
        for future in futures:
            if future is None:
                continue
            if isinstance(found.error, CancelledError):
                future.cancel_here()
            else:
                future.settle(found.result, found.error)
    finally:
        backlog.less()


def _store_what_goes(
    backlog: Backlog, started: Started, result: Any, error: BaseException | None
) -> TooLarge | None:
    """The outcome. One that is too large for the store would never be stored, and hold up all other jobs: in its place
    goes what says so, which is returned."""
    try:
        _store(backlog, started, result, error)
    except TooLarge as problem:
        _log.error("job %s is done, and what it came to is too large to be kept: %s", _name(started.future), problem)
        _store(backlog, started, None, problem)
        return problem
    return None


def _store(backlog: Backlog, started: Started, result: Any, error: BaseException | None) -> None:
    claim, options = started.claim, started.options
    ttl = backlog.settings.ttl(options) if options is not PLAIN or backlog.settings.result_ttl else 0.0
    if not ttl and backlog.sharing is None and options.key is None:
        backlog.commit(_new(Ack, (claim, True)))
        return
    outcome = _outcome.Outcome(result, error)
    _commit_outcome(backlog, started.future, Ack(claim, lazy=not ttl), outcome, ttl, options, started.flags)


def _commit_outcome(
    backlog: Backlog,
    future: JobFuture,
    end: Op,
    outcome: _outcome.Outcome,
    ttl: float,
    options: Options,
    flags: int,
) -> None:
    """The end of a job, what is kept of it, and what others wait for, in one commit."""
    id, sharing = future._id, backlog.sharing
    data = backlog.sealing.close(_outcome.dump(outcome))
    ops = [end]
    if ttl:
        kept = _outcome.Kept(SYSTEM.wall() + ttl, options.key or b"", data)
        ops.append(Set(backlog.names.results, id, kept.dump()))
    elif options.key is not None:
        ops.append(Delete(backlog.names.keys, options.key))
    watched = False
    while True:
        more = sharing.tell(id, data, flags, watched=watched) if sharing is not None else []
        try:
            backlog.commit(*ops, *more)
            break
        except ConditionFailed:  # somebody waits for it, or began to just now
            watched = True
    if ttl:
        backlog.kept += 1
        if backlog.kept % _SWEEP == 0:
            from .keys import sweep

            with suppress(StoreError):  # the outcome itself is stored
                sweep(backlog)


def _try_again(backlog: Backlog, started: Started, error: BaseException) -> None:
    future, claim, failures = started.future, started.claim, started.failures + 1
    pause = started.options.pause(failures)
    _log.info("job %s failed, and is tried again in %.1f s: %s", _name(future), pause, wording.named(error))
    with backlog.lock:  # before it is stored: whoever claims it at once finds its future, and runs it in that
        if not is_held(backlog, started):
            raise LeaseLost(f"job {_name(future)} has run out of time")
        future._failures = failures
        home = peers.wait_at_home(backlog, future)
    store = partial(_store_next_try, backlog, home, future, claim, failures, pause)
    try:
        store()
    except BaseException as problem:
        if isinstance(problem, LeaseLost) or not isinstance(problem, PqadaptersError):
            home.live.pop(future._id, None)
            raise
        _log.error("job %s is to be tried again, which can't be stored for now: %s", _name(future), problem)
        try_later(backlog, future._id, store, lambda: None)
    if home.stopped and home.live.pop(future._id, None) is not None:
        home.turn_away(future)


def _store_next_try(
    backlog: Backlog, home: Backlog, future: JobFuture, claim: Claim, failures: int, pause: float
) -> None:
    hear_of(backlog, future._id)
    try:
        backlog.commit(Update(claim, wire.with_failures(claim.payload, failures)), Nack(claim, SYSTEM.wall() + pause))
    except LeaseLost:
        if backlog.sharing is not None:
            backlog.sharing.doubt(future._id)
        raise
    let_go_of_suspect(backlog, future._id)
    wait_until_due(home, future._id, pause)


def park(backlog: Backlog, claim: Claim, reason: str, future: JobFuture | None = None) -> None:
    """Move a claimed job to the dead letters. One that has a key stays there under its key, and isn't begun again by
    whoever submits that key."""
    reason = wording.in_short(reason)
    error = parked(reason)
    id = wire.id_of(claim.payload)
    try:
        job = wire.read(claim.payload)
        options, flags = Options.of(job.meta), job.flags
    except (ValueError, TypeError):
        options, flags = PLAIN, 0
    _log.error("job %s is a dead letter now: %s", id.hex(), reason)
    from .future import JobFuture as Future

    found = future or backlog.attached.get(id) or Future(backlog, id, None)
    try:
        ttl = _FOREVER if options.key is not None else 0.0
        outcome = _outcome.Outcome(error=error)
        _commit_outcome(backlog, found, Nack(claim, dead=reason), outcome, ttl, options, flags)
    except LeaseLost:
        return lost(backlog, future, claim) if future is not None else None
    _let_go(backlog, found)
    _settle(backlog, found, None, error)


def drop(backlog: Backlog, started: Started) -> None:
    """A claimed job that isn't to be run, and never will be."""
    try:
        backlog.commit_ends([Ack(started.claim), *backlog.forget_key(started.claim.payload)], started.claim.payload)
    except LeaseLost:
        return
    backlog.forget_cancelled(started.future._id)  # somebody may have asked for it meanwhile, by its key


def _settle(backlog: Backlog, future: JobFuture, result: Any, error: BaseException | None) -> None:
    """Tell the future's waiters, and those of one that somebody has asked for while the job was on its way."""
    try:
        future.settle(result, error)
    finally:  # a callback may end its thread
        _settle_other(backlog, future, result, error)


def _settle_other(backlog: Backlog, future: JobFuture, result: Any, error: BaseException | None) -> None:
    if backlog.attached:
        other = backlog.attached.pop(future._id, None)
        if other is not None and other is not future:
            other.settle(result, error)
    if peers.several():
        peers.settle(backlog, future._id, result, error)


def _let_go(backlog: Backlog, future: JobFuture) -> None:
    with backlog.lock:  # whoever makes it wait again does so in one step
        waits = backlog.running.pop(future._id, None) is None and backlog.live.pop(future._id, None) is not None
    if waits:
        backlog.less()  # its worker was killed just now, and it was to be begun again
    if backlog.suspects.all_running:
        let_go_of_suspect(backlog, future._id)


def let_go_of_suspect(backlog: Backlog, id: bytes) -> None:
    """A job runs no more, or not yet; should others have waited for that, they are looked for."""
    if backlog.suspects.end(id):
        backlog.recovering = True
        backlog.added()


def let_begin(backlog: Backlog, *futures: JobFuture) -> None:
    """The caller was given these, of jobs that were there before, or waits for one of them. Where it is itself a job,
    one on its last attempt no longer keeps them from beginning: it may be the caller, or wait for that."""
    if backlog.suspects.all_running and not all(future.done() or _may_begin(backlog, future) for future in futures):
        backlog.suspects.give_way()


def _may_begin(backlog: Backlog, future: JobFuture) -> bool:
    """Whether it runs already, or may beside one on its last attempt. One that was waited for in vain may itself wait
    for a job that may not begin: it asked before there was anybody to give way."""
    id, suspects = future._id, backlog.suspects
    if id in backlog.running:
        return id not in suspects.in_vain
    return id in backlog.live and suspects.allow_soon(future)


def _tell(backlog: Backlog, future: JobFuture, error: BaseException) -> None:
    """A recovered job has nobody who looks at its exception."""
    if not (future._id.startswith(backlog.token) or peers.has(backlog, future._id)):
        _log.error("a recovered job, %s, failed", _name(future), exc_info=error)


def _name(future: JobFuture) -> str:
    return future.job_id
