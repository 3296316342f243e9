"""Executors of several processes on one store: who lives, and how an outcome gets to who waits for it.

Each backlog has a record in the queue of members, which it keeps claimed: the claim ends with its process, so records
that are ready there are those of dead ones, or of such as a server takes for dead, which come back. A server's are put
off at first, with a note, and cleaned up after when they are ready again: until then outcomes are kept for them.
Outcomes for a backlog go to a queue of its own, in the same commit as the acknowledgement of the job. Who waits for a
job that somebody else has submitted enters its name in the table of watchers; the end of a job is committed on the
condition that nobody has entered meanwhile.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from .... import telling
from ....clock import SYSTEM
from ....ending import enduring, start_thread
from ....errors import FOR_GOOD, ConditionFailed, LeaseLost, StoreError
from ....store import Ack, Claim, Delete, Expect, Nack, Op, Put, Record, Set, State, Store, acknowledge
from .._backlog.finishing import hear
from .._jobs import wire
from .doubts import Doubts

if TYPE_CHECKING:
    from .._backlog.backlog import Backlog

_log = telling.logger("pqadapters.executor")
_MANY = 500
_LOOK = 5.0  #: seconds between two looks whether we are a member still, where a live process may be taken for dead
_AWAY = 600.0  #: seconds for which outcomes are kept for a process that a server takes for dead
_REFUSED = 1.0  #: seconds between two tries while the store refuses
_TOKEN = 8


class Sharing:
    """A backlog's part in a store that processes share."""

    def __init__(self, backlog: Backlog, store: Store) -> None:
        self._store, self._names = store, backlog.names
        self._ended = False
        self._look_at = 0.0
        self._robbable = store.capabilities.hosts  #: a live process may be taken for dead
        self._doubts = Doubts()
        self._was_unknown = False  #: others have cleaned up after us, or were about to
        self._dead: list[Claim] = []  #: members that we are to see to
        self._told: list[Claim] = []  #: outcomes that are to be heard
        self._heard: list[Claim] = []  #: those that weren't acknowledged yet
        self._clean_up()
        while True:
            self._token = backlog.token
            record = store.commit(Put(self._names.members, self._token))[0]
            self._member = store.claim(self._names.members, ids=[record])
            if self._member:
                break
            # Another one that begins just now took us for dead, and cleans up what has our name: take another one.
            backlog.token = os.urandom(_TOKEN)
        self._mine = backlog.names.outcomes(self._token)
        self._backlog = weakref.ref(backlog)
        listen = enduring(self._listen)
        self.thread = threading.Thread(target=listen, name="pqadapters-executor-outcomes", daemon=True)
        try:
            start_thread(self.thread)
        except BaseException:  # else others leave jobs to a member that does none
            self.close()
            raise

    def _clean_up(self) -> None:
        """What is left of members that are dead."""
        self._dead += self._store.claim(self._names.members, limit=_MANY)
        while self._dead:
            with suppress(LeaseLost):
                self._see_to(self._dead[-1])
            self._dead.pop()

    def _see_to(self, dead: Claim) -> None:
        if self._robbable and not dead.note:
            later = SYSTEM.wall() + _AWAY
            self._store.commit(Ack(dead), Put(dead.queue, dead.payload, not_before=later, note="taken for dead"))
            return
        queue, is_back = self._names.outcomes(dead.payload), self._is_known(dead.payload, but=dead.id)
        if not is_back:
            self._empty(queue)
        self._store.commit(Ack(dead))
        if not is_back:
            self._empty(queue)  # of what was told meanwhile

    def _empty(self, queue: str) -> None:
        while claims := self._store.claim(queue, limit=_MANY):
            self._store.commit(*(Ack(claim, lazy=True) for claim in claims))

    def lives(self, token: bytes) -> bool:
        """Whether the member of that token lives."""
        return any(each.payload == token for each in self._claimed_members())

    def is_alone(self) -> bool:
        """Whether no other member lives, who would see to the jobs of others."""
        return not any(each.payload != self._token for each in self._claimed_members())

    def _is_known(self, token: bytes, but: int) -> bool:
        """Whether there is a member of that token, be it one that is taken for dead and may come back."""
        members = self._store.browse(self._names.members, state=None)
        return any(each.payload == token and each.id != but for each in members)

    def doubt(self, id: bytes) -> None:
        """A claim is lost: another process has brought the job to its end, or will."""
        if self._robbable:
            self._doubts.about(id)

    def _look(self, backlog: Backlog, *, heard_all: bool) -> None:
        """Be a member again, should others have taken us for dead; and see to those that are."""
        self._stay()
        if self._was_unknown:
            self._was_unknown = False
            self._doubts.about_all(backlog)
        self._clean_up()
        if heard_all:
            self._doubts.look(backlog)

    def _stay(self) -> None:
        """Be a member again."""
        members = self._store.browse(self._names.members, state=None)
        ours = [each for each in members if each.payload == self._token]
        held = {(each.id, each.attempts) for each in ours if each.state is State.CLAIMED}
        if any((claim.id, claim.attempt) in held for claim in self._member):
            return
        ids = [each.id for each in ours if each.state is State.READY and not each.note]
        member = self._store.claim(self._names.members, ids=ids) if ids else []
        if not member:
            self._was_unknown = True  # or will be, to who cleans up just now
            ids = [self._store.commit(Put(self._names.members, self._token))[0]]
            member = self._store.claim(self._names.members, ids=ids)
        self._member = member or self._member
        if self._ended:  # meanwhile
            self.close()

    def _claimed_members(self) -> Iterator[Record]:
        return self._store.browse(self._names.members, state=State.CLAIMED)

    def tell(self, id: bytes, outcome: bytes, flags: int, *, watched: bool) -> list[Op]:
        """What tells everybody who waits for the job, but for this process. Not `watched`: as for a job that nobody has
        asked for, which nearly all are; should somebody have, it is refused with ConditionFailed."""
        names = self._store.get(self._names.watchers, id) if watched else None
        ops: list[Op] = [Delete(self._names.watchers, id, names if names is not None else Expect.ABSENT)]
        tokens = {id[:_TOKEN]} if flags & wire.REPLY else set()
        tokens |= set(_tokens(names))
        ops += [Put(self._names.outcomes(token), id + outcome) for token in self._waiting(tokens - {self._token})]
        return ops

    def _waiting(self, tokens: Collection[bytes]) -> list[bytes]:
        """Those of them that live; or may come back."""
        if not tokens:
            return []
        state = None if self._robbable else State.CLAIMED
        members = {each.payload for each in self._store.browse(self._names.members, state=state)}
        return [token for token in tokens if token in members]

    def watch(self, id: bytes) -> None:
        """From now on this process is told of the job's end; a job may be waited for by one process after the other."""
        while True:
            names = self._store.get(self._names.watchers, id)
            tokens = _tokens(names)
            if self._token in tokens:
                return
            if not self._robbable:  # who comes back after all is told of what it has waited for
                tokens = self._waiting(tokens)
            expect = Expect.ABSENT if names is None else names
            with suppress(ConditionFailed):
                self._store.commit(Set(self._names.watchers, id, b"".join([*tokens, self._token]), expect))
                return

    def watch_no_more(self, id: bytes) -> None:
        """The job had come to its end before we began, so its end takes our name away no more. Raises StoreError."""
        while (names := self._store.get(self._names.watchers, id)) is not None and self._token in _tokens(names):
            left = b"".join(token for token in _tokens(names) if token != self._token)
            change = Set(self._names.watchers, id, left, names) if left else Delete(self._names.watchers, id, names)
            with suppress(ConditionFailed):
                self._store.commit(change)

    def watch_all(self, ids: list[bytes]) -> None:
        """The same for many jobs."""
        for first in range(0, len(ids), _MANY):
            some = ids[first : first + _MANY]
            try:
                self._store.commit(*(Set(self._names.watchers, id, self._token, Expect.ABSENT) for id in some))
            except ConditionFailed:  # others wait for one of them, or we do
                for id in some:
                    self.watch(id)

    def _listen(self) -> None:
        look, pause, told = _LOOK if self._robbable else None, threading.Event(), False
        while not self._is_over():
            try:
                self._hear_some(look)
                told = False
            except LeaseLost:
                pass  # we were taken for dead, and are told again
            except MemoryError:
                raise  # see `enduring`
            except Exception as error:  # a signal handler's, too, in another thread that had a work of ours in hand
                for_good = isinstance(error, FOR_GOOD)
                if not (self._ended or told):
                    how = "any more" if for_good else "for now"
                    jobs = self._names.jobs
                    _log.warning("outcomes of other processes in %s aren't heard of %s: %s", jobs, how, error)
                if for_good:
                    return
                told = True
                pause.wait(_REFUSED)

    def _hear_some(self, look: float | None) -> None:
        left = None if look is None else max(0.0, self._look_at - SYSTEM.monotonic())
        if not self._told:
            self._told = self._store.claim(self._mine, limit=_MANY, timeout=left, stop=self._is_over)
        backlog = self._backlog()
        if backlog is None:
            return
        heard_all = not self._told
        self._hear_told(backlog)
        self._forget_heard()
        if look is not None and SYSTEM.monotonic() >= self._look_at and not self._ended:
            self._look(backlog, heard_all=heard_all)
            self._look_at = SYSTEM.monotonic() + look

    def _hear_told(self, backlog: Backlog) -> None:
        """Each stays where it is until it was heard: nobody else has it."""
        while self._told:
            claim = self._told[0]
            try:
                hear(backlog, claim.payload[:16], claim.payload[16:])
            except Exception:
                raise
            except BaseException:  # this thread is nobody's to end
                _log.critical("a job's end can't be told: its future's callback has raised", exc_info=True)
            self._heard.append(claim)
            self._told.pop(0)

    def _forget_heard(self) -> None:
        """Raises StoreError: then it is tried again."""
        if claims := self._heard.copy():
            acknowledge(self._store, [Ack(claim, lazy=True) for claim in claims])
            for claim in claims:
                with suppress(ValueError):  # who closes it has done so just now
                    self._heard.remove(claim)

    def _is_over(self) -> bool:
        return self._ended or self._backlog() is None

    def close(self) -> None:
        """Take part no more."""
        self._ended = True
        with suppress(StoreError, LeaseLost):
            self._store.wake(self._mine)
            self._store.commit(*(Ack(claim) for claim in self._member))
            self._forget_heard()
            self._empty(self._mine)
        for dead in self._dead.copy():
            with suppress(StoreError, LeaseLost):
                self._store.commit(Nack(dead))


def _tokens(names: bytes | None) -> list[bytes]:
    """Those in an entry of the table of watchers."""
    return [names[at : at + _TOKEN] for at in range(0, len(names), _TOKEN)] if names else []
