"""The contract between stores and adapters.

A store keeps *queues* of records and *tables* of keys in one place, so that an acknowledgement, a result
and a follow-up can land together or not at all. Every store implements `Store`; every adapter is
written against it and asks `capabilities` what a store can do, never what it is.

A record's life::

    Put --> READY --claim--> CLAIMED --Ack--> gone
              ^                 |
              |---- Nack, its owner closed or died
              |
              '---- Nack(dead=reason): READY in the queue "<name>.dead", with its reason

A READY record whose `not_before` lies ahead is *delayed*: counted apart, and not claimable yet.

Invariants (the tests cite the numbers)

I1  `commit` returned => its ops survive what `durability` names. Two exceptions: a claim (it ends with
    its owner anyway) and `Ack(lazy=True)` (it survives the process, and a power cut may undo it: a redelivery).
I2  All ops of a commit, or none. A commit that raised stored nothing, with three exceptions: `StorePoisoned`, then
    nobody knows until the store is reopened; `OutcomeUnknown`, where a server was gone before it answered and didn't
    come back in time; and what a signal handler raised (KeyboardInterrupt) in the middle of it, then it has
    happened or it hasn't.
I3  A record is in exactly one state.
I4  Ready records leave in the claim's order: OLDEST by id, NEWEST by falling id, RANK by (rank, id). A record
    that was given back or redelivered keeps its id, and so its place.
I5  At most one live claim per record. `attempt` grows by one with each claim of a record.
I6  A stale claim changes nothing: `LeaseLost`. Ids grow and are never reused.
I7  A put wakes a waiter, or the waiter looks after it. No wake-up is lost to a waiter that gives up.
I8  Opening a store drops a torn tail only. Damage before it is reported in `damage`, and the rest is served.
I9  A condition (`limit`, `limit_bytes`, `expect`, `stop`) is decided in the commit or claim that it travels with.

Threads: every method may be called from any thread. A store may run a finalizer or a signal handler of the
same thread in the middle of a method; a commit made there is carried out as soon as the interrupted method
is done, also where its handle is closed by then, and returns zeros in place of ids. Its `stop` is asked at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Union, runtime_checkable

from .durability import Durability
from .errors import LeaseLost, Stopped

#: What `claim` is given to end a wait early, checked under the store's lock. It must be quick and take no lock.
Stop = Callable[[], bool]


class Order(enum.Enum):
    """Which ready record a claim takes first (I4)."""

    OLDEST = "oldest"
    NEWEST = "newest"
    RANK = "rank"


class State(enum.Enum):
    """Where a record is (I3)."""

    READY = "ready"
    DELAYED = "delayed"
    CLAIMED = "claimed"


class Expect(enum.Enum):
    """What a key must be for a `Set` or `Delete` to go ahead; a bytes value instead means "exactly this"."""

    ANY = "any"
    ABSENT = "absent"
    PRESENT = "present"


class Capabilities(NamedTuple):
    """What a store can do."""

    processes: bool = False  #: several processes on one host may hold it at a time
    hosts: bool = False  #: several hosts may hold it at a time
    persistent: bool = True  #: it outlives the process
    looks: bool = False  #: a claim is written down, and who removes a record at once does well to `look` first

    @property
    def exclusive(self) -> bool:
        """One process holds it: what this process knows of it is all there is to know."""
        return not (self.processes or self.hosts)


class Claim(NamedTuple):
    """A record in the hands of one consumer. (id, attempt) is the fencing token."""

    queue: str
    id: int
    attempt: int  #: 1 for the first claim of the record; 0 where it was only looked at
    payload: bytes
    rank: bytes = b""
    put_at: float = 0.0  #: seconds since the epoch
    note: str = ""  #: in a dead-letter queue: why it is there


class Record(NamedTuple):
    """A record as `browse` shows it."""

    queue: str
    id: int
    state: State
    payload: bytes
    rank: bytes
    attempts: int  #: how often it was claimed
    put_at: float
    not_before: float  #: seconds since the epoch; 0.0 for at once
    note: str


class Depth(NamedTuple):
    """How much is in a queue."""

    ready: int = 0  #: claimable now
    delayed: int = 0  #: claimable later
    claimed: int = 0
    dead: int = 0  #: records in "<name>.dead", in any state
    bytes: int = 0  #: payload bytes of all but the dead
    oldest_age: float | None = None  #: seconds since the first ready record (by id) was put; None if not asked for

    @property
    def unfinished(self) -> int:
        """Records that are not acknowledged yet, the dead ones aside."""
        return self.ready + self.delayed + self.claimed


class Damage(NamedTuple):
    """Bytes that could not be read back as records. They were copied to `quarantine` where there were any."""

    path: str
    offset: int
    length: int
    reason: str
    quarantine: str = ""


class Put(NamedTuple):
    """A new record; its result is the record's id.

    `not_before` is wall time in seconds since the epoch. With `limit`, the commit raises `LimitReached` when the
    queue has that many ready records; with `limit_bytes`, when its payload bytes would exceed the limit (an empty
    queue takes one record of any size). The last three are for a record that moves here from another store: how often
    it was claimed there (ValueError if negative), when it was put (seconds since the epoch; 0.0 for now), and why it
    is a dead letter.
    """

    queue: str
    payload: bytes
    rank: bytes = b""
    not_before: float = 0.0
    limit: int | None = None
    limit_bytes: int | None = None
    attempts: int = 0
    put_at: float = 0.0
    note: str = ""


#: What follows queue and payload in a put without rank, delay and conditions.
PLAIN = Put("", b"")[2:]


class Ack(NamedTuple):
    """The claimed record is done and gone. `lazy`: no sync for this op (I1)."""

    claim: Claim
    lazy: bool = False


class Nack(NamedTuple):
    """The claimed record is ready again, from `not_before` on; with `dead`, in "<name>.dead" with that reason.

    A plain one (no delay, not dead) costs no sync: a claim ends with its owner anyway.
    """

    claim: Claim
    not_before: float = 0.0
    dead: str | None = None


class Extend(NamedTuple):
    """The claim is held for `lease` more seconds, where the store's claims run out by time; elsewhere a check."""

    claim: Claim
    lease: float = 30.0


class Update(NamedTuple):
    """The claimed record has this payload from now on; the claim goes on."""

    claim: Claim
    payload: bytes


class Set(NamedTuple):
    """`table[key] = value`, if the key is as expected (else `ConditionFailed`). An existing key keeps its place."""

    table: str
    key: bytes
    value: bytes
    expect: Expect | bytes = Expect.ANY


class Delete(NamedTuple):
    """`del table[key]`, if the key is as expected (else `ConditionFailed`). ANY passes over a missing key."""

    table: str
    key: bytes
    expect: Expect | bytes = Expect.ANY


class Clear(NamedTuple):
    """The table has no keys any more."""

    table: str


Op = Union[Put, Ack, Nack, Extend, Update, Set, Delete, Clear]


def put_off(ops: Sequence[Op], stop: Stop | None) -> tuple[Op, ...]:
    """What a store carries out later, in place of a commit that interrupts another one of its thread: its caller has
    gone on by then, and can't be told that the queue has its `limit`, or that its handle is closed. The queue has one
    record more, rather than lose it. Raises Stopped, where `stop` says so now; it isn't asked again."""
    unless_stopped(stop)
    return tuple(op._replace(limit=None) if isinstance(op, Put) else op for op in ops)


def unless_stopped(stop: Stop | None) -> None:
    """Raises Stopped where `stop` says so."""
    if stop is not None and stop():
        raise Stopped("the commit was stopped by its own predicate")


def meets(expect: Expect | bytes, value: bytes | None) -> bool:
    """Whether a key with this value (None: absent) is as a `Set` or `Delete` expects it."""
    if isinstance(expect, Expect):
        return expect is Expect.ANY or (value is None) == (expect is Expect.ABSENT)
    return value == expect


#: The longest a non-blocking call waits for other users of the store, in seconds.
LOCK_TIMEOUT = 5.0

#: What a dead-letter queue's name ends with.
DEAD = ".dead"


def dead_queue(queue: str) -> str:
    """The name of a queue's dead-letter queue. Records that die in one stay in it."""
    return queue if queue.endswith(DEAD) else queue + DEAD


class Commits(Protocol):
    """The part of a `Store` that changes it."""

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]: ...


def acknowledge(store: Commits, ops: Sequence[Ack | Nack]) -> None:
    """In one commit, or one by one where a lease was lost: that record is somebody else's by now."""
    try:
        store.commit(*ops)
    except LeaseLost:
        for op in ops:
            with suppress(LeaseLost):
                store.commit(op)


class Looks(Protocol):
    """What a store has beside the rest whose `capabilities.looks` says so."""

    def look(self, queue: str, order: Order = ...) -> Claim | None:
        """The first ready record (the oldest one), as a claim of attempt 0: nobody has it, and others may take it.

        An `Ack` of it removes it, which raises LeaseLost where it isn't ready any more or was claimed meanwhile; any
        other operation does in any case. None where there is none, or more to it than that: then it is to be claimed.
        """

    def record(self, queue: str, id: int) -> Record | None:
        """The record with that id, in whatever state it is; None where there is none, or it is damaged."""


@runtime_checkable
class Store(Protocol):
    """One handle on a store. Claims belong to the handle: closing or dropping it makes them ready again (I5)."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def durability(self) -> Durability: ...

    @property
    def damage(self) -> Sequence[Damage]:
        """What was found unreadable since the store was opened (I8)."""

    @property
    def place(self) -> str:
        """Where it lives, for people: a directory, a URL without its password."""

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        """Carry out all ops, in order, or none (I1, I2).

        `timeout` is how long in seconds to wait for other users of a shared store (None: `LOCK_TIMEOUT`).
        Returns one number per op: the record's id for a Put, else 0.
        Raises ConditionFailed (LimitReached, Stopped), LeaseLost, DiskError, StorePoisoned, StoreClosed.
        """

    def claim(
        self,
        queue: str,
        *,
        order: Order = Order.OLDEST,
        ids: Sequence[int] | None = None,
        limit: int = 1,
        timeout: float | None = 0.0,
        stop: Stop | None = None,
        counted: bool = False,
        lease: float = 30.0,
        patience: float | None = None,
        acks: Sequence[Ack] = (),
    ) -> list[Claim]:
        """Take up to `limit` ready records: the first ones by `order`, or those of `ids` that are ready.

        Waits up to `timeout` seconds (None: for ever) until there is one; returns [] when there was none or
        `stop()` was true. `stop` is looked at first: while it holds, nothing is claimed.
        `counted`: the attempt is stored with the store's durability before the call returns, so that a record which
        kills its consumer is told by its attempts after a restart.
        `patience` is how long in seconds to wait for other users of a shared store (None: as a commit does, and on
        while `timeout` isn't over); who has to be quick (an event loop) comes again after StoreLocked.
        `acks` are carried out first, in one transaction with the claim where that is faster, and also where there is
        nothing to claim; one whose lease is lost is passed over. A store that serves claims from what it has fetched
        ahead may put them off until that is used up, for 50 ms at most; a process that is killed then gets those
        records once more.
        """

    def browse(
        self, queue: str, *, order: Order = Order.OLDEST, state: State | None = State.READY, after: int = 0
    ) -> Iterator[Record]:
        """The queue's records as they are, claimed by nobody through this; `state=None` for those of all states.

        Records that leave while the iterator runs may be missing from it. `after`: only ids above it.
        """

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        """How much is in the queue now; `age`: with the oldest one's, for which that is looked at."""

    def any_ready(self, queue: str) -> bool:
        """Whether a record is ready: as `depth` has it, and sooner where that has to count them all."""

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        """Wait until `until(depth)` holds; False when `timeout` seconds went by first.

        The predicate runs under the store's lock: it must be quick and take no lock.
        """

    def get(self, table: str, key: bytes) -> bytes | None:
        """The key's value, or None."""

    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the order in which the keys were first set, from the one behind `after` on.

        Keys that are set or deleted while it runs may or may not be seen; none is seen twice.
        """

    def keys(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[bytes]:
        """As `scan`, the keys alone; no value is read for it."""

    def snapshot(self, table: str, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        """What the table's keys had for values at one moment: those of `keys` that it has, else all, in its order."""

    def count(self, table: str) -> int:
        """How many keys the table has."""

    def wake(self, queue: str) -> None:
        """Make everybody who waits on the queue look at `stop` or `until` again."""

    def sync(self) -> None:
        """What this handle has committed survives a power cut when this returns, where the store can see to that (a
        server's settings are its own). Raises DiskError, StorePoisoned.
        """

    def checkpoint(self) -> None:
        """Sync everything, give back space, and make the next opening fast."""

    def close(self) -> None:
        """Give back what this handle has claimed and let go of the store. A second call does nothing."""

    def __enter__(self) -> Store: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False] | None: ...
