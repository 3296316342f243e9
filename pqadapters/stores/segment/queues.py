"""What a segment store knows of its queues and tables in memory. Nothing here touches a disk; all needs the lock.

Ready records are kept by id alone, eight bytes and an int each: payloads stay on disk. Order by id costs nothing
to keep, so a queue is a deque (`ready`) with a short sorted list of those that came back (`back`); the first
record with a rank turns it into a heap of (rank, id). Who takes from that by age has the ids in their order beside
it (`aged`), for as long as they are taken, put and given back at their ends.

Claims by id take a record out of the middle. Its entry stays behind and is skipped later: `gone` has its id.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections import deque
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import pairwise, takewhile
from typing import NamedTuple
from zlib import crc32

from ...store import DEAD, Claim, Depth, Order, dead_queue
from .._gate import Crowd, Gate
from .format import FRAME_COST, NAME_FIELDS, PUT_COST, PUT_FIELDS, RECORD_FIELDS
from .places import Places

_TRIES = 1000
_MANY = 1000  #: records that came back
_MOVED = RECORD_FIELDS.size - PUT_FIELDS.size  #: so much more a record takes once it was written again, about
_NAME = FRAME_COST + NAME_FIELDS.size  #: bytes of a name beside itself

#: A claim as it was handed out, with the payload that the record has now; and the token of the handle that has it.
Held = tuple[Claim, object]


class Extra(NamedTuple):
    """What has changed in a record since its frame was written."""

    attempts: int = 0
    not_before: float = 0.0
    queue: int = 0  #: 0: the one in its frame
    note: str = ""


class Queue:
    """The records of one queue. Each id is in exactly one of ready, back, heap, delayed, claimed (I3); where there is a
    heap, none is in the first two."""

    def __init__(self, name: str, number: int, lock: threading.RLock) -> None:
        self.name = name
        self.named = True  #: False where damage took the name
        self.number = number
        self.parent: Queue | None = None  #: of a dead-letter queue: whose dead letters these are
        self.relock(lock)
        self.choosy = 0  #: how many takers wait for certain ids
        self.ready: deque[int] = deque()
        self.back: list[int] = []
        self.heap: list[tuple[bytes, int]] | None = None
        self.aged: deque[int] | None = None  #: what is ready in a heap, by id; None where that isn't known
        self.gone: set[int] = set()
        self.delayed: list[tuple[float, int, bytes]] = []  # a heap
        self.claimed: dict[int, Held] = {}
        self.bytes = 0

    def relock(self, lock: threading.RLock) -> None:
        """Nobody waits, and the queue is under this lock from now on."""
        self.crowd = Crowd(int(self.parent is not None))  #: who wants to hear of a change: takers, watchers, a parent
        self.takers, self.watchers = Gate(lock, self.crowd), Gate(lock, self.crowd)

    def adopt(self, parent: Queue) -> None:
        """These are dead letters of that queue, whose depth tells of them."""
        if self.parent is None:
            self.crowd.size += 1
        self.parent = parent

    def __len__(self) -> int:
        """How many are ready."""
        return len(self.ready) + len(self.back) + len(self.heap or ()) - len(self.gone)

    def changed(self) -> None:
        """Whoever watches the queue, or whose dead letters are here, looks again."""
        self.watchers.wake_all()
        if self.parent is not None:
            self.parent.watchers.wake_all()

    def wake_taker(self) -> None:
        """A record is ready: somebody who waits for one looks, or all do where some wait for certain ones (I7)."""
        if self.choosy:
            self.takers.wake_all()
        else:
            self.takers.wake_one()

    @property
    def total(self) -> int:
        return len(self) + len(self.delayed) + len(self.claimed)

    def payload_bytes(self) -> int:
        """Those of damaged records count, whose sizes nobody knows, until the queue is found empty."""
        if not self.total:
            self.bytes = 0
        return self.bytes

    def add(self, id: int, rank: bytes = b"", not_before: float = 0.0) -> None:
        """A new record, its id above all others; `not_before` only where it lies ahead."""
        if not_before:
            heappush(self.delayed, (not_before, id, rank))
        elif rank or self.heap is not None:
            self._push(id, rank)
        else:
            self.ready.append(id)

    def has(self, id: int) -> bool:
        """Whether it is ready here; all are looked at."""
        entries = (*self.ready, *self.back, *(entry[1] for entry in self.heap or ()))
        return id in entries and id not in self.gone

    def knows(self, id: int) -> bool:
        """Whether it is ready or delayed here; all are looked at."""
        return self.has(id) or any(entry[1] == id for entry in self.delayed)

    def give_back(self, id: int, rank: bytes) -> None:
        """A record that was claimed or delayed is ready again, in its place (I4)."""
        if id in self.gone:
            aged, self.aged = self.aged, None
            self.gone.discard(id)
            self.aged = _with(aged, id)
        elif rank or self.heap is not None:
            self._push(id, rank)
        elif self.ready and self.ready[0] > id and not self.back:
            self.ready.appendleft(id)
        else:
            insort(self.back, id)

    def _push(self, id: int, rank: bytes) -> None:
        aged, self.aged = self.aged, None  # for as long as the two may differ: an interrupt may come in between
        heappush(self._ranked(), (rank, id))
        self.aged = _with(aged, id)

    def prepare(self, order: Order) -> None:
        """Before one is taken from a heap: in another order than its own, as dead letters of records with ranks are,
        the next ones are found without a look at all of them for each."""
        if order is not Order.RANK and self.aged is None:
            self.aged = deque(self.ids(Order.OLDEST))

    def _ranked(self) -> list[tuple[bytes, int]]:
        if self.heap is None:
            heap = [(b"", id) for id in (*self.ready, *self.back)]
            heapify(heap)
            ready: deque[int] = deque()
            back: list[int] = []
            self.heap, self.ready, self.back = heap, ready, back  # in one run, without a call
        return self.heap

    def first(self, order: Order) -> int | None:
        """The id that a claim in this order takes next; it stays where it is."""
        while True:
            id = self._first(order)
            if id is None or id not in self.gone:
                return id
            try:
                if self._drop(id):
                    self.gone.discard(id)
                else:
                    self.sweep()
            except BaseException:  # an interrupt between the two: what has no entry isn't counted as gone
                self.sweep()
                raise

    def _first(self, order: Order) -> int | None:
        back = self.back
        if len(back) > _MANY and len(back) * 8 > len(self.ready):
            self._merge()  # to take the first of a long list moves all others
        if self.heap is not None:
            if not self.heap:
                return None
            if order is Order.RANK:
                return self.heap[0][1]
            if self.aged is not None:
                return self.aged[-1 if order is Order.NEWEST else 0] if self.aged else None
            ids = (id for _, id in self.heap)  # ranked queues are read by rank; this is the rare other way
            return max(ids) if order is Order.NEWEST else min(ids)
        ready, back = self.ready, self.back
        if order is Order.NEWEST:
            return max(ready[-1] if ready else 0, back[-1] if back else 0) or None
        if back and not (ready and ready[0] < back[0]):
            return back[0]
        return ready[0] if ready else None

    def _merge(self) -> None:
        """Those that came back stand among the others."""
        ready, back = deque(sorted((*self.ready, *self.back))), list[int]()
        self.ready, self.back = ready, back  # in one run, without a call

    def take(self, id: int) -> None:
        """Take out an id that `first` gave, or one that is known to be ready."""
        aged, self.aged = self.aged, None
        if not self._drop(id):
            self.gone.add(id)
            if len(self.gone) > 1000 + len(self) // 2:
                self.sweep()
        self.aged = _without(aged, id)

    def _drop(self, id: int) -> bool:
        """Remove the entry if it stands at an end."""
        if self.heap is not None:
            if self.heap and self.heap[0][1] == id:
                heappop(self.heap)
                return True
        elif self.ready and self.ready[0] == id:
            self.ready.popleft()
            return True
        elif self.ready and self.ready[-1] == id:
            self.ready.pop()
            return True
        elif self.back and (at := bisect_left(self.back, id)) < len(self.back) and self.back[at] == id:
            del self.back[at]
            return True
        return False

    def sweep(self) -> None:
        """Drop the entries of all that are gone."""
        heap = None
        if self.heap is not None:
            heap = [entry for entry in self.heap if entry[1] not in self.gone]
            heapify(heap)
        ready = deque(id for id in self.ready if id not in self.gone)
        back = [id for id in self.back if id not in self.gone]
        gone: set[int] = set()
        self.heap, self.ready, self.back, self.gone = heap, ready, back, gone  # in one run, without a call

    def mature(self, now: float) -> int:
        """Delayed records whose time has come are ready; how many there were."""
        count = 0
        while self.delayed and self.delayed[0][0] <= now:
            _, id, rank = self.delayed[0]
            try:
                heappop(self.delayed)
                self.give_back(id, rank)
            except BaseException:
                self.keep(id, rank)
                raise
            count += 1
        return count

    def keep(self, id: int, rank: bytes) -> None:
        """Behind an interrupt: a record that is here, ready if it isn't delayed. What another one breaks off is done
        again."""
        for _ in range(_TRIES):
            with suppress(BaseException):
                if not self.knows(id):
                    self.give_back(id, rank)
                break

    def insert(self, id: int, rank: bytes = b"") -> None:
        """A record from elsewhere is ready here, in the place of its id."""
        if rank or self.heap is not None or (self.ready and self.ready[-1] > id):
            self.give_back(id, rank)
        else:
            self.ready.append(id)

    def ids(self, order: Order, after: int = 0) -> list[int]:
        """The ids of all that are ready, in this order. Where none has a rank, those behind `after` aren't looked for
        among all."""
        if self.heap is not None and order is Order.RANK:
            return [id for _, id in sorted(self.heap) if id > after and id not in self.gone]
        if self.heap is not None:
            entries = [id for _, id in self.heap if id > after]
        elif after <= 0:
            entries = [*self.ready, *self.back]
        else:
            entries = [*takewhile(lambda id: id > after, reversed(self.ready))][::-1]
            entries += self.back[bisect_right(self.back, after) :]
        if self.heap is not None or self.back:
            entries.sort()
        found = [id for id in entries if id not in self.gone] if self.gone else entries
        return found[::-1] if order is Order.NEWEST else found


def _with(aged: deque[int] | None, id: int) -> deque[int] | None:
    """None where it would stand in the middle."""
    if aged is None or (aged and aged[0] < id < aged[-1]):
        return None
    (aged.append if not aged or id > aged[-1] else aged.appendleft)(id)
    return aged


def _without(aged: deque[int] | None, id: int) -> deque[int] | None:
    """None where it stood in the middle."""
    if not aged or id not in (aged[0], aged[-1]):
        return None
    (aged.popleft if aged[0] == id else aged.pop)()
    return aged


class Key(NamedTuple):
    """Where a table's key stands."""

    id: int  #: the record with its value
    place: int  #: the id of its first value, which orders the table
    size: int  #: bytes of key and value


class Table:
    """The keys of one table, in the order in which they were first set."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.named = True
        self.number = number
        self.keys: dict[bytes, Key] = {}

    def sort(self) -> None:
        """Put the keys in their places; after a replay of a log whose segments were rewritten."""
        places = [key.place for key in self.keys.values()]
        if any(a > b for a, b in pairwise(places)):
            self.keys = dict(sorted(self.keys.items(), key=lambda item: item[1].place))


class Catalog:
    """All queues and tables of a store, by name and by the number that stands for the name in frames."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self.queues: dict[str, Queue] = {}  #: a finalizer may mention a new one while a copy of these is gone through
        self.tables: dict[str, Table] = {}
        self.by_number: dict[int, Queue | Table] = {}
        self.extra: dict[int, Extra] = {}  #: by record id
        self.nameless = False  #: whether damage took a name

    def clear(self) -> None:
        """Forget everything, before anybody has seen it."""
        for part in (self.queues, self.tables, self.by_number, self.extra):
            part.clear()

    def queue(self, name: str) -> Queue:
        """The queue of that name; it is made at the first mention."""
        found = self.queues.get(name)
        return found if found is not None else self.add_queue(name, self._number(name, Queue))

    def relock(self, lock: threading.RLock) -> None:
        """In a forked child: another lock, and nobody waits."""
        self._lock = lock
        for queue in list(self.queues.values()):
            queue.relock(lock)

    def known_queue(self, name: str) -> Queue | None:
        """The queue of that name, if it was ever mentioned; also one whose name damage took."""
        found = self.queues.get(name)
        if found is None and self.nameless and self._number(name, Queue) in self.by_number:
            return self.queue(name)
        return found

    def known_table(self, name: str) -> Table | None:
        """The table of that name, if there ever was one; also one whose name damage took."""
        found = self.tables.get(name)
        if found is None and self.nameless and self._number(name, Table) in self.by_number:
            return self.table(name)
        return found

    def table(self, name: str) -> Table:
        found = self.tables.get(name)
        return found if found is not None else self.add_table(name, self._number(name, Table))

    def _number(self, name: str, kind: type[Queue] | type[Table]) -> int:
        """The number that stands for the name in frames: a hash of it, or the next free one."""
        number = crc32(name.encode("utf-8", "surrogatepass"), int(kind is Table)) or 1
        while (other := self.by_number.get(number)) is not None and (other.named or not isinstance(other, kind)):
            number = (number + 1) & 0xFFFFFFFF or 1  # 0 means none
        return number

    def add_queue(self, name: str, number: int, named: bool = True) -> Queue:
        """The queue of that number; one whose name was lost has it again."""
        queue = self.by_number.get(number)
        if queue is None:
            queue = Queue(name, number, self._lock)
        assert isinstance(queue, Queue)
        self.queues.pop(queue.name, None)
        self.nameless |= not named
        queue.name, queue.named = name, named
        self.queues[name] = self.by_number[number] = queue
        if name.endswith(DEAD) and name != DEAD:
            queue.adopt(self.queue(name[: -len(DEAD)]))
        return queue

    def add_table(self, name: str, number: int, named: bool = True) -> Table:
        table = self.by_number.get(number)
        if table is None:
            table = Table(name, number)
        assert isinstance(table, Table)
        self.tables.pop(table.name, None)
        self.nameless |= not named
        table.name, table.named = name, named
        self.tables[name] = self.by_number[number] = table
        return table

    def live_bytes(self, log: Places) -> int:
        """About what live records take in the log. All queues are looked at, of which there may be thousands."""
        return sum(queue.bytes for queue in list(self.queues.values())) + self.least_live_bytes(log)

    def least_live_bytes(self, log: Places) -> int:
        """What they take without the payloads of queues: no look at those."""
        return log.live * PUT_COST + log.more_bytes

    def standing_bytes(self, log: Places) -> int:
        """The same with the frames of those that were written again, which are longer, and with the names of their
        queues and tables: no cleaning makes less of them. All queues are looked at."""
        names = [queue.name for queue in list(self.queues.values()) if queue.bytes]
        names += [table.name for table in list(self.tables.values()) if table.keys]
        return self.live_bytes(log) + len(log.moved) * _MOVED + len(names) * _NAME + sum(map(len, names))

    def depth(self, queue: Queue, now: float) -> Depth:
        """Without the age of the oldest, which only its frame tells."""
        if queue.delayed:
            queue.mature(now)
        dead = None if queue.name.endswith(DEAD) else self.known_queue(dead_queue(queue.name))
        buried = dead.total if dead is not None else 0
        return Depth(len(queue), len(queue.delayed), len(queue.claimed), buried, queue.payload_bytes())
