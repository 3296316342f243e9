"""Where in the source was a queue made, and which of the queues from there that are alive is it?

A place is the name of a module and of the code in it: the same in every run, in every process of the application, and
on every interpreter (but for nested functions, whose whole name 3.10 doesn't know). Queues from one place that are
alive at the same time are numbered from 0; a number is free again when its queue has left. A place that makes a queue
after an earlier one has left is transient: it makes a queue for each call or request.

The table is the process's own; a forked child goes on with a copy. Any thread may call anything, so may a finalizer or
a signal handler in the middle of any call.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any

from .application import file_name

#: The place of a queue that nobody's code made: `Thread(target=Queue)`.
NOWHERE = "?"
CO_OPTIMIZED, CO_VARARGS = 0x1, 0x4  #: as `inspect` has them, which takes longer to load than all of this

_STDLIB = os.path.join(os.path.dirname(os.__file__), "")
#: How many wrappers are looked into: what wraps itself has no end.
_DEEPEST = 32
_COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})


def made_in(queue: object) -> str:
    """The place that makes `queue`, whose constructor calls this: "module", or "module.qualified.name".

    It is the first code outside pqadapters, the standard library and the constructors of subclasses.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        place = _place(frame, queue)
        if place:
            return place
        frame = frame.f_back
    return NOWHERE


def _place(frame: FrameType, queue: object) -> str:
    """The frame's place; "" for one that is passed over."""
    code = frame.f_code
    # Comprehensions have frames of their own below 3.12 only.
    if code.co_name in _COMPREHENSIONS or _is_ours(frame) or _is_stdlibs(frame):
        return ""
    first = _first_argument(frame)
    if first is queue or (first is type(queue) and code.co_name in ("__call__", "__new__")):
        return ""
    function = _method(code, first)
    # Code that was run with bare globals is told by its function; else it counts for whoever ran it.
    module = frame.f_globals.get("__name__") or getattr(function, "__module__", None)
    if not isinstance(module, str):
        return ""
    module = "__main__" if module == "__mp_main__" else module
    name = function.__qualname__ if function else _qualified_name(frame)
    return f"{module}.{name}" if name != "<module>" else module


def _is_ours(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return isinstance(module, str) and (module == "pqadapters" or module.startswith("pqadapters."))


def _is_stdlibs(frame: FrameType) -> bool:
    """Whether it is the standard library's code, not that of a user's module of the same name."""
    module = frame.f_globals.get("__name__")
    if not isinstance(module, str) or module.partition(".")[0] not in sys.stdlib_module_names:
        return False
    file = frame.f_code.co_filename
    return file.startswith(_STDLIB) or not os.path.isabs(file)


def _first_argument(frame: FrameType) -> Any:
    code = frame.f_code
    if code.co_argcount:
        return _local(frame, code.co_varnames[0])
    if code.co_flags & CO_VARARGS:
        rest = _local(frame, code.co_varnames[code.co_kwonlyargcount])
        return rest[0] if type(rest) is tuple and rest else None
    return None


def _local(frame: FrameType, name: str) -> Any:
    """A function's variable.

    Below 3.13 `f_locals` of a function is a copy that stays with its frame: it would keep whatever the variables hold
    now, such as the queue of the last turn of a loop. What we put there goes away again, unless somebody else uses it.
    """
    variables = frame.f_locals
    value = variables.get(name)
    # The frame's reference, ours, and the argument's.
    if sys.version_info < (3, 13) and sys.getrefcount(variables) <= 3:
        code = frame.f_code
        for key in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
            variables.pop(key, None)
    return value


def _qualified_name(frame: FrameType) -> str:
    code = frame.f_code
    if not code.co_flags & CO_OPTIMIZED and code.co_name != "<module>":  # a class body, its variables are the class's
        return str(frame.f_locals.get("__qualname__", code.co_name))
    function = _function_named(frame.f_globals, code)
    if function is not None:
        return function.__qualname__
    return getattr(code, "co_qualname", None) or _searched(frame.f_globals, code) or code.co_name


def _method(code: CodeType, first: Any) -> FunctionType | None:
    """The function with this code among the methods of the first argument: its name is right where the code's isn't
    (dataclasses), and is known below 3.11, where code has no qualified name."""
    classes = _classes(first)
    for owner in classes:
        function = _function_named(vars(owner), code)
        if function is not None:
            return function
    if hasattr(code, "co_qualname"):
        return None
    return next(filter(None, (_function_among(vars(owner), code) for owner in classes)), None)


def _classes(first: Any) -> tuple[type, ...]:
    kinds: tuple[type, ...] = type(first).__mro__  # not isinstance(), which asks the object: proxies may raise
    return first.__mro__ + kinds if type in kinds else kinds


def _function_named(namespace: Any, code: CodeType) -> FunctionType | None:
    return _with_code(namespace.get(code.co_name), code)


def _function_among(namespace: Any, code: CodeType) -> FunctionType | None:
    return next(filter(None, (_with_code(value, code) for value in namespace.copy().values())), None)


def _searched(namespace: Any, code: CodeType) -> str:
    function = _function_among(namespace, code)
    return function.__qualname__ if function else ""


def _with_code(value: Any, code: CodeType) -> FunctionType | None:
    return next((function for function in _functions(value) if function.__code__ is code), None)


def _functions(value: Any) -> Iterator[FunctionType]:
    """The functions that an attribute stands for. No attribute of foreign objects is looked at: it might run code."""
    values = [value]
    for _ in range(_DEEPEST):
        if not values:
            return
        value = values.pop()
        if type(value) is FunctionType:
            yield value
        values += _inside(value)


def _inside(value: Any) -> tuple[Any, ...]:
    kind = type(value)
    if kind is FunctionType:
        return (value.__dict__.get("__wrapped__"),)
    if kind in (classmethod, staticmethod):
        return (value.__func__,)
    if kind is property:
        return (value.fget, value.fset, value.fdel)
    if kind is functools.cached_property:
        return (value.func,)
    return (value.__wrapped__,) if kind is functools._lru_cache_wrapper else ()


# Which of a place's queues are alive

#: Held for the tables below. Reentrant: a finalizer may run while its own thread holds it.
_lock = threading.RLock()
#: Per place, the spots of its queues that are alive, by index. Entries of places stay: somebody may be adding to one.
_alive: dict[str, dict[int, Spot]] = {}
_transient: set[str] = set()
_made: set[tuple[str, int]] = set()  #: place and index of every queue that there ever was
_whats: dict[str, str] = {}  #: place -> what is made there


class Spot:
    """The spot of one queue among those of its place, until it leaves."""

    __slots__ = ("_stays", "index", "name", "transient")
    what, holds = "queue", "items"  #: in messages

    def __init__(self, name: str) -> None:
        self.name = name  #: the place
        self.index = 0
        self.transient = False  #: an earlier queue of the place has left before this one came
        self._stays = threading.Lock()

    def leave(self) -> None:
        """The queue is gone: its index is free, and its place makes more than one queue in its time. A second call does
        nothing."""
        with _lock:
            if self._stays.acquire(blocking=False):
                _transient.add(self.name)
                del _alive[self.name][self.index]


class LastingSpot(Spot):
    """The spot of what goes on with whatever an earlier one of its place has left: never transient."""

    __slots__ = ()
    what, holds = "executor", "jobs"

    @property
    def transient(self) -> bool:
        return False

    @transient.setter
    def transient(self, value: bool) -> None:
        """What the place makes else doesn't matter."""


def occupy(name: str, kind: type[Spot] = Spot) -> Spot:
    """A spot for a new queue of the place: the lowest index that no alive one has."""
    spot = kind(name)
    with _lock:
        spots = _alive.setdefault(name, {})
        # One step for looking and taking: a finalizer of this thread may make a queue or drop one in between.
        while spots.setdefault(spot.index, spot) is not spot:
            spot.index += 1
        spot.transient = name in _transient
        _whats[name] = spot.what
        _made.add((name, spot.index))
    return spot


def mark_transient(name: str) -> None:
    """The place is known to be transient, from an earlier run."""
    with _lock:
        _transient.add(name)


def made(what: str = "") -> set[tuple[str, int]]:
    """Place and index of every queue that this process has made; of every executor, and of both without a word."""
    every = _made.copy()  # in one step: a finalizer may make one
    return {place for place in every if what in ("", _whats.get(place[0]))}


def directory_name(name: str, index: int) -> str:
    """A file name for a spot: "__main__.main-0". No two spots have the same."""
    return f"{file_name(name)}-{index}"


def _renew_lock() -> None:
    """In a forked child: the thread that held it may not exist here."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
