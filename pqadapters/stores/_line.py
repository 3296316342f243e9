"""Group commit: what threads of a process ask for while one of them commits goes into the next transaction together.

Whoever wants a transaction adds its work to the line. The first one to come takes the lock and carries out all that is
in the line, in one transaction with one sync, while those who come meanwhile sleep; then it wakes those whose work is
done, and the first of the others, which is the next to lead. A commit is durable when `do` returns. What a finalizer
or signal handler asks for in the middle of a transaction of its own thread is put off to the end of that, and `do`
returns LATE. Where there is nothing to be had by sharing a transaction, threads take turns (`_turns.py`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import telling
from ..clock import SYSTEM
from ..errors import LeaseLost, PqadaptersError, StoreError
from ..interrupts import keep
from ..resting import Rest
from ._turns import call_back, comers, give_way
from ._work import Work

LATE = object()  #: the result of what was put off
_GLANCE = 0.02  #: seconds between two looks of who goes away whether its work is done
_TRIES = 3  #: how often what was put off is carried out, while signal handlers raise something
_OVERSLEPT = 0.25  #: seconds until a sleeper looks for itself: an interrupt may have kept its waker from waking it


class Line:
    """Those who wait for a transaction of theirs, and who leads. A store's own part is `carry_out`.

    All attributes need `lock`; methods named `_locked` are called with it held.
    """

    moment = 0.0  #: seconds that who has no time waits for a transaction of others, from its beginning on

    def __init__(self, name: str, place: str) -> None:
        self._logger, self._place = telling.logger(name), place
        self._relock()
        self.inside = False  #: the thread that has the lock is in the middle of a transaction
        self._since = 0.0  #: and has been for so long, in monotonic seconds
        self.aside, self.since = 0, 0.0  #: how many threads stay away, and when the turn began: see _turns.py
        self._pending: deque[Work] = deque()  # each is taken out by its own caller
        self._late: list[Work] = []
        self._untold: list[Callable[[], object]] = []

    def carry_out(self, batch: list[Any]) -> None:
        """Try to do them, in one transaction if it can be. Those that aren't done behind this are in the line again."""
        raise NotImplementedError

    def takes_turns(self, work: Any) -> bool:
        """Whether it is better off in a transaction of its own than in one with those of other threads."""
        return False

    def is_busy(self) -> bool:
        return self.inside or bool(self._pending)

    def in_line(self) -> int:
        return len(self._pending)

    def keep_watch(self) -> None:
        """Nothing to be done: it is asked each time."""

    def overdue(self) -> StoreError:
        """What a caller is told whose time is over before anybody has begun its work."""
        raise NotImplementedError

    def _relock(self) -> None:
        lock: Any = threading.RLock()
        self.lock: threading.RLock = lock
        self.rest = Rest()
        self.is_ours: Callable[[], bool] = lock._is_owned  #: whether this thread has it (Condition uses it, too)

    def in_the_middle(self) -> bool:
        """Whether this thread is in the middle of a transaction, further out."""
        return self.inside and self.is_ours()

    def is_led(self) -> bool:
        """Whether somebody is in the middle of a transaction, and it isn't just said: see `_sleep`."""
        return self.inside and (self.is_ours() or not self._is_free(False))

    def do(self, work: Work) -> Any:
        """Carry it out; its result, or LATE. Raises what it raises, and what the store runs into.

        An interrupt leaves it done or not done, and never half.
        """
        passes_by = False
        if self._pending or self.aside > 0:
            passes_by = not (self.takes_turns(work) and give_way(self, not self.inside))
        try:
            self._pending.append(work)
            while not work.outcome.done:
                ours = self.is_ours()
                if self.inside and not ours and self._sleep(work):
                    continue
                with self.lock:
                    if self.inside and ours:
                        work.put_off()
                        self._late.append(work)
                        return LATE
                    if not work.outcome.done:
                        work.leads = True
                        self._lead_locked()
        except BaseException:
            self._abandon(work)
            raise
        finally:
            try:
                self._pending.remove(work)
            except ValueError:
                pass
            if self._pending:
                self._wake()
            if passes_by and not self.is_busy():
                call_back(self)
            if self._untold and not self.in_the_middle():
                self._tell()
        if work.error is not None:
            error, work.error = work.error, None  # else it would keep itself: its frames have the work
            try:
                raise error
            finally:
                del error
        return work.result

    def _sleep(self, work: Work) -> bool:
        """Until the work is done or somebody must lead. False where nobody leads, although it is said: of an interrupt
        right where a leader let go. Where somebody does he isn't waited for at the lock, which he may have again before
        we do, any number of times. Raises what `overdue` says."""
        if work.sleeper is None:
            sleeper = threading.Lock()  # looked up here: gevent replaces it
            sleeper.acquire()
            work.sleeper = sleeper
        left = _OVERSLEPT  # of one that has begun, too, whatever its time is: it is done soon, or it isn't
        if not (work.patient or work.begun):
            left = min(left, self._deadline(work) - SYSTEM.monotonic())
        if work.done or not self.inside:  # whoever leads looks for sleepers behind this
            return True
        if work.sleeper.acquire(timeout=max(0.0, left)):
            return True
        if not work.patient and SYSTEM.monotonic() >= self._deadline(work) and not work.begun:
            if self._is_free(False):
                return False
            self._abandon(work)
            if not work.done:
                raise self.overdue()
        return not self._is_free(False)

    def _deadline(self, work: Work) -> float:
        """Until when it waits for somebody to begin it."""
        return max(work.deadline, self._since + self.moment)

    def _abandon(self, work: Work) -> None:
        """Its caller goes away: whoever is about to carry it out leaves it, or has carried it out behind this. The lock
        may be given to others any number of times before it is ours, as in `_sleep`."""
        work.abandoned = True
        while work.begun and not work.done and not self.is_ours():
            if self._is_free(True, _GLANCE):
                return

    def _is_free(self, *how: Any) -> bool:
        """Whether the lock is to be had, as `acquire` is told; then it is free again. What a signal handler raises
        behind a plain `acquire` would leave it taken for good."""
        lock, taken = self.lock, list[bool]()
        try:
            keep(taken, lock.acquire, *how)
        finally:
            if True in taken:
                lock.release()
        return True in taken

    def _wake(self) -> None:
        """Those whose work is done, and who leads next."""
        leads = self.inside
        for work in list(self._pending):
            if work.outcome.done:
                if not work.woken:
                    _release(work.sleeper)
                    work.woken = True  # behind it: should an interrupt come in between, the next one does it again
            elif not leads:
                leads = True
                _release(work.sleeper)

    def put_off(self, work: Work) -> None:
        """In the middle of a transaction of this thread: at its end."""
        self._late.append(work)

    def begin_line_again(self) -> None:
        """In a forked child: nobody waits, and nobody is in the middle of anything."""
        self._relock()
        self.inside, self.aside = False, 0
        self._pending, self._late = deque(), []

    def tell_later(self, call: Callable[[], object]) -> None:
        """Something that is said to the program, from the middle of a transaction: behind it, with the lock free."""
        self._untold.append(call)

    def _tell(self) -> None:
        """What is raised in one of them keeps none of the others from being said."""
        failure: BaseException | None = None
        untold, self._untold = self._untold, []
        for say in untold:
            try:
                say()
            except BaseException as error:
                failure = error
        if failure is not None:
            try:
                raise failure
            finally:
                del failure

    def _lead_locked(self) -> None:
        self._since = SYSTEM.monotonic()
        self.inside = True
        try:
            batch: list[Work] = list(self._pending)
            if len(batch) != 1 or batch[0].outcome.done:
                batch = self._begin_with(batch)
            else:
                batch[0].begun = True
            if batch:
                self.carry_out(batch)
        finally:
            self._leave_locked()

    @staticmethod
    def _begin_with(pending: list[Work]) -> list[Work]:
        """Those that are to be carried out: a signal handler may have led on the way here."""
        batch = [work for work in pending if not work.outcome.done]
        for work in batch:
            work.begun = True
        return [work for work in batch if not work.abandoned]

    def _leave_locked(self) -> None:
        """Carry out what was put off meanwhile, and let others in. What a signal handler raises breaks none of it off:
        those who were told that it is done have gone on, and nobody may come here again."""
        interrupt: BaseException | None = None
        tries = 0
        while True:
            try:
                if self._late:
                    self._carry_out_late_locked()
            except BaseException as error:
                interrupt, tries = error, tries + 1
            finally:
                self.inside = False
            if not self._late or tries == _TRIES:
                break
            self.inside = True
        if interrupt is not None:
            try:
                raise interrupt
            finally:
                del interrupt

    def _carry_out_late_locked(self) -> None:
        while self._late:
            late = self._late[0]
            alarm = self._carry_out_whole_locked(late)
            if late.error is not None and not isinstance(late.error, LeaseLost):  # which changes nothing
                text = "%s: a call that interrupted another one of its thread failed"
                self.tell_later(partial(self._logger.error, text, self._place, exc_info=late.error))
            self._late.pop(0)
            if alarm is not None:
                raise alarm

    def _carry_out_whole_locked(self, late: Work) -> Exception | None:
        """Again where no error of ours was the end of it: a signal handler's, which is returned if it goes without."""
        alarm: Exception | None = None
        for left in reversed(range(_TRIES)):
            if not late.done:
                self.carry_out([late])
            if late.error is None:
                return alarm
            if isinstance(late.error, PqadaptersError):
                break
            alarm = late.error
            if left:
                late.begin_again()
        return None


comers.add(Line.do.__code__)


def _release(sleeper: threading.Lock | None) -> None:
    if sleeper is not None:
        try:
            sleeper.release()
        except RuntimeError:  # it is awake already
            pass
