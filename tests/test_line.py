"""Group commit: what comes in the middle of a transaction, or as it ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pqadapters.errors import StoreError, StoreLocked
from pqadapters.stores import _line
from pqadapters.stores._line import LATE, Line
from pqadapters.stores._work import Outcome, Work


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
        assert line.do(Work(lambda _: None)) is LATE
        line.tell_later(partial(told.append, "first"))
        line.tell_later(partial(_raise, error))
        line.tell_later(partial(told.append, "last"))
        assert told == []
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
