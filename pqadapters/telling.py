"""What we tell the program, as log records and warnings: never with one of our locks held.

A log handler may put into one of our queues, with its own lock held. If we logged with a store's lock held, each would
wait for the other for ever. So whoever takes such a lock does it in `silence()`: what is said inside is heard when the
outermost silence of the thread ends. Any thread may call anything.

`logging` is the program's to import. One that doesn't is told on stderr, which is what `logging` does where nobody has
set it up. It has a lock of its own, which it holds while handlers are made that open our queues, and across a fork,
where others of our locks are waited for: in a silence it isn't called at all.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, cast

from .apart import Renewed
from .callers import stacklevel

if TYPE_CHECKING:
    import logging

_logging: Any = None
_least_level: int | None = None  #: which is still to be set; 0: it was


class _Unheard:
    """What this thread has said in silence."""

    def __init__(self) -> None:
        self.silences: list[FrameType] = []  #: whose blocks they are
        self.said: list[Callable[[], object]] = []
        self.endures = False  #: a thread that others rely on: no handler that fails ends it

    def silent(self) -> bool:
        """Whether a silence lasts. One that an exception has broken off, in the middle of its end, doesn't: what it
        belongs to isn't running any more."""
        if self.silences:
            running: list[FrameType] = []
            frame: FrameType | None = sys._getframe(1)
            while frame is not None:
                running.append(frame)
                frame = frame.f_back
            self.silences[:] = [each for each in self.silences if each in running]
        return bool(self.silences)


_own = Renewed(lambda: threading.local())


def _unheard() -> _Unheard:
    own = _own()
    try:
        found: _Unheard = own.unheard
    except AttributeError:
        found = own.unheard = _Unheard()
    return found


class _Later:
    """A filter that keeps records back while there is silence."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _unheard().silent():
            _speak()
            return True
        _unheard().said.append(partial(aloud, partial(_made(record.name).handle, record)))
        return False


_later = _Later()


def logger(name: str) -> logging.Logger:
    """The logger of that name, one of ours."""
    return cast("logging.Logger", _Logger(name))


_SAYS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})


class _Logger:
    """A logger that is made when it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name in ("debug", "info") and known() is None:
            return _unsaid  # nobody has asked to hear it
        if name in _SAYS and _unheard().silent():
            return partial(self._later, name)
        if name in _SAYS and known() is None:
            return partial(_plainly, exc_info=name == "exception")
        if name in _SAYS and _unheard().endures:
            return partial(self._aloud, name)
        return getattr(_made(self._name), name)

    def _later(self, method: str, *message: object, **how: Any) -> None:
        if how.get("exc_info", method == "exception") is True:
            how["exc_info"] = sys.exc_info()[1]
        _unheard().said.append(partial(aloud, lambda: getattr(self, method)(*message, **how)))

    def _aloud(self, method: str, *message: object, **how: Any) -> None:
        aloud(partial(getattr(_made(self._name), method), *message, stacklevel=3, **how))


def endure() -> None:
    """From now on no handler that fails is in this thread's way."""
    _unheard().endures = True


def _unsaid(*message: object) -> None:
    pass


def _plainly(message: object, *facts: object, exc_info: Any) -> None:
    """What `logging` does with a warning where nobody has set it up."""
    error = sys.exc_info()[1] if exc_info is True else exc_info
    if sys.stderr is not None:
        with suppress(Exception):
            sys.stderr.write(f"{str(message) % facts if facts else message}\n")
            if error:
                sys.__excepthook__(type(error), error, error.__traceback__)


def get_ready() -> Any:
    """`logging`, which is kept from here on: a program may have another module of that name."""
    global _logging
    if _logging is None:
        import logging

        _logging = logging
    return _logging


def known() -> Any:
    """`logging`, if it was imported, and to the end; else None."""
    global _logging
    if _logging is None and hasattr(sys.modules.get("logging"), "getLogger"):
        _logging = sys.modules["logging"]
    return _logging


def _made(name: str) -> logging.Logger:
    _set_level()
    found: logging.Logger = get_ready().getLogger(name)
    found.addFilter(_later)
    return found


def set_least_level(level: int) -> None:
    """Of what we log, as a number of `logging`, where the program hasn't set one. Once: the program may change it."""
    global _least_level
    if _least_level is None:
        _least_level = level
        if known() is not None:
            _set_level()


def _set_level() -> None:
    global _least_level
    level, _least_level = _least_level, _least_level and 0
    all_of_ours = get_ready().getLogger("pqadapters")
    if level and not all_of_ours.level:
        all_of_ours.setLevel(level)


def warn(message: str, category: type[Warning]) -> None:
    """Warn of the program's own line that has led here."""
    if _unheard().silent():
        _unheard().said.append(partial(_warn, message, category))
    else:
        _warn(message, category)


def _warn(message: str, category: type[Warning]) -> None:
    warnings.warn(message, category, stacklevel=stacklevel())


def aloud(call: Callable[[], object]) -> None:
    """Log something. A handler that fails is told of on stderr, as `logging` does, and is in nobody's way."""
    try:
        call()
    except Exception as error:
        if getattr(known(), "raiseExceptions", True) and sys.stderr is not None:
            sys.__excepthook__(type(error), error, error.__traceback__)


class silence:  # used like a function
    """`with silence(), lock:` keeps back what is said, until the lock is free again."""

    def __enter__(self) -> None:
        _unheard().silences.append(sys._getframe(1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ours, unheard = sys._getframe(1), _unheard()
        while unheard.silences and unheard.silences.pop() is not ours:
            pass  # one that was broken off
        if unheard.said and not unheard.silent():
            _speak()


def _speak() -> None:
    """One after the other. A warning may have been made an error, which is raised when all was said."""
    unheard = _unheard()
    said, unheard.said = unheard.said, []
    failure: Exception | None = None
    for call in said:
        try:
            call()
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
