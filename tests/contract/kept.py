"""A memory store whose data can be opened again: a persistent store's contract, as far as a process can keep it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pqadapters.clock import Clock
from pqadapters.store import Capabilities, Store
from pqadapters.stores.memory import MemoryData, MemoryStore


class KeptStore(MemoryStore):
    capabilities = Capabilities()
    Data: ClassVar[type[MemoryData]] = MemoryData

    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        """What a later opening finds."""
        data = cls.Data(old.clock)
        data.last_id, data.last_place = old.last_id, old.last_place
        data.tables = {name: dict(table) for name, table in old.tables.items()}
        for row in old.rows.values():
            data.rows[row.id] = replace(row, owner=None)
            data.queue(row.queue).ids.append(row.id)
        for queue in data.queues.values():
            queue.ids.sort()
        return data


class KeptKind:
    """A kind of store, as in `stores.py`, made of one class."""

    def __init__(self, store: type[KeptStore], directory: Path | None = None) -> None:
        self._class = store
        self._data: MemoryData | None = None

    def open(self, clock: Clock) -> Store:
        self._data = self._class.Data(clock) if self._data is None else self._class.reborn(self._data)
        return self._class(self._data)

    def another(self, store: Store, clock: Clock) -> Store:
        return self._class(self._data)
