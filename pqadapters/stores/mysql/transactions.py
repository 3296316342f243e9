"""Carrying out works on the one connection that commits: several in a transaction, with one round trip and one sync.

A transaction has a number, which is stored with it. Where its answer is lost, with the connection, the number is looked
up on a new one before anything else is done: it was committed, and is done, or it wasn't, and can't be any more, since
the look itself has used the number up. A deadlock and a lost connection are a matter of time: another try, for as long
as the callers have. All of it with the line's lock held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...clock import SYSTEM
from ...errors import StoreError, StoreRefused, StoreUnreachable
from ...store import LOCK_TIMEOUT
from .._line import Line
from .._trouble import afresh
from .._work import OVER, Outcome, Work
from .driver import ERRORS
from .errors import (
    NO_ROOM,
    UNSURE,
    is_denied,
    is_lost,
    is_null,
    is_passing,
    is_refused,
    is_silent,
    number_of,
    overdue,
    translated,
    unknown,
    without_room,
)
from .owners import Owners
from .patience import Patience
from .schema import ALIVE
from .session import Finish, Plan, Session
from .wire import Dialer, Failed, Wire

_PER_TRANSACTION = 500  #: works
_SPARED = 5


class Part(Work):
    """`plan`, if it has one, is all that there is to do, unless it is done `exactly`, or the plan is old: then, and
    else, `run` is called with a Session. `prepare` comes first, with no transaction open."""

    spared = 0  #: how often it failed as if others had taken us for dead, and they hadn't

    def __init__(
        self, run: Callable[[Session], Any], *, timeout: float | None = None, stop: Callable[[], object] | None = None
    ) -> None:
        super().__init__(run, timeout=timeout)
        self.prepare: Callable[[], object] | None = None
        self.plan: Plan | None = None
        self.resigned = 0  #: how often others had taken us for dead when that was made
        self.may_go_on: Callable[[], object] = stop or (lambda: None)  #: raises what keeps it from being done
        self.power = False  #: its caller is promised that it survives a power cut
        self.refusable = True  #: it may fail behind changes of its own
        self.tried: BaseException | None = None  #: why it isn't done yet
        self.unsure = False  #: it may have been done
        self.asked = False  #: it was looked up behind its time
        #: given its result where it was done and its caller is gone; called with a transaction open, or none
        self.left: Callable[[Any], object] | None = None

    def refuse(self, error: Exception) -> None:
        if not self.unsure:
            self.result = None  # of a transaction that was undone: what it had claimed is for others
        super().refuse(error)


class Doubt:
    """A transaction whose answer isn't there. `owner`: our number then, which others may have taken for dead since, and
    whose it is: on another server it may be another process's."""

    def __init__(
        self, owner: int, whose: tuple[bytes, int], seq: int, outcome: Outcome, finish: Finish, batch: list[Part]
    ) -> None:
        self.owner = owner
        self.whose = whose
        self.seq = seq
        self.outcome = outcome
        self.finish = finish
        self.batch = batch


class Transactions(Line):
    """The connection, and what goes through it."""

    moment = 0.1  #: most transactions are over by then, and the next one is for all; else the server is away

    def __init__(self, dialer: Dialer, owners: Owners, rest: Callable[[float], float], patience: Patience) -> None:
        super().__init__("pqadapters.stores.mysql", dialer.address.place)
        self.place = dialer.address.place
        self._dialer = dialer
        self._owners = owners
        self._rest = rest
        self._patience = patience
        self.trouble: StoreError | None = None  #: why nothing goes any more
        #: called with each new connection: why what it commits may be gone in a power cut
        self.connected: Callable[[Wire], StoreError | None] = lambda wire: None
        self._weak: StoreError | None = None
        #: asked of each new connection: whether what is known of names is so there
        self.is_the_same: Callable[[Wire], bool] = lambda wire: True
        self.doubtful: Callable[[], object] = lambda: None  #: called when a caller was told that nobody knows
        self._wire: Wire | None = None
        self._named = 0  #: the number that it has the lock of
        self._doubt: Doubt | None = None
        self._busy = False  #: a transaction may be open
        self._proven = False  #: a transaction has gone through since the connection was last given up
        self._no_room = False  #: the server waited for space when the connection came; nothing has gone through since

    @property
    def in_doubt(self) -> bool:
        """Whether a transaction is to be looked up."""
        return self._doubt is not None

    def do(self, work: Work) -> Any:
        """As everywhere, in the time of the call that it is a step of."""
        end = self._patience.end
        if end is not None:
            work.deadline = min(work.deadline, end)
        return super().do(work)

    def overdue(self) -> StoreError:
        return overdue(self.place)

    def carry_out(self, batch: list[Any]) -> None:
        """Those whose time is over meanwhile are refused, and the others left for who leads next."""
        self._carry_out(batch[:_PER_TRANSACTION], exactly=False)

    def _carry_out(self, batch: list[Part], *, exactly: bool) -> bool:
        """False where the time of some was over before the server could do them."""
        pause = 0.0
        while batch := self._prepared([part for part in batch if not part.done and not part.abandoned]):
            try:
                self._attempt(batch, exactly)
                return True
            except Failed as error:
                if not self._is_for_another_try(batch, error, exactly):
                    return True
            except BaseException as error:
                if self._busy:  # of a signal handler: others are passing over what is locked here
                    self.disconnect_locked()
                elif isinstance(error, StoreRefused):  # a new connection isn't what it has to be
                    self._refuse(batch, error, error)
                    return True
                raise
            if self._refuse_late(batch):
                return False
            pause = self._rest(pause)
        return True

    def _prepared(self, batch: list[Part]) -> list[Part]:
        for part in batch:
            if self.trouble is not None:
                part.refuse(afresh(self.trouble))
            elif part.prepare is not None:
                try:
                    part.prepare()
                    part.prepare = None
                except Exception as error:
                    part.refuse(error)
                if self.trouble is not None and not part.done:  # it was this that has closed the store
                    part.outcome = OVER
        return [part for part in batch if not part.done]

    def _is_for_another_try(self, batch: list[Part], error: Failed, exactly: bool) -> bool:
        has_old_grants = is_denied(error) and self._proven
        self._undo(error)
        for part in batch:
            part.tried = error
        if is_lost(error) or is_passing(error) or has_old_grants:
            return True
        if is_null(error) and exactly:
            if not self._is_spared(batch):
                self._owners.resign()  # others have taken us for dead
            return True
        if exactly or (len(batch) == 1 and not is_null(error)):
            problem = translated(error, self.place)
            problem.__cause__ = error.error
            self._refuse(batch, error.error, problem)
            return False
        for part in batch:  # one of them may not be done: each by itself
            if not self._carry_out([part], exactly=True):
                break  # the others would wait as long, one behind the other: whoever leads next has them all at once
        return False

    def _is_spared(self, batch: list[Part]) -> bool:
        """Whether our number is good as far as can be seen: a server that is told to kill a query may end the one that
        moves its row on, and say nothing. Else we would give up all that we have claimed. Not for ever."""
        for part in batch:
            part.spared += 1
        try:
            return all(part.spared <= _SPARED for part in batch) and (
                self._wire is None or self._owners.is_known(self._wire)
            )
        except Failed:
            self.disconnect_locked()
            return True  # the next connection is asked

    def _refuse(self, batch: list[Part], error: Exception, problem: StoreError) -> None:
        """None of them can be done now, which says nothing of one that may have been done before."""
        doubt = unknown(self.place, error)
        doubt.__cause__ = error
        for part in batch:
            part.refuse(afresh(doubt if part.unsure else problem))
            if part.unsure:
                self.doubtful()

    def _refuse_late(self, batch: list[Part]) -> bool:
        """Whether there were any."""
        now = SYSTEM.monotonic()
        late = [part for part in batch if now >= part.deadline and not part.done and not self._asks_once_more(part)]
        for part in late:
            tried = part.tried
            problem = self._told(part)
            problem.__cause__ = getattr(tried, "error", tried)
            part.refuse(problem)
            if part.unsure:
                self.doubtful()
        return bool(late)

    def _told(self, part: Part) -> StoreError:
        """What its caller is told."""
        tried = part.tried
        if tried is None:
            return unknown(self.place, None) if part.unsure else self.overdue()
        if self._no_room and (is_lost(tried) or is_passing(tried)):
            return unknown(self.place, NO_ROOM) if part.unsure else without_room(self.place)
        return unknown(self.place, tried) if part.unsure else translated(tried, self.place)

    @staticmethod
    def _asks_once_more(part: Part) -> bool:
        """Whether a last try, behind its time, is to tell what has become of it: the server may take a new connection,
        unless it was silent."""
        if part.asked or not part.unsure or part.tried is None or is_silent(part.tried):
            return False
        part.asked = True
        return True

    def _attempt(self, batch: list[Part], exactly: bool) -> None:
        """One transaction. Raises Failed."""
        left = max(part.deadline for part in batch) - SYSTEM.monotonic()
        wire = self._ready(left)
        if self._doubt is not None:
            self._settle(wire, self._doubt)
            wire = self._ready(left)
            batch = [part for part in batch if not part.done]
        if not batch:
            return
        outcome, finish = Outcome(), Finish()
        session = Session(wire, self._owners.number, outcome)
        self._busy = True
        for part in batch:
            self._run(session, part, shared=len(batch) > 1, exactly=exactly)
            if not part.done:
                part.outcome = outcome
        if session.changes:
            self._commit(session, outcome, finish, batch)
        elif session.asked:
            wire.send([session.sql.ROLLBACK])  # what was looked at may have locks
        self._busy = False
        self._leave(batch, short=session.is_short)
        outcome.done = self._proven = True
        self._doubt, self._no_room = None, False

    @staticmethod
    def _leave(batch: list[Part], *, short: bool = False) -> None:
        """It is done. What was claimed for those who don't wait for it any more is left for others, by nobody else; and
        where it fell `short` of it all claims are: some of them aren't ours."""
        for part in batch:
            if part.left is not None and part.result and (short or part.done or part.abandoned):
                part.left(part.result)
                part.result = None

    def _run(self, session: Session, part: Part, *, shared: bool, exactly: bool) -> None:
        part.result, part.error = None, None  # of a transaction that was broken off
        saved, changed = False, session.changed
        exactly = exactly or part.resigned != self._owners.resigned
        try:
            part.may_go_on()
            if part.power and self._weak is not None:
                raise afresh(self._weak)
            if part.plan is None or exactly:
                if shared and part.refusable:
                    session.mark(session.sql.SAVE)
                    saved = True
                part.result = self._result(session, part)
        except Failed:
            raise
        except Exception as error:
            if session.wire.is_broken:
                raise  # a signal handler's, as any interrupt
            part.result, part.error = None, error
            if saved:
                session.mark(session.sql.UNDO)
            elif not shared:
                session.changes = False
            elif session.changed != changed:
                raise Failed(error) from error  # a signal handler's, half way: each by itself
        else:
            if part.plan is not None and not exactly:  # outside: what is raised here is a signal handler's
                part.result = [0] * part.plan.size
                session.add(part.plan, part.result)

    def _result(self, session: Session, part: Part) -> Any:
        """What it asks over other connections is asked once: all of this is tried again."""
        try:
            with self._patience.share(0.0):
                return part.run(session)
        except StoreUnreachable as error:
            if isinstance(error.__cause__, ERRORS):
                raise Failed(error.__cause__) from error
            raise

    def _commit(self, session: Session, outcome: Outcome, finish: Finish, batch: list[Part]) -> None:
        seq = self._owners.seq + 1
        self._doubt = Doubt(self._owners.number, self._owners.whose, seq, outcome, finish, batch)
        for part in batch:
            part.unsure = True
        try:
            session.commit(seq, finish)
        except Failed as error:
            if is_refused(error) or not (is_lost(error) or number_of(error) == UNSURE):
                self._doubt = None
                self._sure(batch)
            raise
        self._owners.seq = seq

    @staticmethod
    def _sure(batch: list[Part]) -> None:
        for part in batch:
            part.unsure = False

    def _settle(self, wire: Wire, doubt: Doubt) -> None:
        """Find out what became of it. An earlier connection that is still about it has the row, and is waited for."""
        self._busy = True  # an interrupt leaves an answer unread
        rows = wire.ask(wire.sql.SEQ, doubt.owner, *doubt.whose).rows
        seq, first, alive = rows[0] if rows else (None, 0, ALIVE)
        is_ours = doubt.owner == self._owners.number
        if seq == doubt.seq:
            doubt.finish.ids(int(first))
            if is_ours and alive == ALIVE:
                self._owners.seq = seq
                self._leave(doubt.batch)
            else:
                self._lose(doubt.batch)
            doubt.outcome.done = True
            self._doubt = None  # no call before it: who looks once more would take done works for left behind
        elif rows:
            wire.send([wire.sql.FENCE % (doubt.seq + 1, doubt.owner)])
            if is_ours:
                self._owners.seq = doubt.seq + 1
        wire.send([wire.sql.COMMIT])
        self._sure(doubt.batch)
        if not rows:  # we were away for so long that others have forgotten us
            for part in doubt.batch:
                if not part.done:
                    part.refuse(unknown(self.place, part.tried))
            if is_ours:
                self._owners.resign()
        self._busy, self._doubt = False, None

    @staticmethod
    def _lose(batch: list[Part]) -> None:
        """It is done, and others have taken us for dead since: what was claimed there is theirs."""
        for part in batch:
            if part.left is not None:
                part.result = None

    def _ready(self, left: float) -> Wire:
        seconds = max(left, LOCK_TIMEOUT)
        if self._busy or (self._wire is not None and self._wire.is_gone()):
            self.disconnect_locked()  # busy: an interrupt broke off its end, nobody knows where
        self._owners.present(left)
        if self._wire is None:
            self._wire = wire = self._dialer.dial(left, seconds)
            try:
                self._no_room = wire.waits_for_room()  # before who waits may be ended
                self._name(wire)
                known = self._doubt is not None or self._owners.is_known(wire)
                if not (known and self.is_the_same(wire)):
                    self._owners.resign()
                    self._owners.present(left)
                self._weak = self.connected(wire)
            except BaseException:
                self.disconnect_locked()
                raise
        wire = self._wire
        wire.give(seconds)
        if self._named != self._owners.number:
            self._name(wire)
        return wire

    def _name(self, wire: Wire) -> None:
        """No earlier connection of our number's is about anything from here on."""
        number = self._owners.number
        wire.alone(f"{self._owners.base}{number}-commits")
        self._named = number

    def _undo(self, error: BaseException | None) -> None:
        if error is not None and (is_lost(error) or is_denied(error)):  # another connection may have other grants
            self.disconnect_locked()
        elif self._wire is not None:
            try:
                self._wire.send([self._wire.sql.ROLLBACK])
            except Failed:
                self.disconnect_locked()
        self._busy = False

    def disconnect_locked(self) -> None:
        """The next transaction makes a connection anew."""
        if self._wire is not None:
            self._wire.drop()
        self._wire, self._busy, self._proven = None, False, False

    def close_locked(self) -> None:
        """Between two transactions, for good."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def begin_again(self) -> None:
        """In a forked child, whose parent has the connection."""
        self._wire, self._doubt, self._busy = None, None, False
        self.begin_line_again()
