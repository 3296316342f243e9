"""The reference model: the store contract in plain lists and dicts, nothing kept beyond the process.

It is written to be read, not to be fast: the other stores are compared with it, operation by operation.
Several handles may share one `MemoryData`, as handles of one process share a segment store.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from heapq import nsmallest
from itertools import islice
from types import TracebackType
from typing import NoReturn, TypeVar

from ..apart import insist
from ..clock import SYSTEM, Clock
from ..durability import Durability
from ..errors import ConditionFailed, LimitReached, PqadaptersError, StoreClosed
from ..interrupts import keep
from ..store import (
    DEAD,
    Ack,
    Capabilities,
    Claim,
    Clear,
    Damage,
    Delete,
    Depth,
    Extend,
    Nack,
    Op,
    Order,
    Put,
    Record,
    Set,
    State,
    Stop,
    Update,
    acknowledge,
    dead_queue,
    meets,
    put_off,
    unless_stopped,
)
from ._gate import Gate, shut_in
from ._trouble import lease_lost

T = TypeVar("T")


@dataclass
class _Row:
    queue: str
    id: int
    payload: bytes
    rank: bytes
    put_at: float
    not_before: float = 0.0
    attempts: int = 0
    note: str = ""
    owner: object = None  # the token of the handle that has it claimed


@dataclass
class _Queue:
    takers: Gate
    watchers: Gate
    ids: list[int] = field(default_factory=list)  # all records, ascending


_Table = dict[bytes, tuple[int, bytes]]  # keys in the order of their places, which are never given twice; and values
_ABSENT = (0, None)


class MemoryData:
    """What handles share."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.rows: dict[int, _Row] = {}
        self.queues: dict[str, _Queue] = {}
        self.tables: dict[str, _Table] = {}
        self.last_place = 0  #: of a key
        self.last_id = 0
        self.delays = False  #: whether any record was ever delayed
        self._busy = False
        self._later: deque[Callable[[], object]] = deque()
        self._caught_up = 0
        self._catching_up = False

    def whole(self, call: Callable[[], T]) -> T:
        """Make it under the lock, and undisturbed by finalizers and signal handlers of this thread: see `in_turn`. No
        context manager of ours: one that a handler's exception broke off has the lock for as long as that is kept."""
        with self.lock:
            outermost, self._busy = not self._busy, True
            try:
                return call()
            finally:
                if outermost:
                    self._busy = False
                    self._catch_up()

    def in_the_middle(self) -> bool:
        """Whether this thread is in the middle of something."""
        with self.lock:
            return self._busy

    def in_turn(self, change: Callable[[], object]) -> bool:
        """Keep a change for later and return True, where it comes in the middle of something this thread does."""
        with self.lock:
            if self._busy:
                self._later.append(change)
            return self._busy

    def _catch_up(self) -> None:
        if self._catching_up:  # by the loop below, further out: a level for each change would be too deep
            return
        interrupt: BaseException | None = None
        self._catching_up = True
        try:
            while self._later:
                self._caught_up += 1
                try:
                    with suppress(PqadaptersError, ValueError):  # whose commit it was has gone on long since
                        insist(self._later[0])
                except BaseException as error:  # of a signal handler: all of them are made
                    interrupt = error
                self._later.popleft()
        finally:
            self._catching_up = False
        if interrupt is not None:
            raise interrupt

    def look(self, attempt: Callable[[], T | None]) -> T | None:
        """`attempt()` undisturbed, and again where a finalizer changed something right behind it (I7)."""
        while True:
            before = self._caught_up
            result = self.whole(attempt)
            if result is not None or self._caught_up == before:
                return result

    def queue(self, name: str) -> _Queue:
        if name not in self.queues:
            self.queues[name] = _Queue(Gate(self.lock), Gate(self.lock))
        return self.queues[name]

    def in_state(self, name: str, state: State, now: float, *, newest: bool = False) -> Iterable[_Row]:
        """By id; the newest first if it is wished."""
        ids = self.queue(name).ids
        return (row for row in self.rows_of(reversed(ids) if newest else ids) if _state(row, now) is state)

    def rows_of(self, ids: Iterable[int]) -> Iterator[_Row]:
        """Those that are there: a signal handler may look while its thread is taking one out."""
        return (row for id in ids if (row := self.rows.get(id)) is not None)

    def depth(self, name: str) -> Depth:
        now = self.clock.wall()  # read once: a record whose delay runs out meanwhile must not be in neither state (I3)
        ready, delayed, claimed = (list(self.in_state(name, state, now)) for state in State)
        oldest = ready[0].put_at if ready else None  # the first by id: one that moved here later may be older
        return Depth(
            len(ready),
            len(delayed),
            len(claimed),
            len(self.queue(dead_queue(name)).ids) if dead_queue(name) != name else 0,
            sum(len(row.payload) for row in (*ready, *delayed, *claimed)),
            None if oldest is None else max(0.0, now - oldest),
        )

    def release(self, token: object) -> None:
        """A handle is gone: what it had claimed is ready again."""
        if self.in_turn(lambda: self.release(token)):
            return
        self.whole(lambda: self._release(token))

    def _release(self, token: object) -> None:
        for row in self.rows.values():
            if row.owner is token:
                row.owner = None
        self.all_changed(self.queues)

    def put_keys_in_order(self, names: Iterable[str]) -> None:
        """Of tables whose keys were deleted and put back."""
        for name in set(names):
            if name in self.tables:
                self.tables[name] = dict(sorted(self.tables[name].items(), key=_by_place))

    def all_changed(self, names: Iterable[str]) -> None:
        for name in list(names):
            self.changed(name)

    def changed(self, name: str) -> None:
        queue = self.queue(name)
        queue.takers.wake_all()
        queue.watchers.wake_all()
        living = name[: -len(DEAD)] if name.endswith(DEAD) else name
        if living in self.queues:
            self.queue(living).watchers.wake_all()  # its depth counts the dead, too


class MemoryStore:
    """A store that lives as long as its process. See `pqadapters.store.Store` for each method's promise."""

    capabilities = Capabilities(persistent=False)
    durability = Durability()
    damage: Sequence[Damage] = ()
    place = "memory:"

    def __init__(self, data: MemoryData | None = None, *, clock: Clock = SYSTEM) -> None:
        self._data = MemoryData(clock) if data is None else data
        self._closed = False
        self._token = object()
        self._release = weakref.finalize(self, self._data.release, self._token)
        self._release.atexit = False  # what is in hand at the end is nobody else's to have

    def another(self) -> MemoryStore:
        """A second handle on the same data."""
        return MemoryStore(self._data)

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        if self._data.in_the_middle():
            self._check_open()
            late = put_off(ops, stop)
            done: list[bool] = []
            self._data.in_turn(lambda: self._data.whole(lambda: done or self._commit(late, None, done)))
            return (0,) * len(ops)
        return self._whole(lambda: self._commit(ops, stop))

    def _commit(self, ops: Sequence[Op], stop: Stop | None, done: list[bool] | None = None) -> tuple[int, ...]:
        """`done`: gets an entry with it, for who makes it again where it was interrupted."""
        unless_stopped(stop)
        undo: list[Callable[[], object]] = []
        touched: set[str] = set()
        try:
            ids = tuple(self._apply(op, undo, touched) for op in ops)
        except BaseException:
            for step in reversed(undo):
                step()
            if undo:  # what is refused at once, as a pop() that comes second, has put nothing back
                self._data.put_keys_in_order(op.table for op in ops if isinstance(op, Delete))
            raise
        if done is not None:
            done[:] = [True]  # without a call, in which an interrupt might come behind it
        try:
            self._data.all_changed(touched)
        except BaseException:  # of a signal handler; it is stored, and those who sleep have to know
            self._data.all_changed(touched)
            raise
        return ids

    def _apply(self, op: Op, undo: list[Callable[[], object]], touched: set[str]) -> int:
        if isinstance(op, Put):
            touched.add(op.queue)
            return self._put(op, undo)
        if isinstance(op, (Set, Delete, Clear)):
            self._table(op, undo)
            return 0
        row = self._held(op.claim)
        touched.add(row.queue)
        if isinstance(op, Ack):
            self._remove(row, undo)
        elif isinstance(op, Nack):
            self._nack(row, op, touched, undo)
        elif isinstance(op, Update):
            undo.append(_setter(row, payload=row.payload))
            row.payload = op.payload
        else:
            assert isinstance(op, Extend)
        return 0

    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        if op.attempts < 0:
            raise ValueError(f"a record was claimed 0 times or more, not {op.attempts}")
        if op.limit is not None or op.limit_bytes is not None:
            self._check_room(op)
        data = self._data
        data.last_id += 1
        data.delays = data.delays or op.not_before > 0
        put_at = op.put_at or data.clock.wall()
        row = _Row(op.queue, data.last_id, op.payload, op.rank, put_at, op.not_before, op.attempts, op.note)
        undo.append(lambda: self._take_out(row))
        self._insert(row)
        return row.id

    def _check_room(self, op: Put) -> None:
        depth = self._data.depth(op.queue)
        if op.limit is not None and depth.ready >= op.limit:
            raise LimitReached(f"queue {op.queue!r} has {depth.ready} ready records; its limit is {op.limit}")
        if op.limit_bytes is not None and depth.unfinished and depth.bytes + len(op.payload) > op.limit_bytes:
            raise LimitReached(f"queue {op.queue!r} has {depth.bytes} bytes; its limit is {op.limit_bytes}")

    def _insert(self, row: _Row) -> None:
        """Or undo its removal, as far as an interrupt has let it come."""
        self._data.rows[row.id] = row
        ids = self._data.queue(row.queue).ids
        at = bisect_left(ids, row.id)
        if ids[at : at + 1] != [row.id]:
            ids.insert(at, row.id)

    def _take_out(self, row: _Row) -> None:
        """Or undo its insertion, likewise."""
        self._data.rows.pop(row.id, None)
        ids = self._data.queue(row.queue).ids
        at = bisect_left(ids, row.id)
        if ids[at : at + 1] == [row.id]:
            del ids[at]

    def _remove(self, row: _Row, undo: list[Callable[[], object]]) -> None:
        undo.append(lambda: self._insert(row))
        self._take_out(row)

    def _held(self, claim: Claim) -> _Row:
        row = self._data.rows.get(claim.id)
        if row is None or row.owner is not self._token or row.attempts != claim.attempt:
            raise lease_lost(claim)
        return row

    def _nack(self, row: _Row, op: Nack, touched: set[str], undo: list[Callable[[], object]]) -> None:
        undo.append(_setter(row, owner=row.owner, not_before=row.not_before, note=row.note))
        row.owner, row.not_before = None, op.not_before
        self._data.delays = self._data.delays or op.not_before > 0
        if op.dead is not None:
            old, new = row.queue, dead_queue(row.queue)
            undo.append(lambda: self._move(row, old))
            self._move(row, new)
            row.note = op.dead
            touched.add(new)

    def _move(self, row: _Row, name: str) -> None:
        self._take_out(row)
        row.queue = name
        self._insert(row)

    def _table(self, op: Set | Delete | Clear, undo: list[Callable[[], object]]) -> None:
        data = self._data
        table = data.tables.setdefault(op.table, {})
        if isinstance(op, Clear):
            undo.append(partial(data.tables.__setitem__, op.table, table))
            data.tables[op.table] = {}
            return
        place, value = table.get(op.key, _ABSENT)
        if not meets(op.expect, value):
            raise ConditionFailed(f"key {op.key!r} of table {op.table!r} is not as expected ({op.expect!r:.60})")
        undo.append(partial(_put_back, data.tables, op.table, op.key, table.get(op.key)))
        if isinstance(op, Delete):
            table.pop(op.key, None)
            return
        if not place:
            data.last_place += 1
        table[op.key] = (place or data.last_place, op.value)

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
        patience: float | None = None,
        acks: Sequence[Ack] = (),
    ) -> list[Claim]:
        if acks:
            acknowledge(self, acks)
        due: float | None = None
        taken: list[list[Claim]] = []

        def attempt() -> list[Claim] | None:
            nonlocal due
            self._check_open()
            if stop is not None and stop():
                return []
            due = self._due(queue)  # before the look: a delay that runs out after it must not be slept over
            keep(taken, self._take, queue, order, ids, limit)
            return taken[-1] or None

        data = self._data
        try:
            with data.lock:
                return data.queue(queue).takers.wait_locked(lambda: data.look(attempt), timeout, lambda: due) or []
        except BaseException:  # of a signal handler: nobody would have them
            data.whole(lambda: self._untake(queue, [claim.id for claims in taken for claim in claims]))
            raise

    def _take(self, queue: str, order: Order, ids: Sequence[int] | None, limit: int) -> list[Claim]:
        rows, mine, token = self._ready(queue, order, ids, limit), list[_Row](), self._token
        try:
            for row in rows:
                owner, row.owner = row.owner, row.owner or token  # no call here: nothing comes between
                if owner is None:  # else a signal handler, or a finalizer, has claimed it since
                    row.attempts += 1
                    mine += [row]
            if mine:
                self._data.queue(queue).watchers.wake_all()
            elif rows:
                return self._take(queue, order, ids, limit)
            return [Claim(r.queue, r.id, r.attempts, r.payload, r.rank, r.put_at, r.note) for r in mine]
        except BaseException:
            self._untake(queue, [row.id for row in mine])
            raise

    def _ready(self, queue: str, order: Order, ids: Sequence[int] | None, limit: int) -> list[_Row]:
        ready = self._data.in_state(queue, State.READY, self._data.clock.wall(), newest=order is Order.NEWEST)
        if ids is not None:
            ready = (row for row in ready if row.id in ids)
        return nsmallest(limit, ready, key=_by_rank) if order is Order.RANK else list(islice(ready, limit))

    def _untake(self, queue: str, ids: Iterable[int]) -> None:
        """As if they had never been claimed, as far as they are."""
        for id in ids:
            row = self._data.rows.get(id)
            if row is not None and row.owner is self._token:
                row.owner = None
                row.attempts -= 1
        self._data.changed(queue)

    def _due(self, queue: str) -> float | None:
        if not self._data.delays:
            return None
        now = self._data.clock.wall()
        delayed = [row.not_before for row in self._data.in_state(queue, State.DELAYED, now)]
        return min(delayed) - now if delayed else None

    def browse(
        self, queue: str, *, order: Order = Order.OLDEST, state: State | None = State.READY, after: int = 0
    ) -> Iterator[Record]:
        def look() -> list[Record]:
            now = self._data.clock.wall()
            rows = list(self._data.rows_of(id for id in self._data.queue(queue).ids if id > after))
            return [
                Record(r.queue, r.id, _state(r, now), r.payload, r.rank, r.attempts, r.put_at, r.not_before, r.note)
                for r in _sorted(rows, order)
            ]

        return iter([record for record in self._whole(look) if state is None or record.state is state])

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        found = self._whole(lambda: self._data.depth(queue))
        return found if age else found._replace(oldest_age=None)

    def any_ready(self, queue: str) -> bool:
        return self.depth(queue, age=False).ready > 0

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        due: float | None = None

        def attempt() -> bool | None:
            nonlocal due
            self._check_open()
            due = self._due(queue)
            return until(data.depth(queue)._replace(oldest_age=None)) or None

        data = self._data
        with data.lock:
            if data._busy and timeout is not None:
                return bool(shut_in(attempt, timeout))
            return bool(data.queue(queue).watchers.wait_locked(lambda: data.look(attempt), timeout, lambda: due))

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._whole(lambda: self._data.tables.get(table, {}).get(key, _ABSENT)[1])

    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        entries = self._whole(lambda: list(self._data.tables.get(table, {}).items()))
        items = [(key, value) for key, (_, value) in entries]
        if reverse:
            items.reverse()
        keys = [key for key, _ in items]
        start = keys.index(after) + 1 if after in keys else 0
        return iter(items[start:])

    def keys(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[bytes]:
        return (key for key, _ in self.scan(table, after=after, reverse=reverse))

    def snapshot(self, table: str, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        def look() -> dict[bytes, bytes]:
            found = self._data.tables.get(table, {})
            return {key: found[key][1] for key in (found if keys is None else keys) if key in found}

        return self._whole(look)

    def count(self, table: str) -> int:
        return self._whole(lambda: len(self._data.tables.get(table, {})))

    def wake(self, queue: str) -> None:
        self._data.whole(lambda: self._data.changed(queue))

    def sync(self) -> None:
        self._check_open()

    def checkpoint(self) -> None:
        self._check_open()

    def close(self) -> None:
        with self._data.lock:
            self._closed = True
            self._release()

    def _whole(self, call: Callable[[], T]) -> T:
        def look() -> T:
            self._check_open()
            return call()

        return self._data.whole(look)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("this handle on a memory store was closed")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a handle on {self.place} can't be copied or pickled: open the store again")

    def __enter__(self) -> MemoryStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _state(row: _Row, now: float) -> State:
    if row.owner is not None:
        return State.CLAIMED
    return State.DELAYED if row.not_before > now else State.READY


def _by_rank(row: _Row) -> tuple[bytes, int]:
    return row.rank, row.id


def _sorted(rows: list[_Row], order: Order) -> list[_Row]:
    """Rows in id order, put in the order of a claim (I4)."""
    if order is Order.RANK:
        return sorted(rows, key=_by_rank)
    return rows[::-1] if order is Order.NEWEST else rows


def _put_back(tables: dict[str, _Table], name: str, key: bytes, held: tuple[int, bytes] | None) -> None:
    if held is None:
        tables[name].pop(key, None)
    else:
        tables[name][key] = held


def _by_place(item: tuple[bytes, tuple[int, bytes]]) -> int:
    return item[1][0]


def _setter(row: _Row, **values: object) -> Callable[[], object]:
    return lambda: row.__dict__.update(values)
