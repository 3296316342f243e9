"""A store that refuses: a full disk, a server that is away, a sync that failed.

While it does no job is begun, and what couldn't be stored is tried again each second: so outcomes wait for room, and
come before further jobs. Who shuts down meanwhile waits for a moment; then what isn't begun stays on disk, and its
futures fail with the store's error. Where the store will never work again they do so at once. Any thread may call it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .... import telling, wording
from ....clock import SYSTEM
from ....errors import FOR_GOOD, LeaseLost, PqadaptersError
from ....store import Nack
from .._jobs import wire
from .clock import call_in
from .returning import look_later, put_back

if TYPE_CHECKING:
    from ....store import Claim
    from .backlog import Backlog

_log = telling.logger("pqadapters.executor")
_AGAIN = 1.0  #: seconds
_PATIENCE = 5.0  #: seconds that who shuts down waits for the store


def refused(backlog: Backlog, error: Exception) -> None:
    """No job can be begun, or what became of one can't be stored: look again later, unless there is no sense in it."""
    if backlog.closed or backlog.stopped:
        return backlog.fail(error)  # a job that was in hand waits again, behind the end of those that waited
    level = logging.DEBUG if backlog.refused_since else logging.ERROR
    backlog.refused_since = backlog.refused_since or SYSTEM.monotonic()
    _log.log(level, "no job of %s can be begun for now: %s", backlog.names.jobs, wording.named(error))
    if isinstance(error, FOR_GOOD) or (backlog.closing and is_given_up(backlog)):
        _log.error("jobs of %s that aren't begun stay on disk: %s", backlog.names.jobs, error)
        backlog.fail(error)
        backlog.ahead.give_back(backlog)
    else:
        look_later(backlog)


def is_given_up(backlog: Backlog) -> bool:
    """Whether the store has refused for as long as who comes to an end waits for it."""
    return backlog.refused_since > 0.0 and SYSTEM.monotonic() - backlog.refused_since >= _PATIENCE


def try_later(backlog: Backlog, id: bytes, action: Callable[[], object], then: Callable[[], object]) -> None:
    """Do what the store has refused just now as soon as it doesn't. At the latest when it is closed, once more."""
    backlog.unsaved[id] = action
    call_in(_AGAIN, partial(_again, backlog, id, then))


def _again(backlog: Backlog, id: bytes, then: Callable[[], object]) -> None:
    action = backlog.unsaved.get(id)
    if action is None or backlog.closed:
        return
    try:
        action()
    except LeaseLost:  # somebody else has it
        pass
    except PqadaptersError as error:
        refused(backlog, error)
        if not isinstance(error, FOR_GOOD):
            call_in(_AGAIN, partial(_again, backlog, id, then))
        return
    backlog.unsaved.pop(id, None)
    then()
    if not backlog.unsaved:
        backlog.recovering = backlog.recovering or backlog.foreign
        backlog.added()
        backlog.changed()


def let_go(backlog: Backlog, claim: Claim) -> None:
    """A claimed job is ready again, at once or as soon as that can be stored."""
    try:
        backlog.commit(Nack(claim))
    except LeaseLost:
        pass
    except PqadaptersError:
        try_later(backlog, wire.id_of(claim.payload), partial(backlog.commit, Nack(claim)), lambda: None)


def undo_claim(backlog: Backlog, claim: Claim, *, awaited: bool = True) -> None:
    """A job that was claimed and isn't begun is ready again. That is no attempt: by some of them a job would be taken
    for one that ends processes, and by one be dropped. `awaited` as of `put_back`."""
    undo = partial(put_back, backlog, claim, 0.0, awaited=awaited)
    try:
        undo()
    except LeaseLost:
        pass
    except PqadaptersError:  # nor is it one where the store refuses that for now
        try_later(backlog, wire.id_of(claim.payload), undo, lambda: None)
