"""Places where items wait and no queue is made: named in the log, when it is certain, and once; what is empty goes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from pqadapters.errors import StoreLocked
from pqadapters.home import waiting
from pqadapters.home.adoption import DEAD
from pqadapters.home.ground import MANY
from pqadapters.home.places import LastingSpot
from pqadapters.home.private import PrivateStore
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Ack, Set
from pqadapters.stores.segment.slots import Slots

from .world import begin_anew, kill_a_process_that, leave, place_directory, private, put, ready

MOVED = "shop.moved"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    begin_anew(monkeypatch, tmp_path / "home")
    return tmp_path / "home"


class Runs:
    """Runs of a program; its log is caplog's, and its end comes when it is called."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self._home, self._patch, self._caplog = home, monkeypatch, caplog
        self._ends: list[Callable[[], object]] = []
        monkeypatch.setattr(waiting, "_BUDGET", 60.0)
        caplog.set_level(logging.INFO)

    def begin(self) -> PrivateStore:
        """Another run, with a queue in another place than where items wait."""
        begin_anew(self._patch, self._home)
        self._patch.setattr(waiting, "at_end", self._ends.append)
        self._ends.clear()
        self._caplog.clear()
        store = private("shop.other")
        store.commit(put("x"))
        return store

    def end(self) -> None:
        for function in self._ends:
            function()

    def said(self, level: int) -> list[str]:
        return [
            record.getMessage()
            for record in self._caplog.records
            if record.levelno == level and "wait for" in record.getMessage()
        ]


@pytest.fixture
def runs(home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Runs:
    return Runs(home, monkeypatch, caplog)


def leave_two() -> None:
    private(MOVED).commit(put(1), put(2))


def test_at_the_end_of_a_run_that_makes_no_queue_there_and_never_again(home: Path, runs: Runs) -> None:
    kill_a_process_that(leave_two)
    runs.begin()
    (hint,) = runs.said(logging.INFO)
    assert "2 items" in hint
    assert "by the class that it was made by: Queue(path=" in hint  # a Queue hands out a PriorityQueue's items in turn
    assert runs.said(logging.WARNING) == []
    runs.end()
    (warning,) = runs.said(logging.WARNING)
    for word in ("2 items", MOVED, str(place_directory(home, MOVED)), "Queue(path="):
        assert word in warning
    runs.begin()
    runs.end()
    assert runs.said(logging.INFO) + runs.said(logging.WARNING) == []


@pytest.mark.parametrize("processes", [1, 3, 5])
def test_what_it_advises_opens_the_items(processes: int, home: Path, runs: Runs) -> None:
    """It named the directory of all slots of the place, which no queue takes for its own."""
    kill_a_process_that(leave_two)
    for _ in range(processes - 1):
        leave(place_directory(home, MOVED), put(1), put(2))
    runs.begin()
    (hint,) = runs.said(logging.INFO)
    assert ("and 2 more" in hint) == (processes == 5)
    paths = re.findall(r"Queue\(path='([^']+)'\)", hint)
    assert len(paths) == min(processes, 3)
    for path in paths:
        q: Queue[int] = Queue(path=path)
        assert q.qsize() == 2
        q.close()


def test_when_a_second_run_begins_so(home: Path, runs: Runs) -> None:
    """The first one didn't come to its end."""
    kill_a_process_that(leave_two)
    runs.begin()
    runs.begin()
    assert len(runs.said(logging.WARNING)) == 1
    runs.end()
    assert len(runs.said(logging.WARNING)) == 1


def test_a_queue_that_is_made_later_is_no_reason(home: Path, runs: Runs) -> None:
    """Run after run, also where none of them comes to its end."""
    for number in range(4):
        kill_a_process_that(leave_two)
        leave(place_directory(home, MOVED), put(0))  # it takes one slot, and would take over the other at a look
        runs.begin()
        store = private(MOVED)
        store.commit(put(3))
        if number % 2:
            runs.end()
        assert runs.said(logging.WARNING) == []
        store.close()


def test_a_place_that_was_named_and_is_used_again_may_be_named_again(home: Path, runs: Runs) -> None:
    kill_a_process_that(leave_two)
    runs.begin()
    runs.end()
    assert len(runs.said(logging.WARNING)) == 1
    runs.begin()
    with private(MOVED) as store:
        store.commit(put(3))
    kill_a_process_that(leave_two)
    runs.begin()
    runs.end()
    assert len(runs.said(logging.WARNING)) == 1


def test_what_is_empty_goes_on_the_way(home: Path, runs: Runs) -> None:
    kept: list[PrivateStore] = []

    def leave_nothing() -> None:
        for _ in range(MANY + 3):
            store = private(MOVED)
            store.commit(put(1))
            (claim,) = store.claim("default")
            store.commit(Ack(claim))
            kept.append(store)

    kill_a_process_that(leave_nothing)
    runs.begin()
    runs.end()
    assert runs.said(logging.INFO) + runs.said(logging.WARNING) == []
    above = place_directory(home, MOVED).parent
    assert list(above.glob(f"{MOVED}-*/0")) == []
    assert len(list(above.glob(f"{MOVED}-*"))) == MANY, "what was learnt of the first ones is kept"


def test_what_cant_be_looked_at_keeps_nobody_from_a_first_use(
    home: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have the directory's lock, and hang."""
    kill_a_process_that(leave_two)
    with monkeypatch.context() as patch:
        patch.setattr(Slots, "look", Mock(side_effect=StoreLocked("in use", 1)))
        store = runs.begin()
    assert store.depth("default").ready == 1
    assert runs.said(logging.INFO) == []
    runs.begin()
    assert len(runs.said(logging.INFO)) == 1


def test_looking_around_takes_only_so_long(home: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What wasn't looked at today is looked at tomorrow."""
    kill_a_process_that(leave_two)
    monkeypatch.setattr(waiting, "_BUDGET", -1.0)
    runs.begin()
    runs.end()
    assert runs.said(logging.INFO) + runs.said(logging.WARNING) == []


def test_jobs_wait_for_an_executor(home: Path, runs: Runs) -> None:
    """Whoever had opened them as the items of a queue, as the advice was, would have taken them for good."""

    def leave() -> None:
        private(MOVED, kind=LastingSpot).commit(put(1))

    kill_a_process_that(leave)
    runs.begin()
    runs.end()
    for said in (runs.said(logging.INFO), runs.said(logging.WARNING)):
        assert [word in said[0] for word in ("the executor made in", "ThreadPoolExecutor(path=")] == [True, True]


def test_what_has_keys_in_its_tables_isnt_empty(home: Path, runs: Runs) -> None:
    def leave() -> None:
        private(MOVED, kind=LastingSpot, tables=("t",)).commit(Set("t", b"k", b"v"))

    kill_a_process_that(leave)
    runs.begin()
    with private(MOVED, kind=LastingSpot, tables=("t",)) as store:
        assert store.depth("default").ready == 0  # which is the look that takes over what is left
        assert store.get("t", b"k") == b"v"


def test_what_has_dead_letters_isnt_empty(home: Path, runs: Runs) -> None:
    kill_a_process_that(lambda: private(MOVED).commit(put("letter")._replace(queue=DEAD)))
    runs.begin()
    with private(MOVED) as store:
        assert ready(store, DEAD) == ["letter"]


def test_a_run_looks_around_once_and_at_other_places_than_its_own(home: Path, runs: Runs) -> None:
    """Its second queue was another run, and what its first one was about to take over was said to wait for it."""
    kill_a_process_that(leave_two)
    leave(place_directory(home, "shop.other"), put(1))
    leave(place_directory(home, "shop.other"), put(2))
    runs.begin()
    private("shop.third").commit(put("x"))
    (hint,) = runs.said(logging.INFO)
    assert MOVED in hint
    assert runs.said(logging.WARNING) == []
