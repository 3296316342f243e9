"""A line of a queue that one run of a program has, with its children: what earlier runs left is treated as such."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ... import live
from ...home.families import MARKED, Reference
from ...store import Store
from .._lines.line import Line
from .._lines.objects import flag


class FamilyLine(Line):
    """`None`, which programs put to stop their workers, ends with the run that put it; and what earlier runs left is
    never counted against `maxsize`."""

    def __init__(self, store: Store, reference: Reference, **options: Any) -> None:
        super().__init__(store, reference.queue, **options)
        self._left = reference.left
        self._marker = live.payload(0, reference.token)
        self._flagged = False
        self.decode = partial(_decode, self._marker, self.decode)

    def _encode_marker(self, item: object) -> bytes:
        if item is not None:
            return live.escape(self.dumps(item))  # as any other process's object() it comes back as another one
        if not self._flagged:
            flag(self.store, self.name, MARKED)
            self._flagged = True
        return self._marker

    def bound(self, maxsize: int) -> int:
        return maxsize + self.left() if maxsize > 0 else maxsize

    def left(self) -> int:
        """How many records may be left of those that earlier runs had left."""
        if self._left:
            self._left = min(self._left, self.store.depth(self.name, age=False).unfinished)
        return self._left


def _decode(marker: bytes, decode: Callable[[bytes], Any], payload: bytes) -> Any:
    return None if payload == marker else decode(payload)
