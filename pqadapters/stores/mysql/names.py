"""Numbers of queues and tables. A name that was given one keeps it for ever, so what is known needn't be looked up.
Where somebody has emptied our tables all of it is forgotten, once that is seen.

Names are made before the commit that needs them, by themselves: one that no commit uses is of no harm, and no lock on
it is held while a commit waits for the disk.
"""

from __future__ import annotations

from collections.abc import Mapping

from .reader import Reader
from .schema import BOUNDED, RANKED, digest, name_blob
from .wire import Wire

_AT_ONCE = 500  #: numbers in a question


class Names:
    """What this process knows of them. Any thread may ask."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.forget()

    def forget(self) -> None:
        """Our rows are gone, and so may be those that gave the numbers."""
        self.queues: dict[str, int] = {}
        self.kinds: dict[str, int] = {}
        self.ranked: set[int] = set()  #: queues that have had a record with a rank; others may have, too
        self.bounded: set[int] = set()  #: queues that somebody has put into with a limit; likewise

    def hold(self, wire: Wire) -> bool:
        """Whether what is known is so on the server of this connection, which may be another one. Raises Failed."""
        sql = wire.sql
        return _hold(wire, sql.QUEUES_OF, self.queues) and _hold(wire, sql.KINDS_OF, self.kinds)

    def queue(self, name: str) -> int | None:
        """The number of a queue that has one."""
        number = self.queues.get(name)
        if number is not None:
            return number
        rows = self._reader.rows(self._reader.sql.QUEUE, digest(name_blob(name)))
        if not rows:
            return None
        number, marks = rows[0]
        self.learn(number, marks)
        self.queues[name] = number
        return int(number)

    def learn(self, number: int, marks: int) -> None:
        """What a queue's row says."""
        if marks & RANKED:
            self.ranked.add(number)
        if marks & BOUNDED:
            self.bounded.add(number)

    def is_ranked(self, name: str) -> bool:
        """Whether any process has put a record with a rank."""
        number = self.queue(name)
        if number is None or number in self.ranked:
            return number is not None
        rows = self._reader.rows(self._reader.sql.QUEUE, digest(name_blob(name)))
        if not rows:
            self.forget()
            return False
        self.learn(*rows[0])
        return number in self.ranked

    def is_plain(self, name: str) -> bool:
        """Whether nothing is known of ranks and limits there."""
        number = self.queues.get(name)
        return number not in self.ranked and number not in self.bounded

    def make_queue(self, name: str) -> int:
        number = self.queue(name)
        if number is None:
            blob = name_blob(name)
            self._reader.change(self._reader.sql.ADD_QUEUE, digest(blob), blob)
            number = self.queue(name)
            assert number is not None
        return number

    def rank(self, number: int) -> None:
        """The queue is about to get a record with a rank."""
        if number not in self.ranked:
            self._reader.change(self._reader.sql.MARK, RANKED, number)
            self.ranked.add(number)

    def bound(self, number: int) -> None:
        """Somebody is about to put into the queue as long as it has not so many ready records."""
        if number not in self.bounded:
            self._reader.change(self._reader.sql.MARK, BOUNDED, number)
            self.bounded.add(number)

    def table(self, name: str) -> int | None:
        """The number of a table that has one."""
        number = self.kinds.get(name)
        if number is not None:
            return number
        rows = self._reader.rows(self._reader.sql.KIND, digest(name_blob(name)))
        if not rows:
            return None
        self.kinds[name] = rows[0][0]
        return int(rows[0][0])

    def make_table(self, name: str) -> int:
        number = self.table(name)
        if number is None:
            blob = name_blob(name)
            self._reader.change(self._reader.sql.ADD_KIND, digest(blob), blob)
            number = self.table(name)
            assert number is not None
        return number


def _hold(wire: Wire, question: str, names: Mapping[str, int]) -> bool:
    known = {number: digest(name_blob(name)) for name, number in list(names.items())}
    numbers = list(known)
    parts = [numbers[n : n + _AT_ONCE] for n in range(0, len(numbers), _AT_ONCE)]
    return known == {number: its for part in parts for number, its in wire.ask(question, part).rows}
