"""The thread that hears of other processes, whichever store it is of: how long it stays."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.interrupts import Flag
from pqadapters.stores import _lookout
from pqadapters.stores._lookout import LookoutBase

_LINGER = 2.0
_PATIENCE = 30.0


class _Core:
    def __init__(self) -> None:
        self.bells: Any = SimpleNamespace(waiting=0)


def test_it_stays_while_somebody_waits_and_a_while_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(_lookout, "SYSTEM", SimpleNamespace(monotonic=lambda: now))
    core = _Core()
    lookout: LookoutBase[Any] = LookoutBase(core, lambda ref, ended: None, _LINGER)

    def begin() -> None:
        lookout.ensure()
        lookout._thread = threading.current_thread()

    begin()
    now += _LINGER - 0.1
    assert lookout.core_to_serve() is core
    now += 0.2
    core.bells.waiting = 1
    assert lookout.core_to_serve() is core
    core.bells.waiting = 0
    assert lookout.core_to_serve() is None
    assert lookout._thread is None
    begin()
    assert lookout.core_to_serve() is core, "who finds that there is none begins it anew"
    lookout.stop(wait=False)
    assert lookout.core_to_serve() is None


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_one_that_could_not_be_begun_is_begun_by_the_next_who_waits(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise error

    begun = threading.Event()
    core = _Core()
    lookout: LookoutBase[Any] = LookoutBase(core, lambda ref, ended: begun.set(), _LINGER)
    with monkeypatch.context() as patch:
        patch.setattr(_lookout, "start_thread", fail)
        with suppress(KeyboardInterrupt):  # of a signal handler; the other one says that the interpreter ends
            lookout.ensure()
    assert not lookout.runs
    lookout.ensure()
    assert begun.wait(_PATIENCE)


def test_who_stops_it_waits_until_it_has_let_go_and_it_not_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[BaseException] = []
    waited_for, join = threading.Event(), threading.Thread.join

    def look(ref: weakref.ref[Any], ended: Flag) -> None:
        try:
            lookout.stop(wait=True)
        except BaseException as error:
            errors.append(error)
        waited_for.wait(_PATIENCE)

    def joining(thread: threading.Thread, timeout: float | None = None) -> None:
        waited_for.set()
        join(thread, timeout)

    core = _Core()
    lookout: LookoutBase[Any] = LookoutBase(core, look, _LINGER)
    lookout.ensure()
    monkeypatch.setattr(threading.Thread, "join", joining)
    lookout.stop(wait=True)
    assert (lookout.runs, errors) == (False, [])


def test_who_stops_it_in_the_middle_of_something_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "join", lambda thread, *_: joined.append(thread))
    core = _Core()
    lookout: LookoutBase[Any] = LookoutBase(core, lambda ref, ended: ended.wait(_PATIENCE), _LINGER)
    lookout.ensure()
    lookout.stop(wait=False)
    assert joined == []
    lookout._thread = threading.Thread()  # one that couldn't be started: to wait for it is an error
    lookout.stop(wait=True)
    assert joined == []


def test_threads_that_come_at_once_begin_one(monkeypatch: pytest.MonkeyPatch) -> None:
    core, started = _Core(), list[threading.Thread]()
    lookout: LookoutBase[Any] = LookoutBase(core, lambda ref, ended: None, _LINGER)
    monkeypatch.setattr(_lookout, "start_thread", started.append)

    class Meeting:
        """Behind the first look of one another one comes."""

        def __enter__(self) -> None:
            lookout._guard = threading.RLock()
            lookout.ensure()

        def __exit__(self, *_: object) -> None:
            pass

    lookout._guard = Meeting()  # type: ignore[assignment]
    lookout.ensure()
    assert started == [lookout._thread]


def test_one_in_whose_place_another_was_begun_ends_and_leaves_that_be() -> None:
    """An interrupt came as it was started, and nobody knew whether it runs."""
    core = _Core()
    core.bells.waiting = 1
    lookout: LookoutBase[Any] = LookoutBase(core, lambda ref, ended: None, _LINGER)
    lookout._thread = other = threading.Thread()
    assert lookout.core_to_serve() is None
    core.bells.waiting = 0
    assert lookout.core_to_serve() is None
    assert lookout._thread is other


def test_none_is_begun_behind_the_end() -> None:
    begun: list[object] = []
    core = _Core()
    lookout: LookoutBase[Any] = LookoutBase(core, lambda ref, ended: begun.append(ended), _LINGER)
    lookout.stop(wait=True)
    lookout.ensure()
    assert (lookout._thread, begun) == (None, [])


def test_a_store_that_is_gone_is_served_no_more() -> None:
    lookout: LookoutBase[Any] = LookoutBase(_Core(), lambda ref, ended: None, _LINGER)
    lookout._thread = threading.current_thread()
    gc.collect()
    assert lookout.core_to_serve() is None


def test_it_begins_anew_where_it_lacked_memory() -> None:
    """Nobody in this process heard of others any more."""
    looked, again = list[bool](), threading.Event()

    def look(ref: object, ended: Flag) -> None:
        looked.append(True)
        if len(looked) == 1:
            raise MemoryError
        again.set()

    lookout: LookoutBase[Any] = LookoutBase(_Core(), look, _LINGER)
    lookout.ensure()
    assert again.wait(_PATIENCE)
    lookout.stop(wait=True)
