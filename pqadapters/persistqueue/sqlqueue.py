"""persist-queue's SQLite queues, over a database that any number of threads and processes use at a time.

With `auto_commit=True` a put, and a get, survive a power cut when they return (PQADAPTERS_DURABILITY says otherwise).
With `auto_commit=False` a put survives SIGKILL, and the next `task_done()` makes it survive a power cut; what was got
comes again after a restart, unless the thread that got it has called `task_done()`.
"""

from __future__ import annotations

from typing import Any

from ..durability import Durability, Survives
from ..errors import ConditionFailed
from ..store import Claim, Op, Order
from ..wording import excerpt_of
from . import serializers
from ._digests import enter, leave
from ._place import open_home
from ._records import Records
from ._serializing import serializer_of
from ._unique import Unique
from .exceptions import Empty, Full

__all__ = ["Empty", "FIFOSQLiteQueue", "FILOSQLiteQueue", "Full", "SQLiteQueue", "UniqueQ"]

_SOFT = Durability(Survives.PROCESS)  #: until task_done()


class SQLiteQueue(Records):
    """A FIFO queue in the database `db_file_name` ("data.db") of the directory `path`, or in memory for ":memory:".

    Several queues share a database by `name`. `timeout` is how long in seconds to wait for others who have the
    database locked. `multithreading` is accepted: threads may use it either way. Beyond persist-queue: `maxsize=`,
    which counts ready items (0 or less: no limit), `join()`, and `prefetch=`: a get fetches so many items at a time for
    this object, which is faster by far with `auto_commit=False`; others don't get those unless it is closed or ends.

    Raises StoreError where the database can't be opened: StoreRefused (another program's), FormatError, StoreLocked,
    DiskError; ValueError for an empty name, TypeError for what is no serializer.
    """

    def __init__(
        self,
        path: str,
        name: str = "default",
        multithreading: bool = False,
        timeout: float = 10.0,
        auto_commit: bool = True,
        serializer: Any = serializers.pickle,
        db_file_name: str | None = None,
        *,
        maxsize: int = 0,
        prefetch: int | None = None,
    ) -> None:
        self.path, self.multithreading, self.db_file_name = path, multithreading, db_file_name or "data.db"
        codec = serializer_of(serializer)
        store = open_home(path, name, db_file_name, None if auto_commit else _SOFT, prefetch)
        self._begin(store, name, codec, timeout=timeout, auto_commit=auto_commit, maxsize=maxsize)

    def shrink_disk_usage(self) -> None:
        """Give back space, which otherwise comes back by itself; what is stored is synced."""
        self._store.checkpoint()


FIFOSQLiteQueue = SQLiteQueue


class FILOSQLiteQueue(SQLiteQueue):
    """The item put last leaves first. Else as `SQLiteQueue`."""

    _TABLE_NAME = "filo_queue"
    _order = Order.NEWEST


class UniqueQ(Unique, SQLiteQueue):
    """No item is in it twice; once it has left, it may come again. Else as `SQLiteQueue`.

    Items are the same if the serializer's `dumps(item, sort_keys=True)` gives the same bytes.
    """

    _TABLE_NAME = "unique_queue"

    def _removal(self, claim: Claim) -> list[Op]:
        return [*super()._removal(claim), leave(self._queue, claim.payload)]

    def update(self, item: Any, id: Any = None) -> int:
        """As `SQLiteQueue.update`. Raises ValueError where another one of the queue's items is the same."""
        try:
            return super().update(item, id)
        except ConditionFailed:
            raise ValueError(f"{excerpt_of(item)} is in the queue already, with another id") from None

    def _change(self, claim: Claim, payload: bytes) -> list[Op]:
        return [leave(self._queue, claim.payload), enter(self._queue, payload), *super()._change(claim, payload)]
