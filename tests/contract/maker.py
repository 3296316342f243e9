"""`Maker`: the handles of one test on one store, and the patience with which it waits for threads."""

from __future__ import annotations

import weakref
from types import TracebackType

import pytest

from pqadapters.clock import Clock
from pqadapters.store import Put, Store

from .stores import Kind
from .threads import Task

#: Seconds after which a blocked thread counts as lost. A correct store never needs them.
PATIENCE = 30.0

START = 1_700_000_000.0


class ManualClock(Clock):
    """A wall clock that stands still until it is moved, or goes on by `tick` seconds with each look at it."""

    def __init__(self) -> None:
        self.now = START
        self.tick = 0.0

    def wall(self) -> float:
        self.now += self.tick
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Maker:
    """Each call opens a handle: `store = make_store()`, and a second one on the same data with `make_store()` again.

    Only the first handle is kept alive, so that a test can drop the others.
    """

    def __init__(self, kind: Kind, patience: float = PATIENCE) -> None:
        self.clock = ManualClock()
        self.patience = patience
        self._kind = kind
        self._first: Store | None = None
        self._others: list[weakref.ref[Store]] = []

    def __call__(self) -> Store:
        if self._first is None:
            self._first = self._kind.open(self.clock)
            return self._first
        store = self._kind.another(self._first, self.clock)
        self._others.append(weakref.ref(store))
        return store

    def filled(self, *payloads: bytes, queue: str = "q") -> Store:
        """A first handle with these payloads in a queue, put one after the other."""
        store = self()
        for payload in payloads:
            store.commit(Put(queue, payload))
        return store

    def reopen(self) -> Store:
        """All handles closed and a new one opened; skips the test where nothing outlives that."""
        assert self._first is not None
        if not self._first.capabilities.persistent:
            pytest.skip("the store doesn't outlive its handles")
        self.close()
        return self()

    def close(self) -> None:
        others = [other() for other in self._others]
        for store in (*others, self._first):
            if store is not None:
                store.close()
        self._first, self._others = None, []

    def __enter__(self) -> Maker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        Task(self.close, patience=self.patience).result()  # a store that hangs must not hang the suite
