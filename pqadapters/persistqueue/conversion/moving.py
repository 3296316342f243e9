"""Items on their way into the queues and mappings of a store, some hundred in a commit.

Each commit says in a table how far it has come, so that what is broken off can be carried on in the same store, with no
item twice and none left out; a source that was used since is refused. Of two that move the same at once one goes on:
a commit takes place only where the last one was its own. Nobody else may use the target queues meanwhile. Memory: one
commit's items.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any

from ... import live
from ...errors import ConditionFailed, StoreError, StoreLocked, StoreRefused, StoreUnreachable, TooLarge
from ...portions import portions
from ...rank import rank
from ...serializers import pickle
from ...serializers.signed import Seal, seal_for, unsigned
from ...stdlib._mappings.keys import Keys
from ...store import Ack, Expect, Op, Put, Set, Store
from .._rows import FRESH, KEY, Row
from .._states import INITED, READY, UNACK, States
from .report import Progress
from .rows import SET, STATES, WAITING, Item, status_of
from .tables import DICT, FILES, MAPPINGS, PRIORITY, SHELF, Table
from .unique import owe

MOVED = "pqadapters.moved-here"  #: table of a store: source -> JSON: how many in each state, and which
_WHICH = "sha256"  #: in it: a digest of them all
_RESERVED = "pqadapters.reserved-ids"  #: queue of records whose ids are given to items that aren't records
_AT_ONCE = 1000  #: of one commit
_NOBODY = KEY.pack(0)  #: the holder of an item that a process had which is gone
_PICKLED = b"p"  #: how a mapping's value begins
_LOWEST = rank(-math.inf)[0]


class Mover:
    """Into one store. `source` names where the items come from, for who carries on."""

    def __init__(self, store: Store, source: str, progress: Progress = lambda more: None) -> None:
        self._store, self._source, self._progress = store, source, progress
        self._hosts = store.capabilities.hosts
        self._seal: Seal | None = seal_for(None, hosts=self._hosts)
        self._keys = Keys(pickle)
        self._which = ""  #: digest of the items of this part that are there
        self._note: bytes | None = None  #: what the store says of this part

    @property
    def place(self) -> str:
        """Where they go."""
        return self._store.place

    # How far it has come

    def done(self, part: str) -> dict[str, int]:
        """How many of a part's items are there already, by state."""
        self._note = self._store.get(MOVED, self._key(part))
        return {state: int(count) for state, count in self._noted().items() if state != _WHICH}

    def _noted(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._note or b"{}")
        return found

    def _key(self, part: str) -> bytes:
        return f"{self._source}#{part}".encode("utf-8", "surrogateescape")

    def _commit(self, part: str, counts: dict[str, int], state: str, batch: list[Item], ops: list[Op]) -> None:
        new, which = {**counts, state: counts.get(state, 0) + len(batch)}, _digest(self._which, batch)
        note = json.dumps({**new, _WHICH: which}).encode()
        expected = Expect.ABSENT if self._note is None else self._note
        try:
            self._store.commit(*ops, Set(MOVED, self._key(part), note, expected))
        except ConditionFailed:
            raise StoreLocked(
                f"{self._source} is being moved into {self.place} by another process, too. That one goes on, and no "
                "item is there twice: wait for its end"
            ) from None
        except TooLarge as error:
            size, key = max((len(item.payload), f"{item.key!r:.100}") for item in batch)
            raise TooLarge(
                f"{self._source}: item {key} of {part}, of {size:,} bytes, can't be moved, and those behind it wait. "
                f"What is before it was moved: when it can be, do the same again, and it goes on there ({error})"
            ) from error
        self._which, self._note = which, note
        counts.update(new)
        self._progress(len(batch))

    def _rest(self, part: str, items: Iterator[Item], count: int) -> Iterator[Item]:
        """Those that aren't there yet. Raises StoreRefused where the first ones aren't those that are."""
        self._which = _digest("", islice(items, count)) if count else ""
        if count and self._which != self._noted().get(_WHICH):
            raise StoreRefused(
                f"{self._source} was used since {count} items of {part} were moved into {self.place}: where to go on "
                "nobody can tell. Move it into another store"
            )
        return items

    # Moving

    def move(self, table: Table, items: Iterable[Item]) -> dict[str, int]:
        """All of them; how many there are now in each state. Raises StoreError, ValueError for pickles that would have
        to be signed."""
        counts = self.done(table.target)
        before, known = in_store(self._store, table), dict(counts)
        if table.kind in MAPPINGS and before and not known:
            raise StoreRefused(f"{self.place} has a mapping {table.name!r} already: its keys would be lost in it")
        self._move(table, self._rest(table.target, iter(items), sum(counts.values())), counts)
        self._check(table, before, known, counts)
        return counts

    def _check(
        self, table: Table, before: dict[str, int], known: dict[str, int], counts: dict[str, int]
    ) -> None:
        """What is said to have been moved is there."""
        after = in_store(self._store, table)
        for state in {*before, *known, *counts, *after}:
            came = after.get(state, 0) - before.get(state, 0)
            if came != counts.get(state, 0) - known.get(state, 0):
                raise StoreError(
                    f"{self.place}: {came} items of {table.target} are there that are {state}, and "
                    f"{counts.get(state, 0) - known.get(state, 0)} were put. Does another program use it meanwhile?"
                )

    def _move(self, table: Table, rest: Iterable[Item], counts: dict[str, int]) -> None:
        if table.unique:
            owe(self._store, table.target)
        if table.acknowledges:
            states = States(self._store, table.target, newest="filo" in table.kind, timeout=60.0)
            for status, batch in _runs(rest):
                self._acknowledged(table, states, status, batch, counts)
            return
        state = SET if table.kind in MAPPINGS else WAITING
        for batch in portions(rest, _size, count=_AT_ONCE):
            ops = [op for item in batch for op in self._ops(table, item)]
            self._commit(table.target, counts, state, batch, ops)

    def _ops(self, table: Table, item: Item) -> Iterator[Op]:
        if table.kind == DICT:
            yield Set(table.target, self._keys.encode(item.key), _PICKLED + self._sealed(item.payload))
            return
        payload = self._sealed(item.payload)
        if table.kind == SHELF:
            yield Set(table.target, item.key, payload)
            return
        if table.kind == FILES:
            payload = live.escape(payload)
        place = _rank(item.mark) if table.kind == PRIORITY else b""
        yield Put(table.target, payload, place, put_at=item.when)

    def check(self, payload: object) -> None:
        """Raises ValueError for a pickle that would have to be signed, and can't be."""
        if isinstance(payload, bytes):
            self._sealed(payload)

    def _sealed(self, payload: bytes) -> bytes:
        if self._seal is not None:
            return self._seal.sign(payload)
        if self._hosts and payload[:1] == b"\x80" and payload[-1:] == b".":
            raise ValueError(unsigned(self._store.place))
        return payload

    # Acknowledging queues

    def _acknowledged(
        self, table: Table, states: States, status: int, batch: list[Item], counts: dict[str, int]
    ) -> None:
        payloads = [self._sealed(item.payload) for item in batch]
        ops: list[Op] = []
        state = str(status)
        if state == INITED:
            puts = zip(batch, payloads, strict=True)
            ops += [Put(table.target, payload, FRESH, put_at=item.when) for item, payload in puts]
        else:
            for id, item, payload in zip(self._reserve(len(batch), ops), batch, payloads, strict=True):
                ops += _got(states, Row(id, item.when, payload), state)
        self._commit(table.target, counts, STATES[status], batch, ops)

    def _reserve(self, count: int, ops: list[Op]) -> list[int]:
        """Ids that no record has. What holds them goes with these operations."""
        while left := self._store.claim(_RESERVED, limit=_AT_ONCE):  # by who was broken off
            self._store.commit(*map(Ack, left))
        self._store.commit(*[Put(_RESERVED, b"")] * count)
        claims = self._store.claim(_RESERVED, limit=count)
        if len(claims) != count:
            raise StoreError(f"{self._store.place}: another program is converting into it; nothing was lost. Try again")
        ops += map(Ack, claims)
        return [claim.id for claim in claims]


@contextmanager
def goes_on(place: str) -> Iterator[None]:
    """A lost connection is said to have broken off all of it: what is said of one call, that nothing of it was stored,
    is wrong of the others before it."""
    try:
        yield
    except StoreUnreachable as error:
        raise StoreUnreachable(
            f"{place}: what is there was being moved, and that was broken off. Nothing is lost or there twice: do the "
            f"same again, and it goes on where it was ({error})"
        ) from error


def _got(states: States, row: Row, state: str) -> list[Op]:
    """An item that was got before is in that state; an unack one in the hands of nobody who lives."""
    if state == UNACK:
        return [states.stored(row), Set(states.table(UNACK), KEY.pack(row.id), _NOBODY)]
    return [states.stored(row), *states.entering(row.id, state)]


def _digest(before: str, items: Iterable[Item]) -> str:
    """Of those that it says, and these behind them."""
    for item in items:
        found = hashlib.sha256(f"{before} {item.key!r} {item.mark!r} ".encode("utf-8", "surrogateescape"))
        found.update(item.payload)
        before = found.hexdigest()
    return before


def _rank(priority: Any) -> bytes:
    """As SQLite sorts: nothing at all stands in front of all numbers, text and bytes behind them."""
    return _LOWEST if priority is None else rank(priority)[0]


def _size(item: Item) -> int:
    return len(item.payload)


def _runs(items: Iterable[Item]) -> Iterator[tuple[int, list[Item]]]:
    """Batches of items of one status, as they follow each other."""
    for status, run in groupby(items, key=lambda item: status_of(item.mark)):
        for batch in portions(run, _size, count=_AT_ONCE):
            yield status, batch


def in_store(store: Store, table: Table) -> dict[str, int]:
    """How many items a store has in that part, in each state."""
    name = table.target
    if table.kind in MAPPINGS:
        found = {SET: store.count(name)}
    elif table.acknowledges:
        found = {STATES[status]: store.count(f"{name}/{status}") for status in STATES if str(status) != INITED}
        found[STATES[0]] = store.depth(name).unfinished - found[STATES[int(READY)]]
    else:
        found = {WAITING: store.depth(name).unfinished}
    return {state: count for state, count in found.items() if count}
