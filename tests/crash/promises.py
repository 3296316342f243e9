"""What is looked at in a directory that a crash has left: the promises of `store.py`, by their numbers."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pqadapters.durability import Durability, Survives
from pqadapters.store import Ack, Order, Put
from pqadapters.stores.segment import SegmentStore

from .faulty import FaultyDisk
from .history import Fate, Player, View
from .states import State
from .workloads import QUEUES, TABLES

#: No background sync: what is on the disk when is for the test to say.
PROCESS = Durability(Survives.PROCESS, max_lag=10_000.0)
POWER = Durability(Survives.POWER)


def record(directory: Path, workload: str, durability: Durability) -> Player:
    """Carry out a workload in a fresh store; its history, with the disk's."""
    from .workloads import WORKLOADS

    os.mkdir(directory)
    disk = FaultyDisk(str(directory))

    def reopen() -> SegmentStore:
        return SegmentStore(directory, durability=durability, segment_bytes=4096, disk=disk)

    player = Player(disk, reopen, power=durability is POWER)
    WORKLOADS[workload](player)
    return player


class Ruins:
    """Directories in which crash states are built and opened."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._numbers = itertools.count()
        place.mkdir()

    @contextlib.contextmanager
    def build(self, state: State) -> Iterator[Path]:
        directory = self._place / str(next(self._numbers))
        directory.mkdir(0o700)
        for name, data in state.items():
            (directory / name).write_bytes(data)
        yield directory
        shutil.rmtree(directory)


def contents(directory: Path) -> State:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.name != "LOCK"}


def look(directory: Path, disk: FaultyDisk | None = None) -> View:
    """Open, look, and leave without a close, as a process that is killed does. A crash is no damage (I8)."""
    store = SegmentStore(directory, disk=disk or FaultyDisk(str(directory)), segment_bytes=4096)
    try:
        assert store.damage == (), f"a crash was taken for damage: {store.damage}"
        return View(store, QUEUES, TABLES)
    finally:
        die(store)


def die(store: SegmentStore) -> None:
    """Let go of a store as SIGKILL does: without a word to the disk."""
    from pqadapters.errors import StoreClosed
    from pqadapters.stores.segment import core as segment

    core = store._core
    for each in core.log.segments:
        if each.fd >= 0:
            core.disk.close(each.fd)
    core.log.trouble = StoreClosed("killed")
    core._hold.close()
    segment._cores.forget(core)


def check(player: Player, fates: list[Fate], state: State, ruins: Ruins) -> None:
    """All promises for one state that a crash may have left."""
    with ruins.build(state) as directory:
        view = look(directory)
        problems = player.problems(view, fates)
        assert not problems, problems
        assert not list(directory.glob("*.tmp")), "what was being written is still there"
        _check_order(view)
        assert look(directory) == view, "a second recovery sees something else"
        if (directory / "checkpoint").exists():
            (directory / "checkpoint").unlink()
            assert look(directory) == view, "without the checkpoint there is something else"
        _check_use(directory, view, player.last_known_id(fates))
    with ruins.build({name: data for name, data in state.items() if name != "checkpoint"}) as directory:
        problems = player.problems(look(directory), fates)
        assert not problems, f"without a checkpoint: {problems}"


def _check_order(view: View) -> None:
    """I4, by id; a second time the same id must not be met (I3)."""
    for queue in {record.queue for record in view.records}:
        ids = [record.id for record in view.records if record.queue == queue]
        ready = [record.id for record in view.records if record.queue == queue and record.state.value == "ready"]
        assert ready == sorted(ready), f"the order of {queue} is lost"
        assert len(ids) == len(set(ids))


def _check_use(directory: Path, view: View, last_known: int) -> None:
    """The store is as good as new: what is in it can be drained, and what is put stays."""
    disk = FaultyDisk(str(directory))
    with SegmentStore(directory, disk=disk, segment_bytes=4096) as store:
        (new,) = store.commit(Put("q", b"new"))
        assert new > max([last_known, *(record.id for record in view.records)]), "an id was used again (I6)"
        for queue, order in itertools.product((*QUEUES, *(f"{queue}.dead" for queue in QUEUES)), Order):
            store.commit(*(Ack(claim) for claim in store.claim(queue, order=order, limit=2)))
        rest = View(store, QUEUES, TABLES)
    with SegmentStore(directory, disk=disk, segment_bytes=4096) as store:
        assert View(store, QUEUES, TABLES) == rest
        assert store.damage == ()
