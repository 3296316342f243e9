"""Handlers that note what they were given, fail when they are told to, and hang until they are let go of."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 60.0


def eventually(condition: Callable[[], object]) -> bool:
    """Whether it comes to be true. Of what nothing tells of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
    return True


class Noting(logging.Handler):
    """Notes the messages. `fails(message)` is what to raise for one, if anything."""

    def __init__(self, fails: Callable[[str], Exception | None] = lambda message: None) -> None:
        super().__init__()
        self.fails = fails
        self.records: list[logging.LogRecord] = []
        self._changed = threading.Condition()
        self.tries: list[str] = []

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        with self._changed:
            self.tries.append(message)
            self._changed.notify_all()
            error = self.fails(message)
            if error is None:
                self.records.append(record)
        if error is not None:
            raise error

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until it is true of what was noted."""
        with self._changed:
            came = self._changed.wait_for(condition, PATIENCE)
            assert came, f"{len(self.messages)}: {[message[:40] for message in self.messages[:5]]}"

    def until_count(self, count: int) -> None:
        self.until(lambda: len(self.records) >= count)


class Reporting(Noting):
    """Fails by `handleError` alone, as the standard library's handlers do."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except Exception:
            self.handleError(record)


class Hanging(Noting):
    """Hangs in its first record until `go_on` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on, self.hangs = threading.Event(), threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.hangs.set()
        assert self.go_on.wait(PATIENCE)
        super().emit(record)


class Batching(Noting):
    """Takes batches."""

    def __init__(self, fails: Callable[[str], Exception | None] = lambda message: None) -> None:
        super().__init__(fails)
        self.batches: list[list[str]] = []

    def emit_batch(self, records: list[logging.LogRecord]) -> None:
        messages = [record.getMessage() for record in records]
        for message in messages:
            if (error := self.fails(message)) is not None:
                raise error
        with self._changed:
            self.batches.append(messages)
            self.records += records
            self._changed.notify_all()


def logger_of(*handlers: logging.Handler) -> logging.Logger:
    """A logger with these handlers alone."""
    logger = logging.Logger("app", logging.DEBUG)
    for handler in handlers:
        logger.addHandler(handler)
    return logger


def spool(owner: Any) -> Any:
    """That of a handler or a listener."""
    return owner.queue.spool
