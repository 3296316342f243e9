"""The floor of mappings: a pickle and one prepared INSERT OR REPLACE for each set, one SELECT for each get.

In WAL mode, its synchronous setting FULL at "power" and else NORMAL. It has no checks, no order of keys, no lock, and
one thread.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ..contender import Contender, Level, MappingHandle, Speed, Threads


def open_mapping(directory: str, level: Level) -> MappingHandle:
    connection = sqlite3.connect(os.path.join(directory, "mapping.db"), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if level is Level.POWER else 'NORMAL'}")
    connection.execute("CREATE TABLE IF NOT EXISTS item(key TEXT PRIMARY KEY, value BLOB NOT NULL)")

    def set_one(key: str, value: str) -> None:
        connection.execute("INSERT OR REPLACE INTO item(key, value) VALUES (?, ?)", (key, pickle.dumps(value, 5)))

    def get(key: str) -> str:
        row = connection.execute("SELECT value FROM item WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return str(pickle.loads(row[0]))

    def length() -> int:
        return int(connection.execute("SELECT COUNT(*) FROM item").fetchone()[0])

    @contextmanager
    def batch() -> Iterator[None]:
        connection.execute("BEGIN")
        yield
        connection.execute("COMMIT")

    return MappingHandle(set_one, get, length, connection.close, batch)


CONTENDER = Contender(
    name="bare-replace",
    about="a loop of pickle and one INSERT OR REPLACE, or SELECT, of sqlite3",
    open_mapping=open_mapping,
    speed={Level.PROCESS: Speed(60_000, 200_000), Level.POWER: Speed(5_000, 200_000)},
    threads=Threads.ONE,
    batches=True,
    floor=True,
)
