"""Where threads sleep that stay away from a store: who is called, and by whom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from pqadapters import resting
from pqadapters.resting import Call, Rest, _Bed, leave, visit

_PATIENCE = 60.0


class _Sleepers:
    """Threads that came in their order."""

    def __init__(self, rest: Rest, count: int) -> None:
        self._rest, self.woken = rest, list[int]()
        self._threads = [threading.Thread(target=self._sleep, args=(number,)) for number in range(count)]
        for number, thread in enumerate(self._threads):
            thread.start()
            while len(rest._beds) <= number:
                threading.Event().wait(0.001)

    def _sleep(self, number: int) -> None:
        assert self._rest.sleep(_PATIENCE)
        self.woken.append(number)

    def first_is_called(self) -> bool:
        self._threads.pop(0).join(_PATIENCE)
        return self.woken == [*range(len(self.woken))]


def test_who_has_slept_longest_is_called_first() -> None:
    rest = Rest()
    sleepers = _Sleepers(rest, 3)
    for number in range(3):
        assert rest.call()
        assert sleepers.first_is_called()
        assert len(sleepers.woken) == number + 1
    assert not rest.call()


def test_who_isnt_called_wakes_up_by_itself() -> None:
    rest = Rest()
    assert not rest.sleep(0.001)
    assert not rest.call()


def _another(rest: Rest) -> _Bed:
    """One that sleeps there, too."""
    bed = _Bed()
    rest._beds.append(bed)
    return bed


class _Restless:
    """The lock of a bed: it is waited for in vain, while something else happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile

    def acquire(self, timeout: float) -> bool:
        self._meanwhile()
        return False

    def release(self) -> None:
        pass


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    def happens(what: Callable[[], object]) -> None:
        def bed() -> _Bed:
            made = _Bed()
            made.lock = _Restless(what)  # type: ignore[assignment]
            return made

        monkeypatch.setattr(resting, "_Bed", bed)

    return happens


@pytest.mark.parametrize("call", [Call.LOOK, Call.TURN])
def test_a_call_at_the_very_end_of_a_sleep_counts(
    call: Call, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    rest = Rest()
    meanwhile(lambda: rest.call(call))
    assert rest.sleep(1.0) is call


@pytest.mark.parametrize("call", Call)
def test_who_is_interrupted_lets_the_next_one_be_called(
    call: Call, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    rest, others = Rest(), list[_Bed]()

    def interrupt() -> None:
        others.append(_another(rest))
        if call:
            assert rest.call(call)
        raise KeyboardInterrupt

    meanwhile(interrupt)
    with pytest.raises(KeyboardInterrupt):
        rest.sleep(1.0)
    assert others[0].call is call
    assert list(rest._beds) == ([] if call else others)


@pytest.mark.parametrize("ends", [False, True])
def test_who_goes_calls_one_wherever_it_was(ends: bool) -> None:
    """Others would stay away until they come back by themselves."""
    rest, gone = Rest(), [Rest()]
    beds = [_another(rest), _another(rest)]
    found: list[list[Call]] = []

    def be_there() -> None:
        for place in (*gone, rest, rest):
            visit(place)
        gone.clear()
        if not ends:
            for _ in range(2):
                leave()
                found.append([bed.call for bed in beds])

    thread = threading.Thread(target=be_there)
    thread.start()
    thread.join(_PATIENCE)
    assert [bed.call for bed in beds] == [Call.LOOK, Call.NONE]
    assert found == ([] if ends else [[Call.LOOK, Call.NONE]] * 2)


def test_places_that_are_gone_arent_kept() -> None:
    kept = Rest()
    visit(kept)
    before = len(resting._here.visits._places)
    for _ in range(3):
        visit(Rest())
    assert len(resting._here.visits._places) <= before + 1
    leave()


_SIGNALLED = """
import _thread, os, signal, threading
from functools import partial
os.register_at_fork(before=partial(_thread.interrupt_main, signal.SIGUSR1))  # the last of all such calls
from pqadapters.resting import Rest, visit

handled, place, ready, over = [], Rest(), threading.Event(), threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: handled.append(os.getpid()))

def be_there():
    visit(place)
    ready.set()
    over.wait()

thread = threading.Thread(target=be_there, daemon=True)
thread.start()
ready.wait()
pid = os.fork()
if not pid:
    os._exit(os.getpid() in handled)
assert os.waitpid(pid, 0) == (pid, 0)
assert handled == [os.getpid()]
over.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_signal_that_came_before_a_fork_isnt_handled_in_the_child() -> None:
    """Its handler may log, and would wait there for ever: nothing is put in order yet."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", _SIGNALLED], check=True, timeout=_PATIENCE)
