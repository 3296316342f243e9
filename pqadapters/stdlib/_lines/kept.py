"""What a view is once the program has put another container in its place, as in `old, q.queue = q.queue, deque()`.

The standard library's own container keeps its items then, for who has it; so does this. It has nothing to do with the
store any more: a crash loses what is in it, as it loses whatever a program has taken out of a queue.
"""

from __future__ import annotations

from collections import deque
from typing import Any

_INNER = {"__class_getitem__", "__doc__", "__getattribute__", "__hash__", "__init__", "__new__"}


class Kept:
    """All that its container can."""

    _kept: deque[Any] | list[Any]

    __hash__ = None  # type: ignore[assignment]  # as containers have it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, by whatever means, is what is in it."""
        return type(self._kept), (list(self._kept),)


def keep(view: object, container: deque[Any] | list[Any]) -> None:
    """From now on the view is of that container. Who is in the middle of a look at the store comes to its end."""
    changed: Any = view
    changed._kept = container
    changed.__class__ = Kept


def _of_the_container(name: str) -> Any:
    def method(self: Kept, *arguments: Any) -> Any:
        return getattr(self._kept, name)(*arguments)

    return method


for _name in {*vars(deque)} & {*vars(list)} - _INNER:
    if _name.startswith("__"):  # others are found by `__getattr__`
        setattr(Kept, _name, _of_the_container(_name))
