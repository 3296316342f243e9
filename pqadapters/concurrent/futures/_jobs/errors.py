"""What becomes of a job beside its result, as exceptions."""

from __future__ import annotations

import sys
import traceback as tracebacks
from concurrent import futures
from contextlib import suppress

from ....errors import PqadaptersError

if sys.version_info >= (3, 11):
    TimedOut = TimeoutError
else:

    class TimedOut(TimeoutError, futures.TimeoutError):
        """A job has run out of time. Before Python 3.11 Python and `concurrent.futures` have a TimeoutError each."""


_QUOTES = '\n"""'


class RemoteError(PqadaptersError):
    """A job's exception that can't be brought back as it was: pickle refuses it, or what pickle makes of it isn't it.

    `type` is its qualified name, `text` what str() made of it, `traceback` the lines that Python would have printed.
    """

    _kinds: frozenset[str] = frozenset()  #: names of the classes that it was of, where a worker has sent it

    def __init__(self, type: str, text: str, traceback: str = "") -> None:
        super().__init__(type, text, traceback)
        self.type, self.text, self.traceback = type, text, traceback

    def __str__(self) -> str:
        return f"{self.type}: {self.text}"


class JobParked(PqadaptersError):
    """A job is in the dead letters, and runs when `requeue()` puts it back; the message says why."""


def parked(reason: str) -> JobParked:
    """What the future of a job in the dead letters comes to."""
    return JobParked(f"{reason}; requeue() puts it back")


class UnknownJob(PqadaptersError, LookupError):
    """There is no job of that id or key: it never was one, it is done and its result wasn't kept, or it ran out."""


def told(error: BaseException) -> RemoteError:
    """What comes in the place of an exception."""
    there = RemoteError(qualified(type(error)), whole_text(error), lines_of(error))
    there._kinds = frozenset(map(qualified, type(error).__mro__))
    return there


class RemoteTraceback(Exception):
    """The cause of an exception that comes from another process: the lines that were printed of it there."""

    def __str__(self) -> str:
        return str(self.args[0])


def raised_there(error: BaseException, lines: str) -> BaseException:
    """With its traceback as its cause, as the standard library's pool has it, and in the same quotes."""
    if lines:
        with suppress(AttributeError, TypeError):  # it refuses to have one
            error.__cause__ = RemoteTraceback(f'{_QUOTES}\n{lines}"""')
    return error


def is_raised_there(error: BaseException) -> bool:
    """Whether it has its traceback so: it was sent by a worker, or loaded."""
    return str(error.__cause__).startswith(_QUOTES)


def is_of(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """isinstance(), of what an exception was before it came from a worker, too."""
    if not (isinstance(error, RemoteError) and error._kinds):
        return isinstance(error, kinds)
    return any(
        qualified(kind) in error._kinds or (issubclass(kind, PqadaptersError) and isinstance(error, kind))
        for kind in (kinds if isinstance(kinds, tuple) else (kinds,))
    )


def qualified(kind: type) -> str:
    """A class's name. In a spawned worker the script's module has another one."""
    module = "__main__" if kind.__module__ == "__mp_main__" else kind.__module__
    return f"{module}.{kind.__qualname__}"


def lines_of(error: BaseException) -> str:
    """What Python would print of it; of one that comes from elsewhere what it is known to have printed there."""
    try:
        if error.__traceback__ is None and is_raised_there(error):
            return str(error.__cause__).removeprefix(f"{_QUOTES}\n").removesuffix('"""')
        return "".join(tracebacks.format_exception(error))
    except BaseException:
        return "its traceback can't be had"


def whole_text(error: BaseException) -> str:
    """What str() makes of it, which is the program's own: it may raise, or give a str that can't be pickled."""
    try:
        return "".join((str(error),))
    except BaseException:
        return "its text can't be had"
