"""Group commit: what comes in the middle of a transaction, or as it ends."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest

from pqadapters.errors import StoreError, StoreLocked
from pqadapters.stores import _line
from pqadapters.stores._line import LATE, Line
from pqadapters.stores._work import Outcome, Work

from .contract.threads import Task

_PATIENCE = 30.0


class _Line(Line):
    """Notes what it has carried out. `behind` is called once, when what was put off is done."""

    def __init__(self, behind: Callable[[], object] = lambda: None) -> None:
        super().__init__("pqadapters.test", "nowhere")
        self._behind: Callable[[], object] | None = behind

    def carry_out(self, batch: list[Work]) -> None:
        assert self.inside
        for work in batch:
            work.result = work.run(None)
            work.outcome = Outcome(True)

    def _carry_out_late_locked(self) -> None:
        super()._carry_out_late_locked()
        behind, self._behind = self._behind, None
        if behind is not None:
            behind()

    def overdue(self) -> StoreError:
        return StoreLocked("others are at it")


def test_what_comes_as_what_was_put_off_is_done_is_done_as_well() -> None:
    """As of a signal handler, right where the leader looks whether there is more."""
    done, told = list[str](), list[Any]()

    def work(name: str, then: Callable[[], object] = lambda: None) -> Work:
        return Work(lambda _: (done.append(name), then()))

    line = _Line(lambda: told.append(line.do(work("third", lambda: told.append(line.do(work("fourth")))))))
    line.do(work("first", lambda: told.append(line.do(work("second")))))
    assert done == ["first", "second", "third", "fourth"]
    assert told == [LATE] * 3
    assert not line.inside


def test_whose_time_is_over_as_its_work_is_done_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has begun it in the moment in which it is looked at: who is told that it wasn't done does it again."""
    monkeypatch.setattr(_line, "_GLANCE", 0.0)
    line, looks = _Line(), list[bool]()
    work = Work(lambda _: None, timeout=0.0)

    def is_free(*how: Any) -> bool:
        looks.append(work.abandoned)
        if len(looks) == 1:
            work.begun = True
        elif not work.done:
            work.result, work.outcome = "done", Outcome(True)
        return False

    monkeypatch.setattr(line, "_is_free", is_free)
    line.inside = True  # of another thread
    assert line.do(work) == "done"
    assert looks[:2] == [False, True]


class _Interrupt(BaseException):
    """As of a signal handler."""


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [SystemExit(), OSError("of a handler of the program's")])
def test_what_a_signal_handler_put_off_is_told_although_it_raises(error: BaseException) -> None:
    """One that logs and ends the process left its record unsynced, in a store that syncs what it was told of."""
    told: list[str] = []
    line = _Line()

    def interrupted(_: object) -> None:
        line.tell_later(partial(told.append, "first"))
        assert line.do(Work(lambda _: None)) is LATE
        assert told == [], "it is said with the lock free"
        line.tell_later(partial(_raise, error))
        line.tell_later(partial(told.append, "last"))
        raise _Interrupt

    with pytest.raises(type(error)):
        line.do(Work(interrupted))
    assert told == ["first", "last"]


@pytest.mark.parametrize("times", [1, 2])
def test_what_was_put_off_is_done_though_that_is_interrupted(times: int) -> None:
    """What a finalizer had put was lost at the end of the process, where nobody committed behind a Ctrl-C."""
    done: list[str] = []
    interrupts = [_Interrupt() for _ in range(times)]

    def late(_: object) -> None:
        if interrupts:
            raise interrupts.pop()
        done.append("late")

    line = _Line()
    with pytest.raises(_Interrupt):
        line.do(Work(lambda _: line.do(Work(late))))
    assert done == ["late"]
    assert not line.inside
    line.do(Work(lambda _: done.append("next")))
    assert done == ["late", "next"]


@pytest.mark.parametrize("before", [False, True])
def test_what_was_put_off_is_done_once_wherever_that_is_interrupted(before: bool) -> None:
    class Struck(_Line):
        interrupts: ClassVar = [_Interrupt()]

        def carry_out(self, batch: list[Work]) -> None:
            struck = bool(self._late and self.interrupts)
            if struck and before:
                raise self.interrupts.pop()
            super().carry_out(batch)
            if struck:
                raise self.interrupts.pop()

    done, line = list[str](), Struck()
    with pytest.raises(_Interrupt):
        line.do(Work(lambda _: line.do(Work(lambda _: done.append("late")))))
    assert done == ["late"]


def test_who_is_led_by_a_signal_handler_on_its_way_is_done_once() -> None:
    """The handler commits right where its thread is about to lead."""
    done, line = list[str](), _Line()
    lead, handlers = line._lead_locked, [lambda: line.do(Work(lambda _: done.append("handler's")))]

    def interrupted() -> None:
        if handlers:
            handlers.pop()()
        lead()

    line._lead_locked = interrupted  # type: ignore[method-assign]
    line.do(Work(lambda _: done.append("own")))
    assert done == ["own", "handler's"]


def test_i9_whose_caller_has_gone_away_is_not_carried_out() -> None:
    """Also where it would be the only one, and a transaction of its own."""
    done, line = list[str](), _Line()
    gone = Work(lambda _: done.append("gone"))
    gone.abandoned = True
    line._pending.append(gone)
    line.do(Work(lambda _: done.append("own")))
    assert done == ["own"]


def test_an_error_that_is_raised_keeps_itself_no_longer_than_its_caller() -> None:
    """It would have kept all that is in its frames, a queue say, until the garbage collector came."""

    def fail() -> weakref.ref[Work]:
        work = Work(lambda _: work.refuse(OSError()))
        line = _Line()
        with pytest.raises(OSError, match=r"^$"):
            line.do(work)
        ref = weakref.ref(work)
        work.run = bool  # which has the work
        return ref

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


def test_a_flag_that_an_interrupted_leader_has_left_leads_nobody() -> None:
    line = _Line()
    assert not line.is_led()
    line.inside = True
    assert not line.is_led()
    with line.lock:
        assert line.is_led()
        assert Task(line.is_led, patience=_PATIENCE).result()


def test_who_comes_as_the_leader_goes_doesnt_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had been looked for already: nobody would have woken it."""
    monkeypatch.setattr(_line, "_OVERSLEPT", 10 * _PATIENCE)
    line, done = _Line(), Work(bool)
    assert Task(lambda: line._sleep(Work(bool)), patience=_PATIENCE).result()
    line.inside, done.outcome = True, Outcome(True)
    assert Task(lambda: line._sleep(done), patience=_PATIENCE).result()
