"""Which processes live. Each has a row with a number that is never given again, and a named lock of the server's.

A connection of its own holds the lock, so the server lets go of it with the process, its host's network or the
connection. The row says until when the process has promised to be heard of again, by the server's clock: so one that is
stopped, or whose host has vanished without a word, is dead for others when that is over. What the dead had claimed is
ready again. Who was taken for dead and isn't takes a new number; its claims are somebody else's, and its late
acknowledgements find nothing.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from ...clock import SYSTEM
from ...store import LOCK_TIMEOUT
from .errors import is_denied, is_lost, is_refused
from .schema import ALIVE, DEAD, DYING, held_by
from .wire import Dialer, Failed, Wire

GRACE = 1.0  #: seconds before an owner is dead whose lock is free or lease over: behind an outage all of them are
OFTEN = 5.0  #: seconds, at most, between two times that a process is heard of
_OUTAGE = 0.25  #: seconds without our own lock after which that begins anew; a new connection takes less
_LAST_HANDLE = (1 << 32) - 1
_FEW = 500  #: queues that are asked for at a time


class Owners:
    """This process among those that use one store. `lock` is for the connection that holds ours."""

    def __init__(self, dialer: Dialer, lease: float) -> None:
        self._dialer = dialer
        self.sql = dialer.sql
        self.lease = lease
        self.pause = min(lease / 4, OFTEN)  #: seconds, at most, between two times that we are heard of
        self.lock = threading.RLock()
        self.number = 0  #: ours; 0 until there is one
        self.whose = b"", 0  #: what its row says: in tables made anew the same number may be somebody else's
        self.resigned = 0  #: how often others had taken us for dead
        self.seq = 0  #: of our last transaction
        self.ahead = 0.0  #: seconds that the server's clock is ahead of our monotonic one
        self.lost: Callable[[], object] = lambda: None  #: called when we were taken for dead
        self.is_lost = False  #: others have taken us for dead
        self._wire: Wire | None = None
        self._held = False
        self._suspected: dict[int, float] = {}  # owners whose lock was free, or lease over, and since when
        self._lost = self._since = 0.0  # when our lock was gone; when we had it again behind an outage
        self._name_locks(f"{dialer.address.database}\0{dialer.address.prefix}")

    def _name_locks(self, store: str) -> None:
        self.base = f"pqadapters-{blake2b(store.encode(), digest_size=10).hexdigest()}-"  #: of the names of locks

    def learn_names(self, wire: Wire) -> None:
        """Where the server doesn't tell names of tables apart by their case, locks aren't either: all who use a store
        have the same ones, however they write its name. Raises Failed."""
        if int(wire.ask(self.sql.FOLDS).rows[0][0]):
            self._name_locks(f"{self._dialer.address.database}\0{self._dialer.address.prefix}".lower())

    # Ours

    def present(self, left: float) -> None:
        """See that we have a number that others don't take for a dead one's. Raises Failed. In the line alone."""
        if not self.number or self.is_lost:
            with self.lock:
                if self.is_lost:
                    self.resign()
                if not self.number:
                    self._enter(left)

    @property
    def _promised(self) -> float:
        """Seconds from now until others suspect us, who then wait for as long as we may take to be heard of again."""
        return self.lease - self.pause

    def _connected(self, left: float) -> Wire:
        if self._wire is not None and self._wire.is_gone():
            self.drop_locked()
        if self._wire is None:
            self._wire = self._dialer.dial(left, LOCK_TIMEOUT, autocommit=True)
            self.ahead = self._wire.ahead
            self._held = False
        return self._wire

    def _enter(self, left: float) -> None:
        host = platform.node().encode("utf-8", "replace")[:255]
        try:
            wire = self._connected(left)
            number = wire.ask(self.sql.ADD_OWNER, self._promised, host, os.getpid()).first_id
            self.whose = host, os.getpid()
            wire.alone(f"{self.base}{number}")
        except BaseException:
            self.drop_locked()
            raise
        self.seq, self._held, self._since = 0, True, SYSTEM.monotonic()
        self._suspected = {}
        self.number = number

    def resign(self) -> None:
        """Others have taken us for dead: the next transaction needs a new number. In the line alone."""
        with self.lock:
            self.resigned += 1
            self.number, self.is_lost = 0, False
            self.drop_locked()
        self.lost()

    def is_known(self, wire: Wire) -> bool:
        """Whether we are alive for others, as far as another connection can see: we may have been away for days."""
        rows = wire.ask(self.sql.IS_ALIVE, self.number, *self.whose).rows
        return bool(rows) and rows[0][0] == ALIVE

    def renew(self) -> None:
        """Be heard of again, and hold our lock. Raises Failed: then it is to be tried again."""
        with self.lock:
            if not self.number:
                return
            try:
                wire = self._connected(LOCK_TIMEOUT)
                if not self._held:
                    self._held = wire.alone(f"{self.base}{self.number}")
                    if SYSTEM.monotonic() - self._lost > _OUTAGE:
                        self._since = SYSTEM.monotonic()
                known = wire.ask(self.sql.RENEW, self._promised, self.number, *self.whose).affected
                known = known or self.is_known(wire)  # that may have been killed, and say nothing of it
                begun = SYSTEM.monotonic()
                (now,) = wire.ask(self.sql.CLOCK).rows[0]
                self.ahead = float(now) - (begun + SYSTEM.monotonic()) / 2
            except Failed as error:
                if is_lost(error) and not is_refused(error):  # else the lock goes on saying that we live
                    self.drop_locked()
                elif is_denied(error) and self._wire is not None:
                    self._wire.look_at_grants()
                raise
            except BaseException:
                self.drop_locked()
                raise
            self.is_lost = not known

    @property
    def settled(self) -> bool:
        """Whether the server knows that we live; else we should try again soon."""
        return self._held or not self.number

    def fileno(self) -> int | None:
        """The socket that tells when the server, or the way to it, is gone."""
        wire = self._wire
        try:
            return wire.fileno() if wire is not None else None
        except (OSError, ValueError, AttributeError):
            return None

    def drop_locked(self) -> None:
        """The connection is gone, or no good."""
        if self._held:
            self._lost = SYSTEM.monotonic()
        wire, self._wire, self._held = self._wire, None, False
        if wire is not None:
            wire.drop()

    def leave(self, *, clean: bool) -> None:
        """We claim no more. If nothing of ours is left our row goes; else, or should that fail, others find our lock
        free."""
        with self.lock:
            wire, number = self._wire, self.number
            self._wire, self.number = None, 0
            if wire is not None:
                with suppress(Failed):
                    if number and clean:
                        wire.ask(self.sql.DROP_OWNER, number, *self.whose)
                wire.close()

    def begin_again(self) -> None:
        """In a forked child: the number, the lock and the connection are the parent's."""
        self.lock = threading.RLock()
        self.number = self.seq = 0
        self._wire, self._held, self.is_lost, self._suspected = None, False, False, {}

    # Others

    def dead(self, lives: Any) -> list[int]:
        """The numbers of those whose claims are to be given back, out of the rows of LIVES. Of one that holds its lock
        the lease may be over since the server's clock was put forward: it is heard of again when it would be anyway."""
        now = SYSTEM.monotonic()
        since = now if self._is_away(lives) else self._since
        found, suspected = [], {}
        for number, alive, overdue, lock_is_free, _ in lives:
            if number == self.number:
                continue
            if alive == ALIVE and (overdue or lock_is_free):
                suspected[number] = max(self._suspected.get(number, now), since)
            grace = GRACE if lock_is_free else GRACE + self.pause
            if alive == DYING or now - suspected.get(number, now) >= grace:
                found.append(number)
        self._suspected = suspected
        return found

    def _is_away(self, lives: Any) -> bool:
        """Whether the server keeps us, too, from being heard of."""
        if self.number and not self._held:
            return True
        return any(overdue for number, alive, overdue, *_ in lives if number == self.number and alive == ALIVE)

    @property
    def suspects(self) -> bool:
        """Whether any that live weren't heard of at the last look."""
        return bool(self._suspected)

    def bury(self, session: Any, number: int) -> set[int]:
        """Make ready what a dead process had claimed, in a transaction: the queues in which something is."""
        rows = session.ask(self.sql.LOCK_OWNER, number).rows
        if not rows:
            return set()
        alive, overdue = rows[0]
        if alive == ALIVE and (number not in self._suspected or not (overdue or self._is_free(session, number))):
            return set()  # it is back, or may be in a moment
        if alive == ALIVE:
            session.change(self.sql.SET_ALIVE, DYING, number)
        first, last = held_by(number, 0), held_by(number, _LAST_HANDLE)
        queues = give_back(session, first, last)
        if alive == DYING and not queues and not any_claimed(session, first, last):
            session.change(self.sql.SET_ALIVE, DEAD, number)
        return queues

    def _is_free(self, session: Any, number: int) -> bool:
        return bool(session.ask(self.sql.IS_FREE, f"{self.base}{number}".encode()).rows[0][0])


def _some_queues(session: Any) -> list[list[int]]:
    numbers = [number for (number,) in session.ask(session.sql.NUMBERS).rows]
    return [numbers[n : n + _FEW] for n in range(0, len(numbers), _FEW)]


def give_back(session: Any, first: bytes, last: bytes) -> set[int]:
    """Make ready what is claimed from one place to another, unless others are about it; the numbers of the queues."""
    found: set[int] = set()
    for some in _some_queues(session):
        while rows := session.ask(session.sql.CLAIMED_BY, some, first, last).rows:
            groups: dict[tuple[int, bytes], list[int]] = {}
            for queue, place, id in rows:
                groups.setdefault((queue, place), []).append(id)
            for (queue, place), ids in groups.items():
                session.tell(session.sql.RELEASE, queue, place, ids)
                found.add(queue)
    return found


def any_claimed(session: Any, first: bytes, last: bytes) -> bool:
    """Whether anything is, whoever is about it."""
    return any(session.ask(session.sql.ANY_CLAIMED_BY, some, first, last).rows for some in _some_queues(session))

