"""Durable `logging.handlers`: no record is lost between `logger.info()` and a sink that is slow or down.

    from pqadapters.logging.handlers import QueueHandler, QueueListener

A record is on the disk when `emit` returns, and is gone from there when its sinks have confirmed it. What is stored are
its fields, never a pickle. With a queue that isn't durable both classes do what the standard library's do.

A record survives SIGKILL ("process"), or a power cut, too ("power"). A kill delivers one batch once more.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections.abc import Iterable
from functools import partial
from logging import handlers as stdlib
from queue import Full
from typing import TYPE_CHECKING, Any

from .. import telling, wording
from ..ending import start_thread
from ..errors import NotDurableWarning, StoreError
from ..overriding import asked, declared_as
from ._configured import is_made_unasked, listener_of, passed_over, queue_of
from ._delivery import looking as _looking
from ._delivery.feedback import delivers_from, swallow
from ._delivery.listener import QueueListener, spool_of
from ._delivery.sinks import Sink
from ._spools.forks import forking, look_after_forks, put_off
from ._spools.limits import WhenFull
from ._spools.spool import has_lock_of_logging
from ._wire import HTTPHandler, SocketHandler, SysLogHandler
from .queues import SpoolQueue

if TYPE_CHECKING:  # what `__getattr__` finds
    from logging.handlers import DEFAULT_HTTP_LOGGING_PORT as DEFAULT_HTTP_LOGGING_PORT
    from logging.handlers import DEFAULT_SOAP_LOGGING_PORT as DEFAULT_SOAP_LOGGING_PORT
    from logging.handlers import DEFAULT_TCP_LOGGING_PORT as DEFAULT_TCP_LOGGING_PORT
    from logging.handlers import DEFAULT_UDP_LOGGING_PORT as DEFAULT_UDP_LOGGING_PORT
    from logging.handlers import SYSLOG_TCP_PORT as SYSLOG_TCP_PORT
    from logging.handlers import SYSLOG_UDP_PORT as SYSLOG_UDP_PORT
    from logging.handlers import BaseRotatingHandler as BaseRotatingHandler
    from logging.handlers import BufferingHandler as BufferingHandler
    from logging.handlers import DatagramHandler as DatagramHandler
    from logging.handlers import MemoryHandler as MemoryHandler
    from logging.handlers import NTEventLogHandler as NTEventLogHandler
    from logging.handlers import RotatingFileHandler as RotatingFileHandler
    from logging.handlers import SMTPHandler as SMTPHandler
    from logging.handlers import TimedRotatingFileHandler as TimedRotatingFileHandler
    from logging.handlers import WatchedFileHandler as WatchedFileHandler

__all__ = [
    "HTTPHandler",
    "QueueHandler",
    "QueueListener",
    "Sink",
    "SocketHandler",
    "SpoolQueue",
    "SysLogHandler",
    "WhenFull",
]
if TYPE_CHECKING:  # which take no more than a list
    __all__ += [
        "DEFAULT_HTTP_LOGGING_PORT",
        "DEFAULT_SOAP_LOGGING_PORT",
        "DEFAULT_TCP_LOGGING_PORT",
        "DEFAULT_UDP_LOGGING_PORT",
        "SYSLOG_TCP_PORT",
        "SYSLOG_UDP_PORT",
        "BaseRotatingHandler",
        "BufferingHandler",
        "DatagramHandler",
        "MemoryHandler",
        "NTEventLogHandler",
        "RotatingFileHandler",
        "SMTPHandler",
        "TimedRotatingFileHandler",
        "WatchedFileHandler",
    ]
__all__ += sorted({name for name in vars(stdlib) if not name.startswith("_")}.difference(__all__))  # for `import *`

_CLOSING = 0.5  #: seconds that who has the lock of `logging` waits until a handler is closed


class _NoLock:
    """A handler's lock that is none: a spool needs none, and a log call in the middle of a write, from a finalizer,
    must not wait for a thread that waits for that write."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *error: object) -> None:
        pass

    def _at_fork_reinit(self) -> None:
        pass


class QueueHandler(stdlib.QueueHandler):
    """A handler that puts records into a spool, or into a queue of the program's own.

    `queue`: a directory, a URL (`sqlite:////abs/file.db`), a `SpoolQueue`, a durable queue of `pqadapters.stdlib` or
    persistqueue's `Queue`, or any other queue, which isn't taken for a durable one; of a subclass with an `enqueue` or
    `emit` of its own whatever that puts records into. `path`: the same, for `dictConfig`.
    `handlers`, `respect_handler_level`: the sinks of a listener of its own, which starts at the first record; in
    `dictConfig` their names. `listener`: what makes that listener. The other options are those of `SpoolQueue`.
    Raises TypeError and ValueError for arguments.
    """

    def __init__(
        self,
        queue: Any = None,
        *,
        path: str | os.PathLike[str] | None = None,
        handlers: Iterable[Any] = (),
        respect_handler_level: bool = False,
        listener: Any = None,
        **options: Any,
    ) -> None:
        queue = queue_of(queue)
        if isinstance(handlers, str):
            raise TypeError(f"handlers is a list of handlers or of their names, not {handlers!r}")
        if path is None and not options and (options := passed_over()):
            path = options.pop("path", None)
        if path is not None and isinstance(queue, (str, os.PathLike, SpoolQueue)):
            both = f"{_shown(queue)} and {_shown(path)}"
            raise TypeError(f"queue and path are two words for one thing: give one of {both}")
        if isinstance(queue, (str, os.PathLike)):
            path = queue
        self._has_own = path is not None
        if path is not None:  # the queue, if there is one, is what dictConfig makes unasked
            queue = SpoolQueue(path, **options)
        elif not (hasattr(queue, "put_nowait") or self._puts_by_itself()):
            found = "" if queue is None else f", not {queue!r}"
            raise TypeError(f"queue is a directory, a URL or a queue{found}")
        elif options:
            raise TypeError(f"{', '.join(options)}: options of a spool; this handler was given a queue")
        elif is_made_unasked(queue):
            telling.warn(
                "this handler has neither path nor queue in its configuration: its log records are in memory alone, "
                "and would be lost in a crash. Give it a path",
                NotDurableWarning,
            )
        self._delivered_by: Any = None
        super().__init__(queue)
        self._spool = spool_of(queue)  # a subclass may have a `queue` of its own, as in its slots
        if self._spool is None:
            super().createLock()  # a subclass may count on it that one thread at a time is in its `emit`
        kind = type(self)
        self._prepares = kind.prepare is not QueueHandler.prepare
        self._puts = self._puts_by_itself()
        self._plain = kind.enqueue is QueueHandler.enqueue and not self._prepares
        given = list(handlers)
        if given or listener is not None:
            make = QueueListener if listener is None else listener_of(listener)
            sinks = [each if isinstance(each, Sink) else Sink(each) for each in given]
            self.listener = make(queue, *sinks, respect_handler_level=respect_handler_level)

    @classmethod
    def _puts_by_itself(cls) -> bool:
        """Whether its queue may be anything, such as a socket."""
        return cls.enqueue is not QueueHandler.enqueue or cls.emit is not QueueHandler.emit

    def createLock(self) -> None:
        """See `_NoLock`."""
        self.lock: Any = _NoLock()

    def _get_queue(self) -> Any:
        """Where the records go. What waits in one that another one takes the place of waits there."""
        return self._goes_to

    def _set_queue(self, queue: Any) -> None:
        self._goes_to, self._spool = queue, spool_of(queue)

    def _get_listener(self) -> Any:
        """The listener that starts at the first record. One of the standard library's, which `dictConfig` sets here,
        becomes one of ours."""
        return self._delivered_by

    def _set_listener(self, listener: Any) -> None:
        if type(listener) is stdlib.QueueListener:
            options = {"respect_handler_level": listener.respect_handler_level}
            listener = QueueListener(self.queue, *listener.handlers, **options)
        elif isinstance(listener, QueueListener):
            listener.queue = self.queue
        self._delivered_by = listener

    if TYPE_CHECKING:  # as the standard library's, which a subclass may declare to be something else
        queue: Any
        listener: Any
    else:
        queue = property(_get_queue, _set_queue)
        listener = property(_get_listener, _set_listener)

    def emit(self, record: logging.LogRecord) -> None:
        """Store the record, unless this thread delivers records. In the middle of a fork: behind that."""
        spool = self._spool
        if spool is None:
            self._start_listener()
            return super().emit(record)
        if delivers_from(spool):
            return swallow(record, spool)
        if forking and put_off(partial(self.emit, copy.copy(record))):
            return None
        if self._delivered_by is not None:
            self._make_ready(spool)
        try:
            if self._plain:
                spool.put(record)
            else:
                self.enqueue(self.prepare(record))
        except Exception as error:
            if isinstance(error, Full):
                spool.limit.dropped[spool.limit.when_full.value] += 1
            self.handleError(record)
        self._start_listener()

    def _make_ready(self, spool: Any) -> None:
        """For a record, which is there before a listener of ours is started."""
        if spool.limit.max_bytes:
            self._start_listener()  # which makes the room that the record may have to wait for
        elif isinstance(self._delivered_by, QueueListener) and not self._delivered_by.has_begun():
            self._delivered_by.make_way_quietly()

    def _start_listener(self) -> None:
        listener = self._delivered_by
        if listener is not None and isinstance(listener, QueueListener) and not listener.has_begun():
            listener.start_quietly(self if self._has_own else None)

    def prepare(self, record: logging.LogRecord) -> Any:
        """For a spool a copy of the record: what is stored are its fields. To a `prepare` of a subclass, which calls
        this, its message is merged, as by the standard library's. What a subclass puts into its own queue by itself is
        what the standard library makes of the record, which can be pickled."""
        if self._spool is None or (self._puts and not isinstance(self.queue, SpoolQueue)):
            return super().prepare(record)
        record = copy.copy(record)
        if self._prepares:
            record.message = record.getMessage()
            if not isinstance(record.msg, dict):  # structlog's: its formatter wants it as it is
                record.msg, record.args = record.message, None
        return record

    def enqueue(self, record: Any) -> None:
        """Raises queue.Full where a limit says so, and StoreError. Starts the listener: who has an `emit` of its own
        doesn't. What a `prepare` has made that is no record goes into a queue of the program's as it is, for whoever
        gets from it; TypeError where there is none."""
        spool = self._spool
        if spool is not None and isinstance(self.queue, SpoolQueue) and not isinstance(record, logging.LogRecord):
            raise TypeError(
                f"log records are stored in {spool.place}, and {type(self).__qualname__}.prepare() has made a "
                f"{type(record).__qualname__} of one: let it return a record, or give the handler a queue"
            )
        if spool is None or not isinstance(record, logging.LogRecord):
            super().enqueue(record)
        elif delivers_from(spool):
            swallow(record, spool)
        elif not (forking and put_off(partial(self.enqueue, copy.copy(record)))):
            if self._delivered_by is not None:
                self._make_ready(spool)
            spool.put(record)
            self._start_listener()

    @declared_as(asked)
    def flush(self, timeout: float | None = 0.0) -> bool:
        """Whether the sinks have confirmed everything that was logged before; waits up to `timeout` seconds for that
        (None: for ever). With a listener of its own in a directory that has started, also what dead processes have left
        there. False where the store can't be opened, or was closed with something in it. Of a queue that isn't durable:
        True."""
        spool, listener = self._spool, self._delivered_by
        if spool is None or not (spool.is_open or self._is_about_to_open(spool)):
            return spool is None or not (spool.refused or spool.left)
        if timeout == 0.0 and has_lock_of_logging():  # logging.shutdown() asks, and goes on whatever it is told
            return False
        try:
            if isinstance(listener, QueueListener):
                return listener.flush(timeout)
            return _looking.confirmed(spool, timeout)
        except StoreError:
            return False

    def _is_about_to_open(self, spool: Any) -> bool:
        """Whether a listener of ours was started, and nothing says that it can't open the spool."""
        listener = self._delivered_by
        return not spool.refused and isinstance(listener, QueueListener) and QueueListener.sinks(listener) is not None

    def stats(self) -> dict[str, Any]:
        """What waits, and how it is delivered; see `_looking.stats`. Of a queue that isn't durable: its depth."""
        listener = self._delivered_by
        if isinstance(listener, QueueListener):
            return listener.stats()
        own: Any = self.queue
        return {"depth": own.qsize()} if self._spool is None else _looking.stats(self._spool, None)

    def close(self) -> None:
        """What can't be delivered at once stays on the disk. A listener of the handler's own stops until a record
        comes: `dictConfig` closes all handlers there are, those too that loggers keep."""
        if self._spool is None or not has_lock_of_logging() or not self._let_go_apart():
            self._let_go()
        super().close()

    def _let_go(self) -> None:
        if isinstance(self._delivered_by, QueueListener):
            self._delivered_by.retire()
        if self._has_own and isinstance(self.queue, SpoolQueue):
            self.queue.let_go()

    def _let_go_apart(self) -> bool:
        """With the lock of `logging` held nobody waits for a store's for ever: the garbage collector, in a thread that
        has that one, waits for `logging` where it finds a handler. Whether a thread could be started."""
        thread = threading.Thread(target=self._let_go, name="pqadapters-logging-closing", daemon=True)
        try:
            start_thread(thread)
        except RuntimeError:
            return False
        thread.join(_CLOSING)
        return True


def _shown(queue: object) -> str:
    """As it was given, but for the password of a URL."""
    place = os.fspath(queue) if isinstance(queue, os.PathLike) else queue
    return repr(wording.shown(place) if isinstance(place, str) else place)


def __getattr__(name: str) -> Any:
    """The standard library's other handlers."""
    return getattr(stdlib, name)


look_after_forks()
