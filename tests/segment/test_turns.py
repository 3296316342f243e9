"""Turns at a store's lock: nobody queues up, nobody starves, and nothing is left of who was interrupted."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any

import pytest

from pqadapters.clock import SYSTEM
from pqadapters.resting import Call, Rest
from pqadapters.store import Ack, Op, Put
from pqadapters.stores import _turns
from pqadapters.stores._turns import awoken, call_back, give_way, in_turn
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.sqlite import SqliteStore

from ..contract.threads import together

resource = pytest.importorskip("resource")  # not on Windows

_PUTS = 3000
_PATIENCE = 60.0


each_call = pytest.mark.parametrize(
    "call",
    [
        lambda store: store.commit(Put("q", b"x")),
        lambda store: store.claim("q"),
        lambda store: store.claim("q", limit=2),
    ],
    ids=["commit", "claim", "claim of two"],
)
each_call_of_one = pytest.mark.parametrize(
    "call", [lambda store: store.commit(Put("q", b"x")), lambda store: store.claim("q")], ids=["commit", "claim"]
)


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
        self.aside, self.coming, self.looks, self.line, self.since = 0, 0, looks, 1, 0.0
        self.watched = list[int]()

    def is_busy(self) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def in_line(self) -> int:
        return self.line

    def keep_watch(self) -> None:
        self.watched.append(self.aside)


def stay_away(core: Any) -> None:
    give_way(core, False)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each, none of which is slept, by a thread that has been at work all the time."""
    found: list[float] = []
    monkeypatch.setattr(_turns, "_coming", type(_turns._coming)())  # whatever this thread was called for before
    monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: found.append(seconds) or Call.NONE)
    monkeypatch.setattr(time, "thread_time", lambda: 1e3)
    monkeypatch.setattr(_turns, "SYSTEM", SimpleNamespace(monotonic=lambda: 1e3))
    stay_away(_Core(looks=0))  # it has been here before
    found.clear()
    return found


def test_one_stays_away_until_nobody_is_at_work(naps: list[float]) -> None:
    core = _Core(looks=0)
    stay_away(core)
    assert naps == [0.0005]
    assert core.watched == [1]
    assert core.aside == 0


@pytest.mark.parametrize("others", [-1, 0, 7, 500])
def test_nobody_stays_away_for_ever(others: int, naps: list[float]) -> None:
    """The longer, the more there are who do; what a fork in the middle of it has left of their number does no harm."""
    core = _Core()
    core.aside = others
    stay_away(core)
    assert core.aside == others
    assert len(naps) == 2
    assert 0.01 <= sum(naps) < (0.02 if others < 7 else 0.11)
    assert min(naps) > 0


def test_who_was_called_the_last_time_doesnt_look(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who are at it go on for long. Each look of another takes from them for some milliseconds."""
    asleep, looks, long = Rest.sleep, 0.0005, pytest.approx(0.015)
    for call, expected in (Call.LOOK, [looks, long]), (Call.TURN, [long]), (Call.LOOK, [looks, long]):
        monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: naps.append(seconds) or call)  # noqa: B023
        naps.clear()
        stay_away(_Core(looks=1))
        assert len(naps) == (2 if call is Call.LOOK else 1)
        monkeypatch.setattr(Rest, "sleep", asleep)
        naps.clear()
        stay_away(_Core())
        assert naps == expected


def test_who_is_called_to_look_knows_no_more_of_the_others(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """They made way for one that is gone again."""
    asleep = Rest.sleep
    for call in (Call.TURN, Call.LOOK):
        monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: call)  # noqa: B023
        stay_away(_Core(looks=1))
    monkeypatch.setattr(Rest, "sleep", asleep)
    stay_away(_Core())
    assert naps == [pytest.approx(0.015)]


def test_who_is_called_to_look_sleeps_on_where_others_are_at_it(
    naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be in their way. Its time stays the same."""
    calls = iter([Call.NONE, Call.LOOK, Call.LOOK, Call.NONE])
    now = [1e3]

    def sleep(rest: Rest, seconds: float) -> Call:
        naps.append(round(seconds, 6))
        now[0] += 0.001
        return next(calls)

    monkeypatch.setattr(Rest, "sleep", sleep)
    monkeypatch.setattr(_turns, "SYSTEM", SimpleNamespace(monotonic=lambda: now[0]))
    stay_away(_Core())
    assert naps == [0.0005, 0.015, 0.014, 0.013]
    naps.clear()
    calls = iter([Call.LOOK, Call.LOOK])
    stay_away(_Core(looks=1))
    assert naps == [0.0005, 0.015]


class _Handed:
    """What happens at a core where one stays away."""

    def __init__(self, core: _Core, monkeypatch: pytest.MonkeyPatch) -> None:
        self.core, self.said, core.aside, core.line = core, list[str](), 1, 0
        self.now, self.works, self.sleeps = SYSTEM.monotonic(), 1.0, True
        core.since = self.now
        monkeypatch.setattr(Rest, "call", lambda rest, call=Call.LOOK: self.said.append(call.name) or self.sleeps)
        monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: self.said.append("stays") or Call.TURN)
        monkeypatch.setattr(_turns, "SYSTEM", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(time, "thread_time", lambda: self.now * self.works)
        _turns._coming.note()
        _turns._coming.called = False

    def asks(self, *, after: float) -> list[str]:
        self.said.clear()
        self.now = self.core.since + after
        give_way(self.core, True)
        return self.said


def test_who_has_had_a_turn_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    at, visits = _Handed(_Core(looks=0), monkeypatch), list[Rest]()
    monkeypatch.setattr(_turns, "visit", visits.append)
    assert at.asks(after=0.0099) == []
    assert visits == [at.core.rest]
    assert at.asks(after=0.0101) == ["TURN", "stays"]
    assert at.core.since == at.now  # that of another one begins
    assert at.core.aside == 1
    at.core.aside = 7
    assert at.asks(after=0.0049) == []
    assert at.asks(after=0.0051) == ["TURN", "stays"]
    at.sleeps = False  # it was called by others just now
    assert at.asks(after=1.0) == ["TURN"]
    at.core.aside = 0
    assert at.asks(after=1.0) == []


@pytest.mark.parametrize("others", [0, 1])
def test_a_turn_begins_as_the_first_one_stays_away(others: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was at it alone has had no turn."""
    at, since = _Handed(_Core(looks=0), monkeypatch), list[float]()
    monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: since.append(at.core.since) or Call.NONE)
    at.core.aside, at.core.line, at.core.since = others, 1, 7.0
    give_way(at.core, False)
    assert since == [7.0 if others else at.now]


def test_who_interrupts_another_call_of_its_thread_hands_nothing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    at = _Handed(_Core(), monkeypatch)
    with at.core.lock:
        assert at.asks(after=1.0) == []


def test_who_comes_now_and_then_ends_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It drew the moment at which whoever is at it was to be asked, and slept for 30 ms."""
    at = _Handed(_Core(), monkeypatch)
    at.works = 0.01
    at.asks(after=0.0)
    assert at.asks(after=1.0) == []


@pytest.mark.parametrize("polite", [False, True])
@pytest.mark.parametrize("works", [0.01, 1.0])
def test_who_passes_by_calls_those_back_that_made_way(
    works: float, polite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three that never rest stayed away for one that came now and then: a quarter of the time was nobody's."""
    at = _Handed(_Core(), monkeypatch)
    at.works = works

    def call(then: int) -> None:
        at.said.append("works")
        at.core.looks = then  # it is busy

    in_turn(at.core, lambda: call(1000), polite=polite)
    for now, then, calls in (1.0, 1000, False), (2.0, 0, works < 1 or not polite):
        at.now = now
        at.said.clear()
        in_turn(at.core, partial(call, then), polite=polite)
        assert at.said == ["works", "LOOK"][: 1 + calls]



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
    monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: naps.append(seconds) or Call.NONE)
    stay_away(_Core(looks=0))
    for worked in (0.001, 0.002):  # noqa: B007  # the clocks have it
        before = len(naps)
        stay_away(_Core())
        assert len(naps) > before


def test_who_was_asleep_looks_first(naps: list[float]) -> None:
    awoken(_Core(looks=0))
    assert naps == []
    awoken(_Core(looks=2))
    assert naps == [0.0005, pytest.approx(0.015)]


def test_who_finds_nothing_calls_where_somebody_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    core, calls = _Core(), list[int]()
    monkeypatch.setattr(Rest, "call", lambda rest: calls.append(core.aside))
    for core.aside in (0, 1):
        call_back(core)
    assert calls == [1]


def test_a_thread_that_stays_away_calls_one_as_it_ends(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been at it since, and nobody would tell the others for a while."""
    core, calls = _Core(looks=0), list[int]()
    monkeypatch.setattr(Rest, "call", lambda rest: calls.append(threading.get_ident()))
    thread = threading.Thread(target=stay_away, args=(core,))
    thread.start()
    thread.join(_PATIENCE)
    assert calls == [thread.ident]


@each_call_of_one
def test_the_door_asks_who_is_at_it_as_long_as_somebody_stays_away(
    call: Callable[[SegmentStore], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("pqadapters.stores._turns.give_way", lambda core, asks: asked.append(asks))
    with _store(tmp_path / "store") as store:
        core = store._core
        store.commit(*(Put("q", b"x") for _ in range(600)))
        core.keep_watch()
        for _ in range(200):
            call(store)
        assert asked == []
        core.aside = 1
        core.keep_watch()
        for _ in range(200):
            call(store)
        assert asked == [True]
        core.aside = 0
        for _ in range(200):
            call(store)
        assert asked == [True, True]  # the last time


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
        core.aside, core.since = 1, float("inf")
        store.commit(Put("q", b"x"))
        assert len(store.claim("q", **(wanted | {"ids": None}))) == 1
        assert calls == []
        assert store.claim("q", **wanted) == []
        assert calls
        calls.clear()
        for _ in range(100):
            if not calls:  # a slow machine's time may be over before it looks
                assert not store.wait("q", lambda depth: depth.ready > 0, timeout=0.001)
        assert calls


def _taken_once(door: Iterator[bool | None]) -> Iterator[bool | None]:
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
