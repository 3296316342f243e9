"""`QueueListener`: what delivers records to handlers. Any thread may call anything."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from logging import WARNING, Handler, LogRecord, NullHandler
from logging import handlers as stdlib
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ...apart import is_shared
from ...clock import SYSTEM
from ...ending import at_end
from ...errors import StoreError
from ...forking import SINKS, hold_at_fork
from ...living import living
from ...overriding import declared_as, told
from ...telling import aloud, logger
from .._spools.borrowed import is_durable, spool_in
from .._spools.names import Spooled
from ..queues import SpoolQueue
from . import looking as _looking
from .delivery import Delivery
from .feedback import tell_somebody
from .sinks import Give, Sink, sinks_of

_log = logger("pqadapters.logging")
_JOIN = 0.1  #: seconds for threads that hang in a handler when listening ends
_STOP, _EXIT = 5.0, 0.2  #: seconds to deliver what can be delivered when a program stops it, and at the end
_FORK = 0.5  #: seconds that a fork waits for sinks that have a record in hand
_listeners: weakref.WeakSet[QueueListener] = weakref.WeakSet()


def spool_of(queue: Any) -> Spooled | None:
    """The spool that a queue is, if it is a durable one."""
    if isinstance(queue, SpoolQueue):
        return queue.spool
    return spool_in(queue) if is_durable(queue) else None


class QueueListener(stdlib.QueueListener):
    """Delivers records to handlers, its sinks: each record at least once to each of them.

    `queue`: as of a `QueueHandler`. `handlers`: handlers or `Sink`s. A record is done when its sink has confirmed it;
    one that fails is tried again, and a sink that is down or slow has what it hasn't confirmed in a queue of its own,
    and keeps nothing from the others. On a queue that isn't durable they are called one behind the other; one that
    raises ends nothing.
    """

    def __init__(self, queue: Any, *handlers: Any, respect_handler_level: bool = False) -> None:
        self._has_own = isinstance(queue, (str, os.PathLike))
        if self._has_own:
            queue = SpoolQueue(queue)
        self._delivery: Delivery | None = None
        super().__init__(queue, *handlers, respect_handler_level=respect_handler_level)
        self._starting = threading.Lock()
        self._giving = threading.local()
        self._stopped = False
        self._retired = False  #: its handler was closed
        self._of: weakref.ref[object] | None = None  #: the handler that has started it, if that alone uses its queue
        self._trouble = ""  #: why it couldn't start
        _listeners.add(self)

    def _get_handlers(self) -> Any:
        """The sinks. Others that are put in their place while it listens are given what comes from then on, and what
        was on its way. Raises ValueError where two have one name, and leaves those that there are."""
        return self._handlers

    def _set_handlers(self, handlers: Any) -> None:
        delivery = self._delivery
        if delivery is None or not delivery.running:
            self._handlers = handlers
            return
        self._sinks(handlers)
        self._handlers, of = handlers, self._of
        delivery.stop(_JOIN)
        if self._delivery is delivery:
            self._delivery = self._thread = None
            try:
                self.start()
                self._of = of
            except RuntimeError:
                if not self.has_begun():  # else a record has started it
                    raise

    if TYPE_CHECKING:  # as the standard library's, which a subclass may declare to be something else
        handlers: tuple[Handler, ...]
    else:
        handlers = property(_get_handlers, _set_handlers)

    def has_begun(self) -> bool:
        """Whether it listens, or isn't to: it was stopped on purpose, or is retired and another one delivers."""
        return self._stopped or self._thread is not None or (self._retired and self._is_replaced())

    def _is_replaced(self) -> bool:
        spool = spool_of(self.queue)
        return spool is not None and spool.limit.is_delivered

    def start(self) -> None:
        """Start the threads. RuntimeError where it listens already, or no thread can be started any more; ValueError
        where two sinks have one name, or one puts its records into this very queue; StoreError."""
        self._make_way()
        with self._starting:
            self._stopped = False
            spool = spool_of(self.queue)
            if spool is None:
                super().start()
                return
            if self._delivery is not None:
                if self._delivery.running:
                    raise RuntimeError("Listener already started")
                self._delivery.stop(0.0)  # the call that stops it is at it yet, or was interrupted
            self._of = None
            overridden = self._is_overridden()
            own = [Sink(NullHandler(), name=type(self).__qualname__)] if overridden and not self.handlers else []
            sinks = self._sinks(own or self.handlers)
            for sink in sinks.values():
                sink.through = self._handle_for if overridden else None
            at_end(_stop_all, early=True)
            delivery = Delivery(spool, sinks, self, respect_level=self.respect_handler_level)
            try:
                delivery.start()
                self._delivery, self._thread = delivery, delivery.thread
            except BaseException:  # of a signal handler, too: threads that nobody knows would deliver for ever
                self._delivery = self._thread = None
                delivery.stop(0.0)
                raise
        self._make_way()

    def _sinks(self, handlers: Any) -> dict[str, Sink]:
        """By name. Raises ValueError and TypeError where they aren't what can be delivered to."""
        spool = spool_of(self.queue)
        sinks = sinks_of(handlers)
        for name, sink in sinks.items():
            if spool is not None and spool_of(getattr(sink.handler, "queue", None)) is spool:
                raise ValueError(f"the sink {name} puts its records into {spool.place}, from where it is given them")
        return sinks

    def start_quietly(self, handler: object) -> None:
        """From a log call: once, and never where no thread can be started any more. It is over with that handler."""
        if sys.is_finalizing():
            return
        if self._starting.locked():
            return
        try:
            self.start()
            self._of = None if handler is None else weakref.ref(handler)
        except RuntimeError:
            pass
        except Exception as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                aloud(partial(self._say_they_wait, error))

    def _say_they_wait(self, error: Exception) -> None:
        """What the spool gets of it waits, too."""
        message, spool = "log records wait: %s", spool_of(self.queue)
        _log.warning(message, error)
        if spool is not None:
            tell_somebody(LogRecord(_log.name, WARNING, __file__, 0, message, (error,), None), spool)

    def make_way_quietly(self) -> None:
        """Before the record that starts this one: it isn't for the sinks of a handler that is gone."""
        if not self._starting.locked():
            with suppress(Exception):  # start() comes here again, and tells
                self._make_way()

    def _make_way(self) -> None:
        """Of those that deliver from one spool those end whose handler was closed, or is gone: the turn is taken by who
        comes first, and they have the sinks of then. Behind the start once more, where two have started at a time."""
        spool = spool_of(self.queue)
        others = [other for other in living(_listeners) if other._delivery is not None and other is not self]
        rivals = [other for other in others if spool is not None and spool_of(other.queue) is spool]
        if not self._retired:
            for other in rivals:
                if other._retired or other._is_orphan:
                    other.retire(0.0)
        elif self._delivery is not None and not all(other._retired or other._is_orphan for other in rivals):
            self.retire(0.0)

    @property
    def _is_orphan(self) -> bool:
        """Whether the program has let go of the handler that has started it, without closing it."""
        return self._of is not None and self._of() is None

    def is_forsaken(self) -> bool:
        """Whether nothing comes any more that is for this one."""
        spool, delivery = spool_of(self.queue), self._delivery
        if not self._is_orphan or spool is None or delivery is None:
            return False
        return spool.limit.is_delivered_beside(delivery) or not spool.is_used_beside(self.queue, delivery)

    def retire(self, seconds: float | None = None) -> None:
        """Its handler was closed: stop, until there is a record and no other listener of this process delivers. What
        can be delivered at once is."""
        if self._stopped:
            return
        self._retired = True
        self._stop(_EXIT if seconds is None else seconds, whole=False)

    @declared_as(told)
    def stop(self, drain_timeout: float | None = None) -> None:
        """Stop listening. What can be delivered is delivered first, within 5 seconds; with `drain_timeout` so many
        seconds are given to sinks that are down, too. What isn't delivered then stays on the disk."""
        self._stopped = spool_of(self.queue) is not None
        self._stop(_STOP if drain_timeout is None else drain_timeout, whole=drain_timeout is not None)
        if self._has_own and isinstance(self.queue, SpoolQueue):
            self.queue.let_go()

    def _stop(self, seconds: float, *, whole: bool) -> None:
        if spool_of(self.queue) is None:
            return self._stop_plain()
        delivery = self._delivery
        if delivery is not None:
            try:
                with _passed_over():
                    delivery.drain(seconds, whole=whole)
            finally:  # also where a signal handler ends the waiting
                delivery.stop(_JOIN)
                if self._delivery is delivery:  # else it was started again meanwhile
                    self._delivery = self._thread = None
        return None

    def _stop_plain(self) -> None:
        if self._thread is not None:
            super().stop()
            self._thread = None

    def handle(self, record: LogRecord) -> None:
        """Offer the record to the handlers. One that raises reports it, and the next one is called.

        Of a durable queue it is called where a subclass or the listener has a `handle` or `prepare` of its own, for
        each sink by itself; then it offers the record to that sink, and what it raises is a failure of that one. Where
        there are no handlers, that `handle` is the sink.
        """
        record = self.prepare(record)
        give: Give | None = getattr(self._giving, "give", None)
        if give is not None:
            give(record)
            return
        for given in self.handlers:
            handler = given.handler if isinstance(given, Sink) else given
            if not self.respect_handler_level or record.levelno >= max(given.level, handler.level):
                try:
                    given.handle(record)
                except Exception:
                    reports = handler if isinstance(handler, Handler) else NullHandler()
                    reports.handleError(record)

    def _is_overridden(self) -> bool:
        return any(getattr(getattr(self, name), "__func__", None) is not ours for name, ours in _OURS.items())

    def _handle_for(self, give: Give, record: LogRecord) -> None:
        self._giving.give = give
        try:
            self.handle(record)
        finally:
            self._giving.give = None

    def flush(self, timeout: float | None = None) -> bool:
        """Whether the sinks have confirmed everything that was logged before this call, in a directory also what dead
        processes have left there; waits up to `timeout` seconds (None: for ever). Of a queue that isn't durable:
        whether it is empty. Raises StoreError."""
        spool, delivery = spool_of(self.queue), self._delivery
        if spool is None:
            own: Any = self.queue
            return bool(own.empty())
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        if not _looking.confirmed(spool, timeout, QueueListener.sinks(self)):  # a subclass may have its own
            return False
        return delivery is None or delivery.has_looked(deadline)

    def sinks(self) -> list[str] | None:
        """The names of the sinks; None while nothing is delivered to them."""
        return None if self._delivery is None else [post.name for post in self._delivery.posts]

    def drain(self, timeout: float | None = None) -> bool:
        """As `flush`, of a listener that was started and has had its turn: else False. Raises StoreError."""
        delivery = self._delivery
        if delivery is None:
            return False
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        delivery.looked.wait(timeout)
        left = None if deadline is None else max(0.0, deadline - SYSTEM.monotonic())
        return self.flush(left) and delivery.looked.is_set()

    def unknown(self) -> dict[str, int]:
        """How many records wait for sinks that this listener doesn't have, by their names. Raises StoreError."""
        return {} if self._delivery is None else self._delivery.unknown()

    def stats(self) -> dict[str, Any]:
        """See `QueueHandler.stats`."""
        spool = spool_of(self.queue)
        if spool is None:
            own: Any = self.queue
            return {"depth": own.qsize()}
        return _looking.stats(spool, self._delivery)

    def __enter__(self) -> QueueListener:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


#: By their names, before anybody puts others in their place.
_OURS = {"handle": QueueListener.handle, "prepare": QueueListener.prepare}


@contextmanager
def _passed_over() -> Iterator[None]:
    """A store that fails ends the waiting for it."""
    try:
        yield
    except (StoreError, ValueError) as error:  # the latter of a URL that names no store
        _log.warning("log records that wait stay where they are: %s", error)


def _stop_all() -> None:
    """At the end of the process: what can't be delivered at once stays on the disk."""
    found = [(listener, listener._delivery) for listener in living(_listeners) if listener._delivery is not None]
    deadline = SYSTEM.monotonic() + _EXIT
    for listener, delivery in found:
        listener._delivery, listener._thread, listener._stopped = None, None, True
        with _passed_over():
            delivery.drain(max(0.0, deadline - SYSTEM.monotonic()), whole=False)
    for _, delivery in found:
        delivery.say_stop()
    deadline = SYSTEM.monotonic() + _JOIN
    for _, delivery in found:
        delivery.stop(max(0.0, deadline - SYSTEM.monotonic()))


class _Held(threading.local):
    """What the thread that forks holds meanwhile."""

    def __init__(self) -> None:
        self.locks: list[Any] = []


_held = _Held()


def _let_finish() -> None:
    """Before a fork: no sink has a record in hand. A child would find its stream locked by a thread that it hasn't, and
    what was half written. One that hangs is waited for in vain."""
    deadline = SYSTEM.monotonic() + _FORK
    deliveries = [listener._delivery for listener in living(_listeners)]
    for delivery in deliveries:
        for post in delivery.posts if delivery is not None else ():
            lock = post.sink.handler.lock
            if lock is None:
                continue
            _held.locks.append(lock)  # before it is taken: it may be, whatever a signal handler raises
            if not lock.acquire(timeout=max(0.0, deadline - SYSTEM.monotonic())):
                _held.locks.pop()


def _go_on() -> None:
    while _held.locks:
        with suppress(RuntimeError):  # in a child logging has made it a new one, as a rule
            _held.locks[-1].release()
        _held.locks.pop()


def _begin_again() -> None:
    """In a forked child: the threads are the parent's; the next record starts its own."""
    _go_on()
    for listener in living(_listeners):
        listener._starting = threading.Lock()
        delivery = listener._delivery
        if delivery is not None:
            listener._delivery, listener._thread = None, None
            if is_shared():
                delivery.abandon()


if hasattr(os, "register_at_fork"):
    hold_at_fork(SINKS, _let_finish, _go_on)
    os.register_at_fork(after_in_child=_begin_again)
