"""A durable queue of the program's own as a spool: records wait in it until all sinks have confirmed them.

What the queue gives to anybody who gets from it are log records. It keeps them by its own serializer: pickle gets an
object that is nothing but the record's bytes, others get these as text.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from ...errors import FormatError, NotSerializable
from ...living import living
from ...store import Put, Store
from .._records import records as _records
from .limits import Limit
from .names import Left, Names, of_queue

_known: weakref.WeakValueDictionary[int, QueueSpool] = weakref.WeakValueDictionary()  #: by the id of its queue


def is_durable(queue: Any) -> bool:
    """Whether it is a queue of ours."""
    return type(queue).__module__.startswith("pqadapters.") and hasattr(queue, "_line")


def spool_in(queue: Any) -> QueueSpool:
    """The spool that a queue of ours is: one for all that ask for it."""
    found = _known.get(id(queue))
    if found is None:
        found = _known[id(queue)] = QueueSpool(queue)
    return found


class Stored:
    """A record's bytes, which come out of a pickle as the record."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return _loaded, (self.data,)


def _loaded(data: bytes) -> logging.LogRecord:
    return _records.Codec().loads(data)


class QueueCodec:
    """Records as the payloads of a queue."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._codec = _records.Codec()

    @property
    def unencodable(self) -> int:
        return self._codec.unencodable

    def dumps(self, record: logging.LogRecord) -> bytes:
        data, line = self._codec.dumps(record), self._queue._line
        try:
            payload: bytes = line.encode(Stored(data))
        except NotSerializable:
            payload = line.encode(data.decode("latin-1"))
        return payload

    def loads(self, data: bytes) -> logging.LogRecord:
        item = self._queue._line.decode(data)
        if isinstance(item, str) and max(item, default="") <= "\xff":
            item = self._codec.loads(item.encode("latin-1"))
        if not isinstance(item, logging.LogRecord):
            raise FormatError(f"it is no log record, but a {type(item).__qualname__}")
        return item


class QueueSpool:
    """See `names.Spooled`."""

    refused = left = False
    diverts = False  # whoever looks after the queue knows nothing of others beside it

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.codec = QueueCodec(queue)
        self.limit = Limit()
        self.turn = threading.Lock()

    @property
    def _line(self) -> Any:
        """In a process that was given the queue it is opened at its first use."""
        return self._queue._line

    @property
    def place(self) -> str:
        return str(self._line.label)

    @property
    def names(self) -> Names:
        return of_queue(self._line.name)

    @property
    def shared(self) -> bool:
        return not self.store.capabilities.exclusive

    @property
    def is_open(self) -> bool:
        return True

    @property
    def store(self) -> Store:
        found: Store = self._line.store
        return found

    def put(self, record: logging.LogRecord) -> None:
        """Store a record. Raises queue.ShutDown and StoreError."""
        line = self._line
        line.commit(Put(line.name, self.codec.dumps(record)))

    def left_behind(self) -> Iterator[Left]:
        return iter(())

    def use(self, user: object) -> None:
        """It is open for as long as its owner likes."""

    def is_used_beside(self, *users: object) -> bool:
        """Who uses the queue isn't known."""
        return True

    def let_go(self, user: object) -> None:
        """It isn't ours to close."""


def _begin_again() -> None:
    """In a forked child: a thread of the parent has the turn."""
    for spool in living(_known):
        spool.turn = threading.Lock()
        spool.limit.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
