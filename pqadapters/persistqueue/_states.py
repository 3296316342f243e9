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

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, takewhile
from struct import Struct
from typing import NamedTuple

from ..clock import SYSTEM
from ..errors import ConditionFailed, DiskError, LeaseLost, StoreError, StoreLocked
from ..stdlib._stock import deadline_of, left_of
from ..store import Ack, Claim, Delete, Depth, Expect, Nack, Op, Order, Put, Record, Set, Store, Update
from ._holders import Holders

INITED, READY, UNACK, ACKED, FAILED = "0", "1", "2", "5", "9"
FRESH, _TICKET = b"\1", b"\0"
GLANCE = 0.25  #: seconds between two looks at what the store's own waiting doesn't tell of
_KEY, _WHEN = Struct(">q"), Struct(">d")
_LAST = (1 << 63) - 1
_NO_ID = 1 << 42  #: above those of all items: they are counted up
_MANY = 100_000  #: tickets that are remembered
_LOOKS = 10  #: at an item that is there, and goes from state to state while we look


class Row(NamedTuple):
    """An item: its id, when it was put (seconds since the epoch), its bytes."""

    id: int
    when: float
    payload: bytes


class _Looked(NamedTuple):
    """What was seen of the records with ids from `low` to `high`: these were of items never got, the newest first. No
    more of them come in between; some may be gone."""

    high: int = 0
    low: int = 0
    fresh: tuple[int, ...] = ()

    def without(self, id: int) -> _Looked:
        return self._replace(fresh=tuple(other for other in self.fresh if other != id))


class States:
    """The items of one queue. `newest`: the one put last is the first. `timeout`: seconds to wait for other users of
    the store."""

    def __init__(self, store: Store, queue: str, *, newest: bool, timeout: float) -> None:
        self._store, self.queue, self._newest, self._timeout = store, queue, newest, timeout
        self._rows, self._holders = f"{queue}/rows", Holders(store, queue, timeout)
        self._order = Order.NEWEST if newest else Order.RANK
        self._astray: list[Claim] = []  #: claims that couldn't be given back: nobody else gets those while we live
        self._looked = _Looked()
        self._tickets: dict[int, int] = {}  #: by item; it may have another one by now

    def _table(self, state: str) -> str:
        return f"{self.queue}/{state}"

    def _commit(self, *ops: Op) -> None:
        self._store.commit(*ops, timeout=self._timeout)

    def _claims(self, order: Order, timeout: float | None) -> list[Claim]:
        return self._store.claim(self.queue, order=order, timeout=timeout, patience=self._timeout)

    # Getting

    def take(self, timeout: float | None) -> Row | None:
        """The first item that waits, in the caller's hands from now on; None if none came in time."""
        if self._astray:
            astray, self._astray = self._astray, []
            for claim in astray:
                self._give_back(claim)
        deadline = deadline_of(timeout)
        while True:
            claims = self._claims(self._order, left_of(deadline))
            if not claims:
                return None
            claim = claims[0]
            try:
                found = self._newest_ticket(claim) if self._newest and claim.rank != FRESH else claim
                if found is None:
                    continue
                claim = found
                claim = self._first(claim)
                row = self._hand_out(claim)
            except BaseException:
                self._take_back(claim)
                raise
            if row is not None:
                return row

    def take_id(self, id: int) -> Row | None:
        """That item, in whatever state it is, unless it is in somebody's hands or there is none."""
        state = self.state(id)
        if state in (INITED, READY):
            claim = self._claim_of(id, state)
            return None if claim is None else self._hand_out(claim)
        if state not in (ACKED, FAILED):
            return None
        with suppress(ConditionFailed):
            self._commit(*self._state_left(id, state), *self._to_hand(id))
            return self.row(id)
        return None

    def take_after(self, id: int) -> Row | None:
        """The item that waits behind that id in the queue's order; at the end, the first one."""
        behind = self._behind(_within(id))
        if behind is None:
            return self.take(0.0)
        claims = self._store.claim(self.queue, ids=[behind], patience=self._timeout)
        return self._hand_out(claims[0]) if claims else self.take_after(id)

    def take_within(self, take: Callable[[], Row | None], timeout: float | None) -> Row | None:
        """What `take` gives within `timeout` seconds (None: for ever)."""
        deadline = deadline_of(timeout)
        while True:
            before = self._store.depth(self.queue)[:5]
            row, left = take(), left_of(deadline)
            if row is not None or (left is not None and left <= 0):
                return row
            self.wait(lambda depth, before=before: depth[:5] != before, left)  # type: ignore[misc]

    def wait(self, until: Callable[[Depth], bool], timeout: float | None) -> None:
        """Until something happens in the queue, a moment at the most: states aren't told of."""
        self._store.wait(self.queue, until, GLANCE if timeout is None else min(timeout, GLANCE))

    def _hand_out(self, claim: Claim) -> Row | None:
        """The item of a claimed record or ticket; None where it was in no state to be handed out."""
        id, fresh = _id_of(claim), claim.rank == FRESH
        try:
            if fresh:
                row = Row(id, claim.put_at, claim.payload)
                self._commit(Ack(claim), self._stored(row), *self._to_hand(id))
                return row
            self._commit(Ack(claim), *self._state_left(id, READY), *self._to_hand(id))
            return self.row(id)
        except ConditionFailed:  # the ticket outlived its item's state
            self._commit(Ack(claim))
            return None
        except LeaseLost:
            return None
        except BaseException:
            self._take_back(claim)
            raise

    def _to_hand(self, id: int) -> list[Op]:
        return [Set(self._table(UNACK), _KEY.pack(id), self._holders.mine())]

    def _stored(self, row: Row) -> Op:
        return Set(self._rows, _KEY.pack(row.id), _WHEN.pack(row.when) + row.payload)

    def _take_back(self, claim: Claim) -> None:
        """An interrupt came, before the item was in this handle's hands or after that: nobody would know that it is."""
        try:
            self._commit(Nack(claim))
        except LeaseLost:
            self.let_go(_id_of(claim))
        except StoreError:
            self._astray.append(claim)

    def let_go(self, id: int) -> None:
        """The item waits again if it is in this handle's hands."""
        with suppress(ConditionFailed, StoreError):
            left = Delete(self._table(UNACK), _KEY.pack(id), self._holders.mine())
            self._commit(left, *self._entering(id, READY))

    def _give_back(self, claim: Claim) -> None:
        try:
            self._commit(Nack(claim))
        except LeaseLost:
            pass
        except StoreError:  # locked, as a rule
            self._astray.append(claim)

    # The order: by the items' ids, which for tickets aren't the records'

    def _first(self, claim: Claim) -> Claim:
        """The claimed record, or the one that waits in front of it, in its place."""
        if claim.rank == FRESH:
            return claim  # tickets are newer than what they stand for, so that one in front would have been claimed
        if self._newest:
            return self._newest_of(claim)
        better = self._in_front(_id_of(claim))
        claims = self._store.claim(self.queue, ids=[better], patience=self._timeout) if better else []
        return self._instead(claim, claims[0]) if claims else claim

    def _in_front(self, id: int) -> int | None:
        """The record of what waits in front of that item. A backlog isn't read through for each that was given back."""
        older = takewhile(lambda record: record.id < id, self._store.browse(self.queue, order=Order.OLDEST))
        return next((record.id for record in older if record.rank == FRESH), None)

    def _newest_ticket(self, claim: Claim) -> Claim | None:
        """In place of a ticket, which needn't be that of the newest item: the first by rank. None where others have
        it by now."""
        if self._store.count(self._table(READY)) < 2:
            self._looked = _Looked()
            return claim
        self._give_back(claim)
        claims = self._claims(Order.RANK, 0.0)
        if claims and claims[0].rank == FRESH:
            self._give_back(claims.pop())
        return claims[0] if claims else None

    def _newest_of(self, claim: Claim) -> Claim:
        """That of the newest ticket, or of an item that was never got, and is newer."""
        while (fresh := self._newest_fresh(_id_of(claim))) is not None:
            claims = self._store.claim(self.queue, ids=[fresh], patience=self._timeout)
            self._looked = self._looked.without(fresh)
            if claims:
                return self._instead(claim, claims[0])
        return claim

    def _newest_fresh(self, above: int) -> int | None:
        """The newest item that was never got, if its id is above that one. It lies behind tickets, as a rule, which are
        read through once, and not for each item."""
        while True:
            self._looked = looked = self._look()
            if looked.fresh and looked.fresh[0] > above:
                return looked.fresh[0]
            if looked.fresh or looked.low <= above:
                return None
            self._looked = _Looked()

    def _look(self) -> _Looked:
        before, fresh, tickets, top = self._looked, list[int](), 0, 0
        for record in self._store.browse(self.queue, order=Order.NEWEST):
            top = top or record.id
            if record.id <= before.high:
                return _Looked(top, before.low, (*fresh, *before.fresh))
            if record.rank != FRESH:
                tickets += 1
                continue
            fresh.append(record.id)
            if len(fresh) > tickets:
                return _Looked(top, record.id, tuple(fresh))
        return _Looked(top, 0, tuple(fresh))

    def _instead(self, claim: Claim, other: Claim) -> Claim:
        """That one, and the first one waits again."""
        try:
            self._give_back(claim)
        except BaseException:
            self._give_back(other)
            raise
        return other

    def _behind(self, id: int) -> int | None:
        """The record of what waits next behind that item."""
        again = self._store.count(self._table(READY))
        records = self._fresh(after=id) if self._store.depth(self.queue).unfinished > again else iter(())
        fresh = next((record for record in records if self._is_behind(record.id, id)), None)
        return self._nearest([other for other in self.ids(READY) if self._is_behind(other, id)], fresh)

    def _nearest(self, ready: list[int], fresh: Record | None) -> int | None:
        """The record of the first one in the queue's order, of items that wait again and one that was never got."""
        for id in sorted(ready, reverse=self._newest):
            if fresh is not None and self._is_behind(id, fresh.id):
                break
            if (ticket := self._ticket_of(id)) is not None:
                return ticket
        return None if fresh is None else fresh.id

    def _ticket_of(self, id: int) -> int | None:
        """The record by which that item waits again. It is newer than the item, and as a rule among the newest ones;
        those that are passed on the way to it are remembered, for who goes from item to item."""
        known = self._tickets.get(id)
        if known and next((record.id for record in self._store.browse(self.queue, after=known - 1)), 0) == known:
            return known
        if len(self._tickets) > _MANY:
            self._tickets = {}
        passed: dict[int, int] = {}
        for record in takewhile(lambda record: record.id > id, self._store.browse(self.queue, order=Order.NEWEST)):
            if record.rank != FRESH and passed.setdefault(_id_of(record), record.id) and id in passed:
                break
        self._tickets.update(passed)
        return passed.get(id)

    def _is_behind(self, id: int, other: int) -> bool:
        return id < other if self._newest else id > other

    def _fresh(self, after: int = 0) -> Iterator[Record]:
        """What was never got and waits, in the queue's order; `after` where that is by rising ids."""
        if self._newest:
            records = self._store.browse(self.queue, order=Order.NEWEST)
        else:
            records = self._store.browse(self.queue, order=Order.OLDEST, after=after)
        return (record for record in records if record.rank == FRESH)

    # States

    def state(self, id: int) -> str | None:
        """The item's state; None where there is no such item."""
        id = _within(id)
        key = _KEY.pack(id)
        for _ in range(_LOOKS):
            for state in (UNACK, READY, ACKED, FAILED):
                if self._store.get(self._table(state), key) is not None:
                    return state
            if self._is_fresh(id):  # last, for it costs most
                return INITED
            if self._store.get(self._rows, key) is None:
                break
        return None

    def _is_fresh(self, id: int) -> bool:
        record = next(self._store.browse(self.queue, state=None, after=id - 1), None)
        return record is not None and record.id == id and record.rank == FRESH

    def mark(self, id: int, state: str) -> bool:
        """The item is in that state from now on; False where there is no such item.

        Raises StoreLocked where it stayed in another's hands, halfway into a state, for `timeout` seconds.
        """
        deadline = SYSTEM.monotonic() + self._timeout
        while True:
            now = self.state(id)
            if now is None or now == state:
                return now is not None
            if self._move(id, now, state):
                return True
            if SYSTEM.monotonic() > deadline:
                raise StoreLocked(f"item {id} of {self.queue} in {self._store.place} is being got by another process")

    def _move(self, id: int, now: str, state: str) -> bool:
        """False where it isn't in the state `now` any more, or another is about to get it."""
        claim = None
        if now in (INITED, READY):
            claim = self._claim_of(id, now)
            if claim is None:
                return False
        try:
            if claim is not None and now == INITED:
                self._commit(Ack(claim), self._stored(Row(id, claim.put_at, claim.payload)), *self._entering(id, state))
            else:
                ticket = [] if claim is None else [Ack(claim)]
                self._commit(*ticket, *self._state_left(id, now), *self._entering(id, state))
        except BaseException as error:
            if claim is not None:
                self._give_back(claim)
            if not isinstance(error, (ConditionFailed, LeaseLost)):
                raise
            return False
        return True

    def _claim_of(self, id: int, state: str) -> Claim | None:
        """The record or ticket of an item that waits; None where another has it just now."""
        if state == INITED:
            found: int | None = id
        else:
            found = self._ticket_of(id)
        claims = [] if found is None else self._store.claim(
            self.queue, ids=[found], timeout=GLANCE, patience=self._timeout
        )
        return claims[0] if claims else None

    def _state_left(self, id: int, state: str) -> list[Op]:
        return [Delete(self._table(state), _KEY.pack(id), Expect.PRESENT)]

    def _entering(self, id: int, state: str) -> list[Op]:
        key = _KEY.pack(id)
        entered: list[Op] = [Set(self._table(state), key, b"")]
        if state == READY:
            place = _KEY.pack(_LAST - id) if self._newest else key
            entered.append(Put(self.queue, key, rank=_TICKET + place))
        return entered

    def resume(self, *, own: bool) -> int:
        """What dead holders had in hand waits again; with `own`, also what this handle has. Returns how many items.

        Items are looked at before holders: who gets one meanwhile would have a holder that nobody has seen yet.
        """
        while True:
            unack = dict(self._store.scan(self._table(UNACK)))
            dead = self._holders.dead()
            alive = self._holders.alive(dead, own=own)
            left = {key: holder for key, holder in unack.items() if holder not in alive}
            ops: list[Op] = [Ack(claim) for claim in dead]
            for key, holder in left.items():
                ops += [Delete(self._table(UNACK), key, holder), *self._entering(_KEY.unpack(key)[0], READY)]
            try:
                if ops:
                    self._commit(*ops)
                return len(left)
            except BaseException as error:
                for claim in dead:  # else they would pass for alive
                    self._give_back(claim)
                if not isinstance(error, (ConditionFailed, LeaseLost)):
                    raise  # else somebody has acknowledged one of the items meanwhile

    # Looking

    def count(self, state: str) -> int:
        """How many items are in a state; INITED aside."""
        return self._store.count(self._table(state))

    def waiting(self) -> int:
        """How many items are inited or ready."""
        depth = self._store.depth(self.queue)
        return depth.ready + depth.claimed

    def row(self, id: int) -> Row | None:
        """An item that was got before."""
        return _row(id, self._store.get(self._rows, _KEY.pack(id)))

    def all(self) -> list[tuple[Row, str]]:
        """Every item with its state, by id."""
        found = {
            record.id: (Row(record.id, record.put_at, record.payload), INITED)
            for record in self._store.browse(self.queue, state=None)
            if record.rank == FRESH
        }
        rows = self._store.snapshot(self._rows)
        for state in (READY, UNACK, ACKED, FAILED):
            for key in self._store.keys(self._table(state)):
                row = _row(_KEY.unpack(key)[0], rows.get(key))
                if row is not None:
                    found[row.id] = row, state
        return [found[id] for id in sorted(found)]

    def ids(self, state: str) -> list[int]:
        """The items in a state; INITED aside."""
        return [_KEY.unpack(key)[0] for key in self._store.keys(self._table(state))]

    # Changing

    def change(self, id: int, payload: bytes, more: Callable[[bytes], list[Op]]) -> bool:
        """The item has this payload from now on, and what `more` makes of the one before happens with it."""
        id = _within(id)
        key = _KEY.pack(id)
        while True:
            data = self._store.get(self._rows, key)
            if data is None and self._is_fresh(id):
                claim = self._claim_of(id, INITED)
                if claim is None:
                    continue
                try:
                    self._commit(*more(claim.payload), Update(claim, payload), Nack(claim))
                except BaseException:
                    self._give_back(claim)
                    raise
                return True
            data = data or self._store.get(self._rows, key)  # it may have been got just now
            if data is None:
                return False
            new = data[: _WHEN.size] + payload
            try:
                self._commit(*more(data[_WHEN.size :]), Set(self._rows, key, new, data))
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
                self._commit(*chain.from_iterable(going))
        except ConditionFailed:
            for ops in going:
                with suppress(ConditionFailed):
                    self._commit(*ops)
        except DiskError:
            with suppress(StoreError):
                self._store.checkpoint()  # what was written so far may give back space
            if len(ids) == 1:
                raise
            for part in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
                self.forget(state, part, more)

    def _going(self, id: int, state: str, more: Callable[[bytes], list[Op]]) -> list[Op]:
        data = self._store.get(self._rows, _KEY.pack(id))
        gone = [] if data is None else more(data[_WHEN.size :])
        expect = Expect.ANY if data is None else data  # who updates it meanwhile has it stay
        return [*self._state_left(id, state), Delete(self._rows, _KEY.pack(id), expect), *gone]


def _within(id: int) -> int:
    """An id as a caller gives it: one that no item can have is one in front of all, or behind all."""
    return min(max(id, 0), _NO_ID)


def _id_of(record: Claim | Record) -> int:
    """The item's id."""
    return record.id if record.rank == FRESH else int(_KEY.unpack(record.payload)[0])


def payload_of(data: bytes) -> bytes:
    """Of a row."""
    return data[_WHEN.size :]


def _row(id: int, data: bytes | None) -> Row | None:
    return None if data is None else Row(id, _WHEN.unpack(data[: _WHEN.size])[0], payload_of(data))
