"""Items that are kept as they are, in memory: stop markers, and with volatile="warn" what can't be serialised.

Their records (live.py) keep their place in the queue and survive nothing. The very object comes out, in this process;
another one that finds such a record drops it. An object is kept as long as its record isn't acknowledged, and the
queue that it was put into lives. Any thread may call anything.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from .. import live

_numbers = itertools.count(1)
_NONE = 0  #: the number that stands for None


class Gone(Exception):
    """The object that a record stands for ended with its process, or with the queue that it was put into."""


class _Kept:
    """An object, and something that can be referred to weakly."""

    __slots__ = ("__weakref__", "item")

    def __init__(self, item: object) -> None:
        self.item = item


# Handles of one process on one store see each other's records.
_kept: weakref.WeakValueDictionary[int, _Kept] = weakref.WeakValueDictionary()


class Objects:
    """The objects that one queue keeps."""

    def __init__(self, loads: Callable[[bytes], Any]) -> None:
        self._own: dict[int, _Kept] = {}
        self._items = loads

    def loads(self, payload: bytes) -> Any:
        """The item of any payload of the queue. Raises Gone, and what the serializer raises."""
        if payload[:1] == b"\0":
            if live.is_live(payload):
                return self.find(payload)
            payload = live.unescape(payload)
        return self._items(payload)

    def keep(self, item: object) -> bytes:
        """Keep it; the payload that stands for it."""
        if item is None:
            return live.payload(_NONE)
        number = next(_numbers)
        _kept[number] = self._own[number] = _Kept(item)
        return live.payload(number)

    def find(self, payload: bytes) -> Any:
        """The object. Raises Gone."""
        number = live.number(payload)
        if number == _NONE:
            return None
        kept = None if number is None else _kept.get(number)
        if kept is None:
            raise Gone
        return kept.item

    def forget(self, payload: bytes) -> None:
        """Its record is acknowledged."""
        number = live.number(payload)
        if number is not None:
            self._own.pop(number, None)

    def clear(self) -> None:
        """In a forked child: these are the parent's."""
        self._own.clear()
