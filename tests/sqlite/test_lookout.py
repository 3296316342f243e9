"""Hearing of others' commits by what the mark tells, and by the database where that told nothing."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pqadapters.store import Ack, Nack, Op, Put, Set
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite import store as sqlite_store
from pqadapters.stores.sqlite.processes import lookout as lookouts
from pqadapters.stores.sqlite.processes.lookout import Lookout
from pqadapters.stores.sqlite.processes.mark import Mark
from pqadapters.stores.sqlite.work import Work
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, run

_PUT = """
import sys
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1], durability="process") as store:
    store.commit(Put("q", b"of another process"))
"""


def _heard(store: SqliteStore) -> bytes:
    return store._core.mark.told


def test_each_change_is_told_of_and_nothing_else(database: Path) -> None:
    """Two processes that find nothing would wake each other for ever."""
    with SqliteStore(database) as store:

        def tells(what: Callable[[], object]) -> bool:
            before = _heard(store)
            what()
            return _heard(store) != before

        def commits(*ops: Op) -> Callable[[], object]:
            return lambda: store.commit(*ops)

        assert tells(commits(Put("q", b"a"))), "a statement alone"
        assert tells(commits(Put("q", b"b"), Set("t", b"k", b"v"))), "a transaction"
        (claim,) = store.claim("q")
        assert tells(commits(Nack(claim)))
        (claim,) = store.claim("q")
        assert tells(commits(Ack(claim)))
        assert tells(lambda: store.claim("q"))
        assert not tells(lambda: store.claim("q"))
        assert not tells(lambda: store.depth("q"))
        assert not tells(lambda: store.get("t", b"k"))
        assert not tells(lambda: store._core.writer.do(Work(lambda connection: None, synced=False)))


def test_what_comes_behind_another_connection_is_told_of(database: Path) -> None:
    """Which counts its changes from the beginning."""
    with SqliteStore(database) as store:
        for _ in range(3):  # the first one makes the table
            before = _heard(store)
            with store._core.writer.lock:
                store._core.writer.disconnect_locked()
            store.commit(Set("t", b"k", b"v"))
            assert _heard(store) != before


def test_no_two_processes_tell_the_same(tmp_path: Path) -> None:
    """Nor a process and its forked child: who has seen the one would take the other's for it."""
    file = str(tmp_path / "mark")
    one, other = Mark(file, Disk()), Mark(file, Disk())
    told = [other.told]
    for mark in (one, other, one):
        mark.tell()
        told.append(other.told)
    if not (child := os.fork()):
        one.begin_again()
        one.tell()
        os._exit(0)
    os.waitpid(child, 0)
    told.append(other.told)
    one.tell()
    told.append(other.told)
    one._commits = itertools.count(1 << 32)  # some days at full speed
    one.tell()
    told.append(other.told)
    assert len(set(told)) == len(told)
    other.close()
    other.tell()
    assert other.told == b""


@pytest.mark.parametrize("by", ["mark", "database"])
def test_who_waits_hears_by_either(database: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process may be killed between its commit and what it tells, or be another program."""
    if by == "mark":
        monkeypatch.setattr(Lookout, "version", lambda self, known: known)
    else:
        monkeypatch.setattr(Mark, "told", b"")
    monkeypatch.setattr(sqlite_store, "_WITHOUT_LOOKOUT", 3600.0)
    with SqliteStore(database) as store:
        task = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while not store._core.bells.waiting:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        run(_PUT, database)
        assert [claim.payload for claim in task.result()] == [b"of another process"]


class _Waited:
    """A store for which somebody waits, and its lookout: what that does, without a thread."""

    def __init__(self) -> None:
        self.now, self.asked, self.buried, self.looks = 100.0, 0, 0, 0
        self.rung: list[float] = []
        self.mark = SimpleNamespace(told=b"first")
        self.bells = SimpleNamespace(waiting=1, ring_one_each=self._ring)
        self.reader = SimpleNamespace(close=lambda: None)
        self.wanted = 0.0
        self.version_found = 7

    def _ring(self) -> None:
        self.rung.append(self.now)

    def core_to_serve(self) -> _Waited:
        return self

    def version(self, known: int) -> int:
        self.asked += 1
        return self.version_found

    def bury_dead(self) -> None:
        self.buried += 1

    def look(self, seconds: float, monkeypatch: pytest.MonkeyPatch, then: Callable[[], object] = lambda: None) -> None:
        """For so long; `then`: what happens in the middle of it."""
        end, middle = self.now + seconds, [self.now + seconds / 2]
        monkeypatch.setattr(lookouts, "SYSTEM", SimpleNamespace(monotonic=lambda: self.now))

        def wait(pause: float) -> bool:
            self.now += pause
            self.looks += 1
            if middle and self.now > middle[0]:
                middle.clear()
                then()
            return self.now > end

        lookouts._look(cast(Any, lambda: self), cast(Any, SimpleNamespace(wait=wait)))


def test_an_idle_one_asks_the_database_a_few_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """And looks at the mark alone in between, which takes next to nothing."""
    waited = _Waited()
    waited.look(60.0, monkeypatch)
    assert 60 / 0.25 <= waited.asked <= 60 / 0.2 + 1
    assert waited.buried == waited.asked
    assert waited.rung == [100.0 + lookouts.EAGER], "they may have committed right before the first look"
    assert waited.looks <= 60 / lookouts.CALM + 50


@pytest.mark.parametrize(("changed", "within"), [("mark", lookouts.CALM), ("database", 0.25)])
def test_each_change_is_rung_once(monkeypatch: pytest.MonkeyPatch, changed: str, within: float) -> None:
    waited = _Waited()

    def change() -> None:
        if changed == "mark":
            waited.mark.told = b"second"
        else:
            waited.version_found = 8

    waited.look(60.2, monkeypatch, change)  # half-way between two questions
    _, rung = waited.rung
    assert 130.1 < rung < 130.1 + 2 * within


def test_what_is_told_while_nobody_waits_is_rung_for_who_comes_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """He may have looked before that."""
    waited = _Waited()
    waited.bells.waiting = 0
    waited.look(10.0, monkeypatch, lambda: setattr(waited.mark, "told", b"second"))
    assert (waited.rung, waited.asked) == ([], 0)
    waited.look(10.0, monkeypatch, lambda: setattr(waited.bells, "waiting", 1))
    assert len(waited.rung) == 1
