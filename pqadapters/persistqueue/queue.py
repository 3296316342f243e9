"""persist-queue's file queue, over a segment store: one process holds the directory at a time, any thread may use it.

A put survives a power cut when it returns (PQADAPTERS_DURABILITY says otherwise), an item that was got and isn't done
comes again after a restart, in its old place.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from ..overriding import declared_as, told
from ..stdlib import queue as durable
from ..stdlib._lines.held import consumer
from ..stdlib._lines.line import weak
from ..stdlib._lines.stock import deadline_of, left_of
from ..stdlib._queues.beyond import ABSENT
from ..store import LOCK_TIMEOUT
from . import serializers
from ._place import check_tempdir, converted_directory
from ._serializing import serializer_of
from .exceptions import Empty, Full

__all__ = ["Empty", "Full", "Queue"]

MOMENT = 0.05  #: seconds in which a producer begins its next put


class File:
    """What a queue stands for where persist-queue's has an open file."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    @property
    def closed(self) -> bool:
        return self._queue._line.flags.closed

    def close(self) -> None:
        self._queue.close()


class Queue(durable.Queue[Any]):
    """A FIFO queue in a directory; `maxsize` 0 or less means no limit.

    `autosave=True`: an item is gone when get() returns. Else `task_done()` acknowledges what the calling thread has
    got so far, and never what another thread still has in hand; `join()` waits for as many calls as there were items.
    `tempdir` is checked (ValueError where it is on another filesystem) and `chunksize` is kept, and neither matters.
    Beyond persist-queue it has what `pqadapters.stdlib.queue.Queue` has: `close()`, `with`, batches, dead letters.

    What persist-queue wrote there is converted, by the serializer that is given, and kept beside the directory.

    Raises StoreError where the directory can't be opened: StoreRefused (foreign files, another serializer's items),
    StoreLocked (another process holds it), DiskError; TypeError for what is no serializer.
    """

    _TOO_OFTEN = "task_done() called too many times."  #: the text of that error

    def __init__(
        self,
        path: str,
        maxsize: int = 0,
        chunksize: int = 100,
        tempdir: str | None = None,
        serializer: Any = serializers.pickle,
        autosave: bool = False,
    ) -> None:
        if path is None:  # a queue of the standard library's would live in the home
            raise TypeError("path is the queue's directory, as str, bytes or os.PathLike, not NoneType")
        self.path = path
        self.chunksize = chunksize
        self.tempdir = tempdir
        self.serializer = serializer
        self.autosave = autosave
        codec, opening = serializer_of(serializer), super().__init__

        def opened() -> None:
            ack = "get" if autosave else "task_done"
            opening(maxsize, path=path, ack=ack, serializer=codec, volatile="raise")
            self._line.takes_volatile = False

        self._under_way: dict[int, object] = {}  #: puts, by the thread that makes them
        check_tempdir(path, tempdir)
        report = converted_directory(path, codec, opened)
        # For who calls it; Python itself doesn't look for an object's own.
        self.__del__ = weak(self.close)  # type: ignore[method-assign]
        if report is not None:
            report.note(self._line.store)

    def __del__(self) -> None:
        """Nothing, for a subclass whose own calls it, as persist-queue's has one: the store closes itself."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As `pqadapters.stdlib.queue.Queue.put`."""
        me = threading.get_ident()
        try:
            self._under_way[me] = object()  # in here: an interrupt right behind it would leave it to be waited for
            super().put(item, block, timeout)
        finally:
            self._under_way.pop(me, None)  # a signal handler's put has ended, too

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """As `pqadapters.stdlib.queue.Queue.get`. With `block=False` it doesn't wait for an item, but for the puts of
        other threads that are under way, and for a moment behind them: persist-queue's waits for the lock that a
        producer has nearly always."""
        try:
            return super().get(block, timeout)
        except Empty:
            puts = {} if block else self._under_way.copy()
            puts.pop(threading.get_ident(), None)
            if not puts:
                raise
        deadline = deadline_of(LOCK_TIMEOUT)
        while left_of(deadline) and any(self._under_way.get(thread) is put for thread, put in puts.items()):
            with suppress(Empty):
                return super().get(timeout=MOMENT)
        return super().get(timeout=MOMENT)

    @property
    def headf(self) -> File:
        """As `tailf`: programs close persist-queue's, which has no close(), by closing these."""
        return File(self)

    tailf = headf

    @declared_as(told)
    def task_done(self, item: Any = ABSENT) -> None:
        """All that the calling thread has got is done; with an item, that one alone. One task fewer to wait for in
        `join()`. A thread that got nothing is counted for the one that did.

        Raises ValueError when called more often than there were items. A power cut may undo it: the items come again.
        """
        if item is ABSENT:
            line, me = self._line, consumer()
            mine = line.held.own().pop_all(me)
            if mine:
                line.ack_entries(mine)
        super().task_done(item)

    def _done_for_another(self) -> None:
        try:
            super()._done_for_another()
        except ValueError:
            raise ValueError(self._TOO_OFTEN) from None
