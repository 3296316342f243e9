"""Slots on disk: no two processes share one, whoever lives keeps his, and what can't be used stays as it is."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import shutil
import signal
import stat
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, StoreClosed
from pqadapters.store import Ack, Put
from pqadapters.stores._disk import Disk, ScratchDisk
from pqadapters.stores.segment import SegmentStore, format
from pqadapters.stores.segment.slots import Slot, Slots

from ..contract.threads import Task
from .world import PATIENCE, Child, child, everything, holding, items, leave, open_slots, put, take_and_adopt, tree

PROCESSES, ROUNDS = 8, 12


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home" / "app" / "place-0"


# Whose is it


def _take_and_leave(place: Path, me: Child) -> None:
    slots = open_slots(place)
    while me.hear() == "take":
        slot = slots.take()
        me.say(slot.directory)
        assert me.hear() in ("leave", "leave it empty")
        slot.store.commit(put(me.pid))
        if slot.begun % 3:
            take_all(slot)
        slots.leave(slot, empty=not slot.store.depth("default").unfinished)
        me.say("left")


def take_all(slot: Slot) -> None:
    slot.store.commit(*map(Ack, slot.store.claim("default", limit=1000)))


def test_processes_that_race_never_share_a_slot(place: Path) -> None:
    with ExitStack() as stack:
        racers = [stack.enter_context(child(lambda me: _take_and_leave(place, me))) for _ in range(PROCESSES)]
        for _ in range(ROUNDS):
            for racer in racers:
                racer.say("take")
            taken = [racer.hear() for racer in racers]
            assert len(set(taken)) == PROCESSES, taken
            assert all(os.path.isdir(directory) for directory in taken)
            for racer in racers:
                racer.say("leave")
            assert [racer.hear() for racer in racers] == ["left"] * PROCESSES
        for racer in racers:
            racer.say("end")
            assert racer.wait() == 0


def test_processes_that_race_for_what_dead_ones_left(place: Path) -> None:
    """Each adopts what is free at that moment; in the end everything is there once."""

    def race(me: Child) -> None:
        slots = open_slots(place)
        me.hear()
        slot, _ = take_and_adopt(slots)
        me.say(" ".join(items(slot.store)))
        me.hear()

    for _ in range(4):
        left = {str(n) for n in range(12)}
        for n in sorted(left):
            leave(place, put(n))
        with ExitStack() as stack:
            racers = [stack.enter_context(child(race)) for _ in range(PROCESSES)]
            for racer in racers:
                racer.say("go")
            found = [racer.hear().split() for racer in racers]
        assert sorted(itertools.chain.from_iterable(found)) == sorted(left)
        assert sorted(everything(place)) == sorted(left)
        shutil.rmtree(place)


@pytest.mark.parametrize("stopped", [False, True], ids=["live", "stopped"])
def test_a_slot_of_a_process_that_lives_is_never_taken(place: Path, stopped: bool) -> None:
    with child(holding(place, put("theirs"))) as holder:
        theirs = holder.hear()
        if stopped:
            holder.kill(signal.SIGSTOP)
            os.waitpid(holder.pid, os.WUNTRACED)
        slot, moved = take_and_adopt(open_slots(place))
        assert slot.directory != theirs
        assert not any(moved)
        assert items(slot.store) == []
        slot.store.discard()
        if stopped:
            holder.kill(signal.SIGCONT)
        holder.say("end")
        assert holder.wait() == 0
    assert everything(place) == ["theirs"]


@pytest.mark.parametrize("who", ["a live process", "this one", "init", "nobody", "nonsense"])
def test_a_pid_that_was_used_again_deceives_nobody(place: Path, who: str) -> None:
    directories = [leave(place, put("first", 1)), leave(place, put("second", 2))]
    with child(lambda me: me.hear()) as live:
        pid = {"a live process": live.pid, "this one": os.getpid(), "init": 1, "nobody": 2**22 + 1}.get(who, "\0?")
        for directory in directories:
            (directory / "LOCK").write_text(f"{pid}\n")
        assert everything(place) == ["first", "second"]


def test_a_lock_that_names_a_dead_process_is_held_all_the_same(place: Path) -> None:
    with child(lambda me: None) as dead:
        dead.wait()
    with child(holding(place, put("theirs"))) as holder:
        theirs = Path(holder.hear())
        (theirs / "LOCK").write_text(f"{dead.pid}\n")
        slot, moved = take_and_adopt(open_slots(place))
        assert slot.directory != str(theirs)
        assert not any(moved)
        slot.store.discard()


def test_a_slot_that_cant_be_made_leaves_nothing(place: Path) -> None:
    """Each put that was tried again on a full disk left a directory, and each later one tried them all."""
    disk = _FullDisk()
    slots = open_slots(place, disk)
    with pytest.raises(DiskError, match="free some space"):
        slots.take()
    assert slots._numbers() == []
    disk.full = False
    assert slots.take().directory == str(place / "0")


class _FullDisk(ScratchDisk):
    full = True

    def write(self, fd: int, data: bytes, offset: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(fd, data, offset)


def test_the_fullest_slot_is_taken(place: Path) -> None:
    leave(place, put("a little"), closed=True)
    full = leave(place, put("x" * 5000), closed=True)
    leave(place, closed=True)
    assert open_slots(place).take().directory == str(full)


def test_names_that_are_no_numbers_of_ours_are_no_slots(place: Path) -> None:
    open_slots(place)
    for name in ("007", "-1", "1.5", "٣", "1e3", "99999999999"):
        (place / name).mkdir()
    before = tree(place)
    slot, _ = take_and_adopt(open_slots(place))
    assert os.path.basename(slot.directory) == "0"
    slot.store.discard(remove=True)
    assert tree(place) == before


# Leaving


def test_an_empty_slot_is_taken_away(place: Path) -> None:
    slots = open_slots(place)
    slots.leave(slots.take(), empty=True)
    assert [path.name for path in place.iterdir()] == ["LOCK"]


@pytest.mark.parametrize("remains", [True, False], ids=["a put", "a put that is acknowledged"])
def test_a_slot_that_is_left_in_the_middle_of_a_put(remains: bool, place: Path) -> None:
    """By a signal handler that closes what has it. It looked empty, and went with the record that was being put."""
    slots = open_slots(place)
    slot = slots.take()
    store = slot.store
    real = store._core.disk.write

    def write(fd: int, data: bytes, offset: int) -> None:
        store._core.disk.write = real  # type: ignore[method-assign]
        slots.leave(slot, empty=True, unless=lambda: bool(store.depth("default").unfinished))
        real(fd, data, offset)

    if not remains:
        store.commit(Put("default", b"x"))
        (claim,) = store.claim("default")
    store._core.disk.write = write  # type: ignore[method-assign]
    store.commit(Put("default", b"x") if remains else Ack(claim))
    with pytest.raises(StoreClosed):
        store.depth("default")
    assert os.path.exists(slot.directory) == remains
    if remains:
        assert slots.take().store.depth("default").ready == 1


class Announcing:
    """A lock that says when somebody comes to it."""

    def __init__(self, lock: Any) -> None:
        self.lock, self.came = lock, threading.Event()

    def __enter__(self) -> None:
        self.came.set()
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lock, name)


def test_who_leaves_a_slot_keeps_nobody_out_of_the_directory_while_its_store_is_busy(place: Path) -> None:
    """The thread that is busy there may be the one that wants in: a finalizer of it, in the middle of a commit, that
    opens another slot. Each waited for the other."""
    slots = open_slots(place)
    slot = slots.take()
    lock: Any = Announcing(slot.store._core.lock)
    slot.store._core.lock = lock
    with lock.lock:
        leaving = Task(lambda: slots.leave(slot, empty=True), patience=PATIENCE)
        assert lock.came.wait(PATIENCE)
        other = Task(open_slots(place).take, patience=PATIENCE).result()
        assert leaving.running
    leaving.result()
    assert other.directory != slot.directory
    assert not os.path.exists(slot.directory)


@pytest.mark.parametrize("name", ["damaged-0000000000000001-64.bin", "adopted-3-0123abcd"])
def test_what_was_put_aside_or_not_moved_yet_keeps_an_empty_slot(place: Path, name: str) -> None:
    slots = open_slots(place)
    slot = slots.take()
    kept = Path(slot.directory, name)
    kept.mkdir() if name.startswith("adopted") else kept.write_bytes(b"?")
    slots.leave(slot, empty=True)
    assert kept.exists()
    assert slots.take().directory == slot.directory


class Dying(ScratchDisk):
    """Ends its process at the nth removal."""

    left = 0

    def unlink(self, path: str) -> None:
        self._live()
        super().unlink(path)

    def rmdir(self, path: str) -> None:
        self._live()
        super().rmdir(path)

    def _live(self) -> None:
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


def test_a_process_that_is_killed_while_it_takes_its_slot_away(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing comes back that was done, and nothing looks like damage."""
    store = SegmentStore(place / "0", disk=ScratchDisk(), segment_bytes=4096, durability="process")
    for n in range(300):
        store.commit(put(n))
    take_all(Slot("", store, 0))
    store.checkpoint()
    store.commit(put("one more"))
    take_all(Slot("", store, 0))
    store.close()
    original = tree(place)
    for place_of_death in range(len(original) + 2):
        disk = Dying()
        disk.left = place_of_death

        def end(me: Child, disk: Disk = disk) -> None:
            slots = open_slots(place, disk)
            slots.leave(slots.take(), empty=True)

        with child(end) as process:
            killed = process.wait() == -signal.SIGKILL
        assert killed == (place_of_death <= len(original)), "the test has missed the end, or has gone beyond it"
        assert everything(place) == []
        assert not caplog.records
        shutil.rmtree(place)
        _build(original, place)


def _build(content: dict[str, tuple[int, bytes | None]], directory: Path) -> None:
    directory.mkdir(parents=True)
    for name, (mode, data) in content.items():
        if data is None:
            (directory / name).mkdir()
        else:
            (directory / name).write_bytes(data)
        os.chmod(directory / name, stat.S_IMODE(mode))


# Slots that can't be used


def _both_headers_gone(slot: Path) -> None:
    (segment,) = slot.glob("*.seg")
    data = segment.read_bytes()
    segment.write_bytes(b"\xff" * format.DATA + data[format.DATA :])


def _newer_format(slot: Path) -> None:
    (segment,) = slot.glob("*.seg")
    data = bytearray(segment.read_bytes())
    version = data[:64].index(bytes([format.VERSION]), 4)
    for copy in (0, format.HEADER_COPY):
        data[copy + version] = format.VERSION + 1
    segment.write_bytes(data)


def _foreign_file(slot: Path) -> None:
    (slot / "thesis.odt").write_text("42")


def _somebody_elses(slot: Path) -> None:
    os.chown(slot, 12345, -1)


UNUSABLE = {
    "both headers gone": _both_headers_gone,
    "a newer format": _newer_format,
    "a foreign file": _foreign_file,
    "another user's": _somebody_elses,
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_slot_that_cant_be_used_is_passed_over(place: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    if what == "another user's" and os.geteuid():
        pytest.skip("only root can give a directory away")
    bad = leave(place, put("x" * 9000))
    good = leave(place, put("good"))
    UNUSABLE[what](bad)
    before = tree(bad)
    slots = open_slots(place)
    assert slots.take().directory == str(good)
    assert tree(bad) == before
    assert [record.levelno >= logging.WARNING and str(bad) in record.getMessage() for record in caplog.records] == [
        True
    ]


def test_a_file_in_place_of_a_slot_is_passed_over(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_slots(place)
    (place / "0").write_text("not mine")
    slot, _ = take_and_adopt(open_slots(place))
    assert os.path.basename(slot.directory) == "1"
    assert (place / "0").read_text() == "not mine"
    assert str(place / "0") in caplog.text


def test_a_file_in_place_of_an_adopted_slot_is_passed_over(place: Path) -> None:
    """It kept every get of the place from what was there."""
    leave(place, put(1))
    (place / "0" / "adopted-1-00000000").touch()
    slots = open_slots(place)
    slot = slots.take()
    assert slots.adopt(slot) == []
    assert items(slot.store) == ["1"]


def test_a_slot_that_somebody_removed_is_an_error_that_says_so(place: Path) -> None:
    """It was a bare FileNotFoundError, out of a get."""
    slots = open_slots(place)
    slot = slots.take()
    shutil.rmtree(place.parent)
    with pytest.raises(DiskError, match="can't list the directory of the store: No such file") as caught:
        slots.adopt(slot)
    assert caught.value.filename == slot.directory


def test_a_link_in_place_of_a_slot_is_passed_over(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It was followed: an empty directory became a slot, and in any other one a lock was left."""
    place.mkdir(parents=True)
    elsewhere = place.with_name("elsewhere")
    elsewhere.mkdir()
    (place / "0").symlink_to(elsewhere)
    slot = open_slots(place).take()
    assert Path(slot.directory).name == "1"
    assert os.listdir(elsewhere) == []
    assert "0 is passed over: it is a symbolic link" in caplog.text
    slot.store.close()


def test_another_users_slot_is_taken_where_the_directory_is_trusted(place: Path) -> None:
    theirs = leave(place, put("x"))
    if not os.geteuid():
        os.chown(theirs, 12345, -1)
    slots = Slots(str(place), trust_directory=True)
    slot = slots.take()
    assert items(slot.store) == ["x"]
    slot.store.close()


def test_what_was_moved_takes_no_slot_of_another_process_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who moves a home, or a spool, aside while a process has it: at its end that one removed the slot that another one
    had in the old place by then, with all that was in it."""
    old = open_slots(tmp_path / "place")
    moved = old.take()
    (tmp_path / "place").rename(tmp_path / "aside")
    slots = open_slots(tmp_path / "place")
    slot = slots.take()
    slot.store.commit(put("x"))
    old.leave(moved, empty=True)
    assert "can't be removed" in caplog.text
    assert slot.directory == moved.directory
    slots.leave(slot, empty=False)
    slot = slots.take()
    assert items(slot.store) == ["x"]
    slot.store.close()
