"""What persist-queue has written is refused with a word on what it is, and left as it is."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import StoreRefused
from pqadapters.persistqueue import (
    AsyncQueue,
    AsyncSQLiteQueue,
    FILOSQLiteAckQueue,
    PDict,
    PriorityQueue,
    Queue,
    SQLiteAckQueue,
    SQLiteQueue,
    UniqueQ,
)


def _their_directory(path: str) -> None:
    directory = Path(path)
    directory.mkdir()
    info = {"chunksize": 100, "size": 1, "tail": [0, 0, 0], "head": [0, 1, 16]}
    (directory / "info").write_bytes(pickle.dumps(info, 4))
    (directory / "q00000").write_bytes(pickle.dumps("a", 4))


def _their_database(path: str, table: str) -> None:
    Path(path).mkdir()
    connection = sqlite3.connect(f"{path}/data.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"CREATE TABLE {table} (_id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, timestamp FLOAT)")
    connection.execute(f"INSERT INTO {table} (data, timestamp) VALUES (x'80', 1.0)")
    connection.commit()
    connection.close()


def _contents(path: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path(path).iterdir() if file.is_file()}


@pytest.mark.parametrize("kind", [Queue, AsyncQueue])
@pytest.mark.parametrize("missing", [None, "info"])
def test_a_directory_of_persist_queue(kind: Any, missing: str | None, path: str) -> None:
    _their_directory(path)
    if missing:
        (Path(path) / missing).unlink()
    before = _contents(path)
    with pytest.raises(StoreRefused, match=r"written by persist-queue.*q00000"):
        kind(path)
    assert _contents(path) == before


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (SQLiteQueue, "queue_default"),
        (SQLiteQueue, "unique_queue_else"),
        (UniqueQ, "unique_queue_default"),
        (PriorityQueue, "priority_queue_default"),
        (SQLiteAckQueue, "ack_queue_default"),
        (FILOSQLiteAckQueue, "ack_filo_queue_default"),
        (AsyncSQLiteQueue, "filo_queue_default"),
        (lambda path: PDict(path, "n"), "dict_n"),
        (lambda path: AsyncSQLiteQueue(f"{path}/data.db"), "async_queue"),
    ],
)
def test_a_database_of_persist_queue(kind: Any, table: str, path: str) -> None:
    _their_database(path, table)
    before = _contents(path)["data.db"]
    with pytest.raises(StoreRefused, match=f"written by persist-queue.*{table}"):
        kind(path)
    assert _contents(path)["data.db"] == before


def test_another_programs_files_are_refused_in_the_stores_words(path: str) -> None:
    _their_database(path, "customers")
    with pytest.raises(StoreRefused, match=r"data\.db"):
        SQLiteQueue(path)
    with pytest.raises(StoreRefused, match=r"data\.db"):
        Queue(path)
