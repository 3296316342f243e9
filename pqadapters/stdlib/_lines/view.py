"""The live view behind `q.queue`: what is ready, as the container that the standard library keeps there.

It holds no items: each look is a look at the store, each item a fresh copy. Changes go to the store and are as durable
as those of put() and get(). None of them changes how many tasks are unfinished, as in the standard library: what is
taken out by hand is still to be said done. Any thread may use it, with or without `q.mutex`, which it doesn't touch.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Set
from contextlib import suppress
from itertools import islice
from operator import ne
from queue import Empty
from typing import Any, overload

from ...errors import ShutDown, StoreError
from ...living import living
from ...store import Ack, Claim, Order, Put
from ...wording import excerpt_of
from .kept import keep
from .line import Line
from .stock import ALL

_shown: weakref.WeakValueDictionary[int, View] = weakref.WeakValueDictionary()  #: by id: they can't be hashed
_CHUNK, _CHUNK_BYTES = 10_000, 32 << 20  #: that are dropped at a time
_ALL, _FRONT = slice(None), slice(0, 0)
_TRIES = 10  #: to drop what others may take meanwhile, or have locked


class View:
    """A queue's ready items, oldest first; in a priority queue in the order in which they will leave. What can't be
    decoded is counted, and has no index: it stays where it is, unless all goes."""

    def __init__(self, line: Line, queue: object) -> None:
        self._line = line
        self._queue = queue  #: kept: one that is let go of is closed
        self._order = None if line.ranked else Order.OLDEST

    def shown(self) -> View:
        """Itself, which the program has from now on."""
        _shown[id(self)] = self
        return self

    def __len__(self) -> int:
        return self._line.ready()

    def __iter__(self) -> Iterator[Any]:
        yield from self._line.items(self._order)

    def __reversed__(self) -> Iterator[Any]:
        yield from list(self)[::-1] if self._line.ranked else self._line.items(Order.NEWEST)

    def __contains__(self, item: object) -> bool:
        return any(each is item or each == item for each in self)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """The item at the index; the two ends are cheap. Of a slice a list. Raises IndexError."""
        if isinstance(index, slice):
            return list(self)[index]
        found = iter(self) if index >= 0 else reversed(self)
        for item in islice(found, index if index >= 0 else -index - 1, None):
            return item
        raise IndexError(f"{self._line.label} has no item {index}")

    def __setitem__(self, index: int | slice, item: Any) -> None:
        """Put an item, or several, in the place of others, in one commit. In a priority queue, which has its own order,
        these come and those go. Raises IndexError."""
        going = self._ids(index) if self._line.ranked else []
        self._put_at(index, list(item) if isinstance(index, slice) else [item])
        if going:
            self._drop(ids=going, limit=len(going))

    def append(self, item: object) -> None:
        """Put an item, whatever `maxsize` says. As in the standard library it's put() that counts an unfinished task,
        or who appends by hand."""
        line = self._line
        line.stow(item, line.make(item))
        line.counts.add(adjustment=-1)

    def extend(self, items: Iterable[object]) -> None:
        """Put items, as `append` does."""
        for item in items:
            self.append(item)

    def __iadd__(self, items: Iterable[object]) -> View:
        """`q.queue += items`, as `extend`."""
        self.extend(items)
        return self

    def appendleft(self, item: object) -> None:
        """Put an item before all that are ready."""
        self.extendleft([item])

    def extendleft(self, items: Iterable[object]) -> None:
        """Put items before all that are ready, one before the other."""
        self._put_at(_FRONT, list(items)[::-1])

    def insert(self, index: int, item: object) -> None:
        """Put an item before that index. All that is behind it is written anew, in one commit. A priority queue has its
        own order: there it is as `append`."""
        self._put_at(slice(index, index), [item])

    def rotate(self, n: int = 1) -> None:
        """Move `n` items from the end to the front; from the front to the end where it is negative."""
        self._turn(lambda puts: puts[-n % len(puts) :] + puts[: -n % len(puts)] if puts else puts)

    def reverse(self) -> None:
        """Turn the order of what is ready."""
        self._turn(lambda puts: puts[::-1])

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Put what is ready in that order. A priority queue has its own."""
        if not self._line.ranked:
            decode = self._line.decode

            def rank(put: Put) -> Any:
                return decode(put.payload) if key is None else key(decode(put.payload))

            self._turn(lambda puts: sorted(puts, key=rank, reverse=reverse))

    def popleft(self) -> Any:
        """Take the first item, as get_nowait() does. Raises IndexError if there is none."""
        return self._pop(self._order)

    def pop(self, index: int = -1) -> Any:
        """Take the item at the index: the last item put; in a priority queue the first to leave, unless an index is
        given that isn't -1. Raises IndexError if there is none."""
        if index == -1:
            return self._pop(None if self._line.ranked else Order.NEWEST)
        for _ in range(_TRIES):
            with suppress(NothingReady):  # others were faster: it is another item's index by now, or none's
                return self._pop(Order.OLDEST, self._ids(index))
        raise IndexError(f"{self._line.label}: others take what is at {index} again and again")

    def _pop(self, order: Order | None, ids: list[int] | None = None) -> Any:
        try:
            return self._line.take(0.0, order=order, ids=ids)
        except (Empty, ShutDown):
            raise NothingReady(f"{self._line.label} is empty") from None

    def remove(self, item: object) -> None:
        """Drop the first item that is equal. Raises ValueError if there is none."""
        line = self._line
        for record, each in line.decoded(self._order):
            if each == item and self._drop(ids=[record.id]):
                return
        raise ValueError(f"{excerpt_of(item)} is not in {line.label}")

    def __delitem__(self, index: int | slice) -> None:
        """Drop the item at the index, or the slice. Raises IndexError."""
        for _ in range(_TRIES):
            going = self._ids(index)
            if not going or self._drop(ids=going, limit=len(going)):
                return  # else others were faster: it is another item's index by now, or none's
        raise IndexError(f"{self._line.label}: others take what is at {index} again and again")

    def _ids(self, index: int | slice) -> list[int]:
        if index == _ALL:
            return [record.id for record in self._line.records(self._order)]
        ids = [record.id for record, _ in self._line.decoded(self._order)]
        if isinstance(index, slice):
            return ids[index]
        if not -len(ids) <= index < len(ids):
            raise IndexError(f"{self._line.label} has no item {index}")
        return [ids[index]]

    def index(self, item: object, start: int = 0, stop: int | None = None) -> int:
        """Where the first item is that is equal. Raises ValueError."""
        try:
            return list(self).index(item, start, ALL if stop is None else stop)
        except ValueError:
            raise ValueError(f"{excerpt_of(item)} is not in {self._line.label}") from None

    def count(self, item: object) -> int:
        """How many items are equal."""
        return list(self).count(item)

    def __add__(self, other: Iterable[object]) -> Any:
        """A container of the standard library's kind, as of all that follows here."""
        added: Any = other.copy() if isinstance(other, View) else other
        return self.copy() + added

    def __radd__(self, other: Any) -> Any:
        return other + self.copy()

    def __mul__(self, times: int) -> Any:
        return self.copy() * times

    __rmul__ = __mul__

    @property
    def maxlen(self) -> None:
        """There is none, as a deque without one says."""
        return None

    def copy(self) -> Any:
        """The items, in a container of the standard library's kind."""
        return self._kind(self)

    @property
    def _kind(self) -> type[deque[Any]] | type[list[Any]]:
        return deque if self._line.order is Order.OLDEST and not self._line.ranked else list

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, by whatever means, is what was in it then."""
        return self._kind, (list(self),)

    def clear(self) -> None:
        """Drop what is ready, and nothing for which there is room only now. What consumers hold stays theirs."""
        left = self._line.ready()
        most = self._at_once() if left > 1 else 1
        while left > 0 and not self._line.flags.cut and (dropped := self._drop(limit=min(left, most))):
            left -= dropped

    def _at_once(self) -> int:
        """How many are dropped at a time: their payloads are read on the way, of large ones all the memory there is."""
        depth = self._line.store.depth(self._line.name, age=False)
        return max(1, min(_CHUNK, _CHUNK_BYTES * depth.unfinished // (depth.bytes + 1)))

    def replace(self, items: Iterable[Any]) -> None:
        """What `q.queue = items` means: these, in place of what is there, in one commit. Views that the program still
        has keep what was there, as the standard library's container does, and it stays unfinished."""
        if isinstance(items, View) and items._line is self._line:  # as behind `q.queue += items`
            return
        line = self._line
        shown = [view for view in living(_shown) if isinstance(view, View) and view._line is line]
        kept: list[Any] = []
        self._exchange(_ALL, list(items), kept if shown else None)
        if shown:
            container = self._kind(kept)
            for view in shown:
                keep(view, container)

    def _put_at(self, index: int | slice, items: list[Any]) -> None:
        if self._line.ranked:
            self.extend(items)
        else:
            self._exchange(index, items)

    def _exchange(self, index: int | slice, items: list[Any], kept: list[Any] | None = None) -> None:
        """In the place of what is there; those that come in addition were put by hand, as `append` has it. `kept` gets
        the items that were there."""
        line = self._line
        more = less = 0
        made = [line.make(item) for item in items]

        def with_them(puts: list[Put]) -> list[Put]:
            nonlocal more, less
            if kept is not None:
                kept[:] = self._decoded(puts)
            after = self._exchanged(puts, index, made)
            more, less = max(0, len(after) - len(puts)), max(0, len(puts) - len(after))
            line.counts.drop(less)
            return after

        try:
            self._arrange(with_them)
        except BaseException as error:
            line.counts.add(adjustment=-less)
            if isinstance(error, Exception):
                line.objects.forget(put.payload for put in made)
            raise
        line.counts.add(adjustment=-more)

    def _exchanged(self, puts: list[Put], index: int | slice, made: list[Put]) -> list[Put]:
        after = puts.copy()
        if index in (_ALL, _FRONT):
            after[index] = made
            return after
        places = self._places(puts)
        if not isinstance(index, slice):
            after[places[index]] = made[0]
        elif index.step not in (None, 1):
            for place, put in zip(_as_many(places[index], made), made, strict=True):
                after[place] = put
        else:
            start, stop, _ = index.indices(len(places))
            first = places[start - 1] + 1 if start else 0
            last = places[stop - 1] + 1 if stop > start else first
            gone = {*places[start:stop]}
            after[first:last] = [*made, *(puts[place] for place in range(first, last) if place not in gone)]
        return after

    def _turn(self, changed: Callable[[list[Put]], list[Put]]) -> None:
        """Put what has an index in another order."""

        def turned(puts: list[Put]) -> list[Put]:
            places, after = self._places(puts), puts.copy()
            for place, put in zip(places, changed([puts[place] for place in places]), strict=True):
                after[place] = put
            return after

        self._arrange(turned)

    def _places(self, puts: list[Put]) -> list[int]:
        """Where those are that have an index."""
        places = []
        for place, put in enumerate(puts):
            with suppress(Exception):
                self._line.decode(put.payload)
                places.append(place)
        return places

    def _decoded(self, puts: list[Put]) -> list[Any]:
        """Their items in the order in which they would leave; without those that can't be decoded."""
        found = []
        for put in sorted(puts, key=lambda put: put.rank) if self._line.ranked else puts:
            with suppress(Exception):
                found.append(self._line.decode(put.payload))
        return found

    def _arrange(self, changed: Callable[[list[Put]], list[Put]]) -> None:
        """Put what is ready in another order, in one commit: from the first place on at which something changes."""
        line = self._line
        claims: list[Claim] = []
        before: list[Put] = []
        try:
            claims = line.claim(line.name, limit=ALL)
            before = [
                Put(line.name, claim.payload, claim.rank, attempts=claim.attempt - 1, put_at=claim.put_at)
                for claim in claims
            ]
            after = changed(before)
            shared = min(len(before), len(after))
            first = next((at for at, moved in enumerate(map(ne, before, after)) if moved), shared)
            if first < max(len(before), len(after)):
                first = first if line.max_attempts is None else 0
                line.commit(*[Ack(claim) for claim in claims[first:]], *after[first:])
                del claims[first:]
        finally:
            self._give_back(claims, before)

    def _give_back(self, claims: list[Claim], puts: list[Put]) -> None:
        """What these were made of stays as it is. A claim that is released is an attempt: where those have a limit,
        records that nobody was given would come to it."""
        line = self._line
        if claims and line.max_attempts is not None and len(puts) == len(claims):
            with suppress(StoreError):
                line.commit(*[Ack(claim) for claim in claims], *puts)
                return
        line.release(claims)

    def _drop(self, **which: Any) -> int:
        """Take them out for good, as the arguments of `claim` say. Returns how many."""
        line = self._line
        claims: list[Claim] = []
        counted = 0
        try:
            claims = line.claim(line.name, **which)
            if claims:
                counted = line.counts.drop(len(claims))
                line.commit(*[Ack(claim) for claim in claims])
        except BaseException:
            line.counts.add(adjustment=-counted)
            line.release(claims)
            raise
        return len(claims)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (View, self._kind)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like the containers that it stands for

    def __repr__(self) -> str:
        """As its container's: programs print it."""
        return repr(self.copy())


MutableSequence.register(View)  # as the containers are, for who asks: `random.sample`, `match`


def is_plain(container: object) -> bool:
    """Whether it does what ours does: a deque with a `maxlen`, a heir with an `append` of its own and a set don't."""
    if isinstance(container, (deque, list, Set, Mapping)):
        return type(container) in (deque, list) and getattr(container, "maxlen", None) is None
    return True


def _as_many(places: list[int], made: list[Put]) -> list[int]:
    if len(places) != len(made):
        raise ValueError(f"attempt to assign sequence of size {len(made)} to extended slice of size {len(places)}")
    return places


class NothingReady(IndexError):
    """There was nothing to take. `_get` hooks see the IndexError that the standard library's container raises."""
