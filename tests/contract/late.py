"""What a finalizer commits in the middle of a commit of its own thread."""

from __future__ import annotations

from typing import Any

from pqadapters.store import Put


class _Late:
    def __init__(self, store: Any, results: list[tuple[int, ...]]) -> None:
        self._store, self._results = store, results

    def __del__(self) -> None:
        self._results.append(self._store.commit(Put("late", b"x")))


def check_a_late_commit_rings(store: Any) -> None:
    """Of a store whose waiters hear of changes by bells."""
    results: list[tuple[int, ...]] = []
    late = [_Late(store, results)]
    before = store._core.bells.of("late").rings
    store.commit(Put("q", b"a"), stop=lambda: bool(late.clear()))
    assert results == [(0,)], "it was put off"
    assert store._core.bells.of("late").rings > before
    assert store.depth("late").ready == 1
