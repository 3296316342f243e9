"""The states of an acknowledging queue's items, each change of state one commit.

An item that was never got is a record of the queue `Q`, whose id is the item's. From its first get on it is a row of
the table `Q/rows`, and a key of the table of its state::

    inited   record of Q (rank 01)                      waits
    ready    ticket in Q (rank 00 key), key in Q/1      waits again: given back, or resumed
    unack    key in Q/2, its value the holder's id      in somebody's hands
    acked    key in Q/5
    failed   key in Q/9

    Q/rows   key = id:8 big-endian, value = time of the put:8 (double), payload

What a dead holder had is told from what a live one still works on: see _holders.py.

Any thread and process may call anything. No lock is held: a commit is refused where an item isn't in the state that was
seen, and then it is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import chain

from ..clock import SYSTEM
from ..errors import ConditionFailed, DiskError, LeaseLost, StoreError, StoreLocked
from ..stdlib._lines.stock import deadline_of, left_of
from ..store import Ack, Claim, Delete, Depth, Expect, Nack, Op, Order, Put, Set, Store, Update
from ._claiming import Claiming
from ._holders import Holders
from ._rows import FRESH, KEY, TICKET, WHEN, Row, id_of, ids_in, row_of, within
from ._search import Search

INITED, READY, UNACK, ACKED, FAILED = "0", "1", "2", "5", "9"
GLANCE = 0.25  #: seconds between two looks at what the store's own waiting doesn't tell of
_LAST = (1 << 63) - 1
_LOOKS = 10  #: at an item that is there, and goes from state to state while we look


class States:
    """The items of one queue. `newest`: the one put last is the first. `timeout`: seconds to wait for other users of
    the store."""

    def __init__(self, store: Store, queue: str, *, newest: bool, timeout: float) -> None:
        self._store, self.queue, self._newest, self._timeout = store, queue, newest, timeout
        self._rows, self._holders = f"{queue}/rows", Holders(store, queue, timeout)
        self._order = Order.NEWEST if newest else Order.RANK
        self._claiming = Claiming(store, queue, timeout)
        self._search = Search(store, queue, self.table(READY), self._claiming, newest=newest)

    def table(self, state: str) -> str:
        """Of a state."""
        return f"{self.queue}/{state}"

    # Getting

    def take(self, timeout: float | None) -> Row | None:
        """The first item that waits, in the caller's hands from now on; None if none came in time."""
        self._claiming.settle()
        seen = self._claiming.seen(self._order)
        if seen is not None and seen.rank == FRESH and (row := self._got(lambda: seen)) is not None:
            return row
        deadline = deadline_of(timeout)
        while True:
            claim = self._claiming.first(self._order, left_of(deadline))
            if claim is None:
                return None
            undo = self._claiming.give_back  # what was given back on the way may be in another thread's hands
            try:
                found = self._search.newest_ticket(claim) if self._newest and claim.rank != FRESH else claim
                if found is None:
                    continue
                claim = found
                claim = self._search.first(claim)
                undo = self._take_back
                row = self._hand_out(claim)
            except BaseException:
                undo(claim)
                raise
            if row is not None:
                return row

    def take_id(self, id: int) -> Row | None:
        """That item, in whatever state it is, unless it is in somebody's hands or there is none."""
        state = self.state(id)
        if state in (INITED, READY):
            return self._got(lambda: self._claim_of(id, state))
        if state not in (ACKED, FAILED):
            return None
        try:
            return self._got_again(id, state)
        except ConditionFailed:
            return self.take_id(id)  # it is in another state by now

    def take_after(self, id: int) -> Row | None:
        """The item that waits behind that id in the queue's order; at the end, the first one."""
        behind = self._search.behind(within(id))
        if behind is None:
            return self.take(0.0)
        row = self._got(lambda: self._claiming.exactly(behind))
        return self.take_after(id) if row is None else row

    def take_within(self, take: Callable[[], Row | None], timeout: float | None) -> Row | None:
        """What `take` gives within `timeout` seconds (None: for ever)."""
        deadline = deadline_of(timeout)
        while True:
            before, left = self._store.depth(self.queue, age=False), left_of(deadline)
            row = take()  # nothing behind that: whoever has got an item is told of it
            if row is not None or (left is not None and left <= 0):
                return row
            self.wait(lambda depth, before=before: depth != before, left)  # type: ignore[misc]

    def wait(self, until: Callable[[Depth], bool], timeout: float | None) -> None:
        """Until something happens in the queue, a moment at the most: states aren't told of."""
        self._store.wait(self.queue, until, GLANCE if timeout is None else min(timeout, GLANCE))

    def _got(self, claim_it: Callable[[], Claim | None]) -> Row | None:
        """The item of what that claims; None where it claims nothing, or what was in no state to be handed out."""
        claim = claim_it()
        try:
            return None if claim is None else self._hand_out(claim)
        except BaseException as error:
            if claim is not None and (claim.attempt or not isinstance(error, StoreError)):  # else it was but looked at
                self._take_back(claim)
            raise

    def _got_again(self, id: int, state: str) -> Row | None:
        """The item that is done, in that state, and stays in it where this raises. Raises ConditionFailed."""
        stored = False
        try:
            self._claiming.commit(*self._state_left(id, state), *self._to_hand(id))
            stored = True
            row = self.row(id)
            return row and row._replace(done=state)
        except BaseException as error:
            if stored or not isinstance(error, (ConditionFailed, StoreError)):
                self.let_go(id, state)
            raise

    def _hand_out(self, claim: Claim) -> Row | None:
        """The item of a claimed record or ticket; None where it was in no state to be handed out."""
        id, fresh = id_of(claim), claim.rank == FRESH
        try:
            if fresh:
                row = Row(id, claim.put_at, claim.payload)
                self._claiming.commit(Ack(claim), self.stored(row), *self._to_hand(id))
                return row
            self._claiming.commit(Ack(claim), *self._state_left(id, READY), *self._to_hand(id))
            return self.row(id)
        except ConditionFailed:  # the ticket outlived its item's state
            self._claiming.commit(Ack(claim))
            return None
        except LeaseLost:
            return None

    def _to_hand(self, id: int) -> list[Op]:
        return [Set(self.table(UNACK), KEY.pack(id), self._holders.mine())]

    def stored(self, row: Row) -> Op:
        """What makes the item a row."""
        return Set(self._rows, KEY.pack(row.id), WHEN.pack(row.when) + row.payload)

    def _take_back(self, claim: Claim) -> None:
        """An interrupt came, before the item was in this handle's hands or after that: nobody would know that it is."""
        try:
            self._claiming.commit(Nack(claim))
        except LeaseLost:  # as one that was only looked at in any case
            self.let_go(id_of(claim))
        except StoreError:
            self._claiming.give_back_later(claim)

    def let_go(self, id: int, done: str | None = None) -> None:
        """The item waits again, or is done as it was, if it is in this handle's hands."""
        with suppress(ConditionFailed, StoreError):
            left = Delete(self.table(UNACK), KEY.pack(id), self._holders.mine())
            self._claiming.commit(left, *self.entering(id, done or READY))

    # States

    def state(self, id: int) -> str | None:
        """The item's state; None where there is no such item."""
        id = within(id)
        key = KEY.pack(id)
        for _ in range(_LOOKS):
            for state in (UNACK, READY, ACKED, FAILED):
                if self._store.get(self.table(state), key) is not None:
                    return state
            if self._is_fresh(id):  # last, for it costs most
                return INITED
            if self._store.get(self._rows, key) is None:
                break
        return None

    def _is_fresh(self, id: int) -> bool:
        record = self._claiming.record(id)
        return record is not None and record.rank == FRESH

    def mark(self, id: int, state: str, *, in_hand: bool = False) -> bool:
        """The item is in that state from now on; False where there is no such item. `in_hand`: it is unack, as a rule.

        Raises StoreLocked where it stayed in another's hands, halfway into a state, for `timeout` seconds.
        """
        if in_hand and self._move(id, UNACK, state):
            return True
        deadline = SYSTEM.monotonic() + self._timeout
        while True:
            now = self.state(id)
            if now is None or now == state:
                return now is not None
            if self._move(id, now, state):
                return True
            if SYSTEM.monotonic() > deadline:
                raise self._stuck(id)

    def _stuck(self, id: int) -> StoreLocked:
        return StoreLocked(f"item {id} of {self.queue} in {self._store.place} is being got by another process")

    def _move(self, id: int, now: str, state: str) -> bool:
        """False where it isn't in the state `now` any more, or another is about to get it."""
        claim = None
        if now in (INITED, READY):
            claim = self._claim_of(id, now)
            if claim is None:
                return False
        try:
            if claim is not None and now == INITED:
                row = Row(id, claim.put_at, claim.payload)
                self._claiming.commit(Ack(claim), self.stored(row), *self.entering(id, state))
            else:
                ticket = [] if claim is None else [Ack(claim)]
                self._claiming.commit(*ticket, *self._state_left(id, now), *self.entering(id, state))
        except BaseException as error:
            if claim is not None:
                self._claiming.give_back(claim)
            if not isinstance(error, (ConditionFailed, LeaseLost)):
                raise
            return False
        return True

    def _claim_of(self, id: int, state: str) -> Claim | None:
        """The record or ticket of an item that waits; None where another has it just now."""
        found = id if state == INITED else self._search.ticket_of(id)
        return None if found is None else self._claiming.exactly(found, GLANCE)

    def _state_left(self, id: int, state: str) -> list[Op]:
        return [Delete(self.table(state), KEY.pack(id), Expect.PRESENT)]

    def entering(self, id: int, state: str) -> list[Op]:
        """What brings it into the state."""
        key = KEY.pack(id)
        entered: list[Op] = [Set(self.table(state), key, b"")]
        if state == READY:
            place = KEY.pack(_LAST - id) if self._newest else key
            entered.append(Put(self.queue, key, rank=TICKET + place))
        return entered

    def resume(self, *, own: bool) -> int:
        """What dead holders had in hand waits again; with `own`, also what this handle has. Returns how many items.

        Items are looked at before holders: who gets one meanwhile would have a holder that nobody has seen yet.
        """
        while True:
            unack = dict(self._store.scan(self.table(UNACK)))
            dead = self._holders.dead()
            try:
                alive = self._holders.alive(dead, own=own)
                left = {key: holder for key, holder in unack.items() if holder not in alive}
                ops: list[Op] = [Ack(claim) for claim in dead]
                for key, holder in left.items():
                    ops += [Delete(self.table(UNACK), key, holder), *self.entering(KEY.unpack(key)[0], READY)]
                if ops:
                    self._claiming.commit(*ops)
                return len(left)
            except BaseException as error:
                self._holders.leave_dead(dead)
                if not isinstance(error, (ConditionFailed, LeaseLost)):
                    raise  # else somebody has acknowledged one of the items meanwhile

    # Looking

    def count(self, state: str) -> int:
        """How many items are in a state; INITED aside."""
        return self._store.count(self.table(state))

    def waiting(self) -> int:
        """How many items are inited or ready."""
        depth = self._store.depth(self.queue, age=False)
        return depth.ready + depth.claimed

    def active(self) -> int:
        """How many items are inited, ready or unack. They are counted until that is twice the same: one that is given
        back in between is neither here nor there, and join() would end."""
        seen = self.waiting(), self.count(UNACK)
        for _ in range(_LOOKS):
            before, seen = seen, (self.waiting(), self.count(UNACK))
            if seen == before:
                break
        return max(sum(before), sum(seen))

    def row(self, id: int) -> Row | None:
        """An item that was got before."""
        return row_of(id, self._store.get(self._rows, KEY.pack(id)))

    def all(self) -> list[tuple[Row, str]]:
        """Every item with its state, by id."""
        found = {
            record.id: (Row(record.id, record.put_at, record.payload), INITED)
            for record in self._store.browse(self.queue, state=None)
            if record.rank == FRESH
        }
        rows = self._store.snapshot(self._rows)
        for state in (READY, UNACK, ACKED, FAILED):
            for key in self._store.keys(self.table(state)):
                row = row_of(KEY.unpack(key)[0], rows.get(key))
                if row is not None:
                    found[row.id] = row, state
        for id in [id for (id,) in map(KEY.unpack, rows) if id not in found]:  # they go from state to state meanwhile
            state_now, row = self.state(id), row_of(id, rows[KEY.pack(id)])
            if row is not None and state_now is not None:
                found[id] = row, state_now
        return [found[id] for id in sorted(found)]

    def ids(self, state: str) -> list[int]:
        """The items in a state; INITED aside."""
        return ids_in(self._store, self.table(state))

    # Changing

    def change(self, id: int, payload: bytes, more: Callable[[bytes], list[Op]]) -> bool:
        """The item has this payload from now on, and what `more` makes of the one before happens with it. False where
        there is no such item. Raises StoreLocked as `mark` does."""
        id = within(id)
        key, deadline = KEY.pack(id), SYSTEM.monotonic() + self._timeout
        while True:
            data = self._store.get(self._rows, key)
            if data is None and self._is_fresh(id):
                claim = self._claim_of(id, INITED)
                if claim is None:
                    if SYSTEM.monotonic() > deadline:
                        raise self._stuck(id)
                    continue
                try:
                    self._claiming.commit(*more(claim.payload), Update(claim, payload), Nack(claim))
                except BaseException:
                    self._claiming.give_back(claim)
                    raise
                return True
            data = data or self._store.get(self._rows, key)  # it may have been got just now
            if data is None:
                return False
            new = data[: WHEN.size] + payload
            try:
                self._claiming.commit(*more(data[WHEN.size :]), Set(self._rows, key, new, data))
                return True
            except ConditionFailed:
                if self._store.get(self._rows, key) == data:
                    raise  # what `more` made failed; else somebody else has changed the item

    def forget(self, state: str, ids: list[int], more: Callable[[bytes], list[Op]]) -> None:
        """Those of them that are in that state are gone: in one commit, unless one has changed its state meanwhile, or
        a full disk has room for smaller ones only."""
        going = [self._going(id, state, more) for id in ids]
        try:
            if going:
                self._claiming.commit(*chain.from_iterable(going))
        except ConditionFailed:
            for ops in going:
                with suppress(ConditionFailed):
                    self._claiming.commit(*ops)
        except DiskError:
            with suppress(StoreError):
                self._store.checkpoint()  # what was written so far may give back space
            if len(ids) == 1:
                raise
            for part in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
                self.forget(state, part, more)

    def _going(self, id: int, state: str, more: Callable[[bytes], list[Op]]) -> list[Op]:
        data = self._store.get(self._rows, KEY.pack(id))
        gone = [] if data is None else more(data[WHEN.size :])
        expect = Expect.ANY if data is None else data  # who updates it meanwhile has it stay
        return [*self._state_left(id, state), Delete(self._rows, KEY.pack(id), expect), *gone]
