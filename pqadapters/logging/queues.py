"""`SpoolQueue`: a spool as a `queue.Queue` of log records, for whoever wants a queue: `dictConfig`, the standard
library's own handler and listener, a loop of the program's.

With the standard library's `QueueListener` a record is done when `handle` returns, whatever became of it; with ours
when its sinks have confirmed it.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
from contextlib import suppress
from typing import Any

from ..astray import give_back
from ..clock import SYSTEM
from ..durability import Durability, Survives, in_environment
from ..errors import FormatError, LeaseLost, StoreError
from ..store import Ack, Claim, Depth, Nack
from ..telling import logger
from ..wording import shown
from ._records.records import NotReadHere
from ._spools.limits import Limit, WhenFull
from ._spools.place import is_url, place_of
from ._spools.spool import Spool, spool_at

_log = logger("pqadapters.logging")
_LATER = 30.0  #: seconds until a record that another installation reads is tried again
MAX_LAG = 0.05  #: seconds until a record is synced, at "process"


class SpoolQueue(queue.Queue[logging.LogRecord]):
    """Log records in a directory, or in the store of a URL. Several with one place are one spool.

    `path`: a directory, or a URL (`sqlite:////abs/file.db`); below a directory each process has a slot of its own.
    `durability`: "process" (default; synced at most `max_lag` seconds later) or "power". `max_bytes`, of a directory
    alone, `when_full`, `drop_level`: see `WhenFull`. `trust_directory=True` takes a directory that somebody else owns.
    Nothing is opened before the first record. Raises TypeError and ValueError for arguments: ValueError for a path
    that is neither.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str | Survives | Durability | None = None,
        max_lag: float | None = None,
        max_bytes: int | None = None,
        when_full: str | WhenFull = WhenFull.BLOCK,
        drop_level: int | str = logging.WARNING,
        trust_directory: bool = False,
    ) -> None:
        super().__init__()
        place = place_of(path)
        if max_bytes is not None and is_url(place):
            raise ValueError(f"max_bytes bounds the files of a directory; {shown(place)} has no limit: leave it out")
        word = durability or in_environment(MAX_LAG) or Survives.PROCESS
        lag = max_lag if isinstance(word, Durability) or max_lag is not None else MAX_LAG
        self.spool: Spool = spool_at(
            place,
            Durability.of(word, lag),
            Limit(max_bytes, when_full, drop_level),
            given=bool(durability) or max_lag is not None,
            trust_directory=trust_directory,
        )
        self.spool.use(self)
        self._gets = False  #: somebody takes records out by himself
        self._is_over = False  #: it was shut down, and what waits is left to others
        self._inbox = self.spool.names.inbox
        self._held: list[Claim] = []
        self._trouble = ""  #: why a record was passed over

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Store a record. Anything else (a listener's sentinel) stays in memory."""
        if isinstance(item, logging.LogRecord) and not self._is_shut:
            self.spool.put(item)
        else:
            super().put(item, block, timeout)
            self.spool.store.wake(self._inbox)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next record, then what is in memory alone; the caller's until `task_done()`. One that can't be read is
        passed over: it is a dead letter, or waits for an installation that reads it."""
        if block and timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        if self._is_over:
            return super().get(block=False)
        if not self._gets:
            self._gets = True
            self.spool.use(self)  # again: its handler may have been closed
        store = self.spool.store
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - SYSTEM.monotonic())
            claims = store.claim(self._inbox, timeout=left if block else 0.0, stop=self._has_other)
            if not claims:
                claims = store.claim(self._inbox)
            if not claims:
                return super().get(block=False)
            try:
                record = self._read(claims[0])
            except BaseException:
                give_back(store, claims)
                raise
            if record is not None:
                self._held += claims
                return record

    def _read(self, claim: Claim) -> logging.LogRecord | None:
        try:
            return self.spool.codec.loads(claim.payload)
        except NotReadHere as error:
            op, reason = Nack(claim, not_before=SYSTEM.wall() + _LATER), str(error)
        except FormatError as error:
            reason = f"can't be decoded: {type(error).__name__}: {error}"
            op = Nack(claim, dead=reason)
        with suppress(LeaseLost):
            self.spool.store.commit(op)
        if reason != self._trouble:
            self._trouble = reason
            _log.warning("a log record in %s is passed over: %s", self.spool.place, reason)
        return None

    def _has_other(self) -> bool:
        return bool(self.queue) or self._is_shut

    if sys.version_info >= (3, 13):

        def shutdown(self, immediate: bool = False) -> None:
            """As the standard library's, but that records stay on the disk with `immediate`. A `QueueHandler` goes on:
            it doesn't ask the queue."""
            super().shutdown(immediate)
            self._is_over |= immediate
            self.spool.store.wake(self._inbox)

    @property
    def _is_shut(self) -> bool:
        return getattr(self, "is_shutdown", False)

    def let_go(self) -> None:
        """Its only handler or listener is closed: the directory is let go of, unless others use it in this process."""
        if not self._gets:
            self.spool.let_go(self)

    def close(self) -> None:
        """Let go of the directory, or the store; the next record opens it again."""
        self.spool.close()

    def task_done(self) -> None:
        """The oldest record that was handed out is done. Raises StoreError where that can't be stored: say it again."""
        if not self._held:
            super().task_done()
            return
        claim = self._held.pop(0)
        try:
            self.spool.store.commit(Ack(claim, lazy=True))
        except StoreError:
            self._held.insert(0, claim)
            raise

    def qsize(self) -> int:
        return self.spool.store.depth(self._inbox).ready + super().qsize()

    def empty(self) -> bool:
        return not self.qsize()

    def full(self) -> bool:
        return False

    def join(self) -> None:
        """Wait until every record was delivered; behind an immediate `shutdown`, every one that was handed out."""
        self.spool.store.wait(self._inbox, self._is_done)

    def _is_done(self, depth: Depth) -> bool:
        return not (depth.claimed if self._is_over else depth.unfinished)
