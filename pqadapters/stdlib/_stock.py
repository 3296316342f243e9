"""The records of one queue of a store, as a handle sees them: items in, a look at what is ready, who may still come.

Any thread may call anything; no lock is held here. A put survives what the store's durability names when it returns.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Full
from typing import Any, Protocol

from .. import live
from ..errors import (
    ConditionFailed,
    LeaseLost,
    LimitReached,
    NotDurableWarning,
    NotSerializable,
    ShutDown,
    Stopped,
    StoreClosed,
    StoreError,
)
from ..store import Ack, Claim, Depth, Expect, Nack, Op, Order, Put, Record, Set, Stop, Store
from ._counts import Flags
from ._objects import Objects
from ._policy import AckPolicy, Markers, Volatile

_BARE = "it would come back as another object(), so that no 'is' finds it; use None, or markers=\"drop\""


class Serializer(Protocol):
    """What turns items into bytes and back."""

    @property
    def dumps(self) -> Callable[[Any], bytes]: ...
    @property
    def loads(self) -> Callable[[bytes], Any]: ...


class Stock:
    """What there is in a queue, and the way in."""

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
        self.store, self.name, self.owned, self.order = store, name, owned, order
        self.dumps, self.loads = serializer.dumps, serializer.loads
        self.policy, self.keep_items = policy, keep_items
        self.markers, self.volatile = markers, volatile
        self.dropped = 0  #: records whose objects ended with their process
        self.objects: Objects | None = None
        self._flagged = self._forgetting = False
        if markers is Markers.DROP or volatile is Volatile.WARN:
            self.objects = Objects(serializer.loads)
            self.loads = self.objects.loads
        self._bind(store)
        self.max_attempts = max_attempts
        self.counted = max_attempts is not None
        self.flags = Flags()
        self.stopped = self.flags.stopped

    def _bind(self, store: Store) -> None:
        """From now on commits and claims go to this store."""
        self._commit_to, self.claim = store.commit, store.claim
        self.commit = self._commit_and_forget if self._forgetting else store.commit

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"queue {self.name!r} in {self.store.place}"

    def encode(self, item: object) -> bytes:
        """The payload of an item. Raises NotSerializable."""
        if (item is None or type(item) is object) and self.markers is Markers.DROP:
            return self._keep(item)
        try:
            payload = self.dumps(item)
        except MemoryError:
            raise
        except Exception as error:
            if works(self.dumps, item):
                raise  # a signal handler's exception, and no fault of the item
            return self._keep_volatile(item, error)
        if type(item) is object:
            raise self._refusal(item, _BARE)
        return payload if self.objects is None else live.escape(payload)

    # Objects that are kept as they are

    def _keep(self, item: object) -> bytes:
        assert self.objects is not None
        if not self._flagged:
            self._flag()
        if item is not None and not self._forgetting:
            self._forgetting, self.commit = True, self._commit_and_forget
        return self.objects.keep(item)

    def _keep_volatile(self, item: object, error: Exception) -> bytes:
        reason = f"{type(error).__name__}: {error}"
        if self.volatile is Volatile.RAISE:
            raise self._refusal(item, reason) from error
        warnings.warn(
            f"{self.label} keeps items of type {type(item).__module__}.{type(item).__qualname__} in memory alone: they "
            f"can't be serialised ({reason}), and are lost in a crash",
            NotDurableWarning,
            stacklevel=2,
        )
        return self._keep(item)

    def _flag(self) -> None:
        """Say in the store from which id on there are such records, so that whoever opens it next finds them quickly."""
        self._flagged = True
        (first,) = self.store.commit(Put(live.TABLE, b""))  # nothing else tells what ids are next
        flag = Set(live.TABLE, self.name.encode(), first.to_bytes(8, "big"), Expect.ABSENT)
        claims = self.store.claim(live.TABLE, ids=[first])
        with suppress(ConditionFailed):
            self.store.commit(flag)
        self.store.commit(*map(Ack, claims))

    def _commit_and_forget(self, *ops: Op, stop: Stop | None = None) -> tuple[int, ...]:
        results = self._commit_to(*ops, stop=stop)
        for op in ops:
            if type(op) is Ack and self.objects is not None and op.claim.payload[:1] == b"\0":
                self.objects.forget(op.claim.payload)
        return results

    def _refusal(self, item: object, reason: str) -> NotSerializable:
        return NotSerializable(
            f"{self.label} can't keep an item of type {type(item).__module__}.{type(item).__qualname__}: {reason}. "
            "Nothing was stored. Put what can be serialised (an id, a path, plain data), choose serializer=, or keep such "
            'items in memory alone with volatile="warn"'
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
        """Store all items in one commit, waiting up to `timeout` seconds for room. Raises queue.Full."""
        puts = [self.make(item) for item in items]
        deadline = deadline_of(timeout)
        while True:
            limit = maxsize() if maxsize() > 0 else None
            try:
                return self.stow_all(items, [put._replace(limit=limit) for put in puts])
            except LimitReached:
                if not self._wait_for_room(maxsize, len(puts), left_of(deadline)):
                    raise Full from None

    def _wait_for_room(self, maxsize: Callable[[], int], room: int, timeout: float | None) -> bool:
        def until(depth: Depth) -> bool:
            return self.stopped() or not 0 < maxsize() < depth.ready + room

        return (timeout is None or timeout > 0) and self.store.wait(self.name, until, timeout)

    def stow_all(self, items: Sequence[object], puts: Sequence[Put]) -> None:
        """Store what `make` made of the items, in one commit."""
        try:
            self.commit(*puts, stop=self.stopped)
        except Stopped:
            raise self.ending() from None

    def ready(self) -> int:
        return 0 if self.flags.cut else self.store.depth(self.name).ready

    def records(self, order: Order | None = None) -> Iterator[Record]:
        """The ready records in the order in which they will leave, or in another one."""
        if self.flags.cut:
            return iter(())
        return self.store.browse(self.name, order=order or self.order)

    def items(self, order: Order | None = None) -> Iterator[Any]:
        """Their items; those that can't be decoded are passed over, as get() would."""
        for record in self.records(order):
            try:
                yield self.loads(record.payload)
            except Exception:
                continue

    def release(self, claims: Sequence[Claim]) -> None:
        """Make claimed records ready again as far as they are still ours; never raises for the store's sake."""
        for claim in claims:
            with suppress(LeaseLost, StoreError):  # done, buried, or the store ends the claim itself
                self.commit(Nack(claim))

    def ending(self) -> Exception:
        """Why nothing more comes."""
        if self.flags.closed:
            return StoreClosed(f"{self.label} was closed by this program; open it again")
        return ShutDown(f"{self.label} was shut down")


def works(codec: Callable[[Any], object], value: object) -> bool:
    """Whether it goes well the second time."""
    try:
        codec(value)
    except Exception:
        return False
    return True


def deadline_of(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def left_of(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
