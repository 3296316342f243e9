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
        #: The threads, by what each has entered with: its signal handler or finalizer may claim in the middle of that.
        self._claiming: dict[object, int] = {}
        self.running: bytes | None = None  #: its job id

    def enter(self, entry: object) -> bool:
        """The caller is about to claim, and leaves with the same object; whether it may claim whatever is ready."""
        with self._lock:
            self._claiming[entry] = threading.get_ident()
            return self.running is None

    def leave(self, entry: object) -> None:
        """The caller has decided what becomes of its claim. A second call does nothing."""
        with self._lock:
            self._claiming.pop(entry, None)
            if self.running is not None:
                self._changed.notify_all()

    def begin(self, id: bytes) -> bool:
        """The caller, which is claiming, has a job on its last attempt: True once it may begin, False if another one
        runs."""
        with self._lock:
            if self.running is not None:
                return False
            self.running = id
            self._changed.wait_for(lambda: {threading.get_ident()}.issuperset(self._claiming.values()))
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
