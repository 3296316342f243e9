"""Jobs on their last attempt: one of them may be what ends the process, and mustn't take others with it; and if it is
not, none of the others may take it with them.

While one runs, nothing else is claimed that may have been begun before: only jobs that were submitted here and not
begun yet. A claim is counted on disk at once, so one that is on its way when the process dies would be blamed, too:
the suspect begins when those are over. In a pool of threads it runs alone at first: it waits for the jobs that run, and
of the new ones only those are begun that a job submits, which may be waiting for it; up to `patience` seconds, for what
runs may be waiting for a new job nevertheless, or never end. (A pool of processes has a worker apart for it.)
A job that asks for an older one may be waiting for that: the suspect gives way then, and keeps others no longer.
Any thread may use it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ....clock import SYSTEM

if TYPE_CHECKING:
    from .future import JobFuture

_LOOK = 0.25  #: seconds between two looks of one that waits for others at whether it is to begin at all


def nothing() -> None:
    """Nobody looks at a time."""


class Suspects:
    """Which one runs, and who is claiming."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        #: The threads, by what each has entered with: its signal handler or finalizer may claim in the middle of that.
        self._claiming: dict[object, int] = {}
        self.running: bytes | None = None  #: its job id
        self.patience = 0.0  #: seconds that it waits for others, and others for it
        self.workers = set[int]()  #: threads that run jobs: who submits there may wait for that
        self._children = set[bytes]()  #: the jobs that were submitted there since it came
        self.waiting = 0  #: 1 while the thread that has one waits for those that run, and looks for no others
        self._in_vain = set[bytes]()  #: the jobs that one waited for to no purpose: the next ones don't
        self._until = 0.0  #: it is waited for until then, by the monotonic clock
        self.later: Callable[[], object] | None = None  #: takes back the look for new jobs at that time

    def enter(self, entry: object) -> bool:
        """The caller is about to claim, and leaves with the same object; whether it may claim whatever is ready."""
        with self._lock:
            self._claiming[entry] = threading.get_ident()
            return self.running is None

    def leave(self, entry: object) -> None:
        """The caller has decided what becomes of its claim: it runs, or doesn't. A second call does nothing."""
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
            self._until = SYSTEM.monotonic() + self.patience
            self._changed.wait_for(lambda: {threading.get_ident()}.issuperset(self._claiming.values()))
            return True

    def wait_until_alone(self, others: Callable[[], Mapping[bytes, object]], gives_up: Callable[[], object]) -> bool:
        """For who has begun one: wait for the others, while there is patience. False if it is not to begin after all:
        that is looked at while it waits."""
        with self._lock:
            self._in_vain &= set(others())
            while self.patience and not self._in_vain.issuperset(run := set(others())):
                left = self._until - SYSTEM.monotonic()
                if left <= 0:
                    self._in_vain |= run
                    break
                if gives_up():
                    return False
                self._changed.wait(min(left, _LOOK))
            return True

    def end(self, id: bytes) -> bool:
        """A job has come to its end; whether it was the one."""
        with self._lock:
            if self.running != id:
                self._changed.notify_all()
                return False
            later = self._over()
        later()
        return True

    def _over(self) -> Callable[[], object]:
        self.running = None
        self._children.clear()
        later, self.later = self.later, None
        return later or nothing

    def give_way(self, run: Iterable[bytes]) -> bool:
        """The caller waits, or will, for a job that may not begin; `run` do. If it is itself a job, the suspect may be
        waiting for that, through it: whether it keeps others no longer. The next one doesn't wait for what runs, which
        may be waiting for that one. One that still waits begins now."""
        with self._lock:
            if self.running is None or threading.get_ident() not in self.workers:
                return False
            if self.waiting:
                self._until = 0.0
                self._changed.notify_all()
                return False
            self._in_vain |= set(run)
            later = self._over()
        later()
        return True

    def submitted(self, id: bytes) -> None:
        """The caller submits that job while one runs, or waits to. It is kept only where that matters: a long one would
        have all of them."""
        if threading.get_ident() in self.workers and self.is_waited_for():
            self._children.add(id)

    def is_waited_for(self) -> bool:
        """Whether nothing is begun now but what jobs submit."""
        return self.running is not None and SYSTEM.monotonic() < self._until

    def allow(self, future: JobFuture) -> bool:
        """Whether a job of ours may be claimed now."""
        return self.running is None or not future.attempts

    def children(self) -> list[bytes]:
        """What jobs have submitted since one came."""
        with self._lock:
            return list(self._children)
