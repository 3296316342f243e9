"""Where the mappings of a test live: the arguments that say so, for each kind of store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pqadapters.stores.memory import MemoryStore

#: Of a fresh place below a directory: what `PDict` and `shelve.open` take beside the name.
PLACES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "sqlite": lambda directory: {"store": f"sqlite:///{directory}/mapping.db?durability=process"},
    "segment": lambda directory: {"store": f"file://{directory}/mapping?durability=process"},
    "memory": lambda directory: {"store": MemoryStore()},
}
