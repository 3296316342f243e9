"""A claimed job with its call: the live one, or from its bytes. What can't be loaded is put out of the way: for later,
where its function may still come, else to the dead letters. Any thread may ask.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from .... import telling, wording
from ....clock import SYSTEM
from ....errors import LeaseLost, PqadaptersError
from ....interrupts import repeats, works
from .._jobs import wire
from .._jobs.options import PLAIN, Options
from .finishing import is_held, lost, park, refuse
from .future import JobFuture
from .refusals import try_later
from .returning import put_back, wait_again

if TYPE_CHECKING:
    from ....store import Claim
    from .._workers.unopened import NotLoaded
    from .backlog import Backlog

_log = telling.logger("pqadapters.executor")
_HOUR = 3600.0
_PATIENCE = 10.0  #: seconds from the executor's making on in which the program may still be defining its functions
SOON, LATER = 0.25, 5.0  #: seconds until a job that can't be run yet is looked at again


class Started(NamedTuple):
    """A job that is to be run now, by whoever has this."""

    future: JobFuture
    claim: Claim
    call: wire.Call
    options: Options = PLAIN
    failures: int = 0
    flags: int = 0


class OtherProgram(LookupError):
    """Another script has the function, or another Python runs it."""


class OtherScript(OtherProgram):
    """The first of these, in a store that processes share."""


def loaded(
    backlog: Backlog, claim: Claim, job: wire.Wire, options: Options, future: JobFuture | None
) -> Started | None:
    """The job with its call: the live one, else from its bytes. None after it was put out of the way."""
    if future is not None and future._call is not None:
        return Started(future, claim, future._call, future._options, job.failures, job.flags)
    try:
        call, retry_on = _opened(backlog, job)
    except MemoryError:
        raise
    except BaseException as error:
        if not (_is_missing(error) or _fails_again(backlog, job, error)):
            raise  # a signal handler's exception, and no fault of the job: the claim goes back
        elsewhere = backlog.shared and (isinstance(error, OtherProgram) or lives(backlog, job.id))
        not_ours = isinstance(error, OtherScript)
        _leave_aside(backlog, claim, future, wording.named(error), _is_missing(error), elsewhere, not_ours)
        return None
    if future is None:
        future = JobFuture(backlog, job.id, None, options, claim.id)
        _remember(backlog, future)
    elif backlog.attached.get(job.id) is future and not job.id.startswith(backlog.token):
        _tell(backlog, future)
    if options.retries or options.timeout:
        future._call, future._options = call, options._replace(retry_on=retry_on)
        future._owner = backlog.owner()
    return Started(future, claim, call, options._replace(retry_on=retry_on), job.failures, job.flags)


def _opened(backlog: Backlog, job: wire.Wire) -> tuple[wire.Call, tuple[type[BaseException], ...] | None]:
    """Its call, and what to retry on. Raises OtherProgram, and whatever loading does."""
    _check_bounds(job)
    return backlog.opened(backlog.sealing.open(job.call))


def _check_bounds(job: wire.Wire) -> None:
    main, python = job.meta.get("main"), job.meta.get("python", wire.PYTHON)
    if python != wire.PYTHON:
        raise OtherProgram(f"its code was stored by value (cloudpickle) by {python}, and this is {wire.PYTHON}")
    if main and main != wire.this_main():
        raise OtherScript(f"its function is one of {main}, run as a script, and this is {wire.this_main() or 'none'}")


def _fails_again(backlog: Backlog, job: wire.Wire, error: BaseException) -> bool:
    opened = partial(_opened, backlog)
    if isinstance(error, (Exception, SystemExit)):
        return not works(opened, job)
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        return False  # who presses Ctrl-C may do so twice
    return repeats(opened, job, error)


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, wire.MISSING)


def not_loaded(backlog: Backlog, started: Started, error: NotLoaded) -> None:
    """A worker couldn't load a job's call. Who refuses that this is stored is asked again."""
    if not is_held(backlog, started):  # it is out of time
        return refuse(started.future)
    try:
        _put_aside(backlog, started, error)
    except LeaseLost:
        lost(backlog, started.future, started.claim)
    except PqadaptersError as problem:
        _log.error("job %s can't be loaded, which can't be stored for now: %s", started.future.job_id, problem)
        # Should the store never work again, it fails with those that wait.
        wait_again(backlog, started.future, started.claim.attempt)
        try_later(backlog, started.future._id, partial(_put_aside, backlog, started, error), lambda: None)


def _put_aside(backlog: Backlog, started: Started, error: NotLoaded) -> None:
    why, missing = error.args
    elsewhere = backlog.shared and lives(backlog, started.future._id)
    _leave_aside(backlog, started.claim, started.future, why, missing, elsewhere)


def _leave_aside(
    backlog: Backlog,
    claim: Claim,
    future: JobFuture | None,
    why: str,
    missing: bool,
    elsewhere: bool,
    not_ours: bool = False,
) -> None:
    """A job whose call can't be loaded: for later where a function may still come, or is there in the script that the
    job is of, whenever that runs again; else for the dead letters."""
    if not (not_ours or (missing and _is_early(backlog, claim, elsewhere or future is None))):
        park(backlog, claim, f"it can't be loaded: {why}", future)
        return
    if future is not None and future._id in backlog.running and wait_again(backlog, future, claim.attempt):
        backlog.recovering = backlog.suspects.end(future._id) or backlog.recovering
    if elsewhere:  # at once, for who has the function; we aren't in the way for a while
        backlog.modest_until = SYSTEM.monotonic() + LATER
        put_back(backlog, claim, 0.0)
    else:
        put_back(backlog, claim, LATER if backlog.shared else SOON, awaited=not backlog.closing)
        if backlog.shared and not not_ours:
            _tell_of_waiting(backlog, claim, why)


def _tell_of_waiting(backlog: Backlog, claim: Claim, why: str) -> None:
    """Once for what is missing: else who renamed a function sees a job that stands still for an hour, and not why."""
    if why not in backlog.missed and SYSTEM.monotonic() - backlog.made_at >= _PATIENCE:
        backlog.missed.add(why)
        message = "job %s waits for a program that can load it, for an hour at most, and is a dead letter then: %s"
        _log.warning(message, wire.id_of(claim.payload).hex(), why)


def _is_early(backlog: Backlog, claim: Claim, elsewhere: bool) -> bool:
    """Whether a function that is missing may still come: in a program that begins just now, or, in a store that
    processes share, in a newer version of it (a rolling deploy), which gets an hour to take the job."""
    if backlog.shared and SYSTEM.wall() - claim.put_at < _HOUR:
        return elsewhere or not backlog.closing
    return not backlog.closing and SYSTEM.monotonic() - backlog.made_at < _PATIENCE


def lives(backlog: Backlog, id: bytes) -> bool:
    """Whether the process that has submitted the job lives."""
    if id[:8] == backlog.token:
        return True
    return backlog.sharing is not None and backlog.sharing.lives(id[:8])


def _remember(backlog: Backlog, future: JobFuture) -> None:
    """A recovered job is begun."""
    begun = backlog.begun
    if begun is not None:
        begun.append(future)
    _tell(backlog, future)


def _tell(backlog: Backlog, future: JobFuture) -> None:
    call = backlog.settings.on_recovered
    if call is not None:
        try:
            call(future)
        except BaseException as error:
            if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
                raise  # it may be a signal handler's
            _log.exception("on_recovered= failed")
