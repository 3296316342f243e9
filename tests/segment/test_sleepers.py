"""Who is woken behind an fdatasync. A thread that sleeps here sleeps for ever, unless it is woken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import StoreClosed
from pqadapters.store import Put
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import SegmentStore, sleepers
from pqadapters.stores.segment.sleepers import Sleepers

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sleepers, "_OVERSLEPT", 10 * PATIENCE)


class Ward:
    """Sleepers, each in a thread of its own, that leave when they are told to."""

    def __init__(self) -> None:
        self.lock, self.sleepers = threading.RLock(), Sleepers()
        self.woken: dict[str, threading.Event] = {}
        self.leaves: dict[str, threading.Event] = {}
        self.threads: list[threading.Thread] = []

    def lay(self, name: str, sequence: int) -> None:
        self.woken[name], self.leaves[name] = threading.Event(), threading.Event()
        with self.lock:
            before = len(self.sleepers._all)
        thread = threading.Thread(target=self._sleep, args=(name, sequence), daemon=True)
        thread.start()
        self.threads.append(thread)
        self._until(lambda: len(self.sleepers._all) > before)

    def _until(self, true: Callable[[], bool]) -> None:
        for _ in range(6000):
            with self.lock:
                if true():
                    return
            threading.Event().wait(0.01)
        raise AssertionError("it never came to that")

    def _sleep(self, name: str, sequence: int) -> None:
        with self.lock:
            sleeper = self.sleepers.sleep(sequence, self.lock)
        self.woken[name].set()
        self.leaves[name].wait(PATIENCE)
        with self.lock:
            self.sleepers.leave(sleeper)

    def asleep(self) -> list[int]:
        with self.lock:
            return [sleeper.sequence for sleeper in self.sleepers._all]

    def wakes(self, name: str) -> None:
        assert self.woken[name].wait(PATIENCE)


@pytest.fixture
def ward() -> Iterator[Ward]:
    ward = Ward()
    yield ward
    for each in ward.leaves.values():
        each.set()
    with ward.lock:
        ward.sleepers.wake(1000)
    for thread in ward.threads:
        thread.join(PATIENCE)


def test_those_that_have_what_they_want_are_woken_and_one_other(ward: Ward) -> None:
    for name, sequence in (("a", 5), ("b", 9), ("c", 6), ("d", 10)):
        ward.lay(name, sequence)
    with ward.lock:
        ward.sleepers.wake(6)
    for name in "acb":
        ward.wakes(name)
    assert ward.asleep() == [10]


def test_a_turn_that_was_not_taken_is_the_next_ones(ward: Ward) -> None:
    """Somebody had synced meanwhile with the lock held: the others would sleep until the next commit."""
    for name in "abc":
        ward.lay(name, 5)
    with ward.lock:
        ward.sleepers.wake(0)
    for name, left in (("a", 2), ("b", 1), ("c", 0)):
        ward.wakes(name)
        assert len(ward.asleep()) == left
        ward.leaves[name].set()


def test_a_turn_that_was_taken_is_nobodys(ward: Ward) -> None:
    for name in "ab":
        ward.lay(name, 5)
    with ward.lock:
        ward.sleepers.wake(0)
        ward.sleepers.turn_taken()
    ward.wakes("a")
    ward.leaves["a"].set()
    ward.threads[0].join(PATIENCE)
    assert ward.asleep() == [5]


class Interrupting(int):
    """A sequence that is compared in the middle of a wake-up."""

    meanwhile: Callable[[], object]

    def _compared(self) -> int:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return int(self)

    def __le__(self, other: int) -> bool:
        return self._compared() <= other

    def __gt__(self, other: int) -> bool:
        return self._compared() > other


@pytest.mark.parametrize("synced", [False, True])
def test_who_comes_in_the_middle_of_a_wake_up_is_woken_as_well(synced: bool, ward: Ward) -> None:
    """A finalizer that logs syncs there, with the lock free; whoever came was given the turn, and slept a second."""
    first = Interrupting(3)

    def sync() -> None:
        ward.lock.release()
        ward.lay("new", 9)
        ward.lock.acquire()
        if synced:
            ward.sleepers.wake(4)

    first.meanwhile = sync
    ward.lay("first", first)
    with ward.lock:
        ward.sleepers.wake(5)
    ward.wakes("first")
    ward.wakes("new")
    assert ward.asleep() == []


def test_an_interrupt_leaves_no_sleeper_and_passes_the_turn_on(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.lay("b", 5)

    def interrupt(lock: Any, call: object) -> None:
        ward.sleepers._all.reverse()
        ward.sleepers.wake(0)  # it is the turn of the one that is interrupted just now
        raise KeyboardInterrupt

    monkeypatch.setattr(sleepers, "unlocked", interrupt)
    with ward.lock, pytest.raises(KeyboardInterrupt):
        ward.sleepers.sleep(5, ward.lock)
    ward.wakes("b")
    assert ward.asleep() == []


def test_who_oversleeps_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose turn it is may stand in a signal handler that waits for this thread."""
    monkeypatch.setattr(sleepers, "_OVERSLEPT", 0.001)
    lock, some = threading.RLock(), Sleepers()
    with lock:
        some.sleep(5, lock)
        assert not some._all


class GatedDisk(Disk):
    """Each sync waits until it is let on, once `gated`."""

    def __init__(self) -> None:
        self.gated, self.begun, self.let_on, self.syncs = False, threading.Semaphore(0), threading.Semaphore(0), 0

    def sync(self, fd: int) -> None:
        if self.gated:
            self.syncs += 1
            self.begun.release()
            assert self.let_on.acquire(timeout=PATIENCE)
        super().sync(fd)


def test_one_sync_brings_all_that_came_during_the_last(tmp_path: Path) -> None:
    disk = GatedDisk()
    with SegmentStore(tmp_path / "store", disk=disk) as store:
        store.commit(Put("q", b""))
        disk.gated = True
        threads = [threading.Thread(target=store.commit, args=(Put("q", b"x"),), daemon=True) for _ in range(9)]
        threads[0].start()
        assert disk.begun.acquire(timeout=PATIENCE)
        for thread in threads[1:]:
            thread.start()
        log = store._core.log
        while len(log._sleepers._all) < 8:
            threads[1].join(0.01)
        disk.let_on.release()
        assert disk.begun.acquire(timeout=PATIENCE)
        disk.let_on.release()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert disk.syncs == 2
        disk.gated = False


@pytest.mark.parametrize("ended", ["closed", "removed"])
def test_a_store_that_is_ended_in_the_middle_of_a_sync(ended: str, tmp_path: Path) -> None:
    """The sync goes well, and so does the put; no descriptor stays open, and nobody else's is looked at."""
    disk, results = GatedDisk(), list[object]()
    store = SegmentStore(tmp_path / "store", disk=disk)
    store.commit(Put("q", b""))
    core, disk.gated = store._core, True
    thread = threading.Thread(target=lambda: results.append(store.commit(Put("q", b"x"))), daemon=True)
    thread.start()
    assert disk.begun.acquire(timeout=PATIENCE)
    disk.gated = False
    if ended == "closed":
        store.close()
    else:
        store.discard(remove=True)
    with open(tmp_path / "other", "wb") as other:
        (tmp_path / "other").unlink()
        disk.let_on.release()
        thread.join(PATIENCE)
        assert not other.closed
    assert len(results) == 1
    assert isinstance(core.log.trouble, StoreClosed)
    assert not core.log._retired
