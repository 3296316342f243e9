"""Turns at a store's lock: nobody queues up, nobody starves, and nothing is left of who was interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from pqadapters.store import Ack, Put
from pqadapters.stores._turns import step_aside
from pqadapters.stores.segment import SegmentStore

resource = pytest.importorskip("resource")  # not on Windows

_PUTS = 3000


def _store(directory: Path) -> SegmentStore:
    return SegmentStore(directory, durability="process")


def _in_threads(*calls: Callable[[], object]) -> None:
    barrier, errors = threading.Barrier(len(calls)), list[BaseException]()

    def run(call: Callable[[], object]) -> None:
        barrier.wait()
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def _put(store: SegmentStore) -> None:
    for _ in range(_PUTS):
        store.commit(Put("q", b"x" * 40))


def test_threads_that_put_are_no_convoy(tmp_path: Path) -> None:
    """A line at the lock is one switch of threads and more for each put, and never ends. A twentieth is usual here."""
    with _store(tmp_path / "store") as store:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        _in_threads(*[lambda: _put(store)] * 8)
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before) / (8 * _PUTS) < 0.5
        assert store.depth("q").ready == 8 * _PUTS
        assert (store._core.coming, store._core.aside) == (0, 0)


def test_threads_that_claim_and_acknowledge_are_no_convoy(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(_PUTS):
            (claim,) = store.claim("q", timeout=None)
            store.commit(Ack(claim, lazy=True))

    with _store(tmp_path / "store") as store:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        _in_threads(*[work] * 4, *[lambda: _put(store)] * 4)
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before) / (4 * _PUTS) < 1.5
        assert store.depth("q").unfinished == 0
        assert (store._core.coming, store._core.aside) == (0, 0)


def test_who_never_rests_keeps_nobody_out(tmp_path: Path) -> None:
    """Two threads put without a pause until others, who come now and then, have had their turns."""
    rested = threading.Event()

    def hurry() -> None:
        while not rested.is_set():
            store.commit(Put("busy", b"x"))

    def rest() -> None:
        for _ in range(50):
            store.commit(Put("q", b"x"))
            rested.wait(0.001)
        assert store.depth("q").ready == 50
        rested.set()

    with _store(tmp_path / "store") as store:
        _in_threads(hurry, hurry, rest)


class _Core:
    """What threads take turns at, with a lock that tells when it is looked at."""

    def __init__(self, *, inside: bool = False, coming: int = 0) -> None:
        self.lock: Any = threading.RLock()
        self.inside, self.coming, self.aside = inside, coming, 0


def test_a_call_that_interrupts_one_of_its_own_thread_goes_on() -> None:
    core = _Core(inside=True)
    with core.lock:
        step_aside(core)
    assert (core.coming, core.aside) == (0, 0)


def test_an_event_loop_doesnt_stay_away() -> None:
    """Its other tasks would wait as well."""
    core = _Core(inside=True)

    async def come() -> None:
        step_aside(core)

    asyncio.run(come())
    assert (core.inside, core.coming, core.aside) == (True, 0, 0)


def test_who_has_stayed_away_for_long_enough_comes_next(tmp_path: Path) -> None:
    """Somebody has the lock for long: one is coming, which the others see; it goes on when the lock is free."""
    core, over = _Core(inside=True), threading.Event()

    def hold() -> None:
        with core.lock:
            while not core.coming:
                over.wait(0.001)
            over.wait(0.05)
            assert (core.coming, core.aside) == (1, 3)  # one of them, and the other two stay away
            core.inside = False

    def come() -> None:
        step_aside(core)
        assert not core.inside

    _in_threads(hold, come, come, come)
    assert (core.coming, core.aside) == (0, 0)


def test_who_was_frozen_on_the_way_isnt_waited_for(tmp_path: Path) -> None:
    """A daemon thread, by the end of the interpreter."""
    core = _Core(coming=2)
    step_aside(core)
    assert core.coming == 0
    with _store(tmp_path / "store") as store:
        store._core.coming = 1
        store.commit(Put("q", b"x"))
        assert store._core.coming == 0
        assert store.claim("q")


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


@pytest.mark.parametrize(
    "call", [lambda store: store.commit(Put("q", b"x")), lambda store: store.claim("q")], ids=["commit", "claim"]
)
def test_who_is_interrupted_on_the_way_comes_no_more(call: Callable[[SegmentStore], object], tmp_path: Path) -> None:
    with _store(tmp_path / "store") as store:
        lock: Any = store._core.lock
        store._core.lock = _Interrupted(lock)  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            call(store)
        store._core.lock = lock
        assert store._core.coming == 0
        store.commit(Put("q", b"x"))
