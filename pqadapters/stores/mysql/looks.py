"""Looking at queues without claiming: records page by page, depths. Each look sees what is committed at its moment.

A depth counts rows: there is no row with a count that all processes would have to take turns for. It takes about a
second for some millions of records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, takewhile
from typing import Any

from ...store import Depth, Order, Record, State, dead_queue
from .._ahead import LOOKS
from .._pages import FIRST_PAGE, PAGE, shares
from .names import Names
from .reader import Reader
from .schema import CLAIMED, DELAYED, PLACE, READY, moment, name_text, ready_at

_EVER = 1 << 63
_EMPTY = (0, 0, 0)


class Looks:
    """What there is to see of the queues of one store. `first_page`: how many records are fetched at first."""

    def __init__(
        self, reader: Reader, names: Names, wall: Callable[[], float], first_page: int = FIRST_PAGE
    ) -> None:
        self._reader, self._sql = reader, reader.sql
        self._names = names
        self._wall, self._first_page = wall, first_page

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        """How much is in the queue, now; the oldest one's age if it is asked for. What comes with the counts is asked
        for behind them: they are counted again where that doesn't fit them any more."""
        letters = dead_queue(queue)
        for _ in range(LOOKS):
            known = letters in self._names.queues
            found = self._counted(queue, self._names.queues.get(letters), age)
            is_new = not known and self._names.queue(letters) is not None
            if not is_new and not (age and found.ready and found.oldest_age is None):
                break
        return found

    def _counted(self, queue: str, dead: int | None, age: bool) -> Depth:
        number = self._names.queue(queue)
        numbers = [each for each in {number, dead} if each is not None]
        if not numbers:
            return Depth()
        now = self._wall()
        rows = self._reader.scan(self._sql.DEPTH, moment(now), numbers)
        counts = {(each, state): (int(count), int(size), int(due)) for each, state, count, size, due in rows}
        ready, delayed, claimed = (counts.get((number, state), _EMPTY) for state in (READY, DELAYED, CLAIMED))
        buried = sum(counts[key][0] for key in counts if key[0] == dead) if dead != number else 0
        due = delayed[2]
        oldest = self._oldest(queue, number, now, ready[0], due) if age and number and (ready[0] or due) else None
        return Depth(
            ready[0] + due,
            delayed[0] - due,
            claimed[0],
            buried,
            ready[1] + delayed[1] + claimed[1],
            None if oldest is None else max(0.0, now - oldest),
        )

    def _oldest(self, queue: str, number: int, now: float, ready: int, due: int) -> float | None:
        """When the first ready record was put."""
        rows: list[Any] = []
        if ready:
            question = self._sql.OLDEST_RANKED if self._names.is_ranked(queue) else self._sql.OLDEST
            rows += self._reader.scan(question, number)
        if due:
            rows += self._reader.rows(self._sql.OLDEST_DUE, number, moment(now))
        return min(rows, key=lambda row: row[1])[0] if rows else None

    def any_ready(self, queue: str, patience: float) -> tuple[bool, float | None]:
        """Whether there is a record to claim, and the moment at which the first delayed one is ready, as `next_due`."""
        number = self._names.queue(queue)
        if number is None:
            return False, None
        ready, due = self._reader.within(patience, self._sql.ANY_READY, number, number)[0]
        return bool(ready) or (due is not None and due <= self._wall()), due

    def next_due(self, queue: str) -> float | None:
        """The moment at which the first delayed record is ready, in seconds since the epoch."""
        number = self._names.queue(queue)
        rows = self._reader.rows(self._sql.NEXT_DUE, number) if number is not None else ()
        return rows[0][0] if rows else None

    # Records

    def browse(self, queue: str, order: Order, state: State | None, after: int) -> Iterator[Record]:
        number = self._names.queue(queue)
        if number is None:
            return iter(())
        if self._names.is_ranked(queue):
            if order is Order.RANK and state is State.READY and after <= 0:
                return self._ready_by_rank(queue, number)
            return self._all(queue, number, order, state, after)
        return self._by_id(queue, number, state, after, order)

    def _by_id(self, queue: str, number: int, state: State | None, after: int, order: Order) -> Iterator[Record]:
        """Page by page: the next ids of each state's range, of which the first ones are the page."""
        back = order is Order.NEWEST
        question = self._sql.BETWEEN_BACK if back else self._sql.BETWEEN
        least, most, size = after, _EVER, self._first_page
        while True:
            claimed, ready, delayed = shares(state, size)
            bands = ((number, least, most, share) for share in (ready, delayed, claimed))
            rows = list(self._reader.rows(question, *chain.from_iterable(bands)))
            rows.sort(key=_id, reverse=back)
            yield from self._records(queue, number, rows[:size], state)
            if len(rows) < size:
                return
            edge = _id(rows[size - 1])
            least, most = (least, edge) if back else (edge, most)
            size = PAGE

    def _all(self, queue: str, number: int, order: Order, state: State | None, after: int) -> Iterator[Record]:
        """All ids and ranks first, since a queue with ranks has no key by id alone."""
        found = list(self._reader.scan(self._sql.IDS, number, after))
        found.sort(key=_rank if order is Order.RANK else _id, reverse=order is Order.NEWEST)
        yield from self._of_ids(queue, number, [_id(row) for row in found], state)

    def _of_ids(self, queue: str, number: int, ids: Sequence[int], state: State | None) -> Iterator[Record]:
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            rows = {_id(row): row for row in self._reader.rows(self._sql.RECORDS, some, number)}
            yield from self._records(queue, number, [rows[id] for id in some if id in rows], state)

    def _ready_by_rank(self, queue: str, number: int) -> Iterator[Record]:
        due = self.next_due(queue)
        if due is not None and due <= self._wall():  # they stand elsewhere
            return self._all(queue, number, Order.RANK, State.READY, 0)
        return self._along(queue, number)

    def _along(self, queue: str, number: int) -> Iterator[Record]:
        """Page by page along the key. Of a place that has the beginning of a rank alone all ranks are asked for."""
        last, size = (b"", 0), self._first_page
        while True:
            rows = list(self._reader.rows(self._sql.READY_BEHIND, number, *last, size, number, last[0], size))
            rows = sorted(rows, key=_stands)[:size]
            short = list(takewhile(lambda row: len(_stands(row)[0]) < PLACE, rows))
            yield from self._records(queue, number, short, State.READY)
            if len(short) < len(rows):
                place, _ = _stands(rows[len(short)])
                ranks = self._reader.scan(self._sql.RANKS_AT, number, place)
                yield from self._of_ids(queue, number, [_id(row) for row in sorted(ranks, key=_rank)], State.READY)
                last = place, _EVER
            elif len(rows) < size:
                return
            else:
                last, size = _stands(rows[-1]), PAGE

    def _records(self, queue: str, number: int, rows: Sequence[Any], state: State | None) -> Iterator[Record]:
        now = self._wall()
        for seen in rows:
            is_large = seen[-1] is None  # then it comes by itself, unless it has left
            for row in self._reader.rows(self._sql.WHOLE, seen[0], number) if is_large else (seen,):
                record = _record(queue, row, now)
                if state is None or state is record.state:
                    yield record


def _record(queue: str, row: Any, now: float) -> Record:
    id, stands, attempts, put_at, not_before, rank, note, payload = row
    if stands == CLAIMED:
        state = State.CLAIMED
    else:
        state = State.DELAYED if stands == DELAYED and not_before > now else State.READY
    return Record(queue, id, state, payload, rank or b"", attempts, put_at, not_before, name_text(note))


def _id(row: Any) -> int:
    return int(row[0])


def _rank(row: Any) -> tuple[bytes, int]:
    return row[1] or b"", row[0]


def _stands(row: Any) -> tuple[bytes, int]:
    """Where a ready record stands in the key."""
    return ready_at(row[5]), row[0]
