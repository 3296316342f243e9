"""The store of a queue without a name or path: a slot of this process, taken when it is first needed.

The first put takes a slot; the first look (get, qsize, ...) also adopts what dead processes of the application left in
this place. What earlier runs left is never counted against a put's limit: the program fills its queue, or gives back
what it took from it, as if it had begun empty, and must not wait where the standard library's queue wouldn't.

Any thread may use it. A forked child goes on with an empty slot of its own. What was put survives as the durability
says; closing takes away a slot that is empty.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import live, telling
from ..clock import SYSTEM
from ..durability import Durability
from ..errors import DiskError, StoreClosed
from ..living import living
from ..store import (
    Ack,
    Capabilities,
    Claim,
    Damage,
    Delete,
    Depth,
    Op,
    Order,
    Record,
    State,
    Stop,
    Store,
    put_off,
)
from ..telling import silence
from . import idling
from .adoption import DEAD, QUEUE, Moved, adopt, bury_all, drop_left_behind, thin_out
from .ground import Ground, ground_of
from .nothing import Nothing
from .places import Spot
from .waiting import name_waiting_places

if TYPE_CHECKING:
    from ..stores.segment.slots import Slot

_log = telling.logger("pqadapters.home")
_PATIENCE = 1.0  #: seconds until an adoption that failed is tried again
_all: weakref.WeakSet[PrivateStore] = weakref.WeakSet()


class PrivateStore:
    """A `Store` in a slot of the place `spot`.

    `ends` tells payloads that are worth nothing without the process that put them. `tables` are kept beside the queue:
    a slot that has keys in them isn't empty, and they are taken over with the items. Who uses this may set `taken`,
    which is called when the slot is taken, `settled`, called with the slot's own store once nothing stands between it
    and its users, and `renewed`, called where the queue begins again without a slot: in a forked child, at the
    process's end. Raises NoHome, StoreError, when the slot is taken.
    """

    capabilities = Capabilities()

    def __init__(
        self,
        spot: Spot,
        *,
        durability: Durability,
        trust_directory: bool = False,
        ends: Callable[[bytes], bool] = live.is_left_behind,
        tables: Sequence[str] = (),
    ) -> None:
        self._spot, self._durability, self._trust, self._ends = spot, durability, trust_directory, ends
        self._tables = tuple(tables)
        self.taken: Callable[[Ground], object] = lambda ground: None
        self.settled: Callable[[Store], object] = lambda store: None
        self.renewed: Callable[[], object] = lambda: None
        self._closed = False
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._committing: dict[object, int] = {}  #: threads in a commit that doesn't hold the lock, by commit
        self._busy = False  #: the thread that holds the lock is taking the slot, or adopting
        self._put_off: list[Callable[[], object]] = []  #: calls that interrupted it, to be carried out behind it
        self._ground: Ground | None = None
        self._slot: Slot | None = None
        self._adopted = False
        self._adopt_at = 0.0  #: not before, in monotonic seconds
        self._left = 0  #: records that earlier runs left, until all was done once
        self.moved = Moved()

    # The slot

    @property
    def durability(self) -> Durability:
        return self._durability

    @property
    def damage(self) -> Sequence[Damage]:
        return self._slot.store.damage if self._slot is not None else ()

    @property
    def left(self) -> int:
        """How many items earlier runs left here at most, that a put's limit isn't about; never more than there are."""
        slot = self._slot
        if self._left and slot is not None:
            self._left = min(self._left, slot.store.depth(QUEUE).unfinished)
        return self._left

    @property
    def place(self) -> str:
        """The slot's directory, or what is known of it before there is one."""
        if self._slot is not None:
            return self._slot.directory
        return f"the home of this application (of {self._spot.name}; nothing was put yet)"

    @property
    def family(self) -> str:
        """Where all live that were made in its place."""
        return f"the home of this application (of {self._spot.name})"

    def _own(self) -> Store:
        """Our slot, taken now if it isn't yet. The lock is held."""
        if self._closed:
            raise StoreClosed(f"the {self._spot.what} made in {self._spot.name} was closed; make a new one")
        if self._slot is None and self._busy:
            return Nothing()  # to whoever interrupts us in the middle of it, nothing is there yet
        if self._slot is None:
            self._alone(self._take)
        assert self._slot is not None
        return self._slot.store

    def _alone(self, call: Callable[[], object]) -> None:
        """A finalizer or a signal handler may use the queue in the middle of the call, in the same thread: its commits
        are put off, and its looks begin nothing of their own. The lock is held."""
        try:
            self._busy = True
            call()
        finally:  # no context manager: an exception that somebody keeps may keep one from its end
            self._busy = False
            self._catch_up()

    def _catch_up(self) -> None:
        """Carry out what was put off. What a signal handler keeps it from is left to the next call."""
        calls, self._put_off, done = self._put_off, [], 0
        try:
            for call in calls:
                try:
                    call()
                except Exception:
                    _log.exception("a call that interrupted another one of its thread failed")
                done += 1
        finally:
            self._put_off[:0] = calls[done:]

    def _take(self) -> None:
        if self._spot.transient:
            for ground, slot in idling.held(self._spot.name):
                try:
                    ground.learn(transient=True)
                    bury_all(slot.store)
                finally:
                    ground.leave(slot, empty=not self._holds(slot))
        idle = idling.again(self._key)
        if idle is not None:
            return self._go_on(idle)
        ground = ground_of(self._spot, self._durability, self._trust)
        slot = ground.take()
        try:
            self._clear_up(slot, ground)
        except BaseException:
            ground.leave(slot, empty=False)
            raise
        if self._tables:
            ground.learn(tables=list(self._tables))
        self._ground, self._slot = ground, slot
        self.taken(ground)
        name_waiting_places(ground)

    @property
    def _key(self) -> idling.Key:
        return self._spot.name, self._spot.index, self._durability, self._trust

    def _go_on(self, idle: idling.Idle) -> None:
        """With the slot of an earlier queue of this place."""
        ground, slot = idle
        ground.spot = self._spot
        ground.learn(transient=True)
        self._ground, self._slot, self._adopted = ground, slot, True
        self.taken(ground)
        self.settled(slot.store)

    def _clear_up(self, slot: Slot, ground: Ground) -> None:
        """Make a slot that a dead process left ready for us."""
        store = slot.store
        flag = store.get(live.TABLE, QUEUE.encode())
        dropped = 0
        if flag is not None:
            dropped = drop_left_behind(store, QUEUE, self._ends, int.from_bytes(flag, "big") - 1)
            store.commit(Delete(live.TABLE, QUEUE.encode()))
        letters = bury_all(store) if ground.transient else 0
        self._left = store.depth(QUEUE).ready
        self.moved = Moved(self._left, letters, dropped)

    def _taken_now(self) -> Store:
        """Our slot, whatever is in it by now."""
        with silence(), self._lock:
            return self._own()

    def _whole(self) -> Store:
        """Our slot, with everything in it that is to be in it."""
        with silence(), self._lock:
            store = self._own()
            interrupting = self._busy or threading.get_ident() in self._committing.values()
            if self._put_off and not interrupting:
                self._catch_up()
            if not self._adopted and not interrupting and SYSTEM.monotonic() >= self._adopt_at:
                self._changed.wait_for(lambda: not self._committing)
                if not self._adopted:
                    self._alone(self._adopt)
            return store

    def _for(self, name: str) -> Store:
        """Our slot, for a look at that queue or table."""
        if name in (QUEUE, DEAD):
            return self._whole()
        return self._taken_now()

    def _adopt(self) -> None:
        ground, slot = self._ground, self._slot
        assert ground is not None
        assert slot is not None
        try:
            more = adopt(ground.slots, slot, ends=self._ends, transient=ground.transient, tables=self._tables)
        except DiskError as error:  # a full disk: what is in our slot is served, which gives space back
            _log.warning("%s: what dead processes left can't be taken over yet: %s", slot.directory, error)
            self._adopt_at = SYSTEM.monotonic() + _PATIENCE
            return
        self.moved = self.moved.plus(more)
        if ground.transient:
            thin_out(slot.store)
        self._adopted = True
        self._left += more.items
        self.settled(slot.store)
        slot.store.wake(QUEUE)  # whoever waits for room or for the end sees what was waiting
        ground.tell_of(self.moved)

    # The contract

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        if self._slot is None:
            with silence(), self._lock:
                self._own()
        this = object()
        try:
            with self._lock:
                if self._busy:
                    self._put_off.append(partial(self.commit, *put_off(ops, stop), timeout=timeout))
                    return (0,) * len(ops)
                store = self._own()
                if self._put_off:
                    self._catch_up()
                self._committing[this] = threading.get_ident()
            return store.commit(*ops, stop=stop, timeout=timeout)
        finally:
            try:
                self._end_commit(this)
            except BaseException:  # of a signal handler: whoever waits for the end of the commit would wait for ever
                self._end_commit(this)
                raise

    def _end_commit(self, this: object) -> None:
        with self._lock:
            self._committing.pop(this, None)
            self._changed.notify_all()

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
        store = self._for(queue)
        counted = counted or self.moved.items > 0  # the first one may be what ended the last run
        return store.claim(
            queue,
            order=order,
            ids=ids,
            limit=limit,
            timeout=timeout,
            stop=stop,
            counted=counted,
            lease=lease,
            patience=patience,
            acks=acks,
        )

    def browse(
        self, queue: str, *, order: Order = Order.OLDEST, state: State | None = State.READY, after: int = 0
    ) -> Iterator[Record]:
        return self._for(queue).browse(queue, order=order, state=state, after=after)

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        return self._for(queue).depth(queue, age=age)

    def any_ready(self, queue: str) -> bool:
        return self._for(queue).any_ready(queue)

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        return self._taken_now().wait(queue, until, timeout)

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._for(table).get(table, key)

    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self._for(table).scan(table, after=after, reverse=reverse)

    def keys(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[bytes]:
        return self._for(table).keys(table, after=after, reverse=reverse)

    def snapshot(self, table: str, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        return self._for(table).snapshot(table, keys)

    def count(self, table: str) -> int:
        return self._for(table).count(table)

    def wake(self, queue: str) -> None:
        slot = self._slot
        if slot is not None:
            slot.store.wake(queue)

    def sync(self) -> None:
        self._taken_now().sync()

    def checkpoint(self) -> None:
        self._taken_now().checkpoint()

    # The end

    def facts(self) -> dict[str, Any]:
        """Where it lives, for people."""
        self._whole()
        ground = self._ground
        assert ground is not None
        return {
            "application": ground.application.title,
            "made_in": self._spot.name,
            "index": self._spot.index,
            "transient": ground.transient,
            "temporary": bool(ground.application.temporary),
            "adopted": self.moved.items,
        }

    def learn(self, **facts: Any) -> None:
        """Keep what all queues of this place are to know. Raises StoreError."""
        with silence(), self._lock:
            self._own()
            if self._ground is not None:
                self._ground.learn(**facts)

    def learnt(self, fact: str) -> Any:
        """What the queues of this place know by now, in whatever process; None for nothing."""
        with silence(), self._lock:
            self._own()
            return None if self._ground is None else self._ground.learnt(fact)

    def close(self) -> None:
        """Let go of the slot; one that is empty is taken away."""
        self._close(dropped=False)

    def drop(self) -> None:
        """The same for a queue that the program has dropped. What it leaves is no other living process's, unless it is
        known already that it is nobody's: the next queue of this place may show that."""
        self._close(dropped=True)

    def _close(self, *, dropped: bool) -> None:
        with silence(), self._lock:
            if self._closed:
                return
            if self._busy:
                self._put_off.append(partial(self._close, dropped=dropped))  # behind the commits that came before it
                return
            if self._put_off:
                self._catch_up()
            self._closed = True
            self._spot.leave()
            slot, ground = self._slot, self._ground
            if slot is None or ground is None:
                return
            if ground.transient:
                bury_all(slot.store)
            self._leave(slot, ground, dropped=dropped)

    def _leave(self, slot: Slot, ground: Ground, *, dropped: bool) -> None:
        left = slot.store.depth(QUEUE)
        if dropped and left.unfinished and not ground.transient:
            return idling.hold(self._spot.name, (ground, slot))
        if ground.transient and self._adopted and not left.unfinished and idling.keep(self._key, (ground, slot)):
            return
        ground.leave(slot, empty=not self._holds(slot), unless=partial(self._holds, slot))

    def _holds(self, slot: Slot) -> bool:
        """Whether there is anything in it that is to be kept."""
        left = slot.store.depth(QUEUE)
        return bool(left.unfinished or left.dead or any(slot.store.count(table) for table in self._tables))

    def put_down(self) -> None:
        """The process ends: an empty slot goes, and whoever uses the queue after all, in a handler behind ours, gets
        another one. A slot that isn't empty stays as it is: the kernel lets go of it."""
        with silence(), self._lock:
            slot, ground = self._slot, self._ground
            if self._closed or self._busy or slot is None or ground is None:
                return
            if self._put_off:
                self._catch_up()
            if not self._holds(slot):
                ground.leave(slot, empty=True, unless=partial(self._holds, slot))  # daemon threads put to the very end
                self.begin_again()

    def __enter__(self) -> PrivateStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin_again(self) -> None:
        """The slot is the parent's (in a forked child), or gone: the next use takes one."""
        self._begin()
        self.renewed()


def _begin_again() -> None:
    for store in living(_all):
        store.begin_again()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
