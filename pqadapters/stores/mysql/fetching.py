"""A handle's claims, of what is asked for and of what will be: how many that is, where they are kept, what an interrupt
leaves of them."""

from __future__ import annotations

from collections.abc import Sequence

from ...clock import SYSTEM
from ...store import LOCK_TIMEOUT, Ack, Claim, Extend, Nack, Op, Put, Update, acknowledge, dead_queue
from .._bells import Bell
from .._handle import Handle, Wish
from .._line import LATE
from .changes import Changes
from .claims import ManyDue, Take
from .core import Core
from .fetched import Fetched, undo
from .looks import Looks
from .session import Session
from .transactions import Part


class Fetching(Handle):
    """What a store's handle has of it. `_begin_fetching` comes behind `_begin`."""

    _core: Core
    _ahead: Fetched
    _looks: Looks
    _dues: dict[str, float | None]  #: when delayed records of queues are ready that were just looked at
    _tried: set[str]  #: queues whose last attempt was more than a look

    def _begin_fetching(self, prefetch: int | None) -> None:
        """`prefetch`: how many a claim takes; None for what turns out to be used up in a moment."""
        self._ahead = self._core.aheads.add(self._handle, prefetch)
        self._goes_ahead = prefetch != 1
        self._dues = {}
        self._tried = set()

    # Ahead

    def _attempt_ahead(self, wish: Wish, acks: Sequence[Ack]) -> list[Claim] | None:
        core, ahead = self._core, self._ahead
        if ahead.is_past(wish.queue, core.process, core.clock.wall, core.owners.lease):
            self._give_back_ahead()
        claims = super()._attempt_ahead(wish, acks)
        try:
            if not ahead.is_empty(core.process):
                core.keeper.watch()
        except BaseException:
            self._orphan(claims or [])
            raise
        return claims

    def _fetch(self, wish: Wish, acks: Sequence[Ack]) -> list[Claim] | None:
        ahead, parts, me = self._ahead, list[Part](), object()
        try:
            most = self._how_many(wish.queue, me)
            claims = self._attempt_now(wish._replace(limit=most), acks, parts)
            if not claims:
                return claims
            ahead.pace(wish.queue).begin(most, first=ahead.fetcher is me)
            return self._keep_rest(wish.queue, claims)
        except BaseException:
            ahead.pace(wish.queue).begin(1)  # what failed for many may go for one
            for part in parts:
                self._leave(part)
            raise
        finally:
            if ahead.fetcher is me:
                ahead.fetcher = None

    def _how_many(self, queue: str, me: object) -> int:
        ahead = self._ahead
        if not ahead.adaptive:
            return self._prefetch
        if ahead.fetcher is not None:
            return 1
        ahead.fetcher = me
        core = self._core
        return ahead.pace(queue).wanted() if core.aheads.is_alone(queue) and core.names.is_plain(queue) else 1

    def _settle_ahead(self) -> None:
        self._core.aheads.settle(self._ahead)

    def _give_back_ahead(self) -> None:
        self._core.aheads.give_back(self._ahead)

    # Now

    def _attempt_now(self, wish: Wish, acks: Sequence[Ack], parts: list[Part] | None = None) -> list[Claim] | None:
        """As everywhere. `parts` gets what is carried out, for who sees to an interrupt by himself."""
        queue, stop = wish.queue, wish.stop
        core = self._core
        bell = core.bells.of(queue)
        if core.writer.in_the_middle():
            if acks:
                self.commit(*acks)
            return []  # in the middle of another call of this thread: there is no waiting for it
        core.aheads.come(queue, self._handle)
        self._dues.pop(queue, None)
        self._tried.discard(queue)
        if core.names.queue(queue) is None or (bell.dry and self._is_dry(queue, wish.patience)):
            if acks:
                acknowledge(self, acks)
            core.lookout.ensure()  # what the dead had claimed is there the next time
            return [] if stop is not None and stop() else None
        self._tried.add(queue)
        try:
            return self._do(wish, acks, parts)
        except ManyDue:
            self._mature(wish)
            return self._do(wish, acks, parts, many=True)

    def _mature(self, wish: Wish) -> None:
        """Make ready what is due in several transactions, between which others get on."""
        core = self._core

        def run(session: Session) -> bool:
            number = core.names.queue(wish.queue)
            return number is not None and Take(session, core.names, core.clock.wall()).mature_some(number)

        while core.writer.do(Part(run, timeout=wish.patience)) is True:
            core.bells.ring(wish.queue)

    def _do(
        self, wish: Wish, acks: Sequence[Ack], parts: list[Part] | None, *, many: bool = False
    ) -> list[Claim] | None:
        """Claim, in a transaction. Raises ManyDue, unless `many`."""
        ahead = parts is not None and self._ahead.adaptive and wish.limit > 1
        part = self._claiming(wish, acks, ahead, many)
        if parts is not None:
            parts.append(part)
        try:
            result = self._core.writer.do(part)
            return [] if result is LATE else self._taken(wish.queue, self._core.bells.of(wish.queue), result, acks)
        except BaseException:
            if parts is None:
                self._leave(part)
            raise

    def _taken(self, queue: str, bell: Bell, claims: list[Claim] | None, acks: Sequence[Ack]) -> list[Claim] | None:
        """What was claimed, once others have been told."""
        core = self._core
        core.keeper.ensure()
        self._ring(acks)
        bell.dry = not claims
        if claims:
            core.bells.ring(queue, 1)  # there may be more
        else:
            core.lookout.ensure()
        return claims

    def _leave(self, part: Part) -> None:
        """An exception takes its caller away: nobody would have what it has claimed."""
        if not part.done:
            self._core.keeper.call()  # where it is in doubt, that is looked up now, and `left` called
        elif part.error is None and part.result:
            claims, part.result = part.result, None
            self._orphan(claims)

    def _orphan(self, claims: list[Claim]) -> None:
        self._ahead.orphan(claims)
        self._core.keeper.watch()

    def _is_dry(self, queue: str, patience: float | None) -> bool:
        if self._core.aheads.hides(queue, self._handle):
            return False
        self._core.looked[queue] = SYSTEM.monotonic()
        ready, self._dues[queue] = self._looks.any_ready(queue, LOCK_TIMEOUT if patience is None else patience)
        return not ready

    def _is_passed_over(self, wish: Wish) -> bool:
        """Whether there is a record to claim which nobody has claimed, behind a claim that has found none: what another
        transaction has locked, if only to look at it, is passed over."""
        if wish.ids is not None or wish.queue not in self._tried:
            return False
        return self._looks.any_ready(wish.queue, LOCK_TIMEOUT if wish.patience is None else wish.patience)[0]

    def _claiming(self, wish: Wish, acks: Sequence[Ack], ahead: bool, many: bool = True) -> Part:
        queue, order, ids, limit, stop, _, patience = wish
        core = self._core

        def run(session: Session) -> list[Claim] | None:
            now = core.clock.wall()
            if acks:
                Changes(session, core.names, self._handle, now).ack_if_held(acks)
            if stop is not None and stop():
                return []
            number = core.names.queue(queue)
            if number is None:
                return None
            given_back = core.aheads.make_way(session, queue, self._handle)
            take = Take(session, core.names, now, many=many)
            try:
                if not ahead:
                    return take.claim(queue, number, order, ids, limit, self._handle) or None
                claims = take.some(queue, number, limit, self._handle)
                self._ahead.note_due(queue, take.due)
                return claims or None
            except Exception:
                undo(given_back)  # others' parts of the transaction may be done
                raise

        part = Part(run, timeout=patience, stop=lambda: self._may_go_on(None))
        part.refusable = bool(acks)
        part.left = self._orphan
        return part

    def _ring(self, ops: Sequence[Op]) -> None:
        """Tell who waits for these queues in this process; those in others look for themselves."""
        bells, puts = self._core.bells, dict[str, int]()
        for op in ops:
            if isinstance(op, Put):
                puts[op.queue] = puts.get(op.queue, 0) + 1
            elif isinstance(op, Ack):
                bells.ring(op.claim.queue, 0)
            elif isinstance(op, (Nack, Update, Extend)):
                bells.ring(op.claim.queue)
                if isinstance(op, Nack) and op.dead is not None:
                    bells.ring(dead_queue(op.claim.queue))
        for queue, ready in puts.items():
            bells.ring(queue, ready)
