"""Jobs on their last attempt: one of them may be what ends the process, and mustn't take others with it; and if it is
not, none of the others may take it with them.

While one runs, none of another executor of this process is begun, and in its own nothing else is claimed that may have
been begun before: only jobs that were submitted here and not begun yet, or have come to an end each time and are tried
again. A claim is counted on disk at once, so one that is on its way when the process dies would be blamed, too: the
suspect begins when those are over, as a rule.

In a pool of threads it runs alone at first: it waits for the jobs that run in this and other pools of threads, and of
the new ones there only those are begun that a job submits, which may be waiting for it; up to `patience` seconds, for
what runs may be waiting for a new job nevertheless, or never end. (A pool of processes has a worker apart for it.)

A job that asks for an older one may be waiting for that: the suspect gives way then, and keeps others no longer.
Any thread may use it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakSet

from ....clock import SYSTEM
from ....living import living
from .clock import call_in

if TYPE_CHECKING:
    from .future import JobFuture

_CLAIMS = 5.0  #: seconds that one waits for claims on their way, of which one may be waiting for it
_LOOK = 0.25  #: seconds between two looks of one that waits for others at whether it is to begin at all


def nothing() -> None:
    """Nobody looks."""


class _Company:
    """The suspects of all executors of this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.members: WeakSet[Suspects] = WeakSet()
        self.running: list[Suspects] = []  #: those of which one runs: one, as a rule
        self.workers = set[int]()  #: threads that run jobs: who submits there may wait for that
        self.children = set[bytes]()  #: the jobs that were submitted there since it came
        self.in_vain = set[object]()  #: what one waited for to no purpose: the next ones don't

    def look(self) -> None:
        """All that were kept from jobs look for them."""
        for each in living(self.members):
            if each.is_kept:
                each.is_kept = False
                each.look()


_company: dict[str, _Company] = {}  #: the one there is, made at its first use: gevent may have replaced locks


class Suspects:
    """Of one executor: which one runs, and who is claiming. `jobs`: those that run, by id. `look`: looks for new ones
    that may be begun."""

    def __init__(self, jobs: Mapping[bytes, object], look: Callable[[], object] = nothing) -> None:
        self._jobs, self.look = jobs, look
        self._all = _company.get("") or _company.setdefault("", _Company())
        self._lock = self._all.lock
        #: The threads, by what each has entered with: its signal handler or finalizer may claim in the middle of that.
        self._claiming: dict[object, int] = {}
        self.running: bytes | None = None  #: its job id
        self.all_running = self._all.running  #: not empty while one runs anywhere
        self.patience = 0.0  #: seconds that it waits for others, and others for it
        self.workers, self.in_vain = self._all.workers, self._all.in_vain
        self.waiting = 0  #: 1 while the thread that has one waits for those that run, and looks for no others
        self.is_kept = False  #: something may not have been begun since one of another executor runs
        self._began = 0.0
        self._until = 0.0  #: it is waited for until then, by the monotonic clock
        self._later: Callable[[], object] = nothing  #: takes back the look for new jobs at that time
        self._all.members.add(self)

    def enter(self, entry: object) -> bool:
        """The caller is about to claim, and leaves with the same object; whether it may claim whatever is ready."""
        with self._lock:
            self._claiming[entry] = threading.get_ident()
            return self.running is None and not self.is_waited_for()

    def leave(self, entry: object) -> None:
        """The caller has decided what becomes of its claim: it runs, or doesn't. A second call does nothing."""
        with self._lock:
            self._claiming.pop(entry, None)
            if self.all_running:
                self._all.changed.notify_all()

    def begin(self, id: bytes) -> bool:
        """The caller, which is claiming, has a job on its last attempt: True once it may begin, False if another one
        runs."""
        with self._lock:
            if self.all_running:
                return False
            self.running, self._began = id, SYSTEM.monotonic()
            self._until = self._began + self.patience
            self.all_running.append(self)
            self._all.changed.wait_for(lambda: {threading.get_ident()}.issuperset(self._claiming.values()), _CLAIMS)
            return True

    def age(self) -> float:
        """For how many seconds one has been running, here or in another executor."""
        with self._lock:
            return max((SYSTEM.monotonic() - each._began for each in self.all_running), default=0.0)

    def wait_until_alone(self, gives_up: Callable[[], object]) -> bool:
        """For who has begun one: wait for the others, while there is patience. False if it is not to begin after all:
        that is looked at while it waits."""
        in_vain = self.in_vain
        self._later = call_in(self.patience, self._all.look)  # for new jobs, should it take longer
        with self._lock:
            self.is_kept = True
            in_vain &= self._others()
            while not in_vain.issuperset(others := self._others()):
                left = self._until - SYSTEM.monotonic()
                if left <= 0:
                    in_vain |= others
                    break
                if gives_up():
                    return False
                self._all.changed.wait(min(left, _LOOK))
            return True

    def _others(self) -> set[object]:
        """What runs in pools of threads, or is about to; of our own, no claims are on their way."""
        others, me = set[object](self._jobs), threading.get_ident()
        for each in living(self._all.members):
            if each is not self and each.patience:
                others.update(each._jobs)
                others.update(entry for entry, thread in each._claiming.items() if thread != me)
        return others

    def end(self, id: bytes) -> bool:
        """A job has come to its end; whether it was the one."""
        with self._lock:
            if self.running != id:
                self._all.changed.notify_all()
                return False
            self._over()
        self._all.look()
        return True

    def _over(self) -> None:
        self.running = None
        if self in self.all_running:
            self.all_running.remove(self)
        if not self.all_running:
            self._all.children.clear()
        later, self._later = self._later, nothing
        later()

    def close(self) -> None:
        """The executor has ended: nothing waits for what it still runs."""
        with self._lock:
            self._over()
        self._all.look()

    def give_way(self) -> None:
        """The caller waits, or will, for a job that may not begin. If it is itself a job, the suspect may be waiting
        for that, through it: it keeps others no longer. The next one doesn't wait for what runs, which may be waiting
        for that one. One that still waits begins now."""
        with self._lock:
            if threading.get_ident() not in self.workers:
                return
            for each in list(self.all_running):
                if each.waiting:
                    each._until = 0.0
                    self._all.changed.notify_all()
                else:
                    self.in_vain.update(each._others())
                    each.is_kept = True
                    each._over()
        self._all.look()

    def submitted(self, id: bytes) -> None:
        """The caller submits that job while one runs, or waits to. It is kept only where that matters: a long one would
        have all of them."""
        if threading.get_ident() in self.workers and self.is_waited_for():
            self._all.children.add(id)

    def is_waited_for(self) -> bool:
        """Whether nothing is begun now but what jobs submit. Takes no lock: who asks has its executor's, which a
        finalizer takes that comes in the middle of anything here."""
        if not self.all_running or not self.patience:
            return False
        self.is_kept = True  # before the look: the end of the one may come right behind that
        now = SYSTEM.monotonic()
        return any(now < each._until for each in list(self.all_running))

    def allow(self, future: JobFuture) -> bool:
        """Whether a job of ours may be claimed now."""
        return self.running is None or not future._interruptions

    def allow_soon(self, future: JobFuture) -> bool:
        """Whether a job of ours that waits is claimed before the one that runs comes to its end."""
        return not future._interruptions and (not self.is_waited_for() or future._id in self._all.children)

    def children(self) -> list[bytes]:
        """What jobs have submitted since one came."""
        with self._lock:
            return list(self._all.children)


def begin_again() -> None:
    """In a forked child, before it makes anew what its executors have: the locks are held by threads of the parent."""
    _company.clear()
