"""A crash behind each change that an adoption makes, and refusals: every item is there once, nothing is left over.

The tree holds what adoptions meet: slots that were killed and slots that were closed, in one segment and in many, one
whose items are all done, dead letters, delays, and an adopted slot of which a part had been moved over.
"""

from __future__ import annotations

import errno
import itertools
import logging
import random
import shutil
import signal
from pathlib import Path

import pytest

from pqadapters.durability import Durability, Survives
from pqadapters.errors import StoreError
from pqadapters.home import adoption
from pqadapters.home.adoption import DEAD, QUEUE
from pqadapters.store import Ack, Order, Set, State
from pqadapters.stores._disk import ScratchDisk
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.slots import Slot, Slots
from tests.home.world import PROCESS, Child, child, everything, items, leave, put, take_and_adopt

from .states import SECTOR
from .trees import Change, TreeDisk, build, die_at, power_cuts, refuse_at

ITEMS, INNER = 48, "adopted-7-0123abcd"
MANY = 90  #: changes, at least


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree that is adopted."""
    place = tmp_path_factory.mktemp("original") / "app" / "place-0"
    leave(place, *(put(f"{n:02d}".ljust(150), n) for n in range(0, ITEMS, 4)))  # the slot that is taken
    leave(place, *(put(f"{n:02d}", n) for n in range(1, ITEMS, 4)), closed=True)
    slot = leave(place, *(put(f"{n:02d}".ljust(900), n) for n in range(2, ITEMS, 4)), segment_bytes=4096)
    _add_done(slot, Order.NEWEST)
    done = leave(place)
    _add_done(done, Order.OLDEST)
    letters = [put(f"{n:02d}", n, note="why")._replace(queue=DEAD) for n in range(3)]
    leave(place, *letters, put("delayed", ITEMS, not_before=2e10), put("more", ITEMS + 1))
    _break_off(leave(place, *(put(f"{n:02d}", n) for n in range(3, 20, 4))), place)
    return place


def _add_done(slot: Path, order: Order) -> None:
    """Records that were done long ago, in segments apart from their acknowledgements."""
    store = SegmentStore(slot, disk=ScratchDisk(), durability="process", segment_bytes=4096)
    store.commit(*(put("done".ljust(700), 999) for _ in range(9)))
    store.commit(*map(Ack, store.claim(QUEUE, order=order, limit=9)))
    store.discard()


def _break_off(outer: Path, place: Path) -> None:
    """An adoption that died half-way: what is up to 19 was moved, the rest of it is in the adopted slot."""
    inner = leave(place, *(put(f"{n:02d}", n) for n in range(3, ITEMS, 4)))
    with SegmentStore(inner, disk=ScratchDisk()) as store:
        last = [record.id for record in store.browse(QUEUE)][4]
    inner.rename(outer / INNER)
    store = SegmentStore(outer, disk=ScratchDisk())
    store.commit(Set("pqadapters.moved", INNER.encode(), b'{"default": %d}' % last))
    store.discard()


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, adopted in commits of a few records."""
    monkeypatch.setattr(adoption, "_RECORDS", 9)
    return _copy(original, tmp_path / "place")


def _copy(original: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(original, target)
    for directory in (target, *(path for path in target.rglob("*") if path.is_dir())):
        directory.chmod(0o700)
    return target


EXPECTED = [f"{n:02d}" for n in range(ITEMS)] + ["delayed", "more"]


def check(place: Path) -> None:
    """What the next process finds."""
    found = [item.strip() for item in everything(place)]
    assert sorted(found) == sorted(EXPECTED)
    with SegmentStore(next(path for path in place.iterdir() if path.name.isdigit()), disk=ScratchDisk()) as store:
        assert sorted(items(store, DEAD)) == ["00", "01", "02"]
        assert {record.note for record in store.browse(DEAD)} == {"why"}
        assert [record.not_before for record in store.browse(QUEUE, state=State.DELAYED)] == [2e10]


def power_slots(place: Path, disk: TreeDisk) -> Slots:
    slots = Slots(str(place), durability=Durability(Survives.POWER))
    slots._disk = disk
    return slots


def adopt_and_leave(place: Path, disk: TreeDisk) -> None:
    """All that a process does with a slot."""
    slots = power_slots(place, disk)
    slot, _ = take_and_adopt(slots)
    slots.leave(slot, empty=False)


def killed_at(place: Path, nth: int) -> bool:
    """Whether a process that adopts was killed before its nth change, and hadn't ended before."""

    def call(me: Child) -> None:
        disk = TreeDisk(place)
        die_at(disk, nth)
        adopt_and_leave(place, disk)

    with child(call) as process:
        status = process.wait()
        assert status in (0, -signal.SIGKILL)
        return status != 0


def count_changes(place: Path) -> int:
    disk = TreeDisk(place)
    adopt_and_leave(place, disk)
    return len(disk.changes)


def test_without_a_crash(place: Path) -> None:
    disk = TreeDisk(place)
    adopt_and_leave(place, disk)
    check(place)
    kinds = [change.kind for change in disk.changes]
    assert len(kinds) > MANY
    assert {"link", "unlink", "write", "size", "sync"} == set(kinds)


def test_sigkill_before_each_change(place: Path, original: Path, caplog: pytest.LogCaptureFixture) -> None:
    for nth in itertools.count():
        killed = killed_at(place, nth)
        check(place)
        if not killed:
            break
        _copy(original, place)
    assert nth > MANY
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "a crash looks like damage"


def test_order_survives_sigkill(place: Path, original: Path) -> None:
    """The slot in which it was broken off is the fullest by then, or nothing had been moved yet."""
    for nth in range(0, 400, 7):
        killed = killed_at(place, nth)
        found = [item.strip() for item in everything(place)]
        assert [item for item in found if item.isdigit()] == EXPECTED[:ITEMS], f"killed before change {nth}"
        if not killed:
            return
        _copy(original, place)
    raise AssertionError("it never ended")


def test_sigkill_in_the_adoption_of_what_an_adoption_left(place: Path, original: Path) -> None:
    """Three processes, one after the other, and the slot of the first is adopted by the second: it is in use when the
    second takes one."""
    rng = random.Random(3)
    total = count_changes(place)
    for _ in range(40):
        _copy(original, place)
        killed_at(place, rng.randrange(10, total))
        leave(place, put("x" * 200_000), segment_bytes=1 << 20)  # fuller than any: the slot that is taken next
        killed_at(place, rng.randrange(10, total))
        found = [item.strip() for item in everything(place)]
        assert sorted(item for item in found if len(item) < 99) == sorted(EXPECTED)


def test_power_cuts(place: Path, original: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(7)
    disk = TreeDisk(place)
    adopt_and_leave(place, disk)
    for crash in sorted(rng.sample(range(1, len(disk.changes) + 1), 30)):
        for keep in power_cuts(disk, crash, rng, 3):
            build(disk, crash, keep, tmp_path / "ruin")
            check(tmp_path / "ruin")
            shutil.rmtree(tmp_path / "ruin")


def test_power_cuts_while_an_empty_slot_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its files go in an order that the disk keeps: a checkpoint without its segments looked like damage, and a segment
    without a later one, which has the acknowledgements, would bring back what was done long ago."""
    place = tmp_path / "app" / "place-0"
    _add_done(leave(place), Order.OLDEST)
    disk, rng = TreeDisk(place), random.Random(11)
    slots = Slots(str(place), durability=Durability(Survives.POWER), segment_bytes=4096)
    slots._disk = disk
    slot = slots.take()
    slot.store.commit(*(put("done".ljust(700), 999) for _ in range(18)))
    slot.store.checkpoint()
    slot.store.commit(*map(Ack, slot.store.claim(QUEUE, limit=18)))
    done = len(disk.changes)
    slots.leave(slot, empty=True)
    names = [change.before[1] for change in disk.changes if change.kind == "unlink" and change.before is not None]
    assert "checkpoint" in names
    for crash in range(1, len(disk.changes) + 1):
        for keep in power_cuts(disk, crash, rng, 10):
            build(disk, crash, keep, tmp_path / "ruin")
            assert crash < done or everything(tmp_path / "ruin") == []
            shutil.rmtree(tmp_path / "ruin")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "a crash looks like damage"


def test_a_power_cut_at_process_durability_that_leaves_a_hole(place: Path, tmp_path: Path) -> None:
    """The disk has a later write and not an earlier one: how far it got was known, and what was moved until then gone,
    with items that had been synced long before."""
    disk = TreeDisk(place)
    slots = Slots(str(place), durability=PROCESS)
    slots._disk = disk
    slots.leave(take_and_adopt(slots)[0], empty=False)
    holes, end = 0, len(disk.changes)
    for at, change in enumerate(disk.changes):
        synced = next((n for n in range(at, end) if disk.changes[n] == Change("sync", change.node)), end)
        kept = (change.at + len(change.data)) // SECTOR * SECTOR - change.at  # the sector that later writes have, too
        if change.kind == "write" and kept > 2 * SECTOR:
            disk.changes[at] = change._replace(at=change.at + kept, data=change.data[kept:])
            build(disk, synced, lambda n: True, tmp_path / "ruin")
            disk.changes[at] = change
            check(tmp_path / "ruin")
            shutil.rmtree(tmp_path / "ruin")
            holes += 1
    assert holes > 5


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "from then on"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_a_change_that_is_refused(
    place: Path, original: Path, code: int, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    """An error or a word in the log; and then it goes on, in this process or in the next one."""
    total = count_changes(place)
    for nth in range(0, total, 2 if times == 1 else 7):
        _copy(original, place)
        caplog.clear()
        disk = TreeDisk(place)
        refuse_at(disk, nth, code, times)
        slots = power_slots(place, disk)
        told = _go_on(slots, disk)
        assert told or caplog.records or _all_adopted(place), f"nobody was told of {disk.refused}"
        check(place)


def _all_adopted(place: Path) -> bool:
    (own,) = (path for path in place.iterdir() if path.name.isdigit())
    return not [path for path in own.iterdir() if path.is_dir()]


def _go_on(slots: Slots, disk: TreeDisk) -> bool:
    """Take and adopt, again where that fails; whether an error said so."""
    told = False
    for _ in range(2):
        slot: Slot | None = None
        try:
            slot = slots.take()
            adoption.adopt(slots, slot, ends=lambda payload: False, transient=False)
            slots.leave(slot, empty=False)
            return told
        except StoreError:
            told = True
            disk.before = lambda at, change: None
            if slot is not None:
                slot.store.close()
    return told
