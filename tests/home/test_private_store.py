"""The store of an unnamed queue: the slot is taken at the first put, what was left is there at the first look."""

from __future__ import annotations

import errno
import os
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from pqadapters.errors import DiskError, NoHome, StoreClosed
from pqadapters.home import application, ground, idling
from pqadapters.home import private as module
from pqadapters.home.adoption import DEAD, QUEUE
from pqadapters.home.listing import homes
from pqadapters.store import Ack, Nack, Op
from pqadapters.stores.segment.slots import Slots
from pqadapters.stores.segment.store import SegmentStore
from tests.queue.background import Background

from .world import (
    PATIENCE,
    PLACE,
    begin_anew,
    leave,
    private,
    put,
    ready,
    two_slots,
)


@pytest.fixture
def usr1() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Sets what the signal does."""
    before = signal.getsignal(signal.SIGUSR1)

    def on_signal(call: Callable[[], object]) -> None:
        signal.signal(signal.SIGUSR1, lambda number, frame: call())

    yield on_signal
    signal.signal(signal.SIGUSR1, before)


# Taking


def test_nothing_is_touched_before_the_first_use(home: Path) -> None:
    store = private()
    assert not home.exists()
    assert "nothing was put yet" in store.place
    store.close()
    assert not home.exists()


def test_a_first_put_takes_a_slot_and_leaves_the_others_alone(place: Path) -> None:
    leave(place, put("x" * 5000, 0))
    other = leave(place, put("other", 1))
    store = private()
    store.commit(put("new"))
    assert store.place == str(place / "0")
    assert other.is_dir()
    assert ready(store) == ["x" * 5000, "other", "new"]
    assert not other.exists()
    store.close()


@pytest.mark.parametrize("what", [(module.PrivateStore, "_clear_up"), (ground.Ground, "_know")])
def test_a_slot_that_cant_be_made_ready_is_let_go_of(
    place: Path, what: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although somebody keeps the error: what is put then must not overtake, in another one, what waits there."""
    leave(place, put("old", 0))
    store = private()
    with monkeypatch.context() as patch:
        patch.setattr(*what, Mock(side_effect=DiskError(errno.EIO, "broken", "somewhere")))
        with pytest.raises(DiskError) as kept:
            store.commit(put("new"))
    store.commit(put("new"))
    assert kept.value.errno == errno.EIO
    assert store.place == str(place / "0")
    assert ready(store) == ["old", "new"]
    store.close()


def test_the_first_claim_of_what_was_left_is_counted_and_any_other_if_asked_for(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be what has ended the last run."""
    counted: list[bool] = []
    claim = SegmentStore.claim

    def noting(self: SegmentStore, queue: str, **options: Any) -> Any:
        counted.append(options["counted"])
        return claim(self, queue, **options)

    leave(place, put("x", 0))
    monkeypatch.setattr(SegmentStore, "claim", noting)
    with private() as store:
        store.claim(QUEUE)
    with private("shop.others") as store:
        store.commit(put("new"), put("new"))
        store.claim(QUEUE)
        store.claim(QUEUE, counted=True)  # max_attempts= was given, say
    assert counted == [True, False, True]


def test_one_that_is_closed_is_held_no_more(place: Path) -> None:
    """Neither at the process's end."""
    store = private()
    store.commit(put("x"))
    assert [each.pid for each in homes()] == [os.getpid()]
    store.close()
    assert [(each.pid, each.items) for each in homes()] == [(None, 1)]
    store.put_down()


def test_an_empty_one_is_taken_away_and_a_full_one_is_kept(place: Path, restart: Callable[[], None]) -> None:
    store = private()
    store.commit(put("x"))
    store.close()
    assert (place / "0").is_dir()
    restart()
    again = private()
    again.commit(*map(Ack, again.claim(QUEUE)))
    again.close()
    again.close()
    assert not (place / "0").exists()
    with pytest.raises(StoreClosed, match=PLACE):
        again.commit(put("y"))


@pytest.mark.parametrize("what", ["item", "letter", "claim"])
def test_a_slot_with_anything_in_it_is_kept(place: Path, what: str) -> None:
    store = private()
    store.commit(put("x"))
    if what != "item":
        (claim,) = store.claim(QUEUE)
        if what == "letter":
            store.commit(Nack(claim, dead="why"))
    store.close()
    assert (place / "0").is_dir()


def test_a_home_in_a_volume_of_a_group(home: Path, place: Path) -> None:
    """As Kubernetes mounts it: the volume stays as it is, what is in it is ours alone."""
    home.mkdir()
    os.chmod(home, 0o2775)
    with private() as store:
        store.commit(put("x"))
    assert stat.S_IMODE(home.stat().st_mode) == 0o2775
    for path in home.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_home_is_used_if_it_is_trusted(place: Path, restart: Callable[[], None]) -> None:
    leave(place, put("theirs"))
    for directory in (place.parent, place, place / "0"):
        os.chown(directory, 12345, -1)
    with pytest.raises(NoHome, match="12345"):
        private().commit(put("x"))
    restart()
    store = private(trust_directory=True)
    assert ready(store) == ["theirs"]
    store.close()


def test_a_home_that_is_a_file(home: Path) -> None:
    home.write_text("")
    for _ in range(2):
        with pytest.raises(NoHome, match="PQADAPTERS_HOME"):
            private().commit(put("x"))


def test_where_no_temporary_directory_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was an OSError of `tempfile`, which no program expects of a put."""
    begin_anew(monkeypatch, tmp_path)
    monkeypatch.setattr(application, "_known", application.Application("command", "-c", "", "a -c command"))
    monkeypatch.setattr(ground, "_temporary", {})

    def nowhere(**options: object) -> str:
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", nowhere)
    store = private()
    with pytest.raises(NoHome, match=r"no usable.*PQADAPTERS_HOME"):
        store.commit(put("x"))


# Others, meanwhile


class Gate:
    """Holds up the adoption in its middle, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object] | None = None) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._call = call
        moved = Slots.moved

        def held(estate: Any) -> Any:
            if not self.reached.is_set():
                self.reached.set()
                if self._call is not None:
                    self._call()
                else:
                    assert self.go_on.wait(PATIENCE)
            return moved(estate)

        monkeypatch.setattr(Slots, "moved", staticmethod(held))


def test_puts_of_other_threads_during_an_adoption_come_behind(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_slots(place)
    store = private()
    store.commit(put("new 0"))
    gate = Gate(monkeypatch)
    looker = Background(lambda: ready(store))
    assert gate.reached.wait(PATIENCE)
    began = threading.Semaphore(0)

    def put_one(n: int) -> tuple[int, ...]:
        began.release()
        return store.commit(put(f"new {n}"))

    putters = [Background(lambda n=n: put_one(n)) for n in range(1, 5)]  # type: ignore[misc]
    for _ in putters:
        assert began.acquire(timeout=PATIENCE)
    gate.go_on.set()
    looker.result()
    for putter in putters:
        assert putter.result() > (0,)  # with an id: none has returned before it was carried out
    found = ready(store)
    assert found[:3] == ["old 0", "old 1", "new 0"]
    assert sorted(found[3:]) == [f"new {n}" for n in range(1, 5)]
    store.close()


def test_commits_of_several_threads_share_their_syncs_before_the_first_look(place: Path) -> None:
    """The lock of this store isn't held while the disk works: others commit meanwhile."""
    store = private()
    store.commit(put("first"))
    inner = store._slot.store  # type: ignore[union-attr]
    inside = threading.Barrier(3)

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def commit(self, *ops: Op, **options: Any) -> tuple[int, ...]:
            inside.wait(PATIENCE)
            return inner.commit(*ops, **options)

    store._slot.store = Slow()  # type: ignore[union-attr]
    putters = [Background(lambda n=n: store.commit(put(n))) for n in range(2)]  # type: ignore[misc]
    inside.wait(PATIENCE)  # both are in their commits at a time, or this breaks
    for putter in putters:
        putter.result()
    store._slot.store = inner  # type: ignore[union-attr]
    store.close()


def test_a_look_waits_for_commits_that_are_under_way(place: Path) -> None:
    """Its adoption must not come between another thread's commit and the disk."""
    two_slots(place)
    store = private()
    store.commit(put("new 0"))
    inner = store._slot.store  # type: ignore[union-attr]
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def commit(self, *ops: Op, **options: Any) -> tuple[int, ...]:
            if ops[0] == put("new 1"):
                inside.set()
                assert go_on.wait(PATIENCE)
            return inner.commit(*ops, **options)

    store._slot.store = Slow()  # type: ignore[union-attr]
    putter = Background(lambda: store.commit(put("new 1")))
    assert inside.wait(PATIENCE)
    looker = Background(lambda: ready(store))
    assert not looker.thread.join(0.0)
    go_on.set()
    assert looker.result() == ["old 0", "old 1", "new 0", "new 1"]
    putter.result()
    store._slot.store = inner  # type: ignore[union-attr]
    store.close()


# Interrupts


def test_a_signal_handler_that_puts_in_the_middle_of_an_adoption(
    place: Path, monkeypatch: pytest.MonkeyPatch, usr1: Any
) -> None:
    for n in range(3):
        leave(place, put(f"old {n}", n))
    monkeypatch.setattr("pqadapters.home.adoption._RECORDS", 1)
    store = private()
    usr1(lambda: store.commit(put("from the handler")._replace(limit=1)))  # and isn't told of what is there
    Gate(monkeypatch, lambda: signal.raise_signal(signal.SIGUSR1))
    assert ready(store) == ["old 0", "old 1", "old 2", "from the handler"]
    assert [record.payload for record in store.browse(QUEUE)].count(b"from the handler") == 1
    store.close()


@pytest.mark.parametrize("first", ["put", "get"])
def test_a_signal_handler_that_puts_while_the_slot_is_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch, usr1: Any, first: str
) -> None:
    """In the middle of `take` the directory's lock is ours, and waiting for it would be for ever."""
    two_slots(place)
    store = private()
    usr1(lambda: store.commit(put("from the handler")))
    opened = Slots._open

    def interrupted(self: Slots, directory: str) -> Any:
        monkeypatch.setattr(Slots, "_open", opened)
        signal.raise_signal(signal.SIGUSR1)
        return opened(self, directory)

    monkeypatch.setattr(Slots, "_open", interrupted)
    if first == "put":
        store.commit(put("new"))
        found = ready(store)
        assert found[:2] == ["old 0", "old 1"]
        assert sorted(found[2:]) == ["from the handler", "new"]
    else:
        assert ready(store) == ["old 0", "old 1", "from the handler"]
    assert [path.name for path in place.iterdir() if path.is_dir()] == ["0"]
    store.close()


def test_a_handler_that_looks_in_the_middle_of_an_adoption_begins_no_second_one(
    place: Path, monkeypatch: pytest.MonkeyPatch, usr1: Any
) -> None:
    for n in range(3):
        leave(place, put(f"old {n}", n))
    monkeypatch.setattr("pqadapters.home.adoption._RECORDS", 1)
    store = private()
    seen: list[int] = []
    usr1(lambda: seen.append(store.depth(QUEUE).ready))
    Gate(monkeypatch, lambda: signal.raise_signal(signal.SIGUSR1))
    assert ready(store) == ["old 0", "old 1", "old 2"]
    assert len(seen) == 1
    store.close()


def test_a_handler_that_looks_in_the_middle_of_a_put(place: Path, monkeypatch: pytest.MonkeyPatch, usr1: Any) -> None:
    """Nothing is adopted there: what would be committed on the way isn't before the put is over."""
    two_slots(place)
    store = private()
    store.commit(put("new 0"))
    seen: list[int] = []
    usr1(lambda: seen.append(store.depth(QUEUE).ready))
    inner = store._slot.store  # type: ignore[union-attr]
    disk = inner._core.disk
    write = disk.write

    def interrupted(fd: int, data: bytes, offset: int) -> None:
        if b"new 1" in data and not seen:
            signal.raise_signal(signal.SIGUSR1)
            assert (place / "1").is_dir(), "an adoption in the middle of a commit"
        write(fd, data, offset)

    monkeypatch.setattr(disk, "write", interrupted)
    store.commit(put("new 1"))
    assert len(seen) == 1
    assert ready(store) == ["old 0", "old 1", "new 0", "new 1"]
    store.close()


@pytest.mark.parametrize("by", ["a put", "a look"])
def test_what_a_handler_kept_from_being_carried_out_is_before_the_next_call(place: Path, by: str) -> None:
    """What a signal handler raises breaks off the calls that were put off, and these are left to the next one."""
    store = private()
    store.commit(put("first"))
    assert ready(store) == ["first"]
    store._put_off.append(lambda: store.commit(put("late")))
    if by == "a put":
        store.commit(put("new"))
        assert ready(store) == ["first", "late", "new"]
    else:
        assert ready(store) == ["first", "late"]
    store.close()


@pytest.mark.parametrize("transient", [False, True])
def test_a_look_at_dead_letters_sees_those_of_dead_processes(
    place: Path, monkeypatch: pytest.MonkeyPatch, transient: bool
) -> None:
    """In a place that makes a queue for each call, some of them: nobody takes them there."""
    monkeypatch.setattr("pqadapters.home.adoption._KEPT", 2)
    for n in range(4):
        leave(place, put(f"{n}", n)._replace(queue=DEAD))
    store = private()
    store._spot.transient = transient
    assert sorted(ready(store, DEAD))[-2:] == ["2", "3"]
    assert len(ready(store, DEAD)) == (2 if transient else 4)
    store.close()


def test_what_is_in_hand_as_a_queue_of_one_call_ends_is_not_the_next_ones(place: Path) -> None:
    """Its slot is kept open for the next one only where nothing of it is left: join() would wait for that."""
    for n in range(2):
        store = private()
        store._spot.transient = True
        assert store.depth(QUEUE).unfinished == 0
        store.commit(put(f"{n}"))
        store.claim(QUEUE)
        store.close()


@pytest.mark.parametrize("letters", [0, 1])
def test_dead_letters_of_queues_of_one_call_outlive_the_process(place: Path, letters: int) -> None:
    store = private()
    store._spot.transient = True
    store.commit(*(put("letter")._replace(queue=DEAD) for _ in range(letters)))
    assert len(ready(store, DEAD)) == letters
    store.close()
    idling.leave_all()
    assert len([path for path in place.iterdir() if path.is_dir()]) == letters
    store = private()
    assert ready(store, DEAD) == ["letter"] * letters
    store.close()


def test_a_queue_of_one_call_that_looked_for_nothing_leaves_that_to_the_next_one(place: Path) -> None:
    leave(place, put("x" * 9000)._replace(queue=DEAD))  # the slot that is taken
    leave(place, put("letter")._replace(queue=DEAD))
    for looks in (False, True):
        store = private()
        store._spot.transient = True
        store.sync()
        assert not looks or len(ready(store, DEAD)) == 2
        store.close()


# Failure


def test_what_was_left_is_no_more_once_it_is_done_though_nothing_can_be_adopted(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bounded queue took as many items more. And it isn't tried again at each look."""
    leave(place, put("mine"))
    full = DiskError(errno.ENOSPC, "no room", "somewhere")
    monkeypatch.setattr(module, "adopt", Mock(side_effect=full))
    store = private()
    store.commit(put("new"))
    assert store.left == 1
    store.commit(*map(Ack, store.claim(QUEUE, limit=9)))
    assert store.left == 0
    assert store.depth(QUEUE).ready == 0
    assert len(caplog.records) == 1
    store.close()


def test_a_first_get_on_a_full_disk_serves_what_is_at_hand(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What dead processes left is taken over once there is room, and stands where it belongs."""
    leave(place, put("mine" + "x" * 500, 0))
    leave(place, put("theirs", 1))
    store = private()
    store.commit(put("new", 5))
    disk = store._slot.store._core.disk  # type: ignore[union-attr]
    write = disk.write

    def full(fd: int, data: bytes, offset: int) -> None:
        if b"theirs" in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(fd, data, offset)

    monkeypatch.setattr(disk, "write", full)
    (claim,) = store.claim(QUEUE)
    assert claim.payload.startswith(b"mine")
    store.commit(Ack(claim))
    assert "No space left" in caplog.text
    monkeypatch.setattr(disk, "write", write)
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    store._adopt_at = 0.0
    assert ready(store) == ["theirs", "new"]
    store.close()
