"""A handle on a MySQL store: the contract of `pqadapters.store.Store` for all processes of any number of hosts.

Any number of threads, processes and hosts use one database, a handle each or several. A commit that returned is
committed by the server, together with those of other threads of this process, and survives what the server's own
settings survive. Claims are rows that name their handle and process: they end with either. A process whose connection
is gone loses them within seconds, one that is stopped, or whose host has vanished, within `lease` seconds.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from ... import telling
from ...apart import out_of_hub
from ...clock import SYSTEM, Clock
from ...durability import Durability, Survives
from ...errors import StoreUnreachable
from ...store import (
    LOCK_TIMEOUT,
    Ack,
    Capabilities,
    Claim,
    Damage,
    Depth,
    Extend,
    Nack,
    Op,
    Order,
    Put,
    Record,
    State,
    Stop,
    Update,
    dead_queue,
    put_off,
)
from .._ahead import LOOKS
from .._bells import Bell
from .._handle import Wish
from .._line import LATE
from .._trouble import bear
from .address import PREFIX, address_of
from .changes import Changes
from .core import Core, moved, share
from .fetched import undo
from .fetching import Fetching
from .looks import Looks
from .plan import plan_of
from .schema import check_prefix
from .session import Session
from .tables import Tables
from .transactions import Part

T = TypeVar("T")
logger = telling.logger("pqadapters.stores.mysql")
_CAPABILITIES = Capabilities(processes=True, hosts=True)
_WITHOUT_LOOKOUT = 1.0  #: seconds between two looks of a waiter, should nobody tell it of others
_BESIDE_LOOKOUT = 2.0  #: the same of all waiters of a queue, where it does: what foreign transactions had locked
_UNASKED = object()
_LOCKED = (0.016, 0.004, 0.001)  #: seconds, the last one first, until what was passed over is tried again
_OUTAGE = 0.5  #: seconds between two looks while the server can't be reached
LEASE = 30.0


class MysqlStore(Fetching):
    """Queues and tables in a database of a MariaDB (10.6 or newer) or MySQL (8.0 or newer) server.

    `url` is mysql://user@host:3306/database; the database must be there, the store's tables are made in it, with names
    that begin with `prefix`. The password is in the URL, in the file `password_file`, or in the environment's
    PQADAPTERS_MYSQL_PASSWORD; `socket` is the path of a Unix socket. `tls` is "off", "on" (encrypted) or "verify"
    (the server's certificate and name are checked, against `tls_ca` if given); `tls_cert` and `tls_key` are the
    client's own. With `durability` "power" the server must sync each commit, else it is refused; "process" takes its
    settings as they are. `lease`: seconds after which a process that isn't heard of loses its claims. `prefetch`: a
    claim of one record takes so many, and the next ones of this handle are served from those; what wasn't handed out is
    ready again when the handle or its process ends. By itself a claim takes what this handle uses up in 40 ms, and what
    it doesn't ask for is ready again some 50 ms later; 1 takes each record when it is asked for.
    Raises StoreRefused (password, grants, database, settings), FormatError (tables of a newer version),
    StoreUnreachable (a ConnectionError), ValueError for bad options. No message has the password in it.
    """

    _core: Core
    capabilities = _CAPABILITIES
    damage: Sequence[Damage] = ()

    def __init__(
        self,
        url: str,
        *,
        durability: str | Survives | Durability = Survives.POWER,
        max_lag: float | None = None,
        prefetch: int | None = None,
        lease: float = LEASE,
        prefix: str = PREFIX,
        clock: Clock | None = None,
        **connection: Any,
    ) -> None:
        self._begin(Durability.of(durability, max_lag), 1 if prefetch is None else prefetch)
        if not 1 <= lease <= 86_400:
            raise ValueError(f"lease is in seconds, from 1 to 86,400, not {lease!r}")
        address = address_of(url, prefix=check_prefix(prefix), **connection)
        self._power = self._durability.survives is Survives.POWER
        self._core = core = share(address, float(lease), clock, self._power, self._token)
        self._handle = self._token.number
        self._begin_fetching(prefetch)
        self._looks = Looks(core.reader, core.names, core.clock.wall)
        self._tables = Tables(core.reader, core.names)
        self._release = weakref.finalize(self, out_of_hub, core.release, self._token, self._ahead)
        self._release.atexit = False  # daemon threads and handlers of the program may use it to the very end

    # Commits

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        self._check()
        core = self._core
        if beside := core.beside():
            ops = tuple(moved(op, beside) for op in ops)
        late = core.writer.in_the_middle()
        if late:
            part = self._part(put_off(ops, stop), None, timeout)
        else:
            part = self._part(ops, partial(self._may_go_on, stop), timeout)
        with core.patience.share(timeout):
            if self._ahead.waiting:
                self._settle_ahead()
            if not late:
                assert part.prepare is not None
                part.prepare()
                part.prepare = None
            result = core.writer.do(part)
        if result is LATE:
            core.writer.tell_later(partial(self._tell_of, ops))
            return (0,) * len(ops)
        self._tell_of(ops)
        return tuple(result)

    def _tell_of(self, ops: tuple[Op, ...]) -> None:
        """What others are to know of a commit that is done."""
        self._core.keeper.ensure()
        self._ring(ops)

    def _part(self, ops: tuple[Op, ...], check: Callable[[], object] | None, timeout: float | None) -> Part:
        core = self._core

        def run(session: Session) -> list[int]:
            limited = [op.queue for op in ops if isinstance(op, Put) and op.limit is not None]
            strays = core.aheads.shed(session, limited) if limited else []
            try:
                found = Changes(session, core.names, self._handle, core.clock.wall(), self._lying_ahead).apply(ops)
            except Exception:
                undo(strays)  # others' parts of the transaction may be done
                raise
            self._put_behind(session, [op for op in ops if isinstance(op, Nack)])
            return found

        def prepare() -> None:
            now, part.resigned = core.clock.wall(), core.owners.resigned
            part.plan = plan_of(ops, core.names, core.reader.sql, core.owners.number, self._handle, now)
            if part.plan is None:
                self._make_names(ops)

        part = Part(run, timeout=timeout, stop=check)
        part.prepare = prepare
        part.refusable, part.power = len(ops) > 1, self._power
        return part

    def _put_behind(self, session: Session, given_back: Sequence[Nack]) -> None:
        """What is given back may stand in front of what lies ahead: nothing of these queues does any more. Of a
        `prefetch` that somebody asked for, where it is ready at once."""
        if given_back:
            queues = {op.claim.queue for op in given_back}
            self._core.aheads.shed(session, [*queues, *map(dead_queue, queues)])
        at_once = {op.claim.queue for op in given_back if op.dead is None and not op.not_before}
        if at_once and not self._ahead.adaptive:
            self._ahead.shed(session, self._core.names.queue, [*at_once])

    def _make_names(self, ops: Sequence[Op]) -> None:
        """So that none is made in the middle of the transaction."""
        names = self._core.names
        for op in ops:
            if isinstance(op, Put):
                number = names.make_queue(op.queue)
                if op.rank:
                    names.rank(number)
                if op.limit is not None:
                    names.bound(number)
            elif isinstance(op, Nack) and op.dead is not None:
                number = names.make_queue(dead_queue(op.claim.queue))
                if op.claim.rank:
                    names.rank(number)
            elif not isinstance(op, (Ack, Nack, Extend, Update)):
                names.make_table(op.table)

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
        self._check()
        core = self._core
        bell = core.bells.of(queue)
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        each = LOCK_TIMEOUT if patience is None else patience
        last = math.inf if timeout is None else SYSTEM.monotonic() + max(timeout, each)
        outer = core.patience.end
        away, told, claims = False, core.lookout.told, list[Claim]()
        pauses = [*_LOCKED]
        found: list[Claim] | None = None
        wish = Wish(queue, order, ids, limit, stop, counted, patience)
        gate = bell.takers if ids is None else bell.watchers  # who wants certain ones looks whatever comes
        try:
            while True:
                core.patience.end = min(SYSTEM.monotonic() + each, last)
                rings, looked = bell.rings, core.clock.wall()
                try:
                    found = self._attempt(wish, acks)
                    acks = ()
                    away = False
                except StoreUnreachable as error:
                    found = bear(error, away, stop, deadline, logger)
                    away = True
                if found is not None:
                    beside = core.beside()
                    claims = [moved(claim, -beside) for claim in found] if beside else found
                    core.lookout.was_of_use(told)
                    core.patience.end = outer
                    return claims
                left = None if deadline is None else deadline - SYSTEM.monotonic()
                if left is not None and left <= 0:
                    if away or not pauses or not self._is_passed_over(wish):
                        core.patience.end = outer
                        return []
                    time.sleep(pauses.pop())
                    continue
                self._wait(queue, bell, gate, rings, looked, left, away)
        except BaseException:
            core.patience.end = outer
            if found:  # an interrupt on the way out: nobody would have them
                self._orphan(found)
            raise
        finally:
            if not claims and core.bells.waiting:
                core.bells.pass_on(bell)  # a wake-up may have come to this thread (I7)

    def _wait(
        self, queue: str, bell: Bell, gate: Any, rings: int, looked: float, left: float | None, away: bool
    ) -> None:
        """Until it has rung more often, a delayed record is ready that wasn't at the last look, which was at `looked`,
        or `left` seconds are over; seldom for nothing."""
        core = self._core
        core.lookout.ensure()
        pause = _OUTAGE if away else _BESIDE_LOOKOUT if core.lookout.runs else _WITHOUT_LOOKOUT
        pause = pause if left is None else min(left, pause)
        if not away:
            known: Any = self._dues.pop(queue, _UNASKED) if gate is bell.takers else _UNASKED
            due = self._next_due(queue) if known is _UNASKED else known
            if due is not None and due > looked:
                pause = min(pause, max(0.0, due - core.clock.wall()))
        end = math.inf if left is None else SYSTEM.monotonic() + left
        core.bells.wait(bell, gate, rings, pause)
        if pause == _BESIDE_LOOKOUT and gate is bell.takers:  # where another one has looked, that is enough
            while bell.rings == rings and (rest := self._next_look(queue, end) - SYSTEM.monotonic()) > 0:
                core.bells.wait(bell, gate, rings, rest)
        self._check()

    def _next_look(self, queue: str, end: float) -> float:
        return min(self._core.looked.get(queue, 0.0) + _BESIDE_LOOKOUT, end)

    def _next_due(self, queue: str) -> float | None:
        with suppress(StoreUnreachable), self._core.patience.share():  # whoever looks next is told
            return self._looks.next_due(queue)
        return None

    # Looking

    def browse(
        self, queue: str, *, order: Order = Order.OLDEST, state: State | None = State.READY, after: int = 0
    ) -> Iterator[Record]:
        self._check()
        with self._core.patience.share():
            self._give_back_ahead()
            records = self._looks.browse(queue, order, state, after)
        return map(partial(moved, seconds=-beside), records) if (beside := self._core.beside()) else records

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        with self._core.patience.share():
            return self._counted(queue, age=age)

    def _counted(self, queue: str, *, age: bool) -> Depth:
        found, ahead = self._with_ahead(queue, lambda: self._looks.depth(queue, age=age))
        return found._replace(ready=found.ready + ahead, claimed=found.claimed - ahead) if ahead else found

    def any_ready(self, queue: str) -> bool:
        with self._core.patience.share():
            found, ahead = self._with_ahead(queue, lambda: self._looks.any_ready(queue, LOCK_TIMEOUT)[0])
        return found or ahead > 0

    def _with_ahead(self, queue: str, look: Callable[[], T]) -> tuple[T, int]:
        """The server is asked first, and then how much of the queue lies ahead: again where other threads have changed
        that between."""
        for _ in range(LOOKS):
            self._check()
            moved = self._core.aheads.moved(self._ahead)
            self._settle_ahead()
            found = look()
            ahead = self._core.aheads.of(queue)
            if not self._ahead.adaptive:
                ahead += self._ahead.of(queue, self._core.process)
            if moved == self._core.aheads.moved(self._ahead):
                break
        return found, ahead

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        bell = self._core.bells.of(queue)
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        away, told, before = False, self._core.lookout.told, None
        with self._core.patience.share(math.inf if timeout is None else max(timeout, LOCK_TIMEOUT)):
            while True:
                rings, looked = bell.rings, self._core.clock.wall()
                try:
                    depth = self.depth(queue, age=False)
                    if depth != before and before is not None:
                        self._core.lookout.was_of_use(told)
                    before = depth
                    if until(depth):
                        return True
                    away = False
                except StoreUnreachable as error:
                    bear(error, away, None, deadline, logger)
                    away = True
                left = None if deadline is None else deadline - SYSTEM.monotonic()
                if left is not None and left <= 0:
                    return False
                self._wait(queue, bell, bell.watchers, rings, looked, left, away)

    # The whole

    def close(self) -> None:
        with self._core.patience.share():
            super().close()

    def sync(self) -> None:
        """The server's settings say what survives; nothing is kept back but acknowledgements."""
        self._check()
        if self._ahead.waiting:
            self._settle_ahead()

    def checkpoint(self) -> None:
        """Syncs and space are the server's own; what is left to do is to forget processes that are long dead."""
        self._check()
        self._core.reader.change(self._core.reader.sql.FORGET)
