"""A handle on a SQLite store: the contract of `pqadapters.store.Store` for all processes of a host.

Any number of threads and processes use one database, a handle each or several. With durability "power" a commit is
synced before it returns, together with those of other threads; with "process" it is written, and synced in the
background. Claims are rows that name their handle and process: they end with either, and the process may be killed.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ...apart import out_of_hub
from ...clock import SYSTEM, Clock
from ...durability import Durability, Survives
from ...ending import has_ended
from ...errors import DiskError, FormatError, StoreError, StoreLocked
from ...paths import absolute
from ...store import (
    LOCK_TIMEOUT,
    Ack,
    Capabilities,
    Claim,
    Damage,
    Depth,
    Op,
    Order,
    Put,
    Record,
    State,
    Stop,
    acknowledge,
    put_off,
)
from .._ahead import LOOKS
from .._bells import Bell
from .._disk import Disk, disk_of
from .._handle import Wish
from .._trouble import bear
from .._turns import call_back
from . import schema
from .alone import Alone
from .backup import back_up
from .changes import Changes, Who
from .claims import ManyDue, Take, Taken, claim_oldest, first_seen
from .core import logger, share
from .costs import bytes_moved, bytes_of, is_given_back, is_lazy, shrinks
from .damage.salvaged import Salvaged, salvage_apart
from .errors import NO_SPACE
from .looks import Looks
from .processes.orphans import Orphan, claimed
from .space.room import BIG
from .tables import Tables
from .work import Work
from .writer import LATE

_CAPABILITIES = Capabilities(processes=True, looks=True)
_new: Any = tuple.__new__
_PATIENCE = 0.25  #: seconds that a look waits for others' transactions to bury the dead
_CROWDED = 64  #: records that are claimed in place of being looked at, once two threads were about the same one
_WITHOUT_LOOKOUT = 0.25  #: seconds between two looks of a waiter, should nobody tell it of others


class SqliteStore(Alone):
    """Queues and tables in a database.

    `path` is its file, made if it is missing, private to its owner; "-wal", "-shm" and "-owners" stand behind that name
    beside it. `durability` is "power" or "process", with a sync at most `max_lag` seconds after a write; it is this
    handle's own. `prefetch`: a claim of one record takes so many, and the next ones of this handle are served from
    those; other handles see them as claimed, and what wasn't handed out is ready again when the handle ends. Under
    ack="next" what is done is said with the next such claim, or 50 ms later: SIGKILL may bring back that much.
    Raises StoreRefused (somebody else's file, another program's database, a network filesystem), FormatError (a newer
    format, a damaged database), StoreLocked, DiskError (an OSError that names the file), ValueError for bad options.
    """

    capabilities = _CAPABILITIES

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str | Survives | Durability = Survives.POWER,
        max_lag: float | None = None,
        prefetch: int = 1,
        trust_directory: bool = False,
        clock: Clock = SYSTEM,
        disk: Disk | None = None,
    ) -> None:
        self._begin(Durability.of(durability, max_lag), prefetch)
        self._power = self._durability.survives is Survives.POWER
        file = os.path.realpath(path)
        disk = disk or disk_of(file, trust=trust_directory)
        self._core = core = share(file, disk, trust_directory, clock, self._token)
        self._handle = self._token.number
        if not self._power:
            core.keeper.sync_within(self._durability.max_lag)
        self._looks = Looks(core.reader, core.names, core.clock.wall)
        self._tables = Tables(core.reader, core.names, core.damaged_value)
        self._release = weakref.finalize(self, out_of_hub, core.release, self._token, self._ahead)
        self._release.atexit = False  # see Core.end

    @property
    def damage(self) -> Sequence[Damage]:
        return tuple(self._core.damage)

    # Commits

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        core = self._core
        touched: dict[str, int | None] = {}
        late = core.writer.inside and core.writer.in_the_middle()
        if late:
            self._check()
            ops = put_off(ops, stop)
        plain = self._plain(ops[0], stop, timeout, touched) if len(ops) == 1 and not late else None
        work = plain or self._work(ops, (lambda: None) if late else partial(self._may_go_on, stop), timeout, touched)
        if self._ahead.waiting:
            self._settle_ahead()
        if (size := bytes_of(ops)) > BIG and not work.shrinks and not late:
            core.room.check(size, frees=any(type(op) is not Put for op in ops))
        result = core.writer.do(work)
        if result is LATE:
            core.writer.tell_later(partial(self._tell_of, work, size, touched))
            return (0,) * len(ops)
        if work.synced:
            core.writer.check()
        self._tell_of(work, size, touched)
        if plain is None:
            core.names.learn(ops)
            if self._goes_ahead and any(map(is_given_back, ops)):
                with suppress(StoreError):  # the commit is done, whatever comes of those: they stay ahead
                    self._give_back_ahead()  # what is ready again comes first
        results: tuple[int, ...] = result
        return results

    def _tell_of(self, work: Work, size: int, touched: dict[str, int | None]) -> None:
        """What others are to know of a commit that is done."""
        core = self._core
        if work.result and (highest := max(work.result)):
            core.mark.note(highest)
        core.keeper.written(size, synced=work.synced)
        for queue, ready in touched.items():
            core.bells.ring(queue, ready)
            if ready:
                core.bells.of(queue).dry = False

    def _work(
        self, ops: tuple[Op, ...], check: Callable[[], object], timeout: float | None, touched: dict[str, int | None]
    ) -> Work:
        core = self._core

        def run(connection: sqlite3.Connection) -> tuple[int, ...]:
            check()
            touched.clear()
            who = Who(core.owners.number, self._handle)
            changes = Changes(connection, core.names, who, core.clock.wall(), touched, self._lying_ahead)
            return changes.apply_all(ops)

        synced = self._power and not all(is_lazy(op) for op in ops)
        return Work(run, synced=synced, timeout=timeout, shrinks=shrinks(ops))

    # Claims

    def claim(
        self,
        queue: str,
        *,
        order: Order = Order.OLDEST,
        ids: Sequence[int] | None = None,
        limit: int = 1,
        timeout: float | None = 0.0,
        stop: Stop | None = None,
        counted: bool = False,
        lease: float = 30.0,
        patience: float | None = None,
        acks: Sequence[Ack] = (),
    ) -> list[Claim]:
        core = self._core
        if self._closed or core.writer.trouble is not None:
            self._check()
        bell = core.bells.of(queue)
        deadline = SYSTEM.monotonic() + timeout if timeout else timeout and 0.0
        wish = _new(Wish, (queue, order, ids, limit, stop, counted, patience))
        gate = bell.takers if ids is None else bell.watchers  # who wants certain ones looks whatever comes
        claims: list[Claim] | None = None
        locked = waited = False
        try:
            while True:
                rings, looked = bell.rings, core.clock.wall()
                try:
                    claims = self._attempt(wish, acks)
                    acks, locked = (), False
                except StoreLocked as error:
                    if patience is not None:
                        raise
                    claims, locked = bear(error, locked, stop, deadline, logger), True
                if claims is not None:
                    return claims
                call_back(core.writer)
                left = None if deadline is None else deadline - SYSTEM.monotonic()
                if locked and left is not None and left < LOCK_TIMEOUT:
                    wish = wish._replace(patience=left)  # of the last try, which is over when the time is
                if left is None or left > 0:
                    waited = True
                    self._wait(queue, bell, gate, rings, looked, left)
                elif not (bell.claimed and core.bury_dead(patience=patience)):
                    return []
        finally:
            if waited and not claims:
                core.bells.pass_on(bell)  # a wake-up may have come to this thread (I7)

    def _attempt_ahead(self, wish: Wish, acks: Sequence[Ack]) -> list[Claim] | None:
        claims = super()._attempt_ahead(wish, acks)
        try:
            if self._ahead.waiting:
                self._core.keeper.settle_soon(self._handle, self)
        except BaseException:  # of a signal handler: nobody would have them
            self._core.give_back_claims(claims or [], self._handle)
            raise
        return claims

    def _give_back_ahead(self) -> None:
        """What interrupts this on its way leaves them ahead, or gives them back: nobody would have them else."""
        self._settle_ahead()
        core, claims, orphan = self._core, self._ahead.pop_all(self._core.process), None
        try:
            if claims:
                orphan = Orphan(claimed(claims), self._handle)
                orphan.giving = core.giving_back(claims, self._handle)
                core.writer.do(orphan.giving)
                core.ring(claims)
        except BaseException as error:
            if isinstance(error, (DiskError, StoreLocked)) or orphan is None or orphan.giving is None:
                self._ahead.put_back(claims)  # nothing was given back
            elif not isinstance(error, StoreError):
                core.orphans.append(orphan)
                core.orphans.give_back(core)
            raise

    def settle_put_off(self, *, at_once: bool) -> bool:
        """Carry out acknowledgements that were put off and have waited long enough; whether none is left."""
        if self._closed:
            return True
        if at_once or self._ahead.is_due():
            with suppress(StoreError):  # they are tried again
                self._settle_ahead()
        return not self._ahead.waiting

    def has_put_off(self) -> bool:
        """Whether acknowledgements wait."""
        return bool(self._ahead.waiting) and not self._closed

    def _attempt_now(self, wish: Wish, acks: Sequence[Ack]) -> list[Claim] | None:
        core, queue, stop = self._core, wish.queue, wish.stop
        bell = core.bells.of(queue)
        if core.writer.in_the_middle():
            if acks:
                self.commit(*acks)
            return []  # in the middle of another call of this thread: there is no waiting for it
        if core.orphans:
            core.orphans.give_back(core)
        core.bury_dead(often=False, patience=wish.patience)  # first: what they had in hand is ready in its old place
        if bell.dry:
            is_ready, bell.claimed = self._looks.any_ready(queue)
            if not is_ready:
                if acks:
                    acknowledge(self, acks)
                return [] if stop is not None and stop() else None

        try:
            return self._take_patiently(wish, acks, bell)
        except DiskError as error:
            if error.errno not in NO_SPACE or not core.mature(queue, wish.patience):
                raise
            return self._take(wish, acks, bell, many=True)

    def _take_patiently(self, wish: Wish, acks: Sequence[Ack], bell: Bell) -> list[Claim] | None:
        """As `_take`; where very many have come due, they are made ready in several transactions, between which others
        get on, who wouldn't wait for the end of a long one."""
        try:
            return self._take(wish, acks, bell)
        except ManyDue:
            self._core.mature(wish.queue, wish.patience, schema.MATURE_SOME)
            return self._take(wish, acks, bell, many=True)

    def _take(self, wish: Wish, acks: Sequence[Ack], bell: Bell, *, many: bool = False) -> list[Claim] | None:
        """Claim, in a transaction; [] where it is put off. What interrupts this on its way back gives the claims back,
        which nobody would have else; should that be interrupted, too, whoever comes next does."""
        core = self._core
        touched: dict[str, int | None] = {}
        self._token.claims = True
        who = Who(core.owner(wish.patience), self._handle)
        work = Work(
            self._taking(wish, acks, who, touched, many), synced=wish.counted and self._power, timeout=wish.patience
        )
        try:
            result = core.writer.do(work)
            return [] if result is LATE else self._taken(wish.queue, bell, result, touched)
        except BaseException:
            core.orphans.append(Orphan(work, self._handle))
            core.orphans.give_back(core)
            raise

    def _taken(self, queue: str, bell: Bell, taken: Taken, touched: dict[str, int | None]) -> list[Claim] | None:
        """What was claimed, once others have been told."""
        core = self._core
        for name in touched:
            core.bells.ring(name, 0)
        claims, was_last = taken
        bell.dry = was_last or not claims
        bell.claimed = True
        if claims:
            core.names.queue(queue)  # known from here on, so that each acknowledgement is one statement
            core.keeper.written(bytes_moved(claims))
            core.bells.ring(queue, int(not was_last))
        return claims

    def _taking(
        self, wish: Wish, acks: Sequence[Ack], who: Who, touched: dict[str, int | None], many: bool
    ) -> Callable[[sqlite3.Connection], Taken]:
        names, (queue, order, ids, limit, stop, _, _) = self._core.names, wish

        def run(connection: sqlite3.Connection) -> Taken:
            if self._closed:
                self._check()
            if acks:
                touched.clear()
                Changes(connection, names, who, 0.0, touched).ack_what_is_held(acks)
            if stop is not None and stop():
                return [], False
            number = names.queue_here(connection, queue)
            if number is None:
                return None, False
            if order is Order.OLDEST and ids is None:
                found = claim_oldest(connection, queue, number, limit, who)
                if found is not None:
                    return found
            core, now = self._core, self._core.clock.wall()
            take = Take(connection, names, now, core.damaged, core.counts_were_damaged, many=many)
            return take.claim(queue, number, order, ids, limit, who) or None, False

        return run

    def look(self, queue: str, order: Order = Order.OLDEST) -> Claim | None:
        self._check()
        core, bell = self._core, self._core.bells.of(queue)
        if bell.dry or self._goes_ahead or core.orphans or core.writer.in_the_middle():
            return None
        if not self._power and (core.writer.in_line() or core.writer.aside > 0):
            return None  # who claims has its turn like all others; a look is taken beside theirs, and in their way
        if bell.crowded > 0:
            bell.crowded -= 1
            return None
        self._dead_are_buried(often=False)
        claim = first_seen(self._ask, core.names, queue, order)
        if claim is None:
            return None
        if claim.id == bell.looked_at:  # another thread is about it
            bell.crowded = _CROWDED if self._power else 0  # claims share their syncs
            return None
        bell.looked_at = claim.id
        return claim

    def _ask(self, question: str, values: Sequence[Any]) -> list[Any]:
        """The answer, right before a transaction."""
        rows = self._core.writer.glance(question, values)
        return rows if rows is not None else self._core.reader.rows(question, values)

    def record(self, queue: str, id: int) -> Record | None:
        self._check()
        return self._looks.record(queue, id)

    def _wait(self, queue: str, bell: Bell, gate: Any, rings: int, looked: float, left: float | None) -> None:
        """Until it has rung more often, a delayed record is ready that wasn't at the last look, which was at `looked`,
        or `left` seconds are over; seldom for nothing."""
        core = self._core
        core.lookout.ensure()
        pause = _WITHOUT_LOOKOUT if left is None else min(left, _WITHOUT_LOOKOUT)
        due = self._looks.next_due(queue)
        if due is not None and due > looked:
            pause = min(pause, max(0.0, due - core.clock.wall()))
        core.bells.wait(bell, gate, rings, pause)
        if not has_ended():  # then a temporary home is gone, and so is whoever waits
            core.writer.look_for_file()  # who only claims and waits has no syncs, and would be deaf for ever
        self._check()

    # Looking

    def browse(
        self, queue: str, *, order: Order = Order.OLDEST, state: State | None = State.READY, after: int = 0
    ) -> Iterator[Record]:
        self._check()
        self._give_back_ahead()
        return self._looks.browse(queue, order, state, after)

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        return self._depth(queue, final=True, age=age)

    def any_ready(self, queue: str) -> bool:
        return self.depth(queue, age=False).ready > 0

    def _depth(self, queue: str, *, final: bool, age: bool) -> Depth:
        """`final`: whoever asks may give the queue up if nothing is ready."""
        self._check()
        if self._ahead.waiting:
            self._settle_ahead()
        if self._core.orphans and not self._core.writer.in_the_middle():
            self._core.orphans.give_back(self._core)
        found, ahead = self._counted(queue, age)
        if found.claimed > ahead and self._dead_are_buried(often=final and not found.ready + ahead):
            found, ahead = self._counted(queue, age)
        return found._replace(ready=found.ready + ahead, claimed=found.claimed - ahead) if ahead else found

    def _counted(self, queue: str, age: bool) -> tuple[Depth, int]:
        """What the database has, and how much of the claimed lies ahead: again where a thread has fetched between."""
        for _ in range(LOOKS):
            moved = self._ahead.moved
            found = self._looks.depth(queue, age=age)
            ahead = self._ahead.of(queue, self._core.process) if self._prefetch > 1 else 0
            if moved is self._ahead.moved:
                break
        return found, ahead

    def _dead_are_buried(self, *, often: bool) -> bool:
        """As `Core.bury_dead`, for who only looks: never in its way."""
        try:
            return self._core.bury_dead(often=often, patience=_PATIENCE)
        except (StoreError, OSError):  # those who claim are told
            return False

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        bell = self._core.bells.of(queue)
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        while True:
            rings, looked = bell.rings, self._core.clock.wall()
            left = None if deadline is None else deadline - SYSTEM.monotonic()
            over = left is not None and left <= 0
            if until(self._depth(queue, final=over, age=False)):
                return True
            if over:
                return False
            call_back(self._core.writer)
            self._wait(queue, bell, bell.watchers, rings, looked, left)

    # The whole

    def sync(self) -> None:
        self._check()
        if self._ahead.waiting:
            self._settle_ahead()
        self._core.keeper.sync(self._core)

    def checkpoint(self) -> None:
        self._check()
        self._core.room.checkpoint()

    def backup(self, *, to: str | os.PathLike[str]) -> None:
        """Copy the store, as it is at one moment, to a new file, while others use it. What is claimed is ready there.

        On the disk when this returns. Raises StoreRefused where the file exists already, DiskError.
        """
        self._check()
        self._give_back_ahead()
        with self._core.aside:
            back_up(self._core.path, absolute(os.fsdecode(to)), self._core.disk, self._core.owners)

    def salvage(self, *, to: str | os.PathLike[str]) -> Salvaged:
        """Put every record and key that is whole into a new store, whatever SQLite says of this one: see
        damage/salvage.py.

        Nobody commits meanwhile. Raises StoreRefused where the file exists already, or nothing can be read.
        """
        self._check()
        core = self._core
        try:
            found: Salvaged = core.writer.do(Work(lambda _: salvage_apart(core.path, to), synced=False))
        except FormatError:  # not even a transaction can be begun
            found = salvage_apart(core.path, to)
        return found
