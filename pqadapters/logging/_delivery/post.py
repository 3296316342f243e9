"""One sink's work on a queue of records: deliver, acknowledge what was confirmed, try again, bury what is refused.

An acknowledgement comes behind the confirmation, so a kill in between delivers a batch once more: at least once. Only
the sink's own thread comes here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any

from ...clock import SYSTEM
from ...errors import LeaseLost
from ...store import Ack, Claim, Nack, Stop, Store
from ...telling import logger
from ...wording import named
from .._records.records import NotReadHere
from .._records.shown import repr_of
from .._spools.names import Codec
from .owed import Owed
from .sinks import Failure, Sink

_log = logger("pqadapters.logging")
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path
Entry = tuple[Claim, logging.LogRecord]
_make: Any = object.__new__
BATCH = 200  #: records that are claimed, and acknowledged, at a time


class Post:
    """A sink at its place in a listener. `stopping` ends all waiting."""

    def __init__(
        self, name: str, sink: Sink, codec: Codec, respect_level: bool, stopping: threading.Event, owed: Owed
    ) -> None:
        self.name, self.sink = name, sink
        self.stopping, self.owed = stopping, owed
        self._codec, self._respect = codec, respect_level
        self._tries = 0  #: outages in a row
        self._alone = 0  #: so many records are delivered one by one: one of them spoils a batch
        self._trouble = ""  #: why its thread couldn't work
        self._refusal = ""  #: why it refused the record that was told of last
        self._refusals: dict[tuple[int, int], int] = {}  #: how often a record was refused, by its store and its id

    @property
    def failing(self) -> bool:
        return self._tries > 0

    @property
    def careful(self) -> bool:
        """Whether it is to be given one record at a time."""
        return self._tries > 0 or self._alone > 0

    def tell(self, trouble: str) -> None:
        """Why its thread can't work now, once, however often it is tried; "" where it can."""
        if trouble and trouble != self._trouble and not self.stopping.is_set():
            _log.warning("records for %s wait: %s", self.name, trouble)
        self._trouble = trouble

    def hand_over(self, records: Sequence[logging.LogRecord]) -> tuple[int, Failure | None]:
        """Deliver what isn't this sink's own to acknowledge: how many were confirmed, and why not the next one."""
        done, failure = self.sink.deliver(records, self._respect, self.stopping)
        self._tries = 1 if failure and failure.outage else 0
        self._alone = self._spoiled(failure)
        return done, failure

    def work_off(self, store: Store, queue: str, timeout: float = 0.0, stop: Stop | None = None) -> bool:
        """Deliver what is ready in a queue: a batch, or, behind a failure and a pause, the first record. Whether there
        was anything; waits up to `timeout` seconds for it. Raises StoreError."""
        if self._tries and self.stopping.wait(self.sink.pause(self._tries)):
            return True
        self.owed.pay(store)
        claims = self._claimed(store, queue, 1 if self.careful else BATCH)
        if not claims and timeout:
            claims = store.claim(queue, timeout=timeout, stop=stop)
        if claims:
            self.deliver(store, claims)
        return bool(claims)

    def _claimed(self, store: Store, queue: str, limit: int) -> Sequence[Claim]:
        return store.claim(queue, limit=limit)

    def deliver(self, store: Store, claims: Sequence[Claim]) -> None:
        """Deliver these, up to the first that fails; the rest goes back. Raises StoreError."""
        work = self._read_all(store, claims)
        try:
            while work and not self.stopping.is_set():
                done, failure = self.sink.deliver([record for _, record in work], self._respect, self.stopping)
                confirmed = [claim for claim, _ in work[:done]]
                del work[:done]
                self._confirm(store, confirmed)
                if done:
                    self._tries = 0
                    self._alone = max(0, self._alone - done)
                if failure is not None:
                    return self._after(failure, store, work)
        finally:
            self._give_back(store, [claim for claim, _ in work])

    def _give_back(self, store: Store, claims: Sequence[Claim]) -> None:
        self.owed.give_back(store, claims)

    def _spoiled(self, failure: Failure | None) -> int:
        return self.sink.batch if failure is not None and self.sink.takes_batches else 0

    def _after(self, failure: Failure, store: Store, work: list[Entry]) -> None:
        self.sink.retried += 1
        if not self._alone and self._spoiled(failure) and len(work) > 1:
            self._alone = self._spoiled(failure)  # which record is it?
        elif failure.outage:
            self._tries += 1
            is_asked = self._tries % self.sink.retries == 0 and not failure.full
            if is_asked and self._another_gets_through(store, work):
                self._bury(store, work[0][0], failure.text)
                del work[0]
                self._tries = 0
        else:
            self._refuse(failure, store, work)

    def _refuse(self, failure: Failure, store: Store, work: list[Entry]) -> None:
        """The record is tried again later, by itself; others go on."""
        claim = work[0][0]
        key = id(store), claim.id
        refusals = self._refusals[key] = self._refusals.get(key, 0) + 1
        if refusals >= self.sink.retries:
            self._bury(store, claim, failure.text)
            del self._refusals[key]
        else:
            self._put_off(store, claim, self.sink.pause(refusals))
            if refusals == 1:
                self._tell_of_refusal(claim, failure.text)
        del work[0]

    def _tell_of_refusal(self, claim: Claim, reason: str) -> None:
        """Of the first with that reason in a row: a program that ends before it is a dead letter would hear of none."""
        if reason != self._refusal:
            self._refusal = reason
            _log.warning("%s refuses a log record, and is asked again: %s%s", self.name, reason, self._which(claim))

    def _put_off(self, store: Store, claim: Claim, seconds: float) -> None:
        with suppress(LeaseLost):
            store.commit(Nack(claim, not_before=SYSTEM.wall() + seconds))

    def _another_gets_through(self, store: Store, work: list[Entry]) -> bool:
        """Whether it is the first record that fails, or the sink: the second one tells, and then the first once more,
        for the sink may just have recovered: then these two have changed places, which is why it isn't asked often."""
        if len(work) == 1:
            work += self._read_all(store, self._claimed(store, work[0][0].queue, 1))
        return len(work) > 1 and self._gets_through(store, work, 1) and not self._gets_through(store, work, 0)

    def _gets_through(self, store: Store, work: list[Entry], at: int) -> bool:
        done, _ = self.sink.deliver([work[at][1]], self._respect, self.stopping)
        if done:
            self._tries = 0
            self._confirm(store, [work.pop(at)[0]])
        return bool(done)

    def decoded(self, store: Store, claims: Sequence[Claim]) -> list[Entry]:
        """With their records; those that can't be read are the queue's no more, or later. Raises StoreError."""
        loads = self._codec.loads
        try:
            return [(claim, loads(claim.payload)) for claim in claims]
        except Exception:  # of which one?
            found = [(claim, self._read(store, claim)) for claim in claims]
            return [(claim, record) for claim, record in found if record is not None]

    def _read_all(self, store: Store, claims: Sequence[Claim]) -> list[Entry]:
        """The same; where that is refused they are in nobody's hand."""
        try:
            return self.decoded(store, claims)
        except BaseException:
            self._give_back(store, claims)
            raise

    def _read(self, store: Store, claim: Claim) -> logging.LogRecord | None:
        try:
            return self._codec.loads(claim.payload)
        except NotReadHere as error:
            self._leave_to_others(store, claim, str(error))
        except MemoryError:
            raise
        except Exception as error:
            Post._bury(self, store, claim, f"can't be decoded: {named(error)}")
        return None

    def _leave_to_others(self, store: Store, claim: Claim, reason: str) -> None:
        """It isn't the record's fault, nor the sink's: it waits, while others go on."""
        if self.sink.last_error != reason:
            _log.warning("a log record for %s waits: %s", self.name, reason)
        self.sink.last_error = reason
        Post._put_off(self, store, claim, self.sink.backoff[1])

    def _bury(self, store: Store, claim: Claim, reason: str) -> None:
        with suppress(LeaseLost):
            store.commit(Nack(claim, dead=reason))
        self.tell_of_dead(claim, reason)

    def tell_of_dead(self, claim: Claim, reason: str) -> None:
        self.sink.dead += 1
        _log.error("a log record for %s is a dead letter now: %s%s", self.name, reason, self._which(claim))

    def _which(self, claim: Claim) -> str:
        """What it says, and where it was logged, if it can be read: as a rule the mistake is there."""
        try:
            record = self._codec.loads(claim.payload)
            args = f" with {repr_of(record.args):.200}" if record.args else ""
            said = f"{repr_of(record.msg):.200}{args}"
            return f" ({said}, logged as {record.name} in {record.pathname}, line {record.lineno})"
        except Exception:
            return ""

    def _confirm(self, store: Store, claims: Sequence[Claim]) -> None:
        self._acknowledge(store, claims)
        if self._refusals:
            for claim in claims:
                self._refusals.pop((id(store), claim.id), None)

    def _acknowledge(self, store: Store, claims: Sequence[Claim]) -> None:
        if claims:
            self.owed.carry_out(store, list(map(_new, repeat(Ack), zip(claims, repeat(True)))))  # all are lazy


def copied(record: logging.LogRecord) -> logging.LogRecord:
    """For one of several sinks: a handler may change its record."""
    made: logging.LogRecord = _make(type(record))
    made.__dict__.update(record.__dict__)
    return made
