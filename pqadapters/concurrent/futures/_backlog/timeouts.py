"""Jobs that may run for so long: who isn't done in time has failed, and its late outcome is refused.

What runs a job can't be stopped. The clock keeps neither the executor nor the future alive.
"""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from ....ending import start_thread
from ....telling import endure
from .._jobs.errors import TimedOut
from .clock import call_in
from .finishing import finish, is_held
from .loading import Started

if TYPE_CHECKING:
    from .backlog import Backlog
    from .future import JobFuture


def time_out(backlog: Backlog, started: Started) -> None:
    """See that the job fails if it isn't done in time."""
    seconds = started.options.timeout
    assert seconds is not None
    rest: tuple[Any, ...] = started.claim, (None, (), {}), *started[3:]
    forget = call_in(seconds, partial(_run_out, weakref.ref(backlog), weakref.ref(started.future), rest))
    Future.add_done_callback(started.future, lambda _: forget())  # with the claim, and its payload


def _run_out(ref: weakref.ref[Backlog], future: weakref.ref[JobFuture], rest: tuple[Any, ...]) -> None:
    backlog, found = ref(), future()
    if backlog is None or found is None:
        return
    started = Started(found, *rest)
    if is_held(backlog, started):  # else it is over already, and waits for its next try, say
        error = TimedOut(
            f"job {found.job_id} wasn't done in {started.options.timeout} seconds: its outcome will be refused. What "
            "runs it can't be stopped, and goes on"
        )
        # Its callbacks may take long, and the clock has others to call.
        thread = threading.Thread(target=_finish, args=(backlog, started, error), daemon=True)
        thread.name = "pqadapters-executor-timeout"
        try:
            start_thread(thread)
        except RuntimeError:  # none can be started, and nobody else would end it
            finish(backlog, started, None, error)


def _finish(backlog: Backlog, started: Started, error: TimedOut) -> None:
    endure()
    finish(backlog, started, None, error)
