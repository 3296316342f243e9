"""What a signal handler raises in the middle of a get, wherever CPython calls one: at calls, their ends, at loops.

What is claimed then is in hand, or ready again: nothing waits for the end of the process that nobody has.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from queue import Empty
from traceback import walk_tb
from types import FrameType
from typing import Any

import pytest

import pqadapters.stdlib
import pqadapters.stores
from pqadapters.errors import StoreError, StorePoisoned
from pqadapters.stdlib._lines.policy import AckPolicy
from pqadapters.stdlib.multiprocessing import JoinableQueue
from pqadapters.store import Ack, Claim, Put, Set, State
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.keeper import Keeper
from pqadapters.stores.sqlite.space import room
from pqadapters.stores.sqlite.work import Work

from ..contract.descriptors import open_below
from ..contract.interrupting import IsMissing, ItFailed, TimeIsUp, interrupted
from ..contract.threads import Task
from ..segment.programs import PATIENCE, running, said

_HERE = tuple(os.path.dirname(str(package.__file__)) for package in (pqadapters.stdlib, pqadapters.stores))


def test_a_signal_handler_puts_as_the_keeper_is_called(tmp_path: Path) -> None:
    """In the middle of an event's `set()`, which isn't to be entered again."""
    for nth in range(1, 8):
        store, left = SqliteStore(tmp_path / f"{nth}.db"), nth
        keeper = store._core.keeper
        keeper.call()  # it has its thread

        def handle(frame: FrameType, event: str, function: Any, store: SqliteStore = store) -> None:
            nonlocal left
            left -= event == "c_return"
            if not left:
                sys.setprofile(None)
                store.commit(Put("q", b"from a handler"))
                store._core.keeper.call()

        def call(keeper: Keeper = keeper, handle: Any = handle) -> None:
            sys.setprofile(handle)
            try:
                keeper.call()
            finally:
                sys.setprofile(None)

        Task(call, patience=PATIENCE).result()
        store.close()


def test_a_commit_that_is_interrupted_leaves_other_processes_the_lock(tmp_path: Path) -> None:
    """They would wait for the next commit of this one."""

    def interrupt() -> bool:
        raise KeyboardInterrupt

    with SqliteStore(tmp_path / "q.db") as store, closing(sqlite3.connect(tmp_path / "q.db", timeout=0)) as other:
        with pytest.raises(KeyboardInterrupt):
            store.commit(Put("q", b"a"), Put("p", b"b"), stop=interrupt)
        other.execute("BEGIN IMMEDIATE")
        other.rollback()
        assert store.depth("q").ready == 0


def test_a_transaction_whose_end_was_interrupted_ends_before_the_next_one(tmp_path: Path) -> None:
    """As behind a second KeyboardInterrupt, in the rollback that the first one led to."""
    with SqliteStore(tmp_path / "q.db") as store:
        store.commit(Put("q", b"a"))
        connection = store._core.writer.connection
        assert connection is not None
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM record")
        store.commit(Put("q", b"b"))
        assert [record.payload for record in store.browse("q")] == [b"a", b"b"]


@pytest.mark.parametrize("prefetch", [1, 4])
@pytest.mark.parametrize("ack", ["next", "task_done"])
def test_a_get_is_interrupted_anywhere(ack: str, prefetch: int, tmp_path: Path) -> None:
    """An item whose claim had been committed just then, or one that was about to be acknowledged, was in nobody's hands
    until the process ended: no other worker got it, and join() waited for ever."""
    url = f"sqlite:///{tmp_path}/q.db?durability=process"
    q: JoinableQueue[int] = JoinableQueue(store=url, name="q", ack=ack, prefetch=prefetch)
    line, nth, going = q._line, 0, True
    store: Any = line.store
    while going:
        nth += 1
        q.put_many(range(4))
        q.get()
        if ack == "task_done":
            q.task_done()
        store._give_back_ahead()  # so that the next get fetches
        going = interrupted(q.get, nth, _HERE)
        store._give_back_ahead()
        held = {claim.id for own in line.held.by.values() for claim, _ in own.values()}
        claimed = {record.id for record in store.browse("q", state=State.CLAIMED)}
        lost = claimed - held
        assert len(lost) <= (prefetch > 1), f"at place {nth}"  # one that was ahead comes again behind the process
        store._core.give_back_claims([Claim("q", id, 1, b"") for id in lost], store._handle)
        _drain(q)
        assert store.depth("q").unfinished == 0, f"at place {nth}"
    assert nth > 30


def test_a_task_done_is_interrupted_anywhere(tmp_path: Path) -> None:
    """The item was taken out of its thread's hands, and not acknowledged: join() waited for ever. Or it was, and stayed
    in its hands: the next task_done() raised LeaseLost."""
    q: JoinableQueue[int] = JoinableQueue(store=f"sqlite:///{tmp_path}/q.db?durability=process", ack="task_done")
    line, nth, going = q._line, 0, True
    while going:
        nth += 1
        q.put_many(range(2))
        q.get(), q.get()
        going = interrupted(q.task_done, nth, _HERE)
        held = {claim.id for own in line.held.by.values() for claim, _ in own.values()}
        assert held == {record.id for record in line.store.browse(line.name, state=State.CLAIMED)}, f"at place {nth}"
        while len(line.held):
            q.task_done()
        assert line.store.depth(line.name).unfinished == 0, f"at place {nth}"
    assert nth > 20


def test_a_task_done_that_is_interrupted_again_and_again_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a greenlet that is killed twice: nobody had the item until the queue was closed, and join() waited."""
    q: JoinableQueue[int] = JoinableQueue(store=f"sqlite:///{tmp_path}/q.db?durability=process", ack="task_done")
    q.put(1)
    q.get()
    interrupts, commit = [KeyboardInterrupt("last"), KeyboardInterrupt(), KeyboardInterrupt()], q._line.commit

    def interrupt(*ops: Any) -> Any:
        if interrupts:
            raise interrupts.pop()
        return commit(*ops)

    with monkeypatch.context() as patch:
        patch.setattr(q._line, "commit", interrupt)
        with pytest.raises(KeyboardInterrupt, match="last"):
            q.task_done()
    q.join()
    assert not len(q._line.held)


def test_an_interrupted_look_whose_exception_is_kept_ends_nevertheless(tmp_path: Path) -> None:
    """A console keeps it: the cursor lived on in its frames, the handle saw what was committed by then for good, not
    even its own changes, and a checkpoint found the database locked."""
    store, other = (SqliteStore(tmp_path / "q.db", durability="process") for _ in range(2))
    with store, other:
        store.commit(Set("t", b"k", b"1"))
        going, nth, kept = True, 0, list[BaseException]()
        while going:
            nth += 1
            going = interrupted(lambda: store.get("t", b"k"), nth, _HERE, kept)
            other.commit(Set("t", b"k", b"%d" % nth))
            assert store.get("t", b"k") == b"%d" % nth, f"at place {nth}"
        assert len(kept) == nth - 1 > 3
        store.checkpoint()


def test_a_look_that_fails_and_whose_error_is_kept_keeps_no_file_open(tmp_path: Path) -> None:
    """As behind a disk that can't be read for a moment: a closed database's files stayed open, and locked."""
    with SqliteStore(tmp_path / "q.db") as store:
        store.commit(Set("t", b"k", b"1"))
        store.get("t", b"k")
        reader: Any = store._core.reader
        reader.connection.set_progress_handler(lambda: True, 1)  # fails each statement in its middle
        with pytest.raises(StoreError) as kept:
            store.get("t", b"k")
    assert not open_below(tmp_path), kept.value


def test_no_frame_of_an_interrupted_scan_has_its_cursor(tmp_path: Path) -> None:
    """Python 3.13 leaves a loop inside of a `try` past its `finally` where the interrupt comes right behind a turn: the
    cursor stayed open in the frame, and the handle saw what was committed by then for good."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(*(Set("t", b"%d" % n, b"1") for n in range(20)))
        going, nth, kept = True, 0, list[BaseException]()
        while going:
            nth += 1
            going = interrupted(lambda: list(store.scan("t")), nth, _HERE, kept)
        assert len(kept) > 20
        frames = [frame for error in kept for frame, _ in walk_tb(error.__traceback__)]
        pages = [frame for frame in frames if frame.f_code.co_name == "_page"]
        assert pages
        assert not [value for frame in pages for value in frame.f_locals.values() if isinstance(value, sqlite3.Cursor)]


def test_an_interrupted_checkpoint_lets_go_of_its_lock(tmp_path: Path) -> None:
    """A console keeps the exception, and with it the frames that had just taken the lock, or were about to let go of
    it: no process copied the WAL any more, and sync() ended in StoreLocked. A descriptor was left each time, too."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        going, nth, kept = True, 0, list[BaseException]()
        store.checkpoint()
        while going:
            nth += 1
            store.commit(Set("t", b"k", b"%d" % nth))
            going = interrupted(store.checkpoint, nth, _HERE, kept)
            hold = store._core.owners.lock("checkpoint")
            assert hold is not None, f"at place {nth}"
            hold.close()
        assert nth > 30
        kept.clear()
        gc.collect()
        assert not [file for file in open_below(tmp_path) if file.endswith("checkpoint")]


def test_i5_a_handle_whose_close_is_interrupted_keeps_no_record(in_memory: Path) -> None:
    """Another handle of the process kept the process alive, and with it claims that nobody had."""
    nth, going = 0, True
    while going:
        nth += 1
        with SqliteStore(in_memory / "q.db", durability="process") as store:
            other: SqliteStore | None = SqliteStore(in_memory / "q.db", durability="process")
            assert other is not None
            store.commit(Put("q", b"a"), Put("q", b"b"))
            assert len(other.claim("q", limit=2)) == 2
            going = interrupted(other.close, nth, _HERE, exits=True)
            if nth % 2:
                other.close()
            other = None  # or it is dropped
            gc.collect()
            claims = list[Claim]()
            while len(claims) < 2:
                claims += store.claim("q", limit=9, timeout=PATIENCE)
            store.commit(*map(Ack, claims))
            assert len(store._core.handles) == 1, f"at place {nth}"
    assert nth > 20


def test_a_store_whose_opening_was_interrupted_is_closed_with_its_other_handles(in_memory: Path) -> None:
    """The handle that there never was kept the database open; and a poisoned store couldn't be opened anew."""
    nth, going = 0, True
    while going:
        nth += 1
        store = SqliteStore(in_memory / "q.db", durability="process")
        going = interrupted(lambda: SqliteStore(in_memory / "q.db", durability="process"), nth, _HERE, exits=True)
        gc.collect()
        store.close()
        assert store._core.writer.connection is None, f"at place {nth}"
    assert nth > 20


def _drain(q: JoinableQueue[int]) -> None:
    with suppress(Empty):
        while True:
            q.get(block=False)
            while q._line.policy is AckPolicy.TASK_DONE and len(q._line.held):
                q.task_done()


@pytest.mark.parametrize("raised", [TimeIsUp, ItFailed, IsMissing])
@pytest.mark.parametrize("op", ["sync", "checkpoint", "commit", "claim"])
def test_what_a_handler_raises_is_no_word_of_the_disk(
    op: str, raised: type[OSError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alarm that came during a sync was taken for a sync that had failed, and no process could use the database any
    more before it was opened anew; elsewhere it was passed over as an error of the disk is."""
    kept = list[BaseException]()
    ops: dict[str, Any] = {
        "sync": SqliteStore.sync,
        "checkpoint": SqliteStore.checkpoint,
        "commit": lambda store: store.commit(Put("q", b"b")),
        "claim": lambda store: store.commit(*map(Ack, store.claim("q"))),
    }
    with SqliteStore(tmp_path / "q.db", durability="process", max_lag=1e6) as store:
        monkeypatch.setattr(store._core.keeper, "_start", lambda: None)  # whose works others carry out
        nth, going = 0, True
        while going:
            nth += 1
            store.commit(Put("q", b"a"))
            going = interrupted(lambda: ops[op](store), nth, _HERE, kept, interrupt=raised)
            assert len(kept) == (nth if going else nth - 1), f"at place {nth}"
        store.sync()
        assert not store._core.mark.doubted
        assert nth > 4


_CLAIMS = """
import sys
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
store.commit(Put("q", b"a"))
print(*(claim.payload for claim in store.claim("q")), flush=True)
sys.stdin.readline()
"""


def test_i5_nobody_is_robbed_because_a_handler_misses_a_file(tmp_path: Path) -> None:
    """It was taken for that of a process that had ended, by who looked for others that had."""
    with running(_CLAIMS, tmp_path / "q.db") as child:
        assert said(child) == "b'a'"
        with SqliteStore(tmp_path / "q.db") as store:
            core = store._core
            nth, going = 0, True
            while going:
                nth += 1
                bury = Work(core.owners.bury, synced=False)
                going = interrupted(partial(core.writer.do, bury), nth, _HERE, interrupt=IsMissing)
                assert store.depth("q").claimed == 1, f"at place {nth}"
            assert nth > 5


class _Failing(Disk):
    """Refuses the next sync."""

    fails = False

    def sync(self, fd: int) -> None:
        if self.fails:
            self.fails = False
            raise OSError(5, "Input/output error")


def _unless_poisoned(call: Callable[[], object]) -> None:
    with suppress(StorePoisoned):
        call()


def test_i1_a_sync_that_fails_is_known_of_whatever_interrupts_that(tmp_path: Path) -> None:
    """As Ctrl-C while a disk hangs, and then fails: all processes went on, and the system had told of it once."""
    nth, going = 0, True
    while going:
        nth += 1
        disk = _Failing()
        store = SqliteStore(tmp_path / f"{nth}.db", durability="process", max_lag=1e6, disk=disk)
        store.commit(Put("q", b"a"))
        disk.fails = True
        going = interrupted(partial(_unless_poisoned, store.sync), nth, _HERE)
        if not disk.fails:
            assert store._core.mark.doubted, f"at place {nth}"
            with pytest.raises(StorePoisoned):
                store.commit(Put("q", b"b"))
        store.close()
    assert nth > 10


@pytest.mark.parametrize("whose", ["a caller's", "the keeper's", "the keeper's behind readers"])
def test_i1_a_sync_of_a_checkpoint_that_fails_is_known_of_whatever_interrupts_that(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does it by itself, and nobody noted it again: all processes went on."""
    has_failed = False

    def fail(*_: object) -> None:
        nonlocal has_failed
        if not has_failed:
            has_failed = True
            failed: Any = sqlite3.OperationalError("disk I/O error")
            failed.sqlite_errorcode = 1034
            raise failed

    monkeypatch.setattr(room, "shorten", fail if "readers" not in whose else lambda *_: None)
    monkeypatch.setattr(room, "outwait", fail)
    nth, going = 0, True
    while going:
        nth += 1
        has_failed = False
        store = SqliteStore(tmp_path / f"{nth}.db", durability="process", max_lag=1e6)
        store.commit(Put("q", b"a"))
        store._core.room._too_long = 0
        checkpoint = store.checkpoint if whose == "a caller's" else store._core.room.shorten
        going = interrupted(partial(_unless_poisoned, checkpoint), nth, _HERE)
        if has_failed:
            assert store._core.mark.doubted, f"at place {nth}"
            with pytest.raises(StorePoisoned):
                store.sync()
        has_failed = True
        store.close()
    assert nth > 10


class _FailingAtTheEnd:
    """A connection whose next transaction fails as it ends, with a statement that begins so."""

    def __init__(self, connection: sqlite3.Connection, statement: str) -> None:
        self._connection, self._statement = connection, statement
        self.has_failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if not self.has_failed and statement.lstrip().startswith(self._statement):
            self.has_failed = True
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *values)


@pytest.mark.parametrize(("ops", "statement"), [(1, "INSERT"), (2, "COMMIT")], ids=["one statement", "several"])
def test_i1_a_commit_that_could_not_be_synced_is_known_of_whatever_interrupts_that(
    ops: int, statement: str, tmp_path: Path
) -> None:
    nth, going = 0, True
    while going:
        nth += 1
        store = SqliteStore(tmp_path / f"{nth}.db")
        store.commit(Put("q", b"a"))
        writer: Any = store._core.writer
        connection = writer.connection = _FailingAtTheEnd(writer.connection, statement)
        commit = partial(store.commit, *[Put("q", b"b")] * ops)
        going = interrupted(partial(_unless_poisoned, commit), nth, _HERE)
        if connection.has_failed:
            assert store._core.mark.doubted, f"at place {nth}"
            with pytest.raises(StorePoisoned):
                store.commit(Put("q", b"c"))
        store.close()
    assert connection.has_failed
    assert nth > 10
