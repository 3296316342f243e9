"""The records of one queue of a store, as a handle sees them: items in, a look at what is ready, who may still come.

Any thread may call anything; no lock is held here. A put survives what the store's durability names when it returns.
"""

from __future__ import annotations

import pickle
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from operator import index
from queue import Empty, Full
from typing import Any, Protocol, SupportsIndex, cast

from ... import live, telling, wording
from ...astray import give_back
from ...clock import SYSTEM
from ...errors import (
    LimitReached,
    NotDurableWarning,
    NotSerializable,
    ShutDown,
    Stopped,
    StoreClosed,
)
from ...interrupts import works
from ...serializers import in_bytes
from ...serializers import pickle as pickles
from ...serializers.signed import CHOOSE, protected
from ...store import LOCK_TIMEOUT, Claim, Depth, Looks, Order, Put, Record, Store
from .counts import Flags
from .objects import Forgetting, Objects, flag
from .policy import AckPolicy, Markers, Volatile

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_CLASS = pickle.STACK_GLOBAL  #: in every pickle that calls something
_BARE = "it would come back as another object(), so that no 'is' finds it; use None"
_OR_DROP = ', or markers="drop"'
ALL = 1 << 30  #: more records than any queue has, and a number that each store can count to


class Turned(Empty, Full):
    """A hook was replaced while this call waited: it is to be made by way of the hooks, within `left` seconds (None: no
    limit)."""

    def __init__(self, left: float | None) -> None:
        super().__init__()
        self.left = left


class Serializer(Protocol):
    """What turns items into bytes and back."""

    @property
    def dumps(self) -> Callable[[Any], bytes]: ...
    @property
    def loads(self) -> Callable[[bytes], Any]: ...


def _loadable(serializer: Serializer) -> Callable[[Any], bytes]:
    """Its `dumps`, which raises what `loads` does: for an exception whose `__init__` wants other arguments than it was
    pickled with, say. An item that only `get` finds out about is lost to who waits for it."""
    dumps, loads = serializer.dumps, serializer.loads

    def dumped(item: Any) -> bytes:
        payload = dumps(item)
        if _CLASS in payload:
            loads(payload)
        return payload

    return dumped


class Stock:
    """What there is in a queue, and the way in."""

    takes_volatile = True  #: whether whoever makes such a queue may say so
    ranked = False  #: whether the place of an item follows from its value

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        owned: bool,
        order: Order,
        serializer: Serializer,
        policy: AckPolicy,
        max_attempts: int | None = None,
        keep_items: bool = True,
        markers: Markers = Markers.KEEP,
        volatile: Volatile = Volatile.RAISE,
    ) -> None:
        serializer = protected(serializer, None, hosts=store.capabilities.hosts, place=store.place, ways=[CHOOSE])
        self.store, self.name, self.owned, self.order = store, name, owned, order
        self.policy, self.keep_items = policy, keep_items
        self.objects = Objects(serializer.loads, weakref.WeakMethod(self._meet), markers, volatile)
        self.dumps = _loadable(serializer) if volatile is Volatile.WARN else serializer.dumps
        #: Types whose items `dumps` alone encodes.
        self.simple: frozenset[type] = pickles.SIMPLE if serializer.dumps is pickles.dumps else frozenset()
        self.decode: Callable[[bytes], Any] = self.objects.loads
        self.loads = serializer.loads  #: the same for payloads that don't begin with a zero, which nearly none does
        self._bind(store)
        self.max_attempts = max_attempts
        self.counted = max_attempts is not None
        self.flags = Flags()
        self.stopped = self.flags.stopped

    def _bind(self, store: Store) -> None:
        """From now on commits and claims go to this store."""
        self.commit: Callable[..., tuple[int, ...]] = store.commit
        self.claim = store.claim
        self.look = cast("Looks", store).look if store.capabilities.looks else None
        if self.objects.meeting:
            self._meet()

    def _meet(self) -> None:
        """There is an item that is kept as it is: whatever leaves the queue may be one."""
        if not isinstance(self.commit, Forgetting):
            self.commit = Forgetting(self.commit)

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"queue {self.name!r} in {self.store.place}"

    @property
    def family(self) -> str:
        """How a message names it that is the same for all queues that one place of the program makes."""
        return self.label

    def encode(self, item: object) -> bytes:
        """The payload of an item. Raises NotSerializable."""
        if item is None or type(item) is object:
            return self._encode_marker(item)
        try:
            payload = self.dumps(item)
        except MemoryError:
            raise
        except Exception as error:
            if works(self.dumps, item):
                raise  # a signal handler's exception, and no fault of the item
            return self._keep_volatile(item, wording.named(error), error)
        if type(payload) is not bytes:
            payload = self._in_bytes(item, payload)
        return live.escape(payload) if payload < b"\1" and payload else payload

    def _in_bytes(self, item: object, payload: object) -> bytes:
        try:
            return in_bytes(payload)
        except TypeError as error:
            raise self._refusal(item, str(error)) from None

    def _encode_marker(self, item: object) -> bytes:
        if self.objects.markers is Markers.DROP:
            return self._keep(item)
        if item is not None:
            return self._keep_volatile(item, _BARE + (_OR_DROP if self.store.capabilities.exclusive else ""))
        return live.escape(self._in_bytes(item, self.dumps(item)))

    # Objects that are kept as they are

    def _keep(self, item: object) -> bytes:
        if not self.objects.flagged:
            flag(self.store, self.name)
            self.objects.flagged = True  # not before: another thread's record would stand in front of the flag
        return self.objects.keep(item)

    def _keep_volatile(self, item: object, reason: str, error: Exception | None = None) -> bytes:
        if self.objects.volatile is Volatile.RAISE:
            raise self._refusal(item, reason) from error
        telling.warn(  # without addresses: the same warning from the same line is shown once
            f"{self.family} keeps items of type {type(item).__module__}.{type(item).__qualname__} in memory alone: "
            f"they can't be serialised ({_ADDRESS.sub('', reason)}), and are lost in a crash",
            NotDurableWarning,
        )
        return self._keep(item)

    def _refusal(self, item: object, reason: str) -> NotSerializable:
        alone = self.store.capabilities.exclusive and self.takes_volatile
        memory = ', or keep such items in memory alone with volatile="warn"' if alone else ""
        return NotSerializable(
            f"{self.label} can't keep an item of type {type(item).__module__}.{type(item).__qualname__}: {reason}. "
            f"Nothing was stored. Put what can be serialised (an id, a path, plain data), or choose serializer={memory}"
        )

    def make(self, item: object) -> Put:
        """The record of an item. Raises NotSerializable, and RankError where the order needs a rank."""
        return Put(self.name, self.encode(item))

    def stow(self, item: object, put: Put) -> None:
        """Store what `make` made of the item. Raises ShutDown, LimitReached, and what the store raises."""
        try:
            self.commit(put, stop=self.stopped)
        except Stopped:
            raise self.ending() from None

    def put_within(self, maxsize: Callable[[], int], items: Sequence[object], timeout: float | None) -> None:
        """Store all items in one commit, waiting up to `timeout` seconds for room. Raises queue.Full, Turned."""
        puts: list[Put] = []
        deadline = deadline_of(timeout)
        try:
            for item in items:
                puts.append(self.make(item))
            self._stow_within(maxsize, items, puts, deadline)
        except Exception:  # an interrupt leaves open whether they are stored
            self.objects.forget(put.payload for put in puts)
            raise

    def _stow_within(
        self, maxsize: Callable[[], int], items: Sequence[object], puts: list[Put], deadline: float | None
    ) -> None:
        while True:
            limit = max(0, maxsize()) or None
            try:
                patience = patience_of(left_of(deadline))
                return self.stow_all(items, [put._replace(limit=limit) for put in puts], patience)
            except LimitReached:
                if maxsize() == limit and not self._wait_for_room(maxsize, len(puts), left_of(deadline)):
                    raise Full from None
                if self.flags.turned() and not self.stopped():
                    raise Turned(left_of(deadline)) from None

    def _wait_for_room(self, maxsize: Callable[[], int], room: int, timeout: float | None) -> bool:
        def until(depth: Depth) -> bool:
            return turned() or not 0 < maxsize() < depth.ready + room

        turned = self.flags.turned
        return (timeout is None or timeout > 0) and self.store.wait(self.name, until, timeout)

    def stow_all(self, items: Sequence[object], puts: Sequence[Put], timeout: float | None = None) -> None:
        """Store what `make` made of the items, in one commit, which waits so long for the store (None: 5 seconds)."""
        try:
            self.commit(*puts, stop=self.stopped, timeout=timeout)
        except Stopped:
            raise self.ending() from None

    def ready(self) -> int:
        return 0 if self.flags.cut else self.store.depth(self.name, age=False).ready

    def is_empty(self) -> bool:
        """Whether nothing is ready."""
        return self.flags.cut or not self.store.any_ready(self.name)

    def records(self, order: Order | None = None) -> Iterator[Record]:
        """The ready records in the order in which they will leave, or in another one."""
        if self.flags.cut:
            return iter(())
        return self.store.browse(self.name, order=order or self.order)

    def items(self, order: Order | None = None) -> Iterator[Any]:
        """Their items; those that can't be decoded are passed over, as get() would."""
        return (item for _, item in self.decoded(order))

    def decoded(self, order: Order | None) -> Iterator[tuple[Record, Any]]:
        """The same with the records."""
        for record in self.records(order):
            try:
                item = self.decode(record.payload)
            except Exception:
                continue
            yield record, item

    def release(self, claims: Sequence[Claim]) -> None:
        """Make claimed records ready again as far as they are still ours: later, where the store refuses. Never raises
        for the store's sake."""
        give_back(self.store, claims)

    def ending(self) -> Exception:
        """Why nothing more comes."""
        if self.flags.closed:
            return StoreClosed(f"{self.label} was closed by this program; open it again")
        return ShutDown(f"{self.label} was shut down")


def patience_of(timeout: float | None) -> float | None:
    """How long a call with this timeout waits for the store itself: None, for as long as any call does, at least."""
    return timeout if timeout is not None and timeout > LOCK_TIMEOUT else None


def deadline_of(timeout: float | None) -> float | None:
    return None if timeout is None else SYSTEM.monotonic() + timeout


def left_of(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - SYSTEM.monotonic())


def whole(number: SupportsIndex, what: str) -> int:
    """A whole number that a user gave. Raises TypeError, which says what it is."""
    try:
        return index(number)
    except TypeError:
        raise TypeError(f"{what}, a whole number, not {number!r}") from None


def most_of(most: SupportsIndex) -> int:
    """How many items a call takes at most, from what it was given. Raises TypeError and ValueError."""
    number = whole(most, "most is how many items to take at most")
    if number < 1:
        raise ValueError(f"most is how many items to take at most; {most} is none")
    return min(number, ALL)
