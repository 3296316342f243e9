"""Jobs whose outcome this process may have missed: a server took it for dead, and others cleaned up after it.

What a job came to then was told to nobody. But a job that has come to its end isn't on disk any more; who is a member
again, and finds one of its own neither there nor among what it is told, knows that much. Any thread may say which jobs
are in doubt; one looks.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from .._backlog.finishing import hear, hear_outcome
from .._backlog.records import buried
from .._jobs import wire
from .._jobs.errors import UnknownJob, parked
from .._jobs.outcome import Kept, Outcome

if TYPE_CHECKING:
    from .._backlog.backlog import Backlog

_LOOKS = 3  #: who brought a job to its end may have looked who waits for it before we were a member again


class Doubts:
    """See above."""

    def __init__(self) -> None:
        self._new: deque[bytes] = deque()
        self._ids: set[bytes] = set()
        self._missing: set[bytes] = set()  #: at the last look
        self._looks = 0  #: that are left

    def about(self, id: bytes) -> None:
        """Of this job we may have missed the end."""
        self._new.append(id)

    def about_all(self, backlog: Backlog) -> None:
        """Of any that is waited for here."""
        with backlog.attaching:  # of one that is being found it isn't known yet whether it is there
            stored = [id for id, future in backlog.live.copy().items() if future._record]
            self._new.extend([*stored, *backlog.attached.copy(), *backlog.running.copy()])

    def look(self, backlog: Backlog) -> None:
        """Whether they are there. All that was told to us must have been heard. Those that are missing twice come to
        their end here: one that was missing once may just be doing so. Raises StoreError."""
        while self._new:
            self._ids.add(self._new.popleft())
            self._looks = _LOOKS
        if not self._looks:
            return
        missing, last = self._ids.copy(), 0
        for _ in range(2):  # the second time what was put back meanwhile, which is another record then, behind these
            for record in backlog.store.browse(backlog.names.jobs, state=None, after=last):
                missing.discard(wire.id_of(record.payload))
                last = record.id
        missing |= self._ids & buried(backlog)
        if gone := missing & self._missing:
            _end(backlog, gone)
        self._looks -= 1
        self._missing = missing - gone
        self._ids = self._ids - gone if self._looks else set()


def _end(backlog: Backlog, ids: set[bytes]) -> None:
    """What runs here is left alone: it is told that its claim is lost, and is in doubt then."""
    dead = {wire.id_of(record.payload): record.note for record in backlog.store.browse(backlog.names.dead, state=None)}
    for id in ids & {*backlog.live.copy(), *backlog.attached.copy()}:
        entry = backlog.store.get(backlog.names.results, id)
        if entry is not None:
            hear(backlog, id, Kept.load(entry).outcome)
        elif backlog.store.get(backlog.names.cancelled, id) is not None:
            hear_outcome(backlog, id, Outcome(error=CancelledError()))
        elif id in dead:
            hear_outcome(backlog, id, Outcome(error=parked(dead[id])))
        else:
            hear_outcome(backlog, id, Outcome(error=UnknownJob(_LOST.format(id.hex()))))


_LOST = (
    "job {} came to its end while the server took this process for dead; "
    "what it came to is kept for jobs with a key, or with result_ttl="
)
