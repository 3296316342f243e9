"""Numbers of queues and tables. A name that was given one keeps it for ever, so what is known needn't be looked up.

Names are made before the commit that needs them, by themselves: one that no commit uses is of no harm, and no lock on
it is held while a commit waits for the disk.
"""

from __future__ import annotations

from .reader import Reader
from .schema import digest, name_blob


class Names:
    """What this process knows of them. Any thread may ask."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.queues: dict[str, int] = {}
        self.kinds: dict[str, int] = {}
        self.ranked: set[int] = set()  #: queues that have had a record with a rank; others may have, too

    def queue(self, name: str) -> int | None:
        """The number of a queue that has one."""
        number = self.queues.get(name)
        if number is not None:
            return number
        rows = self._reader.rows(self._reader.sql.QUEUE, digest(name_blob(name)))
        if not rows:
            return None
        number, ranked = rows[0]
        if ranked:
            self.ranked.add(number)
        self.queues[name] = number
        return int(number)

    def is_ranked(self, name: str) -> bool:
        """Whether any process has put a record with a rank."""
        number = self.queue(name)
        if number is None or number in self.ranked:
            return number is not None
        if self._reader.rows(self._reader.sql.QUEUE, digest(name_blob(name)))[0][1]:
            self.ranked.add(number)
        return number in self.ranked

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
            self._reader.change(self._reader.sql.MARK_RANKED, number)
            self.ranked.add(number)

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
