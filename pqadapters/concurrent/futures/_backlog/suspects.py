"""Jobs on their last attempt: one of them may be what ends the process, and mustn't take others with it.

While one runs, nothing else is claimed that may have been begun before: only jobs that were submitted here and not
begun yet. A claim is counted on disk at once, so one that is on its way when the process dies would be blamed, too:
the suspect begins when those are over. Any thread may use it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .future import JobFuture


class Suspects:
    """Which one runs, and who is claiming."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._claiming: set[int] = set()  #: threads; one that was interrupted here may enter, or leave, once more
        self.running: bytes | None = None  #: its job id

    def enter(self) -> bool:
        """The caller is about to claim; whether it may claim whatever is ready."""
        with self._lock:
            self._claiming.add(threading.get_ident())
            return self.running is None

    def leave(self) -> None:
        """The caller has decided what becomes of its claim."""
        with self._lock:
            self._claiming.discard(threading.get_ident())
            if self.running is not None:
                self._changed.notify_all()

    def begin(self, id: bytes) -> bool:
        """The caller, which is claiming, has a job on its last attempt: True once it may begin, False if another one
        runs."""
        with self._lock:
            if self.running is not None:
                return False
            self.running = id
            self._changed.wait_for(lambda: self._claiming <= {threading.get_ident()})
            return True

    def end(self, id: bytes) -> bool:
        """A job has come to its end; whether it was the one."""
        with self._lock:
            if self.running != id:
                return False
            self.running = None
            return True

    def allow(self, future: JobFuture) -> bool:
        """Whether a job of ours may be claimed now."""
        return self.running is None or not future.attempts
