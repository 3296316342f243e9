"""Moving what dead processes left in their slots into our own, in the order in which it was put.

The order within a slot is that of its ids; between slots the wall clock decides, and one that jumped back never
reorders a slot. What this process has put stands behind all of it. Records are moved in commits of some hundred, each
together with how far it got, and each is synced, so that a crash in the middle neither loses nor doubles any. (Where
the slot in which it was broken off isn't taken but adopted, records of different slots may change places.) An adopted
slot goes when all that was in it is synced in ours.

However many slots there are, few are open at a time, and few of their records are in memory.

For one thread at a time; nobody else may use the slot's store meanwhile.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from .. import live, telling
from ..errors import PqadaptersError, StoreError
from ..opening import open_estate
from ..portions import portions
from ..store import Ack, Claim, Nack, Op, Order, Put, Record, Set, Store, dead_queue

if TYPE_CHECKING:
    from ..stores.segment.estates import Estate, Spans
    from ..stores.segment.slots import Slot, Slots
    from ..stores.segment.store import SegmentStore

_log = telling.logger("pqadapters.home")

QUEUE = "default"  #: the one queue of a slot
DEAD = dead_queue(QUEUE)
LEFT_BEHIND = "left behind: the queue that it was put into was made for one call, and that call is over"

_RECORDS, _BYTES = 500, 1 << 20  #: of one commit, and read from a slot at a time
_AHEAD_RECORDS, _AHEAD_BYTES = 50_000, 32 << 20  #: read from all slots together
_OPEN = 32  #: slots that are open at a time, for more of their records
_KEPT = 10_000  #: dead letters of a place that makes a queue for each call


class Moved(NamedTuple):
    """What an adoption came to."""

    items: int = 0  #: records that are ready, or will be
    letters: int = 0  #: dead letters
    dropped: int = 0  #: records that ended with their process

    def plus(self, more: Moved) -> Moved:
        return Moved(self.items + more.items, self.letters + more.letters, self.dropped + more.dropped)


class _Entry(NamedTuple):
    time: float  #: when it was put
    id: int
    size: int
    estate: Estate | None = None  #: None: it is in our slot already
    record: Record | None = None


def adopt(
    slots: Slots, slot: Slot, *, ends: Callable[[bytes], bool], transient: bool, tables: Sequence[str] = ()
) -> Moved:
    """Adopt the slots that nobody holds. `ends` tells payloads that ended with their process; `transient`: what is left
    in them goes to the dead letters; keys of the `tables` that ours don't have are taken over, too. Raises StoreError
    where our own slot can't take it; nothing is lost then."""
    estates = slots.adopt(slot)
    if not estates:
        return Moved()
    mover = _Mover(slots, slot, ends, transient)
    done = mover.run(estates)
    for estate in done if tables else ():
        _take_over_keys(estate, slot.store, tables)
    slot.store.checkpoint()  # whatever the durability: what is taken away next is synced here
    slots.bury(slot, done)
    return mover.moved


def _take_over_keys(estate: Estate, store: Store, tables: Sequence[str]) -> None:
    """Once more, should it have been broken off: it changes nothing then."""
    source = open_estate(estate, repair=False)
    try:
        for table in tables:
            for key, value in source.scan(table):
                if store.get(table, key) is None:
                    store.commit(Set(table, key, value))
    finally:
        source.discard()


class _Mover:
    def __init__(self, slots: Slots, slot: Slot, ends: Callable[[bytes], bool], transient: bool) -> None:
        self._slots, self._slot, self._store = slots, slot, slot.store
        self._ends, self._transient = ends, transient
        self._unread: set[str] = set()
        self.moved = Moved()

    def run(self, estates: list[Estate]) -> list[Estate]:
        """Move what is in them; those that were read to their end."""
        with closing(_Reader(len(estates))) as reader:
            sources = [self._entries(estate, reader) for estate in estates if not estate.ended]
            # Whatever its times are, what comes from one slot stays in order.
            entries = heapq.merge(*sources, key=lambda entry: entry.time)
            first = next(entries, None)
            if first is not None:
                own = [] if self._transient else self._own(first.time)
                self._move(heapq.merge(chain([first], entries), own, key=lambda entry: entry.time))
        done = [estate for estate in estates if estate.name not in self._unread]
        self._store.commit(*self._slots.ended(done))
        return done

    def _own(self, time: float) -> list[_Entry]:
        """What is in our own slot and has to stand behind what is adopted, which is noted there."""
        aside = self._slots.standing_aside(self._slot)
        entries = _behind(self._slot, time, aside)
        new = [entry.id for entry in entries if not _within(entry.id, aside)]
        if new:
            self._store.commit(self._slots.stand_aside([*aside, (new[0], self._slot.store.next_id)]))
        return entries

    def _entries(self, estate: Estate, reader: _Reader) -> Iterator[_Entry]:
        try:
            for record in reader.records(estate):
                yield _Entry(record.put_at, record.id, len(record.payload), estate, record)
        except (StoreError, OSError) as error:
            self._unread.add(estate.name)
            _log.error("%s can't be read, and stays where it is: %s", estate.directory, error)

    def _move(self, entries: Iterator[_Entry]) -> None:
        for batch in portions(entries, lambda entry: entry.size, count=_RECORDS, most=_BYTES):
            own = [entry.id for entry in batch if entry.estate is None]
            claims: list[Claim] = []
            try:
                claims = self._store.claim(QUEUE, ids=own, limit=len(own)) if own else []
                self._store.commit(*self._ops(batch, {claim.id: claim for claim in claims}))
                self._store.sync()  # a power cut may keep the next commit, which says how far it got, and not this one
            except BaseException:
                self._slot.begun = self._slot.store.next_id  # what is put from now on stands behind what came so far
                with suppress(PqadaptersError):  # the commit had been carried out, or nothing goes any more
                    self._store.commit(*map(Nack, claims))
                raise

    def _ops(self, batch: list[_Entry], claims: dict[int, Claim]) -> list[Op]:
        ops: list[Op] = []
        for entry in batch:
            if entry.estate is not None and entry.record is not None:
                entry.estate.moved[entry.record.queue] = entry.id
                ops += self._taken_over(entry.record)
            elif entry.id in claims:
                ops += _put_again(claims[entry.id])
        estates = {entry.estate.name: entry.estate for entry in batch if entry.estate is not None}
        return [*ops, *map(self._slots.moved, estates.values())]

    def _taken_over(self, record: Record) -> Iterable[Op]:
        items, letters, dropped = self.moved
        if record.queue == QUEUE and self._ends(record.payload):
            self.moved = Moved(items, letters, dropped + 1)
            return []
        put = _copy(record)
        if record.queue == DEAD or self._transient:
            self.moved = Moved(items, letters + 1, dropped)
            return [put._replace(queue=DEAD, note=record.note or LEFT_BEHIND)]
        self.moved = Moved(items + 1, letters, dropped)
        return [put]


def _copy(record: Record) -> Put:
    return Put(
        record.queue,
        record.payload,
        record.rank,
        record.not_before,
        attempts=record.attempts,
        put_at=record.put_at,
        note=record.note,
    )


def _put_again(claim: Claim) -> tuple[Op, Op]:
    """At the end of the queue; our claim of it is no attempt."""
    put = Put(claim.queue, claim.payload, claim.rank, attempts=claim.attempt - 1, put_at=claim.put_at, note=claim.note)
    return put, Ack(claim)


class _Reader:
    """The records of adopted slots in order, a part at a time."""

    def __init__(self, slots: int) -> None:
        self._most = max(1, min(_RECORDS, _AHEAD_RECORDS // slots))
        self._bytes = min(_BYTES, _AHEAD_BYTES // slots)
        self._open: dict[str, tuple[SegmentStore, Iterator[Record]]] = {}
        self._damaged: set[str] = set()

    def records(self, estate: Estate) -> Iterator[Record]:
        """What is still to be moved. Raises StoreError, OSError."""
        after, more = dict(estate.moved), True
        while more:
            part, more = self._next(estate, after)
            after.update((record.queue, record.id) for record in part)
            yield from part

    def _next(self, estate: Estate, after: dict[str, int]) -> tuple[list[Record], bool]:
        """The records behind `after`, and whether there may be more."""
        store, records = self._open.pop(estate.name) if estate.name in self._open else self._begin(estate, after)
        keep = False
        try:
            part, more = self._part(records)
            if store.damage and estate.name not in self._damaged:
                store.discard()
                self._damaged.add(estate.name)
                return self._next(estate, after)
            keep = more and len(self._open) < _OPEN
            if keep:
                self._open[estate.name] = store, records
        finally:
            if not keep:
                store.discard()
        return part, more

    def _begin(self, estate: Estate, after: dict[str, int]) -> tuple[SegmentStore, Iterator[Record]]:
        store = open_estate(estate, repair=estate.name in self._damaged)
        queues = (store.browse(queue, state=None, after=after.get(queue, 0)) for queue in (QUEUE, DEAD))
        return store, chain.from_iterable(queues)

    def _part(self, records: Iterator[Record]) -> tuple[list[Record], bool]:
        part: list[Record] = []
        size = 0
        for record in records:
            part.append(record)
            size += len(record.payload)
            if len(part) >= self._most or size >= self._bytes:
                return part, True
        return part, False

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1][0].discard()


def _behind(slot: Slot, time: float, aside: Spans) -> list[_Entry]:
    """Of what is in our own slot, what has to stand behind what is adopted, in order: what this process has put,
    whatever the clock says, and what was put later than `time`. After an adoption that was broken off it is known what
    stands `aside`, and the rest is where it belongs."""
    later: list[_Entry] = []
    for record in slot.store.browse(QUEUE, order=Order.NEWEST):
        id, ours = record.id, record.id >= slot.begun
        if ours or (_within(id, aside) if aside else record.put_at > time):
            later.append(_Entry(inf if ours else record.put_at, id, len(record.payload)))
        elif not aside or id < aside[0][0]:
            break
    return later[::-1]


def _within(id: int, spans: Spans) -> bool:
    return any(first <= id < behind for first, behind in spans)


def bury_all(store: Store, queue: str = QUEUE) -> int:
    """What is ready becomes a dead letter, but for stop markers and the like, which go; how many."""
    count = 0
    while claims := store.claim(queue, limit=_RECORDS):
        ops = [Ack(claim) if live.is_live(claim.payload) else Nack(claim, dead=LEFT_BEHIND) for claim in claims]
        store.commit(*ops)
        count += sum(type(op) is Nack for op in ops)
    if count:
        thin_out(store, queue)
    return count


def thin_out(store: Store, queue: str = QUEUE) -> None:
    """Drop the oldest dead letters where a place would pile them up for ever: some at a time, so that it isn't said at
    each queue."""
    dead = dead_queue(queue)
    count = store.depth(dead).ready
    if count > _KEPT:
        left = surplus = count - _KEPT + _KEPT // 10
        while left > 0 and (claims := store.claim(dead, limit=min(_RECORDS, left))):
            store.commit(*map(Ack, claims))
            left -= len(claims)
        _log.warning(
            "%s: more than %d dead letters of %r; the oldest %d were dropped", store.place, _KEPT, queue, surplus - left
        )


def drop_left_behind(store: Store, queue: str, ends: Callable[[bytes], bool], after: int) -> int:
    """Drop what ended with the process that put it, from an id on; how many."""
    return drop(store, queue, [r.id for r in store.browse(queue, after=after) if ends(r.payload)])


def drop(store: Store, queue: str, ids: list[int]) -> int:
    """Drop these records as far as they are ready, some hundred in a commit. Returns how many."""
    dropped = 0
    while ids:
        claims, ids = store.claim(queue, ids=ids[:_RECORDS], limit=_RECORDS), ids[_RECORDS:]
        try:
            store.commit(*map(Ack, claims))
            dropped += len(claims)
        except StoreError:  # whoever is handed one drops it
            with suppress(StoreError):
                store.commit(*map(Nack, claims))
    return dropped
