"""Priority queues: the order of the items' values, by rank in the store, or in this process's memory.

An item's rank (rank.py) orders it in every store. Items that no rank can express at all, but that Python can compare,
are ordered here, in memory, where this process is the only one that holds the store; elsewhere they are refused.
From the first such item on, the whole queue is ordered in memory: items that have a rank among each other by that, as
in the store, and all others by Python's own `<`, ties in order of arrival.

What is kept in memory is the order alone: the records are in the store like any others, and are loaded from it when
first needed, so nothing of this has to survive. An item that can't be compared with those in the queue raises Python's
TypeError, and nothing is stored. Any thread may call anything.
"""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from ... import telling, wording
from ...clock import SYSTEM
from ...errors import RankError
from ...interrupts import is_fault, works
from ...rank import rank
from ...store import Claim, Nack, Order, Put, Record, Stop
from .line import Line, weak

_log = telling.logger("pqadapters.queue")


class _Entry:
    """An item's place among others: its rank among those that have one, so that what the store takes beside each other
    (1 and "a") stays so here; else its own `<`. They come in order of arrival, and equal ones go behind each other."""

    __slots__ = ("id", "item", "rank", "record")

    def __init__(self, item: Any, id: int, record: Record | None) -> None:
        self.item, self.id, self.record = item, id, record
        self.rank = (record.rank if record else b"") or _rank_of(item)

    def __lt__(self, other: _Entry) -> bool:
        return self.rank < other.rank if self.rank and other.rank else bool(self.item < other.item)


def _with_itself(entry: _Entry) -> bool:
    return entry < entry


def _rank_of(item: object) -> bytes:
    """Of one that another class of queue has put, too: there it needed none."""
    try:
        return rank(item)[0]
    except RankError:
        return b""


class RankedLine(Line):
    """A line whose records leave in the order of their items' values."""

    ranked = True
    _sorted: Sorted | None = None

    def begin_again(self) -> None:
        super().begin_again()
        self._sorted = None

    def make(self, item: object) -> Put:
        place, whole = rank(item)
        if not place and not whole and not self.store.capabilities.exclusive:
            raise RankError(
                f"{self.label} is shared with other processes, so its order must be expressible in bytes; an item of "
                f"type {type(item).__qualname__} has no rank. Put numbers, strings, bytes, dates, tuples of these or "
                "ordered dataclasses, such as (priority, item)"
            )
        return Put(self.name, self.encode(item), place)

    def stow(self, item: object, put: Put) -> None:
        if self._sorted is None and not put.rank:
            self._sort_in_memory()
        if self._sorted is None:
            return super().stow(item, put)
        with telling.silence(), self._sorted.lock:
            self._sorted.check(item)
            super().stow(item, put)

    def stow_all(self, items: Sequence[object], puts: Sequence[Put], timeout: float | None = None) -> None:
        if self._sorted is None and not all(put.rank for put in puts):
            self._sort_in_memory()
        if self._sorted is None:
            return super().stow_all(items, puts, timeout)
        with telling.silence(), self._sorted.lock:
            self._sorted.check(*items)
            super().stow_all(items, puts, timeout)

    def _sort_in_memory(self) -> Sorted:
        if self._sorted is None:
            self._sorted = Sorted(self)
        return self._sorted

    def fetch(self, limit: int, timeout: float | None, stop: Stop) -> list[Claim]:
        if self._sorted is None:
            claims: list[Claim] = []
            try:
                claims = super().fetch(limit, timeout, stop)
                if not self._unexpressed(claims):
                    return claims
                self.release(claims)
            except BaseException:  # of a signal handler
                self.release(claims)
                raise
        return self._sort_in_memory().fetch(limit, timeout, stop)

    def _unexpressed(self, claims: list[Claim]) -> bool:
        """Whether their order isn't the store's to tell: the empty rank sorts first, so the first claim shows it."""
        return bool(claims) and not claims[0].rank and self.store.capabilities.exclusive

    def records(self, order: Order | None = None) -> Iterator[Record]:
        found = super().records(order)
        if order is not None or not self.store.capabilities.exclusive:
            return found
        first = next(found, None)
        if first is None or first.rank:
            return chain([first] if first else [], found)
        return self._sort_in_memory().records()


class Sorted:
    """The order of a queue's ready records, in memory. `lock` is held while it and the store are made to agree."""

    def __init__(self, line: Line) -> None:
        self.lock = threading.RLock()
        self._store, self._name, self._loads = line.store, line.name, line.decode
        self._release = weak(line.release)
        self._counted = line.max_attempts is not None
        self._entries: list[_Entry] = []
        self._blind: list[int] = []  # records that can't be decoded: served first, so that get() deals with them
        self._last = 0  # the highest id seen

    def check(self, *items: object) -> None:
        """Raise Python's TypeError if the items can't be compared with those in the queue, or with each other."""
        with telling.silence(), self.lock:
            self._refresh()
            placed = self._entries if len(items) == 1 else list(self._entries)
            for item in items[:-1]:
                insort(placed, _Entry(item, self._last + 1, None))
            for item in items[-1:]:
                bisect_right(placed, _Entry(item, self._last + 1, None))

    def fetch(self, limit: int, timeout: float | None, stop: Stop) -> list[Claim]:
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        while True:
            claims: list[Claim] = []
            try:
                with telling.silence(), self.lock:
                    claims = self._claim_locked(limit, stop)
                if claims:
                    return claims
            except BaseException:  # of a signal handler
                self._release(claims)
                raise
            left = None if deadline is None else max(0.0, deadline - SYSTEM.monotonic())
            if left == 0.0 or stop():
                return []
            self._store.wait(self._name, lambda depth: depth.ready > 0 or stop(), left)

    def records(self) -> Iterator[Record]:
        with telling.silence(), self.lock:
            self._refresh()
            entries = list(self._entries)  # who wants the first one alone pays for no more
        return (entry.record for entry in entries if entry.record)

    def _claim_locked(self, limit: int, stop: Stop) -> list[Claim]:
        self._refresh()
        claims: list[Claim] = []
        try:
            while len(claims) < limit and not stop() and (self._blind or self._entries):
                id = self._blind.pop(0) if self._blind else self._entries.pop(0).id
                claims += self._store.claim(self._name, ids=[id], counted=self._counted)
        except BaseException:  # of a signal handler, or of the disk: they are ready again
            self._release(claims)
            raise
        return claims

    def _refresh(self) -> None:
        """Take in what was put since, and start afresh when records came back that had left, or left in another way."""
        ready = self._store.depth(self._name, age=False).ready
        self._load()
        if ready != len(self._entries) + len(self._blind):
            self._entries, self._blind, self._last = [], [], 0
            self._load()

    def _load(self) -> None:
        for record in self._store.browse(self._name, after=self._last):
            self._last = max(self._last, record.id)
            self._place(record)

    def _place(self, record: Record) -> None:
        try:
            entry = self._entry(record)
        except (Exception, SystemExit):
            if works(self._entry, record):
                raise  # a signal handler's exception, and no fault of the record
            self._blind.append(record.id)
            return
        self._insert(entry)

    def _entry(self, record: Record) -> _Entry:
        return _Entry(self._loads(record.payload), record.id, record)

    def _insert(self, entry: _Entry) -> None:
        try:
            insort(self._entries, entry)
        except (Exception, SystemExit) as error:
            if not is_fault(error, self._find, entry):
                raise  # memory is lacking, or it was a signal handler's
            at_fault = self._at_fault(entry)
            reason = f"can't be compared with the queue's other items: {wording.text_of(error)}"
            if at_fault is None:
                return self._bury(entry.id, reason)
            self._bury(at_fault.id, reason)
            self._entries.remove(at_fault)
            self._insert(entry)

    def _find(self, entry: _Entry) -> object:
        return bisect_right(self._entries, entry)

    def _at_fault(self, entry: _Entry) -> _Entry | None:
        """The one before it that can't even be compared with itself, as one of an earlier version of its class; None:
        it is itself the one to go."""
        if not works(_with_itself, entry):
            return None
        return next((each for each in self._entries if not works(_with_itself, each)), None)

    def _bury(self, id: int, reason: str) -> None:
        for claim in self._store.claim(self._name, ids=[id]):
            self._store.commit(Nack(claim, dead=reason))
            _log.error("record %d of queue %r is a dead letter now: it %s", id, self._name, reason)
