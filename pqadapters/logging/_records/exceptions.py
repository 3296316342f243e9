"""Exceptions as text and tables, and exceptions that print the same again.

    exc_info  [errors, files, frames, traceback, whole]     the first error is the one that was logged; the traceback is
              None where it is that error's; whole: all three of sys.exc_info(), or the exception alone; [what was said]
              where that means the current one
    error     [type, text, repr, args, attributes, hint]    and of those in exc_info
              [..., traceback, cause, context, suppress context, members of a group]

What is read back is one of the builtin exceptions where the original was; otherwise an exception of a type that is made
here, derived from the builtin one that the original's type was derived from, with its names. No module is imported and
no code of the exception's own is run: the texts are those of the time when it was logged. A pickle of it is a builtin
exception with its text, for receivers without pqadapters. Any thread may use all this.
"""

from __future__ import annotations

import builtins
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from .events import Current
from .shown import Shown, repr_of, str_of
from .tracebacks import Retold, Traces

Fit = Callable[[Any], Any]
_BUILTIN: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
_ATTRIBUTES: dict[type[BaseException], tuple[str, ...]] = {
    SyntaxError: (
        "msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset", "print_file_and_line"
    ),
    ImportError: ("msg", "name", "path", "name_from"),
    NameError: ("name",),
    AttributeError: ("name",),
    OSError: ("errno", "strerror", "filename", "filename2"),
    StopIteration: ("value",),
    SystemExit: ("code",),
}  # fmt: skip
_HINTED = (ImportError, NameError, AttributeError)  #: behind their text traceback says "Did you mean: ...?"
_NAMES = ("name", "name_from")  #: by which it looks for what you may have meant
_PRINTERS = ("traceback", "exceptiongroup._formatting")  #: who says so; the latter before Python 3.11
_GROUPS = ("BaseExceptionGroup", "ExceptionGroup")


def _group(name: str = _GROUPS[0]) -> Any:
    """A type of exception groups; before Python 3.11 that of the package exceptiongroup, where the program uses it."""
    return _BUILTIN.get(name) or getattr(sys.modules.get("exceptiongroup"), name, ())


def write_error(error: BaseException, fit: Fit) -> Any:
    """The tree of an exception alone, without what led to it."""
    return {"$error": _alone(error, fit)}


def write_exc_info(info: tuple[Any, ...] | BaseException, fit: Fit) -> Any:
    """The tree of the three of `sys.exc_info()`, or of an exception with all that comes with it."""
    whole = [info.said] if isinstance(info, Current) else isinstance(info, tuple)
    error = info[1] if isinstance(info, tuple) else info
    told = _Told(fit)
    told.number(error)
    while len(told.entries) < len(told.errors):
        told.entries.append(told.entry(told.errors[len(told.entries)]))
    path = None
    if isinstance(info, tuple) and info[2] is not error.__traceback__:
        path = told.traces.add(info[2])
    return {"$exc": [told.entries, told.traces.files, told.traces.frames, path, whole]}


class _Told:
    """The tables of an exception and of those that led to it. They may have led to each other."""

    def __init__(self, fit: Fit) -> None:
        self.traces = Traces()
        self.entries: list[Any] = []
        self.errors: list[BaseException] = []
        self._numbers: dict[int, int] = {}
        self._fit = fit

    def number(self, error: Any) -> int | None:
        if not isinstance(error, BaseException):
            return None
        number = self._numbers.setdefault(id(error), len(self.errors))
        if number == len(self.errors):
            self.errors.append(error)
        return number

    def entry(self, error: BaseException) -> Any:
        members = error.exceptions if isinstance(error, _group()) else None
        return [
            *_alone(error, self._fit),
            self.traces.add(error.__traceback__),
            self.number(error.__cause__),
            self.number(error.__context__),
            bool(error.__suppress_context__),
            None if members is None else [self.number(each) for each in members],
        ]


def _alone(error: BaseException, fit: Fit) -> list[Any]:
    kind = type(error)
    base = next(each.__name__ for each in kind.__mro__ if _BUILTIN.get(each.__name__) is each)
    names = [str(kind.__module__), str.__str__(kind.__qualname__), str.__str__(kind.__name__), base]
    text = _str(error)
    group: Any = error if isinstance(error, _group()) else None
    args = [fit(each) for each in error.args] if group is None else [str.__str__(group.message)]
    return [names, text, repr_of(error), args, _attributes(error, fit), _hint(error, text)]


def _str(error: BaseException) -> str | list[str]:
    """Its text; in a list the text of the failure where it has none."""
    try:
        return str.__str__(str(error))
    except Exception as failure:
        return [str_of(failure)]


def _attributes(error: BaseException, fit: Fit) -> dict[str, Any]:
    names = [name for kind, names in _ATTRIBUTES.items() if isinstance(error, kind) for name in names]
    found = {}
    for name in [*names, "__notes__"]:
        with suppress(Exception):
            value = getattr(error, name)
            if value is not None:
                found[name] = fit(value)
    return found


def _hint(error: BaseException, text: Any) -> str | None:
    """What the traceback module adds to the text."""
    if isinstance(error, _HINTED) and isinstance(text, str):
        with suppress(Exception):
            if all(getattr(error, name, None) is None for name in _NAMES):
                return None
            printed = str(traceback.TracebackException(type(error), error, error.__traceback__, limit=0))
            if printed != text:
                return printed
    return None


# Reading


def read_error(parts: Any) -> BaseException:
    """The exception of a `write_error`. Raises ValueError and the like for anything else."""
    return _made(*parts)


def read_exc_info(parts: Any) -> Any:
    """What `write_exc_info` was given. Raises ValueError and the like for anything else."""
    entries, files, frames, path, whole = parts
    retold = Retold(files, frames)
    errors: list[Any] = [_made(*entry[:6]) if entry[10] is None else None for entry in entries]
    _gather(errors, entries)
    for error, (trace, cause, context, suppressed, _) in zip(errors, (entry[6:] for entry in entries), strict=True):
        error.__traceback__ = retold.trace(trace)
        error.__cause__ = None if cause is None else errors[cause]
        error.__context__ = None if context is None else errors[context]
        error.__suppress_context__ = bool(suppressed)
    first: BaseException = errors[0]
    if not whole:
        return first
    info = type(first), first, first.__traceback__ if path is None else retold.trace(path)
    return Current.of(info, *whole) if type(whole) is list else info


def _gather(errors: list[Any], entries: Any) -> None:
    """Make the groups, whose members have to be there first."""
    waiting = [number for number, error in enumerate(errors) if error is None]
    while waiting:
        left = []
        for number in reversed(waiting):
            members = [errors[member] for member in entries[number][10]]
            if None in members:
                left.append(number)
            else:
                errors[number] = _made(*entries[number][:6], members=members)
        if len(left) == len(waiting):
            raise ValueError("exception groups that hold each other")
        waiting = left[::-1]


def _made(
    names: Any, text: Any, shown: Any, args: Any, attributes: Any, hint: Any, *, members: list[Any] | None = None
) -> BaseException:
    module, qualname, name, base = names
    if not all(type(each) is str for each in (*names, shown, *(text if type(text) is list else [text]))):
        raise ValueError("an exception of the wrong content")
    kind: type[BaseException] = _BUILTIN.get(base, Exception)
    if members is None and base in _GROUPS:  # an extra: it prints as the group did, and has no members
        kind = (BaseException, Exception)[_GROUPS.index(base)]
    elif members is not None and _group():
        kind = _group(_GROUPS[issubclass(kind, Exception)])
        args = [args[0], members]
    hushed = issubclass(kind, _HINTED) and any(each in attributes for each in _NAMES)
    if module == "builtins" and qualname == base and not hushed:
        with suppress(Exception):
            error = _dressed(kind(*args), attributes)
            if type(error) is kind and str(error) == text and repr(error) == shown:
                return error
    made: Any = _kind(module, qualname, name, kind, hushed)  # type: ignore[arg-type]  # it is hashable
    error = made.__new__(made, *args) if members is not None else made.__new__(made)
    error.args = tuple(args)
    kept = {each: attributes.pop(each) for each in _NAMES if hushed and each in attributes}
    error._told = text, shown, hint, kept
    return _dressed(error, attributes)


def _dressed(error: BaseException, attributes: dict[str, Any]) -> BaseException:
    for name, value in attributes.items():
        if name in _SETTABLE:
            with suppress(AttributeError, TypeError):
                setattr(error, name, value)
    return error


_SETTABLE = {"__notes__", *(name for names in _ATTRIBUTES.values() for name in names)}


@lru_cache(1024)
def _kind(module: str, qualname: str, name: str, base: type[BaseException], hushed: bool) -> type[BaseException]:
    """A type of these names, whose exceptions say what they were told to."""
    body: dict[str, Any] = {
        "__slots__": ("_told",),
        "__module__": module,
        "__qualname__": qualname,
        "__str__": _say,
        "__repr__": lambda self: self._told[1],
        "__reduce__": _plainly,
        "__copy__": lambda self: self,
        "__deepcopy__": lambda self, memo: self,
    }
    if hushed:
        body.update((each, property(partial(_keep, each))) for each in _NAMES)
    return type(name, (base,), body)


def _say(error: Any) -> Any:
    text, _, hint, _ = error._told
    if isinstance(text, list):
        raise RuntimeError(*text)
    return hint if hint is not None and _prints() else text


def _plainly(error: Any) -> tuple[Any, ...]:
    """What a pickle has of it: the builtin exception that says the same; where none does, one with its text alone."""
    text, shown, _, _ = error._told
    said = text if isinstance(text, str) else shown
    kind: Any = type(error).__mro__[1]
    state = _state(error, kind)
    notes = {name: state[name] for name in state if name == "__notes__"}
    args = tuple(str.__str__(each) if type(each) is Shown else each for each in error.args)
    for tried, fields in ((args, state), ((said,), notes)):
        with suppress(Exception):
            if kind.__module__ == "builtins" and str(_dressed(kind(*tried), fields)) == said:
                return kind, tried, fields
    return Exception, (said,), notes


def _state(error: BaseException, kind: type[BaseException]) -> dict[str, Any]:
    names = [name for each in kind.__mro__ for name in _ATTRIBUTES.get(each, ())]
    found = {name: getattr(error, name, None) for name in [*names, "__notes__"]}
    return {name: value for name, value in found.items() if value is not None}


def _keep(name: str, error: Any) -> Any:
    """For the traceback module there is no name, or it would look for what may have been meant in this process."""
    return None if _prints() else error._told[3].get(name)


def _prints() -> bool:
    return sys._getframe(2).f_globals.get("__name__") in _PRINTERS
