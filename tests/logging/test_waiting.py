"""Threads that wait for room in a spool whose `max_bytes` are used up."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.logging._spools import limits, waiting
from pqadapters.store import Put
from pqadapters.stores.memory import MemoryStore

from .sinks import PATIENCE, eventually


class Room:
    """A limit with `block` whose room comes record by record, and the threads that got it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limit, self.store, self.got = limits.Limit(1 << 20, "block"), MemoryStore(), queue.Queue[str]()
        self.room = threading.Semaphore(0)
        monkeypatch.setattr(waiting, "PATIENCE", PATIENCE)  # all may have stood still for a while
        self.limit.watch(str(directory), lambda store: ["q"])
        self.store.commit(Put("q", b"what is delivered some time"))
        monkeypatch.setattr(self.limit, "_look", lambda size: self.room.acquire(blocking=False))
        monkeypatch.setattr(self.limit, "_tidy", lambda store: None)

    def log(self, name: str, count: int = 1) -> None:
        for _ in range(count):
            assert self.limit.admits(100, logging.INFO, self.store)
            self.got.put(name)

    def has(self, thread: threading.Thread) -> bool:
        """Whether it waits."""
        return thread.ident in self.limit._waiting._bells

    def start(self, name: str, count: int = 1) -> threading.Thread:
        thread = threading.Thread(target=self.log, args=(name, count), daemon=True)
        thread.start()
        assert eventually(lambda: self.has(thread))
        return thread

    def give(self, records: int = 1) -> list[str]:
        """Who got it, in their order."""
        got = []
        for _ in range(records):
            self.room.release()
            got.append(self.got.get(timeout=PATIENCE))
        return got


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path, monkeypatch)


def test_who_has_waited_longest_gets_room_first(room: Room) -> None:
    """One thread of eight waited for 7 s, in which the others logged thousands: they looked by chance."""
    threads = {name: room.start(name, count=2) for name in "abc"}
    for name in "abc":
        assert room.give() == [name]
        assert eventually(partial(room.has, threads[name]))  # with its next record
    assert room.give(3) == [*"abc"]


def test_who_comes_while_others_wait_looks_for_no_room(room: Room) -> None:
    room.start("a")
    room.limit._waiting.may_look = lambda: False  # type: ignore[method-assign]
    room.room.release()
    room.start("b")
    assert room.got.empty()
    del room.limit._waiting.may_look
    assert room.got.get(timeout=PATIENCE) == "a"
    assert room.give() == ["b"]


def test_what_logs_in_the_middle_of_a_wait_goes_first(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler, or a finalizer: its thread can't go on before."""
    waiting, sleep = room.limit._waiting, room.limit._waiting.sleep
    inner = iter(["a's handler"])

    def interrupted(seconds: float) -> None:
        if threading.current_thread() is first:
            for name in inner:
                room.log(name)
        sleep(seconds)

    monkeypatch.setattr(waiting, "sleep", interrupted)
    first = threading.Thread(target=room.log, args=("a",), daemon=True)
    first.start()
    assert eventually(lambda: room.has(first))
    room.start("b")
    assert room.give(3) == ["a's handler", "a", "b"]
    assert not waiting


def test_who_is_first_and_never_looks_is_passed_over(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signal handler waits for a thread that waits behind it."""
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    sleep, second = room.limit._waiting.sleep, threading.Event()

    def interrupted(seconds: float) -> None:
        if threading.current_thread() is first:
            assert second.wait(PATIENCE)
        sleep(seconds)

    monkeypatch.setattr(room.limit._waiting, "sleep", interrupted)
    first = threading.Thread(target=room.log, args=("a",), daemon=True)
    first.start()
    assert eventually(lambda: room.has(first))
    room.start("b")
    assert room.give() == ["b"]
    second.set()
    assert room.give() == ["a"]
    assert not room.limit._waiting


def test_a_wait_that_is_interrupted_leaves_its_place(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(room.limit._waiting, "sleep", interrupted)
        room.log("a")
    assert not room.limit._waiting
    room.start("b")
    assert room.give() == ["b"]


def test_copies_for_sinks_that_are_behind_go_before_new_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need much room at once, which new records took bit by bit; and they are what gives room back."""
    limit, store, admitted = limits.Limit(1 << 20, "block"), MemoryStore(), queue.Queue[str]()
    room = [1000]
    store.commit(Put("sink", b"x"))
    limit.watch(str(tmp_path), lambda store: ["sink"])

    def room_with(size: int) -> int:
        left = room[0] - size
        if size == 5000 and left >= 0:
            room[0] = 0  # the copies take all of it
        return left

    monkeypatch.setattr(limit, "_room_with", room_with)
    monkeypatch.setattr(limit, "_tidy", lambda store: None)

    def copy() -> None:
        if limit.admits_copies(5000, store, ["sink"], threading.Event(), lambda: 5000):
            admitted.put("copies")

    def log() -> None:
        if limit.admits(100, logging.INFO, store):
            admitted.put("record")

    threads = [threading.Thread(target=each, daemon=True) for each in (copy, log)]
    threads[0].start()
    assert eventually(lambda: limit._copies)
    threads[1].start()
    assert eventually(lambda: threads[1].ident in limit._waiting._bells)
    room[0] = 5000
    assert admitted.get(timeout=PATIENCE) == "copies"
    assert admitted.empty()
    room[0] = 1000
    assert admitted.get(timeout=PATIENCE) == "record"
    assert not limit._copies


class Line:
    """Threads that wait, by name, and a clock that stands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(waiting, "SYSTEM", SimpleNamespace(monotonic=lambda: self.now))
        self.waiting = waiting.Waiting()
        self.threads = {name: ThreadPoolExecutor(1) for name in ("one", "two", "three")}

    def does(self, name: str, call: Callable[[], Any]) -> Any:
        return self.threads[name].submit(call).result(PATIENCE)

    def may_look(self, name: str) -> Any:
        return self.does(name, self.waiting.may_look)

    def waits(self, name: str) -> Any:
        return self.does(name, lambda: self.waiting.has_this)

    def come(self, *names: str) -> None:
        for name in names:
            self.does(name, self.waiting.come)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    made = Line(monkeypatch)
    yield made
    for each in made.threads.values():
        each.shutdown()


def test_who_looks_in_time_keeps_its_place(line: Line) -> None:
    line.now = 5 * waiting.PATIENCE  # nobody has looked so long: nobody waited
    line.come("one", "two", "three")
    assert not line.may_look("two")
    for _ in range(3):
        line.now += waiting.PATIENCE
        assert line.may_look("one")
        assert not line.may_look("two")
    line.now += 5 * waiting.PATIENCE
    line.does("one", line.waiting.go)  # now it is another one's turn
    assert not line.may_look("three")
    assert line.waits("two")
    line.now += 2 * waiting.PATIENCE
    assert not line.may_look("three")
    assert not line.waits("two")
    assert line.may_look("three")


def test_who_comes_next_is_called_and_who_has_lost_its_place_goes_as_well(line: Line) -> None:
    line.come("one", "two", "three")
    called = line.threads["two"].submit(line.waiting.sleep, PATIENCE / 2)
    for _ in range(3):
        line.does("one", line.waiting.go)
    called.result(PATIENCE / 4)
    assert line.may_look("two")
