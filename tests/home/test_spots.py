"""The spots of one place's queues: their numbers, when a place is transient, and the names of their directories."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pqadapters.home import places
from pqadapters.home.places import Spot, directory_name, mark_transient, occupy


def occupied() -> set[tuple[str, int]]:
    """Place and index of every queue that is alive."""
    return {(name, index) for name, spots in places._alive.copy().items() for index in spots.copy()}



@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """A place that no other test uses."""
    return f"tests.{request.node.name}"


@pytest.fixture(autouse=True)
def _nobody_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_alive", {})
    monkeypatch.setattr(places, "_transient", set())


def test_the_index_is_the_lowest_that_is_free(place: str) -> None:
    spots = [occupy(place) for _ in range(4)]
    assert [spot.index for spot in spots] == [0, 1, 2, 3]
    spots[2].leave()
    spots[1].leave()
    assert [occupy(place).index for _ in range(3)] == [1, 2, 4]
    assert occupy("another").index == 0


def test_occupied_are_those_that_are_alive(place: str) -> None:
    first, second = occupy(place), occupy(place)
    assert occupied() == {(place, 0), (place, 1)}
    first.leave()
    assert occupied() == {(place, 1)}
    second.leave()
    assert occupied() == set()


def test_leaving_twice_takes_nobody_elses_spot(place: str) -> None:
    first = occupy(place)
    first.leave()
    second = occupy(place)
    first.leave()
    assert occupied() == {(place, 0)}
    second.leave()
    assert occupied() == set()


def test_a_place_is_transient_once_it_makes_a_queue_after_one_has_left(place: str) -> None:
    first, second = occupy(place), occupy(place)
    assert not first.transient
    assert not second.transient
    second.leave()
    third = occupy(place)
    assert third.transient
    assert not first.transient  # it was there before
    assert occupy(place).transient
    assert not occupy("another").transient


def test_what_an_earlier_run_has_learnt(place: str) -> None:
    mark_transient(place)
    assert occupy(place).transient
    assert not occupy("another").transient


class Interrupted(dict[int, Spot]):
    """A place's table: a finalizer of the same thread runs around the next step that is made in it."""

    def __init__(self) -> None:
        self.before: Callable[[], object] | None = None
        self.after: Callable[[], object] | None = None

    def _run(self, when: str) -> None:
        finalizer: Callable[[], object] | None = getattr(self, when)
        if finalizer:
            setattr(self, when, None)
            finalizer()

    def setdefault(self, key: int, default: Any = None) -> Any:
        self._run("before")
        found = super().setdefault(key, default)
        self._run("after")
        return found

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        self._run("after")
        return found

    def __iter__(self) -> Iterator[int]:
        for index in super().__iter__():
            yield index
            self._run("after")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_queue_made_in_the_middle_of_making_one(when: str, place: str) -> None:
    made: list[Spot] = []
    spots = places._alive[place] = Interrupted()
    setattr(spots, when, lambda: made.append(occupy(place)))
    made.append(occupy(place))
    assert sorted(spot.index for spot in made) == [0, 1]
    assert occupied() == {(place, 0), (place, 1)}


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_last_queue_dropped_in_the_middle_of_making_one(when: str, place: str) -> None:
    spots = places._alive[place] = Interrupted()
    first = occupy(place)
    setattr(spots, when, first.leave)
    second = occupy(place)
    assert occupied() == {(place, second.index)}
    assert second.transient


def test_a_queue_dropped_in_the_middle_of_a_look(place: str) -> None:
    spots = places._alive[place] = Interrupted()
    made = [occupy(place) for _ in range(3)]
    spots.after = made[1].leave
    assert occupied() in ({(place, 0), (place, 1), (place, 2)}, {(place, 0), (place, 2)})


def test_threads_never_share_a_spot(place: str) -> None:
    barrier = threading.Barrier(4)
    clashes: list[int] = []
    held: queue.SimpleQueue[int] = queue.SimpleQueue()
    mine: set[int] = set()

    def work() -> None:
        barrier.wait()
        for _ in range(500):
            spot = occupy(place)
            if spot.index in mine:
                clashes.append(spot.index)
            mine.add(spot.index)
            held.put(spot.index)
            mine.discard(spot.index)
            spot.leave()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
    assert held.qsize() == 2000
    assert occupied() == set()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_goes_on_with_the_table_and_a_lock_of_its_own(place: str) -> None:
    spot = occupy(place)
    holds, ends = threading.Event(), threading.Event()

    def hold() -> None:
        with places._lock:
            holds.set()
            ends.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    pid = os.fork()
    if pid == 0:
        right = False
        try:
            if places._lock.acquire(timeout=0):
                right = occupied() == {(place, 0)} and occupy(place).index == 1
                spot.leave()
                right = right and occupied() == {(place, 1)}
        finally:
            os._exit(0 if right else 1)
    ends.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert occupied() == {(place, 0)}


def test_directories_of_spots() -> None:
    assert directory_name("__main__.main", 0) == "__main__.main-0"
    assert directory_name("?", 0) != directory_name("_", 0)
    names = ["m.f", "m.f-1", "m.f.<locals>.g", "m.f.<locals>.h", "m.f.[locals].g", "m." + "x" * 80, "m." + "x" * 81]
    spots = {directory_name(name, index) for name in names for index in (0, 1, 11)}
    assert len(spots) == 3 * len(names)
    assert all(len(spot) <= 80 and "/" not in spot and not spot.startswith((".", "-")) for spot in spots)
