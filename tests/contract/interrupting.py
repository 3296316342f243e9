"""Calls that a signal handler interrupts, wherever CPython calls one: at calls, their ends, at loops."""

from __future__ import annotations

import errno
import gc
import linecache
import signal
import sys
import threading
from collections.abc import Callable
from inspect import CO_GENERATOR
from types import FrameType
from typing import Any


class Interrupt(BaseException):
    """What the handler raises."""


class _Handler:
    """Raises at the nth place in files whose names begin so; once."""

    def __init__(
        self, nth: int, files: tuple[str, ...], exits: bool, locks: bool, interrupt: type[BaseException]
    ) -> None:
        self.left = nth
        self._interrupt = interrupt
        self.struck = False
        self._files = files
        self._looks_at = {"acquire": locks, "__exit__": exits}
        self._lines: dict[FrameType, int] = {}  #: the last one of each frame

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._files):
            return None
        back = frame.f_lineno < self._lines.get(frame, 0)
        self._lines[frame] = frame.f_lineno
        if self._begins(frame, event) or (event == "line" and back and self._loops(frame)):
            self.strike()
        return self.trace

    @staticmethod
    def _begins(frame: FrameType, event: str) -> bool:
        """Before 3.12 what is raised here as a generator goes on passes over its handlers, which no signal does."""
        return event == "call" and (sys.version_info >= (3, 12) or not frame.f_code.co_flags & CO_GENERATOR)

    @staticmethod
    def _loops(frame: FrameType) -> bool:
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
        return text.startswith(("for ", "while "))

    def profile(self, frame: FrameType, event: str, function: Any) -> None:
        looks = function is not sys.setprofile and self._looks_at.get(getattr(function, "__name__", ""), True)
        if event == "c_return" and looks and frame.f_code.co_filename.startswith(self._files):
            self.strike()

    def strike(self) -> None:
        self.left -= 1
        if not self.left:
            self.struck = True
            sys.settrace(None)
            sys.setprofile(None)
            self(signal.SIGUSR2, None)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """As the handler of a signal."""
        raise self._interrupt


class TimeIsUp(TimeoutError):
    """What a handler of `signal.alarm` raises mostly: an OSError, and none of the system's."""


class ItFailed(OSError):
    """What comes out of a handler that has failed itself, as one that writes to a disk: the system's, and of another
    call."""

    def __new__(cls) -> ItFailed:
        return super().__new__(cls, errno.EIO, "Input/output error")


class IsMissing(FileNotFoundError):
    """The same of one that reads a file."""

    def __new__(cls) -> IsMissing:
        return super().__new__(cls, errno.ENOENT, "No such file or directory")


def interrupted(
    call: Callable[[], object],
    nth: int,
    files: tuple[str, ...],
    kept: list[BaseException] | None = None,
    *,
    exits: bool = False,
    locks: bool = False,
    interrupt: type[BaseException] = Interrupt,
) -> bool:
    """Make the call, interrupted at the nth place in these files; False where it has fewer. The exception is `kept`.
    `exits`: also as a `with` has let go of its lock. `locks`: also as a lock was taken without one. `interrupt`: what
    the handler raises."""
    handler = _Handler(nth, files, exits, locks, interrupt)
    before = sys.gettrace(), sys.getprofile(), sys.unraisablehook
    gc.disable()  # a finalizer of another test's store isn't what is to be interrupted
    sys.unraisablehook = lambda told: None if told.exc_type is interrupt else before[2](told)  # a generator's end
    is_main = threading.current_thread() is threading.main_thread()
    outer = signal.signal(signal.SIGUSR2, handler) if is_main else None
    sys.settrace(handler.trace)
    sys.setprofile(handler.profile)
    try:
        call()
    except interrupt as error:
        if kept is not None:
            kept.append(error)
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
        if is_main:
            signal.signal(signal.SIGUSR2, outer)
        sys.unraisablehook = before[2]
        gc.enable()
    return handler.struck
