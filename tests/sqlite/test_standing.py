"""A reader's transaction that stands: it shows what is committed all the same, and keeps nobody waiting for long."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import pqadapters.stores
from pqadapters.store import Put, Set
from pqadapters.stores.sqlite import SqliteStore, reader, standing
from pqadapters.stores.sqlite.standing import MANY

from ..contract.interrupting import interrupted
from ..segment.programs import PATIENCE, run

_HERE = (os.path.dirname(str(pqadapters.stores.__file__)),)
_SET = """
import sys
from pqadapters.store import Set
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1], durability="process") as store:
    store.commit(Set("t", b"k", sys.argv[2].encode()))
"""


@pytest.fixture
def store(database: Path) -> Iterator[SqliteStore]:
    with SqliteStore(database, durability="process") as store:
        store.commit(Set("t", b"k", b"0"))
        yield store


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions come quickly, and what stands isn't left for having stood for long."""
    monkeypatch.setattr(reader, "SHORT", 3600.0)
    monkeypatch.setattr(standing, "SHORT", 3600.0)


def _stands(store: SqliteStore) -> bool:
    connection = store._core.reader.connection
    assert connection is not None
    return connection.in_transaction


def _ask(store: SqliteStore, key: bytes = b"k") -> bytes | None:
    """So often that it stands, if it may."""
    for _ in range(2 * MANY + 1):
        found = store.get("t", key)
    return found


def _raw(database: Path) -> bytes:
    with closing(sqlite3.connect(database)) as connection:
        (value,) = connection.execute("SELECT value FROM entry WHERE key = ?", (b"k",)).fetchone()
        return bytes(value)


def _watchers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "pqadapters-reader"]


def _eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def no_others() -> None:
    """The threads of earlier tests end behind the close of their stores, on a busy machine some time behind it."""
    _eventually(lambda: not _watchers())


@pytest.mark.usefixtures("patient")
def test_what_is_committed_here_is_seen_at_once(store: SqliteStore) -> None:
    for nth in range(3):
        value = b"%d" % nth
        store.commit(Set("t", b"k", value))
        assert _ask(store) == value
        assert _stands(store)


@pytest.mark.usefixtures("patient")
def test_what_another_process_has_committed_is_seen_at_once(store: SqliteStore, database: Path) -> None:
    for value in ("1", "2"):
        assert _ask(store) != value.encode()
        assert _stands(store)
        run(_SET, database, value)
        assert store.get("t", b"k") == value.encode()
        assert not _stands(store), "while others commit the WAL can be begun anew"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "ask",
    [
        lambda store: next(iter(store.scan("t")))[1],
        lambda store: store.snapshot("t")[b"k"],
        lambda store: b"0" if list(store.keys("t")) == [b"k"] else None,
    ],
)
def test_other_questions_dont_come_into_it(store: SqliteStore, ask: Callable[[SqliteStore], Any]) -> None:
    _ask(store)
    assert _stands(store)
    assert ask(store) == b"0"
    assert not _stands(store)
    assert _ask(store) == b"0"


def test_who_has_told_nothing_is_seen_all_the_same(store: SqliteStore, database: Path) -> None:
    """A process that was killed right behind its commit, or another program."""
    _eventually(lambda: bool(_ask(store)) and _stands(store))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("DELETE FROM entry WHERE key = ?", (b"k",))
    _eventually(lambda: store.get("t", b"k") is None)


def test_who_asks_no_more_keeps_nothing(store: SqliteStore) -> None:
    """The WAL can be begun anew, and the thread is gone."""
    _eventually(lambda: bool(_ask(store)) and _stands(store))
    _eventually(lambda: not (_stands(store) or _watchers()))
    _eventually(lambda: bool(_ask(store)) and _stands(store))


@pytest.mark.usefixtures("patient")
def test_a_store_that_is_closed_or_dropped_has_no_thread(database: Path) -> None:
    for drops in (False, True):
        store = SqliteStore(database, durability="process")
        store.commit(Set("t", b"k", b"0"))
        _ask(store)
        assert _watchers()
        if not drops:
            store.close()
        del store
        gc.collect()
        _eventually(lambda: not _watchers())


def test_slow_questions_begin_none(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SHORT", 0.0)
    _ask(store)
    assert not _stands(store)
    assert not _watchers()


@pytest.mark.usefixtures("patient")
def test_nor_do_those_between_which_others_commit(store: SqliteStore) -> None:
    for nth in range(3 * MANY):
        if not nth % (MANY // 2):
            store.commit(Set("t", b"other", b"%d" % nth))
        store.get("t", b"k")
        assert not _stands(store)


@pytest.mark.usefixtures("patient")
def test_nor_do_greenlets_whose_threads_are_none(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "is_shared", lambda: True)
    _ask(store)
    assert not _stands(store)
    assert not _watchers()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_nor_do_those_where_nobody_would_end_it(
    store: SqliteStore, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(standing, "start_thread", fail)
        if isinstance(error, RuntimeError):
            assert _ask(store) == b"0"
        else:
            with pytest.raises(KeyboardInterrupt):
                _ask(store)
        assert not _stands(store)
    assert _ask(store) == b"0"
    assert _stands(store)
    assert len(_watchers()) == 1


@pytest.mark.usefixtures("patient")
def test_nor_where_the_thread_that_would_has_ended_just_then(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks, finds nothing, and ends, while who begins one is held up."""
    ensure = standing.Watch.ensure

    def late(watch: standing.Watch) -> bool:
        runs = ensure(watch)
        assert not store._core.reader.leave()
        return runs

    monkeypatch.setattr(standing.Watch, "ensure", late)
    _ask(store)
    assert not _stands(store)


@pytest.mark.usefixtures("patient")
def test_a_forked_child_and_its_parent_see_each_other(store: SqliteStore) -> None:
    _ask(store)
    assert _stands(store)
    if not (child := os.fork()):
        status = 1
        try:
            assert _ask(store) == b"0"
            store.commit(Set("t", b"k", b"of the child"))
            assert _ask(store) == b"of the child"
            status = 0 if _stands(store) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert _ask(store) == b"of the child"


def test_a_forked_child_that_asks_no_more_keeps_nothing(store: SqliteStore) -> None:
    """The thread that would leave it is the parent's."""
    _eventually(lambda: bool(_ask(store)) and _stands(store))
    if not (child := os.fork()):
        status = 1
        try:
            _eventually(lambda: bool(_ask(store)) and _stands(store))
            _eventually(lambda: not _stands(store))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.usefixtures("patient")
def test_none_begins_in_the_middle_of_several_questions_of_one_moment(store: SqliteStore) -> None:
    """Where finalizers ask: the first commit would end that moment."""
    looks = store._core.reader

    def look(connection: sqlite3.Connection) -> list[bytes]:
        found = []
        for value in (b"1", b"2"):
            _ask(store)
            store.commit(Set("t", b"k", value))
            store.get("t", b"k")
            found += [row[0] for row in connection.execute("SELECT value FROM entry WHERE key = ?", (b"k",))]
        return found

    assert looks.at_one_moment(look) == [b"0", b"0"]
    assert store.get("t", b"k") == b"2"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("times", [1, 2])
def test_a_finalizer_in_the_middle_of_a_question_takes_nothing_from_it(store: SqliteStore, times: int) -> None:
    """Whatever it asks, and whatever it has committed."""
    _ask(store)
    assert _stands(store)
    looks = store._core.reader

    class Cursor:
        """As the reader's, with a finalizer's calls between a question and its answer."""

        def __init__(self, cursor: sqlite3.Cursor) -> None:
            self._cursor = cursor

        def execute(self, *asked: Any) -> Cursor:
            self._cursor.execute(*asked)
            return self

        def fetchone(self) -> Any:
            for nth in range(times):
                store.commit(Set("t", b"other", b"%d" % nth))
                store.count("t"), store.snapshot("t"), list(store.keys("t"))  # of before, as without one that stands
            return self._cursor.fetchone()

        def close(self) -> None:
            self._cursor.close()

    assert looks._cursor is not None
    looks._cursor = Cursor(looks._cursor)  # type: ignore[assignment]
    assert store.get("t", b"k") == b"0"
    looks._cursor = None
    assert store.get("t", b"other") == b"%d" % (times - 1)
    assert _ask(store) == b"0"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("ops", [(Set("t", b"k", b"1"),), (Set("t", b"k", b"1"), Put("q", b"a"))])
def test_a_commit_that_is_interrupted_anywhere_is_seen_or_never_was(
    store: SqliteStore, database: Path, ops: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by those whose work is done with it, who may go on before the thread that has carried it out does."""
    writer, going, nth = store._core.writer, True, 0
    tell, done = writer._tell_others, list[bool]()

    def told(connection: sqlite3.Connection) -> None:
        if connection.total_changes != writer._told:
            done.extend(work.outcome.done for work in list(writer._pending))
        tell(connection)

    monkeypatch.setattr(writer, "_tell_others", told)
    while going:
        nth += 1
        store.commit(Set("t", b"k", b"0"))
        _ask(store)
        assert _stands(store)
        going = interrupted(lambda: store.commit(*ops), nth, _HERE)
        assert store.get("t", b"k") == _raw(database), f"at place {nth}"
    assert nth > 10
    assert not any(done)
    assert len(done) > nth


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("stands", [False, True])
def test_questions_that_are_interrupted_anywhere_show_what_is_committed_next(store: SqliteStore, stands: bool) -> None:
    """Where a transaction begins to stand, and where it is left. A console keeps the exceptions."""
    looks, kept = store._core.reader, list[BaseException]()
    _ask(store)
    going, nth = True, 0
    while going:
        nth += 1
        if stands:
            _ask(store)
        store.commit(Set("t", b"k", b"before"))
        if not stands:
            store.get("t", b"k")
            looks._asked, looks._since, looks._told = MANY - 1, time.monotonic(), store._core.mark.told
        assert _stands(store) is stands
        going = interrupted(lambda: store.get("t", b"k"), nth, _HERE, kept)
        value = b"%d" % nth
        store.commit(Set("t", b"k", value))
        assert store.get("t", b"k") == value, f"at place {nth}"
    assert nth > 5
