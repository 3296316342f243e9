"""The kinds of stores that the contract is run on.

A new store joins by one `Kind` and one line in `KINDS`. A kind is made anew for each test, on a directory of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from pqadapters.clock import Clock
from pqadapters.store import Store
from pqadapters.stores.memory import MemoryStore
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.sqlite import SqliteStore


class Kind(Protocol):
    """How to open one store, whatever its constructor looks like."""

    def open(self, clock: Clock) -> Store:
        """The first handle, also after all others were closed (then only where the store is persistent)."""

    def another(self, store: Store, clock: Clock) -> Store:
        """One more handle of this process on the same data."""


class MemoryKind:
    def __init__(self, directory: Path) -> None:
        pass

    def open(self, clock: Clock) -> Store:
        return MemoryStore(clock=clock)

    def another(self, store: Store, clock: Clock) -> Store:
        assert isinstance(store, MemoryStore)
        return store.another()


class SegmentKind:
    def __init__(self, directory: Path, *, durability: str, segment_bytes: int = 1 << 20) -> None:
        self._open = partial(SegmentStore, directory, durability=durability, segment_bytes=segment_bytes)

    def open(self, clock: Clock) -> Store:
        return self._open(clock=clock)

    def another(self, store: Store, clock: Clock) -> Store:
        return self._open(clock=clock)


class ReplayedKind(SegmentKind):
    """The checkpoint is taken away before each opening: what is there is what the log tells."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, durability="process", segment_bytes=4096)
        self._checkpoint = directory / "checkpoint"

    def open(self, clock: Clock) -> Store:
        self._checkpoint.unlink(missing_ok=True)
        return super().open(clock)


class SqliteKind:
    def __init__(self, directory: Path, *, durability: str) -> None:
        self._open = partial(SqliteStore, directory / "store.db", durability=durability)

    def open(self, clock: Clock) -> Store:
        return self._open(clock=clock)

    def another(self, store: Store, clock: Clock) -> Store:
        return self._open(clock=clock)


def _mysql(directory: Path) -> Kind:
    """Imported when it is asked for: it takes a driver, and a server that is started for it."""
    from tests.mysql.kind import MysqlKind

    return MysqlKind(directory, durability="power")


KINDS: dict[str, Callable[[Path], Kind]] = {
    "memory": MemoryKind,
    "segment-power": partial(SegmentKind, durability="power"),
    "segment-process": partial(SegmentKind, durability="process"),
    "segment-tiny": partial(SegmentKind, durability="process", segment_bytes=4096),  # rolls and compacts all the time
    "segment-replayed": ReplayedKind,
    "sqlite-power": partial(SqliteKind, durability="power"),
    "sqlite-process": partial(SqliteKind, durability="process"),
    "mysql": _mysql,
}
