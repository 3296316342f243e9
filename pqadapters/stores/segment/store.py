"""A handle on a segment store: the contract of `pqadapters.store.Store` over a log in a directory.

One process holds a directory, any number of threads and handles of it use it. With durability "power" a commit is
synced before it returns, together with those of other threads; with "process" it is written, and synced in the
background. Claims are kept in memory: they end with the process, and are written down only when counted.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain, dropwhile, repeat
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from ...apart import out_of_hub
from ...clock import SYSTEM, Clock
from ...durability import Durability, Survives
from ...errors import Stopped, StoreClosed
from ...store import (
    PLAIN,
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
    acknowledge,
    put_off,
)
from .._disk import Disk, disk_of
from .._gate import shut_in
from .._turns import awoken, call_back, comers, in_turn
from . import looks
from .claims import take, take_one, untake
from .commits import ack, carry_out, put
from .core import Core, share
from .queues import Key, Queue

T = TypeVar("T")
MIN_SEGMENT_BYTES = 4096
MAX_SEGMENT_BYTES = 1 << 30
_NOTHING = (0,)  #: the results of an acknowledgement


class _Owner:
    """Who has claims: a handle."""


class SegmentStore:
    """Queues and tables in the files of a directory.

    `directory` is made if it is missing, private to its owner. `durability` is "power" or "process", with a sync at
    most `max_lag` seconds after a write; it is this handle's own. `segment_bytes` is the size at which a file is ended
    and another begun; by default 2 MiB, of large records up to 8.
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
        segment_bytes: int | None = None,
        trust_directory: bool = False,
        clock: Clock = SYSTEM,
        disk: Disk | None = None,
    ) -> None:
        self._durability = Durability.of(durability, max_lag)
        if segment_bytes is not None and not MIN_SEGMENT_BYTES <= segment_bytes <= MAX_SEGMENT_BYTES:
            raise ValueError(f"segment_bytes is from {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}, not {segment_bytes}")
        path = os.path.realpath(directory)
        self._power = self._durability.survives is Survives.POWER
        self._owner = _Owner()
        self._closed = False
        disk = disk or disk_of(path, trust=trust_directory)
        self._core = core = share(path, disk, segment_bytes, trust_directory, clock, self._owner)
        self._release = weakref.finalize(self, out_of_hub, core.release, self._owner)
        self._release.atexit = False  # see Core.end
        core.sync_within(self._durability.max_lag)

    @property
    def durability(self) -> Durability:
        return self._durability

    @property
    def damage(self) -> Sequence[Damage]:
        return tuple(self._core.damage)

    @property
    def place(self) -> str:
        return self._core.directory

    @property
    def next_id(self) -> int:
        """What is put from now on has this id or a higher one."""
        with self._core.lock:
            return self._core.log.next

    # Commits

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        core = self._core
        if core.coming > 0 and not core.owned():
            return in_turn(core, partial(SegmentStore.commit, self, *ops, stop=stop), polite=not self._power)
        lock = core.lock
        for free in core.door:  # noqa: B007  # once
            break
        if not free:
            again = partial(SegmentStore.commit, self, *ops, stop=stop)
            return in_turn(core, again, polite=not self._power, asks=free is None)
        try:
            if core.inside:
                return self._put_off_locked(ops, stop)
            core.inside = True
            lazy = False
            results: tuple[int, ...]
            try:
                if self._closed or core.log.trouble is not None:
                    self._refuse()
                if stop is not None and stop():
                    raise Stopped("the commit was stopped by its own predicate")
                op: Any = ops[0] if len(ops) == 1 else None
                kind = type(op)
                if kind is Put and op[2:] == PLAIN:
                    results = (put(core, op),)
                elif kind is Ack:
                    ack(core, op, self._owner)
                    results, lazy = _NOTHING, op[1]
                else:
                    results, lazy = carry_out(core, ops, self._owner)
            finally:
                core.inside = False
                if core.deferred:
                    core.leave_locked()
            if core.syncer is None or (self._power and not lazy):
                core.settle_locked(self._power and not lazy)
            return results
        finally:
            lock.release()

    def _put_off_locked(self, ops: Sequence[Op], stop: Stop | None) -> tuple[int, ...]:
        """In the middle of another call of this thread: behind that."""
        self._refuse()
        self._core.deferred.append(partial(self._commit_late_locked, put_off(ops, stop), []))
        return (0,) * len(ops)

    def _commit_late_locked(self, ops: tuple[Op, ...], landed: list[bool]) -> None:
        """Although the handle may be closed by now. `landed`: whether it was lazy, once it is done: what is interrupted
        behind that isn't done again."""
        core = self._core
        if not landed:
            core.inside = True
            try:
                core.check_locked()
                carry_out(core, ops, self._owner, landed)
            finally:
                core.inside = False  # what was put off meanwhile comes next in the loop that we are called by
        core.settle_locked(self._power and not landed[0])

    def _refuse(self) -> None:
        if self._closed:
            raise StoreClosed(f"this handle on the store in {self.place} was closed; open it again")
        self._core.check_locked()

    # Claims

    def claim(  # by keywords; the defaults of parameters that take nothing else cost a search each
        self,
        queue: str,
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
        core = self._core
        if acks:
            acknowledge(self, acks)
        if limit == 1 and ids is None:
            found: list[Any] = [None]  # made before: there may be no memory for it
            found[0] = self._claim_one(core, queue, order, stop, counted)
            if found[0] is not None:
                return found
            if timeout is not None and timeout <= 0:
                call_back(core)
                return []
        return self._claim_or_wait(queue, order, ids, limit, timeout, stop, counted)

    def _claim_one(self, core: Core, queue: str, order: Order, stop: Stop | None, counted: bool) -> Claim | None:
        """The plain case: one record that is there already, by order."""
        if core.coming > 0 and not core.owned():
            return self._claim_one_in_turn(False, core, queue, order, stop, counted)
        lock, claim = core.lock, None
        for free in core.door:  # noqa: B007  # as in `commit`
            break
        if not free:
            return self._claim_one_in_turn(free is None, core, queue, order, stop, counted)
        try:
            try:
                if core.inside:
                    return None
                core.inside = True
                try:
                    if self._closed or core.log.trouble is not None:
                        self._refuse()
                    if stop is not None and stop():
                        return None
                    found = core.catalog.queues.get(queue)
                    if found is None:
                        found = core.catalog.queue(queue)
                    claim = take_one(core, found, order, self._owner, counted)
                finally:
                    core.inside = False
                    if core.deferred:
                        core.leave_locked()
                if counted and claim is not None:
                    core.settle_locked(self._power)
                return claim
            finally:
                lock.release()
        except BaseException:
            if claim is not None:
                self._give_back([claim])
            raise

    def _claim_one_in_turn(self, asks: bool, core: Core, *asked: Any) -> Claim | None:
        claims: list[Claim | None] = []
        try:
            in_turn(core, lambda: claims.append(self._claim_one(core, *asked)), polite=not self._power, asks=asks)
            return claims[0]
        except BaseException:
            self._give_back([claim for claim in claims if claim is not None])
            raise

    def _claim_or_wait(
        self,
        queue: str,
        order: Order,
        ids: Sequence[int] | None,
        limit: int,
        timeout: float | None,
        stop: Stop | None,
        counted: bool,
    ) -> list[Claim]:
        core, claims = self._core, list[Claim]()

        def attempt(found: Queue) -> list[Claim] | None:
            if core.inside:
                return []  # in the middle of another call of this thread: there is no waiting for it
            core.inside = True
            try:
                if self._closed or core.log.trouble is not None:
                    self._refuse()
                if stop is not None and stop():
                    found.wake_taker()  # a wake-up that came here is somebody else's (I7)
                    return []
                take(core, found, order, ids, limit, counted, self._owner, claims)
                if not claims:
                    call_back(core)
                return claims or None
            finally:
                core.inside = False
                if core.deferred:
                    core.leave_locked()

        def wait() -> None:
            found = core.catalog.queue(queue)
            if attempt(found) is None and (timeout is None or timeout > 0):
                found.choosy += ids is not None
                due, back = partial(_due, core, found), None if self._power else partial(awoken, core)
                try:
                    found.takers.wait_locked(partial(attempt, found), timeout, due, back)
                finally:
                    found.choosy -= ids is not None
            if claims and counted:
                core.settle_locked(self._power)

        try:
            in_turn(core, wait, polite=not self._power)
            return claims
        except BaseException:
            if claims:
                self._give_back(claims)
            raise

    def _give_back(self, claims: list[Claim]) -> None:
        with self._core.lock:
            untake(self._core, claims)

    # Looking

    def browse(
        self, queue: str, *, order: Order = Order.OLDEST, state: State | None = State.READY, after: int = 0
    ) -> Iterator[Record]:
        core = self._core
        found = self._within(lambda: core.catalog.queue(queue))
        if state is State.READY and after <= 0:
            states: Iterable[tuple[int, State]] = zip(self._ready(found, order), repeat(state))
        else:
            states = self._above(found, order, state, after)
        return filter(None, (self._within(partial(looks.record, core, found, *each)) for each in states))

    def _ready(self, queue: Queue, order: Order) -> Iterator[int]:
        """The ids of all that are ready. The first one comes by itself: who wants no more needs no list of all."""
        core = self._core
        first, behind = self._within(lambda: (looks.first(core, queue, order), core.log.next))

        def others() -> Iterator[int]:
            yield from (id for id in self._within(lambda: queue.ids(order)) if id != first and id < behind)

        return iter(()) if first is None else chain([first], others())

    def _above(self, queue: Queue, order: Order, state: State | None, after: int) -> Iterable[tuple[int, State]]:
        """The ids above that one, and their states. The next one of all comes by itself, where it is of this queue:
        who looks for one record by its id needs no list of all that came later."""
        core = self._core

        def all_above(last: int) -> Iterable[tuple[int, State]]:
            return self._within(lambda: looks.states(core, queue, order, state, last)).items()

        def others() -> Iterator[tuple[int, State]]:
            yield from (each for each in all_above(after + 1) if each[0] < behind)

        if order is Order.OLDEST and after > 0:
            first, behind = self._within(lambda: (looks.state(core, queue, after + 1), core.log.next))
            if first is not None and state in (None, first):
                return chain([(after + 1, first)], others())
        return all_above(after)

    def _within(self, call: Callable[[], T]) -> T:
        """Make the call under the lock. What interrupts it, in the same thread, is put off until it is done."""
        core = self._core
        with core.lock:
            nested, core.inside = core.inside, True
            try:
                self._refuse()
                return call()
            finally:
                core.inside = nested
                if core.deferred and not nested:
                    core.leave_locked()

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        core = self._core
        return self._within(lambda: looks.depth(core, core.catalog.queue(queue), age=age))

    def any_ready(self, queue: str) -> bool:
        return self.depth(queue, age=False).ready > 0

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        core = self._core

        def attempt() -> bool | None:
            if self._closed or core.log.trouble is not None:
                self._refuse()
            return until(core.catalog.depth(found, core.clock.wall())) or None

        call_back(core)
        with core.lock:
            found = core.catalog.queue(queue)
            if core.inside and timeout is not None:
                return bool(shut_in(attempt, timeout))
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

        def find() -> bytes | None:
            found = core.catalog.known_table(table)
            known = found.keys.get(key) if found is not None else None
            return None if known is None else core.value_locked(known.id)

        return self._within(find)

    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        pairs = ((key, self.get(table, key)) for key in self.keys(table, after=after, reverse=reverse))
        return ((key, value) for key, value in pairs if value is not None)

    def keys(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[bytes]:
        if after is None:
            return self._all_keys(table, reverse)
        keys = self._within(lambda: self._keys(table))
        known = after in keys
        if reverse:
            keys.reverse()
        if known:
            keys = list(dropwhile(lambda key: key != after, keys))[1:]
        return iter(keys)

    def _all_keys(self, table: str, reverse: bool) -> Iterator[bytes]:
        """The first one by itself, as in `_ready`; then those that were there already."""
        core = self._core

        def turned(keys: dict[bytes, Key] | list[bytes]) -> Iterator[bytes]:
            return reversed(keys) if reverse else iter(keys)

        def older() -> list[bytes]:
            return [key for key, each in self._table(table).items() if each.place < behind and key != first]

        def others() -> Iterator[bytes]:
            yield from turned(self._within(older))

        first, behind = self._within(lambda: (next(turned(self._table(table)), None), core.log.next))
        return iter(()) if first is None else chain([first], others())

    def snapshot(self, table: str, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        def look() -> dict[bytes, bytes]:
            found = ((key, self.get(table, key)) for key in (self._keys(table) if keys is None else keys))
            return {key: value for key, value in found if value is not None}

        return self._within(look)

    def count(self, table: str) -> int:
        return self._within(lambda: len(self._table(table)))

    def _table(self, name: str) -> dict[bytes, Key]:
        found = self._core.catalog.known_table(name)
        return found.keys if found is not None else {}

    def _keys(self, table: str) -> list[bytes]:
        return list(self._table(table))

    # The whole

    def sync(self) -> None:
        core = self._core
        with core.lock:
            self._refuse()
            if core.inside:
                core.deferred.append(self.sync)
            else:
                core.sync_locked(core.log.next - 1)

    def checkpoint(self) -> None:
        core = self._core
        with core.lock:
            self._within(core.checkpoint_locked if not core.inside else lambda: None)

    def close(self) -> None:
        self._closed = True
        with self._core.lock:
            self._core.wake_everybody_locked()
        if self._release.alive:  # to call it would do nothing at the interpreter's end
            self._core.release(self._owner)
            self._release.detach()  # behind it: what is interrupted is done by who closes it again, or drops it

    def discard(
        self,
        *,
        remove: bool = False,
        unless: Callable[[], bool] = bool,
        door: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> bool:
        """Close it for all handles of this process, without a checkpoint; with `remove`, its files go, all of them.
        Nothing of that, and False, where `unless()` says so, which is asked while no other thread can put anything. In
        the middle of another call of this thread it is put off to the end of that, and then closed in any case. `door`
        is the lock of the directory around it; it comes behind the store's, since a finalizer in the middle of a call
        may want it, too."""
        core = self._core
        with core.lock:
            if core.inside:
                core.deferred.append(partial(self._discard_or_close, remove=remove, unless=unless, door=door))
                return True
            if unless():
                return False
            with door():
                self._closed = True
                core.discard(remove=remove)
            return True

    def _discard_or_close(self, **options: Any) -> None:
        if not self.discard(**options):
            self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a handle on {self.place} can't be copied or pickled: open the store again")

    def __enter__(self) -> SegmentStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _due(core: Core, queue: Queue) -> float | None:
    """Seconds until the first delayed record is ready."""
    return queue.delayed[0][0] - core.clock.wall() if queue.delayed else None


comers.update(each.__code__ for each in (SegmentStore.commit, SegmentStore._claim_one, SegmentStore._claim_or_wait))
