"""What a program did to a store, and what must, may and can't be there after a crash.

`Player` carries out commits and notes for each when its first and behind its last action on the disk was. From that a
crash after the n-th action tells of each commit whether it was acknowledged, under way, or not begun.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pqadapters.errors import StorePoisoned
from pqadapters.store import Ack, Claim, Clear, Delete, Nack, Op, Put, Record, Set, State, Store, Update, dead_queue

from .faulty import FaultyDisk

NOBODY_KNOWS = 1 << 60  #: the end of a commit that found the store poisoned

FAR = 4e9  #: a delay that doesn't end while tests run

KEYS = (b"a", b"b", b"c", b"d")  #: of the table that is cleared


class Fate(enum.Enum):
    MUST = "must"
    MAY = "may"
    NEVER = "never"


class Shape(NamedTuple):
    """A record as far as crashes are concerned. Gone ones have none."""

    queue: str
    payload: bytes
    delayed: bool = False
    note: str = ""


class Step(NamedTuple):
    """What one operation does to one subject: a record's id, or a table and a key."""

    subject: int | tuple[str, bytes]
    change: Callable[[Shape | bytes | None], Shape | bytes | None]


class Commit(NamedTuple):
    begin: int
    end: int
    steps: tuple[Step, ...]
    lazy: bool


def _steps(op: Op, id: int) -> tuple[Step, ...]:
    if isinstance(op, Put):
        fresh = Shape(op.queue, op.payload, op.not_before > 0)
        return (Step(id, lambda _: fresh),)
    if isinstance(op, Set):
        return (Step((op.table, op.key), lambda _: op.value),)
    if isinstance(op, Delete):
        return (Step((op.table, op.key), lambda _: None),)
    if isinstance(op, Clear):
        return tuple(Step((op.table, key), lambda _: None) for key in KEYS)
    claim = op.claim
    if isinstance(op, Ack):
        return (Step(claim.id, lambda _: None),)
    if isinstance(op, Update):
        return (Step(claim.id, lambda old: _shape(old, claim)._replace(payload=op.payload)),)
    if isinstance(op, Nack) and op.dead is not None:
        name, note = dead_queue(claim.queue), op.dead
        return (Step(claim.id, lambda old: old and _shape(old, claim)._replace(queue=name, note=note)),)
    if isinstance(op, Nack) and op.not_before:
        return (Step(claim.id, lambda old: old and _shape(old, claim)._replace(delayed=True)),)
    return ()


def _shape(old: Shape | bytes | None, claim: Claim) -> Shape:
    """The shape that a change builds on; an update brings the whole record with it."""
    return old if isinstance(old, Shape) else Shape(claim.queue, claim.payload, False, claim.note)


class Player:
    """Drives a store and keeps its history."""

    def __init__(self, disk: FaultyDisk, reopen: Callable[[], Store], *, power: bool) -> None:
        self.disk = disk
        self.power = power
        self.commits: list[Commit] = []
        self.syncs: list[tuple[int, int]] = []  #: begin and end of calls that sync all that came before
        self.reopened = reopen
        self.store = reopen()
        self._number = itertools.count()

    def commit(self, *ops: Op) -> tuple[int, ...]:
        begin = len(self.disk.actions)
        try:
            ids = self.store.commit(*ops)
        except StorePoisoned:  # nobody knows; what it would have put has no ids
            known = tuple(step for op in ops if not isinstance(op, Put) for step in _steps(op, 0))
            self.commits.append(Commit(begin, NOBODY_KNOWS, known, False))
            raise
        end = len(self.disk.actions)
        steps = tuple(step for op, id in zip(ops, ids, strict=True) for step in _steps(op, id))
        lazy = all(op.lazy if isinstance(op, Ack) else isinstance(op, Nack) and not _steps(op, 0) for op in ops)
        self.commits.append(Commit(begin, end, steps, lazy))
        if self.power and not lazy:
            self.syncs.append((begin, end))
        return ids

    def put(self, count: int = 1, *, size: int = 20, queue: str = "q") -> None:
        """So many commits of one record each, no two of the same payload."""
        for _ in range(count):
            self.commit(Put(queue, self.payload(size)))

    def payload(self, size: int = 20) -> bytes:
        head = b"%06d " % next(self._number)
        return head + bytes(n % 251 for n in range(max(0, size - len(head))))

    def claim(self, limit: int = 1, queue: str = "q") -> list[Claim]:
        return self.store.claim(queue, limit=limit)

    def ack(self, count: int = 1, *, lazy: bool = False, queue: str = "q") -> None:
        for claim in self.claim(count, queue):
            self.commit(Ack(claim, lazy))

    def checkpoint(self) -> None:
        self._synced(self.store.checkpoint)

    def sync(self) -> None:
        self._synced(self.store.sync)

    def reopen(self) -> None:
        self._synced(self.store.close)
        self.store = self.reopened()

    def _synced(self, call: Callable[[], None]) -> None:
        begin = len(self.disk.actions)
        call()
        self.syncs.append((begin, len(self.disk.actions)))

    # After a crash

    def fates(self, crash: int, *, power_cut: bool) -> list[Fate]:
        """Of each commit after a crash behind the first `crash` actions, or in the middle of the one that follows."""
        synced = max((begin for begin, end in self.syncs if end <= crash), default=-1)
        own = {(begin, end) for begin, end in self.syncs if end <= crash}

        def fate(commit: Commit) -> Fate:
            if commit.end <= crash:
                safe = not power_cut or commit.end <= synced or (commit.begin, commit.end) in own
                return Fate.MUST if safe else Fate.MAY
            return Fate.MAY if commit.begin <= crash else Fate.NEVER

        return [fate(commit) for commit in self.commits]

    def problems(self, view: View, fates: list[Fate]) -> list[str]:
        """What is wrong with what a store shows; an empty list when nothing is."""
        known: dict[int | tuple[str, bytes], list[tuple[Step, Fate]]] = {}
        for commit, fate in zip(self.commits, fates, strict=True):
            for step in commit.steps:
                if fate is not Fate.NEVER:
                    known.setdefault(step.subject, []).append((step, fate))
        found = [f"{subject!r} was never put" for subject in view.things if subject not in known]
        for subject, steps in known.items():
            allowed = _outcomes(steps)
            if view.things.get(subject) not in allowed:
                found.append(f"{subject!r} is {view.things.get(subject)!r}; it may be {allowed!r}")
        return found + self._torn_commits(view, fates, known)

    def _torn_commits(
        self, view: View, fates: list[Fate], known: dict[int | tuple[str, bytes], list[tuple[Step, Fate]]]
    ) -> list[str]:
        """Commits of which a part is there (I2), judged by what nothing later may have touched."""
        found = []
        for commit, fate in zip(self.commits, fates, strict=True):
            if fate is not Fate.MAY:
                continue
            happened = set()
            for step in commit.steps:
                steps = known[step.subject]
                before = _outcomes(steps[:-1])
                after = {step.change(old) for old in before}
                if steps[-1][0] is step and not before & after:
                    happened.add(view.things.get(step.subject) in after)
            if len(happened) > 1:
                found.append(f"half of a commit: {[step.subject for step in commit.steps]}")
        return found

    def last_known_id(self, fates: list[Fate]) -> int:
        ids = [
            step.subject
            for commit, fate in zip(self.commits, fates, strict=True)
            for step in commit.steps
            if fate is Fate.MUST and isinstance(step.subject, int)
        ]
        return max(ids, default=0)


def _outcomes(steps: Iterable[tuple[Step, Fate]]) -> set[Shape | bytes | None]:
    """What a subject may be: all that must have happened, with or without each that may."""
    states: set[Shape | bytes | None] = {None}
    for step, fate in steps:
        changed = {step.change(state) for state in states}
        states = changed if fate is Fate.MUST else states | changed
    return states


class View:
    """All that a store shows."""

    def __init__(self, store: Store, queues: Iterable[str], tables: Iterable[str]) -> None:
        names = sorted({name for queue in queues for name in (queue, dead_queue(queue))})
        self.records: list[Record] = [record for name in names for record in store.browse(name, state=None)]
        self.tables = {table: list(store.scan(table)) for table in tables}
        self.depths = [store.depth(name)._replace(oldest_age=None) for name in names]
        self.things: dict[int | tuple[str, bytes], Shape | bytes] = {
            record.id: Shape(record.queue, record.payload, record.state is State.DELAYED, record.note)
            for record in self.records
        }
        self.things.update(((table, key), value) for table, pairs in self.tables.items() for key, value in pairs)

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, View)
        return (self._records(), self.tables, self.depths) == (other._records(), other.tables, other.depths)

    def _records(self) -> list[Record]:
        return [record._replace(attempts=0) for record in self.records]  # claims that weren't counted may be forgotten

    def __repr__(self) -> str:
        return f"{[(r.queue, r.id, r.payload[:12]) for r in self.records]} {self.tables} {self.depths}"
