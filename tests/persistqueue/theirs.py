"""Data that persist-queue itself has written."""

from __future__ import annotations

import importlib
import os
import pickle
import sqlite3
from pathlib import Path
from typing import Any

import persistqueue as theirs
from persistqueue.sqlbase import SQLBase, SQLiteBase

for _kind in (SQLBase, SQLiteBase):
    del _kind.__del__  # it closes connections in whatever thread it is collected, which SQLite refuses


def serializer(name: str) -> Any:
    """persist-queue's own."""
    return importlib.import_module(f"persistqueue.serializers.{name}")


def file_queue(path: str, items: list[Any], *, got: int = 0, chunksize: int = 100, name: str = "pickle") -> None:
    """With the first ones got and done."""
    q = theirs.Queue(path, chunksize=chunksize, serializer=serializer(name))
    for item in items:
        q.put(item)
    for _ in range(got):
        q.get()
        q.task_done()


def database(path: str, kind: Any, items: list[Any], name: str = "default", **options: Any) -> None:
    q = kind(path, name=name, **options)
    for item in items:
        q.put(item)
    q.close()


def each_state(path: str, kind: Any = theirs.SQLiteAckQueue) -> dict[Any, int]:
    """Items 0 to 9 of an acknowledging queue, in every state; which is in which."""
    q = kind(path)
    for item in range(10):
        q.put(item)
    for act in (q.ack, q.nack, lambda item: None, q.ack_failed, q.ack):
        act(q.get())
    q.nack(q.get())
    found = {row["data"]: row["status"] for row in q.queue()}
    q.close()
    assert set(found.values()) == {0, 1, 2, 5, 9}
    return found


def contents(path: str | Path) -> dict[str, bytes]:
    """Every file below it."""
    found = {}
    for directory, _, names in os.walk(path):
        for name in names:
            file = os.path.join(directory, name)
            found[os.path.relpath(file, path)] = Path(file).read_bytes()
    return found


def rows(file: str | Path, table: str) -> list[tuple[Any, ...]]:
    """As SQLite has them."""
    connection = sqlite3.connect(file)
    try:
        return connection.execute(f"SELECT * FROM `{table}` ORDER BY rowid").fetchall()
    finally:
        connection.close()


def async_database(file: str, table: str) -> None:
    """As persist-queue's async classes write it: the table is the same whatever the queue's name."""
    connection = sqlite3.connect(file)
    connection.execute(f"CREATE TABLE {table} (_id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, timestamp FLOAT)")
    rows = [(pickle.dumps(item, 4), 1.5) for item in "abc"]
    connection.executemany(f"INSERT INTO {table} (data, timestamp) VALUES (?, ?)", rows)
    connection.commit()
    connection.close()
