"""The views of a mapping in a store: keys, values and items in the order in which the keys were first set.

They are read some at a time, so a mapping may be larger than memory, and may change meanwhile: what is set or deleted
while an iterator runs may or may not be seen, and no key is seen twice. So an iterator may see a part of an update that
comes meanwhile; `copy()`, `get_many()`, `==` and `|` are of one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, ItemsView, Iterator, KeysView, ValuesView
from contextlib import suppress
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import StoreClosed
from .table import ClosedTable

if TYPE_CHECKING:
    from .mapping import DurableMapping

K = TypeVar("K")
V = TypeVar("V")
SHOWN = 100  #: items in a repr


def excerpt(things: Collection[Any], show: Callable[[Any], str] = repr) -> str:
    """The first of them, as `show` has them, and how many more there are."""
    shown = [show(each) for each in islice(things, SHOWN)]
    if len(shown) == SHOWN and (more := len(things) - SHOWN) > 0:
        shown.append(f"... {more:,} more")
    return ", ".join(shown)


def _read_only(view: Any) -> MappingProxyType[Any, Any]:
    """The mapping, to be looked at, as of a dict's views."""
    return MappingProxyType(view._mapping)


def _shown(view: Any) -> str:
    kind, mapping = type(view).__name__, view._mapping
    if not isinstance(mapping._table, ClosedTable):
        with suppress(StoreClosed):
            return f"{kind}([{excerpt(view)}])"
    return f"<{kind} of {mapping!r}>"  # debuggers and log lines show it at any time


class Keys(KeysView[K]):
    _mapping: DurableMapping[K, Any]
    mapping = property(_read_only)
    __repr__ = _shown

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._mapping)


class Items(ItemsView[K, V]):
    _mapping: DurableMapping[K, V]
    mapping = property(_read_only)
    __repr__ = _shown

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


class Values(ValuesView[V]):
    _mapping: DurableMapping[Any, V]
    mapping = property(_read_only)
    __repr__ = _shown

    def __contains__(self, value: object) -> bool:
        return any(each is value or each == value for each in self)

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._pairs())

    def __reversed__(self) -> Iterator[V]:
        return (value for _, value in self._mapping._pairs(reverse=True))
