"""The items of one queue that one handle gives out, and what becomes of them: done, given back, dead.

A line knows nothing of `queue.Queue`'s lock and conditions; the adapters in queue.py add those. Any thread may call
anything; a line takes no lock of its own across a call of the store. What survives is the store's promise for each
operation: a put when it returns, an acknowledgement when it returns (a power cut may undo it: a redelivery), a claim
never: it ends with the handle.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty
from typing import Any

from ..errors import LeaseLost, PqadaptersError, StoreError
from ..store import Ack, Claim, Nack, Op, Order, Stop, Store
from ._aside import MISSING, Aside
from ._counts import Counts
from ._held import Held, Own, consumer
from ._policy import AckPolicy
from ._stock import Stock, deadline_of, left_of, works

_log = logging.getLogger("pqadapters.queue")
_SKIPPED = object()


class Line(Stock):
    """A queue's records, the claims that this handle has on them, and its counts."""

    def __init__(self, store: Store, name: str, **options: Any) -> None:
        super().__init__(store, name, **options)
        self.held, self.counts, self.aside = Held(), Counts(self.flags), Aside(store)

    def take(self, timeout: float | None, *, lent: Own | None = None, order: Order | None = None) -> Any:
        """The next item, within `timeout` seconds (None: for ever). Raises queue.Empty, ShutDown.

        The caller holds it from here on, or `lent` does. What interrupts this gives the claim back; an interrupt on the
        very way out leaves the item with its thread.
        """
        own = self.held.own()
        if own and self.policy is AckPolicy.NEXT:
            self._ack_asked()
        deadline = deadline_of(timeout) if timeout else None
        while True:
            claims: list[Claim] = []
            try:
                claims = self._next_claims(1, timeout) if order is None else self._first(order)
                item = self._decode(claims[0])
                if item is not _SKIPPED and self._hand_out([(claims[0], item)], own if lent is None else lent, lent):
                    return item
            except BaseException:
                self._give_back(claims, own)
                raise
            timeout = left_of(deadline) if deadline else timeout

    def take_many(self, most: int, timeout: float | None) -> list[Any]:
        """At least one item and at most `most`; else as `take`."""
        own = self.held.own()
        if own and self.policy is AckPolicy.NEXT:
            self._ack_asked()
        deadline = deadline_of(timeout)
        while True:
            claims: list[Claim] = []
            try:
                claims = self._next_claims(most, left_of(deadline))
                decoded = [(claim, item) for claim in claims if (item := self._decode(claim)) is not _SKIPPED]
                items = [item for _, item in self._hand_out(decoded, own)]
            except BaseException:
                self._give_back(claims, own)
                raise
            if items:
                return items

    def _first(self, order: Order) -> list[Claim]:
        claims = [] if self.flags.ended() else self.claim(self.name, order=order, counted=self.counted)
        if not claims:
            raise Empty
        return claims

    def _next_claims(self, limit: int, timeout: float | None) -> list[Claim]:
        claims = self._await(limit, timeout) if self.aside.claims else self.fetch(limit, timeout, self.stopped)
        if claims:
            return claims
        if not self.stopped():
            raise Empty
        claims = self.fetch(limit, 0.0, self.flags.ended)  # shut down, but what is there is still served
        if not claims:
            raise self.ending()
        return claims

    def _await(self, limit: int, timeout: float | None) -> list[Claim]:
        """As `fetch`, and look after what is set aside meanwhile."""
        deadline = deadline_of(timeout)
        while True:
            self._bury_overdue()
            due, left = self.aside.next_due(), left_of(deadline)
            last = due is None or (left is not None and left <= due)
            claims = self.fetch(limit, left if last else due, self.stopped)
            if claims or last or self.stopped():
                return claims

    def _bury_overdue(self) -> None:
        for waiting in self.aside.overdue():
            self.bury(waiting.claim, waiting.reason)
            self.aside.claims.pop(waiting.claim.id, None)

    def fetch(self, limit: int, timeout: float | None, stop: Stop) -> list[Claim]:
        """Claim up to `limit` records in the queue's order."""
        return self.claim(self.name, order=self.order, limit=limit, timeout=timeout, stop=stop, counted=self.counted)

    def _decode(self, claim: Claim) -> Any:
        """The claimed record's item, or _SKIPPED after the record was put out of the way."""
        if self.max_attempts is not None and claim.attempt > self.max_attempts:
            self.bury(claim, f"claimed {claim.attempt - 1} times and never done (max_attempts={self.max_attempts})")
            return _SKIPPED
        try:
            return self.loads(claim.payload)
        except MemoryError:
            raise
        except MISSING as error:
            self._set_aside(claim, error)
        except Exception as error:
            if works(self.loads, claim.payload):
                raise  # a signal handler's exception, and no fault of the record: the claim goes back
            self.bury(claim, f"can't be decoded: {type(error).__name__}: {error}")
        return _SKIPPED

    def _set_aside(self, claim: Claim, error: Exception) -> None:
        reason = f"can't be decoded: {type(error).__name__}: {error}"
        if not self.aside.add(claim, reason):
            return self.bury(claim, reason)
        _log.warning("record %d of %s is left to others for an hour: it %s", claim.id, self.label, reason)

    def bury(self, claim: Claim, reason: str) -> None:
        """Move the claimed record to the dead letters."""
        if not self._commit_if_held(Nack(claim, dead=reason)):
            return
        self.counts.add(buried=1)
        _log.error("record %d of %s is a dead letter now: %s", claim.id, self.label, reason)

    def _hand_out(self, taken: list[tuple[Claim, Any]], own: Own, lent: Own | None = None) -> list[tuple[Claim, Any]]:
        """Make the caller their holder, or acknowledge them. Returns those that are the caller's to have."""
        if lent is None and self.policy is AckPolicy.GET:
            lost = self._ack_handed([Ack(claim) for claim, _ in taken])
            return [each for each in taken if each[0].id not in lost]
        for claim, item in taken:
            own[claim.id] = claim, item if self.keep_items else None
        return taken

    def _ack_handed(self, acks: Sequence[Ack]) -> set[int]:
        self.counts.add(handed=len(acks))  # before the commit: a joiner must never see one task too few
        try:
            lost = self._commit_acks(acks)
        except BaseException:
            self.counts.add(handed=-len(acks))
            raise
        self.counts.add(handed=-len(lost))
        return lost

    def _commit_acks(self, acks: Sequence[Ack]) -> set[int]:
        """In one commit, or one by one where a lease ran out meanwhile. Returns the ids that were somebody else's."""
        try:
            self.commit(*acks)
        except LeaseLost:
            return {ack.claim.id for ack in acks if not self._commit_if_held(ack)}
        return set()

    def _commit_if_held(self, op: Ack | Nack) -> bool:
        try:
            self.commit(op)
        except LeaseLost:
            return False
        return True

    def _ack_asked(self) -> None:
        """The consumer asks for its next item: what it had is done."""
        me = consumer()
        entries = self.held.pop([(me, id) for id in list(self.held.own())])
        try:
            self._ack_handed([Ack(claim, lazy=True) for _, claim, _ in entries])
        except PqadaptersError:
            self._restore(entries)
            raise

    def _restore(self, entries: list[tuple[object, Claim, Any]]) -> None:
        for who, claim, item in reversed(entries):
            self.held.restore(who, claim, item)

    def _give_back(self, claims: Sequence[Claim], own: Own) -> None:
        for claim in claims:
            own.pop(claim.id, None)
            self.aside.claims.pop(claim.id, None)
        self.release(claims)

    # Done

    def done(self) -> bool:
        """Acknowledge the caller's oldest item, or count one off that was when it was handed out; False if none."""
        if self.counts.handed and self.counts.take_handed():
            self.wake_joiners()
            return True
        entry = self.held.pop_oldest()
        if entry is None:
            return False
        self._acknowledge(*entry)
        return True

    def done_exactly(self, item: object) -> None:
        """Acknowledge exactly this item. Raises ValueError if nobody holds it."""
        entry = self.held.pop_item(item)
        if entry is not None:
            self._acknowledge(*entry)
        elif self.counts.take_handed():
            self.wake_joiners()
        else:
            raise ValueError(f"nobody holds {item!r} of {self.label}")

    def _acknowledge(self, who: object, claim: Claim, item: object) -> None:
        try:
            self._surely(Ack(claim, lazy=True))
        except LeaseLost:
            raise
        except PqadaptersError:
            self.held.restore(who, claim, item)
            raise

    def _surely(self, *ops: Op) -> None:
        """Commit. An interrupt doesn't leave open whether that has happened: it has, and then the interrupt goes on."""
        try:
            self.commit(*ops)
        except PqadaptersError:
            raise
        except BaseException:
            with suppress(LeaseLost):  # it had happened already
                self.commit(*ops)
            raise

    def settle_lease(self, claim: Claim) -> None:
        """The end of a lease that went well."""
        try:
            self._surely(Ack(claim, lazy=True))
        except PqadaptersError:
            self.release([claim])
            raise

    def done_for_another(self) -> int:
        """Count a task_done() of a caller that holds nothing. Returns how many such calls waited for more of them.

        Raises ValueError if nothing is unfinished; where covered items can't be acknowledged, the call isn't counted.
        """
        if self.unfinished() <= 0:
            raise ValueError("task_done() called too many times")
        term = "uncovered" if (covered := self.counts.cover(len(self.held))) else "adjustment"
        waited = self.counts.uncovered
        try:
            self.settle()
        except BaseException:
            self.counts.add(**{term: -1 if covered else 1})
            raise
        return waited

    def settle_later(self) -> None:
        """`settle`, behind an acknowledgement that went well: a refusal of the disk is left to the next call."""
        if self.counts.uncovered or self.counts.adjustment:
            try:
                self.settle()
            except StoreError as error:
                _log.warning("items of %s that others reported done can't be acknowledged yet: %s", self.label, error)

    def settle(self) -> None:
        """After a task_done(): acknowledge everything if all of it is covered by calls, and forget a debt."""
        outstanding = self.held.snapshot()
        if outstanding and self.counts.uncovered >= len(outstanding):
            self._ack_covered(self.held.pop(outstanding))
        if self.counts.adjustment:
            self.store.wait(self.name, self.counts.level, 0.0)
        self.wake_joiners()

    def _ack_covered(self, entries: list[tuple[object, Claim, Any]]) -> None:
        self.counts.add(uncovered=-len(entries))
        try:
            self._commit_acks([Ack(claim, lazy=True) for _, claim, _ in entries])
        except PqadaptersError:
            self.counts.add(uncovered=len(entries))
            self._restore(entries)
            raise

    def wake_joiners(self) -> None:
        if self.counts.joining:
            self.store.wake(self.name)

    def unfinished(self) -> int:
        depth = self.store.depth(self.name)  # before the counts are read, see _counts.py
        raw = self.counts.raw(depth)
        if raw < 0:
            self.store.wait(self.name, self.counts.level, 0.0)
        return max(raw, 0)

    def join(self) -> None:
        self.counts.add(joining=1)
        try:
            self.store.wait(self.name, self.counts.finished)
        finally:
            self.counts.add(joining=-1)
        if self.flags.closed:
            raise self.ending()

    def nack(self, *item: object, delay: float) -> None:
        """Give the caller's oldest item back, or this one; ready again in `delay` seconds. ValueError if not held."""
        entry = self.held.pop_item(item[0]) if item else self.held.pop_oldest()
        if entry is None:
            raise ValueError(f"nobody holds {repr(item[0]) if item else 'an item'} of {self.label}")
        who, claim, value = entry
        try:
            self._surely(Nack(claim, not_before=time.time() + delay if delay else 0.0))
        except LeaseLost:
            raise
        except PqadaptersError:
            self.held.restore(who, claim, value)
            raise

    def stats(self) -> dict[str, Any]:
        """For people and gauges."""
        depth, counts = self.store.depth(self.name), self.counts
        return {
            "name": self.name,
            "place": self.store.place,
            **depth._asdict(),
            "unfinished": max(0, counts.raw(depth)),
            "held": len(self.held),
            "uncovered": counts.uncovered,
            "buried": counts.buried,
            "set_aside": len(self.aside.claims),
        }

    # The end

    def finish(self) -> None:
        """A normal end: under "next" what was handed out is done, save what another live thread still works on."""
        if self.policy is AckPolicy.NEXT:
            entries = self.held.pop(self.held.snapshot(but=self.held.still_working()))
            self._commit_acks([Ack(claim, lazy=True) for _, claim, _ in entries])

    def close(self) -> None:
        """Finish, give the rest back, and let go of the store. A second call does nothing."""
        if self.flags.closed:
            return
        self.flags.closed = True
        try:
            self.finish()
        finally:
            if self.owned:
                self.store.close()
            else:
                self.release([claim for _, claim, _ in self.held.pop(self.held.snapshot())])
                self.release(self.aside.pop_all())
                self.store.wake(self.name)
