"""Unique queues that were persist-queue's: items get the bytes that ours would have, so that equal ones are found.

persist-queue's serializers write some values otherwise than ours do. To know an item's bytes here it has to be loaded,
and that is only for who has chosen the serializer: the conversion moves the bytes as they are, and notes that this is
still to be done; whoever opens the queue next does it, and says which items are in it. Any number of processes may be
about it.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain

from ...errors import ConditionFailed
from ...interrupts import is_fault
from ...portions import portions
from ...serializers import Serializer
from ...store import Ack, Claim, Nack, Op, Put, Set, Store, Update
from .._digests import digest, owed
from .._rows import FRESH

WHEN = 8  #: bytes in front of the payload of an item that was got before
_ITEMS = (b"", FRESH)  #: ranks of records that are items
_AT_ONCE = 500
_WAIT = 0.25  #: seconds until another process's work is looked at again


def owe(store: Store, queue: str) -> None:
    """It is still to be done, by who opens the queue. To be called as often as one likes."""
    if not store.depth(owed(queue)).unfinished:
        store.commit(Put(owed(queue), b""))


def settle(store: Store, queue: str, serializer: Serializer) -> None:
    """It is done, here or by another process, when this returns. What can't be loaded stays as it is; where that is all
    of it, the serializer is another one's, and it is left to who has the right one. Where this raises, the store has to
    be closed, which gives back what was claimed."""
    while store.depth(owed(queue)).unfinished:
        for claim in store.claim(owed(queue), timeout=_WAIT):
            work = _Work(store, queue, serializer)
            work.run()
            store.commit(Nack(claim) if work.failed and not work.read else Ack(claim))
            if work.failed and not work.read:
                return


class _Work:
    def __init__(self, store: Store, queue: str, serializer: Serializer) -> None:
        self._store, self._queue, self._serializer = store, queue, serializer
        self._rows = f"{queue}/rows"
        self.read = self.failed = 0  #: items

    def run(self) -> None:
        waiting = (record for record in self._store.browse(self._queue) if record.rank in _ITEMS)
        for records in portions(waiting, lambda record: len(record.payload), count=_AT_ONCE):
            ids = [record.id for record in records]
            self._records(self._store.claim(self._queue, ids=ids, limit=len(ids)))
        for rows in portions(self._store.scan(self._rows), lambda row: len(row[1]), count=_AT_ONCE):
            self._all_or_each([self._row(key, data) for key, data in rows])

    def _records(self, claims: list[Claim]) -> None:
        for_each = [[*self._record(claim), Nack(claim)] for claim in claims]
        self._store.commit(*chain.from_iterable(for_each))

    def _record(self, claim: Claim) -> list[Op]:
        payload = self._ours(claim.payload)
        return [self._entered(payload), *([Update(claim, payload)] if payload != claim.payload else [])]

    def _row(self, key: bytes, data: bytes) -> list[Op]:
        """Of an item that was got before: the time of its put, its bytes."""
        payload = self._ours(data[WHEN:])
        return [Set(self._rows, key, data[:WHEN] + payload, data), self._entered(payload)]

    def _entered(self, payload: bytes) -> Op:
        """Equal items that persist-queue took for two stay two."""
        return Set(f"{self._queue}/unique", digest(payload), b"")

    def _all_or_each(self, changes: list[list[Op]]) -> None:
        """Somebody else may change one meanwhile: then its bytes are ours."""
        try:
            self._store.commit(*chain.from_iterable(changes))
        except ConditionFailed:
            for ops in changes:
                with suppress(ConditionFailed):
                    self._store.commit(*ops)

    def _ours(self, payload: bytes) -> bytes:
        """The bytes that ours would have; the same where nobody can say."""
        try:
            found = self._written(payload)
        except (Exception, SystemExit) as error:
            if not is_fault(error, self._written, payload):
                raise
            self.failed += 1
            return payload
        self.read += 1
        return found

    def _written(self, payload: bytes) -> bytes:
        return self._serializer.dumps(self._serializer.loads(payload), sort_keys=True)
