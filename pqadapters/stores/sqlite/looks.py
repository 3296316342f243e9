"""Looking at queues without claiming: records page by page, depths. Each look sees what is committed at its moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...store import Depth, Order, Record, State, dead_queue
from .._pages import FIRST_PAGE, PAGE, shares
from . import schema
from .names import Names
from .reader import Reader
from .schema import DELAYED, ID_BITS, IDS, is_whole, name_blob, name_text, places

_NOWHERE = (0, 0)


class Looks:
    """What there is to see of the queues of one database. `first_page`: how many records are fetched at first."""

    def __init__(
        self, reader: Reader, names: Names, wall: Callable[[], float], first_page: int = FIRST_PAGE
    ) -> None:
        self._reader, self._ask = reader, reader.rows
        self._names = names
        self._wall, self._first_page = wall, first_page

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        """How much is in the queue, now, and how old the first record is, if that is asked for."""
        try:
            return self._depth(queue, age)
        except (TypeError, IndexError):
            raise self._reader.damaged() from None

    def _depth(self, queue: str, age: bool) -> Depth:
        number, dead, now = self._names.queue(queue), dead_queue(queue), self._wall()
        letters = None if dead == queue else name_blob(dead)
        between = places(number) if age and number is not None else _NOWHERE
        row = self._reader.row(schema.DEPTH, schema.asked_of_depth(letters, number or 0, now, between))
        ready, delayed, claimed, size, buried, due, oldest = row
        if number is None:  # the row that is always there is that of the queue ""
            return Depth(dead=buried or 0)
        seconds = max(0.0, now - oldest) if isinstance(oldest, (int, float)) else None  # of a damaged one, a text
        if type(claimed) is not int or type(size) is not int:
            raise self._reader.damaged()
        return Depth(ready + due, delayed - due, claimed, buried or 0, size, seconds)

    def any_ready(self, queue: str) -> tuple[bool, bool]:
        """Whether there is a record to claim, and whether anybody has one in hand."""
        number = self._names.queue(queue)
        if number is None:
            return False, False
        rows = self._ask(schema.ANY_READY, (number, self._wall(), number))
        if not rows:
            raise self._reader.damaged()
        ready, claimed = rows[0]
        return bool(ready), bool(claimed)

    def next_due(self, queue: str) -> float | None:
        """The moment at which the first delayed record is ready, in seconds since the epoch."""
        number = self._names.queue(queue)
        if number is None:
            return None
        due = self._ask(schema.NEXT_DUE, (number,))[0][0]
        return due if isinstance(due, (int, float)) else None

    # Records

    def browse(self, queue: str, order: Order, state: State | None, after: int) -> Iterator[Record]:
        number = self._names.queue(queue)
        if number is None:
            return iter(())
        if order is Order.RANK and state is State.READY and after <= 0:
            return self._ready_by_rank(queue, number)
        if order is Order.RANK:
            return self._by_rank(queue, number, state, after)
        return self._by_id(queue, number, state, after, order)

    def _by_id(self, queue: str, number: int, state: State | None, after: int, order: Order) -> Iterator[Record]:
        """Page by page: the next ids of each state's range, of which the first ones are the page."""
        back = order is Order.NEWEST
        least, most, size = max(0, after), IDS, self._first_page
        while True:
            rows = self._page(number, least, most, shares(state, size), back)
            rows.sort(key=_id, reverse=back)
            now = self._wall()
            for row in rows[:size]:
                record = self._record(queue, row, now)
                if record is not None and (state is None or record.state is state):
                    yield record
            if len(rows) < size:
                return
            edge = _id(rows[size - 1])
            least, most = (least, edge) if back else (edge, most)
            size = PAGE

    def _page(self, number: int, least: int, most: int, sizes: tuple[int, int, int], back: bool) -> list[Any]:
        """Up to so many of the records of each state with ids between the two, from one end on."""
        claimed, ready, delayed = sizes
        start = number << ID_BITS
        first, last = start + least, start + most
        bands = (-last, -first, claimed, first, last, ready, first + DELAYED, last + DELAYED, delayed)
        return self._ask(schema.BETWEEN_BACK if back else schema.BETWEEN, bands)

    def _ready_by_rank(self, queue: str, number: int) -> Iterator[Record]:
        """Page by page, where all that is ready has a place by its rank."""
        if not self._names.is_ranked(number):
            yield from self._by_id(queue, number, State.READY, 0, Order.OLDEST)
        elif self._ask(schema.DUE, (number, self._wall()))[0][0]:  # they have one when somebody claims
            yield from self._by_rank(queue, number, State.READY, 0)
        else:
            yield from self._pages_by_rank(queue, number)

    def _pages_by_rank(self, queue: str, number: int) -> Iterator[Record]:
        rank, place, size = b"", 0, self._first_page
        while True:
            rows = self._ask(schema.NEXT_BY_RANK, (number, rank, place, size, number, rank, size))[:size]
            now = self._wall()
            for row in rows:
                record = self._record(queue, row, now)
                if record is not None and record.state is State.READY:
                    yield record
            if len(rows) < size:
                return
            (place, *_, rank, _, _), size = rows[-1], PAGE

    def _by_rank(self, queue: str, number: int, state: State | None, after: int) -> Iterator[Record]:
        """All ids and ranks first: only what is ready has a place by its rank."""
        found = [(record.rank, record.id) for record in self._by_id(queue, number, state, after, Order.OLDEST)]
        for _, id in sorted(found):
            record = self._find(queue, number, id)
            if record is not None and (state is None or record.state is state):
                yield record

    def record(self, queue: str, id: int) -> Record | None:
        """The record with that id, in whatever state it is."""
        number = self._names.queue(queue)
        return None if number is None or not 0 <= id < IDS else self._find(queue, number, id)

    def _find(self, queue: str, number: int, id: int) -> Record | None:
        place = number << ID_BITS | id
        rows = self._ask(schema.ONE_OF, (place, place + DELAYED, -place))
        return self._record(queue, rows[0], self._wall()) if rows and rows[0][8] is not None else None

    def _record(self, queue: str, row: Any, now: float) -> Record | None:
        """None for one that has left since, or isn't whole, which a claim finds out."""
        place, _, _, put_at, attempts, not_before, rank, note, payload = row[:9]
        is_apart = payload is None
        if is_apart:
            bodies = self._ask(schema.BODY, (_id(row),))
            payload = bodies[0][0] if bodies else None
        if not is_whole(row, payload):  # a payload that was looked up by itself may be another one by now
            return self._find(queue, abs(place) % DELAYED >> ID_BITS, _id(row)) if is_apart else None
        if place < 0:
            state = State.CLAIMED
        else:
            state = State.DELAYED if place > DELAYED and (not_before or 0.0) > now else State.READY
        return Record(
            queue, _id(row), state, payload, rank or b"", attempts, put_at, not_before or 0.0, name_text(note)
        )


def _id(row: Any) -> int:
    return int(abs(row[0]) & (IDS - 1))
