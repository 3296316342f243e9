"""Threads of a test, and a store that tells when somebody waits in it. Nothing here sleeps or looks at the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

PATIENCE = 60.0  #: seconds until a test gives up on another thread


class Background:
    """A call in a thread of its own. `result()` is what it returned, or raises what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call, self._error = call, None
        self._value: Any = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error  # type: ignore[assignment]

    def result(self) -> Any:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the call didn't end"
        if self._error is not None:
            raise self._error
        return self._value


def in_thread(call: Callable[[], Any]) -> Any:
    """The result of a call made by another thread, which has ended then."""
    return Background(call).result()


class Watched:
    """A store that sets `waiting` when somebody goes to wait in it, for an item or for room."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.waiting = threading.Event()
        self.calls: list[str] = []

    def claim(self, queue: str, **options: Any) -> Any:
        if options.get("timeout", 0.0) != 0.0:
            self.waiting.set()
        return self._store.claim(queue, **options)

    def wait(self, queue: str, until: Any, timeout: float | None = None) -> bool:
        if timeout != 0.0:
            self.waiting.set()
        found: bool = self._store.wait(queue, until, timeout)
        return found

    def commit(self, *ops: Any, **options: Any) -> Any:
        self.calls.append(",".join(type(op).__name__ for op in ops))
        return self._store.commit(*ops, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def settled(self) -> None:
        assert self.waiting.wait(PATIENCE), "nobody went to wait"
