"""Functions with stable names: a job finds its function again though that was moved or renamed.

Any thread may register and look up; a name that is registered again (a module that is reloaded) means the new one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__pqadapters_task__"
_known: dict[str, Any] = {}


class Task(NamedTuple):
    """What a function is registered as."""

    name: str
    version: int


def task(*, name: str, version: int = 1, aliases: Sequence[str] = ()) -> Callable[[F], F]:
    """A decorator: jobs of the function are stored by this name, and find it by it or by one of the `aliases`.

    `version` is that of its arguments: a job that a newer version has submitted is parked, not run; one that an older
    version has submitted runs. Raises TypeError, ValueError.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name is the task's name, a str that isn't empty; {name!r} is none")
    if not isinstance(version, int) or isinstance(version, bool):
        raise TypeError(f"version is a whole number, not {version!r}")

    if isinstance(aliases, str):
        raise TypeError(f"aliases are several names, as in [{aliases!r}], not text")

    def register(function: F) -> F:
        setattr(function, _MARK, Task(name, version))
        for each in (name, *aliases):
            _known[each] = function
        return function

    return register


def task_of(function: object) -> Task | None:
    """What a function is registered as; None for one that isn't."""
    found = getattr(function, _MARK, None)
    return found if type(found) is Task and _known.get(found.name) is function else None


class Named(NamedTuple):
    """A task in a stored job. `module` is the one that registered it."""

    name: str
    version: int
    module: str

    def find(self) -> Any:
        """The function. Raises LookupError."""
        if self.name not in _known:
            with suppress(ImportError):
                importlib.import_module(self.module)
        function = _known.get(self.name)
        if function is None:
            raise LookupError(f"no task is called {self.name!r} here; it was registered in {self.module}")
        here = getattr(function, _MARK).version
        if here < self.version:
            raise LookupError(f"task {self.name!r} was submitted by version {self.version} of it, and this is {here}")
        return function
