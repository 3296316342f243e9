"""What persist-queue 1.1.0 wrote, as it was: whatever later versions of it write, this is converted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import pqadapters.persistqueue as ours
from pqadapters.persistqueue import serializers

KEPT = Path(__file__).parent / "kept" / "1.1.0"


def _copy(name: str, path: str) -> str:
    shutil.copytree(KEPT / name, path)
    Path(path).chmod(0o700)
    return path


def all_of(q: Any) -> list[Any]:
    return [q.get(block=False) for _ in range(q.qsize())]


@pytest.mark.parametrize("name", ["pickle", "json", "msgpack", "cbor2"])
def test_a_file_queue(path: str, name: str) -> None:
    with ours.Queue(_copy(name, path), serializer=getattr(serializers, name)) as q:
        assert all_of(q) == [{"n": n, "text": "ü" * n} for n in range(4, 12)]


def test_a_database_with_a_queue_of_each_class(path: str) -> None:
    _copy("database", path)
    with ours.SQLiteQueue(path) as fifo, ours.FILOSQLiteQueue(path) as filo, ours.UniqueQ(path) as unique:
        assert unique.put("a") is None
        assert (all_of(fifo), all_of(filo), all_of(unique)) == (list("abc"), list("cba"), list("abc"))
    with ours.PriorityQueue(path) as ranked:
        assert all_of(ranked) == ["high", "low"]
    with ours.SQLiteAckQueue(path, auto_resume=False) as acks:
        assert [row["status"] for row in acks.queue()] == [5, 2, 9, 5, 1, 0, 0, 0, 0, 0]
    with ours.FILOSQLiteAckQueue(path, auto_resume=False) as acks:
        assert sorted(row["status"] for row in acks.queue()) == [0, 0, 0, 0, 0, 1, 2, 5, 5, 9]
    with ours.UniqueAckQ(path) as acks:
        assert (acks.put("a"), acks.get()) == (None, "a")
    assert dict(ours.PDict(path, "d")) == {"k": [1]}
