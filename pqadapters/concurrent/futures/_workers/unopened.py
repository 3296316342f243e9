"""Calls that this process doesn't load, but a worker of its pool: loading runs what the pickle says, and may end the
process that does it.

Here such a pickle is read with a blank behind each of its names, so nothing of it is run. The names are looked up, as
loading would do, so that a call whose function isn't there yet, or not any more, is known before a worker has it.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from .... import wording
from ....interrupts import repeats
from .._jobs import wire
from .._jobs.tasks import Named


class NotLoaded(Exception):
    """A worker couldn't load a call; its arguments are what came of it, and whether something wasn't there."""


def call_of(data: bytes) -> tuple[wire.Call, tuple[type[BaseException], ...] | None]:
    """A call to be given to a worker, and what to retry it on. Raises as loading would for names that aren't there."""
    reader = _Reader(io.BytesIO(data))
    function, _, _, *retry_on = reader.load()
    if type(function) is Named:
        function.find()
    return (_run, (bytes(data),), {}), reader.kinds(*retry_on) if retry_on else None


def _run(data: bytes) -> Any:
    """In the worker."""
    try:
        (function, args, kwargs), _ = wire.load(data)
    except MemoryError:
        raise
    except BaseException as error:
        if not isinstance(error, (Exception, SystemExit)) and not repeats(wire.load, data, error):
            raise  # Ctrl-C, say
        missing = isinstance(error, wire.MISSING)
        raise NotLoaded(wording.named(error), missing) from error
    return function(*args, **kwargs)


class _Blanks(type):
    """Whatever a pickle does with what it has made, it is done to a class that remembers nothing of it."""

    def __call__(cls, *args: object, **kwargs: object) -> Any:
        return _Blank

    def __setitem__(cls, key: object, value: object) -> None: ...

    def _forget(cls, *args: object) -> None: ...

    __setstate__ = append = extend = add = _forget


class _Blank(metaclass=_Blanks):
    def __new__(cls, *args: object, **kwargs: object) -> Any:
        return _Blank


class _Reader(pickle.Unpickler):
    """`found`: what the names stand for, by the blanks that stand for them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.found: dict[Any, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if found is Named:
            return Named
        blank = _Blanks(name, (_Blank,), {})
        self.found[blank] = found
        return blank

    def kinds(self, blanks: tuple[Any, ...], names: tuple[Any, ...] = ()) -> tuple[type[BaseException], ...]:
        """The exceptions to retry on. One that is in the pickle by value comes from a worker as RemoteError, which is
        known by the names of its classes: here something else has that name."""
        found = [self.found.get(each) for each in blanks]
        return tuple(_called(*names[at]) if each is None else each for at, each in enumerate(found))


def _called(module: str, name: str) -> type[BaseException]:
    return type(name, (BaseException,), {"__module__": module, "__qualname__": name})
