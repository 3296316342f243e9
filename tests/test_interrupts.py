"""A flag that a signal handler may set in the middle of its being set."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from pqadapters.interrupts import Flag

from .contract.threads import Task

_PATIENCE = 30.0


class _Handler:
    """A signal handler that comes behind the nth call of a function in C, in whatever module, and does something."""

    def __init__(self, nth: int, act: Callable[[], object]) -> None:
        self.left, self._act = nth, act

    def profile(self, frame: FrameType, event: str, function: Any) -> None:
        if event == "c_return" and function is not sys.setprofile:
            self.left -= 1
            if not self.left:
                sys.setprofile(None)
                self._act()

    def interrupt(self, call: Callable[[], object]) -> None:
        before = sys.getprofile()
        sys.setprofile(self.profile)
        try:
            call()
        finally:
            sys.setprofile(before)


def _waiting(flag: Flag, timeout: float | None = None) -> Task[bool]:
    return Task(lambda: flag.wait(timeout), patience=_PATIENCE)


def test_who_waits_goes_on_once_it_is_set() -> None:
    flag = Flag()
    waiters = [_waiting(flag) for _ in range(3)]
    flag.set()
    assert [waiter.result() for waiter in waiters] == [True] * 3
    assert flag.wait(0)


def test_who_waits_for_longer_than_a_lock_can_waits_as_long_as_that() -> None:
    flag, asked = Flag(), list[float]()

    class Bell:
        def acquire(self, timeout: float) -> None:
            asked.append(timeout)
            flag.set()

        def release(self) -> None:
            pass

    flag._bell = Bell()  # type: ignore[assignment]
    assert flag.wait(1e300)
    assert flag.wait()
    assert asked == [threading.TIMEOUT_MAX]


def test_it_is_set_before_who_waits_is_woken() -> None:
    """Who was woken before that would have slept on, for ever."""
    flag, found = Flag(), list[bool]()
    _Handler(1, lambda: found.append(flag.is_set())).interrupt(flag.set)
    assert found == [True]


def test_who_waits_goes_on_once_its_time_is_over() -> None:
    flag = Flag()
    assert not flag.wait(0.001)
    flag.set()
    flag.set()
    flag.clear()
    assert not flag.is_set()
    assert not flag.wait(0.001)


def test_a_signal_handler_sets_it_in_the_middle_of_its_being_set() -> None:
    nth, came = 0, True
    while came:
        nth += 1
        flag = Flag()
        handler = _Handler(nth, flag.set)
        Task(lambda flag=flag, handler=handler: handler.interrupt(flag.set), patience=_PATIENCE).result()  # type: ignore[misc]
        came = handler.left <= 0
        assert _waiting(flag).result()
    assert nth > 1


def test_a_signal_handler_that_raises_leaves_it_as_it_is() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    nth, came = 0, True
    while came:
        nth += 1
        flag = Flag()
        handler = _Handler(nth, interrupt)
        try:
            handler.interrupt(flag.set)
        except KeyboardInterrupt:
            pass
        came = handler.left <= 0
        Task(flag.set, patience=_PATIENCE).result()
        assert _waiting(flag).result()
    assert nth > 1
