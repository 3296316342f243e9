"""What becomes of the items that one handle has given out: done, given back, or nobody's yet.

`ack="auto"` learns here what the program means: see `policy.py`. Any thread may call anything; no lock is held across
a call of the store. An acknowledgement survives the process when it returns; a power cut may undo it: a redelivery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from ... import telling, wording
from ...apart import insist
from ...astray import give_back_later
from ...clock import SYSTEM
from ...errors import LeaseLost, PqadaptersError, StoreError, StoreLocked
from ...store import Ack, Claim, Nack, Op, Stop, Store
from .counts import Counts
from .held import Consumer, Entry, Held, Own, consumer
from .owed import Owed
from .policy import FETCHES, AckPolicy
from .stock import Stock

_AUTO, _NEXT, _TASK_DONE = AckPolicy.AUTO, AckPolicy.NEXT, AckPolicy.TASK_DONE  # an enum's attribute takes a search
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path
_log = telling.logger("pqadapters.queue")
_MOMENT = 0.1  #: seconds that who has looked waits for others' transactions; who claims waits as long as it may


class Acks(Stock):
    """The claims that a handle has on its queue's records, and its counts."""

    owed: Owed | None = None  #: where who says that an item is done can't wait for the store

    def __init__(self, store: Store, name: str, **options: Any) -> None:
        super().__init__(store, name, **options)
        self.auto = self.policy is AckPolicy.AUTO
        self.begin_counting()

    def begin_counting(self) -> None:
        """Nothing is held by anybody yet."""
        self.held, self.counts = Held(), Counts(self.flags)
        self.fetched = 0  #: items handed out while nothing was learnt, by their weight
        self.unkept = False  #: what was learnt isn't stored yet
        if self.owed is not None:
            self.owed.take()  # the parent's, in a forked child

    # What is learnt

    def recall(self, word: object) -> None:
        """What an earlier run or another handle has learnt holds here, too. "task_done" is for good."""
        if self.auto and self.policy is not AckPolicy.TASK_DONE and word in ("task_done", "next"):
            self.policy = AckPolicy(word)
            self.counts.settle_elsewhere(stands=self.policy is AckPolicy.TASK_DONE)

    def learn(self, policy: AckPolicy) -> None:
        """Settle what acknowledges an item here, for this run and later ones."""
        self.policy, self.unkept = policy, True
        self.counts.settle_elsewhere(stands=policy is AckPolicy.TASK_DONE)
        _log.info("%s: an item is done %s", self.label, policy.meaning)

    def _settle_on_next(self) -> None:
        """There was no task_done() here. Another handle or process may have learnt meanwhile that there are."""
        self.recall(self.learnt())
        if self.policy is AckPolicy.AUTO:
            self.learn(AckPolicy.NEXT)

    def keep(self, timeout: float | None = None) -> None:
        """Store what was learnt with the queue; never in the way of what taught it. With a `timeout`, what
        keeps it from that is raised, as one of `owed.AWAY`: it is to be tried again."""
        self.keep_learnt(self.policy.value, timeout)
        self.unkept = False

    def keep_learnt(self, word: str, timeout: float | None) -> None:
        """Store the word; "next" never in place of "task_done"."""
        raise NotImplementedError

    def learnt(self) -> object:
        """The word that is stored, if any."""
        raise NotImplementedError

    def ask(self, own: Own, who: Consumer) -> list[tuple[Consumer, Claim, Any]]:
        """A consumer asks for its next item. Under "next" what it had is done: the caller is to acknowledge what is
        returned. Under "auto" it may turn out to be."""
        if self.policy is _NEXT:
            entries = own.pop_all(who)
            return self._with_left_behind(entries) if self.held.crowded else entries
        elif self.policy is _AUTO:
            own.asked = own.newest()
            if self.fetched >= FETCHES:
                self._ask_once_more()
        return []

    def _with_left_behind(self, entries: list[tuple[Consumer, Claim, Any]]) -> list[tuple[Consumer, Claim, Any]]:
        """And what a thread or task for each item had: it has ended, and will never ask for the next one."""
        try:
            entries += self.held.pop(self.held.left_behind())
            self.held.sweep()
        except BaseException:  # of a signal handler
            self._restore(entries)
            raise
        return entries

    def _ask_once_more(self) -> None:
        self.fetched = self.held.weight()  # what was given back teaches nothing
        if self.fetched < FETCHES:
            return
        self._settle_on_next()
        if self.unkept:
            self.keep()
        if self.policy is AckPolicy.NEXT:
            self.ack_all_of(lambda: self.held.pop(self.held.passed()))

    def _ack_handed(self, acks: Sequence[Ack]) -> set[int]:
        self.counts.add(handed=len(acks))  # before the commit: a joiner must never see one task too few
        try:
            lost = self._commit_acks(acks)
        except BaseException:
            self.counts.add(handed=-len(acks))
            raise
        self.counts.add(handed=-len(lost))
        return lost

    def _ack_seen(self, seen: Claim) -> bool:
        """Acknowledge a record that was looked at; False where it isn't as it was, or others have the store locked."""
        self.counts.add(handed=1)
        try:
            self.commit(Ack(seen), timeout=_MOMENT)
        except BaseException as error:
            self.counts.add(handed=-1)
            if not isinstance(error, (LeaseLost, StoreLocked)):
                raise
            return False
        return True

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

    def ack_entries(self, entries: list[tuple[Consumer, Claim, Any]]) -> None:
        self.ack_all_of(lambda: entries)

    def ack_all_of(self, take: Callable[[], list[tuple[Consumer, Claim, Any]]]) -> None:
        """Acknowledge what is taken out of somebody's hands; there it is again if that is refused or interrupted."""
        entries = take()
        try:
            if entries:
                self._ack_handed([_new(Ack, (claim, True)) for _, claim, _ in entries])
        except BaseException:  # what was done nevertheless is passed over when it comes again
            self._restore(entries)
            raise

    def claim_with(self, entries: list[tuple[Consumer, Claim, Any]], timeout: float | None, stop: Stop) -> list[Claim]:
        """The first record by the queue's order, and with it these acknowledgements."""
        self.counts.add(handed=len(entries))  # before the commit: a joiner must never see one task too few
        try:
            return self.claim(
                self.name,
                order=self.order,
                timeout=timeout,
                stop=stop,
                counted=self.counted,
                acks=[_new(Ack, (claim, True)) for _, claim, _ in entries],
            )
        except BaseException:  # they are the caller's to have again
            self.counts.add(handed=-len(entries))
            raise

    def _restore(self, entries: list[tuple[Consumer, Claim, Any]]) -> None:
        self.held.restore_all(entries)

    # Done

    def done(self) -> bool:
        """Acknowledge the caller's oldest item, or count one off that was when it was handed out; False if none."""
        if self.policy is not _TASK_DONE and self.auto and not self._is_elsewhere():
            self.learn(_TASK_DONE)
        if self.counts.handed and self.counts.take_handed():
            self.wake_joiners()
            return True
        own = self.held.by.get(me := consumer())
        while own is not None and (entry := own.first()) is not None:
            claim, item = entry
            ack = _new(Ack, (claim, True))
            try:
                if own.pop(claim[1], None) is not None:  # else another thread covered or finished it just now
                    if self.owed is None:
                        self.commit(ack)
                    else:
                        self.owed.end(ack)
                    return True
            except BaseException as error:
                self._after(error, ack, me, item)
                raise
        return False

    def done_exactly(self, item: object) -> None:
        """Acknowledge exactly this item. Raises ValueError if nobody holds it."""
        if self.auto and self.policy is not AckPolicy.TASK_DONE:
            self.learn(AckPolicy.TASK_DONE)
        if self._end_one(self.held.matching(item), lambda claim: Ack(claim, lazy=True)):
            return
        if self.counts.take_handed():
            self.wake_joiners()
        else:
            raise ValueError(f"nobody holds {wording.excerpt_of(item)} of {self.label}")

    def _end_one(self, found: Iterable[Entry], how: Callable[[Claim], Ack | Nack]) -> bool:
        """What `how` says ends the first of them that nobody else has ended just now; False if there is none."""
        for who, own, claim, item in found:
            end = how(claim)
            try:
                if own.pop(claim.id, None) is not None:
                    if self.owed is None:
                        self.commit(end)
                    else:
                        self.owed.end(end)
                    return True
            except BaseException as error:
                self._after(error, end, who, item)
                raise
        return False

    def _after(self, error: BaseException, end: Ack | Nack, who: Consumer, item: object) -> None:
        """The end of a claim was refused, and the item is held as before; or interrupted, and is made up for."""

        def make_up_for() -> None:
            try:
                self.commit(end)
            except LeaseLost:  # it had happened already
                pass
            except PqadaptersError:
                self.held.restore(who, end.claim, item)

        if not isinstance(error, PqadaptersError):
            self.held.by.get(who, Own()).pop(end.claim.id, None)
            if self.owed is None or not self.owed.owe(end):
                insist(make_up_for)
        elif not isinstance(error, LeaseLost):
            self.held.restore(who, end.claim, item)

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

    def settle_lease(self, lent: Own) -> None:
        """The end of a lease that went well."""
        for claim, _ in list(lent.values()):
            self._surely(Ack(claim, lazy=True))
            lent.pop(claim.id)

    def end_lease(self, lent: Own) -> None:
        """The end of one that didn't. Once more does nothing."""
        for claim, _ in list(lent.values()):
            self.release([claim])
            lent.pop(claim.id)

    def done_for_another(self) -> int:
        """Count a task_done() of a caller that holds nothing. Returns how many such calls waited for more of them.

        Raises ValueError if nothing is unfinished; where covered items can't be acknowledged, the call isn't counted.
        """
        if self.auto and self.policy is not _TASK_DONE and self._done_elsewhere():
            return 0
        if self.unfinished() <= (self.owed.done if self.owed else 0):
            raise ValueError("task_done() called too many times")
        term = "uncovered" if (covered := self.counts.cover(len(self.held))) else "adjustment"
        waited = self.counts.uncovered
        try:
            self.settle()
        except PqadaptersError:
            self.counts.add(**{term: -1 if covered else 1})
            raise
        return waited

    def _is_elsewhere(self) -> bool:
        """Whether what a task_done() is for must have been handed out by another process, if by any."""
        return not (self.store.capabilities.exclusive or len(self.held) or self.counts.handed)

    def _done_elsewhere(self) -> bool:
        """A task_done() of a process that holds nothing, such as one that is sent the results, teaches nothing about
        those that do: what they hold would never be done. While nothing is learnt it is counted beside their records;
        where they turn out to mean "next", the records alone count. False where it is to be counted as any other."""
        # The depth first: who has learnt "next" says so before it acknowledges anything.
        depth = self.store.depth(self.name, age=False)
        self.recall(self.learnt())
        if self.policy is AckPolicy.AUTO:
            if not depth.claimed:
                return False
            self.counts.add(elsewhere=1)  # also beyond these: what a process held that was killed comes again
        self.wake_joiners()
        return self.policy is not _TASK_DONE

    def _recall_for_elsewhere(self) -> None:
        """Behind a look at the depth, as in `_done_elsewhere`: what those calls are for may be learnt by now."""
        if self.counts.elsewhere and not self.flags.closed:
            self.recall(self.learnt())

    def settle_later(self, timeout: float | None = None) -> None:
        """`settle`, behind an acknowledgement that went well: a refusal of the disk is left to the next call. `timeout`
        is `keep`'s."""
        if self.unkept:
            self.keep(timeout)
        if self.counts.owing:
            try:
                self.settle()
            except StoreError as error:
                _log.warning("items of %s that others reported done can't be acknowledged yet: %s", self.label, error)

    def settle(self) -> None:
        """After a task_done(): acknowledge everything if all of it is covered by calls, and forget a debt."""
        outstanding = self.held.snapshot()
        if outstanding and self.counts.uncovered >= len(outstanding):
            self._ack_covered(outstanding)
        if self.counts.adjustment < 0:
            self.store.wait(self.name, self.counts.level, 0.0)
        self.wake_joiners()

    def _ack_covered(self, outstanding: list[tuple[Consumer, int]]) -> None:
        entries, counted = self.held.pop(outstanding), False
        try:
            self.counts.add(uncovered=-len(entries))
            counted = True
            self._end_covered([Ack(claim, lazy=True) for _, claim, _ in entries])
        except PqadaptersError:
            self.counts.add(uncovered=len(entries))
            self._restore(entries)
            raise
        except BaseException:  # of a signal handler: it has happened, as in _surely
            if not counted:
                self.counts.add(uncovered=-len(entries))
            insist(lambda: self._commit_acks([Ack(claim, lazy=True) for _, claim, _ in entries]))
            raise

    def _end_covered(self, acks: Sequence[Ack]) -> None:
        if self.owed is None:
            self._commit_acks(acks)
            return
        for ack in acks:
            with suppress(LeaseLost):
                self.owed.end(ack)

    def wake_joiners(self) -> None:
        if self.counts.joining:
            self.store.wake(self.name)

    def unfinished(self) -> int:
        depth = self.store.depth(self.name, age=False)  # before the counts are read, see counts.py
        self._recall_for_elsewhere()
        raw = self.counts.raw(depth)
        if raw < 0:
            self.store.wait(self.name, self.counts.level, 0.0)
        return max(raw, 0)

    def join(self) -> None:
        self.store.depth(self.name, age=False)  # what earlier runs left is to be done, too
        self._recall_for_elsewhere()
        self.counts.add(joining=1)
        try:
            policy = None
            while policy is not self.policy:  # else calls were counted that have meant nothing since
                policy = self.policy
                self.store.wait(self.name, self.counts.finished)
                self._recall_for_elsewhere()
        finally:
            self.counts.add(joining=-1)
        if self.flags.closed:
            raise self.ending()

    def nack(self, *item: object, delay: float) -> None:
        """Give the caller's oldest item back, or this one; ready again in `delay` seconds. ValueError if not held."""
        if not delay >= 0.0:  # not a number isn't either
            raise ValueError(f"delay is in seconds from now, 0 or more, not {delay!r}")
        not_before = SYSTEM.wall() + delay if delay else 0.0
        found = self.held.matching(item[0]) if item else self.held.oldest()
        if not self._end_one(found, lambda claim: Nack(claim, not_before=not_before)):
            raise ValueError(f"nobody holds {wording.excerpt_of(item[0]) if item else 'an item'} of {self.label}")

    # The end

    def settle_owed(self) -> None:
        """What was said to be done and isn't stored yet, whatever else comes of the end. Never raises."""
        if self.owed is None:
            return
        try:
            self.owed.settle()
        except PqadaptersError as error:
            _log.warning("%s: what was done last can't be acknowledged, and comes again: %s", self.label, error)
            left = self.owed.take()
            if not self.owned:  # else they end with the store
                give_back_later(self.store, [end.claim for end in left])

    def finish(self, *, dropped: bool = False) -> None:
        """A normal end: under "next" what was handed out is done, save what another live thread (the main one aside)
        still works on, or a task that was cancelled did; under "auto" this is what the program turns out to mean, if it
        took anything and never called task_done(). `dropped`: nobody that lives can ask for the next item any more."""
        if self.policy is AckPolicy.AUTO and len(self.held):
            self._settle_on_next()
        if self.unkept:
            self.keep()
        if self.policy is AckPolicy.NEXT:
            working = self.held.cut_off() | (frozenset() if dropped else self.held.still_working())
            entries = self.held.pop(self.held.snapshot(but=working) + self.held.passed(working))
            try:
                if entries:  # counted: a JoinableQueue's task_done() may come behind its close()
                    self._ack_handed([Ack(claim, lazy=True) for _, claim, _ in entries])
            except BaseException:
                self._restore(entries)
                raise
