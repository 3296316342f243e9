"""What still lives of a weak collection, at one moment, whatever other threads and finalizers do to it meanwhile.

The iterators of `weakref`'s own collections are Python code: something that is added in the middle, by another thread
or by a finalizer of this one, ends them with a RuntimeError.
"""

from __future__ import annotations

from typing import Any, TypeVar
from weakref import WeakSet, WeakValueDictionary

K = TypeVar("K")
V = TypeVar("V")


def living(collection: WeakSet[V] | WeakValueDictionary[Any, V]) -> list[V]:
    """All that is in it."""
    kept: Any = collection
    references = kept.valuerefs() if isinstance(kept, WeakValueDictionary) else list(kept.data)  # one step of C each
    return [found for reference in references if (found := reference()) is not None]


def take_out(collection: WeakValueDictionary[K, V], value: V) -> None:
    """Take it out, under whatever keys it is there."""
    keys: list[K] = list(collection.data)  # type: ignore[attr-defined]  # all of them in one step of C
    for key in keys:
        if collection.get(key) is value:
            collection.pop(key, None)
