"""What a subclass that was written against the standard library may put its own in the place of: methods which take
more than the standard library's, and attributes which that doesn't have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Concatenate, Generic, TypeVar, overload

R = TypeVar("R", covariant=True)
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def declared_as(declaration: F) -> Callable[[Callable[..., Any]], F]:
    """For a type checker the method is what is declared there; it stays as it is."""

    def same(method: Any) -> Any:
        return method

    return same


def declared_as_map(method: Callable[..., Any]) -> Callable[Concatenate[Any, Callable[..., T], ...], Iterator[T]]:
    """As an executor's `map`, which is generic."""
    return method


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


# `*args: Any, **kwargs: Any` is compatible with whatever a subclass has in its place.


def told(self: Any, *args: Any, **kwargs: Any) -> None:
    """As `task_done`, which takes an item."""


def asked(self: Any, *args: Any, **kwargs: Any) -> Any:
    """As `flush`, which says whether all is done, where the standard library's says nothing."""


def ended(self: Any, wait: bool = True, *args: Any, **kwargs: Any) -> None:
    """As an executor's `shutdown`."""


def stored(self: Any, item: Any, *args: Any, **kwargs: Any) -> int:
    """As persist-queue's `put`."""
    raise NotImplementedError
