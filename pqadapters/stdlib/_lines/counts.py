"""What a queue handle counts beside its store: unfinished tasks that no record stands for, and the shutdown flags.

The store knows the records; a handle adds what only this process knows. After a crash only the records count.
Readers take no lock. An update that belongs to a commit comes before it and is undone when the commit fails, and a
reader looks at the store first: so a reader may for a moment see one task too many, never one too few.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from ...store import Depth


class Flags:
    """Whether a handle was shut down or closed: `stopped` and `ended` are the `stop` predicates commits go with, and
    `turned` is the one for who waits."""

    def __init__(self) -> None:
        self._shut = self._closed = self._hooked = False
        self._over = threading.Lock()  #: held from then on; a lock, since every call asks it, and is told in C
        self.cut = False  #: shut down immediately: gets nothing either
        #: No put may succeed, no get may wait.
        self.stopped: Callable[[], bool] = self._over.locked
        self._aside = threading.Lock()
        #: Nor may who goes past the hooks wait: that, or a hook was replaced in this queue.
        self.turned: Callable[[], bool] = self._aside.locked
        self._pid = os.getpid()

    @property
    def shut(self) -> bool:
        """No more puts; gets drain what is there."""
        return self._shut

    @shut.setter
    def shut(self, value: bool) -> None:
        self._over.acquire(blocking=False)
        self._aside.acquire(blocking=False)
        self._shut = value
        if not (value or self._closed):
            self._over.release()
            if self._closed:  # by another thread, just now
                self._over.acquire(blocking=False)
            self._turn_back()

    @property
    def closed(self) -> bool:
        return self._closed

    @closed.setter
    def closed(self, value: bool) -> None:
        self._over.acquire(blocking=False)
        self._aside.acquire(blocking=False)
        self._closed = value

    @property
    def hooked(self) -> bool:
        """Whether gets and puts go by way of hooks that the program has put in the place of ours."""
        return self._hooked

    @hooked.setter
    def hooked(self, value: bool) -> None:
        self._aside.acquire(blocking=False)
        self._hooked = value
        self._turn_back()

    def _turn_back(self) -> None:
        if not (self.stopped() or self._hooked):
            with suppress(RuntimeError):  # another thread did
                self._aside.release()
            if self.stopped() or self._hooked:  # by another thread, just now
                self._aside.acquire(blocking=False)

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that made the handle."""
        return self._pid != os.getpid()

    def renew(self) -> None:
        """The handle is this process's own now."""
        self._pid = os.getpid()

    def ended(self) -> bool:
        """No get may succeed."""
        return self.cut or self._closed


class Counts:
    """The terms of `unfinished_tasks` besides the store's own records."""

    def __init__(self, flags: Flags) -> None:
        self._lock = threading.RLock()  # reentrant: a finalizer may count in the middle of a count
        self._flags = flags
        self.handed = 0  #: acknowledged when handed out, task_done() still to come
        self.uncovered = 0  #: task_done() calls by callers that held nothing, for items that others hold
        self.adjustment = 0  #: set by programs; what goes in and out by `q.queue`; task_done() ahead of its get()
        self.elsewhere = 0  #: task_done() calls for what other processes hold, while it isn't learnt whose they are
        self.buried = 0  #: records that this handle moved to the dead letters
        self.joining = 0  #: threads in join()
        #: `uncovered`, or a negative `adjustment`: something to settle. It is kept, since each task_done() asks.
        self.owing = False
        self._by_hand = threading.local()  #: how many records a thread has dropped that it may say done

    def add(
        self,
        *,
        handed: int = 0,
        uncovered: int = 0,
        adjustment: int = 0,
        elsewhere: int = 0,
        buried: int = 0,
        joining: int = 0,
    ) -> None:
        """Change them; where a signal handler interrupts this, nothing is changed."""
        done = False
        try:
            with self._lock:
                self.handed += handed
                self.uncovered += uncovered
                self.adjustment += adjustment
                self.elsewhere += elsewhere
                self.buried += buried
                self.joining += joining
                self.owing = self.uncovered != 0 or self.adjustment < 0
                done = True
        except BaseException:  # as the lock was let go of
            if done:
                self.add(
                    handed=-handed,
                    uncovered=-uncovered,
                    adjustment=-adjustment,
                    elsewhere=-elsewhere,
                    buried=-buried,
                    joining=-joining,
                )
            raise

    def take_handed(self) -> bool:
        """One task less of those that were acknowledged when handed out; False if there is none."""
        with self._lock:
            if self.handed <= 0:
                return False
            self.handed -= 1
            return True

    def cover(self, outstanding: int) -> bool:
        """Count a task_done() of a caller that holds nothing. Only what is outstanding can be covered by it."""
        with self._lock:
            dropped = vars(self._by_hand).get("count", 0)
            if dropped and self.adjustment > 0:  # it is for one of those, and not for what another one is at
                self._by_hand.count = dropped - 1
            elif self.uncovered < outstanding:
                self.uncovered += 1
                self.owing = True
                return True
            self.adjustment -= 1
            self.owing = self.uncovered != 0 or self.adjustment < 0
            return False

    def drop(self, dropped: int) -> int:
        """So many records go that nobody was given: they stay unfinished. Returns how many."""
        self.add(adjustment=dropped)
        self._by_hand.count = vars(self._by_hand).get("count", 0) + dropped
        return dropped

    def settle_elsewhere(self, *, stands: bool) -> None:
        """It is learnt what those calls are for: tasks that stay unfinished else, or records that go by themselves."""
        with self._lock:
            self.add(elsewhere=-self.elsewhere, adjustment=-self.elsewhere if stands else 0)

    def raw(self, depth: Depth) -> int:
        records = depth.claimed if self._flags.cut else depth.unfinished
        return records + self.handed - self.uncovered + self.adjustment - min(self.elsewhere, depth.claimed)

    def level(self, depth: Depth) -> bool:
        """Forget a debt: the count starts again at zero. For `Store.wait`, under whose lock the depth is exact."""
        raw = self.raw(depth)
        if raw < 0:
            self.adjustment -= raw
            self.owing = self.uncovered != 0 or self.adjustment < 0
        return True

    def finished(self, depth: Depth) -> bool:
        """Nothing is unfinished, or the handle was closed: join() ends."""
        return self.raw(depth) <= 0 or self._flags.closed
