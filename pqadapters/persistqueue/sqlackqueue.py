"""persist-queue's acknowledging queues, over a database that any number of threads and processes use at a time.

An item is *inited* when it was put, *unack* when it was got, *acked* or *ack_failed* when that is said of it, and
*ready* when it was given back. Each change is one commit, and survives a power cut when the call returns
(PQADAPTERS_DURABILITY says otherwise). Acked items stay until `clear_acked_data()`.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .. import telling, wording
from ..errors import ConditionFailed, StoreError
from ..interrupts import works
from ..stdlib._queues.beyond import check_timeout
from ..store import Op, Put
from . import serializers
from ._digests import enter, leave
from ._holders import HOLDERS
from ._place import open_home
from ._rows import FRESH, Row
from ._serializing import serializer_of
from ._states import ACKED, FAILED, INITED, READY, UNACK, States
from ._stored import Stored, id_and_item, id_in, is_raw, number_in
from ._unique import Unique
from .exceptions import Empty, Full

__all__ = [
    "AckStatus",
    "Empty",
    "FIFOSQLiteAckQueue",
    "FILOSQLiteAckQueue",
    "Full",
    "SQLiteAckQueue",
    "UniqueAckQ",
]

MANY = 1000  #: items of one object until it is looked which of them others have acknowledged
_log = telling.logger("pqadapters.queue")


class AckStatus:
    """The states of an item, as persist-queue spells them; `queue()` has their numbers."""

    inited = INITED
    ready = READY
    unack = UNACK
    acked = ACKED
    ack_failed = FAILED


class SQLiteAckQueue(Stored):
    """A FIFO queue whose items are done once they are acknowledged.

    `auto_resume`: what was in the hands of processes and objects that are gone waits again, in its old place; never
    what a live one still works on. `auto_commit=False` warns and is ignored. The other arguments and the errors are
    those of `SQLiteQueue`.
    """

    _TABLE_NAME = "ack_queue"
    _newest = False
    if TYPE_CHECKING:  # as persist-queue says it

        def put(self, item: Any, *args: Any, **kwargs: Any) -> int | None: ...
        def put_nowait(self, item: Any) -> int | None: ...

    def __init__(
        self,
        path: str,
        auto_resume: bool = True,
        *,
        name: str = "default",
        multithreading: bool = False,
        timeout: float = 10.0,
        auto_commit: bool = True,
        serializer: Any = serializers.pickle,
        db_file_name: str | None = None,
        maxsize: int = 0,
    ) -> None:
        if not auto_commit:
            warnings.warn("an acknowledging queue always commits at once; auto_commit=False is ignored", stacklevel=2)
        self.path, self.multithreading, self.db_file_name = path, multithreading, db_file_name or "data.db"
        codec = serializer_of(serializer)
        if isinstance(name, str) and name.endswith(HOLDERS):
            raise ValueError(f"name {name!r}: what ends with {HOLDERS} is another queue's own; give another name")
        self._begin(
            open_home(path, name, db_file_name), name, codec, timeout=timeout, auto_commit=True, maxsize=maxsize
        )
        self._states = States(self._store, self._queue, newest=self._newest, timeout=timeout)
        self._in_hand: dict[int, Any] = {}  #: what this object gave out, for whoever acknowledges it by the item
        self._resumed: dict[int, Any] = {}  #: what was in hand when it was resumed: who works on it may still say so
        self._most = MANY  #: items in both
        self._told = 0  #: grows with every item that this object acknowledges
        if auto_resume:
            self._resume_first()

    def _resume_first(self) -> None:
        try:
            self._states.resume(own=False)
        except BaseException:  # which has our frames, as long as somebody keeps it
            self._store.close()
            raise

    def _made(self, payload: bytes) -> list[Op]:
        return [Put(self._queue, payload, rank=FRESH)]

    # Getting

    def get(
        self,
        block: bool = True,
        timeout: float | None = None,
        id: Any = None,
        next_in_order: bool = False,
        raw: bool = False,
    ) -> Any:
        """Take the next item, which is unack from now on: until ack(), nack() or ack_failed().

        `id` (an int, its digits, or what `raw=True` gave): that item, in whatever state, unless it is unack; with
        `next_in_order` the one behind it, and at the end the first one. Waits for ever, `timeout` seconds, or not at
        all. `raw=True` gives `{"pqid", "data", "timestamp"}`. What can't be decoded is set to ack_failed on the way.
        Raises Empty; ValueError for a negative timeout, and for `next_in_order` without an id.
        """
        if block:
            check_timeout(timeout)
        wanted = number_in(id)
        if next_in_order and not isinstance(next_in_order, bool):
            raise ValueError("'next_in_order' must be a boolean (True/False)")
        if next_in_order and wanted is None:
            raise ValueError("'next_in_order' requires the preceding 'id' be specified.")
        if len(self._in_hand) + len(self._resumed) > self._most:
            with suppress(StoreError):  # locked, as a rule: the next get may see to it
                self._forget_done()
        while True:
            row = self._take(wanted, next_in_order, timeout if block else 0.0)
            if row is None:
                raise Empty
            try:
                found = self._opened(row)
                self._resumed.pop(row.id, None)
            except BaseException:
                self._states.let_go(row.id, row.done)
                raise
            if found:
                self._in_hand[row.id] = found[0]
                return {"pqid": row.id, "data": found[0], "timestamp": row.when} if raw else found[0]

    def get_nowait(self, id: Any = None, raw: bool = False) -> Any:
        """Take the next item, or the one with this id, or raise Empty."""
        return self.get(block=False, id=id, raw=raw)

    def _take(self, id: int | None, next_in_order: bool, timeout: float | None) -> Row | None:
        states = self._states
        if not id:
            return states.take(timeout)
        if next_in_order:
            return states.take_within(lambda: states.take_after(id), timeout)
        return states.take_within(lambda: states.take_id(id), timeout)

    def _opened(self, row: Row) -> list[Any]:
        try:
            return [self._serializer.loads(row.payload)]
        except (Exception, SystemExit) as error:
            if isinstance(error, MemoryError) or works(self._serializer.loads, row.payload):
                raise
            self._states.mark(row.id, FAILED)
            where = f"{self._queue} in {self._store.place}"
            _log.error("item %d of %s is ack_failed now: it can't be decoded: %s", row.id, where, wording.named(error))
            return []

    # Acknowledging

    def ack(self, item: Any = None, id: Any = None) -> int | None:
        """The item is done. Returns its id; None where there is no such item.

        `item` is the very object that get() of this queue gave (None as well), or what `raw=True` gave; or else give
        its id. Raises ValueError for both and for neither.
        """
        return self._mark(item, id, ACKED)

    def ack_failed(self, item: Any = None, id: Any = None) -> int | None:
        """The item has failed, and is done with. Else as `ack`."""
        return self._mark(item, id, FAILED)

    def nack(self, item: Any = None, id: Any = None) -> int | None:
        """The item waits again, in its old place. Else as `ack`."""
        return self._mark(item, id, READY)

    def _mark(self, item: Any, id: Any, state: str) -> int | None:
        if item is not None and id is not None:
            raise ValueError("Specify an id or an item, not both.")
        found = self._id_of(item) if id is None else number_in(id)
        if item is None and id is None and found is None:  # an item may be None
            raise ValueError("Specify an id or an item.")
        if found is None or not self._states.mark(found, state, in_hand=found in self._in_hand):
            _log.warning("there is no such item in %s in %s; nothing was changed", self._queue, self._store.place)
            return None
        self._in_hand.pop(found, None)
        self._resumed.pop(found, None)
        self._told += 1
        self._store.wake(self._queue)  # for join()
        return found

    def _forget_done(self) -> None:
        """What others have acknowledged meanwhile, by its id. An item that goes from one state to the other and back is
        seen in one of the looks."""
        known = [*self._in_hand, *self._resumed]
        left = {id for state in (UNACK, READY, UNACK) for id in self._states.ids(state)}
        for id in known:
            if id not in left:
                self._in_hand.pop(id, None)
                self._resumed.pop(id, None)
        self._most = 2 * (len(self._in_hand) + len(self._resumed)) + MANY

    def _id_of(self, item: Any) -> int | None:
        """An item that was given out comes first: it may be a dict that looks like what `raw=True` gives."""
        for hand in (self._in_hand, self._resumed):
            for id in list(hand):
                if hand.get(id, hand) is item:
                    return id
        return id_in(item) if is_raw(item) else None

    def resume_unack_tasks(self) -> None:
        """What this object has in hand waits again, and what processes and objects had that are gone. An item whose
        work is done nevertheless can still be acknowledged."""
        self._states.resume(own=True)
        for id in list(self._in_hand):
            self._resumed[id] = self._in_hand.pop(id)

    def task_done(self) -> None:
        """Nothing: every change is committed at once."""

    def join(self) -> None:
        """Wait until no item is inited, ready or unack."""
        while self.active_size():
            told = self._told
            self._states.wait(lambda depth: self._told != told, None)  # noqa: B023  # called before the loop goes on

    # Looking and changing

    def unack_count(self) -> int:
        """How many items are in somebody's hands."""
        return self._states.count(UNACK)

    def acked_count(self) -> int:
        """How many items are done and not cleared."""
        return self._states.count(ACKED)

    def ready_count(self) -> int:
        """How many items wait again, after they were given back."""
        return self._states.count(READY)

    def ack_failed_count(self) -> int:
        """How many items have failed."""
        return self._states.count(FAILED)

    @property
    def size(self) -> int:
        """How many items wait: inited and ready ones."""
        return self._states.waiting()

    def active_size(self) -> int:
        """How many items aren't done: those that wait, and those in somebody's hands."""
        return self._states.active()

    def queue(self) -> list[dict[str, Any]]:
        """Every item by id, done ones too: `{"id", "data", "timestamp", "status"}`."""
        return [
            {"id": row.id, "data": data[0], "timestamp": row.when, "status": int(state)}
            for row, state in self._states.all()
            if (data := self._data(row.payload))
        ]

    def _data(self, payload: bytes) -> list[Any]:
        try:
            return [self._serializer.loads(payload)]
        except (Exception, SystemExit):
            if works(self._serializer.loads, payload):
                raise  # a signal handler's exception
            return []

    def update(self, item: Any, id: Any = None) -> int | None:
        """Put this in the place of the item with that id; `item` may be what `raw=True` gave. Returns the id.

        Nothing is changed where there is no such item. Raises ValueError without an id.
        """
        wanted, item = id_and_item(item, id)
        payload = self._dumps(item)
        self._states.change(wanted, payload, lambda before: self._replacing(before, payload))
        return wanted

    def _replacing(self, before: bytes, payload: bytes) -> list[Op]:
        return []

    def _going(self, payload: bytes) -> list[Op]:
        return []

    def clear_acked_data(
        self, max_delete: int = 1000, keep_latest: int = 1000, clear_ack_failed: bool = False
    ) -> None:
        """Delete acked items, and with `clear_ack_failed` those that failed: `max_delete` at most, from the newest on,
        but for the `keep_latest` newest. 0 or less: no limit, none kept."""
        states = [ACKED, FAILED] if clear_ack_failed else [ACKED]
        done = sorted(((id, state) for state in states for id in self._states.ids(state)), reverse=True)
        done = done[max(0, keep_latest or 0) :]
        if max_delete and max_delete > 0:
            done = done[:max_delete]
        for state in states:
            self._states.forget(state, [id for id, found in done if found == state], self._going)

    def shrink_disk_usage(self) -> None:
        """Give back space, which otherwise comes back by itself; what is stored is synced."""
        self._store.checkpoint()


FIFOSQLiteAckQueue = SQLiteAckQueue


class FILOSQLiteAckQueue(SQLiteAckQueue):
    """The item put last leaves first. Else as `SQLiteAckQueue`."""

    _TABLE_NAME = "ack_filo_queue"
    _newest = True


class UniqueAckQ(Unique, SQLiteAckQueue):
    """No item is in it twice, in whatever state; it may come again once it was cleared. Else as `SQLiteAckQueue`."""

    _TABLE_NAME = "ack_unique_queue"

    def update(self, item: Any, id: Any = None) -> int | None:
        """As `SQLiteAckQueue.update`. Raises ValueError where another one of the queue's items is the same."""
        try:
            return super().update(item, id)
        except ConditionFailed:
            raise ValueError(f"{wording.excerpt_of(item)} is in the queue already, with another id") from None

    def _replacing(self, before: bytes, payload: bytes) -> list[Op]:
        return [leave(self._queue, before), enter(self._queue, payload)]

    def _going(self, payload: bytes) -> list[Op]:
        return [leave(self._queue, payload)]
