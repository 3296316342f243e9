"""The views of a mapping in a store: keys, values and items in the order in which the keys were first set.

They are read some at a time, so a mapping may be larger than memory, and may change meanwhile: what is set or deleted
while an iterator runs may or may not be seen, and no key is seen twice. So an iterator may see a part of an update that
comes meanwhile; `copy()`, `get_many()`, `==` and `|` are of one moment.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .mapping import DurableMapping

K = TypeVar("K")
V = TypeVar("V")


def _read_only(view: Any) -> MappingProxyType[Any, Any]:
    """The mapping, to be looked at, as of a dict's views."""
    return MappingProxyType(view._mapping)


class Keys(KeysView[K]):
    _mapping: DurableMapping[K, Any]
    mapping = property(_read_only)

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._mapping)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


class Items(ItemsView[K, V]):
    _mapping: DurableMapping[K, V]
    mapping = property(_read_only)

    def __contains__(self, item: Any) -> bool:
        try:
            key, value = item
        except (TypeError, ValueError):  # no pair
            return False
        return super().__contains__((key, value))

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._pairs()

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._pairs(reverse=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


class Values(ValuesView[V]):
    _mapping: DurableMapping[Any, V]
    mapping = property(_read_only)

    def __contains__(self, value: object) -> bool:
        return any(each is value or each == value for each in self)

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._pairs())

    def __reversed__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._pairs(reverse=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"
