"""The standard library's shelve over its dbm.sqlite3, which came with Python 3.13.

SQLite's own default syncs each commit. No batches.
"""

from __future__ import annotations

import os
import shelve
from importlib import import_module

from ..contender import Contender, Level, MappingHandle, Speed, Threads


def open_mapping(directory: str, level: Level) -> MappingHandle:
    database = import_module("dbm.sqlite3").open(os.path.join(directory, "shelf.db"), "c")
    shelf = shelve.Shelf[str](database)
    return MappingHandle(shelf.__setitem__, shelf.__getitem__, shelf.__len__, shelf.close)


CONTENDER = Contender(
    name="dbm-sqlite3",
    about="shelve.Shelf(dbm.sqlite3.open(path))",
    open_mapping=open_mapping,
    speed={Level.POWER: Speed(4_000, 100_000)},
    modules=("dbm.sqlite3",),
    threads=Threads.ONE,
)
