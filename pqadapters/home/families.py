"""Where queues without a name live that a process shares with its children: queues in a database of the application.

    <home>/<application>/processes.db          queues "<place>-<index>.<n>", one for each run of the program at a time
                         processes/            locks: <place>-<index>.<n>.root, <place>-<index>.<n>.family

The process that makes a queue is its root, and has the lock ".root", which ends with it. ".family" is shared by the
root and by whoever was given the queue: a root that has dropped it lets nobody have it while children use it. The next
root of the same place goes on with the queue of a dead one; where orphaned children of that still use it, with another
one, into which it takes what is ready there. What they have in hand stays theirs, and so do their stop markers.

Any thread may use it. What a root finds is in the order in which it was put; what was put by several runs at a time is
merged by the wall clock. Stop markers (`None`) end with the run that put them.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import live, telling
from ..durability import Durability, Survives
from ..opening import member_of, open_locks
from ..portions import portions
from ..store import Ack, Claim, Delete, Op, Order, Put, Record, Set, Store, dead_queue
from .adoption import bury_all, drop_left_behind
from .application import application
from .places import Spot, directory_name, mark_transient
from .shared import open_in_home, shared_path

if TYPE_CHECKING:
    from ..stores._directory import Hold, Locks, Member

_log = telling.logger("pqadapters.home")
DATABASE, LOCKS = "processes.db", "processes"
FAMILIES = "pqadapters.families"  #: table: queue -> what its run's stop markers have; place -> b"transient"
MARKED = "pqadapters.families.marked"  #: table: queue -> the first id that may be a stop marker
_RECORDS, _BYTES = 500, 1 << 20  #: of one commit
_lock = threading.RLock()
_founded: dict[tuple[str, int], Reference] = {}
_dropped: dict[str, Hold] = {}  #: queues that this process has dropped, and its children may still use, by root lock


class Reference(NamedTuple):
    """What another process needs to use the queue."""

    path: str  #: of the database
    queue: str
    token: bytes  #: 8 random bytes: the run's
    left: int  #: records that earlier runs had left when this one began
    options: dict[str, Any]  #: of the store


class Family:
    """One run's queue, as this process has it. `root`: whether this process made it."""

    def __init__(self, reference: Reference, member: Member, root: Root | None = None) -> None:
        self.reference, self.member, self._root = reference, member, root
        self._pid = os.getpid()

    @classmethod
    def joined(cls, reference: Reference, fd: int | None) -> Family:
        """In a process that was given the queue, and, while it was started, the descriptor of its root's share."""
        locks = open_locks(_locks_of(reference.path), trust_directory=_trusted(reference.options))
        return cls(reference, locks.join(f"{reference.queue}.family") if fd is None else member_of(fd))

    def open(self) -> Store:
        """A handle on the database. Raises StoreError."""
        return open_in_home(self.reference.path, **self.reference.options)

    def leave(self) -> None:
        """This process uses it no more. Raises StoreError; then the lock ends with the process."""
        self.member.close()
        if self._root is None or self._pid != os.getpid():
            return
        spot, locks, hold = self._root
        queue = self.reference.queue
        spot.leave()
        if _has_members(queue, locks):
            with _lock:
                _dropped[locks.file(f"{queue}.root")] = hold
            return
        if spot.transient:
            with self.open() as store:
                bury_all(store, queue)
        hold.close()


class Root(NamedTuple):
    """The lock on a queue, and the place of its making."""

    spot: Spot
    locks: Locks
    hold: Hold


def found_family(
    spot: Spot, *, durability: str | Survives | Durability | None = None, max_lag: float | None = None, **options: Any
) -> Family:
    """A queue for the place `spot`, which this process is the root of from now on, with what dead roots of the place
    left. Raises NoHome, StoreError."""
    path = shared_path(DATABASE)
    given = {"durability": _durability(durability, max_lag), **options}
    with open_in_home(path, **given) as store:
        locks = open_locks(_locks_of(path), trust_directory=_trusted(options))
        _let_go_of_dropped(locks)
        _know(spot, store)
        with ExitStack() as taken:  # nobody could have it as long as somebody keeps the exception
            queue, hold = _take(f"{directory_name(spot.name, spot.index)}.", store, locks)
            taken.callback(hold.close)
            member = locks.join(f"{queue}.family")
            taken.callback(member.close)
            token, left = os.urandom(8), _begun(queue, spot, store, locks)
            store.commit(Set(FAMILIES, live.key_of(queue), token))
            _tell(spot, path, queue, left)
            reference = _founded[spot.name, spot.index] = Reference(path, queue, token, left, given)
            taken.pop_all()
        return Family(reference, member, Root(spot, locks, hold))


def _begun(queue: str, spot: Spot, store: Store, locks: Locks) -> int:
    """Make the queue ready for a run; how many records earlier ones have left."""
    _clear_up(store, queue)
    if spot.transient:
        bury_all(store, queue)
    else:
        _adopt(queue, store, locks)
    return store.depth(queue).unfinished


def founded() -> dict[tuple[str, int], Reference]:
    """By place and index, the queues that this process has founded; the last one of each."""
    return _founded.copy()


def _durability(word: str | Survives | Durability | None, max_lag: float | None) -> Durability:
    """The default is "power", but for what is gone with its process anyway."""
    if word is None:
        word = Survives.PROCESS if application().temporary else Survives.POWER
    return Durability.of(word, max_lag)


def _locks_of(path: str) -> str:
    return os.path.join(os.path.dirname(path), LOCKS)


def _trusted(options: dict[str, Any]) -> bool:
    return bool(options.get("trust_directory"))


def _know(spot: Spot, store: Store) -> None:
    """Whether the place makes a queue for each call: what any run has seen."""
    key, word = live.key_of(spot.name), b"transient"
    if spot.transient:
        store.commit(Set(FAMILIES, key, word))
    elif store.get(FAMILIES, key) == word:
        mark_transient(spot.name)
        spot.transient = True


def _take(base: str, store: Store, locks: Locks) -> tuple[str, Hold]:
    """The fullest queue of those that have neither a root nor orphans of one, or a new one; and its lock."""
    queues = sorted(_queues(base, locks), key=lambda queue: -store.depth(queue).unfinished)
    for queue in chain(queues, (f"{base}{number}" for number in count())):
        hold = locks.take(f"{queue}.root")
        if hold is not None and _is_free(queue, hold, locks):
            return queue, hold
    raise AssertionError("there is always one more")


def _is_free(queue: str, hold: Hold, locks: Locks) -> bool:
    """Whether nobody uses the queue whose root lock we have; else we let go of that."""
    used = True
    try:
        used = _has_members(queue, locks)
    finally:
        if used:
            hold.close()
    return not used


def _has_members(queue: str, locks: Locks) -> bool:
    """Whether any process uses the queue. One without a root is used by orphans."""
    return locks.is_shared(f"{queue}.family")


def _queues(base: str, locks: Locks) -> list[str]:
    ends = (name.removesuffix(".root") for name in locks.names() if name.endswith(".root") and name.startswith(base))
    return [queue for queue in ends if queue[len(base) :].isdecimal()]


def _let_go_of_dropped(locks: Locks) -> None:
    """Of the queues that this process has dropped, those that none of its children uses any more."""
    with _lock:
        for file in list(_dropped):
            if not _has_members(os.path.basename(file).removesuffix(".root"), locks):
                _dropped.pop(file).close()


def _clear_up(store: Store, queue: str) -> None:
    """Stop markers that earlier runs have left go."""
    first = store.get(MARKED, live.key_of(queue))
    if first is not None:
        drop_left_behind(store, queue, live.is_live, int.from_bytes(first, "big") - 1)
        store.commit(Delete(MARKED, live.key_of(queue)))


# What roots have left that died beside others


def _adopt(queue: str, store: Store, locks: Locks) -> None:
    """Move what dead roots of the same place left in queues beside ours into ours. Orphans end by the stop markers that
    were put for them."""
    base = queue[: queue.rindex(".") + 1]
    others = [other for other in _queues(base, locks) if other != queue]
    with ExitStack() as holds:
        dead = []
        for other in others:
            hold = locks.take(f"{other}.root")
            if hold is not None:
                holds.callback(hold.close)
                dead.append(other)
        for other in dead:
            if not _has_members(other, locks):
                _clear_up(store, other)
        _merge(dead, queue, store)
        _merge([dead_queue(other) for other in dead], dead_queue(queue), store)


def _merge(queues: list[str], target: str, store: Store) -> None:
    """Move the records of these queues to the target, in the order in which they were put."""
    sources = [_records(other, store) for other in queues if store.depth(other).unfinished]
    entries = heapq.merge(*sources, key=lambda entry: entry[0])
    first = next(entries, None)
    if first is not None:
        own = _records(target, store, behind=first[0])
        found = (record for _, record in heapq.merge([first], entries, own, key=lambda entry: entry[0]))
        for batch in portions(found, lambda record: len(record.payload), count=_RECORDS, most=_BYTES):
            store.commit(*_moved(batch, target, store))


def _records(queue: str, store: Store, behind: float = -1.0) -> Iterator[tuple[float, Record]]:
    """Those that are there now and were put later than `behind`, with times that never go back; no stop markers, which
    never change the queue."""
    newest = next(store.browse(queue, order=Order.NEWEST, state=None), None)
    time = 0.0
    for record in store.browse(queue, state=None) if newest is not None else ():
        if newest is None or record.id > newest.id:
            return
        time = max(time, record.put_at)
        if time > behind and not live.is_live(record.payload):
            yield time, record


def _moved(batch: list[Record], target: str, store: Store) -> list[Op]:
    """What moves them; those that an orphaned child works on stay where they are."""
    claims: dict[tuple[str, int], Claim] = {}
    for queue in {record.queue for record in batch}:
        ids = [record.id for record in batch if record.queue == queue]
        claims |= {(queue, claim.id): claim for claim in store.claim(queue, ids=ids, limit=len(ids))}
    ops: list[Op] = []
    for record in batch:
        claim = claims.get((record.queue, record.id))
        if claim is not None:
            ops.append(
                Put(target, claim.payload, claim.rank, attempts=record.attempts, put_at=claim.put_at, note=claim.note)
            )
            ops.append(Ack(claim))
    return ops


def _tell(spot: Spot, path: str, queue: str, left: int) -> None:
    _log.info(
        "the queue made in %s keeps its items in %s, as %r; earlier runs left %d there", spot.name, path, queue, left
    )


def _begin_again() -> None:
    """In a forked child: the locks are the parent's."""
    global _lock
    _lock = threading.RLock()
    _dropped.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
