"""The way into a queue of a store, and how much is in it: what all of persist-queue's database classes have in common.

Any thread may call anything, and any process that the store is open to. A put survives what the store's durability
names when it returns. No lock is held here; what is decided is decided in the commit.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, TypeVar

from ..errors import LimitReached
from ..overriding import asked, declared_as
from ..serializers import Serializer, in_bytes
from ..stdlib._lines.line import weak
from ..stdlib._lines.stock import deadline_of, left_of
from ..stdlib._queues.beyond import check_timeout
from ..store import Op, Put, Store
from .exceptions import Full

Self = TypeVar("Self", bound="Stored")
_RAW = {"pqid", "data", "timestamp"}


class Stored:
    """A queue of a store. `_begin` comes first."""

    _TABLE_NAME = "queue"  #: what a queue's name in the store begins with, as the tables of persist-queue do

    def _begin(
        self, store: Store, name: str, serializer: Serializer, *, timeout: float, auto_commit: bool, maxsize: int
    ) -> None:
        self.name, self.timeout, self.auto_commit, self.maxsize = name, timeout, auto_commit, maxsize
        self._store, self._serializer = store, serializer
        self._queue = f"{self._TABLE_NAME}_{name}"
        # For who calls it; Python itself doesn't look for an object's own.
        self.__del__ = weak(self.close)  # type: ignore[method-assign]

    # Putting

    @declared_as(asked)
    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> int | None:
        """Store an item; returns its id. With a `maxsize`, waits for room: for ever, `timeout` seconds, or not at all.

        Raises Full, ValueError for a negative timeout, what the serializer raises, and the store's DiskError; nothing
        was stored then.
        """
        return self._insert(self._made(self._dumps(item)), block, timeout)

    @declared_as(asked)
    def put_nowait(self, item: Any) -> int | None:
        """Store an item, or raise Full."""
        id: int | None = self.put(item, block=False)
        return id

    def _dumps(self, item: Any) -> bytes:
        return in_bytes(self._serializer.dumps(item))

    def _made(self, payload: bytes) -> list[Op]:
        """What a put commits; the last operation is the record's."""
        return [Put(self._queue, payload)]

    def _insert(self, ops: list[Op], block: bool, timeout: float | None) -> int:
        if self.maxsize > 0 and block:
            check_timeout(timeout)
        deadline = deadline_of(timeout if block else 0.0)
        while True:
            limit = self.maxsize if self.maxsize > 0 else None
            limited = [op._replace(limit=limit) if isinstance(op, Put) else op for op in ops]
            try:
                return self._store.commit(*limited, timeout=self.timeout)[-1]
            except LimitReached:
                if not self._wait_for_room(left_of(deadline)):
                    raise Full from None

    def _wait_for_room(self, timeout: float | None) -> bool:
        return self._store.wait(self._queue, lambda depth: not 0 < self.maxsize <= depth.ready, timeout)

    # Looking

    @property
    def size(self) -> int:
        """How many items are ready, whoever has put them."""
        return self._store.depth(self._queue, age=False).ready

    @property
    def total(self) -> int:
        """As `size`."""
        return self.size

    def qsize(self) -> int:
        """How many items are ready."""
        return self.size

    def __len__(self) -> int:
        return self.size

    def empty(self) -> bool:
        """Whether no item is ready."""
        return not self.size

    def full(self) -> bool:
        """Whether a put would wait."""
        return 0 < self.maxsize <= self.size

    def close(self) -> None:
        """Let go of the store. What was got and not persisted is ready again. A second call does nothing."""
        self._store.close()

    def __del__(self) -> None:
        """Nothing, for a subclass whose own calls it, as persist-queue's has one: the store closes itself."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def id_in(id: Any) -> int | None:
    """The id that is meant; None where none is."""
    if isinstance(id, dict):
        id = id.get("pqid")
    return id if isinstance(id, int) else None


def number_in(id: Any) -> int | None:
    """As `id_in`, and an id in digits is one, too."""
    return int(id) if isinstance(id, str) and id.isdecimal() else id_in(id)


def is_raw(item: Any) -> bool:
    """Whether this is what `raw=True` gives, or a part of that, or with more that a program has noted in it; and no
    dict of the user's that happens to have such a key."""
    return (
        isinstance(item, dict)
        and isinstance(item.get("pqid"), int)
        and (item.keys() <= _RAW or item.keys() >= _RAW)
    )


def id_and_item(item: Any, id: Any) -> tuple[int, Any]:
    """What `update` was given. Raises ValueError without an id."""
    wanted = number_in(id)
    if is_raw(item) and "data" in item:
        wanted, item = item["pqid"] if wanted is None else wanted, item["data"]
    if wanted is None:
        raise ValueError("Provide an id or raw item")
    return wanted, item
