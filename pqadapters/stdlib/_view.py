"""The live view behind `q.queue`: what is ready, as the container that the standard library keeps there.

It holds no items: each look is a look at the store, each item a fresh copy. Changes go to the store and are as durable
as those of put() and get(). Any thread may use it, with or without `q.mutex`, which it doesn't touch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from queue import Empty
from typing import Any

from ..errors import ShutDown
from ..store import Ack, Claim, Order
from ._line import Line

_CHUNK = 10_000


class View:
    """A queue's ready items, oldest first; in a priority queue in the order in which they will leave."""

    def __init__(self, line: Line, queue: object) -> None:
        self._line = line
        self._queue = queue  #: kept: one that is let go of is closed
        self._order = None if line.ranked else Order.OLDEST

    def __len__(self) -> int:
        return self._line.ready()

    def __iter__(self) -> Iterator[Any]:
        yield from self._line.items(self._order)

    def __reversed__(self) -> Iterator[Any]:
        yield from list(self)[::-1] if self._line.ranked else self._line.items(Order.NEWEST)

    def __contains__(self, item: object) -> bool:
        return any(each is item or each == item for each in self)

    def __getitem__(self, index: int) -> Any:
        """The item at the index; the two ends are cheap. Raises IndexError."""
        found = iter(self) if index >= 0 else reversed(self)
        for item in islice(found, index if index >= 0 else -index - 1, None):
            return item
        raise IndexError(f"{self._line.label} has no item {index}")

    def append(self, item: object) -> None:
        """Put an item, whatever `maxsize` says. As in the standard library it's put() that counts an unfinished task,
        or who appends by hand."""
        line = self._line
        line.stow(item, line.make(item))
        line.counts.add(adjustment=-1)

    def popleft(self) -> Any:
        """Take the first item, as get_nowait() does. Raises IndexError if there is none."""
        return self._pop(self._order)

    def pop(self) -> Any:
        """Take the last item put; in a priority queue the first to leave. Raises IndexError if there is none."""
        return self._pop(None if self._line.ranked else Order.NEWEST)

    def _pop(self, order: Order | None) -> Any:
        try:
            return self._line.take(0.0, order=order)
        except (Empty, ShutDown):
            raise NothingReady(f"{self._line.label} is empty") from None

    def remove(self, item: object) -> None:
        """Drop the first item that is equal. Raises ValueError if there is none."""
        line = self._line
        for record in line.records(self._order):
            if line.decode(record.payload) == item and self._drop(ids=[record.id]):
                return
        raise ValueError(f"{item!r} is not in {line.label}")

    def clear(self) -> None:
        """Drop everything that is ready. What consumers hold stays theirs."""
        while not self._line.flags.cut and self._drop(limit=_CHUNK):
            pass

    def replace(self, items: list[Any]) -> None:
        """What `q.queue = items` means: these, in place of what is there."""
        self.clear()
        for item in items:
            self.append(item)

    def _drop(self, **which: Any) -> bool:
        """Take them out for good, as the arguments of `claim` say; False if there is none."""
        line = self._line
        claims: list[Claim] = []
        try:
            claims = line.claim(line.name, **which)
            if claims:
                line.commit(*[Ack(claim) for claim in claims])
        except BaseException:
            line.release(claims)
            raise
        return bool(claims)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, View) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like the containers that it stands for

    def __repr__(self) -> str:
        return f"<view of {self._line.label}: {list(self)!r}>"


class NothingReady(IndexError):
    """There was nothing to take. `_get` hooks see the IndexError that the standard library's container raises."""
