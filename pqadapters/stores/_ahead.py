"""Records that a handle has claimed ahead of being asked for, oldest first: `prefetch`.

For its users they are ready still. Whoever asks for anything but the oldest one gives them back first, as if they had
never been claimed; so does the end of the handle. The death of its process makes them ready with one attempt more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat

from ..clock import SYSTEM
from ..store import Ack, Claim

_popleft: Callable[[deque[Claim]], Claim] = deque.popleft
LOOKS = 3  #: at a depth, as long as other threads change meanwhile what lies ahead
PUT_OFF = 0.05  #: seconds that an acknowledgement waits for others at most, while its consumer asks for more


class Ahead:
    """One handle's. Any thread may call anything: each record is popped once."""

    def __init__(self) -> None:
        self.claims: dict[str, deque[Claim]] = {}  #: of the process `process`
        self.waiting: list[Ack] = []  #: acknowledgements that were put off
        self._since = 0.0  #: the first of them, in monotonic seconds
        self.moved = object()  #: another one whenever records have come to lie here, or are to be given back
        self.process = 0  #: whose claims these are: a forked child has none of its parent's

    def pop(self, queue: str, process: int) -> Claim | None:
        """The oldest one of a queue."""
        if self.process != process:
            self._begin_in(process)
        taken: list[Claim] = []
        try:
            taken.extend(map(_popleft, (self.claims[queue],)))  # as `interrupts.keep`; for the hot path
        except (KeyError, IndexError):
            return None
        except BaseException:
            self.claims[queue].extendleft(taken)
            raise
        return taken[0]

    def _begin_in(self, process: int) -> None:
        """A forked child has nothing of what its parent has."""
        self.claims.clear()
        self.waiting = []
        self.process = process

    def put_off(self, acks: Sequence[Ack], process: int) -> bool:
        """Keep them for the next transaction. Whether they have waited long enough."""
        if self.process != process:
            self._begin_in(process)
        now = SYSTEM.monotonic()
        if not self.waiting:
            self._since = now
        self.waiting += acks
        return now - self._since >= PUT_OFF

    def is_due(self) -> bool:
        """Whether acknowledgements have waited long enough."""
        return bool(self.waiting) and SYSTEM.monotonic() - self._since >= PUT_OFF

    def take_waiting(self, process: int) -> list[Ack]:
        """Those that were put off, to be carried out by the caller."""
        if self.process != process:
            self._begin_in(process)
        taken, self.waiting = self.waiting, []
        return taken

    def keep_rest(self, queue: str, claims: list[Claim]) -> None:
        """All but the first one, which is left in the list. An interrupt finds each in one place or the other."""
        self.moved = object()
        kept = self.claims.setdefault(queue, deque())
        claims.reverse()
        kept.extend(map(claims.pop, repeat(-2, len(claims) - 1)))  # in one call, in which nothing comes between

    def of(self, queue: str, process: int) -> int:
        """How many there are of a queue."""
        found = self.claims.get(queue)
        return len(found) if found and self.process == process else 0

    def pop_all(self, process: int) -> list[Claim]:
        """All of them, to be given back."""
        taken: list[Claim] = []
        try:
            for queue in list(self.claims):
                while (claim := self.pop(queue, process)) is not None:
                    taken.append(claim)
                    self.moved = object()
        except BaseException:  # of a signal handler: nobody would have them
            self.put_back(taken)
            raise
        return taken

    def put_back(self, claims: list[Claim]) -> None:
        """They couldn't be given back, and come first as before."""
        self.moved = object()
        for claim in reversed(claims):
            self.claims.setdefault(claim.queue, deque()).appendleft(claim)
