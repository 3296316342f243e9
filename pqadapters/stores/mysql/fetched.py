"""What a handle has fetched ahead of being asked for, and how much that may be where nobody has said it.

It is what its consumer uses up in a moment: 1 at first, and then as many as it asked for in `WINDOW` seconds after the
last fetch, at most four times as many as before. What it doesn't ask for within another moment is given back, so that a
consumer elsewhere has it: the keeper sees to that, and to acknowledgements that were put off for so long.

What is to be given back is a stray until a transaction that says so is known to be committed. Strays are never handed
out, and each claim of this process gives them back first: so one consumer gets what was put first, whatever fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from ...clock import SYSTEM
from ...interrupts import keep
from ...store import Ack, Claim
from .._ahead import PUT_OFF, Ahead
from .._work import PENDING
from .schema import held_by, moment
from .session import Session

WINDOW = 0.04  #: seconds of a consumer's work that are fetched ahead; with the fetch itself less than `PUT_OFF`
MOST = 128  #: records
_GROWTH = 4  #: times as many as before, at most
IDLE = 0.03  #: seconds after which nobody seems to ask for what lies ahead
_STOPPED = 1.0  #: seconds after which this process may have been stopped, and taken for dead

NumberOf = Callable[[str], "int | None"]  #: a queue's


class Pace:
    """How fast the consumers of one queue ask."""

    __slots__ = ("handed", "most", "since")

    def __init__(self) -> None:
        self.most = 1  #: how many the last fetch was to take
        self.handed = 0  #: records since then
        self.since = 0.0  #: when that was done, in monotonic seconds

    def wanted(self) -> int:
        """How many a fetch may take now."""
        used = int(self.handed * WINDOW / max(SYSTEM.monotonic() - self.since, 1e-6))
        return max(1, min(used, _GROWTH * self.most, MOST))

    def begin(self, most: int, *, first: bool = True) -> None:
        """A fetch of so many is done, and its first record is handed out. Not `first`: another thread fetches for all
        of them."""
        if first:
            self.most, self.handed, self.since = most, 0, SYSTEM.monotonic()
        self.handed += 1


class Stray:
    """A record that is to be given back. `outcome` is that of the last transaction that was told to."""

    __slots__ = ("claim", "outcome")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.outcome = PENDING


def undo(strays: Sequence[Stray]) -> None:
    """What their transaction was told of them isn't done, whatever becomes of the rest of it."""
    for stray in strays:
        stray.outcome = PENDING


class Fetched(Ahead):
    """One handle's. Strays are looked at and changed by whoever carries out a transaction, and by nobody else."""

    def __init__(self, handle: int, prefetch: int | None, process: int) -> None:
        super().__init__()
        self.process = process  # from the first on: what comes to lie here isn't a parent's
        self.handle = handle
        self.adaptive = prefetch is None  #: how many is found out here
        self.fetcher: object | None = None  #: who of several threads fetches for all
        self.touched = 0.0  #: when something was last kept or handed out, in monotonic seconds
        self.due: dict[str, bytes] = {}  #: when a delayed record, which may come before these, is ready
        self._paces: dict[str, Pace] = {}
        self._strays: list[Stray] = []
        self._orphans: list[Claim] = []  #: which any thread adds to the strays

    def _begin_in(self, process: int) -> None:
        self.fetcher, self._strays, self._orphans, self._paces, self.due = None, [], [], {}, {}
        super()._begin_in(process)

    def pace(self, queue: str) -> Pace:
        found = self._paces.get(queue)
        return found if found is not None else self._paces.setdefault(queue, Pace())

    def pop(self, queue: str, process: int) -> Claim | None:
        pace, self.touched = self.pace(queue), SYSTEM.monotonic()  # first: no call, and so no interrupt, behind it
        claim = super().pop(queue, process)
        if claim is not None:
            pace.handed += 1
        return claim

    def keep_rest(self, queue: str, claims: list[Claim]) -> None:
        self.touched = SYSTEM.monotonic()
        super().keep_rest(queue, claims)

    def orphan(self, claims: Sequence[Claim]) -> None:
        """They are claimed, and an interrupt has kept them from being handed out or kept."""
        self._orphans += claims

    def is_past(self, queue: str, process: int, wall: Callable[[], float], lease: float) -> bool:
        """Whether what lies ahead of a queue is no longer what a claim would take: others may have it by now, or a
        delayed record comes first."""
        if not self.of(queue, process):
            return False
        patience = min(_STOPPED, lease / 4) if self.adaptive else lease / 2
        if SYSTEM.monotonic() - self.touched > patience:
            return True
        due = self.due.get(queue)
        return due is not None and moment(wall()) >= due

    def note_due(self, queue: str, due: bytes | None) -> None:
        if due is not None:
            self.due[queue] = due
        else:
            self.due.pop(queue, None)

    def lose(self) -> None:
        """Others have taken this process for dead: what lies ahead is theirs."""
        for claims in list(self.claims.values()):
            claims.clear()
        self.moved = object()

    def lies_ahead(self, process: int) -> bool:
        return self.process == process and any(self.claims.values())

    def queues(self) -> list[str]:
        """Those of which something may lie ahead."""
        return list(self.claims)

    def queues_of_strays(self) -> set[str]:
        return {claim.queue for claim in [*self._orphans, *(stray.claim for stray in self._strays)]}

    # What the keeper asks

    def is_empty(self, process: int) -> bool:
        """Whether there is nothing that may have to be seen to."""
        if self.process != process:
            self._begin_in(process)
        return not (self.waiting or self.has_strays or (self.adaptive and any(self.claims.values())))

    def is_idle(self) -> bool:
        """Whether nobody has asked for some time."""
        return SYSTEM.monotonic() - self.touched >= IDLE

    def is_overdue(self) -> bool:
        """Whether something is to be done for it."""
        if self.waiting and (self.is_idle() or SYSTEM.monotonic() - self._since >= PUT_OFF):
            return True
        return self.has_strays or (self.adaptive and self.is_idle() and any(self.claims.values()))

    # Giving back, in a transaction

    @property
    def has_strays(self) -> bool:
        return bool(self._orphans) or any(not stray.outcome.done for stray in self._strays)

    def shed(self, session: Session, number_of: NumberOf, queues: Sequence[str] | None = None) -> list[Stray]:
        """Give back what lies ahead (of these queues), and what an earlier transaction has failed to. Returns what the
        transaction wasn't told before."""
        for queue in list(self.claims) if queues is None else queues:
            claims = self.claims.get(queue)
            while claims:
                with suppress(IndexError):  # the last one first: whoever asks meanwhile gets what was before it
                    keep(self._orphans, deque[Claim].pop, claims)
                self.moved = object()
        return self.shed_strays(session, number_of)

    def shed_strays(self, session: Session, number_of: NumberOf) -> list[Stray]:
        """The same of the latter alone. Told twice, a transaction would give back what it has claimed in between."""
        while self._orphans:
            self._strays.append(Stray(self._orphans[0]))  # told twice in one transaction should an interrupt come here
            del self._orphans[0]
        if not self._strays:
            return []
        self._strays = [stray for stray in self._strays if not stray.outcome.done]
        told = [stray for stray in self._strays if stray.outcome is not session.outcome]
        groups: dict[str, list[int]] = {}
        for stray in told:
            groups.setdefault(stray.claim.queue, []).append(stray.claim.id)
        for queue, ids in groups.items():
            place = held_by(session.owner, self.handle)
            session.tell_surely(len(ids), session.sql.UNTOUCHED, number_of(queue) or 0, place, sorted(ids))
        for stray in told:  # last: where that failed half way it is all told again
            stray.outcome = session.outcome
        return told

    def restore(self, acks: Sequence[Ack], process: int) -> None:
        """They weren't carried out, or nobody knows: what was is passed over when it comes again."""
        if acks:
            self.put_off(acks, process)
