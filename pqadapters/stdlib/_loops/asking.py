"""Whose an item is that one task asks for and another one fetches: `create_task(q.get())`, and before Python 3.12
`wait_for(q.get(), 5)`, make a task of their own for it, which ends with it and never says that it is done.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from .._lines.held import Consumer, Held, known

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def caller() -> Consumer | None:
    """The task that runs; None outside of any."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return None if task is None else known(task)


def as_coroutine_function(function: F) -> F:
    """A plain function that gives a coroutine looks as one that is async, as asyncio's are, and mock asks."""
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
        return function


def for_asker(asker: Consumer | None, held: Held, call: Callable[[], T]) -> T:
    """What the call gives at once: what it fetches and puts is the asker's; without one that of the task that runs."""
    held.asker = asker
    try:
        return call()
    finally:
        held.asker = None
