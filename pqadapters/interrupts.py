"""What interrupts must not cost: a signal handler may raise between any two steps, also right behind a call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .clock import SYSTEM

T = TypeVar("T")


class Flag:
    """A `threading.Event` that a signal handler or a finalizer may set in the middle of this thread's setting it: that
    has a lock of the event's then, which the handler would wait for, or, where it raises, leave taken for good.
    """

    def __init__(self) -> None:
        self._set = False
        self._bell = threading.Lock()  # looked up here: gevent replaces it
        self._bell.acquire()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._ring()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is set, or so many seconds are over; whether it is."""
        end = None if timeout is None else SYSTEM.monotonic() + timeout
        while not self._set:
            left = -1.0 if end is None else min(end - SYSTEM.monotonic(), threading.TIMEOUT_MAX)
            if end is not None and left <= 0:
                break
            self._bell.acquire(timeout=left)
            if self._set:
                self._ring()  # for another one who waits
        return self._set

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:  # it rings already
            pass


def keep(results: list[T], call: Callable[..., T], *arguments: object) -> None:
    """Make the call and add what it returns; of a function in C that is one step of the interpreter. Whatever comes
    in between, who looks into the list behind it knows what was done: a lock that is taken, a descriptor that is open.
    """
    results.extend(map(call, *([each] for each in arguments)))


def is_refusal(error: Exception) -> bool:
    """Whether it is one of the system's, which have numbers: else a signal handler has raised it in the middle of a
    call (a TimeoutError, mostly), and it says nothing of the disk."""
    return isinstance(error, OSError) and error.errno is not None


def check_refusal(error: OSError) -> None:
    """Raises the error if it is none of the system's."""
    if not is_refusal(error):
        raise error


def works(codec: Callable[[Any], object], value: object) -> bool:
    """Whether it goes well the second time: then what it raised was a signal handler's, and no fault of the value."""
    try:
        codec(value)
    except (Exception, SystemExit):
        return False
    return True


def is_fault(error: BaseException, codec: Callable[[Any], object], value: object) -> bool:
    """Whether what it has raised is the value's fault: neither is memory lacking, nor was it a signal handler."""
    return not (isinstance(error, MemoryError) or works(codec, value))


def repeats(codec: Callable[[Any], object], value: object, error: BaseException) -> bool:
    """The same of what is no Exception, the other way round: whether it raises such a thing again."""
    try:
        codec(value)
    except BaseException as again:
        return type(again) is type(error)
    return False
