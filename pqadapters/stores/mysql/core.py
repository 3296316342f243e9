"""What the handles of one process on one store share: the connections, who waits, the process's own number."""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from itertools import count
from typing import Any

from ... import telling
from ...clock import SYSTEM, Clock, spread
from ...errors import StoreClosed, StoreError, StoreRefused
from ...store import LOCK_TIMEOUT, Claim
from .._ahead import Ahead
from .._bells import Bells
from .._cores import Cores
from .._handle import Token
from .._line import LATE
from .address import Address
from .aheads import Aheads
from .create import check_power, prepare
from .errors import is_lost, translated
from .keeper import Keeper
from .lookout import Lookout
from .names import Names
from .owners import Owners, any_claimed, give_back
from .reader import Reader
from .schema import Statements, held_by
from .session import Session
from .transactions import Part, Transactions
from .wire import Dialer, Failed, Wire

logger = telling.logger("pqadapters.stores.mysql")
_SHORTEST, _LONGEST = 0.002, 0.25  #: seconds between two tries
_AGREE = 1.0  #: seconds by which clocks differ that are kept right
_TIMES = ("put_at", "not_before")


def rest(pause: float) -> float:
    """Sleep about so long in seconds; the next pause."""
    if pause:
        time.sleep(spread(0.5 * pause, 1.5 * pause))
    return min(max(pause * 2, _SHORTEST), _LONGEST)


class ServerClock(Clock):
    """The server's time, as well as it is known here: hosts whose clocks differ or jump agree on what is due."""

    def __init__(self, known: Owners | Wire) -> None:
        self._known = known

    def wall(self) -> float:
        return SYSTEM.monotonic() + self._known.ahead

    def beside(self) -> float:
        """Seconds that it is ahead of this host's clock, by which callers name times; 0 where they agree."""
        ahead = self.wall() - Clock.wall()
        return ahead if abs(ahead) >= _AGREE else 0.0


def moved(thing: Any, seconds: float) -> Any:
    """An op, a claim or a record with its times by a clock that is so far ahead."""
    times = {name: getattr(thing, name) + seconds for name in _TIMES if seconds and getattr(thing, name, 0.0)}
    return thing._replace(**times) if times else thing


class Core:
    """A store that is open. Any thread may call any method."""

    def __init__(self, address: Address, lease: float, clock: Clock | None, power: bool) -> None:
        self.place = address.place
        self.process = os.getpid()
        self.handles = weakref.WeakSet[Token]()
        self.numbers = count(1)  #: of handles, in this process
        self.unreleased: set[int] = set()  #: handles that are gone, and whose claims the server wasn't told of
        self.aheads = Aheads(self)
        self.looked: dict[str, float] = {}  #: when somebody here last looked into a queue, in monotonic seconds
        self._guard = threading.RLock()  # of the number of handles, for a moment: nothing is called with it held
        self._closing = False
        self.bells = Bells()
        self.dialer = Dialer(address, Statements(address.prefix))
        self.owners = Owners(self.dialer, lease)
        servers = ServerClock(self.owners)
        self.clock = clock or servers
        self.beside = servers.beside if clock is None else lambda: 0.0  #: one that was given is the callers', too
        self.reader = Reader(self.dialer, rest)
        self.names = Names(self.reader)
        self.patience = self.reader.patience
        self.writer = Transactions(self.dialer, self.owners, rest, self.patience)
        self.lookout, self.keeper = Lookout(self), Keeper(self)
        self._connect_callbacks()
        self._open(power)

    def _connect_callbacks(self) -> None:
        ref = weakref.ref(self)

        def connected(wire: Wire) -> StoreError | None:
            core = ref()
            return None if core is None else core.look_at(wire)

        def is_the_same(wire: Wire) -> bool:
            core = ref()
            return core is None or core.names.hold(wire)

        def lost() -> None:
            core = ref()
            if core is not None:
                core.aheads.lose()
                core.names.forget()
                core.bells.ring_all()

        def doubtful() -> None:
            core = ref()
            if core is not None:
                core.keeper.call()

        self.writer.connected, self.writer.doubtful = connected, doubtful
        self.writer.is_the_same = is_the_same
        self.owners.lost = lost

    def _open(self, power: bool) -> None:
        """Over a first connection, or another one should that be lost. Raises StoreRefused, StoreUnreachable."""
        deadline, pause = SYSTEM.monotonic() + LOCK_TIMEOUT, 0.0
        while True:
            try:
                return self._open_over(self.dialer.dial(LOCK_TIMEOUT, LOCK_TIMEOUT), power)
            except Failed as error:
                if not is_lost(error) or SYSTEM.monotonic() >= deadline:
                    raise translated(error, self.place) from error.error
            pause = rest(pause)

    def _open_over(self, wire: Wire, power: bool) -> None:
        try:
            self.owners.learn_names(wire)
            prepare(wire, f"{self.owners.base}schema", self.place)
            if power:
                check_power(wire.ask(wire.sql.SETTINGS).rows[0], self.place)
            self.owners.ahead = wire.ahead
        finally:
            wire.close()

    def look_at(self, wire: Wire) -> StoreError | None:
        """A new connection, maybe to another server, or to one with other settings: why it can't promise "power".
        Raises Failed."""
        if "mariadb" in wire.version.lower():  # a process that is stopped in the middle holds no locks for ever
            wire.ask(wire.sql.END_IDLE, max(1, int(self.owners.lease)))
        try:
            check_power(wire.ask(wire.sql.SETTINGS).rows[0], self.place)
        except StoreRefused as problem:
            return problem
        return None

    # Owners

    def seqs(self) -> dict[int, int]:
        """How far each other process has come."""
        return {number: seq for number, seq in self.reader.rows(self.reader.sql.SEQS) if number != self.owners.number}

    def look_for_dead(self) -> dict[int, int]:
        """Make ready what processes had claimed that have died; how far each other process has come."""
        if self.owners.number:  # taken by an earlier look, or for a commit that was refused
            self.keeper.ensure()  # once ours is overdue nobody is taken for dead here
        rows = self.reader.rows(self.reader.sql.LIVES, self.owners.base.encode())
        for number in self.owners.dead(rows):
            self._bury(number)
        return {row[0]: row[4] for row in rows if row[0] != self.owners.number}

    def _bury(self, number: int) -> None:
        if self.writer.do(Part(lambda session: self.owners.bury(session, number))):
            self.bells.ring_all()

    def catch_up(self) -> None:
        """What couldn't be done when it was due. Raises StoreError."""
        if self.owners.is_lost or self.writer.in_doubt:
            self.writer.do(Part(lambda session: None))  # takes a new number, looks it up
        for handle in list(self.unreleased):
            if self._give_up(handle):
                self.unreleased.discard(handle)

    # Handles

    def join(self, token: Token) -> bool:
        """One more handle; False where the last one has just closed the store."""
        with self._guard:
            if not self._closing:
                token.number = next(self.numbers)
                self.handles.add(token)
            return not self._closing

    def leave(self, token: Token) -> None:
        """One handle less, that never was, or whose end was broken off."""
        with self._guard:
            self.handles.discard(token)

    def check_settings(self) -> None:
        """Raises StoreRefused where "power" can't be promised."""
        check_power(self.reader.rows(self.reader.sql.SETTINGS)[0], self.place)

    def release(self, token: Token, ahead: Ahead) -> None:
        """A handle is gone: what it had claimed is ready again, and with the last one the store is closed."""
        if self.process != os.getpid() or isinstance(self.writer.trouble, StoreClosed):
            return
        handle = token.number
        with telling.silence(), self.patience.share():
            try:
                self.aheads.end(handle)
                if not self._give_up(handle):
                    self.unreleased.add(handle)
            except StoreError:
                self.unreleased.add(handle)
            except BaseException:  # of a signal handler: the keeper goes on with it
                self.unreleased.add(handle)
                self.leave(token)
                self.keeper.call()
                raise
            with self._guard:
                self.handles.discard(token)
                self._closing = last = not self.handles
            if last:
                self._close()

    def give_back_claims(self, claims: list[Claim], handle: int) -> None:
        """Make records ready that a handle of this process has claimed and not handed out."""
        if claims:
            self.writer.do(self.giving_back(claims, handle))
            for queue in {claim.queue for claim in claims}:
                self.bells.ring(queue)

    def giving_back(self, claims: list[Claim], handle: int) -> Part:
        """What does that."""

        def run(session: Session) -> None:
            groups: dict[str, list[int]] = {}
            for claim in claims:
                groups.setdefault(claim.queue, []).append(claim.id)
            for queue, ids in groups.items():
                number = self.names.queue(queue) or 0
                session.tell_surely(len(ids), session.sql.UNTOUCHED, number, held_by(session.owner, handle), ids)

        return Part(run)

    def _give_up(self, handle: int) -> bool:
        """Whether all that it had claimed is ready: what another transaction has locked isn't."""
        if not self.owners.number:
            return True

        def run(session: Session) -> tuple[set[int], bool]:
            place = held_by(session.owner, handle)
            return give_back(session, place, place), not any_claimed(session, place, place)

        result = self.writer.do(Part(run))
        queues, whole = (set(), True) if result is LATE else result
        if queues:
            self.bells.ring_all()
        return bool(whole)

    def _close(self) -> None:
        writer = self.writer
        in_the_middle = writer.in_the_middle()  # of a transaction, which our threads may wait for
        self.keeper.stop(wait=not in_the_middle)
        self.lookout.stop(wait=not in_the_middle)
        with writer.lock:
            if writer.inside:
                late = Part(lambda _: None)
                late.prepare = self._close_locked
                writer.put_off(late)
            else:
                self._close_locked()
        self.reader.end()
        self.bells.ring_all()

    def _close_locked(self) -> None:
        self.writer.trouble = StoreClosed(f"the store in {self.place} was closed; open it again")
        _cores.forget(self)
        self.writer.close_locked()
        self.owners.leave(clean=not self.unreleased)

    def end(self) -> None:
        """The interpreter exits. All stays open: daemon threads and handlers of the program may use it still."""
        if self.process == os.getpid() and self.writer.trouble is None:
            with suppress(StoreError):  # others find our lock free
                self.aheads.give_back_all()

    # Forks

    def begin_again(self) -> None:
        """In a forked child: connections and a number of its own, when it needs them."""
        self.process = os.getpid()
        self._guard = threading.RLock()
        self.dialer.abandon()
        self.owners.begin_again()
        self.reader.begin_again()
        self.writer.begin_again()
        self.bells.begin_again()
        self.unreleased = set()
        self.aheads.begin_again()
        self.keeper.abandon()
        self.lookout, self.keeper = Lookout(self), Keeper(self)


_cores: Cores[Core] = Cores()


def share(address: Address, lease: float, clock: Clock | None, power: bool, token: Token) -> Core:
    """The core of the store, opened if this process has none; with one more handle on it."""
    place = (address, lease)
    with telling.silence(), _cores.opening():
        core = _cores.joined(place, token)
        if core is None:
            return _cores.add(Core(address, lease, clock, power), place, token)
        if power:
            try:
                core.check_settings()
            except BaseException:
                core.leave(token)
                raise
        return core


def _begin_again() -> None:
    for core in _cores.renew():
        core.begin_again()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
