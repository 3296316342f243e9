"""What interrupts must not cost: a signal handler may raise between any two steps, also right behind a call."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from .clock import SYSTEM

T = TypeVar("T")
_signal: Any = import_module("_signal")  # in C: a program may have a signal.py of its own


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


def is_refusal(error: BaseException | None) -> bool:
    """Whether it is an error of the system's, which have numbers: else a signal handler has raised it in the middle of
    a call (a TimeoutError, mostly; or it has failed itself), and it says nothing of the disk."""
    return isinstance(error, OSError) and error.errno is not None and not _is_of_handler(error)


def of_handler(error: BaseException, handled: BaseException | None) -> BaseException | None:
    """What a signal handler has raised, where it is that error, or a library has raised that for it. `handled`: what
    the caller was called in the handling of (`sys.exc_info()`), an earlier alarm's say."""
    found: BaseException | None = error
    while found is not None and not _is_of_handler(found):
        found = found.__context__ if found.__context__ is not handled else None
    return found


def _is_of_handler(error: BaseException) -> bool:
    """Whether it has come through the frame of a signal handler that the program has installed."""
    codes = {_code_of(_signal.getsignal(number)) for number in _signal.valid_signals()} - {None}
    step = error.__traceback__
    while step is not None and step.tb_frame.f_code not in codes:
        step = step.tb_next
    return step is not None


def _code_of(handler: object) -> object:
    """None where it isn't written in Python."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = type(handler).__call__
    return getattr(handler, "__code__", None)


def check_refusal(error: OSError) -> None:
    """Raises the error if it is none of the system's."""
    if not is_refusal(error):
        raise error


class SuppressRefusals:
    """As `suppress(OSError)`, or of that kind of it, for errors of the system's alone."""

    def __init__(self, kind: type[OSError] = OSError) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        return isinstance(error, self._kind) and is_refusal(error)


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
