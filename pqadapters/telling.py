"""What we tell the program, as log records and warnings: never with one of our locks held.

A log handler may put into one of our queues, with its own lock held. If we logged with a store's lock held, each would
wait for the other for ever. So whoever takes such a lock does it in `silence()`: what is said inside is heard when the
outermost silence of the thread ends. Any thread may call anything.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from functools import partial
from types import TracebackType

from .callers import stacklevel


class _Unheard(threading.local):
    """What this thread has said in silence."""

    def __init__(self) -> None:
        self.depth = 0
        self.said: list[Callable[[], object]] = []


_unheard = _Unheard()


class _Later(logging.Filter):
    """Keeps records back while there is silence."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _unheard.depth:
            return True
        _unheard.said.append(partial(logging.getLogger(record.name).handle, record))
        return False


_later = _Later()


def logger(name: str) -> logging.Logger:
    """The logger of that name, one of ours."""
    found = logging.getLogger(name)
    found.addFilter(_later)
    return found


def warn(message: str, category: type[Warning]) -> None:
    """Warn of the program's own line that has led here."""
    if _unheard.depth:
        _unheard.said.append(partial(_warn, message, category))
    else:
        _warn(message, category)


def _warn(message: str, category: type[Warning]) -> None:
    warnings.warn(message, category, stacklevel=stacklevel())


class silence:  # used like a function
    """`with silence(), lock:` keeps back what is said, until the lock is free again."""

    def __enter__(self) -> None:
        _unheard.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _unheard.depth -= 1
        if _unheard.said and not _unheard.depth:
            _speak()


def _speak() -> None:
    """One after the other, whatever becomes of them: a warning may be made an error."""
    while _unheard.said:
        try:
            _unheard.said.pop(0)()
        finally:
            if _unheard.said:
                _speak()
