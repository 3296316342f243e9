"""persist-queue's SQLite queues for asyncio: those of `sqlqueue`, whose methods are awaited, and the same database.

What survives is what `sqlqueue` says; who is cancelled while a put runs doesn't know whether it is stored. To be used
in one loop.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import DiskError
from ..stdlib._lines.held import Consumer
from ..stdlib._loops.asking import as_coroutine_function, caller, for_asker
from ..stdlib._queues.beyond import check_timeout
from ..store import Op, Store
from . import serializers
from ._bell import Bell
from ._loop import InLoop
from ._place import MEMORY
from ._stored import id_in
from .exceptions import Empty, Full
from .sqlqueue import FILOSQLiteQueue, SQLiteQueue, UniqueQ

__all__ = [
    "AsyncFIFOSQLiteQueue",
    "AsyncFILOSQLiteQueue",
    "AsyncSQLiteQueue",
    "AsyncUniqueQ",
    "Empty",
    "Full",
]

Self = TypeVar("Self", bound="AsyncSQLiteQueue")
_AT_ONCE = 0.0  #: a store that others have locked is tried again, and the loop goes on meanwhile


def _where(path: Any) -> tuple[Any, str | None]:
    """The directory and the name of its database, where persist-queue would make a file; else the path as it is."""
    if path == MEMORY:
        return path, None
    place = os.fsdecode(path)
    directory, file = os.path.split(place)
    if not os.path.splitext(file)[1] or os.path.exists(place):
        return path, None
    if not os.path.isdir(directory or os.curdir):
        raise DiskError(errno.ENOENT, "the database can't be made, for this directory isn't there", directory)
    return directory or os.curdir, file


def _stored(store: Store, ops: Sequence[Op]) -> Sequence[int]:
    return store.commit(*ops, timeout=_AT_ONCE)


class AsyncSQLiteQueue(InLoop):
    """A FIFO queue in a database. Arguments, results and errors are those of `SQLiteQueue`; the consumer, whose items
    `task_done()` persists with `auto_commit=False`, is the task. A `path` that is a file is the database itself, and so
    is one that isn't there yet and is called like a file ("jobs.db"), whose directory has to be there (DiskError)."""

    _kind = SQLiteQueue

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
    ) -> None:
        if hasattr(multithreading, "loads"):  # in persist-queue's own order: path, name, serializer, auto_commit
            serializer, multithreading = multithreading, False
            if isinstance(timeout, bool):
                auto_commit, timeout = timeout, 10.0
        where, file = (path, db_file_name) if db_file_name else _where(path)
        self._opening = partial(
            self._kind, where, name, multithreading, _AT_ONCE, auto_commit, serializer, file, maxsize=maxsize
        )
        self.path, self.name, self.timeout, self.auto_commit = path, name, timeout, auto_commit
        self.multithreading = multithreading
        self._open()
        self.db_file_name = self._queue.db_file_name

    def _open(self) -> None:
        queue = self._opening()
        self._conn: Store | None = queue._store  #: None once it is closed, which programs look at
        commit = partial(_stored, queue._store)
        self._begin(queue, Bell(queue._store, queue._queue), self.timeout, commit)

    async def __aenter__(self: Self) -> Self:
        """One that was closed is opened again."""
        if self._conn is None:
            maxsize = self.maxsize
            self._open()
            self.maxsize = maxsize
        return self

    @property
    def total(self) -> int:
        """How many items are ready."""
        return int(self._queue.qsize())

    if TYPE_CHECKING:  # as persist-queue says it

        async def put(self, item: Any, *args: Any, **kwargs: Any) -> int: ...
    else:

        @as_coroutine_function
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> Coroutine[Any, Any, int | None]:
            """Store an item; returns its id. With a `maxsize`, wait for room. Raises Full."""
            return self._put_for(caller(), item, block, timeout)

    async def _put_for(self, asker: Consumer | None, item: Any, block: bool, timeout: float | None) -> int | None:
        queue = self._queue
        if self.auto_commit:
            stored = await self._in_line(queue._made(queue._dumps(item)), block, timeout)
        else:  # nothing is synced, and the queue learns which task has put

            async def attempt() -> Any:
                return for_asker(asker, queue._held, lambda: queue.put(item, False))

            stored = await self._within(attempt, block, timeout)
        return stored if stored is None else int(stored)

    @as_coroutine_function
    def put_nowait(self, item: Any) -> Coroutine[Any, Any, int]:
        """Store an item, or raise Full."""
        return self.put(item, block=False)

    @as_coroutine_function
    def get(
        self, block: bool = True, timeout: float | None = None, id: Any = None, raw: bool = False
    ) -> Coroutine[Any, Any, Any]:
        """Take the next item; wait for it: for ever, `timeout` seconds, or not at all. With an id (an int, or what
        `raw=True` gave) that one, without waiting. The item is the task's that has called this, whichever awaits it.
        Raises Empty."""
        return self._get_for(caller(), block, timeout, id, raw)

    async def _get_for(self, asker: Consumer | None, block: bool, timeout: float | None, id: Any, raw: bool) -> Any:
        if block:
            check_timeout(timeout)

        async def attempt() -> Any:
            item = for_asker(asker, self._queue._held, lambda: self._queue.get(False, id=id, raw=raw))
            self._room_made()
            return item

        return await self._within(attempt, block and not id_in(id), timeout)

    @as_coroutine_function
    def get_nowait(self, id: Any = None, raw: bool = False) -> Coroutine[Any, Any, Any]:
        """Take the next item, or the one with this id, or raise Empty."""
        return self.get(block=False, id=id, raw=raw)

    async def update(self, item: Any, id: Any = None) -> int:
        """Put this in the place of the item with that id. Returns the id. Raises ValueError without one."""

        async def attempt() -> int:
            return int(self._queue.update(item, id))

        return await self._unlocked(attempt)

    async def task_done(self) -> None:
        """With `auto_commit=False`: what this task has got, and what was put, is on disk when this was awaited."""

        async def attempt() -> None:
            self._queue.task_done()

        await self._unlocked(attempt)
        self._bell.ring()

    async def close(self) -> None:
        """Let go of the store. What was got and isn't done is ready again. A second call does nothing."""
        self._conn = None
        await super().close()

    async def join(self) -> None:
        """Wait until nothing is in the queue: neither waiting, nor got and not yet persisted by task_done()."""
        while (seen := self._bell.depth()).unfinished:
            await self._bell.wait(seen, None)


class AsyncFIFOSQLiteQueue(AsyncSQLiteQueue):
    """`AsyncSQLiteQueue` by its other name."""


class AsyncFILOSQLiteQueue(AsyncSQLiteQueue):
    """The item put last leaves first."""

    _kind = FILOSQLiteQueue


class AsyncUniqueQ(AsyncSQLiteQueue):
    """No item is in it twice: put() returns None for one that is in it, behind a wait for room where it is full."""

    _kind = UniqueQ
