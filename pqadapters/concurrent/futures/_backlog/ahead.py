"""Jobs that are claimed some at a time, while each is over in no time: one commit counts their attempts, with one sync.

A thread that claims one job, waits for the disk and runs it for some microseconds does no more jobs than there are
syncs. So as long as jobs follow each other closely, some are claimed together, and whoever is free takes the next one
of them. They are begun within some milliseconds; a process that dies in these has counted an attempt of jobs that it
hadn't begun. That happens to a job once at most, for only first attempts are claimed ahead; and only where it does no
harm: where an interruption means one more of three attempts, and no other process could have begun the job instead.

What is claimed ahead is still waiting to whoever looks: it can be cancelled, and is in `Backlog.live`. Any thread may
call anything.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ....clock import SYSTEM
from .._jobs.options import PLAIN, Settings
from .._jobs.words import Interrupted
from .refusals import let_go, undo_claim

if TYPE_CHECKING:
    from ....store import Claim
    from .backlog import Backlog

_MOST = 16  #: jobs
_WINDOW = 0.02  #: seconds within which they are begun, if jobs go on as they do
_FEWEST_ATTEMPTS = 3  #: so that a job is really begun twice, at least


class Ahead:
    """Claims of jobs that nobody has begun yet."""

    def __init__(self) -> None:
        self.allowed = False
        self._claims: deque[Claim] = deque()
        self._last = 1  #: how many were claimed the last time
        self._at = 0.0  #: when that was, by the monotonic clock

    def __len__(self) -> int:
        return len(self._claims)

    def allow(self, settings: Settings) -> None:
        """For who begins jobs as soon as a thread is free, if an interruption does no harm."""
        self.allowed = (
            settings.interrupted is Interrupted.RETRY
            and settings.max_attempts >= _FEWEST_ATTEMPTS
            and not (settings.max_pending or settings.max_bytes)
        )

    def how_many(self, backlog: Backlog) -> int:
        """How many jobs the next claim takes."""
        before, self._at = self._at, SYSTEM.monotonic()
        most = 1
        if backlog.only_ours() and not (backlog.ranked or backlog.shared or backlog.mixed):
            each = (self._at - before) / self._last
            most = max(1, min(_MOST, len(backlog.live), int(_WINDOW / each) if each > 0 else _MOST))
        self._last = most
        return most

    def keep(self, backlog: Backlog, claims: list[Claim]) -> None:
        """These were claimed beyond the one that is begun. What isn't a new job of ours goes back at once."""
        for claim in claims:
            future = backlog.live.get(claim.payload[2:18])
            if future is not None and claim.attempt == 1 and future._options is PLAIN:
                self._claims.append(claim)
            else:
                undo_claim(backlog, claim)
        if backlog.stopped:
            self.give_back(backlog)

    def pop(self) -> Claim | None:
        """The next one; it is the caller's from here on."""
        try:
            return self._claims.popleft()
        except IndexError:
            return None

    def pull(self, record: int) -> Claim | None:
        """That one, for who doesn't want it to be begun; None where it isn't here."""
        for claim in self._claims.copy():
            if claim.id == record:
                with suppress(ValueError):  # somebody has begun it just now
                    self._claims.remove(claim)
                    return claim
        return None

    def ids(self) -> set[int]:
        """The records."""
        return {claim.id for claim in self._claims.copy()}

    def give_back(self, backlog: Backlog) -> None:
        """They are ready again, in their places."""
        while (claim := self.pop()) is not None:
            let_go(backlog, claim)

    def forget(self) -> None:
        """The store that they are of is gone for this process."""
        self._claims.clear()
