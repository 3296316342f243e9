"""What waiters must hear of although they look by themselves never: late commits, and delays that run out."""

from __future__ import annotations

from typing import Any

import pytest

from pqadapters.store import Ack, Nack, Op, Put, Set

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


def check_a_refused_late_commit_is_told(store: Any, caplog: pytest.LogCaptureFixture, *, lost: bool) -> None:
    """In the log: nobody else hears of it; nor of a lease that was `lost`, which changes nothing."""
    store.commit(Put("p", b"a"))
    (claim,) = store.claim("p")
    store.commit(Ack(claim))
    pending: list[Op] = [Ack(claim) if lost else Set("t", b"k", b"v", expect=b"other")]

    def stop() -> bool:
        if pending:
            store.commit(pending.pop())
        return False

    assert store.commit(Put("p", b"b"), stop=stop) != (0,)
    told = [record for record in caplog.records if "interrupted another one" in record.getMessage()]
    assert len(told) == (not lost)


def check_a_claim_in_the_middle_waits_for_nothing(store: Any) -> None:
    """Of a store whose lock its own thread has then: nobody could put what it waits for."""
    claims: list[Any] = []
    store.commit(Put("p", b"a"))

    def stop() -> bool:
        if not claims:
            claims.append(store.claim("empty", timeout=None))
        return False

    (outer,) = Task(lambda: store.claim("p", stop=stop), patience=PATIENCE).result()
    assert (outer.payload, claims) == (b"a", [[]])


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
