"""A queue of persist-queue's over one queue of a store: what its SQLite and MySQL classes have in common.

Any thread may call anything, and any process that the store is open to. A get with `auto_commit=True` survives what the
store's durability names when it returns; without, the item is claimed, and ready again when its handle or process ends.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from .. import telling, wording
from ..astray import give_back, settle
from ..errors import LeaseLost
from ..interrupts import works
from ..serializers import Serializer
from ..stdlib._lines.aside import MISSING, Aside
from ..stdlib._lines.held import Consumer, Held, consumer
from ..stdlib._lines.stock import deadline_of, left_of
from ..stdlib._queues.beyond import check_timeout
from ..store import Ack, Claim, Looks, Nack, Op, Order, Record, Store, Update
from ._stored import Stored, id_and_item, id_in
from .exceptions import Empty

_log = telling.logger("pqadapters.queue")


class Records(Stored):
    """The records of one queue, each gone once it was got, or with `auto_commit=False` at task_done()."""

    _order = Order.OLDEST
    if TYPE_CHECKING:  # as persist-queue says it

        def put(self, item: Any, *args: Any, **kwargs: Any) -> int: ...
        def put_nowait(self, item: Any) -> int: ...

    def _begin(
        self, store: Store, name: str, serializer: Serializer, *, timeout: float, auto_commit: bool, maxsize: int
    ) -> None:
        super()._begin(store, name, serializer, timeout=timeout, auto_commit=auto_commit, maxsize=maxsize)
        self._held, self._aside = Held(), Aside(store)
        self._calls: list[object] = []  #: of task_done() by threads that hold nothing; to append is one step
        self._wrote: weakref.WeakSet[Any] = weakref.WeakSet()  #: who has put since its last task_done()
        self._unsynced = False  #: something was put since the last task_done()

    def _insert(self, ops: list[Op], block: bool, timeout: float | None) -> int:
        id = super()._insert(ops, block, timeout)
        if not self.auto_commit:
            self._wrote.add(self._held.asker or consumer())
            self._unsynced = True
        return id

    # Getting

    def get(
        self,
        block: bool = True,
        timeout: float | None = None,
        id: Any = None,
        raw: bool = False,
    ) -> Any:
        """Take the next item, or the one with this id (an int, or what `raw=True` gave).

        Waits for it: for ever, `timeout` seconds, or not at all. `raw=True` gives
        `{"pqid": id, "data": item, "timestamp": seconds since the epoch}`. The item is gone for good when this returns;
        with `auto_commit=False`, once the same thread has called task_done().
        Raises Empty, ValueError for a negative timeout. What can't be decoded goes to the dead letters on the way;
        where only a class or module is missing, it is left to others for an hour first.
        """
        if block:
            check_timeout(timeout)
        settle(self._store, self.timeout)
        wanted = id_in(id)
        deadline = deadline_of(timeout if block else 0.0)
        seen = None if wanted else self._look()
        while True:
            claims = [seen] if seen is not None else self._store.claim(
                self._queue,
                order=self._order,
                ids=[wanted] if wanted else None,
                timeout=left_of(deadline),
                patience=self.timeout,
            )
            seen = None  # if that comes to nothing, the next one is claimed
            if not claims:
                raise Empty
            try:
                found = self._taken(claims[0])
            except BaseException:
                if claims[0].attempt:  # else it is nobody's
                    self._give_back(claims)
                raise
            if found:
                claim, item = claims[0], found[0]
                return {"pqid": claim.id, "data": item, "timestamp": claim.put_at} if raw else item

    def _look(self) -> Claim | None:
        """The first record, if it can be removed without being claimed, which would be written down."""
        if self.auto_commit and self._store.capabilities.looks:
            return cast("Looks", self._store).look(self._queue, self._order)
        return None

    def get_nowait(self, id: Any = None, raw: bool = False) -> Any:
        """Take the next item, or the one with this id, or raise Empty."""
        return self.get(block=False, id=id, raw=raw)

    def _taken(self, claim: Claim) -> list[Any]:
        """The item of a record that was claimed or looked at, which is the caller's from now on; nothing where there
        was none to have."""
        try:
            item = self._serializer.loads(claim.payload)
        except (Exception, SystemExit) as error:
            if isinstance(error, MemoryError) or works(self._serializer.loads, claim.payload):
                raise
            if claim.attempt:  # else who claims it does
                self._put_away(claim, error)
            return []
        if not self.auto_commit:
            self._held.askers()[claim.id] = claim, None
            return [item]
        return [item] if self._is_removed(claim) else []

    def _is_removed(self, claim: Claim) -> bool:
        """False where it is somebody else's by now."""
        try:
            self._store.commit(*self._removal(claim), timeout=self.timeout)
        except LeaseLost:
            return False
        return True

    def _removal(self, claim: Claim) -> list[Op]:
        """What makes an end of a record. With `auto_commit=False` a power cut may undo it: the item comes again."""
        return [Ack(claim, lazy=not self.auto_commit)]

    def _put_away(self, claim: Claim, error: BaseException) -> None:
        """To the dead letters, or to whoever knows the class: a newer program, in a rolling deploy."""
        reason = f"can't be decoded: {wording.named(error)}"
        shared = not self._store.capabilities.exclusive
        if isinstance(error, MISSING) and shared and self._aside.add(claim, reason):
            where = f"{self._queue} in {self._store.place}"
            _log.warning("record %d of %s is left to others for an hour: it %s", claim.id, where, reason)
        else:
            self._bury(claim, reason)

    def _bury(self, claim: Claim, reason: str) -> None:
        self._store.commit(Nack(claim, dead=reason), *self._removal(claim)[1:], timeout=self.timeout)
        _log.error("record %d of %s in %s is a dead letter now: %s", claim.id, self._queue, self._store.place, reason)

    def _give_back(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._held.askers().pop(claim.id, None)
        give_back(self._store, claims, self.timeout)

    # Done

    def task_done(self) -> None:
        """With `auto_commit=False`: what was put so far survives a power cut when this returns, and what this thread
        has got so far is done (a power cut may undo that: the item comes again). Another thread's items aren't
        touched, unless this one has neither put nor got anything: then the call counts for another, and once all that
        is in hand is covered by such calls, all of it is done.
        """
        if self.auto_commit:
            return
        held, me = self._held, consumer()
        mine = held.own().pop_all(me)
        entries = mine or self._covered(me)
        self._wrote.discard(me)
        try:
            self._remove([claim for _, claim, _ in entries])
        except BaseException:  # to be done by the next call
            for who, claim, item in reversed(entries):
                held.restore(who, claim, item)
            self._calls += [me] * (0 if mine else len(entries) - 1)
            raise
        if self._unsynced:
            self._unsynced = False  # first: who puts meanwhile isn't overlooked
            try:
                self._store.sync()
            except BaseException:
                self._unsynced = True
                raise

    def _covered(self, me: object) -> list[tuple[Consumer, Claim, Any]]:
        outstanding = self._held.snapshot()
        if me in self._wrote or not outstanding:
            return []
        self._calls.append(me)
        if len(self._calls) < len(outstanding):
            return []
        self._calls.clear()
        return self._held.pop(outstanding)

    def _remove(self, claims: list[Claim]) -> None:
        ops = [op for claim in claims for op in self._removal(claim)]
        try:
            if ops:
                self._store.commit(*ops, timeout=self.timeout)
        except LeaseLost:
            for claim in claims:
                with suppress(LeaseLost):
                    self._store.commit(*self._removal(claim), timeout=self.timeout)

    def join(self) -> None:
        """Wait until nothing is in the queue: neither waiting, nor got and not yet persisted by task_done()."""
        self._store.wait(self._queue, lambda depth: not depth.unfinished)

    # Looking and changing

    def update(self, item: Any, id: Any = None) -> int:
        """Put this in the place of the item with that id; `item` may be what `raw=True` gave. Returns the id.

        Nothing is changed where there is no such item. Raises ValueError without an id.
        """
        wanted, item = id_and_item(item, id)
        payload = self._dumps(item)
        for own in list(self._held.by.values()):
            if (entry := own.get(wanted)) is not None:
                claim = entry[0]
                with suppress(LeaseLost):  # another thread has called task_done() just now
                    self._store.commit(*self._change(claim, payload), timeout=self.timeout)
                    if wanted in own:
                        own[wanted] = claim._replace(payload=payload), None
                return wanted
        for claim in self._store.claim(self._queue, ids=[wanted], patience=self.timeout):
            try:
                self._store.commit(*self._change(claim, payload), Nack(claim), timeout=self.timeout)
            except BaseException:
                self._give_back([claim])
                raise
        return wanted

    def _change(self, claim: Claim, payload: bytes) -> list[Op]:
        return [Update(claim, payload)]

    def queue(self) -> list[dict[str, Any]]:
        """What is in the queue, by id: `{"id", "data", "timestamp"}` of each item, got and not yet done ones too."""
        return [
            {"id": record.id, "data": data[0], "timestamp": record.put_at}
            for record in self._store.browse(self._queue, state=None)
            if (data := self._readable(record))
        ]

    def _readable(self, record: Record) -> list[Any]:
        """Its item; nothing where it can't be decoded: the get() that meets it says so."""
        try:
            return [self._serializer.loads(record.payload)]
        except (Exception, SystemExit):
            if works(self._serializer.loads, record.payload):
                raise  # a signal handler's exception
            return []
