"""What waiters must hear of although they look by themselves never: late commits, and delays that run out."""

from __future__ import annotations

from typing import Any

from pqadapters.store import Ack, Nack, Put

from ..segment.programs import PATIENCE
from .maker import ManualClock
from .threads import Task


class Late:
    """An object whose finalizer puts."""

    def __init__(self, store: Any, results: list[tuple[int, ...]]) -> None:
        self._store, self._results = store, results

    def __del__(self) -> None:
        self._results.append(self._store.commit(Put("late", b"from a finalizer")))


def check_a_late_commit_rings(store: Any) -> None:
    """Of a store whose waiters hear of changes by bells."""
    results: list[tuple[int, ...]] = []
    late = [Late(store, results)]
    before = store._core.bells.of("late").rings
    store.commit(Put("q", b"a"), stop=lambda: bool(late.clear()))
    assert results == [(0,)], "it was put off"
    assert store._core.bells.of("late").rings > before
    assert store.depth("late").ready == 1


def check_a_delay_that_runs_out_behind_a_look(store: Any, clock: ManualClock, looks: int) -> None:
    """Of a store whose waiters look again by themselves never: at each of so many readings of the clock."""
    for look in range(looks):
        clock.tick = 0.0
        store.commit(Put("q", b"a", not_before=clock.now + look * 0.001 + 0.0005))
        clock.tick = 0.001
        (claim,) = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE).result()
        clock.tick = 0.0
        store.commit(Nack(claim, not_before=clock.now + look * 0.001 + 0.0005))
        clock.tick = 0.001
        assert Task(lambda: store.wait("q", lambda depth: depth.ready > 0), patience=PATIENCE).result()
        clock.tick = 0.0
        store.commit(*map(Ack, store.claim("q")))
