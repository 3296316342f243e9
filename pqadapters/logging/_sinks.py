"""A sink: a handler of the program's, and whether it has confirmed what it was given.

It has failed where it raises, where it calls `handleError`, or where `check` says so. One that fails is tried again
with growing pauses. A sink that can't be reached (an OSError) keeps its records until it can; what it refuses for
another reason goes to the dead letters after `retries` tries, and so does one record that fails while others get
through. One thread at a time delivers to a sink.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..telling import logger
from ._configured import configured, handler_named

_log = logger("pqadapters.logging")


class SinkFailed(Exception):
    """A handler has not confirmed a record: it called `handleError`, or its `check` said so."""


class Failure(NamedTuple):
    """Why a record isn't delivered."""

    error: Exception

    @property
    def text(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"

    @property
    def outage(self) -> bool:
        """Whether it is the sink's fault, not the record's, as far as the error tells."""
        return isinstance(self.error, OSError)


class Sink(logging.Handler):
    """A handler with options for its delivery; a listener makes one of each plain handler that it is given.

    `handler`: a handler, or the name of one in `dictConfig`. `check(record)` is called behind it: false is a failure.
    `name`: what its backlog is kept under. `retries`: so often a record is tried that is refused. `backoff`: seconds
    from the first pause to the longest. `batch`, `batch_wait`: a handler with `emit_batch(records)` gets up to so many,
    collected for up to so many seconds.
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
        if retries < 1 or batch < 1 or not 0 < backoff[0] <= backoff[1] or batch_wait < 0:
            raise ValueError(
                "retries and batch are 1 or more, backoff is (shortest, longest) in seconds, batch_wait 0 or more"
            )
        self._handler = handler
        self._handlers = configured() if isinstance(handler, str) else {}
        self._check, self._given_name = check, name
        self.retries, self.backoff = retries, backoff
        self.batch, self.batch_wait = batch, batch_wait
        self.delivered = self.retried = self.dead = 0
        self.last_error: str | None = None
        self._deliverer: int | None = None  #: the thread that delivers now
        self._reported: Exception | None = None
        self._before: Any = None

    @property
    def handler(self) -> logging.Handler:
        """The handler; one that was given by its name, once it is configured. Raises ValueError before."""
        if not isinstance(self._handler, str):
            return self._handler
        self._handler = handler_named(self._handler, self._handlers)
        self._handlers = {}
        return self._handler

    def key(self, number: int) -> str:
        """The name of its backlog; `number` counts the handlers of a kind."""
        named = self._given_name or self.get_name() or self.handler.get_name()
        return named or f"{type(self.handler).__qualname__}-{number}"

    def emit(self, record: logging.LogRecord) -> None:
        """Where it is used as a handler: past the queue."""
        self.handler.handle(record)

    # Delivering

    def begin(self) -> None:
        """The handler's `handleError` reports to us from now on, while we deliver."""
        handler: Any = self.handler
        if self._before is None:
            self._before = handler.handleError
            handler.handleError = self._report

    def end(self) -> None:
        """As it was. A handler in which a thread hangs gets another lock: logging.shutdown() would wait for it."""
        if self._before is None:
            return
        handler: Any = self.handler
        handler.__dict__.pop("handleError", None)
        self._before = None
        if self._deliverer is not None and self._deliverer != threading.get_ident():
            handler.createLock()

    def _report(self, record: logging.LogRecord) -> None:
        if self._deliverer != threading.get_ident():
            return self._before(record)  # type: ignore[no-any-return]
        error = sys.exc_info()[1]
        self._reported = error if isinstance(error, Exception) else SinkFailed("the handler called handleError")

    def deliver(self, records: Sequence[logging.LogRecord], respect_level: bool) -> tuple[int, Failure | None]:
        """How many were confirmed, from the first on, and why not the next."""
        self._deliverer = threading.get_ident()
        done = 0
        try:
            handler = self.handler
            if hasattr(handler, "emit_batch"):
                return self._deliver_batches(handler, records, respect_level)
            for record in records:
                if not respect_level or record.levelno >= handler.level:
                    failure = self._deliver_one(handler, record)
                    if failure is not None:
                        return done, failure
                done += 1
            return done, None
        finally:
            self._deliverer = None
            self.delivered += done

    def _deliver_one(self, handler: logging.Handler, record: logging.LogRecord) -> Failure | None:
        self._reported = None
        try:
            handler.handle(record)
            if self._reported is None and self._check is not None and not self._check(record):
                self._reported = SinkFailed("check= says that it wasn't confirmed")
        except Exception as error:
            self._reported = error
        return None if self._reported is None else self._failed(self._reported)

    def _deliver_batches(
        self, handler: Any, records: Sequence[logging.LogRecord], respect_level: bool
    ) -> tuple[int, Failure | None]:
        done = 0
        while done < len(records):
            batch = records[done : done + self.batch]
            wanted = [
                each for each in batch if (not respect_level or each.levelno >= handler.level) and handler.filter(each)
            ]
            self._reported = None
            try:
                if wanted:
                    handler.emit_batch(wanted)
                if self._reported is None and self._check is not None and not all(map(self._check, wanted)):
                    self._reported = SinkFailed("check= says that it wasn't confirmed")
            except Exception as error:
                self._reported = error
            if self._reported is not None:
                return done, self._failed(self._reported)
            done += len(batch)
            self.delivered += len(batch)
        return done, None

    def _failed(self, error: Exception) -> Failure:
        failure = Failure(error)
        self.last_error = failure.text
        return failure

    def pause(self, tries: int) -> float:
        """Seconds to wait behind that many failures in a row, some of them by chance."""
        shortest, longest = self.backoff
        return min(longest, shortest * 2.0 ** min(tries - 1, 30)) * random.uniform(0.5, 1.0)


def sinks_of(handlers: Sequence[Any]) -> dict[str, Sink]:
    """Sinks by name, in their order. Raises ValueError where two have one name."""
    sinks: dict[str, Sink] = {}
    kinds: dict[str, int] = {}
    for handler in handlers:
        sink = handler if isinstance(handler, Sink) else Sink(handler)
        if isinstance(sink.handler, Sink):  # it was given by its name
            sink = sink.handler
        kind = type(sink.handler).__qualname__
        name = sink.key(kinds.get(kind, 0))
        kinds[kind] = kinds.get(kind, 0) + 1
        if name in sinks:
            raise ValueError(f"two sinks are named {name!r}: their backlogs would be one")
        sinks[name] = sink
    return sinks
