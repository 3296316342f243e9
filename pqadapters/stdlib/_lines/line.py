"""The items of one queue that one handle gives out, and the records that are put out of the way.

A line knows nothing of `queue.Queue`'s lock and conditions; the adapters in queue.py add those. Any thread may call
anything; a line takes no lock of its own across a call of the store. What survives is the store's promise for each
operation: a put when it returns, an acknowledgement when it returns (a power cut may undo it: a redelivery), a claim
never: it ends with the handle.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from queue import Empty
from typing import Any

from ... import live, telling, wording
from ...apart import insist
from ...errors import FOR_GOOD, ConditionFailed, PqadaptersError, StoreError
from ...home.ground import Ground
from ...home.private import PrivateStore
from ...interrupts import works
from ...serializers.signed import perhaps_signed
from ...store import Ack, Claim, Expect, Nack, Order, Set, Stop, Store
from .acks import Acks
from .aside import MISSING, Aside
from .exit import finish_at_exit
from .held import Own, consumer
from .objects import Gone, drop_ended
from .owed import AWAY
from .policy import AckPolicy, weight
from .stock import Turned, deadline_of, left_of

_log = telling.logger("pqadapters.queue")
_LEARNT = "pqadapters.learnt"  #: table: queue -> which acknowledgement was learnt
_SUSPECTS = 32
_CONSPICUOUS = 3
_SKIPPED = object()
_AUTO, _GET, _TASK_DONE = AckPolicy.AUTO, AckPolicy.GET, AckPolicy.TASK_DONE  # an enum's attribute takes a search


def _nothing() -> None:
    """Nobody wants to know."""


class Line(Acks):
    """A queue's records as they are handed out."""

    #: Called when a record went that nobody was given.
    passed_over: Callable[[], object] = staticmethod(_nothing)

    def __init__(self, store: Store, name: str, **options: Any) -> None:
        super().__init__(store, name, **options)
        self.aside = Aside(store)
        self.suspects = 0  #: how many more claims of what an earlier run left are counted on disk
        self.renewed: Callable[[], object] = lambda: None  #: called in a forked child that goes on with the queue
        self.private = store if isinstance(store, PrivateStore) else None
        if self.private is None:
            self._open()
        else:
            self.private.taken = weak(self._taken)
            self.private.settled = weak(self._settled)
            self.private.renewed = weak(self.begin_again)

    @property
    def family(self) -> str:
        return self.label if self.private is None else f"queue {self.name!r} in {self.private.family}"

    def _open(self) -> None:
        """The store is open: what was learnt, and what ended with the process that put it."""
        if self.auto:
            self.recall(self.learnt())
        self.objects.dropped += drop_ended(self.store, self.name)
        if self.store.capabilities.exclusive and self.store.capabilities.persistent:
            self._suspect(self.store.depth(self.name, age=False).unfinished)

    def _suspect(self, left: int) -> None:
        """One of the items that an earlier run left may be what ended it. Claims aren't on disk unless they are
        counted: those of the first of them are, so that an item that ends one run after the other is found out."""
        if self.max_attempts is None:
            self.suspects = min(_SUSPECTS, left)
            self.counted = self.suspects > 0

    def _watch(self, taken: list[tuple[Claim, Any]]) -> None:
        self.suspects -= len(taken)
        self.counted = self.suspects > 0
        for claim, item in taken:
            if claim.attempt >= _CONSPICUOUS:  # and once before, when nobody counted
                _log.warning(
                    "record %d of %s was handed out %d times or more and never done: %s. If it is what ends the "
                    "program, max_attempts= moves it to the dead letters",
                    claim.id,
                    self.label,
                    claim.attempt,
                    wording.excerpt_of(item),  # here, where an item that can't tell keeps nobody from having it
                )

    def bound(self, maxsize: int) -> int:
        """`maxsize` beside what earlier runs left in a queue without a name: where the program wouldn't wait if that
        weren't there, it mustn't wait now. It may fill the queue before it starts its workers, or give back objects of
        a pool that it has made anew."""
        return maxsize + self.private.left if self.private is not None and maxsize > 0 else maxsize

    def is_full(self, maxsize: int, size: int) -> bool:
        """Whether a put would wait. The size is asked for by the caller, and so before the bound: the first one to ask
        takes over what earlier runs left, of which the bound knows nothing until then."""
        return 0 < self.bound(maxsize) <= size

    def keep_learnt(self, word: str, timeout: float | None) -> None:
        if self.private is not None:
            return self.private.learn(ack=word)
        expect = Expect.ABSENT if word == AckPolicy.NEXT.value else Expect.ANY
        try:
            self.commit(Set(_LEARNT, live.key_of(self.name), word.encode(), expect), timeout=timeout)
        except ConditionFailed:
            pass  # another handle has learnt something meanwhile
        except StoreError as error:
            if timeout is not None and isinstance(error, AWAY):
                raise
            _log.warning("what was learnt of %s can't be kept: %s", self.label, error)

    def learnt(self) -> object:
        if self.private is not None:
            return self.private.learnt("ack")
        return (self.store.get(_LEARNT, live.key_of(self.name)) or b"").decode("ascii", "replace")

    def _taken(self, ground: Ground) -> None:
        """The private store has its slot now."""
        self.recall(ground.note.get("ack"))
        ground.tell(self.store.place, self.policy.meaning)
        finish_at_exit(self)  # once more: this may be a child of multiprocessing, which has an end of its own

    def _settled(self, store: Store) -> None:
        """The slot has in it what earlier runs left, and nothing stands between it and us any more."""
        self._bind(store)
        assert self.private is not None
        self._suspect(self.private.moved.items)

    def begin_again(self) -> None:
        """In a forked child what the parent holds is the parent's. The queue is empty here, unless both share it."""
        self._bind(self.store)
        self.flags.renew()
        self._suspect(0)
        self.begin_counting()
        self.aside = Aside(self.store)
        self.objects.begin_again()
        self.renewed()

    def take(  # as SegmentStore.claim
        self,
        timeout: float | None,
        lent: Own | None = None,
        order: Order | None = None,
        ids: Sequence[int] | None = None,
    ) -> Any:
        """The next item, within `timeout` seconds (None: for ever). Raises queue.Empty, ShutDown, Turned. With `order`
        the first one in that order, or with `ids` of these, without waiting.

        The caller holds it from here on, or `lent` does. What interrupts this gives the claim back; an interrupt on the
        very way out leaves the item with its thread.
        """
        own = self.held.by.get(who := self.held.asker or consumer())
        if own is None:
            own = self.held.admit(who)
        deadline = deadline_of(timeout) if timeout else None
        stop = self.flags.turned if lent is None and (timeout is None or timeout) else self.stopped
        entries = None
        if self.policy is not _TASK_DONE:
            entries = self.ask(own, who)
            if self.policy is _GET and self.look is not None and lent is None and order is None:
                item = self._take_seen(self.look)
                if item is not _SKIPPED:
                    return item
        while True:
            claims: Sequence[Claim] = ()
            try:
                if entries and (order is not None or self.ranked or self.aside.claims or self.objects.meeting):
                    self.ack_entries(entries)
                    entries = None
                if order is not None:
                    claims = self._first(order, ids)
                elif self.ranked or self.aside.claims:
                    claims = self._next_claims(1, timeout, stop)
                elif entries:
                    claims = self.claim_with(entries, timeout, stop)
                    entries = None
                else:  # as `fetch` does
                    claims = self.claim(self.name, order=self.order, timeout=timeout, stop=stop, counted=self.counted)
                if not claims:
                    claims = self._last_claims(1, stop, deadline)
                claim = claims[0]
                item = self._decode(claim)
                if item is not _SKIPPED:
                    if lent is not None or self.policy is _GET or self.suspects > 0:
                        if self._hand_out([(claim, item)], own if lent is None else lent, lent):
                            return item
                    else:
                        if self.keep_items:
                            own[claim[1]] = claim, item
                        elif not (self.objects.meeting and self._let_go(claim)):
                            own[claim[1]] = claim, None
                        if self.policy is _AUTO:
                            self.fetched += weight(claim)
                        return item
            except BaseException:
                if entries:
                    self._restore(entries)  # what was done nevertheless is passed over when it comes again
                self._give_back(claims, own)
                raise
            timeout = left_of(deadline) if deadline else timeout

    def take_many(self, most: int, timeout: float | None) -> list[Any]:
        """At least one item and at most `most`; else as `take`."""
        own = self.held.own()
        if self.policy is not _TASK_DONE:
            who = self.held.asker or consumer()
            self.ack_all_of(lambda: self.ask(own, who))
        deadline = deadline_of(timeout)
        while True:
            claims: list[Claim] = []
            try:
                claims = self._next_claims(most, left_of(deadline), self.stopped) or self._last_claims(most)
                decoded = [(claim, item) for claim in claims if (item := self._decode(claim)) is not _SKIPPED]
                items = [item for _, item in self._hand_out(decoded, own)]
            except BaseException:
                self._give_back(claims, own)
                raise
            if items:
                return items

    def _first(self, order: Order, ids: Sequence[int] | None) -> list[Claim]:
        claims = [] if self.flags.ended() else self.claim(self.name, order=order, ids=ids, counted=self.counted)
        if not claims:
            raise Empty
        return claims

    def _next_claims(self, limit: int, timeout: float | None, stop: Stop) -> list[Claim]:
        return self._await(limit, timeout, stop) if self.aside.claims else self.fetch(limit, timeout, stop)

    def _last_claims(self, limit: int, stop: Stop | None = None, deadline: float | None = 0.0) -> list[Claim]:
        """None came in time, or the handle was shut down: what is there is still served. Or a hook was replaced, if
        only for a moment, and there is time left."""
        if not self.stopped():
            if stop is self.flags.turned and left_of(deadline) != 0.0:
                raise Turned(left_of(deadline))
            raise Empty
        claims = self.fetch(limit, 0.0, self.flags.ended)
        if not claims:
            raise self.ending()
        return claims

    def _await(self, limit: int, timeout: float | None, stop: Stop) -> list[Claim]:
        """As `fetch`, and look after what is set aside meanwhile."""
        deadline = deadline_of(timeout)
        while True:
            self._bury_overdue()
            due, left = self.aside.next_due(), left_of(deadline)
            last = due is None or (left is not None and left <= due)
            claims = self.fetch(limit, left if last else due, stop)
            if claims or last or stop():
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
            payload = claim.payload
            return self.decode(payload) if payload < b"\1" else self.loads(payload)
        except MemoryError:
            raise
        except Gone:
            self._drop(claim)
        except MISSING as error:
            self._set_aside(claim, error)
        except (Exception, SystemExit) as error:  # the latter of a module that is a script as well
            if works(self.decode, claim.payload):
                raise  # a signal handler's exception, and no fault of the record: the claim goes back
            more = perhaps_signed(claim.payload, error)
            self.bury(claim, f"can't be decoded: {wording.named(error)}{more}")
        return _SKIPPED

    def _take_seen(self, look: Callable[[str, Order], Claim | None]) -> Any:
        """The next item, gone without having been claimed. _SKIPPED where it is to be claimed: none is there, somebody
        else was first, it can't be decoded, others have the store locked, attempts are counted, or ranks may be equal.
        """
        claimed = self.ranked or self.counted or self.max_attempts is not None
        if claimed or self.aside.claims or self.stopped() or (seen := look(self.name, self.order)) is None:
            return _SKIPPED
        try:
            item = self.decode(seen.payload)
        except MemoryError:
            raise
        except (Exception, SystemExit):
            if works(self.decode, seen.payload):
                raise  # a signal handler's exception, and no fault of the record
            return _SKIPPED
        return item if self._ack_seen(seen) else _SKIPPED

    def _drop(self, claim: Claim) -> None:
        """What the record stood for ended with the process that put it."""
        self._commit_if_held(Ack(claim))
        self.objects.dropped += 1
        self.passed_over()

    def _set_aside(self, claim: Claim, error: Exception) -> None:
        reason = f"can't be decoded: {wording.named(error)}"
        if not self.aside.add(claim, reason):
            return self.bury(claim, reason)
        _log.warning("record %d of %s is left to others for an hour: it %s", claim.id, self.label, reason)
        self.passed_over()

    def bury(self, claim: Claim, reason: str) -> None:
        """Move the claimed record to the dead letters."""
        if not self._commit_if_held(Nack(claim, dead=reason)):
            return
        self.counts.add(buried=1)
        _log.error("record %d of %s is a dead letter now: %s", claim.id, self.label, reason)
        self.passed_over()

    def _hand_out(self, taken: list[tuple[Claim, Any]], own: Own, lent: Own | None = None) -> list[tuple[Claim, Any]]:
        """Make the caller their holder, or acknowledge them. Returns those that are the caller's to have."""
        if lent is None and self.policy is AckPolicy.GET:
            lost = self._ack_handed([Ack(claim) for claim, _ in taken])
            return [each for each in taken if each[0].id not in lost]
        for claim, item in taken:
            own[claim.id] = claim, item if self.keep_items else None
        if self.policy is AckPolicy.AUTO and lent is None:
            self.fetched += sum(weight(claim) for claim, _ in taken)
        if self.suspects > 0:
            self._watch(taken)
        return taken

    def _let_go(self, claim: Claim) -> bool:
        """Whether what was handed out is done: an object in memory alone, which nobody can say to be done, and which
        comes again to nobody. It lasts as long as its user keeps it then, as the standard library's."""
        try:
            if live.is_live(claim.payload):
                self.commit(Ack(claim, lazy=True))
                return True
        except PqadaptersError:  # it is done later, as any
            pass
        return False

    def _give_back(self, claims: Sequence[Claim], own: Own) -> None:
        for claim in claims:
            own.pop(claim.id, None)
            self.aside.claims.pop(claim.id, None)
        insist(lambda: self.release(claims))

    def leave_to_others(self) -> None:
        """Whoever takes no more has nothing that was fetched ahead, either, nor a store that never works again: it can
        be opened anew only once it is closed."""
        try:
            self.claim(self.name, ids=())
        except FOR_GOOD:
            if self.owned:
                self.close(normal=False)
        except StoreError:  # it is given back when the handle ends
            pass

    def stats(self) -> dict[str, Any]:
        """For people and gauges."""
        depth, counts = self.store.depth(self.name), self.counts
        return {
            "name": self.name,
            "place": self.store.place,
            **(self.private.facts() if self.private is not None else {}),
            "ack": AckPolicy.AUTO.value if self.auto else self.policy.value,
            "learnt": self.policy.value if self.auto and self.policy is not AckPolicy.AUTO else None,
            **depth._asdict(),
            "unfinished": max(0, counts.raw(depth)) if self.keep_items else depth.unfinished,  # without task_done()
            "held": len(self.held),
            "uncovered": counts.uncovered,
            "buried": counts.buried,
            "set_aside": len(self.aside.claims),
            "dropped": self.objects.dropped + (self.private.moved.dropped if self.private is not None else 0),
        }

    # The end

    def close(self, *, normal: bool = True, dropped: bool = False) -> None:
        """Finish, give the rest back, and let go of the store. A second call does nothing. Not `normal`: nothing is
        taken for done. `dropped`: nobody can use the queue any more."""
        if self.flags.closed:
            return
        self.flags.closed = True
        try:
            if not self.flags.forked:
                self.settle_owed()
                if normal:
                    self.finish(dropped=dropped)
        finally:
            if self.owned:
                try:
                    self._bind(self.store)  # whoever comes late must not come to a slot that is another queue's by then
                finally:
                    if dropped and self.private is not None:
                        self.private.drop()
                    else:
                        try:
                            self.store.close()
                        except PqadaptersError:
                            raise
                        except BaseException:  # not at once: an interrupt may come before `insist` has begun
                            insist(self.store.close)
                            raise
            else:
                self.release([claim for _, claim, _ in self.held.pop(self.held.snapshot())])
                self.release(self.aside.pop_all())
                self.store.wake(self.name)


def name_of(q: Any) -> str:
    """The queue's name in its store."""
    name: str = q._line.name
    return name


def weak(method: Callable[..., object]) -> Callable[..., None]:
    """The bound method, called while its object lives: whoever keeps it keeps nothing else."""
    ref = weakref.WeakMethod(method)

    def call(*args: Any) -> None:
        found = ref()
        if found is not None:
            found(*args)

    return call
