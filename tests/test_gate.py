"""The wait loop of all stores: a wake-up that its waiter has no use for, or can't take, is the next one's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from pqadapters.stores._gate import Crowd, Gate, Sleeper, shut_in


def _nothing() -> None:
    return None


def _waiter(gate: Gate) -> threading.Lock:
    """Somebody who waits there; free again when he is woken."""
    sleeper = Sleeper()
    gate._enter(sleeper)
    return sleeper.lock


def _once(gate: Gate, lock: threading.RLock, behind: list[threading.Lock]) -> Callable[[], None]:
    """Called as the first waiter's sleep ends: another one comes, and somebody wakes the first."""

    def wake() -> None:
        with lock:
            if not behind:
                behind.append(_waiter(gate))
                gate.wake_one()

    return wake


def test_i7_who_was_woken_as_its_time_was_over_and_finds_nothing_wakes_the_next_one() -> None:
    lock, behind = threading.RLock(), list[threading.Lock]()
    gate = Gate(lock)
    with lock:
        gate.wait_locked(_nothing, 0.001, awoken=_once(gate, lock, behind))
    assert behind[0].acquire(blocking=False)


def test_i7_a_wake_up_between_a_look_and_the_sleep_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a signal handler of the thread that looks."""
    lock, looks, called = threading.RLock(), list[int](), list[bool]()
    gate = Gate(lock)

    def look() -> str | None:
        looks.append(len(looks))
        if len(looks) == 2:
            gate.wake_one()
        return "found" if len(looks) == 3 else None

    monkeypatch.setattr(gate, "_sleep", lambda sleeper, *how: called.append(sleeper.called))
    with lock:
        assert gate.wait_locked(look, None) == "found"
    assert called == [True]


_LONG = threading.TIMEOUT_MAX


@pytest.mark.parametrize(
    ("timeout", "due", "sleeps"),
    [
        (None, None, -1),
        (1e300, None, _LONG),
        (None, 3600.0, 1.0),
        (1e300, 3600.0, 1.0),
        (3600.0, 0.5, 0.5),
        (None, -0.5, 0.0),
    ],
    ids=["for ever", "too long", "a delay by the wall clock", "likewise", "a short one", "one that is over"],
)
def test_how_long_one_sleeps(
    timeout: float | None, due: float | None, sleeps: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock may be put forward, and goes on while the machine is suspended: what is slept until then is slept
    a second at a time."""
    asked, looks = list[float](), iter([None, None, "found"])

    class Lock:
        def acquire(self, timeout: float = -1) -> bool:
            asked.append(timeout)
            return True

        def release(self) -> None:
            pass

    lock = threading.RLock()
    with monkeypatch.context() as patch, lock:
        patch.setattr("threading.Lock", Lock)
        assert Gate(lock).wait_locked(lambda: next(looks), timeout, lambda: due) == "found"
    assert asked == [-1, sleeps, -1]  # before a sleep its lock is taken


def test_who_is_shut_in_sleeps_no_longer_than_it_has_to(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []
    monkeypatch.setattr("time.sleep", sleeps.append)
    assert shut_in(lambda: "found", 5.0) == "found"
    assert shut_in(_nothing, 0.0) is None
    assert sleeps == []
    looks = iter([None, "found"])
    assert shut_in(lambda: next(looks), 1e300) == "found"
    assert sleeps == [_LONG]


def test_who_has_gone_is_counted_no_more() -> None:
    lock, crowd, looks = threading.RLock(), Crowd(), iter([None, "found"])
    gate = Gate(lock, crowd)
    with lock:
        assert gate.wait_locked(lambda: next(looks), None) == "found"
        assert (gate.waiting, crowd.size) == (0, 0)
        _waiter(gate)
        assert (gate.waiting, crowd.size) == (1, 1)
        gate.wake_one()
        assert (gate.waiting, crowd.size) == (0, 0)


def test_i7_who_is_interrupted_as_it_leaves_is_waiting_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.RLock()
    gate = Gate(lock)
    leave, interrupts = gate._leave, [KeyboardInterrupt()]

    def interrupted(sleeper: Sleeper) -> None:
        if interrupts:
            raise interrupts.pop()
        leave(sleeper)

    monkeypatch.setattr(gate, "_leave", interrupted)
    behind: list[threading.Lock] = []
    with lock, pytest.raises(KeyboardInterrupt):
        gate.wait_locked(_nothing, 0.001, awoken=lambda: behind.append(_waiter(gate)))
    assert behind[0].acquire(blocking=False), "the wake-up was for nobody"


class _Handler:
    """A signal handler that wakes one, in the middle of another one's wake-up: behind the nth call in it."""

    def __init__(self, gate: Gate, nth: int) -> None:
        self._gate, self._left = gate, nth

    def profile(self, frame: FrameType, event: str, function: Any) -> None:
        if event == "c_return" and frame.f_code is Gate.wake_one.__code__:
            self._left -= 1
            if not self._left:
                sys.setprofile(None)
                self._gate.wake_one()


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_i7_each_wake_up_is_anothers_wherever_a_signal_handler_sends_one(nth: int, count: int) -> None:
    lock, before = threading.RLock(), sys.getprofile()
    gate = Gate(lock)
    with lock:
        sleepers = [_waiter(gate) for _ in range(count)]
        handler = _Handler(gate, nth)
        sys.setprofile(handler.profile)
        try:
            gate.wake_one()
        finally:
            sys.setprofile(before)
        assert [sleeper.acquire(blocking=False) for sleeper in sleepers] == [True, True, False][:count]
        assert gate.waiting == max(0, count - 2)
