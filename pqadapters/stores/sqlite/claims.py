"""Claiming, in a transaction that is open: which records a claim takes. Damaged ones are put aside on the way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from ...store import Claim, Order
from . import schema
from .changes import Who, payload_of, place_of
from .errors import malformed
from .names import Names
from .schema import ID_BITS, IDS, MAX_QUEUES, is_whole, name_text, places

_new: Any = tuple.__new__
_ID = IDS - 1  #: the bits of a place that are the id
_NONE_DELAYED = (0, 1, 2, 3)  #: of `schema._COUNTS`


def _counts(both: Any) -> tuple[int, int]:
    """How many are delayed, and whether the queue is ranked."""
    if not isinstance(both, int):
        raise malformed()
    return divmod(both >> 1, 2)


#: What a claim has got, or None; and whether that was the last one that was ready, as far as is known.
Taken = tuple["list[Claim] | None", bool]
Ask = Callable[[str, "tuple[int, ...]"], "list[Any]"]  #: the answer to a question with these values


def claim_oldest(connection: sqlite3.Connection, queue: str, number: int, limit: int, who: Who) -> Taken | None:
    """Claim the first ready records by their ids. None where there is more to it, and nothing was changed: some are
    delayed or damaged, or there is none."""
    rows = connection.execute(*first_of(number, limit)).fetchall()
    if not rows or rows[0][9] not in _NONE_DELAYED:
        return None
    claims: list[Claim] = []
    for row in rows:
        payload, note = row[8], row[7]
        if payload is None:
            payload = payload_of(connection, row)
        if not is_whole(row, payload):
            return None
        fields = (queue, row[0] & _ID, row[4] + 1, payload, row[6] or b"", row[3], name_text(note) if note else "")
        claims.append(_new(Claim, fields))
    if len(rows) == 1:
        found = connection.execute(schema.CLAIM, (*who, rows[0][0])).rowcount
    else:
        found = connection.execute(schema.CLAIM_RANGE, (*who, rows[0][0], rows[-1][0])).rowcount
    if found != len(rows):  # the tree doesn't lead to where they stand
        raise malformed()
    return claims, rows[0][9] & 1 == 1


def first_of(number: int, limit: int) -> tuple[str, tuple[int, ...]]:
    """The question for the first ready records of a queue, and its values."""
    first = number << ID_BITS
    return schema.FIRST, (number, first, first + IDS, limit)


def first_seen(ask: Ask, names: Names, queue: str, order: Order) -> Claim | None:
    """The first ready record, as one that was looked at: attempt 0. None where there is more to it: it was claimed
    before, is damaged, some are delayed, it isn't known yet that there are ranks, or there is none."""
    number = names.queue(queue)
    if number is None:
        return None
    by_rank = order is Order.RANK and number in names.ranked
    if by_rank:
        rows = ask(schema.FIRST_BY_RANK, (number, number, 1))
    elif order is Order.NEWEST:
        rows = ask(schema.LAST_READY, (number, *places(number), 1))
    else:
        rows = ask(*first_of(number, 1))
    if not rows or rows[0][9] not in _NONE_DELAYED or (order is Order.RANK and _counts(rows[0][9])[1] != by_rank):
        return None
    row = rows[0]
    payload, note = row[8], row[7]
    if row[4]:
        return None
    if payload is None:
        ((payload,),) = ask(schema.BODY, (row[0] & _ID,)) or [(b"",)]  # somebody was first
    if not is_whole(row, payload):
        return None
    return Claim(queue, row[0] & _ID, 0, payload, row[6] or b"", row[3], name_text(note) if note else "")


class ManyDue(Exception):
    """So many delayed records are due that they are to be made ready before, some at a time."""


class Take:
    """One claim's way through a transaction. `damaged` is called with the row of a record that isn't whole,
    `miscounted` where the queue's count was made right."""

    def __init__(
        self, connection: sqlite3.Connection, names: Names, now: float, damaged: Callable[[Any, str], object],
        miscounted: Callable[[], object], *, many: bool = True,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._names = names
        self._now = now
        self._damaged = damaged
        self._miscounted = miscounted
        self._many = many  #: however many are due, they are made ready

    def claim(
        self, queue: str, number: int, order: Order, ids: Sequence[int] | None, limit: int, who: Who
    ) -> list[Claim]:
        """Claim up to `limit` ready records of the queue. Raises ManyDue."""
        while True:
            rows = self._first(number, order, limit) if ids is None else self._of_ids(number, order, ids, limit)
            claims = [self._whole(queue, row) for row in rows]
            if None not in claims:
                break
        if rows and self._connection.executemany(schema.CLAIM, [(*who, row[0]) for row in rows]).rowcount != len(rows):
            raise malformed()
        return claims  # type: ignore[return-value]

    def _first(self, number: int, order: Order, limit: int) -> list[Any]:
        ask = self._connection.execute
        known = order is Order.RANK and number in self._names.ranked
        rows = self._by_rank(number, limit) if known else self._by_place(number, order, limit)
        if rows:
            delayed, ranked = _counts(rows[0][-1])
        else:
            ready, delayed, _, _, ranked = ask(schema.COUNTS, (number,)).fetchone() or (0,) * 5
            if ready and limit > 0:
                self._miss(number)
        matured = delayed and self._mature(number)
        by_rank = order is Order.RANK and bool(ranked)
        if by_rank:
            self._names.ranked.add(number)
        if matured or by_rank != known:
            rows = self._by_rank(number, limit) if by_rank else self._by_place(number, order, limit)
        return rows

    def _miss(self, number: int) -> None:
        """Some are ready by the queue's count, and none is found: the count is made right, unless there are records
        that are behind damage. Who waits for them, or for the end of what isn't there, would wait for ever."""
        if counted(self._connection) is None:
            raise malformed()
        recount(self._connection, number)
        self._miscounted()

    def _mature(self, number: int) -> bool:
        """Make ready what is due; whether that was anything. Raises ManyDue."""
        ask, due = self._connection.execute, (number, self._now)
        if not self._many and ask(schema.ARE_MANY_DUE, due).fetchone() is not None:
            raise ManyDue
        return ask(schema.MATURE, due).rowcount > 0

    def _by_place(self, number: int, order: Order, limit: int) -> list[Any]:
        statement = schema.LAST_READY if order is Order.NEWEST else schema.FIRST
        return self._connection.execute(statement, (number, *places(number), limit)).fetchall()

    def _by_rank(self, number: int, limit: int) -> list[Any]:
        return self._connection.execute(schema.FIRST_BY_RANK, (number, number, limit)).fetchall()

    def _of_ids(self, number: int, order: Order, ids: Sequence[int], limit: int) -> list[Any]:
        self._mature(number)
        wanted = {place_of(number, id) for id in ids if 0 < id < IDS}
        found = (self._connection.execute(schema.ONE, (place,)).fetchone() for place in wanted)
        rows = [row for row in found if row is not None]
        if order is Order.RANK:
            rows.sort(key=lambda row: (row[6] or b"", row[0]))
        else:
            rows.sort(key=lambda row: row[0], reverse=order is Order.NEWEST)
        return rows[:limit]

    def _whole(self, queue: str, row: Any) -> Claim | None:
        """The claim of a row; None where it was damaged, and put aside."""
        place, _, _, put_at, attempts, _, rank, note, payload = row[:9]
        if payload is None:
            payload = payload_of(self._connection, row)
        if not is_whole(row, payload):
            self._put_aside(row)
            return None
        fields = (queue, place & (IDS - 1), attempts + 1, payload, rank or b"", put_at, name_text(note))
        claim: Claim = _new(Claim, fields)
        return claim

    def _put_aside(self, row: Any) -> None:
        reason, place = "its checksum doesn't hold", row[0]
        ask, number = self._connection.execute, place >> ID_BITS
        ask(schema.PUT_ASIDE, (reason, place))
        (is_counted,) = ask(schema.IS_COUNTED, (number, place)).fetchone() or (1,)
        if not is_counted:
            ask(schema.BLANK, (place, number))
        if ask(schema.DROP, (place,)).rowcount != 1:
            raise malformed()  # it would be met again and again
        if not is_counted:
            for counted in {number, row[1]}:
                recount(self._connection, counted)
        self._damaged(row, reason)


def counted(connection: sqlite3.Connection) -> list[Any] | None:
    """Of each queue its number, its three counts, and what they ought to be. None where the rows are out of order: then
    it is the number of a row that is damaged, and those behind it aren't found."""
    rows = connection.execute(schema.COUNTED).fetchall()
    (there,) = connection.execute(schema.HOW_MANY_RECORDS).fetchone()
    return rows if sum(sum(row[4:]) for row in rows) == there else None


def recount(connection: sqlite3.Connection, number: Any) -> None:
    """Make a queue's counts what it has, in a transaction: who waits for their end would wait for ever."""
    if isinstance(number, int) and 0 <= number <= MAX_QUEUES:
        first, behind = places(number)
        connection.execute(schema.RECOUNT, {"number": number, "first": first, "behind": behind})


def give_back(
    connection: sqlite3.Connection, names: Names, claims: list[Claim], owner: int | None, handle: int
) -> None:
    """Make them ready in their old places, in a transaction, as if they had never been claimed."""
    places = [(-place_of(names.queue_here(connection, claim.queue) or 0, claim.id), owner, handle) for claim in claims]
    connection.executemany(schema.UNTOUCHED, places)
