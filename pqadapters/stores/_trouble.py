"""Errors that several calls are told: why nothing goes any more, or why a transaction of many threads has failed."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

E = TypeVar("E", bound=Exception)


def afresh(error: E) -> E:
    """The same error for one more call. An exception that is raised keeps the frames that it goes through and all that
    is in them, with each time more of them, and is no two threads' to raise at a time."""
    made = copy(error)
    made.__cause__ = error.__cause__
    return made
