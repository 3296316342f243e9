"""Locks of others, readers that don't wait, and space that comes back while everybody goes on."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.errors import DiskError, StoreLocked
from pqadapters.store import LOCK_TIMEOUT, Ack, Put, Set
from pqadapters.stores import _lookout, _trouble, _work
from pqadapters.stores._disk import Disk
from pqadapters.stores._handle import Wish
from pqadapters.stores.sqlite import SqliteStore, keeper, transactions
from pqadapters.stores.sqlite import store as sqlite_store
from pqadapters.stores.sqlite.database import rest
from pqadapters.stores.sqlite.space import room as sqlite_room
from pqadapters.stores.sqlite.space.room import Room
from tests.contract.threads import InterruptedStart, Task
from tests.segment.programs import PATIENCE, go_on, run, running, said

from ..contract.descriptors import open_below


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Another program has begun a transaction and is in no hurry to end it."""
    with running("""
import sqlite3, sys
raw = sqlite3.connect(sys.argv[1], isolation_level=None)
raw.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
""", database) as child:
        assert said(child) == "locked"
        yield


def test_readers_dont_wait_for_who_writes(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"), Set("t", b"k", b"v"))
        with _locked(database):
            task = Task(
                lambda: (
                    store.depth("q").ready,
                    [record.payload for record in store.browse("q")],
                    store.get("t", b"k"),
                    list(store.scan("t")),
                    store.count("t"),
                    store.wait("q", lambda depth: depth.ready == 1),
                    store.claim("empty"),
                ),
                patience=PATIENCE,
            )
            assert task.result() == (1, [b"a"], b"v", [(b"k", b"v")], 1, True, [])


def test_a_lock_that_is_never_let_go_of_is_named_and_nothing_is_stored(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        with _locked(database):
            for ops in ([Put("q", b"b")], [Put("q", b"b"), Put("q", b"c")]):
                with pytest.raises(StoreLocked, match=rf"{database}.*nothing was stored"):
                    store.commit(*ops, timeout=0.05)
        assert [record.payload for record in store.browse("q")] == [b"a"]
        store.commit(Put("q", b"b"))


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_claim_that_has_time_waits_for_a_lock_that_is_let_go_of(
    timeout: float | None, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped in the middle of a transaction ended all consumers beside it, after five seconds."""
    told = threading.Event()
    monkeypatch.setattr(sqlite_store, "bear", _telling(told))
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        [first] = store.claim("q")
        monkeypatch.setattr(_work, "LOCK_TIMEOUT", 0.05)
        with _locked(database):
            task = Task(lambda: store.claim("q", timeout=timeout, acks=[Ack(first)]), patience=PATIENCE)
            assert told.wait(PATIENCE)
        assert [claim.payload for claim in task.result()] == [b"b"]
        assert store.depth("q").unfinished == 1


def test_a_claim_waits_for_a_lock_for_no_longer_than_its_time(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of seven seconds raised StoreLocked after ten: its second try waited as long as the first."""
    now, tried = 0.0, list[float | None]()

    def attempt(self: SqliteStore, wish: Wish, acks: Any) -> None:
        nonlocal now
        tried.append(wish.patience)
        now += LOCK_TIMEOUT if wish.patience is None else wish.patience
        raise StoreLocked("by another process")

    for module in (sqlite_store, _trouble):
        monkeypatch.setattr(module, "SYSTEM", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(SqliteStore, "_attempt", attempt)
    monkeypatch.setattr(SqliteStore, "_wait", lambda *args: None)
    with SqliteStore(database) as store, pytest.raises(StoreLocked):
        store.claim("q", timeout=12.0)
    assert (now, tried) == (12.0, [None, None, 2.0])


def _telling(told: threading.Event) -> Any:
    bear = _trouble.bear

    def bear_and_tell(*args: Any) -> Any:
        told.set()
        return bear(*args)

    return bear_and_tell


@pytest.mark.parametrize("more", [{}, {"timeout": 0.05}, {"timeout": PATIENCE, "patience": 0.05}])
def test_a_claim_that_has_no_time_is_told_of_a_lock(
    more: dict[str, Any], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        store.claim("none")  # it is known to the database
        monkeypatch.setattr(_work, "LOCK_TIMEOUT", 0.05)
        with _locked(database), pytest.raises(StoreLocked):
            store.claim("q", **more)


def test_a_commit_waits_for_a_lock_that_is_let_go_of(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        with _locked(database):
            task = Task(lambda: store.commit(Put("q", b"b"), timeout=PATIENCE), patience=PATIENCE)
        assert task.result() == (2,)


@pytest.mark.parametrize("tries", [0, 1])
def test_time_in_which_nothing_was_tried_is_not_waited_for_a_lock(
    tries: int, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-Z stops all processes of a program, and `fg` was the end of one that was waiting for another one's lock. The
    same where a first try came late, behind a slow sync of another thread."""
    real, stopped, pauses = time.monotonic, 0.0, list[float]()
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        raw = sqlite3.connect(database, isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")

        def pause(seconds: float) -> float:
            pauses.append(seconds)
            if len(pauses) > 2:
                raw.execute("ROLLBACK")
            return rest(seconds)

        def now() -> float:
            nonlocal stopped
            if len(pauses) >= tries and any(work.begun for work in list(store._core.writer._pending)):
                stopped = 3600.0
            return real() + stopped

        monkeypatch.setattr(transactions, "rest", pause)
        monkeypatch.setattr(transactions, "SYSTEM", SimpleNamespace(monotonic=now))
        assert store.commit(Put("q", b"b")) == (2,)
        raw.close()


def test_many_processes_commit_at_once_and_none_hears_of_a_lock(database: Path) -> None:
    code = """
import sys
from pqadapters.store import Ack, Put
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], durability="process")
sys.stdin.readline()
for n in range(300):
    store.commit(Put("q", b"x"))
    store.commit(*map(Ack, store.claim("q")))
print("done", flush=True)
"""
    children = [running(code, database) for _ in range(6)]
    entered = [child.__enter__() for child in children]
    try:
        for child in entered:
            go_on(child)
        assert [said(child) for child in entered] == ["done"] * 6
    finally:
        for manager in children:
            manager.__exit__(None, None, None)
    with SqliteStore(database) as store:
        assert store.depth("q").unfinished == 0


@pytest.mark.parametrize("seconds", [0, 0.3])
def test_the_wal_stays_small_under_a_steady_reader(
    database: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Also under one who reads for longer than a checkpoint waits, and begins again at once."""
    monkeypatch.setattr(keeper, "CHECKPOINT", 64 << 10)
    monkeypatch.setattr(keeper, "TOO_LONG", 256 << 10)
    with SqliteStore(database, durability="process", max_lag=0.02) as store, running("""
import sqlite3, sys, time
raw = sqlite3.connect(sys.argv[1], isolation_level=None)
print("reading", flush=True)
while True:
    raw.execute("BEGIN")
    raw.execute("SELECT count(*) FROM record").fetchone()
    time.sleep(float(sys.argv[2]))
    raw.execute("COMMIT")
""", database, seconds) as child:
        assert said(child) == "reading"

        def write() -> None:
            before = times = 0
            while times < 5:
                store.commit(Put("q", bytes(1000)))
                store.commit(*map(Ack, store.claim("q")))
                length = os.path.getsize(f"{database}-wal")
                times, before = times + (length < before), length

        Task(write, patience=PATIENCE).result()  # it begins anew again and again


def test_a_reader_who_stays_is_tried_again_when_the_wal_has_twice_the_length(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers are kept out meanwhile."""
    monkeypatch.setattr(keeper, "CHECKPOINT", 64 << 10)
    monkeypatch.setattr(keeper, "TOO_LONG", 256 << 10)
    monkeypatch.setattr(keeper, "_IN_TURN", 0.01)
    lengths: list[int] = []
    outwait = keeper.outwait
    monkeypatch.setattr(sqlite_room, "outwait", lambda path: lengths.append(keeper.length(path)) or outwait(path))
    with SqliteStore(database, durability="process") as store:
        with closing(sqlite3.connect(database, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM record").fetchone()

            def write() -> None:
                while len(lengths) < 3:
                    store.commit(Put("q", bytes(1000)))

            Task(write, patience=PATIENCE).result()
        assert lengths[0] > 256 << 10
        assert all(later > 2 * earlier for earlier, later in itertools.pairwise(lengths[:3]))


def test_the_wal_is_used_anew_sooner_where_commits_are_synced(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its blocks that was there before makes a sync shorter, and the reserve is as large as it."""
    monkeypatch.setattr(keeper, "_SYNCED", 64 << 10)
    copied = threading.Event()
    monkeypatch.setattr(Room, "shorten", lambda room: copied.set())
    with SqliteStore(database, durability="process") as store:
        for _ in range(100):
            store.commit(Put("q", b""))
        assert not store._core.keeper._is_much
        assert not copied.is_set()
    with SqliteStore(database) as store:
        for _ in range(100):
            store.commit(Put("q", b""))
        assert copied.wait(PATIENCE)


def test_the_keeper_goes_on_behind_an_exception_of_a_signal_handler(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came to a thread which had the keeper's work in hand was the keeper's, too, and its end: nothing was
    synced in the background any more."""
    failed, again = threading.Event(), threading.Event()

    def extend(room: Room) -> None:
        if failed.is_set():
            again.set()
        failed.set()
        raise TimeoutError

    monkeypatch.setattr(Room, "extend_wal", extend)
    with SqliteStore(database) as store:
        while not failed.is_set():
            store.commit(Put("q", b""))
        while not again.is_set():
            store.commit(Put("q", b""))


def test_an_older_handle_with_more_time_takes_none_from_others(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first sync came when its next one was due."""
    synced = threading.Event()
    with SqliteStore(database, durability="process", max_lag=1000.0) as slow:
        monkeypatch.setattr(slow._core, "sync_wal", synced.set)
        slow.commit(Put("q", b"a"))
        assert synced.wait(PATIENCE)
        synced.clear()
        with SqliteStore(database, durability="process", max_lag=0.01) as quick:
            quick.commit(Put("q", b"b"))
            assert synced.wait(PATIENCE)


@pytest.mark.parametrize("runs", [True, False])
def test_the_keeper_is_begun_again_behind_an_exception_of_a_signal_handler(
    database: Path, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of starting it, when nobody knows whether it runs. It was taken for one that does, for good."""
    interrupted = InterruptedStart(runs=runs)
    begun = interrupted.begun
    with SqliteStore(database, durability="process", max_lag=0.01) as store:
        with monkeypatch.context() as patch, pytest.raises(TimeoutError):
            patch.setattr(keeper, "start_thread", interrupted)
            store.commit(Put("q", b""))
        synced = threading.Event()
        monkeypatch.setattr(store._core, "sync_wal", synced.set)
        store.commit(Put("q", b""))
        if runs:
            begun[0].join(PATIENCE)
        assert not begun[0].is_alive()
        assert synced.wait(PATIENCE)
        synced.clear()
        store.commit(Put("q", b""))
        assert synced.wait(PATIENCE)


@pytest.mark.parametrize("runs", [True, False])
def test_the_lookout_is_begun_again_behind_one(database: Path, runs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted = InterruptedStart(runs=runs)
    begun = interrupted.begun
    with SqliteStore(database) as store, SqliteStore(database) as other:
        with monkeypatch.context() as patch, pytest.raises(TimeoutError):
            patch.setattr(_lookout, "start_thread", interrupted)
            store.claim("q", timeout=None)
        while (thread := store._core.lookout._thread) is None:  # a slow machine's claim doesn't come to waiting
            store.claim("q", timeout=0.01)
        assert thread.is_alive()
        if runs:
            begun[0].join(PATIENCE)
        assert not begun[0].is_alive()
        other.commit(Put("q", b"a"))
        assert store.claim("q", timeout=PATIENCE)


def test_an_open_browse_keeps_nothing_from_being_given_back(database: Path) -> None:
    with SqliteStore(database, durability="process") as store:
        store.commit(*[Put("q", bytes(100)) for _ in range(1000)])
        looking = store.browse("q")
        next(looking)
        store.commit(*[Put("q", bytes(100)) for _ in range(1000)])
        store.checkpoint()
        assert os.path.getsize(f"{database}-wal") == 0
        assert len(list(looking)) >= 999


def test_space_comes_back_when_a_backlog_is_done(database: Path) -> None:
    with SqliteStore(database, durability="process") as store:
        for _ in range(20):
            store.commit(*[Put("q", bytes(1000)) for _ in range(500)])
        store.checkpoint()
        full = os.path.getsize(database)
        assert full > 10_000_000
        while claims := store.claim("q", limit=500):
            store.commit(*map(Ack, claims))
        store.checkpoint()
        assert os.path.getsize(database) < full / 50


def test_a_database_that_gives_no_pages_back_holds_nobody_up(database: Path) -> None:
    """Another tool had rewritten it; `checkpoint()` and the keeper asked for a page's return again and again."""
    with SqliteStore(database, durability="process") as store:
        store.commit(*(Put("q", bytes(4000)) for _ in range(2000)))
    with closing(sqlite3.connect(database, isolation_level=None)) as tool:
        for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA auto_vacuum = NONE", "VACUUM"):
            tool.execute(statement)
    with SqliteStore(database, durability="process") as store:
        store.commit(*map(Ack, store.claim("q", limit=2000)))
        assert not store._core.room.give_back()
        Task(store.checkpoint, patience=PATIENCE).result()
        size = os.path.getsize(database)
        store.commit(*(Put("q", bytes(4000)) for _ in range(2000)))
        store.checkpoint()
        assert os.path.getsize(database) < 1.1 * size, "free pages aren't used again"


def test_space_comes_back_by_itself(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "CHECKPOINT", 256 << 10)
    with SqliteStore(database, durability="process", max_lag=0.02) as store:
        for _ in range(10):
            store.commit(*[Put("q", bytes(1000)) for _ in range(500)])
        done = threading.Event()

        def drain() -> None:
            while claims := store.claim("q", limit=100):
                store.commit(*map(Ack, claims))
            while not done.wait(0.02):
                store.commit(Put("other", b"x"))
                store.commit(*map(Ack, store.claim("other")))

        task = Task(drain, patience=PATIENCE)
        try:
            shrunk = threading.Event()
            for _ in range(3000):
                if os.path.getsize(database) < 3_000_000 and store.depth("q").unfinished == 0:
                    shrunk.set()
                    break
                done.wait(0.01)
            assert shrunk.is_set()
        finally:
            done.set()
            task.result()


def test_what_a_process_wrote_is_synced_soon_and_seen_by_the_next(database: Path) -> None:
    told = run("""
import sys, time, os
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], durability="process", max_lag=0.05)
store.commit(Put("q", b"a"))
while store._core.keeper.unsynced:
    os.sched_yield()
os._exit(0)
""", database)
    assert told == ""
    with SqliteStore(database) as store:
        assert store.depth("q").ready == 1


def test_ids_are_never_used_again(database: Path) -> None:
    with SqliteStore(database) as store:
        (first,) = store.commit(Put("q", b"a"))
        store.commit(*map(Ack, store.claim("q")))
        (second,) = store.commit(Put("q", b"b"))
        store.commit(*map(Ack, store.claim("q")))
    with SqliteStore(database) as store:
        (third,) = store.commit(Put("r", b"c"))
    raw = sqlite3.connect(database)
    assert raw.execute("SELECT last FROM queue WHERE number = 0").fetchone() == (third,)
    raw.close()
    assert first < second < third


def test_a_handle_is_closed_while_another_thread_makes_a_bell(database: Path) -> None:
    """That one may come to a finalizer which waits for what the closing thread has: with nobody who waits for a record
    the lock of the bells is in nobody's way."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"first"))
        store._core.bells.of("q")
        other = SqliteStore(database)
        with store._core.bells.lock:
            Task(other.close, patience=PATIENCE).result()
        assert store.depth("q").ready == 1


def test_i5_what_a_closed_handle_couldnt_give_back_is_ready_later(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full for a moment, or another program had the lock: while the process had another handle, nobody got
    those records."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        other = SqliteStore(database)
        assert other.claim("q")

        def refuse(handle: int) -> None:
            monkeypatch.undo()
            raise DiskError(errno.ENOSPC, "no space", str(database))

        monkeypatch.setattr(store._core, "_give_up", refuse)
        other.close()
        assert [claim.payload for claim in store.claim("q", timeout=PATIENCE)] == [b"a"]
    with SqliteStore(database) as store:
        assert [claim.attempt for claim in store.claim("q")] == [3]


class _NoDescriptors(Disk):
    """None is left for the WAL."""

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        if path.endswith("-wal"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return super().open(path, create=create, write=write)


def test_a_sync_for_which_there_is_no_descriptor_says_what_to_do(database: Path) -> None:
    with SqliteStore(database, disk=_NoDescriptors()) as store:
        store.commit(Put("q", b"a"))
        with pytest.raises(DiskError, match=r"Too many open files \(jobs.db-wal\); .*ulimit -n"):
            store.sync()


@pytest.mark.parametrize("ops", [(Put("q", b"a"),), (Put("q", b"a"), Put("q", b"b"))])
def test_a_connection_that_can_only_read_is_made_anew(database: Path, ops: tuple[Put, ...]) -> None:
    """SQLite had opened the file for reading, since there was no descriptor when it was to be opened for writing: each
    put was refused as on a read-only disk, until the store was closed."""
    with SqliteStore(database) as store:
        writer = store._core.writer
        assert writer.connection is not None
        writer.connection.close()
        uri = f"file:{database}?mode=ro"
        writer.connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        store.commit(*ops)
        assert store.depth("q").ready == len(ops)


def test_a_store_that_couldnt_be_opened_has_no_file_open(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the garbage collector came: who tries again and again ran out of descriptors."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))

    def refuse(room: Room) -> None:
        raise DiskError(errno.EIO, "no", str(database))

    monkeypatch.setattr(Room, "make_reserve", refuse)
    with pytest.raises(DiskError):
        SqliteStore(database)
    assert not open_below(database)


def test_a_store_is_closed_where_its_lookout_was_never_started(database: Path) -> None:
    """An interrupt as it was being started: there was a RuntimeError in place of the end."""
    store = SqliteStore(database)
    store._core.lookout._thread = store._core.keeper._thread = _Unstarted()
    store.close()


class _Unstarted(threading.Thread):
    """It has its number already, and hasn't said that it has begun."""

    ident = 1


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
def test_a_store_goes_with_its_last_handle(database: Path, closed: bool) -> None:
    """It and its room kept each other until the garbage collector came."""
    gc.disable()
    try:
        store = SqliteStore(database)
        store.commit(Put("q", b"a"))
        gone = weakref.ref(store._core)
        if closed:
            store.close()
        del store
        assert gone() is None
    finally:
        gc.enable()


def test_a_commit_that_is_done_when_another_thread_closes_the_store(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised a TypeError about an mmap, and was there nevertheless."""
    store = SqliteStore(database)
    writer, do = store._core.writer, store._core.writer.do

    def close_behind(work: Any) -> Any:
        done = do(work)
        monkeypatch.undo()
        store.close()
        return done

    monkeypatch.setattr(writer, "do", close_behind)
    store.commit(Put("q", b"it"))
    with SqliteStore(database) as store:
        assert [record.payload for record in store.browse("q")] == [b"it"]


def test_a_program_that_closes_nothing_is_warned_of_nothing(database: Path) -> None:
    """A queue or mapping of a module is there to the very end: Python 3.13 warned of its connections."""
    program = """
import sys
from pqadapters import PDict
from pqadapters.stdlib.queue import Queue
d = PDict(sys.argv[1])
d[1] = 2
q = Queue(store=d.store)
q.put(d[1])
"""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program, str(database)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
