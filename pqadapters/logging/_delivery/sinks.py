"""A sink: a handler of the program's, and whether it has confirmed what it was given.

It has failed where it raises, where it calls `handleError`, or where `check` says so. One that can't be reached (an
OSError), or takes nothing now (queue.Full), keeps its records until it does; what it refuses for another reason is
tried again by itself, while others go on, and goes to the dead letters after `retries` tries; so does one record that
fails while others get through. One thread at a time delivers to a sink.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import Full
from typing import Any, NamedTuple

from ...clock import spread
from ...wording import named
from .._configured import configured, handler_named
from .reporting import Report, listen_to, reported_by

Give = Callable[[logging.LogRecord], object]
Given = tuple[int, "BaseException | None"]  #: how many were confirmed, and why not the next


class SinkFailed(Exception):
    """A handler has not confirmed a record: it called `handleError`, or its `check` said so."""


class Failure(NamedTuple):
    """Why a record isn't delivered."""

    error: BaseException

    @property
    def text(self) -> str:
        return named(self.error)

    @property
    def outage(self) -> bool:
        """Whether it is the sink's fault, not the record's, as far as the error tells."""
        return isinstance(self.error, (OSError, Full))

    @property
    def full(self) -> bool:
        """Whether it is certainly not the record's: another one got through where there was room."""
        return isinstance(self.error, Full)


class _Handling(logging.Handler):
    """What has a `handle(record)` and is no handler: of a listener's the standard library's asks for no more."""

    def __init__(self, given: Any) -> None:
        level = getattr(given, "level", None)
        super().__init__(level if isinstance(level, int) else logging.NOTSET)
        self.given = given

    def emit(self, record: logging.LogRecord) -> None:
        self.given.handle(record)


class Sink(logging.Handler):
    """A handler with options for its delivery; a listener makes one of each plain handler that it is given. A level and
    filters of its own come beside the handler's, a formatter is the handler's.

    `handler`: a handler, the name of one in `dictConfig`, or what has a `handle(record)`. `check(record)` is called
    behind it: false is a failure.
    `name`: what its backlog is kept under. `retries`: so often a record is tried that is refused, beside the try in
    which it was one of a batch, or handed to several sinks. `backoff`: seconds from the first pause to the longest.
    `batch`, `batch_wait`: a handler with `emit_batch(records)` gets up to so many, collected for up to so many seconds.
    Raises TypeError and ValueError for arguments.
    """

    def __init__(
        self,
        handler: logging.Handler | str,
        *,
        check: Callable[[logging.LogRecord], object] | None = None,
        name: str | None = None,
        retries: int = 8,
        backoff: tuple[float, float] = (0.1, 30.0),
        batch: int = 100,
        batch_wait: float = 0.0,
    ) -> None:
        super().__init__()
        if not isinstance(handler, (logging.Handler, str)):
            if not callable(getattr(handler, "handle", None)):
                raise TypeError(f"a sink is a logging handler, not {handler!r}")
            handler = _Handling(handler)
        if not (check is None or callable(check)) or not (name is None or isinstance(name, str)):
            raise TypeError("check is a function of a record, name is text")
        numbers = [*backoff, batch_wait, retries] if isinstance(backoff, (tuple, list)) else [None]
        if not isinstance(batch, int) or not all(isinstance(each, (int, float)) for each in numbers):
            raise TypeError("batch is a whole number, backoff two numbers, retries and batch_wait are numbers")
        shortest, longest = backoff if len(backoff) == 2 else (0, 0)
        if retries < 1 or batch < 1 or not 0 < shortest <= longest or not batch_wait >= 0:
            raise ValueError(
                "retries and batch are 1 or more, backoff is (shortest, longest) in seconds, batch_wait 0 or more"
            )
        self._handler = handler
        self._handlers = configured() if isinstance(handler, str) else {}
        if isinstance(handler, str) and self._handlers and handler not in self._handlers:
            raise ValueError(f"the configuration has no handler named {handler!r}")
        self._check, self._given_name = check, name
        self.retries, self.backoff = retries, (shortest, longest)
        self.batch, self.batch_wait = batch, batch_wait
        self.delivered = self.retried = self.dead = 0
        self.last_error: str | None = None
        self._deliverer: int | None = None  #: the thread that delivers now
        self._relocked = False  #: whether the handler has another lock than that which its `handle` has taken
        self._keeps = False  #: whether the handler's stream may have something of the last try yet
        self._let_go: Callable[[], None] | None = None
        self.through: Callable[[Give, logging.LogRecord], object] | None = None  #: a program's own way to `handler`

    @property
    def handler(self) -> logging.Handler:
        """The handler; one that was given by its name, once it is configured. Raises ValueError before."""
        if not isinstance(self._handler, str):
            return self._handler
        self._handler = handler_named(self._handler, self._handlers)
        self._handlers = {}
        if self.formatter is not None:
            self._handler.setFormatter(self.formatter)
        return self._handler

    def setFormatter(self, fmt: logging.Formatter | None) -> None:
        """It is the handler that writes."""
        super().setFormatter(fmt)
        if not isinstance(self._handler, str):
            self._handler.setFormatter(fmt)

    @property
    def takes_batches(self) -> bool:
        return hasattr(self.handler, "emit_batch")

    def key(self, number: int) -> str:
        """The name of its backlog; `number` counts the handlers of a kind."""
        named = self._given_name or self.get_name() or self.handler.get_name()
        return named or f"{self.kind}-{number}"

    @property
    def kind(self) -> str:
        handler = self.handler
        return type(handler.given if isinstance(handler, _Handling) else handler).__qualname__

    def emit(self, record: logging.LogRecord) -> None:
        """Where it is used as a handler: past the queue."""
        self.handler.handle(record)

    # Delivering

    def begin(self) -> None:
        """From now on we hear of it when the handler calls `handleError` while we deliver."""
        if self._let_go is None:
            self._let_go = listen_to(self.handler)

    def end(self) -> None:
        """As it was. A handler in which a thread hangs gets another lock: logging.shutdown() would wait for it."""
        let_go, self._let_go = self._let_go, None
        if let_go is None:
            return
        let_go()
        if self._deliverer is not None and self._deliverer != threading.get_ident():
            self._relocked = True
            self.handler.createLock()

    def deliver(
        self, records: Sequence[logging.LogRecord], respect_level: bool, stopping: threading.Event
    ) -> tuple[int, Failure | None]:
        """How many were confirmed, from the first on, and why not the next. Where it is `stopping`, that is but the one
        that it is at: a program that ends meanwhile would give it all of them once more."""
        self._deliverer, self._relocked = threading.get_ident(), False
        level = max(self.level, self.handler.level) if respect_level else None
        try:
            with reported_by(self.handler) as report:
                batches = self.takes_batches and self.through is None
                give = self._give_batches if batches else self._give_each
                kept = self._get_rid()
                done, error = give(records, level, report, stopping) if kept is None else (0, kept)
        finally:
            self._deliverer = None
        self.delivered += done
        self._keeps = False
        return done, None if error is None else self._failed(error)

    def _get_rid(self) -> BaseException | None:
        """Why a stream can't get rid of what it keeps of the last try, if so. Another try would add a copy to that."""
        try:
            if self._keeps:
                self.handler.flush()
        except BaseException as error:
            return error
        return None

    def _give_each(
        self, records: Sequence[logging.LogRecord], level: int | None, report: Report, stopping: threading.Event
    ) -> Given:
        handle: Give = self.handler.handle
        if self.through is not None:
            handle = partial(self.through, self._give_one if self.takes_batches else handle)
        done, asks, is_stopping = 0, self._check is not None or _opens_once(self.handler), stopping.is_set
        try:
            for record in self._own(records):
                if record is not None and (level is None or record.levelno >= level):
                    passed: Any = handle(record)
                    asked = asks and passed is not False  # what its filters have dropped isn't to be confirmed
                    if (report.called or asked) and (failure := self._why_not(record, report)) is not None:
                        return done, failure
                done += 1
                if is_stopping():
                    break
        except BaseException as error:  # SystemExit, too: it ends this thread for nobody
            if not self._cannot_release(error):
                return done, error
            why = error.__context__ or self._why_not(record, report)
            return done + (why is None), why
        return done, None

    def _own(self, records: Sequence[logging.LogRecord]) -> Iterable[Any]:
        """What its own filters, beside the handler's, make of them, one by one; None for what they drop."""
        return (_passed(self, record) for record in records) if self.filters else records

    def _why_not(self, record: logging.LogRecord, report: Report) -> BaseException | None:
        """Why the handler that was given a record hasn't confirmed it, if so."""
        try:
            if report.called or (self._check is not None and not self._check(record)):
                return _unconfirmed(report)
        except BaseException as error:
            return error
        if _opens_once(self.handler) and _is_shut(self.handler):
            return OSError("its file was closed, and isn't opened again with mode='w'")
        return None

    def _cannot_release(self, error: BaseException) -> bool:
        """Whether it says of the lock alone that it was another one when `handle` was done (before Python 3.13); what
        the handler has raised is its context."""
        return self._relocked and named(error) == "RuntimeError: cannot release un-acquired lock"

    def _give_one(self, record: logging.LogRecord) -> None:
        handler: Any = self.handler
        if (passed := _passed(handler, record)) is not None:
            handler.emit_batch([passed])

    def _give_batches(
        self, records: Sequence[logging.LogRecord], level: int | None, report: Report, stopping: threading.Event
    ) -> Given:
        done = 0
        try:
            while done < len(records) and not (done and stopping.is_set()):
                batch = records[done : done + self.batch]
                if not self._give_batch(batch, level) or report.called:
                    return done, _unconfirmed(report)
                done += len(batch)
        except BaseException as error:
            return done, error
        return done, None

    def _give_batch(self, batch: Sequence[logging.LogRecord], level: int | None) -> bool:
        handler: Any = self.handler
        own = [record for record in self._own(batch) if record is not None]
        high = [record for record in own if level is None or record.levelno >= level]
        wanted = [passed for record in high if (passed := _passed(handler, record)) is not None]
        if wanted:
            handler.emit_batch(wanted)
        return self._check is None or all(map(self._check, wanted))

    def _failed(self, error: BaseException) -> Failure:
        failure = Failure(error)
        self.last_error = failure.text
        self._keeps = failure.outage and isinstance(self.handler, logging.StreamHandler)
        return failure

    def pause(self, tries: int) -> float:
        """Seconds to wait behind that many failures in a row, some of them by chance."""
        shortest, longest = self.backoff
        longest = min(longest, shortest * 2.0 ** min(tries - 1, 30))
        return spread(0.5 * longest, longest)


def _unconfirmed(report: Report) -> BaseException:
    if report.called:
        return report.error or SinkFailed("the handler called handleError")
    return SinkFailed("check= says that it wasn't confirmed")


def _opens_once(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.FileHandler) and handler.mode == "w"


def _is_shut(handler: Any) -> bool:
    """Whether a file that opens once was closed: it drops what comes then, and says nothing."""
    return getattr(handler, "_closed", False) and handler.stream is None


def _passed(handler: logging.Handler, record: logging.LogRecord) -> logging.LogRecord | None:
    """What the handler's filters let pass: from Python 3.12 on it may be another record."""
    found: Any = handler.filter(record)
    return found if isinstance(found, logging.LogRecord) else record if found else None


def sinks_of(handlers: Sequence[Any]) -> dict[str, Sink]:
    """Sinks by name, in their order. Raises ValueError where two have one name, or one isn't there; TypeError."""
    sinks: dict[str, Sink] = {}
    kinds: dict[str, int] = {}
    for handler in handlers:
        sink = handler if isinstance(handler, Sink) else Sink(handler)
        if isinstance(sink.handler, Sink):  # it was given by its name
            sink = sink.handler
        name = sink.key(kinds.get(sink.kind, 0))
        kinds[sink.kind] = kinds.get(sink.kind, 0) + 1
        if name in sinks:
            raise ValueError(f"two sinks are named {name!r}: their backlogs would be one")
        sinks[name] = sink
    return sinks
