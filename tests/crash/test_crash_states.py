"""A crash behind each action that a workload makes on the disk, in each state that it may leave there (I1 to I8)."""

from __future__ import annotations

import errno
import os
import random
from functools import partial
from pathlib import Path

import pytest

from pqadapters.durability import Durability
from pqadapters.errors import DiskError, StorePoisoned
from pqadapters.store import Ack
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.log import SPARE

from .faulty import Action, FaultyDisk
from .history import Player
from .promises import POWER, PROCESS, Ruins, check, die, look, record
from .states import Snapshot, State, cut_writes, distinct
from .workloads import WORKLOADS, letters, tables

workloads = pytest.mark.parametrize("workload", WORKLOADS)
durabilities = pytest.mark.parametrize("durability", [POWER, PROCESS], ids=["power", "process"])

#: How many crashes of a workload are looked at, and how many random mixtures at each.
CRASHES, SAMPLES = 24, 3


def _crashes(disk: FaultyDisk, rng: random.Random) -> list[int]:
    """After how many actions it crashes: everywhere, or in a sample."""
    all_of_them = range(1, len(disk.actions) + 1)
    return list(all_of_them) if len(all_of_them) <= CRASHES else sorted(rng.sample(all_of_them, CRASHES))


@workloads
@durabilities
def test_i1_sigkill(workload: str, durability: Durability, tmp_path: Path, in_memory: Path) -> None:
    player, ruins = record(tmp_path / "store", workload, durability), Ruins(in_memory / "ruins")
    rng = random.Random(workload)
    for crash in _crashes(player.disk, rng):
        fates = player.fates(crash, power_cut=False)
        for state in distinct([Snapshot(player.disk, crash).killed(), *cut_writes(player.disk, crash, rng)]):
            check(player, fates, state, ruins)


@workloads
@durabilities
def test_i1_power_cut(workload: str, durability: Durability, tmp_path: Path, in_memory: Path) -> None:
    player, ruins = record(tmp_path / "store", workload, durability), Ruins(in_memory / "ruins")
    rng = random.Random(workload)
    for crash in _crashes(player.disk, rng):
        fates = player.fates(crash, power_cut=True)
        for state in distinct(Snapshot(player.disk, crash).power_cut(rng, SAMPLES)):
            check(player, fates, state, ruins)


@workloads
def test_a_crash_in_the_middle_of_recovery(workload: str, tmp_path: Path, in_memory: Path) -> None:
    """Whatever recovery had done, the next one finds the same."""
    player, ruins = record(tmp_path / "store", workload, PROCESS), Ruins(in_memory / "ruins")
    rng = random.Random(workload)
    crashes = rng.sample(range(1, len(player.disk.actions) + 1), 12)
    for crash in crashes:
        for state in rng.sample(list(distinct(Snapshot(player.disk, crash).power_cut(rng, SAMPLES))), 1):
            _crash_again(state, ruins, rng)


def test_a_crash_while_segments_that_are_done_with_are_removed(tmp_path: Path, in_memory: Path) -> None:
    """The checkpoint is there, and several segments that it has no need of: they go one by one."""
    player, ruins = record(tmp_path / "store", "unpinning", PROCESS), Ruins(in_memory / "ruins")
    removals = [at for at, action in enumerate(player.disk.actions) if action.kind == "unlink"]
    assert len(removals) > 1
    _crash_again(Snapshot(player.disk, removals[0]).killed(), ruins, random.Random(5))


def test_a_power_cut_while_a_full_disk_makes_an_empty_segment_the_last_one(tmp_path: Path, in_memory: Path) -> None:
    """Only what stands in the last one may be torn: what the drained one had is on the disk before there is another."""

    def full(action: Action, before: int) -> OSError | None:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if action.kind == "allocate" else None

    os.mkdir(tmp_path / "store")
    disk, rng = FaultyDisk(str(tmp_path / "store")), random.Random(6)
    player = Player(disk, lambda: SegmentStore(tmp_path / "store", durability=PROCESS, disk=disk), power=False)
    player.put(3, size=9000)
    player.ack(3, lazy=True)
    disk.refuse, first = full, len(disk.actions)
    with pytest.raises(DiskError):
        player.put(size=60_000)
    assert any(action.kind == "unlink" for action in disk.actions[first:]), "the drained one is still there"
    ruins = Ruins(in_memory / "ruins")
    for crash in range(first, len(disk.actions) + 1):
        fates = player.fates(crash, power_cut=True)
        for state in distinct(Snapshot(disk, crash).power_cut(rng, SAMPLES)):
            check(player, fates, state, ruins)


@pytest.mark.parametrize("power_cut", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("segments", [1, 2])
def test_a_crash_while_a_full_disk_moves_what_little_is_live(
    segments: int, power_cut: bool, tmp_path: Path, in_memory: Path
) -> None:
    """Out of the only segment into one that is begun in its room, or into the reserve."""

    def full(action: Action, before: int) -> OSError | None:
        is_refused = action.kind == "allocate" and action.at > SPARE
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if is_refused else None

    os.mkdir(tmp_path / "store")
    disk, rng, size = FaultyDisk(str(tmp_path / "store")), random.Random(8), segments * 30_000
    store = partial(SegmentStore, tmp_path / "store", durability=PROCESS, disk=disk, segment_bytes=1 << 16)
    player = Player(disk, store, power=False)
    tables(player)
    letters(player)
    player.put(4 * segments, size=9000)
    player.commit(*map(Ack, player.claim(99)))
    assert isinstance(player.store, SegmentStore)
    log = player.store._core.log
    assert (len(log.segments), log.segments[0].live > 5) == (segments, True)
    player.claim(queue="s")
    disk.refuse, first = full, len(disk.actions)
    for _ in range(2):
        with pytest.raises(DiskError):
            player.put(size=size)
    assert any(action.kind == "unlink" and action.name.endswith("1.seg") for action in disk.actions[first:])
    ruins = Ruins(in_memory / "ruins")
    for crash in range(first, len(disk.actions) + 1):
        fates, snapshot = player.fates(crash, power_cut=power_cut), Snapshot(disk, crash)
        for state in distinct(snapshot.power_cut(rng, SAMPLES) if power_cut else [snapshot.killed()]):
            check(player, fates, state, ruins)


@durabilities
def test_power_cuts_in_and_behind_the_close_of_short_programs(
    durability: Durability, tmp_path: Path, in_memory: Path
) -> None:
    """The checkpoint that each leaves to the next one isn't synced, nor is the mark behind the log."""
    os.mkdir(tmp_path / "store")
    disk, rng = FaultyDisk(str(tmp_path / "store")), random.Random(9)
    store = partial(SegmentStore, tmp_path / "store", durability=durability, disk=disk, segment_bytes=1 << 16)
    player, ends = Player(disk, store, power=durability is POWER), [0]
    for puts, acks in ((30, 30), (3, 0), (27, 30), (2, 1), (0, 1)):  # some of them leave nothing, and begin a segment
        player.put(puts, size=900)
        player.commit(*(Ack(claim, lazy=True) for claim in player.claim(acks))) if acks else None
        begin = len(disk.actions)
        player.reopen()
        ends += range(begin, len(disk.actions) + 1)
    assert sum(action.target == "checkpoint" for action in disk.actions) > 4
    ruins = Ruins(in_memory / "ruins")
    for crash in ends:
        fates = player.fates(crash, power_cut=True)
        for state in distinct(Snapshot(disk, crash).power_cut(rng, 1)):
            check(player, fates, state, ruins)


def test_i1_a_power_cut_behind_a_process_that_died_before_it_had_synced_a_name(tmp_path: Path, in_memory: Path) -> None:
    """The next process finds a segment, and writes to it: the name may be in memory alone."""
    os.mkdir(tmp_path / "store")
    disk, rng = FaultyDisk(str(tmp_path / "store")), random.Random(7)

    def reopen() -> SegmentStore:
        return SegmentStore(tmp_path / "store", durability=POWER, segment_bytes=4096, disk=disk)

    def killed(action: Action, before: int) -> OSError | None:
        gone = any(each.target == f"{2:016d}.seg" for each in disk.actions)
        return OSError(errno.EIO, os.strerror(errno.EIO)) if gone else None

    player = Player(disk, reopen, power=True)
    disk.refuse = killed
    with pytest.raises(StorePoisoned):
        player.put(9, size=900)
    assert isinstance(player.store, SegmentStore)
    die(player.store)
    disk.refuse = None
    player.store = reopen()
    player.put()
    count, ruins = len(disk.actions), Ruins(in_memory / "ruins")
    for state in distinct(Snapshot(disk, count).power_cut(rng, SAMPLES)):
        check(player, player.fates(count, power_cut=True), state, ruins)


def _crash_again(state: State, ruins: Ruins, rng: random.Random) -> None:
    with ruins.build(state) as directory:
        disk = FaultyDisk(str(directory))
        view = look(directory, disk)
    seen: set[int] = set()
    for crash in range(1, len(disk.actions) + 1):
        for again in distinct(Snapshot(disk, crash).power_cut(rng, SAMPLES), seen):
            with ruins.build({name: data for name, data in again.items() if name != "checkpoint"}) as directory:
                assert look(directory) == view, f"without a checkpoint it is something else: {disk.actions}"
            with ruins.build(again) as directory:
                assert look(directory) == view, f"a crash in the middle of recovery changed it: {disk.actions}"
