"""A handle on a segment store: the contract of `pqadapters.store.Store` over a log in a directory.

One process holds a directory, any number of threads and handles of it use it. With durability "power" a commit is
synced before it returns, together with those of other threads; with "process" it is written, and synced in the
background. Claims are kept in memory: they end with the process, and are written down only when counted.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import dropwhile
from types import TracebackType

from ...clock import SYSTEM, Clock
from ...durability import Durability, Survives
from ...errors import Stopped, StoreClosed
from ...store import (
    Ack,
    Capabilities,
    Claim,
    Damage,
    Depth,
    Op,
    Order,
    Put,
    Record,
    State,
    Stop,
)
from . import format, space
from .core import Core, share
from .disk import Disk
from .draft import Draft, check_size, lease_lost
from .queues import Extra, Held, Queue
from .reader import Unreadable

SEGMENT_BYTES = 2 << 20
MIN_SEGMENT_BYTES = 4096
MAX_SEGMENT_BYTES = 1 << 30


class SegmentStore:
    """Queues and tables in the files of a directory.

    `directory` is made if it is missing, private to its owner. `durability` is "power" or "process", with a sync at most
    `max_lag` seconds after a write; it is this handle's own. `segment_bytes` is when a file is ended and another begun.
    Raises StoreRefused (not a directory, foreign content, somebody else's), StoreLocked (another process has it),
    FormatError (a newer format), DiskError (an OSError that names the directory), ValueError for bad options.
    """

    capabilities = Capabilities()

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        durability: str | Survives | Durability = Survives.POWER,
        max_lag: float | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        trust_directory: bool = False,
        clock: Clock = SYSTEM,
        disk: Disk | None = None,
    ) -> None:
        self._durability = Durability.of(durability, max_lag)
        if not MIN_SEGMENT_BYTES <= segment_bytes <= MAX_SEGMENT_BYTES:
            raise ValueError(f"segment_bytes is from {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}, not {segment_bytes}")
        path = os.path.realpath(directory)
        self._power = self._durability.survives is Survives.POWER
        self._owner = object()
        self._closed = False
        self._core = core = share(path, disk or Disk(), segment_bytes, trust_directory, clock)
        core.max_lag = min(core.max_lag, self._durability.max_lag)
        self._release = weakref.finalize(self, core.release, self._owner)

    @property
    def durability(self) -> Durability:
        return self._durability

    @property
    def damage(self) -> Sequence[Damage]:
        return tuple(self._core.damage)

    @property
    def place(self) -> str:
        return self._core.directory

    # Commits

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        core = self._core
        with core.lock:
            if core.inside:
                core.deferred.append(lambda: self.commit(*ops, stop=stop))
                return (0,) * len(ops)
            core.inside = True
            results: tuple[int, ...]
            try:
                if self._closed or core.log.trouble is not None:
                    self._refuse()
                if stop is not None and stop():
                    raise Stopped("the commit was stopped by its own predicate")
                op = ops[0] if len(ops) == 1 else None
                if type(op) is Put and op.limit is None and op.limit_bytes is None and not op.rank and not op.not_before:
                    results, lazy = (self._put_locked(core, op),), False
                elif type(op) is Ack:
                    results, lazy = self._ack_locked(core, op), op.lazy
                else:
                    results, lazy = self._draft_locked(core, ops)
                sequence = core.log.next - 1
            finally:
                core.inside = False
                if core.deferred:
                    core.leave_locked()
            if not self._power:
                if core.syncer is None:
                    core.written_locked()
            elif not lazy:
                core.sync_locked(sequence)
            elif core.syncer is None:
                core.written_locked()
        return results

    def _refuse(self) -> None:
        if self._closed:
            raise StoreClosed(f"this handle on the store in {self.place} was closed; open it again")
        self._core.check_locked()

    def _put_locked(self, core: Core, op: Put) -> int:
        """The plain case, without a detour: write one frame, then change memory."""
        payload = op.payload
        size = len(payload)
        if size > 65536:
            check_size(payload)
        catalog, log = core.catalog, core.log
        queue = catalog.queues.get(op.queue) or catalog.queue(op.queue)
        tail = log.tail
        if tail.end + size + format.PUT_COST > log.put_room or queue.number not in tail.names:
            core.tidy_locked()
            space.make_room(log, catalog, size + format.PUT_COST, (queue.number,))
            tail = log.tail
        id, offset, now = log.next, tail.end, core.clock.wall()
        frame = format.encode_put(id, queue.number, now, payload, tail.seed)
        log.write(frame, offset)
        tail.index.append(offset)
        tail.live += 1
        log.live += 1
        log.live_bytes += len(frame)
        log.since_checkpoint += len(frame)
        queue.bytes += size
        if queue.heap is None:
            queue.ready.append(id)
        else:
            queue.add(id)
        tail.end = offset + len(frame)
        log.next = id + 1
        if len(core.recent) < 1024:
            core.remember_locked(id, payload, now)
        if queue.takers.waiting:
            queue.wake_taker()
        if queue.watchers.waiting or queue.parent is not None:
            queue.changed()
        return id

    def _ack_locked(self, core: Core, op: Ack) -> tuple[int, ...]:
        """The other plain case."""
        claim = op.claim
        catalog, log = core.catalog, core.log
        queue = catalog.queues.get(claim.queue)
        held = queue.claimed.get(claim.id) if queue is not None else None
        if queue is None or held is None or held.attempt != claim.attempt or held.owner is not self._owner:
            raise lease_lost(claim)
        if log.tail.end + format.ACK_FRAME > log.put_room:
            core.tidy_locked()
            space.make_room(log, catalog, format.ACK_FRAME, (), shrinks=True)
        tail = log.tail
        frame = format.encode_ack(log.next, claim.id, tail.seed)
        log.write(frame, tail.end)
        tail.index.append(0)
        tail.end += len(frame)
        log.next += 1
        log.since_checkpoint += len(frame)
        del queue.claimed[claim.id]
        queue.bytes -= held.size
        log.live_bytes -= held.size + format.PUT_COST
        if catalog.extra:
            catalog.extra.pop(claim.id, None)
        segment = log.displace(claim.id)
        if segment is not None and not segment.live and segment is log.segments[0] and segment is not log.tail:
            core.tidy_locked()
        if queue.watchers.waiting or queue.parent is not None:
            queue.changed()
        return (0,)

    def _draft_locked(self, core: Core, ops: tuple[Op, ...]) -> tuple[tuple[int, ...], bool]:
        """Several operations, or one with conditions: their results, and whether no sync is needed."""
        draft = self._plan_locked(core, ops)
        log = core.log
        results = [0] * len(ops)
        if draft.frames:
            if log.tail.end + draft.size > log.put_room:
                core.tidy_locked()
            space.make_room(log, core.catalog, draft.size, tuple(draft.numbers), draft.shrinks)
            first, offsets = self._write_locked(core, draft)
            for at, (_, _, step) in enumerate(draft.frames):
                step(first + at, offsets[at])
            results = [first + at if at >= 0 else 0 for at in draft.results]
        for last in draft.steps:
            last()
        for queue in draft.touched:
            queue.takers.wake_all()
            queue.changed()
        if log.dead:
            core.tidy_locked()
        return tuple(results), draft.lazy

    def _plan_locked(self, core: Core, ops: tuple[Op, ...]) -> Draft:
        while True:
            draft = Draft(core.log, core.catalog, core.reader, self._owner, core.clock.wall())
            try:
                for op in ops:
                    draft.add(op)
            except Unreadable as error:
                core.heal_locked(error)
                continue
            draft.finish()
            return draft

    @staticmethod
    def _write_locked(core: Core, draft: Draft) -> tuple[int, list[int]]:
        """Write the frames of a commit in one go: the first one's number, and where each stands."""
        log = core.log
        start, last = log.tail.end, len(draft.frames) - 1
        parts, offsets, end = [], [], start
        for at, (kind, body, _) in enumerate(draft.frames):
            flags = format.FIRST * (at == 0) | format.LAST * (at == last)
            parts.append(format.encode_frame(kind, flags, log.next + at, body, log.tail.seed))
            offsets.append(end)
            end += len(parts[-1])
        log.write(b"".join(parts), start)
        return log.advance([0] * len(parts), end - start), offsets

    # Claims

    def claim(
        self,
        queue: str,
        *,
        order: Order = Order.OLDEST,
        ids: Sequence[int] | None = None,
        limit: int = 1,
        timeout: float | None = 0.0,
        stop: Stop | None = None,
        counted: bool = False,
        lease: float = 30.0,
    ) -> list[Claim]:
        core = self._core

        def attempt() -> list[Claim] | None:
            if core.inside:
                return []  # in the middle of another call of this thread: there is no waiting for it
            core.inside = True
            try:
                if self._closed or core.log.trouble is not None:
                    self._refuse()
                if stop is not None and stop():
                    found.wake_taker()  # a wake-up that came here is somebody else's (I7)
                    return []
                return self._take_locked(core, found, order, ids, limit, counted) or None
            finally:
                core.inside = False
                if core.deferred:
                    core.leave_locked()

        with core.lock:
            found = core.catalog.queues.get(queue) or core.catalog.queue(queue)
            claims = attempt()
            if claims is None and (timeout is None or timeout > 0):
                found.choosy += ids is not None
                try:
                    claims = found.takers.wait_locked(attempt, timeout, lambda: _due(core, found))
                finally:
                    found.choosy -= ids is not None
            if claims and counted and self._power:
                core.sync_locked(core.log.next - 1)
        return claims or []

    def _take_locked(
        self, core: Core, queue: Queue, order: Order, ids: Sequence[int] | None, limit: int, counted: bool
    ) -> list[Claim]:
        if queue.delayed:
            queue.mature(core.clock.wall())
        claims: list[Claim] = []
        taken: list[int] = []
        try:
            wanted = iter(self._wanted_locked(core, queue, ids, order)) if ids is not None else None
            while len(claims) < limit:
                id = queue.first(order) if wanted is None else next(wanted, None)
                if id is None:
                    break
                try:
                    claim = self._claim_locked(core, queue, id, taken)
                except Unreadable as error:
                    core.heal_locked(error)
                    continue
                claims.append(claim)
            if counted and claims:
                self._count_locked(core, queue, claims)
        except BaseException:
            for id in taken:  # an interrupt, or a disk that refuses: the claims go back
                self._untake_locked(core, queue, id)
            raise
        if claims:
            if queue.watchers.waiting or queue.parent is not None:
                queue.changed()
            if queue.takers.waiting and len(queue):
                queue.wake_taker()
        return claims

    @staticmethod
    def _wanted_locked(core: Core, queue: Queue, ids: Sequence[int], order: Order) -> list[int]:
        while True:
            try:
                return _ready_ids(core, queue, ids, order)
            except Unreadable as error:
                core.heal_locked(error)
            except OSError as error:
                raise core.log.refused(error, "read") from error

    def _claim_locked(self, core: Core, queue: Queue, id: int, taken: list[int]) -> Claim:
        recent = core.recall_locked(id)
        extra = core.catalog.extra.get(id) if core.catalog.extra else None
        rank, note, attempts = b"", "", 0
        if recent is not None:
            payload, put_at = recent
        else:
            try:
                fields = core.reader.record(id)
            except OSError as error:
                raise core.log.refused(error, "read") from error
            payload, put_at, rank, note, attempts = fields.payload, fields.put_at, fields.rank, fields.note, fields.attempts
        if extra is not None:
            note, attempts = extra.note, extra.attempts
        taken.append(id)
        queue.claimed[id] = Held(attempts + 1, self._owner, len(payload), rank)
        queue.take(id)
        return Claim(queue.name, id, attempts + 1, payload, rank, put_at, note)

    @staticmethod
    def _untake_locked(core: Core, queue: Queue, id: int) -> None:
        held = queue.claimed.pop(id, None)
        if held is not None and queue.first(Order.OLDEST) != id:
            queue.give_back(id, held.rank)

    def _count_locked(self, core: Core, queue: Queue, claims: list[Claim]) -> None:
        """Write the attempts down, so that they are known after a crash."""
        frames = [
            format.STATE_FIELDS.pack(c.id, queue.number, 0.0, c.attempt) + c.note.encode("utf-8", "surrogatepass")
            for c in claims
        ]
        size = sum(format.FRAME_COST + len(body) for body in frames)
        space.make_room(core.log, core.catalog, size, (queue.number,), shrinks=True)
        for claim, body in zip(claims, frames, strict=True):
            core.log.append(format.STATE, body)
            core.catalog.extra[claim.id] = Extra(claim.attempt, 0.0, queue.number, claim.note)

    # Looking

    def browse(
        self, queue: str, *, order: Order = Order.OLDEST, state: State | None = State.READY, after: int = 0
    ) -> Iterator[Record]:
        core = self._core
        with core.section():
            self._refuse()
            found = core.catalog.queue(queue)
            found.mature(core.clock.wall())
            states = _states(found, order, state)
        ids = [id for id in states if id > after]
        return filter(None, (self._look(found, id, states[id]) for id in ids))

    def _look(self, queue: Queue, id: int, state: State) -> Record | None:
        core = self._core
        with core.section():
            self._refuse()
            try:
                if core.log.locate(id) is None:
                    return None
                fields = core.reader.record(id)
            except Unreadable as error:
                core.heal_locked(error)
                return None
            except OSError as error:
                raise core.log.refused(error, "read") from error
            extra = core.catalog.extra.get(id) or Extra(fields.attempts, fields.not_before, 0, fields.note)
            held = queue.claimed.get(id)
            attempts = held.attempt if held is not None else extra.attempts
            return Record(
                queue.name, id, state, fields.payload, fields.rank, attempts, fields.put_at, extra.not_before, extra.note
            )

    def depth(self, queue: str) -> Depth:
        core = self._core
        with core.section():
            self._refuse()
            found = core.catalog.queue(queue)
            now = core.clock.wall()
            depth = core.catalog.depth(found, now)
            oldest = found.first(Order.OLDEST)
            if oldest is None:
                return depth
            recent = core.recent.get(oldest)
            try:
                put_at = recent[1] if recent is not None else core.reader.record(oldest).put_at
            except (Unreadable, OSError):
                return depth  # whoever claims it is told
            return depth._replace(oldest_age=max(0.0, now - put_at))

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        core = self._core

        def attempt() -> bool | None:
            if self._closed or core.log.trouble is not None:
                self._refuse()
            return until(core.catalog.depth(found, core.clock.wall())) or None

        with core.lock:
            found = core.catalog.queue(queue)
            return bool(found.watchers.wait_locked(attempt, timeout, lambda: _due(core, found)))

    def wake(self, queue: str) -> None:
        core = self._core
        with core.lock:
            found = core.catalog.queues.get(queue)
            if found is not None:
                found.takers.wake_all()
                found.watchers.wake_all()

    # Tables

    def get(self, table: str, key: bytes) -> bytes | None:
        core = self._core
        with core.section():
            self._refuse()
            found = core.catalog.tables.get(table)
            known = found.keys.get(key) if found is not None else None
            return None if known is None else self._value_locked(core, known.id)

    @staticmethod
    def _value_locked(core: Core, id: int) -> bytes | None:
        try:
            return core.reader.value(id)
        except Unreadable as error:
            core.heal_locked(error)
            return None
        except OSError as error:
            raise core.log.refused(error, "read") from error

    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        core = self._core
        with core.section():
            self._refuse()
            found = core.catalog.tables.get(table)
            keys = list(found.keys) if found is not None else []
        if reverse:
            keys.reverse()
        if after is not None and found is not None and after in found.keys:
            keys = list(dropwhile(lambda key: key != after, keys))[1:]
        pairs = ((key, self.get(table, key)) for key in keys)
        return ((key, value) for key, value in pairs if value is not None)

    def count(self, table: str) -> int:
        core = self._core
        with core.section():
            self._refuse()
            found = core.catalog.tables.get(table)
            return len(found.keys) if found is not None else 0

    # The whole

    def checkpoint(self) -> None:
        core = self._core
        with core.section() as entered:
            self._refuse()
            if entered:
                core.checkpoint_locked()

    def close(self) -> None:
        self._closed = True
        with self._core.lock:
            self._core.wake_everybody_locked()
        self._release()

    def __enter__(self) -> SegmentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _due(core: Core, queue: Queue) -> float | None:
    """Seconds until the first delayed record is ready."""
    return queue.delayed[0][0] - core.clock.wall() if queue.delayed else None


def _states(queue: Queue, order: Order, state: State | None) -> dict[int, State]:
    """Ids of the queue's records in this state (None: all), in order."""
    if state is State.READY:
        return dict.fromkeys(queue.ids(order), State.READY)
    found = dict.fromkeys(queue.ids(Order.OLDEST), State.READY) if state is None else {}
    if state in (None, State.DELAYED):
        found.update((entry[1], State.DELAYED) for entry in queue.delayed)
    if state in (None, State.CLAIMED):
        found.update(dict.fromkeys(queue.claimed, State.CLAIMED))
    ranks = {id: held.rank for id, held in queue.claimed.items()} if order is Order.RANK else {}
    ranks.update((id, rank) for _, id, rank in queue.delayed)
    ranks.update((id, rank) for rank, id in queue.heap or ())
    ids = sorted(found, key=lambda id: (ranks.get(id, b"") if order is Order.RANK else b"", id))
    return {id: found[id] for id in (reversed(ids) if order is Order.NEWEST else ids)}


def _ready_ids(core: Core, queue: Queue, ids: Sequence[int], order: Order) -> list[int]:
    """Those of `ids` that are ready in this queue, in order."""
    delayed = {entry[1] for entry in queue.delayed}
    ranks = {id: _rank(core, queue, id) for id in ids if id not in queue.claimed and id not in delayed}
    found = [(rank if order is Order.RANK else b"", id) for id, rank in ranks.items() if rank is not None]
    return [id for _, id in sorted(found, reverse=order is Order.NEWEST)]


def _rank(core: Core, queue: Queue, id: int) -> bytes | None:
    """The rank of a live record of this queue; None where there is none of that id."""
    if core.log.locate(id) is None:
        return None
    kind, body = core.reader.body(id)
    if kind == format.SET:
        return None
    fields = format.decode_record(kind, memoryview(body))
    extra = core.catalog.extra.get(id)
    number = extra.queue if extra is not None and extra.queue else fields.queue
    return fields.rank if number == queue.number else None
