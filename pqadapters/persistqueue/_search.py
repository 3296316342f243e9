"""Which item is the next one: by the items' ids, which for tickets aren't the records'. See _states.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from ..store import Claim, Order, Record, State, Store
from ._claiming import Claiming
from ._rows import FRESH, id_of, ids_in

_MANY = 100_000  #: tickets that are remembered


class _Looked(NamedTuple):
    """What was seen of the records with ids from `low` to `high`: these were of items never got, the newest first. No
    more of them come in between; some may be gone."""

    high: int = 0
    low: int = 0
    fresh: tuple[int, ...] = ()

    def without(self, id: int) -> _Looked:
        return self._replace(fresh=tuple(other for other in self.fresh if other != id))


class Search:
    """What stands where in one queue. `newest`: the item put last is the first. `ready`: the table of items that wait
    again."""

    def __init__(self, store: Store, queue: str, ready: str, claiming: Claiming, *, newest: bool) -> None:
        self._store, self._queue, self._ready, self._newest = store, queue, ready, newest
        self._claiming = claiming
        self._looked = _Looked()
        self._tickets: dict[int, int] = {}  #: by item; it may have another one by now

    def first(self, claim: Claim) -> Claim:
        """The claimed record, or the one that waits in front of it, in its place."""
        if claim.rank == FRESH:
            return claim  # tickets are newer than what they stand for, so that one in front would have been claimed
        if self._newest:
            return self._newest_of(claim)
        better = self._in_front(id_of(claim))
        other = self._instead(claim, better) if better else None
        return claim if other is None else other

    def _in_front(self, id: int) -> int | None:
        """The record of what waits in front of that item. A backlog isn't read through for each that was given back."""
        older = takewhile(lambda record: record.id < id, self._store.browse(self._queue, order=Order.OLDEST))
        return next((record.id for record in older if record.rank == FRESH), None)

    def newest_ticket(self, claim: Claim) -> Claim | None:
        """In place of a ticket, which needn't be that of the newest item: the first by rank. None where others have
        it by now."""
        if self._store.count(self._ready) < 2:
            self._looked = _Looked()
            return claim
        self._claiming.give_back(claim)
        first = self._claiming.first(Order.RANK, 0.0)
        if first is None or first.rank != FRESH:
            return first
        try:
            self._claiming.give_back(first)
        except BaseException:  # a signal handler's
            self._claiming.give_back(first)
            raise
        return None

    def _newest_of(self, claim: Claim) -> Claim:
        """That of the newest ticket, or of an item that was never got, and is newer."""
        while (fresh := self._newest_fresh(id_of(claim))) is not None:
            looked = self._looked.without(fresh)
            other = self._instead(claim, fresh)
            self._looked = looked  # no call behind that: whoever has a claim says so
            if other is not None:
                return other
        return claim

    def _newest_fresh(self, above: int) -> int | None:
        """The newest item that was never got, if its id is above that one. It lies behind tickets, as a rule, which are
        read through once, and not for each item."""
        while True:
            self._looked = looked = self._look()
            if looked.fresh and looked.fresh[0] > above:
                return looked.fresh[0]
            if looked.fresh or looked.low <= above:
                return None
            self._looked = _Looked()

    def _look(self) -> _Looked:
        before, fresh, tickets, top = self._looked, list[int](), 0, 0
        for record in self._store.browse(self._queue, order=Order.NEWEST):
            top = top or record.id
            if record.id <= before.high:
                return _Looked(top, before.low, (*fresh, *before.fresh))
            if record.rank != FRESH:
                tickets += 1
                continue
            fresh.append(record.id)
            if len(fresh) > tickets:
                return _Looked(top, record.id, tuple(fresh))
        return _Looked(top, 0, tuple(fresh))

    def _instead(self, claim: Claim, record: int) -> Claim | None:
        """That record, and the claimed one waits again; None where another has it just now."""
        other = self._claiming.exactly(record)
        try:
            if other is not None:
                self._claiming.give_back(claim)
        except BaseException:
            if other is not None:
                self._claiming.give_back(other)
            raise
        return other

    def behind(self, id: int) -> int | None:
        """The record of what waits next behind that item."""
        again = self._store.count(self._ready)
        fresh = self._waiting(id - 1 if self._newest else id + 1)  # as a rule
        if fresh is None or fresh.rank != FRESH:
            depth = self._store.depth(self._queue, age=False)
            records = self._fresh(after=id) if depth.unfinished > again else iter(())
            fresh = next((record for record in records if self._is_behind(record.id, id)), None)
        return self._nearest([other for other in ids_in(self._store, self._ready) if self._is_behind(other, id)], fresh)

    def _waiting(self, id: int) -> Record | None:
        record = self._claiming.record(id)
        return record if record is not None and record.state is State.READY else None

    def _nearest(self, ready: list[int], fresh: Record | None) -> int | None:
        """The record of the first one in the queue's order, of items that wait again and one that was never got."""
        for id in sorted(ready, reverse=self._newest):
            if fresh is not None and self._is_behind(id, fresh.id):
                break
            if (ticket := self.ticket_of(id)) is not None:
                return ticket
        return None if fresh is None else fresh.id

    def ticket_of(self, id: int) -> int | None:
        """The record by which that item waits again. It is newer than the item, and as a rule among the newest ones;
        those that are passed on the way to it are remembered, for who goes from item to item."""
        known = self._tickets.get(id)
        if known and self._waiting(known) is not None:
            return known
        if len(self._tickets) > _MANY:
            self._tickets = {}
        passed: dict[int, int] = {}
        for record in takewhile(lambda record: record.id > id, self._store.browse(self._queue, order=Order.NEWEST)):
            if record.rank != FRESH and passed.setdefault(id_of(record), record.id) and id in passed:
                break
        self._tickets.update(passed)
        return passed.get(id)

    def _is_behind(self, id: int, other: int) -> bool:
        return id < other if self._newest else id > other

    def _fresh(self, after: int) -> Iterator[Record]:
        """What was never got and waits, in the queue's order; `after` where that is by rising ids."""
        if self._newest:
            records = self._store.browse(self._queue, order=Order.NEWEST)
        else:
            records = self._store.browse(self._queue, order=Order.OLDEST, after=after)
        return (record for record in records if record.rank == FRESH)
