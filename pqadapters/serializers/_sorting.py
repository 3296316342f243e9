"""The same value with the keys of its dicts in order, for formats whose libraries don't sort."""

from __future__ import annotations

from itertools import repeat
from operator import itemgetter
from typing import Any

_KEY = itemgetter(0)


def with_sorted_keys(value: Any, *, plain: bool = False) -> Any:
    """A copy with the keys of all dicts sorted, those inside lists, tuples and dicts too; other values as they are.

    Subclasses are left alone, but for those of dict with `plain`, for a format that has no others. Raises TypeError for
    keys of the outermost dict that Python can't order (those inside are ordered by what `repr` makes of them),
    RecursionError for a value that holds itself.
    """
    if type(value) is dict or (plain and isinstance(value, dict)):
        sorted(value)
    return _sorted(value, plain=plain)


def _sorted(value: Any, plain: bool) -> Any:
    kind = type(value)
    if kind is dict or (plain and isinstance(value, dict)):
        return {key: _sorted(part, plain) for key, part in _pairs(value)}
    if kind is list or kind is tuple:
        return kind(map(_sorted, value, repeat(plain)))
    return value


def _pairs(value: dict[Any, Any]) -> list[tuple[Any, Any]]:
    try:
        return sorted(value.items(), key=_KEY)
    except TypeError:
        return sorted(value.items(), key=lambda pair: repr(pair[0]))
