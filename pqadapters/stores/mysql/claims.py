"""Claiming, in a transaction that is open: which records a claim takes. Those that another one has locked are passed
over, so nobody waits for anybody; who gives them back wakes those who would have liked them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, takewhile
from typing import Any

from ...store import Claim, Order
from .names import Names
from .schema import DUE_AT_ONCE, PLACE, RANKED, held_by, moment, name_text
from .session import Session

_new: Any = tuple.__new__
_MORE = 32  #: candidates beyond those that are wanted, since others are after them, too


class ManyDue(Exception):
    """So many delayed records are due that they are to be made ready before, some at a time: for all in one transaction
    the server may have too few locks, and others would find none of them, nor what is behind."""


class Take:
    """One claim's way through a transaction."""

    def __init__(self, session: Session, names: Names, now: float, *, many: bool = True) -> None:
        self._session = session
        self._names = names
        self._now = moment(now)
        self._many = many  #: however many are due, they are made ready
        self.due: bytes | None = None  #: when the first one of those that are delayed is ready

    def claim(
        self, queue: str, number: int, order: Order, ids: Sequence[int] | None, limit: int, handle: int
    ) -> list[Claim]:
        """Claim up to `limit` ready records of the queue. Raises ManyDue."""
        rows = self._first(number, order, limit) if ids is None else self._of_ids(number, order, ids, limit)
        return self._take(queue, rows, number, handle)

    def _take(self, queue: str, rows: Sequence[Any], number: int, handle: int) -> list[Claim]:
        places: dict[bytes, list[int]] = {}
        for row in rows:
            places.setdefault(row[1], []).append(row[0])
        session = self._session
        for place, some in places.items():
            session.tell_of(len(some), session.sql.CLAIM, held_by(session.owner, handle), number, place, some)
        return [_claim(queue, row) for row in rows]

    def some(self, queue: str, number: int, limit: int, handle: int) -> list[Claim]:
        """Claim the first record, and up to `limit` if nothing speaks against taking some before they are asked for: a
        limit, that may be about to be looked at, a large payload, an order of its own. Raises ManyDue."""
        return self._take(queue, self._some(number, limit), number, handle)

    def _some(self, number: int, limit: int) -> Sequence[Any]:
        session, sql, names = self._session, self._session.sql, self._names
        looked, first = session.ask_all([(sql.LOOK, (number, number)), (sql.SOME_FIRST, (number, limit))])
        if not looked.rows:
            names.forget()
            return []
        marks, self.due = looked.rows[0]
        names.learn(number, marks)
        rows = first.rows
        if marks or self._is_due or (rows and rows[0][-1] is None):
            return self._first(number, Order.OLDEST, 1)
        return list(takewhile(lambda row: row[-1] is not None, rows))

    @property
    def _is_due(self) -> bool:
        return self.due is not None and self.due <= self._now

    def _first(self, number: int, order: Order, limit: int) -> Sequence[Any]:
        session, sql = self._session, self._session.sql
        look = (sql.LOOK, (number, number))
        if number in self._names.ranked and order is not Order.RANK:
            rows = session.ask_all([look])[0].rows
            found = None
        else:
            state, first = session.ask_all([look, self._along(number, order, limit)])
            rows, found = state.rows, first.rows
        if not rows:
            self._names.forget()
            return []
        marks, self.due = rows[0]
        self._names.learn(number, marks)
        if self._is_due:
            self._mature(number)
        if marks & RANKED and order is not Order.RANK:
            return self._by_id(number, order, limit)
        if self._is_due or found is None:
            found = session.ask_all([self._along(number, order, limit)])[0].rows
        if any(len(row[1]) == PLACE for row in found):
            return self._by_long_rank(number, found, limit)
        return found

    def _along(self, number: int, order: Order, limit: int) -> tuple[str, Sequence[Any]]:
        """The question for the first records along the key."""
        sql = self._session.sql
        return sql.LAST if order is Order.NEWEST else sql.FIRST, (number, limit)

    def _mature(self, number: int) -> None:
        """Those whose delay is over are ready, unless another one is just about that. Raises ManyDue."""
        while rows := self._due(number):
            if len(rows) == DUE_AT_ONCE and not self._many:
                raise ManyDue
            self._make_ready(number, rows)

    def mature_some(self, number: int) -> bool:
        """The first ones of them; whether there may be more."""
        if rows := self._due(number):
            self._make_ready(number, rows)
        return len(rows) == DUE_AT_ONCE

    def _due(self, number: int) -> Sequence[Any]:
        return self._session.ask(self._session.sql.DUE, number, self._now).rows

    def _make_ready(self, number: int, rows: Sequence[Any]) -> None:
        """Looking at no others, which somebody else may have locked: the last moment may be that of many more."""
        last = rows[-1][1]
        for some in ([row for row in rows if row[1] != last], [row for row in rows if row[1] == last]):
            if some:
                ids = list(map(_id, some))
                self._session.tell(self._session.sql.MATURE, number, some[0][1], some[-1][1], ids)

    def _by_id(self, number: int, order: Order, limit: int) -> Sequence[Any]:
        """Of a queue whose key isn't in that order: candidates first, which locks nothing."""
        sql, newest = self._session.sql, order is Order.NEWEST
        question = sql.NEWEST_IDS if newest else sql.OLDEST_IDS
        ids = [id for (id,) in self._session.ask(question, number, limit + _MORE).rows]
        return sorted(self._these(number, ids, limit), key=_id, reverse=newest)

    def _by_long_rank(self, number: int, found: Sequence[Any], limit: int) -> Sequence[Any]:
        """Ranks that go on behind what the key has of them: of such a place all are asked for, and of no other one."""
        ids: list[int] = []
        for place, rows in groupby(found, key=_place):
            if len(place) == PLACE:
                ranks = self._session.ask(self._session.sql.RANKS_AT, number, place).rows
                ids += [id for id, _ in sorted(ranks, key=lambda row: (row[1] or b"", row[0]))[: limit + _MORE]]
            else:
                ids += map(_id, rows)
            if len(ids) >= limit:
                break
        return sorted(self._these(number, ids, limit), key=_rank)

    def _these(self, number: int, ids: Sequence[int], limit: int) -> list[Any]:
        """The first ones of those that are ready, and nobody else's."""
        if not ids:
            return []
        place = {id: nth for nth, id in enumerate(ids)}
        found = self._session.ask(self._session.sql.THESE, list(ids), number).rows
        return sorted(found, key=lambda row: place[row[0]])[:limit]

    def _of_ids(self, number: int, order: Order, ids: Sequence[int], limit: int) -> Sequence[Any]:
        self._mature(number)
        wanted = sorted({id for id in ids if 0 < id < 1 << 63}, reverse=order is Order.NEWEST)
        if order is not Order.RANK:
            return self._these(number, wanted, limit)
        return sorted(self._these(number, wanted, len(wanted)), key=_rank)[:limit]


def _id(row: Any) -> int:
    return int(row[0])


def _place(row: Any) -> bytes:
    place: bytes = row[1]
    return place


def _rank(row: Any) -> tuple[bytes, int]:
    return row[4] or b"", row[0]


def _claim(queue: str, row: Any) -> Claim:
    id, _, attempts, put_at, rank, note, payload = row
    claim: Claim = _new(Claim, (queue, id, attempts + 1, payload, rank or b"", put_at, name_text(note)))
    return claim
