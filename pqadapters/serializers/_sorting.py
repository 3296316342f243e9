"""The same value with the keys of its dicts in order, for formats whose libraries don't sort."""

from __future__ import annotations

from operator import itemgetter
from typing import Any


def with_sorted_keys(value: Any) -> Any:
    """A copy with the keys of all dicts sorted, those inside lists, tuples and dicts too; other values as they are.

    Subclasses are left alone. Raises TypeError for keys that Python can't order, RecursionError for a value that
    holds itself.
    """
    kind = type(value)
    if kind is dict:
        return {key: with_sorted_keys(part) for key, part in sorted(value.items(), key=itemgetter(0))}
    if kind is list or kind is tuple:
        return kind(map(with_sorted_keys, value))
    return value
