"""What a subclass that was written against the standard library may put its own in the place of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

R = TypeVar("R", covariant=True)


class Yielding(Generic[R]):
    """A property to be read, which gives way to a subclass's own attribute of its name, also to one that was set before
    our `__init__`."""

    def __init__(self, find: Callable[[Any], R]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Yielding[R]: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> R: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else self._find(instance)

    def __repr__(self) -> str:
        return f"<{self.__doc__}>"  # which help() shows
