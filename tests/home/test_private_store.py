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
from queue import Full
from typing import Any

import pytest

from pqadapters.errors import NoHome, StoreClosed
from pqadapters.home import application, ground
from pqadapters.home import private as module
from pqadapters.home.adoption import QUEUE
from pqadapters.home.private import PrivateStore
from pqadapters.stdlib.queue import LifoQueue, PriorityQueue, Queue
from pqadapters.store import Ack, Nack, Op
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.slots import Slots
from tests.queue.background import Background

from .world import (
    PATIENCE,
    PLACE,
    Child,
    begin_anew,
    child,
    kill_a_process_that,
    leave,
    place_directory,
    private,
    put,
    tree,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    begin_anew(monkeypatch, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def place(home: Path) -> Path:
    return place_directory(home)


@pytest.fixture
def restart(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on this is the next process of the application."""
    return lambda: begin_anew(monkeypatch, home)


@pytest.fixture
def usr1() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Sets what the signal does."""
    before = signal.getsignal(signal.SIGUSR1)

    def on_signal(call: Callable[[], object]) -> None:
        signal.signal(signal.SIGUSR1, lambda number, frame: call())

    yield on_signal
    signal.signal(signal.SIGUSR1, before)


def ready(store: PrivateStore, queue: str = QUEUE) -> list[str]:
    return [record.payload.decode() for record in store.browse(queue)]


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


# Limits


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


def test_what_earlier_runs_left_is_told_apart_until_all_is_done(place: Path) -> None:
    """A put's limit isn't about that: its program acts as if it had begun with an empty queue."""
    two_slots(place)
    store = private()
    assert store.left == 0
    store.commit(put("new"))
    taken = store.left
    assert 0 < taken < len(ready(store)) - 1 == store.left
    claims = store.claim(QUEUE, limit=99)
    assert store.left == len(claims) - 1
    store.commit(*map(Ack, claims))
    assert store.left == 0
    store.commit(put("newer"))
    assert store.left == 0
    store.close()


def test_a_queue_that_is_filled_before_its_workers_start_and_is_killed(home: Path) -> None:
    def fill() -> Queue[int]:
        q: Queue[int] = Queue(maxsize=5)
        for n in range(5):
            q.put(n, timeout=PATIENCE)
        return q

    for _ in range(3):
        kill_a_process_that(fill)
    q = fill()
    assert [q.get() for _ in range(20)] == [*range(5)] * 4
    assert q.empty()


def bounded() -> Queue[int]:
    """All queues are made here: in one place."""
    return Queue(maxsize=3)


def test_a_look_before_the_workers_start_is_in_no_puts_way(home: Path) -> None:
    """The standard library's queue takes three items here, and so does this one, whatever an earlier run left."""

    def fill(first: int) -> Queue[int]:
        q = bounded()
        for n in range(first, first + 3):
            q.put_nowait(n)
            assert q.qsize() > n - first
        assert q.full()
        with pytest.raises(Full):
            q.put_nowait(99)
        return q

    kill_a_process_that(lambda: fill(0))
    kill_a_process_that(lambda: fill(10))
    q = fill(20)
    assert [q.get() for _ in range(9)] == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    for n in range(3):  # what was taken may be given back, by whomever
        Background(lambda n=n: q.put_nowait(n)).result()  # type: ignore[misc]
    for _ in range(12 - 3):
        q.task_done()
    assert [q.get(), q.get(), q.get()] == [0, 1, 2]
    for _ in range(3):
        q.task_done()
    for n in range(3):  # all was done: the limit is as it says
        q.put_nowait(n)
    with pytest.raises(Full):
        q.put_nowait(99)
    q.close()


class Hooked(Queue[int]):
    def _put(self, item: int) -> None:
        super()._put(item)


@pytest.mark.parametrize("kind", [Queue, Hooked])
def test_full_as_the_first_look_minds_only_what_this_run_has_put(home: Path, kind: type[Queue[int]]) -> None:
    """It compared the limit of before it had taken over what was left with the size of thereafter: full() was True, and
    put_nowait() of a subclass with a hook raised Full."""

    def fill() -> Queue[int]:
        q = kind(maxsize=2)
        if kind is Queue:
            assert not q.full()
        q.put_nowait(1)
        q.put_nowait(2)
        assert q.full()
        return q

    kill_a_process_that(fill)
    assert fill().qsize() == 4


def test_a_bounded_put_that_waits_goes_on_when_there_is_room(home: Path) -> None:
    def fill() -> Queue[int]:
        q = bounded()
        for n in range(3):
            q.put(n, timeout=PATIENCE)
        return q

    kill_a_process_that(fill)
    q = fill()
    waiter = Background(lambda: q.put(3, timeout=PATIENCE))
    assert q.get() == 0
    waiter.result()
    assert q.qsize() == 6
    q.close()


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


def two_slots(place: Path) -> None:
    for n in range(2):
        leave(place, put(f"old {n}", n))


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
        putter.result()
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
    usr1(lambda: store.commit(put("from the handler")))
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


# Failure


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


# Fork


def test_a_forked_child_goes_on_with_a_slot_of_its_own(place: Path, restart: Callable[[], None]) -> None:
    leave(place, put("old"))
    store = private()
    assert ready(store) == ["old"]
    (claim,) = store.claim(QUEUE)
    before = tree(place / "0")

    def go_on(me: Child) -> None:
        me.say(store.place)
        me.say(tree(place / "0") == before)
        store.commit(put("the child's"))
        me.say(store.place)
        me.say(", ".join(ready(store)))
        me.hear()
        store.close()

    with child(go_on) as process:
        assert "nothing was put yet" in process.hear()
        assert process.hear() == "True", "the child has written to its parent's slot"
        assert process.hear() == str(place / "1")
        assert process.hear() == "the child's"
        store.commit(put("the parent's"), Ack(claim))
        assert ready(store) == ["the parent's"]
        process.say("end")
        assert process.wait() == 0
    store.close()
    restart()
    after = private()
    assert sorted(ready(after)) == ["the child's", "the parent's"]
    after.close()


def test_a_child_lets_its_parents_slot_alone_whatever_its_threads_do(place: Path) -> None:
    """The parent's store is dropped in the child before anything else: without a checkpoint, a mark, or a wait for the
    lock that a thread of the parent had."""
    store = private()
    store.commit(put("the parent's"))
    ready(store)
    core = store._slot.store._core  # type: ignore[union-attr]
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with core.lock:
            locked.set()
            assert go_on.wait(PATIENCE)

    holder = Background(hold)
    assert locked.wait(PATIENCE)
    before = tree(place)
    with child(lambda me: me.say("alive")) as process:
        assert process.hear() == "alive"
        assert process.wait() == 0
    assert tree(place) == before
    go_on.set()
    holder.result()
    store.close()


@pytest.mark.parametrize("when", ["takes a slot", "adopts", "commits"])
def test_a_fork_while_another_thread_is_at_it(place: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """The child goes on at once, and no lock of the parent's lives on in it."""
    monkeypatch.setattr("pqadapters.stores.segment.slots.LOCK_TIMEOUT", 1.0)
    two_slots(place)
    store = private()
    reached, go_on = threading.Event(), threading.Event()

    def hold_up(*args: Any) -> None:
        if threading.current_thread() is not threading.main_thread() and not reached.is_set():
            reached.set()
            assert go_on.wait(PATIENCE)

    owner, name = {
        "takes a slot": (Slots, "_open"),
        "adopts": (Slots, "_rename"),
        "commits": (SegmentStore, "commit"),
    }[when]
    original = getattr(owner, name)

    def held(*args: Any, **options: Any) -> Any:
        hold_up()
        return original(*args, **options)

    monkeypatch.setattr(owner, name, held)
    thread = Background(lambda: ready(store) if when == "adopts" else store.commit(put("new")))
    assert reached.wait(PATIENCE)

    def live_on(me: Child) -> None:
        store.commit(put("the child's"))
        me.say(store.place)
        me.hear()
        store.close()

    with child(live_on) as process:
        if when == "commits":  # else the directory's lock is the parent's, and the child waits for it
            assert process.hear().startswith(str(place))
        go_on.set()
        thread.result()
        assert when == "commits" or process.hear().startswith(str(place))
        mine = store.place
        store.close()
        again = private()
        again.commit(put("again"))
        assert again.place == mine, "the slot's lock has outlived its store"
        again.close()
        process.say("end")
        assert process.wait() == 0


# Queues on top of it


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Queue, [3, 1, 2, 30, 10, 20, 5]),
        (LifoQueue, [5, 20, 10, 30, 2, 1, 3]),
        (PriorityQueue, [1, 2, 3, 5, 10, 20, 30]),
    ],
)
def test_queues_of_each_kind_find_what_was_left_in_their_order(home: Path, kind: Any, expected: list[int]) -> None:
    def fill(*numbers: int) -> Any:
        q = kind()
        for number in numbers:
            q.put(number)
        return q

    def fill_and_wait(me: Child, *numbers: int) -> None:
        q = fill(*numbers)
        me.say(q.name)
        me.hear()

    with child(lambda me: fill_and_wait(me, 3, 1, 2)) as first:
        assert first.hear() == "default"
        with child(lambda me: fill_and_wait(me, 30, 10, 20)) as second:
            assert second.hear() == "default"
    q = fill(5)
    assert [q.get() for _ in range(7)] == expected
    assert q.empty()


def test_whoever_comes_late_to_a_closed_queue_does_not_come_to_the_next_one(home: Path) -> None:
    """Its slot may be another queue's by then."""

    def used() -> Any:
        q = bounded()
        q.put(1)
        q.get()
        q.task_done()
        view = q.queue
        q.close()
        return view

    used()
    view = used()
    q = bounded()
    q.put(2)
    with pytest.raises(StoreClosed):
        view.clear()
    assert q.qsize() == 1
    q.close()


def _emptied() -> tuple[Queue[int], PrivateStore, str]:
    """A queue that was used and has nothing in it, its store, and its slot."""
    q = bounded()
    q.put(1)
    q.get()
    q.task_done()
    private_store = q._line.private
    assert private_store is not None
    return q, private_store, q.stats()["place"]


def test_a_queue_that_was_put_down_at_the_end_of_the_process_may_be_used_again(home: Path) -> None:
    """By a handler of the program's own that comes behind ours."""
    q, private_store, place = _emptied()
    private_store.put_down()
    assert not os.path.exists(place)
    q.put(2)
    assert q.qsize() == 1
    private_store.put_down()
    assert os.path.exists(q.stats()["place"]), "there is something in it"
    assert q.get() == 2
    q.task_done()
    q.close()


def test_what_a_daemon_thread_puts_right_at_the_end_of_the_process_is_kept(home: Path) -> None:
    """Between the look, whether the slot is empty, and its removal: it went with the slot, behind put()'s return."""
    q, private_store, place = _emptied()
    holds, looks = private_store._holds, []

    def look(slot: Any) -> bool:
        looks.append(holds(slot))
        if len(looks) == 1:
            q.put(2)
        return looks[-1]

    private_store._holds = look  # type: ignore[method-assign]
    private_store.put_down()
    assert looks == [False, True]
    assert os.path.exists(place)
    assert q.get() == 2
    q.task_done()
    q.close()
