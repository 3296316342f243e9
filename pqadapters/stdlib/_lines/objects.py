"""Items that are kept as they are, in memory: stop markers, and with volatile="warn" what can't be serialised.

Their records (live.py) keep their place in the queue and survive nothing. The very object comes out, in this process,
of any handle on the store; another process that finds such a record drops it. An object is kept until its record is
acknowledged (a `SimpleQueue`'s when it is handed out), and no longer than the queue that it was put into lives. Any
thread may call anything.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from ... import live
from ...errors import ConditionFailed, LimitReached, PqadaptersError
from ...home.adoption import drop
from ...store import Ack, Expect, Op, Put, Set, Stop, Store
from .policy import Markers, Volatile

_numbers = itertools.count(1)
_NONE = 0  #: the number that stands for None
_MANY = 1000  #: so many records are read for what has ended, before it pays to note that they need not be again


class Gone(Exception):
    """The object that a record stands for ended with its process, or with the queue that it was put into."""


class _Kept:
    """An object, and something that can be referred to weakly."""

    __slots__ = ("__weakref__", "item", "owner")

    def __init__(self, item: object, owner: Objects) -> None:
        self.item, self.owner = item, weakref.ref(owner)


# Handles of one process on one store see each other's records.
_kept: weakref.WeakValueDictionary[int, _Kept] = weakref.WeakValueDictionary()


class Objects:
    """The objects that one handle keeps, and its way from payloads to items.

    `met` refers to what is called when there is the first one, put here or found: acknowledgements matter from then on.
    """

    def __init__(
        self,
        loads: Callable[[bytes], Any],
        met: weakref.WeakMethod[Callable[[], None]],
        markers: Markers,
        volatile: Volatile,
    ) -> None:
        self._own: dict[int, _Kept] = {}
        self._items, self._met = loads, met
        self.markers, self.volatile = markers, volatile
        self.dropped = 0  #: records whose objects ended with their process
        self.meeting = False  #: there was one
        self.flagged = False  #: the store knows that there are such records

    def loads(self, payload: bytes) -> Any:
        """The item of any payload of the queue. Raises Gone, and what the serializer raises."""
        if payload[:1] == b"\0":
            if live.is_live(payload):
                return self._find(payload)
            payload = live.unescape(payload)
        return self._items(payload)

    def keep(self, item: object) -> bytes:
        """Keep it; the payload that stands for it."""
        if item is None:
            return live.payload(_NONE)
        self._meet()
        number = next(_numbers)
        _kept[number] = self._own[number] = _Kept(item, self)
        return live.payload(number)

    def _find(self, payload: bytes) -> Any:
        number = live.number(payload)
        if number == _NONE:
            return None
        kept = None if number is None else _kept.get(number)
        if kept is None:
            raise Gone
        self._meet()
        return kept.item

    def _meet(self) -> None:
        if not self.meeting:
            self.meeting = True
            if (met := self._met()) is not None:
                met()

    @staticmethod
    def have_ended(payload: bytes) -> bool:
        """Whether a payload stands for an object that nobody can be given any more."""
        number = live.number(payload)
        return live.is_live(payload) if number is None else number != _NONE and number not in _kept

    @staticmethod
    def forget(payloads: Iterable[bytes]) -> None:
        """Their records are gone, or never were."""
        for payload in payloads:
            number = live.number(payload)
            kept = None if number is None else _kept.get(number)
            owner = None if kept is None else kept.owner()
            if number is not None and owner is not None:
                owner._own.pop(number, None)

    def begin_again(self) -> None:
        """In a forked child: these are the parent's."""
        self._own.clear()
        self.flagged = False


class Forgetting:
    """A store's commit, which lets go of the objects whose records leave by it, and of those that it refuses."""

    def __init__(self, commit: Callable[..., tuple[int, ...]]) -> None:
        self._commit = commit

    def __call__(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        try:
            results = self._commit(*ops, stop=stop, timeout=timeout)
        except LimitReached:  # who waits for room comes again
            raise
        except PqadaptersError:
            Objects.forget(self._put(ops))
            raise
        gone = [op.claim.payload for op in ops if type(op) is Ack and op.claim.payload[:1] == b"\0"]
        if gone:
            Objects.forget(set(gone) - self._put(ops))  # dead letters are put anew, and keep their objects
        return results

    @staticmethod
    def _put(ops: Iterable[Op]) -> set[bytes]:
        return {op.payload for op in ops if type(op) is Put}


# What the store knows


def flag(store: Store, queue: str, table: str = live.TABLE) -> None:
    """Say in the store from which id on there may be such records, so that whoever opens it next finds them quickly."""
    (first,) = store.commit(Put(live.TABLE, b""))  # nothing else tells what ids are next
    claims = store.claim(live.TABLE, ids=[first])
    with suppress(ConditionFailed):
        store.commit(Set(table, live.key_of(queue), first.to_bytes(8, "big"), Expect.ABSENT))
    store.commit(*map(Ack, claims))


def drop_ended(store: Store, queue: str) -> int:
    """The store was opened: drop the records whose objects ended with their process or queue. Returns how many."""
    flagged = store.get(live.TABLE, live.key_of(queue))
    if flagged is None:
        return 0
    last = int.from_bytes(flagged, "big") - 1
    read, alive, ended = 0, False, []
    for record in store.browse(queue, state=None, after=last):
        last, read = record.id, read + 1
        if Objects.have_ended(record.payload):
            ended.append(last)
        else:
            alive = alive or live.is_live(record.payload)
    dropped = drop(store, queue, ended)
    if read >= _MANY and not alive:
        with suppress(ConditionFailed):  # another handle of this process was faster
            store.commit(Set(live.TABLE, live.key_of(queue), (last + 1).to_bytes(8, "big"), flagged))
    return dropped
