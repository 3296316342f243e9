"""Moving what dead processes left in their slots into our own, in the order in which it was put.

The order within a slot is that of its ids; between slots the wall clock decides, and one that jumped back never
reorders a slot. Records are moved in commits of some hundred, each together with how far it got, so that a crash in the
middle neither loses nor doubles any. An adopted slot goes when all that was in it is synced in ours.

For one thread at a time; nobody else may use the slot's store meanwhile.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from ..errors import StoreError
from ..opening import open_estate
from ..store import Ack, Nack, Op, Order, Put, Record, Store, dead_queue

if TYPE_CHECKING:
    from ..stores.segment.slots import Estate, Slot, Slots

_log = logging.getLogger("pqadapters.home")

QUEUE = "default"  #: the one queue of a slot
DEAD = dead_queue(QUEUE)
LEFT_BEHIND = "left behind: the queue that it was put into was made for one call, and that call is over"

_RECORDS, _BYTES = 500, 1 << 20  #: of one commit
_KEPT = 10_000  #: dead letters of a place that makes a queue for each call


class Moved(NamedTuple):
    """What an adoption came to."""

    items: int = 0  #: records that are ready, or will be
    letters: int = 0  #: dead letters
    dropped: int = 0  #: records that ended with their process

    def plus(self, more: Moved) -> Moved:
        return Moved(self.items + more.items, self.letters + more.letters, self.dropped + more.dropped)


class _Entry(NamedTuple):
    time: float  #: when it was put, never before what stands before it
    estate: Estate | None  #: None: it is in our slot already
    record: Record

    @property
    def size(self) -> int:
        return len(self.record.payload)


def adopt(slots: Slots, slot: Slot, *, ends: Callable[[bytes], bool], transient: bool) -> Moved:
    """Adopt the slots that nobody holds. `ends` tells payloads that ended with their process; `transient`: what is left
    in them goes to the dead letters. Raises StoreError where our own slot can't take it; nothing is lost then."""
    estates = slots.adopt(slot)
    if not estates:
        return Moved()
    mover = _Mover(slots, slot.store, ends, transient)
    done = mover.run(estates)
    slot.store.checkpoint()  # whatever the durability: what is taken away next is synced here
    slots.bury(slot, done)
    return mover.moved


class _Mover:
    def __init__(self, slots: Slots, store: Store, ends: Callable[[bytes], bool], transient: bool) -> None:
        self._slots, self._store, self._ends, self._transient = slots, store, ends, transient
        self.moved = Moved()

    def run(self, estates: list[Estate]) -> list[Estate]:
        """Move what is in them; those that were read to their end."""
        unread: list[Estate] = []
        entries = heapq.merge(*(self._entries(estate, unread) for estate in estates), key=lambda entry: entry.time)
        first = next(entries, None)
        if first is not None:
            own = [] if self._transient else list(_behind(self._store, first.time))
            self._move(heapq.merge([first], entries, own, key=lambda entry: entry.time))
        return [estate for estate in estates if estate not in unread]

    def _entries(self, estate: Estate, unread: list[Estate]) -> Iterator[_Entry]:
        time = 0.0
        try:
            for record in _records(estate):
                time = max(time, record.put_at)
                yield _Entry(time, estate, record)
        except (StoreError, OSError) as error:
            unread.append(estate)
            _log.error("%s can't be read, and stays where it is: %s", estate.directory, error)

    def _move(self, entries: Iterator[_Entry]) -> None:
        while batch := list(_batch(entries)):
            ops: list[Op] = []
            for entry in batch:
                ops += self._ops(entry)
            estates = {entry.estate.path: entry.estate for entry in batch if entry.estate is not None}
            ops += [self._slots.moved(estate) for estate in estates.values()]
            self._store.commit(*ops)

    def _ops(self, entry: _Entry) -> Iterable[Op]:
        record = entry.record
        if entry.estate is None:
            claims = self._store.claim(QUEUE, ids=[record.id])
            return [op for claim in claims for op in (self._copy(record, claim.payload), Ack(claim))]
        entry.estate.moved[record.queue] = record.id
        if record.queue == QUEUE and self._ends(record.payload):
            self.moved = self.moved._replace(dropped=self.moved.dropped + 1)
            return []
        if record.queue == DEAD or self._transient:
            self.moved = self.moved._replace(letters=self.moved.letters + 1)
            return [self._copy(record, record.payload)._replace(queue=DEAD, note=record.note or LEFT_BEHIND)]
        self.moved = self.moved._replace(items=self.moved.items + 1)
        return [self._copy(record, record.payload)]

    @staticmethod
    def _copy(record: Record, payload: bytes) -> Put:
        return Put(
            record.queue,
            payload,
            record.rank,
            record.not_before,
            attempts=record.attempts,
            put_at=record.put_at,
            note=record.note,
        )


def _batch(entries: Iterator[_Entry]) -> Iterator[_Entry]:
    size = 0
    for entry in islice(entries, _RECORDS):
        yield entry
        size += entry.size
        if size >= _BYTES:
            return


def _records(estate: Estate) -> Iterator[Record]:
    """The records that are still to be moved. A store with few of them is closed before the first is served."""
    store = open_estate(estate)
    try:
        records = chain.from_iterable(
            store.browse(queue, state=None, after=estate.moved.get(queue, 0)) for queue in (QUEUE, DEAD)
        )
        head = list(_few(records))
        more = next(records, None)
        if more is None:
            store.discard()
        yield from head
        if more is not None:
            yield more
            yield from records
    finally:
        store.discard()


def _few(records: Iterator[Record]) -> Iterator[Record]:
    size = 0
    for record in islice(records, _RECORDS):
        yield record
        size += len(record.payload)
        if size >= _BYTES:
            return


def _behind(store: Store, time: float) -> Iterator[_Entry]:
    """What is in our own slot and was put later, in order: it has to stand behind what is adopted."""
    later: list[_Entry] = []
    for record in store.browse(QUEUE, order=Order.NEWEST):
        if record.put_at <= time:
            break
        later.append(_Entry(record.put_at, None, record._replace(payload=b"")))
    time = 0.0
    for entry in reversed(later):
        time = max(time, entry.time)
        yield entry._replace(time=time)


def bury_all(store: Store) -> int:
    """What is ready or delayed becomes a dead letter; how many. The oldest dead letters go when they are too many."""
    count = 0
    while claims := store.claim(QUEUE, limit=_RECORDS):
        store.commit(*[Nack(claim, dead=LEFT_BEHIND) for claim in claims])
        count += len(claims)
    return count


def thin_out(store: Store, place: str) -> None:
    """Drop the oldest dead letters where a place would pile them up for ever."""
    surplus = store.depth(DEAD).ready - _KEPT
    if surplus > 0:
        while surplus > 0 and (claims := store.claim(DEAD, limit=min(_RECORDS, surplus))):
            store.commit(*map(Ack, claims))
            surplus -= len(claims)
        _log.warning("%s: more than %d dead letters; the oldest were dropped", place, _KEPT)


def drop_left_behind(store: Store, queue: str, ends: Callable[[bytes], bool], after: int) -> int:
    """Drop what ended with the process that put it, from an id on; how many."""
    ids = [record.id for record in store.browse(queue, state=None, after=after) if ends(record.payload)]
    for id in ids:
        with suppress(StoreError):
            store.commit(*map(Ack, store.claim(queue, ids=[id])))
    return len(ids)
