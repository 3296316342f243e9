"""Commits of several operations, or with conditions: planned first, then written, then applied.

Each operation sees what those before it in the same commit will do; nothing is changed until all have been looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from ...errors import ConditionFailed, LeaseLost, LimitReached, TooLarge
from ...store import Ack, Claim, Clear, Delete, Extend, Nack, Op, Put, Set, Update, dead_queue, meets
from . import format
from .log import Log
from .queues import Catalog, Extra, Key, Queue, Table
from .reader import Reader

#: Applied with the sequence number and the offset of the operation's frame. What an interrupt breaks off is called
#: again, so each step knows how far it got: numbers change in one run without a call, the rest may be done twice.
#: None refers to its draft, which has them: with their payloads they would stay until the garbage collector comes.
Step = Callable[[int, int], object]
_Acked = tuple[int, Queue, int, int]  #: id, queue, bytes of the payload, and of what else it has
_NOBODY: tuple[Claim | None, object] = (None, None)

MAX_PAYLOAD = (1 << 30) + (1 << 16)  #: a value of a gigabyte, and what a serializer adds
MAX_COMMIT = 3 << 30  #: a commit stands in one segment, whose offsets are 32 bits wide


class Draft:
    """A commit that is being planned. Needs the lock from the first operation to the last step."""

    def __init__(self, log: Log, catalog: Catalog, reader: Reader, owner: object, now: float) -> None:
        self._log = log
        self._catalog = catalog
        self._reader = reader
        self._owner = owner
        self._now = now
        self.frames: list[tuple[int, bytes, Step]] = []
        self.results: list[int] = []  #: for each operation the index of the frame that is its result, or -1
        self.steps: list[Callable[[], object]] = []  #: for operations that need no frame
        self.numbers: set[int] = set()  #: queues and tables that the frames name
        self.touched: set[Queue] = set()
        self.shrinks = True  #: no operation adds bytes that stay
        self.lazy = True  #: nothing here needs a sync
        self._ready: Counter[Queue] = Counter()
        self._total: Counter[Queue] = Counter()
        self._bytes: Counter[Queue] = Counter()
        self._ended: set[int] = set()
        self._sizes: dict[int, int] = {}
        self._keys: dict[tuple[str, bytes], bytes | None] = {}
        self._deleted: set[tuple[str, bytes]] = set()  #: keys that have lost their places, set again since or not
        self._acked: list[_Acked] = []

    @property
    def size(self) -> int:
        return sum(format.FRAME_COST + len(body) for _, body, _ in self.frames)

    def add(self, op: Op) -> None:
        """Plan one operation. Raises what `Store.commit` raises for it."""
        self.results.append(-1)
        if isinstance(op, Put):
            self._put(op)
        elif isinstance(op, Ack):
            self._ack(op)
        elif isinstance(op, Nack):
            self._nack(op)
        elif isinstance(op, Update):
            self._update(op)
        elif isinstance(op, Set):
            self._set(op)
        elif isinstance(op, Delete):
            self._delete(op)
        elif isinstance(op, Clear):
            self._clear(op)
        elif isinstance(op, Extend):
            self._held(op.claim)
        else:
            raise TypeError(f"{op!r} is no operation of a store")

    def finish(self) -> None:
        """The plan is complete: all acknowledgements share one frame. Raises TooLarge for a giant commit."""
        if self._acked:
            body = b"".join([format.ID.pack(acked[0]) for acked in self._acked])
            self.frames.append((format.ACK, body, lambda sequence, offset: None))
        if self.size > MAX_COMMIT:
            raise TooLarge(f"a commit of {self.size} bytes is too large: at most {MAX_COMMIT}. Commit in parts")

    def _frame(self, kind: int, body: bytes, step: Step, number: int) -> None:
        self.frames.append((kind, body, step))
        if number:
            self.numbers.add(number)

    def _put(self, op: Put) -> None:
        check_size(op.payload)
        check_attempts(op.attempts)
        queue = self._catalog.queue(op.queue)
        if queue.delayed:
            queue.mature(self._now)
        ready, size = len(queue) + self._ready[queue], len(op.payload)
        if op.limit is not None and ready >= op.limit:
            raise LimitReached(f"queue {op.queue!r} has {ready} ready records; its limit is {op.limit}")
        held = queue.payload_bytes() + self._bytes[queue]
        if op.limit_bytes is not None and queue.total + self._total[queue] and held + size > op.limit_bytes:
            raise LimitReached(f"queue {op.queue!r} has {held} bytes; its limit is {op.limit_bytes}")
        due = op.not_before if op.not_before > self._now else 0.0
        put_at = op.put_at or self._now
        if op.rank or due or op.attempts or op.note:
            fields = format.Fields(queue.number, put_at, op.payload, 0, due, op.attempts, op.rank, op.note)
            kind, body = format.RECORD, format.encode_record(fields)
        else:
            kind, body = format.PUT, format.PUT_FIELDS.pack(queue.number, put_at) + op.payload

        log, rank, more, begun = self._log, op.rank, format.more_cost(op.rank, op.note), False

        def step(id: int, offset: int) -> None:
            nonlocal begun
            log.place(id, log.tail, offset)
            if begun and queue.knows(id):
                return
            if not begun:
                begun = True
                log.more_bytes += more
                queue.bytes += size
            queue.add(id, rank, due)

        self.results[-1] = len(self.frames)
        self._frame(kind, body, step, queue.number)
        self._count(queue, ready=not due, total=1, size=size)
        self.shrinks = self.lazy = False

    def _count(self, queue: Queue, ready: int, total: int, size: int) -> None:
        self.touched.add(queue)
        self._ready[queue] += ready
        self._total[queue] += total
        self._bytes[queue] += size

    def _held(self, claim: Claim) -> tuple[Queue, Claim]:
        """The claim as the store knows it."""
        queue = self._catalog.queue(claim.queue)
        held, owner = queue.claimed.get(claim.id, _NOBODY)
        if held is None or held.attempt != claim.attempt or owner is not self._owner or claim.id in self._ended:
            raise lease_lost(claim)
        return queue, held

    def _ack(self, op: Ack) -> None:
        """All acknowledgements of a commit are one frame and one step."""
        queue, held = self._held(op.claim)
        id, size = held.id, self._sizes.get(held.id, len(held.payload))
        if not self._acked:
            self.steps.append(partial(_end_acked, self._log, self._catalog, self._acked))
        self._acked.append((id, queue, size, format.more_cost(held.rank, held.note)))
        self._ended.add(id)
        self._count(queue, ready=0, total=-1, size=-size)
        if not op.lazy:
            self.lazy = False

    def _nack(self, op: Nack) -> None:
        queue, held = self._held(op.claim)
        id, size = op.claim.id, self._sizes.get(op.claim.id, len(held.payload))
        target = queue if op.dead is None else self._catalog.queue(dead_queue(queue.name))
        due = op.not_before if op.not_before > self._now else 0.0
        log, extras = self._log, self._catalog.extra
        old = extras.get(id, Extra())
        note = held.note if op.dead is None else op.dead
        number = target.number if target is not queue or old.queue else 0
        extra = Extra(held.attempt, due, number, note)

        more = len(format.encode_note(note)) - len(format.encode_note(held.note))

        def step() -> None:
            if id in queue.claimed:
                del queue.claimed[id]
                extras[id] = extra
                queue.bytes -= size
                target.bytes += size
                log.more_bytes += more
            elif target.knows(id):
                return
            if due:
                target.add(id, held.rank, due)
            elif target is queue:
                target.give_back(id, held.rank)
            else:
                target.insert(id, held.rank)

        if op.dead is not None or due or old.not_before:
            fields = format.encode_state(id, target.number, due, held.attempt, note)
            self._frame(format.STATE, fields, lambda sequence, offset: None, target.number)
            self.lazy = False
        self.steps.append(step)
        self._ended.add(id)
        self._count(queue, ready=0, total=-1, size=-size)
        self._count(target, ready=not due, total=1, size=size)

    def _update(self, op: Update) -> None:
        check_size(op.payload)
        queue, held = self._held(op.claim)
        id, before, after = op.claim.id, self._sizes.get(op.claim.id, len(held.payload)), len(op.payload)
        fields = format.Fields(
            queue.number, op.claim.put_at, op.payload, id, 0.0, held.attempt, op.claim.rank, held.note
        )

        updated = held._replace(payload=op.payload), self._owner
        extra = Extra(held.attempt, 0.0, queue.number, held.note)
        log, extras = self._log, self._catalog.extra

        def step(sequence: int, offset: int) -> None:
            log.place(id, log.tail, offset)
            if queue.claimed[id] is not updated:
                queue.claimed[id] = updated
                queue.bytes += after - before
            if id in extras:
                extras[id] = extra

        self._sizes[id] = after
        self._frame(format.RECORD, format.encode_record(fields), step, queue.number)
        self._count(queue, ready=0, total=0, size=after - before)
        self.shrinks = self.lazy = False

    def _value(self, table: Table, key: bytes) -> bytes | None:
        if (table.name, key) in self._keys:
            return self._keys[table.name, key]
        known = table.keys.get(key)
        return None if known is None else self._reader.value(known.id)

    def _expect(self, op: Set | Delete, table: Table) -> bool:
        """Check the condition; whether the key is there. The value is read only where it matters."""
        if isinstance(op.expect, bytes):
            value = self._value(table, op.key)
        else:
            known = table.keys.get(op.key)
            value = self._keys.get((table.name, op.key), None if known is None else b"")
        if not meets(op.expect, value):
            raise ConditionFailed(f"key {op.key!r} of table {op.table!r} is not as expected ({op.expect!r:.60})")
        return value is not None

    def _set(self, op: Set) -> None:
        check_size(op.value)
        table = self._catalog.table(op.table)
        self._expect(op, table)
        size = len(op.key) + len(op.value)
        known = table.keys.get(op.key)
        place = known.place if known is not None and (op.table, op.key) not in self._deleted else 0

        log = self._log
        old: Key | None = None

        def step(id: int, offset: int) -> None:
            nonlocal old
            found = table.keys.get(op.key)
            if found is None or found.id != id:
                old = found
                key = Key(id, found.place if found is not None else id, size)
                more, length = (size, len(op.key)) if found is None else (size - found.size, 0)
                table.keys[op.key] = key
                log.more_bytes += more
                log.key_bytes += length
            if old is not None:
                log.displace(old.id)
            log.place(id, log.tail, offset)

        body = format.encode_entry(format.Entry(table.number, place, op.key, op.value))
        self._frame(format.SET, body, step, table.number)
        self._keys[op.table, op.key] = op.value
        self.shrinks = self.lazy = False

    def _delete(self, op: Delete) -> None:
        table = self._catalog.table(op.table)
        if self._expect(op, table):
            log = self._log
            old: Key | None = None

            def step(sequence: int, offset: int) -> None:
                nonlocal old
                found, length = table.keys.get(op.key), len(op.key)
                if found is not None:
                    old = found
                    del table.keys[op.key]
                    log.more_bytes -= found.size
                    log.key_bytes -= length
                if old is not None:
                    log.displace(old.id)

            self._frame(format.DELETE, format.DELETE_FIELDS.pack(table.number) + op.key, step, table.number)
            self._keys[op.table, op.key] = None
            self._deleted.add((op.table, op.key))
            self.lazy = False

    def _clear(self, op: Clear) -> None:
        planned = [key for table, key in self._keys if table == op.table]
        for key in dict.fromkeys((*self._catalog.table(op.table).keys, *planned)):
            self._delete(Delete(op.table, key))


def _end_acked(log: Log, catalog: Catalog, acked: list[_Acked]) -> None:
    extra = catalog.extra
    for id, queue, size, more in acked:
        claimed = queue.claimed
        if id in claimed:
            del claimed[id]
            queue.bytes -= size
            log.more_bytes -= more
        if extra:
            extra.pop(id, None)
    log.displace_all([id for id, *_ in acked])


def check_size(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD:
        raise TooLarge(
            f"a payload of {len(payload)} bytes is too large: a record holds at most 1 GiB. Store a path to it"
        )


def check_attempts(attempts: int) -> None:
    if not 0 <= attempts < format.MAX_ATTEMPTS:
        raise ValueError(f"a record was claimed from 0 to {format.MAX_ATTEMPTS - 1} times, not {attempts}")


def lease_lost(claim: Claim) -> LeaseLost:
    return LeaseLost(
        f"record {claim.id} of queue {claim.queue!r} is no longer held by attempt {claim.attempt}: it was "
        "acknowledged or given back, or the handle that had claimed it was closed"
    )
