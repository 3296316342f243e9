"""What is noted of a queue and of its place, what is said of it in the log, and what `homes()` lists."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from unittest.mock import Mock

import pytest

from pqadapters.errors import DiskError
from pqadapters.home.application import application
from pqadapters.home.ground import MANY, ground_of
from pqadapters.stdlib.queue import Home, Queue, homes
from pqadapters.stores.segment.slots import Slots

from .world import PLACE, begin_anew, kill_a_process_that, place_directory, private, put


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    begin_anew(monkeypatch, tmp_path / "home")
    return tmp_path / "home"


def make() -> Queue[object]:
    """All queues are made here: in one place."""
    return Queue()


@pytest.mark.parametrize("nth", [0, 1])
def test_that_queues_come_and_go_is_noted_of_the_place(home: Path, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No queue of such a place is given what an earlier run's one left, whichever of them it was that went."""

    def two_at_a_time_and_then_another() -> None:
        both = private(), private()
        for store in both:
            store.commit(put("earlier"))
        both[nth].close()
        third = private()
        third.commit(put("third"))

    kill_a_process_that(two_at_a_time_and_then_another)
    begin_anew(monkeypatch, home)
    for store in (private(), private()):
        store.commit(put("mine"))
        assert [record.payload for record in store.browse("default")] == [b"mine"]
        assert store.facts()["transient"]
        store.close()


def test_what_was_learnt_is_each_queues_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two queues made by one function, for questions and answers say."""
    questions, answers = make(), make()
    for q in (questions, answers):
        q.put(1)
        q.get()
    questions.task_done()
    answers.close()
    questions.close()
    begin_anew(monkeypatch, home)
    questions, answers = make(), make()
    for q in (questions, answers):
        q.put(1)
    assert [q.stats()["learnt"] for q in (questions, answers)] == ["task_done", "next"]


def test_what_is_learnt_for_good_stays(home: Path) -> None:
    """Whatever another process believes that has looked before."""
    store = private()
    store.commit(put("x"))
    other = ground_of(store._spot, store.durability, trust=False)
    store.learn(ack="task_done")
    other.learn(ack="next")
    assert store.learnt("ack") == "task_done"
    store.close()


def test_what_cant_be_noted_keeps_nobody_from_anything(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = private()
    store.commit(put("x"))
    monkeypatch.setattr(Slots, "add_to_note", Mock(side_effect=DiskError(errno.ENOSPC, "no room", "somewhere")))
    store.learn(ack="task_done")
    assert "can't be kept" in caplog.text
    store.close()


def test_many_queues_at_a_time_leave_few_directories(home: Path) -> None:
    queues = [make() for _ in range(MANY + 5)]
    for q in queues:
        q.put(1)
        q.get()
        q.task_done()
    for q in queues:
        q.close()
    places = {path.name.rpartition("-")[2] for path in next(home.iterdir()).iterdir()}
    assert places == {str(number) for number in range(MANY)}


def test_one_line_at_the_first_use_says_where_it_lives_and_what_it_has_learnt(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pqadapters.home")
    q = make()
    assert caplog.messages == []
    q.put(1)
    q.put(2)
    (line,) = caplog.messages
    for word in ("tests.home.test_notes.make", q.stats()["place"], "when it is learnt whether"):
        assert word in line
    q.get()
    q.task_done()
    q.close()
    begin_anew(monkeypatch, home)
    caplog.clear()
    again = make()
    again.put(3)
    assert "an item is done at task_done()" in caplog.messages[0]
    assert again.get() == 2
    assert "goes on with 1 items that earlier runs left" in caplog.messages[-1]
    stats = again.stats()
    assert (stats["learnt"], stats["adopted"], stats["made_in"]) == ("task_done", 1, "tests.home.test_notes.make")
    again.close()


def test_the_next_queue_of_the_place_says_it_no_more(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pqadapters.home")
    for _ in range(3):
        with make() as q:
            q.put(1)
            q.get()
    assert [line for line in caplog.messages if "keeps its items in" in line] == caplog.messages[:1]


def test_homes_lists_what_is_stored_where(home: Path) -> None:
    def leave() -> None:
        q = make()
        for n in range(5):
            q.put(n)
        q.get()
        q.task_done()
        q.nack(q.get())

    kill_a_process_that(leave)
    held = private()
    held.commit(put("mine"))
    found = {each.place: each for each in homes()}
    left = found["tests.home.test_notes.make"]
    directory = str(place_directory(home, "tests.home.test_notes.make") / "0")
    assert left._replace(application="", program="", bytes=0) == Home(
        "", "", "tests.home.test_notes.make", 0, directory, None, 4, 0, 0, "task_done", False
    )
    assert (left.application, left.program) == application()[:2]
    assert left.bytes
    assert (found[PLACE].items, found[PLACE].pid is not None) == (None, True)
    assert homes() == homes(home)
    with Queue[int](path=directory) as q:
        assert sorted(q.queue) == [1, 2, 3, 4]
    held.close()


def test_homes_passes_over_directories_of_others(home: Path) -> None:
    """In a home among other things each `photos/trip/2024` was an empty queue, and got a LOCK. One that couldn't be
    read, or written, kept all others from being listed."""
    private().commit(put("mine"))
    others = home / "photos" / "trip" / "2024"
    others.mkdir(parents=True)
    (home / "itself").symlink_to(home / "itself")
    assert [each.place for each in homes()] == [PLACE]
    assert not [*others.iterdir(), *others.parent.glob("LOCK")]


def test_homes_where_there_is_nothing(tmp_path: Path) -> None:
    assert homes(tmp_path) == homes(tmp_path / "nowhere") == []
