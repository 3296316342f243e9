"""Homes with slots in them: left by processes that died, held by processes that live, looked at from outside."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pqadapters.durability import Durability, Survives
from pqadapters.home import application, ground, idling, places, waiting
from pqadapters.home.adoption import QUEUE, Moved, adopt
from pqadapters.home.places import Spot, occupy
from pqadapters.home.private import PrivateStore
from pqadapters.live import is_left_behind
from pqadapters.store import Op, Order, Put
from pqadapters.stores._disk import Disk, ScratchDisk
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.slots import Slot, Slots

PATIENCE = 60.0
PLACE = "shop.orders"
#: What is put in tests was put then, in seconds since the epoch: order is told, never measured.
THEN = 1_700_000_000.0
#: Nothing is synced behind a test's back.
PROCESS = Durability(Survives.PROCESS, max_lag=10_000.0)


def put(item: object, at: float = 0.0, **fields: object) -> Put:
    """A record of a slot's queue, put `at` seconds after THEN."""
    return Put(QUEUE, str(item).encode(), put_at=THEN + at, **fields)  # type: ignore[arg-type]


def open_slots(directory: Path, disk: Disk | None = None) -> Slots:
    """The slots in a directory, which is made."""
    slots = Slots(str(directory), durability=PROCESS)
    slots._disk = disk or ScratchDisk()
    slots.prepare()
    return slots


def leave(directory: Path, *ops: Op, segment_bytes: int = 1 << 20, closed: bool = False) -> Path:
    """A slot as a process that was killed leaves it; `closed`: as one that ended well. Returns its directory."""
    open_slots(directory)
    number = next(number for number in range(10_000) if not (directory / str(number)).exists())
    store = SegmentStore(directory / str(number), disk=ScratchDisk(), durability=PROCESS, segment_bytes=segment_bytes)
    for at in range(0, len(ops), 1000):
        store.commit(*ops[at : at + 1000])
    if closed:
        store.close()
    else:
        store.discard()
    return directory / str(number)


def take_and_adopt(slots: Slots, *, transient: bool = False) -> tuple[Slot, Moved]:
    """A slot of ours, with all that nobody holds."""
    slot = slots.take()
    return slot, adopt(slots, slot, ends=is_left_behind, transient=transient)


def items(store: SegmentStore, queue: str = QUEUE, order: Order = Order.OLDEST) -> list[str]:
    """What is in a queue of a store, in order, whatever its state."""
    return [record.payload.decode("latin-1") for record in store.browse(queue, state=None, order=order)]


def everything(directory: Path, disk: Disk | None = None) -> list[str]:
    """What the next process finds, all of it moved into its slot, in order; it leaves nothing else behind."""
    slots = open_slots(directory, disk)
    slot, _ = take_and_adopt(slots)
    try:
        assert slot.store.damage == (), f"a crash was taken for damage: {slot.store.damage}"
        assert litter(slot) == []
        assert list(slot.store.scan("pqadapters.moved")) == []
        return items(slot.store)
    finally:
        slot.store.discard()


def litter(slot: Slot) -> list[str]:
    """What is beside the slot or in it, and no part of a store."""
    own = Path(slot.directory)
    beside = sorted(path.name for path in own.parent.iterdir() if path.name not in ("LOCK", "note", own.name))
    parts = (".seg", "LOCK", "checkpoint")
    return beside + sorted(path.name for path in own.iterdir() if not path.name.endswith(parts))


def tree(directory: Path) -> dict[str, tuple[int, bytes | None]]:
    """Everything below a directory by its path: mode and content. Locks are left out: to look is to lock."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(directory.rglob("*"))
        if path.name != "LOCK"
    }


# Processes


class Child:
    """A forked process that makes one call and ends. Both sides say lines to each other, and wait for them."""

    def __init__(self, call: Callable[[Child], object]) -> None:
        mine, theirs = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._run(call, mine[0], theirs[1], (mine[1], theirs[0]))
        os.close(mine[0])
        os.close(theirs[1])
        self._in, self._out = os.fdopen(theirs[0]), os.fdopen(mine[1], "w")
        self._status: int | None = None

    def _run(self, call: Callable[[Child], object], source: int, target: int, unused: tuple[int, int]) -> None:
        status = 1
        try:
            for fd in unused:
                os.close(fd)
            self.pid = os.getpid()
            self._in, self._out = os.fdopen(source), os.fdopen(target, "w")
            call(self)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def say(self, word: object) -> None:
        self._out.write(f"{word}\n")
        self._out.flush()

    def hear(self) -> str:
        """The other side's next line; "" when it has ended."""
        return self._in.readline().strip()

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)
        if number == signal.SIGKILL:
            self.wait()

    def wait(self) -> int:
        """Its exit status; a signal's number negative."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self._in.close()
            self._out.close()
        return self._status


@contextmanager
def child(call: Callable[[Child], object]) -> Iterator[Child]:
    """The call in a process of its own, killed at the end of the block if it still runs."""
    process = Child(call)
    try:
        yield process
    finally:
        if process._status is None:
            process.kill()


def holding(directory: Path, *ops: Op) -> Callable[[Child], None]:
    """For a child: takes a slot, puts, says its directory, and holds it until it hears a word."""

    def call(me: Child) -> None:
        slot = open_slots(directory).take()
        slot.store.commit(*ops)
        me.say(slot.directory)
        me.hear()

    return call


# This process


def begin_anew(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """This process as one that has just begun, of an application that keeps its queues in `home`."""
    monkeypatch.setenv("PQADAPTERS_HOME", str(home))
    monkeypatch.setattr(application, "_known", None)
    monkeypatch.setattr(ground, "_told", set())
    monkeypatch.setattr(waiting, "_looked", set())
    monkeypatch.setattr(waiting, "at_end", lambda function: None)  # a process that has an end is another one
    monkeypatch.setattr(places, "_alive", {})
    monkeypatch.setattr(places, "_transient", set())
    monkeypatch.setattr(places, "_made", set())
    idling.leave_all()


def private(name: str = PLACE, kind: type[Spot] = Spot, **options: object) -> PrivateStore:
    """The store of a queue that was made in the place."""
    return PrivateStore(occupy(name, kind), durability=PROCESS, **options)  # type: ignore[arg-type]


def place_directory(home: Path, name: str = PLACE, index: int = 0) -> Path:
    """Where the slots of a place are, in this process's application."""
    return home / application.application().name / places.directory_name(name, index)


def kill_a_process_that(call: Callable[[], object]) -> None:
    """Make a call in a process that is then killed."""

    def run(me: Child) -> None:
        call()
        me.say("done")
        me.hear()

    with child(run) as process:
        assert process.hear() == "done"


def ready(store: PrivateStore, queue: str = QUEUE) -> list[str]:
    return [record.payload.decode() for record in store.browse(queue)]


def two_slots(place: Path) -> None:
    for n in range(2):
        leave(place, put(f"old {n}", n))
