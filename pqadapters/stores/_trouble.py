"""Errors that are told later, or to several calls: a claim has time, a transaction many threads."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from ..clock import SYSTEM
from ..errors import LeaseLost
from ..store import Claim, Stop

if TYPE_CHECKING:
    import logging

E = TypeVar("E", bound=Exception)


def lease_lost(claim: Claim) -> LeaseLost:
    return LeaseLost(f"record {claim.id} of queue {claim.queue!r} is no longer held by attempt {claim.attempt}")


def bear(
    error: E, again: bool, stop: Stop | None, deadline: float | None, logger: logging.Logger
) -> list[Claim] | None:
    """A call can't look, since the server is away, or others have the store. As long as the caller has time (until
    `deadline` by the monotonic clock; None: for ever) that may end: None then, and [] where it wants no more; else
    raises the error. `again`: that was so at the last look as well, and is told."""
    if deadline is not None and SYSTEM.monotonic() >= deadline:
        raise error
    if stop is not None and stop():
        return []
    if not again:
        logger.warning("a call waits: %s", error)
    return None


def afresh(error: E) -> E:
    """The same error for one more call. An exception that is raised keeps the frames that it goes through and all that
    is in them, with each time more of them, and is no two threads' to raise at a time."""
    made = copy(error)
    made.__cause__ = error.__cause__
    return made


def lasting(error: E, cause: BaseException) -> E:
    """An error that a store keeps: why nothing goes any more. Its cause goes without the frames that it came through:
    the queues in them would last as long as the store then, and the store as long as they."""
    with suppress(Exception):  # not every exception can be copied
        error.__cause__ = copy(cause)
    return error
