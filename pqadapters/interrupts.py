"""What interrupts must not cost: a signal handler may raise between any two steps, also right behind a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def keep(results: list[T], call: Callable[..., T], *arguments: object) -> None:
    """Make the call and add what it returns; of a function in C that is one step of the interpreter. Whatever comes
    in between, who looks into the list behind it knows what was done: a lock that is taken, a descriptor that is open.
    """
    results.extend(map(call, *([each] for each in arguments)))


def works(codec: Callable[[Any], object], value: object) -> bool:
    """Whether it goes well the second time: then what it raised was a signal handler's, and no fault of the value."""
    try:
        codec(value)
    except (Exception, SystemExit):
        return False
    return True
