"""How long a call may wait for the server in all. Its steps share that: each of them is tried once at least, and none
begins to wait anew when the call's time is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ...clock import SYSTEM
from ...store import LOCK_TIMEOUT

_LEFT_BEHIND = 60.0  #: seconds; no call goes on for so long behind its end: an interrupt has kept it from saying so


class Patience:
    """That of each thread's call, if it is in one."""

    def __init__(self) -> None:
        self._local = threading.local()  # looked up here: gevent replaces it

    @property
    def end(self) -> float | None:
        """Until when this thread's call has time, in monotonic seconds. Who sets it sets it back."""
        end: float | None = getattr(self._local, "end", None)
        return None if end is None or SYSTEM.monotonic() - end > _LEFT_BEHIND else end

    @end.setter
    def end(self, end: float | None) -> None:
        self._local.end = end

    def until(self, seconds: float | None) -> float:
        """Until when a step may wait: so many seconds, but no longer than its call. None: as long as that, or as calls
        do by default."""
        end = self.end
        if end is None:
            return SYSTEM.monotonic() + (LOCK_TIMEOUT if seconds is None else seconds)
        return end if seconds is None else min(end, SYSTEM.monotonic() + seconds)

    @contextmanager
    def share(self, seconds: float | None = LOCK_TIMEOUT) -> Iterator[None]:
        """What this thread does in it is a call that has so much time (None: as by default), or a part of one."""
        outer = self.end
        try:
            self._local.end = self.until(LOCK_TIMEOUT if seconds is None else seconds)
            yield
        finally:
            self._local.end = outer  # no call: an interrupt would leave it
