"""Turns at a store's lock: nobody queues up, nobody starves, and nothing is left of who was interrupted."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any

import pytest

from pqadapters.clock import SYSTEM
from pqadapters.store import Ack, Op, Put
from pqadapters.stores import _turns
from pqadapters.stores._turns import Rest, awoken, call_back, stay_away
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.sqlite import SqliteStore

from ..contract.threads import together

resource = pytest.importorskip("resource")  # not on Windows

_PUTS = 3000
_PATIENCE = 60.0


def _store(directory: Path) -> SegmentStore:
    return SegmentStore(directory, durability="process")


def _put(store: SegmentStore) -> None:
    for _ in range(_PUTS):
        store.commit(Put("q", b"x" * 40))


def _switches() -> int:
    found: int = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    return found


def test_threads_that_put_are_no_convoy(tmp_path: Path) -> None:
    """A line at the lock is one switch of threads and more for each put, and never ends. A twentieth is usual here."""
    with _store(tmp_path / "store") as store:
        before = _switches()
        together([lambda: _put(store)] * 8, patience=_PATIENCE)
        assert (_switches() - before) / (8 * _PUTS) < 0.5
        assert store.depth("q").ready == 8 * _PUTS
        assert (store._core.coming, store._core.aside) == (0, 0)


def test_threads_that_claim_and_acknowledge_are_no_convoy(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(_PUTS):
            (claim,) = store.claim("q", timeout=None)
            store.commit(Ack(claim, lazy=True))

    with _store(tmp_path / "store") as store:
        before = _switches()
        together([*[work] * 4, *[lambda: _put(store)] * 4], patience=_PATIENCE)
        assert (_switches() - before) / (4 * _PUTS) < 1.5
        assert store.depth("q").unfinished == 0
        assert (store._core.coming, store._core.aside) == (0, 0)


def test_who_never_rests_keeps_nobody_out(tmp_path: Path) -> None:
    """Two threads and a loop put without a pause until another thread, which comes now and then, has had its turns."""
    rested = threading.Event()

    def hurry() -> None:
        while not rested.is_set():
            store.commit(Put("busy", b"x"))

    async def hurry_in_a_loop() -> None:
        hurry()

    def rest() -> None:
        for _ in range(50):
            store.commit(Put("q", b"x"))
            rested.wait(0.001)
        assert store.depth("q").ready == 50
        rested.set()

    with _store(tmp_path / "store") as store:
        together([hurry, hurry, lambda: asyncio.run(hurry_in_a_loop()), rest], patience=_PATIENCE)


class _Core:
    """What threads take turns at. `looks` is how often it is busy when somebody looks."""

    def __init__(self, looks: int = 1000) -> None:
        self.lock: Any = threading.RLock()
        self.rest = Rest()
        self.aside, self.looks, self.line = 0, looks, 1

    def is_busy(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def in_line(self) -> int:
        return self.line


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each, none of which is slept, by a thread that has been at work all the time."""
    found: list[float] = []
    monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: found.append(seconds))
    monkeypatch.setattr(time, "thread_time", SYSTEM.monotonic)
    stay_away(_Core(looks=0))  # it has been here before
    found.clear()
    return found


def test_one_stays_away_until_nobody_is_at_work(naps: list[float]) -> None:
    core = _Core(looks=2)
    stay_away(core)
    assert naps == [0.0005, 0.001, 0.002]
    assert core.aside == 0


@pytest.mark.parametrize("others", [-1, 0, 7, 500])
def test_nobody_stays_away_for_ever(others: int, naps: list[float]) -> None:
    """The longer, the more there are who do; what a fork in the middle of it has left of their number does no harm."""
    core = _Core()
    core.aside = others
    stay_away(core)
    assert core.aside == others
    assert 0.0005 <= sum(naps) < (0.02 if others < 7 else 0.4)
    assert min(naps) > 0


def test_a_call_that_interrupts_one_of_its_own_thread_goes_on(naps: list[float]) -> None:
    core = _Core()
    with core.lock:
        stay_away(core)
    assert naps == []


def test_greenlets_go_on(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is at work may be a greenlet of this very thread."""
    monkeypatch.setattr(_turns, "is_shared", lambda: True)
    stay_away(_Core())
    assert naps == []


def test_an_event_loop_stays_away_for_a_moment(naps: list[float]) -> None:
    """Its other tasks wait as well; but a loop that never rests is to keep no thread out."""

    async def come() -> None:
        stay_away(_Core())

    asyncio.run(come())
    assert naps == [0.0001]


def test_asyncio_may_be_on_its_way_in(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncio.events", ModuleType("asyncio.events"))
    stay_away(_Core(looks=0))
    assert naps == [0.0005]


@pytest.mark.parametrize(
    ("rested", "worked", "line", "stays"),
    [(0.01, 0.001, 1, False), (0.01, 0.001, 2, True), (0.01, 0.005, 1, True), (0.0005, 0.00001, 1, True)],
    ids=["it waits at the lock", "as others do", "it works half of the time", "it is back at once"],
)
def test_who_comes_now_and_then_stays_away_from_nobody(
    rested: float, worked: float, line: int, stays: bool, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside three threads that never rest, one call in ten took 5 ms."""
    now, core = SYSTEM.monotonic(), _Core()
    core.line = line
    for passed in (0.0, 1.0):
        monkeypatch.setattr(_turns, "SYSTEM", SimpleNamespace(monotonic=lambda: now + passed * (rested + worked)))  # noqa: B023
        monkeypatch.setattr(time, "thread_time", lambda: now + passed * worked)  # noqa: B023
        naps.clear()
        stay_away(core)
    assert bool(naps) is stays


def test_a_stay_is_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who works whenever it may stays away again."""
    now, worked, naps = SYSTEM.monotonic(), 0.0, list[float]()
    monkeypatch.setattr(_turns, "SYSTEM", SimpleNamespace(monotonic=lambda: now + sum(naps) + worked))
    monkeypatch.setattr(time, "thread_time", lambda: now + worked)
    monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: naps.append(seconds))
    stay_away(_Core(looks=0))
    for worked in (0.001, 0.002):  # noqa: B007  # the clocks have it
        before = len(naps)
        stay_away(_Core())
        assert len(naps) > before


def test_who_was_asleep_looks_first(naps: list[float]) -> None:
    awoken(_Core(looks=0))
    assert naps == []
    awoken(_Core(looks=2))
    assert naps == [0.0005, 0.001]


def test_who_is_called_sleeps_no_longer() -> None:
    core = _Core()
    for core.aside in (0, 1, 1):
        call_back(core)
        assert core.rest._lock.locked() is (core.aside == 0)
    core.rest.sleep(_PATIENCE)
    assert core.rest._lock.locked()


@pytest.mark.parametrize("kind", [SegmentStore, SqliteStore])
@pytest.mark.parametrize(
    "wanted", [{}, {"limit": 2}, {"timeout": 0.01}, {"limit": 2, "timeout": 0.01}, {"ids": [7]}], ids=str
)
def test_who_finds_nothing_to_do_calls_one_of_those_who_stay_away(
    kind: Callable[..., Any], wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of an executor stayed away with the end of a job, while the others had no job left."""
    calls: list[Rest] = []
    monkeypatch.setattr(Rest, "call", lambda rest: calls.append(rest))
    with kind(tmp_path / "store", durability="process") as store:
        core = store._core if kind is SegmentStore else store._core.writer
        core.aside = 1
        store.commit(Put("q", b"x"))
        assert len(store.claim("q", **(wanted | {"ids": None}))) == 1
        assert calls == []
        assert store.claim("q", **wanted) == []
        assert calls


def _taken_once(door: Iterator[bool]) -> Iterator[bool]:
    """Of a lock that another thread has at first."""
    return chain([False], door)


class _Interrupted:
    """A lock on the way to which a signal handler raises."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise AssertionError("it wasn't entered")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


each_call = pytest.mark.parametrize(
    "call",
    [
        lambda store: store.commit(Put("q", b"x")),
        lambda store: store.claim("q"),
        lambda store: store.claim("q", limit=2),
    ],
    ids=["commit", "claim", "claim of two"],
)


@each_call
def test_who_is_interrupted_on_the_way_comes_no_more(call: Callable[[SegmentStore], object], tmp_path: Path) -> None:
    with _store(tmp_path / "store") as store:
        lock: Any = store._core.lock
        store._core.lock = _Interrupted(lock)  # type: ignore[assignment]
        store._core.door = _taken_once(store._core.door)
        with pytest.raises(KeyboardInterrupt):
            call(store)
        store._core.lock = lock
        assert store._core.coming == 0
        assert not store._core.owned()


def test_a_lock_that_is_taken_asks_nobody_for_a_commit_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program has put in the place of a handle's `commit` was called again."""
    with _store(tmp_path / "store") as store:
        commit, asked = store.commit, list[Op]()

        def noting(op: Op) -> tuple[int, ...]:
            asked.append(op)
            return commit(op)

        monkeypatch.setattr(store, "commit", noting)
        store._core.door = _taken_once(store._core.door)
        store.commit(Put("q", b"x"))
        assert len(asked) == 1
        assert store.depth("q").ready == 1


class _Collected:
    """A lock on the way to which the collector runs finalizers that put."""

    def __init__(self, lock: Any, call: Callable[[], object]) -> None:
        self._lock, self._call = lock, call

    def __enter__(self) -> None:
        call, self._call = self._call, lambda: None
        call()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


@each_call
@pytest.mark.parametrize("kind", [SegmentStore, SqliteStore])
def test_a_finalizer_on_the_way_to_the_lock_doesnt_wait_for_its_own_thread(
    kind: Callable[..., Any], call: Callable[[Any], object], tmp_path: Path, naps: list[float]
) -> None:
    """Each put of a finalizer stayed away for its time: those of seven hundred that were collected took two seconds."""
    with kind(tmp_path / "store", durability="process") as store:
        store.commit(Put("q", b"x"), Put("q", b"x"))
        core = store._core if kind is SegmentStore else store._core.writer
        before = len(naps)
        if kind is SegmentStore:
            core.door = _taken_once(core.door)
        core.lock = _Collected(core.lock, lambda: store.commit(Put("late", b"of a finalizer")))
        call(store)
        assert store.depth("late").ready == 1
        assert naps[before:] == []
