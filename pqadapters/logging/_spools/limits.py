"""How much of the disk log records may take, and what becomes of those that come when it is used up.

What counts is what the files of the slot take, dead records that weren't tidied away yet included. It is looked at
again and again while records are put, so that the limit is passed by one segment at most: the store may be writing one
again, in order to give back its file. Below the limit there is room for what may come between two looks: some records,
and a new file with all that the store allocates ahead in it, before the one that is full gives back what it had
allocated. A record that is larger than a segment is put where it fits. Any thread may call anything.
"""

from __future__ import annotations

import enum
import errno
import itertools
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import Full

from ...astray import give_back
from ...choosing import choice
from ...clock import SYSTEM
from ...errors import StoreError
from ...interrupts import keep
from ...store import Ack, Claim, Store, dead_queue
from .waiting import Waiting

_LEAST = 256 << 10  #: bytes of a limit
_SEGMENTS = 16  #: in a limit
_MOST_SEGMENT = 16 << 20
_ALLOCATED = 20 << 10  #: bytes that a file may take beyond two segments, of which one is room for acknowledgements
_PAUSE = 0.05  #: seconds between two looks of who waits for room
_RECORDS = 50  #: dropped at a time
_numbers = itertools.count()
_PATIENCE = 1.0  #: seconds with another thread that makes room


class WhenFull(enum.Enum):
    """What becomes of a record that comes when `max_bytes` are used up."""

    BLOCK = "block"  #: its thread waits until records were delivered; when listening has ended, as `RAISE`
    DROP_NEWEST = "drop_newest"  #: it is dropped
    DROP_OLDEST = "drop_oldest"  #: it takes the place of the oldest ones
    DROP_BELOW_LEVEL = "drop_below_level"  #: dropped below `drop_level` until there is much room, else as `DROP_OLDEST`
    RAISE = "raise"  #: queue.Full, which logging reports as it reports errors of handlers


class Limit:
    """`max_bytes` None: no limit. `dropped` counts by reason."""

    def __init__(
        self,
        max_bytes: int | None = None,
        when_full: str | WhenFull = WhenFull.BLOCK,
        drop_level: int | str = logging.WARNING,
    ) -> None:
        if max_bytes is not None and (not isinstance(max_bytes, int) or max_bytes < _LEAST):
            raise ValueError(f"max_bytes is how much of the disk may be used, at least {_LEAST}")
        self.when_full = choice(WhenFull, when_full, "when_full")
        self.max_bytes = max_bytes
        self.drop_level = logging._checkLevel(drop_level)  # type: ignore[attr-defined]
        self.dropped: Counter[str] = Counter()
        self._deliverers: set[object] = set()
        self._abandoned = False  #: listening has ended: nobody makes room any more
        self.begin_again()

    def begin_again(self) -> None:
        """Nothing is known of the files: in a forked child, and before there are any."""
        self._lock = threading.RLock()  # a signal handler that logs may come in between
        self._directory: str | None = None
        self._names: list[str] = []  #: of the files, at the last look
        self._queues: Callable[[Store], list[str]] = lambda store: []
        self._tidied = 0.0
        self._free = 0  #: bytes that may be put until the next look
        self._waiting = Waiting()  #: for room, with `BLOCK`
        self._copies: dict[int, int] = {}  #: bytes that come next, by thread
        self.coming: dict[int, tuple[int, int]] = {}  #: large records let through, by thread: which, and bytes
        self._crowded = False  #: with `DROP_BELOW_LEVEL`: full, and not yet much below it again

    def delivers(self, who: object) -> None:
        """Who waits for room waits for that listener."""
        self._deliverers.add(who)
        self._abandoned = False

    def delivers_no_more(self, who: object) -> None:
        """It has ended. Who waits for room waits in vain, unless there is another one."""
        if who in self._deliverers:
            self._deliverers.discard(who)
            self._abandoned = not self._deliverers

    @property
    def is_delivered(self) -> bool:
        """Whether a listener of this process delivers."""
        return bool(self._deliverers)

    def is_delivered_beside(self, who: object) -> bool:
        """Whether another one does."""
        return any(each is not who for each in list(self._deliverers))

    def forked(self) -> None:
        """In a child the listeners are the parent's, and one of its own comes with the first record."""
        self._deliverers.clear()
        self._abandoned = False

    def tighten(self, other: Limit) -> bool:
        """Another handler of the same spool: a limit that was given holds for both. Whether it is another one now."""
        tightens = other.max_bytes is not None and (self.max_bytes is None or other.max_bytes < self.max_bytes)
        if tightens:
            self.max_bytes, self.when_full, self.drop_level = other.max_bytes, other.when_full, other.drop_level
        return tightens

    @property
    def segment_bytes(self) -> int | None:
        """How large segments are: small ones where there is a limit, since space comes back by the segment."""
        if self.max_bytes is None:
            return None
        return min(_MOST_SEGMENT, self.max_bytes // _SEGMENTS)

    def watch(self, directory: str, queues: Callable[[Store], list[str]]) -> None:
        """These are the files, and the queues in them."""
        self._directory, self._queues, self._free, self._names = directory, queues, 0, []

    def used(self) -> int:
        """Bytes that the files take."""
        return sum(self._files().values())

    def _files(self) -> dict[str, int]:
        """Their names and sizes. Without a descriptor to spare they can't be listed, and none can come: those that were
        there are looked at."""
        directory = self._directory  # another thread may let go of it
        if directory is None:
            return {}
        try:
            names = os.listdir(directory)
        except FileNotFoundError:  # they were removed, as the store says to who puts into it; then it is opened again
            names = []
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._names:
                raise StoreError(f"{directory} can't be looked at: {error}") from error
            names = self._names
        self._names = names
        return dict(_sizes(directory, names))

    def admits(self, size: int, level: int, store: Store) -> bool:
        """Whether a record of so many bytes is to be put now; waits, drops and raises as was asked for."""
        if self._crowded and level < self.drop_level and self._is_crowded(store):
            return self._refuse(WhenFull.DROP_NEWEST)
        self._free -= size + 64
        if self._free > 0 or self._directory is None:
            return True
        if not self._waiting and self._look(size):
            return True
        return self._when_full(size, level, store)

    def _look(self, size: int) -> bool:
        """Whether there is room for so many bytes; what is large is let through until it `came`."""
        mine = next(_numbers)
        large = size if self.is_large(size) else 0
        if large:
            self.coming[threading.get_ident()] = mine, large
        before = sum(size for number, size in list(self.coming.values()) if number < mine)
        left = self._room_with(large) - before - sum(list(self._copies.values()))
        if left > 0:
            self._free = min(left, (self.segment_bytes or 0) // 8)
        elif large:
            self.came()
        return left > 0

    def _room_with(self, size: int) -> int:
        """Bytes that may be put beside so many, which get a file of their own where they are more than a segment."""
        files = self._files()
        largest, used = max(size, *files.values(), 0), sum(files.values()) + size
        if self.is_large(size):
            last = max((name for name in files if name.endswith(".seg")), default="")
            used += max(0, self._emptied - files.get(last, 0))
        return min(self._most, self._most_with(largest)) - used

    def _fits_alone(self, size: int) -> bool:
        """Whether there is room for so many bytes in a store where nothing else waits."""
        return size + self._emptied <= self._most

    @property
    def _emptied(self) -> int:
        """What the last file of a store in which nothing waits is counted for beside a large record. It may be small,
        but the record's own keeps what is allocated ahead there until what comes next has begun another."""
        return 2 * _ALLOCATED + (self.segment_bytes or 0) // 2

    def _most_with(self, largest: int) -> int:
        """The same where one file is that large. Once all that is live takes less than half of the files, the store
        writes that one again before it goes: there is to be room for both, or it never comes to that."""
        segment = self.segment_bytes or 0
        if self._stays(largest):
            return 2 * largest
        return max(self._written_again(largest), self._most - max(0, largest - segment))

    def _written_again(self, largest: int) -> int:
        """From so many bytes on one file that is that large is, if nothing else is live."""
        return 2 * largest + 3 * (self.segment_bytes or 0) + _ALLOCATED

    def _stays(self, largest: int) -> bool:
        """Whether there never is room for one file of that size to be written again."""
        segment = self.segment_bytes or 0
        return self._written_again(largest) + largest + segment + _ALLOCATED > (self.max_bytes or 0)

    def came(self) -> None:
        """What this thread was let through with is put, or won't be."""
        self.coming.pop(threading.get_ident(), None)

    def is_large(self, size: int) -> bool:
        """Whether it gets a file of its own, where there is a limit."""
        return self.max_bytes is not None and size > (self.segment_bytes or 0)

    def _never_fits(self, size: int, store: Store) -> bool:
        """Whether there is no room though nothing waits, nor is about to: dead letters take it, or it is large."""
        if self._comes(store):
            return False
        self._give_back(store)
        return not (self._look(size) or self._comes(store))

    def _comes(self, store: Store) -> bool:
        """Whether room does: something waits to be delivered, or is about to."""
        return bool(self.coming or self._copies or any(store.depth(each).unfinished for each in self._queues(store)))

    @property
    def _most(self) -> int:
        """From so many bytes on there is no room."""
        segment = self.segment_bytes or 0
        return (self.max_bytes or 0) - segment // 4 - 2 * segment - _ALLOCATED

    def _is_crowded(self, store: Store) -> bool:
        """Room that the oldest records have left is for those that may take it, and not for what is dropped first."""
        self._tidy(store)
        self._crowded = self.used() > self._most - (self.max_bytes or 0) // 4
        return self._crowded

    def _when_full(self, size: int, level: int, store: Store) -> bool:
        when = self.when_full
        if not self._fits_alone(size):
            return self._refuse(when if when is not WhenFull.BLOCK else WhenFull.RAISE)
        if when is WhenFull.DROP_BELOW_LEVEL:
            self._crowded = True
            when = WhenFull.DROP_NEWEST if level < self.drop_level else WhenFull.DROP_OLDEST
        if when is WhenFull.BLOCK:
            return self._wait(size, store) or self._refuse(WhenFull.RAISE)
        if when in (WhenFull.RAISE, WhenFull.DROP_NEWEST):
            may_have_room = self._tidy(store) or self._waiting  # who finds others waiting hasn't looked yet
            return bool(may_have_room and self._look(size)) or self._refuse(when)
        taken: list[bool] = []
        lock = self._lock  # there is another one when the spool is let go of
        try:  # with a limit: who has it may wait for a store, in whose middle a finalizer logs
            keep(taken, lock.acquire, True, _PATIENCE)
            if True in taken:
                self._drop_for(partial(self._look, size), store, self._queues(store))
        finally:
            if True in taken:
                lock.release()
        return self._look(size) or self._has_reserve(size) or self._refuse(when)

    def _drop_for(self, has_room: Callable[[], bool], store: Store, queues: Sequence[str]) -> bool:
        """Drop the oldest until there is room; whether there is. Not where it would make none, as behind a large record
        that a sink has in hand."""
        while not has_room():
            if not (self._can_make_room(store, queues) and self._drop_oldest(store, queues)):
                return False
        return True

    def _can_make_room(self, store: Store, queues: Sequence[str]) -> bool:
        """Whether it makes room to drop the oldest: nothing stays in its way, unless that is the oldest itself."""
        first = (next(store.browse(queue), None) for queue in self._droppable(store, queues))
        return not self._stays_first() or any(each and self.is_large(len(each.payload)) for each in first)

    def _stays_first(self) -> bool:
        """Whether the first file, which all others stay behind, is so large that the store doesn't write it again."""
        files = self._files()
        return bool(files) and self._stays(files[min(files)])

    def _has_reserve(self, size: int) -> bool:
        """Whether the last of the limit does for a record where all is in the hands of sinks."""
        return not (self.is_large(size) or self._stays_first()) and self.used() + size <= (self.max_bytes or 0)

    def _wait(self, size: int, store: Store) -> bool:
        """Whether there is room at last."""
        has_come = self._waiting.has_this
        try:
            self._waiting.come()
            while True:
                if self._waiting.may_look():
                    self._tidy(store)
                    if self._look(size):
                        return True
                    if self._never_fits(size, store):
                        return False
                if self._abandoned:
                    return False
                self._waiting.sleep(_PAUSE)  # files that go are nothing to wait for
        finally:
            if not has_come:
                self._waiting.go()

    def _refuse(self, when: WhenFull) -> bool:
        if when is WhenFull.RAISE:
            raise Full(f"{self._directory}: records and dead letters take {self.max_bytes} bytes, which is the limit")
        self.count_dropped(1)
        return False

    def count_dropped(self, count: int) -> None:
        """So many more; fewer, where a sink that hangs has confirmed some of them after all."""
        self.dropped[self.when_full.value] += count

    def _tidy(self, store: Store) -> bool:
        """Files of what was acknowledged go, one by one. Now and then: each takes a sync. Whether it was time."""
        now = SYSTEM.monotonic()
        if now - self._tidied < _PAUSE:
            return False
        self._tidied = now
        self._give_back(store)
        return True

    def _give_back(self, store: Store) -> None:
        for _ in range(_SEGMENTS):  # others may write new ones all the time
            before = self._files()
            store.checkpoint()
            if before.keys() <= self._files().keys():
                break

    def admits_copies(
        self, size: int, store: Store, queues: Sequence[str], stopping: threading.Event, stay: Callable[[], int]
    ) -> bool:
        """Whether so many bytes may be put into these queues of sinks that have fallen behind: makes room or waits, as
        was asked for; False where they are dropped for these. Who waits calls `stay`, which has the sinks try what
        stays in the inbox, and says how much is still to be copied. Raises Full at the end."""
        try:
            return self._has_room_for(size) or self._makes_room_for(size, store, queues, stopping, stay)
        finally:
            self._copies.pop(threading.get_ident(), None)

    def _makes_room_for(
        self, size: int, store: Store, queues: Sequence[str], stopping: threading.Event, stay: Callable[[], int]
    ) -> bool:
        while not self._has_room_for(size):
            if self._fits_alone(size):  # before new records: what empties the inbox makes room for them
                self._copies[threading.get_ident()] = size
            if self.when_full is WhenFull.DROP_NEWEST:
                self._tidy(store)
                return self._has_room_for(size)
            if self.when_full in (WhenFull.BLOCK, WhenFull.RAISE):
                if self._gets_reserve(size, store, queues):
                    break
                size = stay()
                if not size:
                    break
                if stopping.wait(_PAUSE):
                    self._refuse_beyond(size)
                    break
                self._tidy(store)
            else:
                with self._lock:
                    if not self._drop_for(partial(self._has_room_for, size), store, self._queues(store)[1:]):
                        return False
        return True

    def _gets_reserve(self, size: int, store: Store, queues: Sequence[str]) -> bool:
        """Where none of the sinks has anything in its queue yet they get something: they work on by these alone, and it
        is the inbox that takes the room."""
        is_waited_for = any(store.depth(queue).unfinished for queue in queues)
        return not is_waited_for and self.used() + size <= (self.max_bytes or 0)

    def _refuse_beyond(self, size: int) -> None:
        """Where listening ends before there is room the reserve is used, and no more: each start and stop would need
        some. Raises Full: those that have confirmed these get them once more."""
        if self.used() + size > (self.max_bytes or 0):
            raise Full(f"{self._directory}: no room for {size} bytes that sinks haven't confirmed")

    def _has_room_for(self, size: int) -> bool:
        return not (self.max_bytes and self._directory) or self._room_with(size) >= 0

    @property
    def collected_bytes(self) -> int | None:
        """So many bytes at most are collected before they are delivered: who waits for room would wait for that, and
        nothing of it can be dropped."""
        return None if self.max_bytes is None else self.max_bytes // 4

    @property
    def batch_bytes(self) -> int | None:
        """So many bytes at most are worth handing out at once, where they may have to be copied."""
        return None if self.segment_bytes is None else self.segment_bytes // 8

    def _droppable(self, store: Store, queues: Sequence[str]) -> list[str]:
        """These, and all dead letters."""
        return [*queues, *map(dead_queue, self._queues(store))]

    def _drop_oldest(self, store: Store, queues: Sequence[str]) -> bool:
        """Make room; whether there was anything to drop, in these or among the dead letters."""
        depths = {queue: store.depth(queue) for queue in self._droppable(store, queues)}
        ages = {queue: depth.oldest_age or 0.0 for queue, depth in depths.items() if depth.ready}
        dropped = _drop(max(ages, key=ages.__getitem__), store) if ages else 0
        if dropped:
            self.count_dropped(dropped)
            store.checkpoint()
        return bool(dropped)


def _drop(queue: str, store: Store) -> int:
    """Some of the oldest; how many. Where that fails they go back: nobody else could get them while this one lives."""
    found: list[list[Claim]] = []
    try:
        keep(found, partial(store.claim, limit=_RECORDS), queue)
        if found[0]:
            store.commit(*map(Ack, found[0]))
    except BaseException:
        for claims in found:
            give_back(store, claims)
        raise
    return len(found[0])


def _sizes(directory: str, names: Sequence[str]) -> Iterator[tuple[str, int]]:
    for name in names:
        try:
            yield name, os.stat(os.path.join(directory, name)).st_size
        except OSError:  # it has just gone
            continue
