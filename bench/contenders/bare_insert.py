"""The floor of SQLite: one prepared INSERT of a pickle for each transaction, in WAL mode, and nothing else. No get."""

from __future__ import annotations

import os
import pickle
import sqlite3

from ..contender import Contender, Handle, Level, Speed, itself, nothing, refuse_get


def open_queue(directory: str, level: Level) -> Handle:
    connection = sqlite3.connect(os.path.join(directory, "queue.db"), isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if level is Level.POWER else 'NORMAL'}")
    connection.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, payload BLOB)")

    def put(item: str) -> None:
        connection.execute("INSERT INTO item(payload) VALUES (?)", (pickle.dumps(item, 5),))

    return Handle(put, refuse_get, refuse_get, nothing, itself, connection.close)


CONTENDER = Contender(
    name="bare-insert",
    about="a loop of pickle and one INSERT for each transaction of sqlite3",
    open=open_queue,
    speed={Level.PROCESS: Speed(80_000, 0), Level.POWER: Speed(5_000, 0)},
    gets=False,
    floor=True,
)
