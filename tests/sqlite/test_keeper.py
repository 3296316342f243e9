"""What is done beside the work, where there is no thread for it; and looks that outlive their store."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from pqadapters.errors import StoreClosed, StoreLocked
from pqadapters.store import Ack, Put, Set
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore
from tests.segment.programs import PATIENCE


class Noting(Disk):
    """Which files were synced."""

    def __init__(self) -> None:
        self.synced: list[str] = []

    def sync(self, fd: int) -> None:
        self.synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        super().sync(fd)


def test_where_no_thread_can_be_had_a_put_syncs_itself(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At "process" it is on the disk within `max_lag` seconds: nobody else would see to that."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("pqadapters"):
            raise RuntimeError("can't start new thread")
        start(thread)

    disk = Noting()
    with SqliteStore(database, durability="process", disk=disk) as store:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for number in range(3):
                disk.synced.clear()
                store.commit(Put("q", b"%d" % number))
                assert disk.synced == ["jobs.db-wal"]
        store.commit(Put("q", b"later"))
        assert "pqadapters-keeper" in {thread.name for thread in threading.enumerate()}


def test_an_interpreter_without_daemon_threads(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.12 on one beside the main one refuses them as they are made: each put raised, and was stored."""

    class Thread(threading.Thread):
        def __init__(self, *given: Any, daemon: bool | None = None, **options: Any) -> None:
            if daemon:
                raise RuntimeError("daemon threads are disabled in this (sub)interpreter")
            super().__init__(*given, daemon=daemon, **options)

    disk = Noting()
    with SqliteStore(database, durability="process", disk=disk) as store, monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Thread)
        for number in range(3):
            disk.synced.clear()
            store.commit(Put("q", b"%d" % number), Set("t", b"k", b"v"))
            assert disk.synced == ["jobs.db-wal"]
        for number in range(3):
            (claim,) = store.claim("q", timeout=PATIENCE)
            assert claim.payload == b"%d" % number
            store.commit(Ack(claim))
        assert store.claim("q", timeout=0.01) == []
        for _ in range(100):  # so many that a transaction would stand for them
            assert store.get("t", b"k") == b"v"


_LOOKS: list[Callable[[SqliteStore], Iterator[object]]] = [
    lambda store: iter(store.browse("q")),
    lambda store: store.scan("t"),
    lambda store: store.keys("t"),
]


@pytest.mark.parametrize("look", _LOOKS, ids=["browse", "scan", "keys"])
def test_a_look_that_was_begun_before_the_store_was_closed_opens_nothing(
    look: Callable[[SqliteStore], Iterator[object]], database: Path
) -> None:
    """It would keep the file open, and what it holds locked, for as long as somebody keeps the iterator."""
    store = SqliteStore(database)
    store.commit(*(Put("q", b"%d" % n) for n in range(2000)), *(Set("t", b"%d" % n, b"") for n in range(2000)))
    found = look(store)
    next(found)
    store.close()
    with pytest.raises(StoreClosed, match="was closed; open it again"):
        list(found)
    assert str(database) not in _open_files()


def _open_files() -> set[str]:
    names = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # of the list itself
            names.add(os.readlink(f"/proc/self/fd/{fd}"))
    return names


def test_a_wal_that_cant_be_copied_is_told_of_once(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It grew without a word, at a limit of descriptors for instance."""
    with SqliteStore(database) as store:
        monkeypatch.setattr(store._core.keeper, "_start", lambda: None)  # one at a time
        for errors in ([OSError(24, "Too many open files")] * 2, [StoreLocked("q.db is locked")], [OSError(5, "I/O")]):
            for error in errors:
                monkeypatch.setattr(store._core.room, "shorten", Mock(side_effect=error))
                store._core.keeper._is_much = True
                store._core.keeper.round()
        assert [record.message.partition("can: ")[2] for record in caplog.records] == [
            "[Errno 24] Too many open files",
            "[Errno 5] I/O",
        ]
        monkeypatch.undo()
        store._core.keeper._is_much = True
        store._core.keeper.round()
        assert not store._core.keeper._refused
