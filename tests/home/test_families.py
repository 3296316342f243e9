"""What dead roots have left in queues beside ours moves into ours, in order, with all that is known of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pqadapters import live
from pqadapters.errors import DiskError
from pqadapters.home import families, places
from pqadapters.home.places import Spot, occupy
from pqadapters.opening import open_locks
from pqadapters.store import Nack, Put, Set, State, dead_queue
from pqadapters.stores._directory import Locks
from pqadapters.stores._disk import Disk
from pqadapters.stores.memory import MemoryStore
from pqadapters.stores.sqlite import SqliteStore

from ..contract.descriptors import descriptors_left, open_below
from .world import THEN

OURS, OTHER, THIRD = "place-0.0", "place-0.1", "place-0.2"
MARKER = live.payload(0, bytes(8))


def put(queue: str, *seconds: int) -> list[Put]:
    """Items that tell when they were put."""
    return [
        Put(queue, b"%d" % each, bytes([each]), attempts=each, put_at=THEN + each, note=str(each)) for each in seconds
    ]


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.commit(*put(OTHER, 0, 4, 9), Put(OTHER, MARKER, put_at=THEN + 10), *put(OURS, 1, 5), *put(THIRD, 2, 3))
    return made


def test_what_they_left_is_merged_in_the_order_in_which_it_was_put(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few in each commit; no stop markers, which never change the queue."""
    monkeypatch.setattr(families, "_RECORDS", 2)
    families._merge([OTHER, THIRD], OURS, store)
    found = [0, 1, 2, 3, 4, 5, 9]
    records = list(store.browse(OURS))
    assert [record.payload for record in records] == [b"%d" % each for each in found]
    assert [record.attempts for record in records] == found
    assert [record.put_at for record in records] == [THEN + each for each in found]
    assert [record.rank for record in records] == [bytes([each]) for each in found]
    assert [record.note for record in records] == [str(each) for each in found]
    assert [record.payload for record in store.browse(OTHER)] == [MARKER]
    assert store.depth(THIRD).unfinished == 0


def test_what_an_orphan_has_in_hand_stays_where_it_is(store: MemoryStore) -> None:
    (claim,) = store.claim(THIRD)
    families._merge([OTHER, THIRD], OURS, store)
    assert [record.payload for record in store.browse(OURS)] == [b"%d" % each for each in (0, 1, 3, 4, 5, 9)]
    assert [record.id for record in store.browse(THIRD, state=State.CLAIMED)] == [claim.id]


@pytest.mark.parametrize("orphans", [False, True])
def test_the_queue_of_a_dead_root_is_emptied_and_free(store: MemoryStore, tmp_path: Path, orphans: bool) -> None:
    """With its dead letters; its stop markers go, unless children of it are still to be stopped by them."""
    locks = open_locks(str(tmp_path / "locks"))
    for queue in (OURS, OTHER, THIRD):
        hold = locks.take(f"{queue}.root")
        assert hold is not None
        if queue == OTHER:
            hold.close()
    member = locks.join(f"{OTHER}.family")
    if not orphans:
        member.close()
    store.commit(Set(families.MARKED, live.key_of(OTHER), (1).to_bytes(8, "big")))
    store.commit(*put(OTHER, 11))
    (buried,) = store.claim(OTHER, ids=[record.id for record in store.browse(OTHER) if record.payload == b"11"])
    store.commit(Nack(buried, dead="broken"))
    families._adopt(OURS, store, locks)
    assert [record.payload for record in store.browse(OURS)] == [b"%d" % each for each in (0, 1, 4, 5, 9)]
    assert [record.payload for record in store.browse(dead_queue(OURS))] == [b"11"]
    assert [record.payload for record in store.browse(OTHER)] == ([MARKER] if orphans else [])
    assert store.depth(THIRD).unfinished == 2  # its root lives
    assert locks.take(f"{OTHER}.root") is not None
    member.close()


def test_locks_without_a_descriptor_are_a_disk_error(tmp_path: Path) -> None:
    """To look who is there was a bare OSError, at the first `put` of a queue of `multiprocessing`."""
    locks = open_locks(str(tmp_path / "locks"))
    calls: list[Callable[[], object]] = [locks.names]
    calls += [partial(call, "q.family") for call in (locks.take, locks.join, locks.is_shared)]
    for call in calls:
        with descriptors_left(0), pytest.raises(DiskError, match="ulimit -n") as caught:
            call()
        assert caught.value.errno == errno.EMFILE
    assert not locks.is_shared("q.family")


def test_a_share_that_is_refused_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = open_locks(str(tmp_path / "locks"))

    def refuse(self: Disk, fd: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(Disk, "lock_shared", refuse)
    with pytest.raises(DiskError):
        locks.join("q.family")
    assert open_below(tmp_path) == []


def _end(family: families.Family) -> None:
    """As the end of its process ends it."""
    assert family._root is not None
    family._root.hold.close()
    family.member.close()


def _found(spot: Spot, *items: bytes) -> families.Family:
    """A run's queue, with what it puts."""
    family = families.found_family(spot)
    with family.open() as store:
        store.commit(*(Put(family.reference.queue, item) for item in items))
    return family


def _in(family: families.Family) -> tuple[int, int]:
    """How many items and dead letters are in its queue."""
    with family.open() as store:
        depth = store.depth(family.reference.queue)
    return depth.unfinished, depth.dead


@pytest.mark.usefixtures("home")
def test_a_run_goes_on_with_the_fullest_of_the_dead_queues() -> None:
    """What is in the others is moved."""
    spot = Spot("place")
    for run in [_found(spot, b"1"), _found(spot, b"2", b"3", b"4"), _found(spot, b"5", b"6")]:
        _end(run)
    family = families.found_family(spot)
    assert family.reference.queue == "place-0.1"
    assert _in(family) == (6, 0)
    _end(family)


def test_what_a_queue_for_each_call_leaves_is_nobodys(restart: Callable[[], None]) -> None:
    """The next run knows it as well, of all queues of the place."""
    first = _found(occupy("place"), b"of the first call")  # nobody can tell yet
    first.leave()
    spot = occupy("place")
    second = _found(spot, b"of another one")
    assert spot.transient
    assert _in(second) == (1, 1)
    second.leave()
    assert _in(second) == (0, 2)
    killed = _found(occupy("place"), b"of a run that was killed")
    _end(killed)
    restart()
    spot = occupy("place")
    assert not spot.transient
    family = families.found_family(spot)
    assert spot.transient
    assert occupy("place").transient
    assert _in(family) == (0, 3)
    family.leave()


def test_what_a_run_left_beside_a_queue_for_each_call_is_nobodys(home: Path) -> None:
    spot = Spot("place")
    for run in [_found(spot, b"1"), _found(spot, b"2")]:
        _end(run)
    spot.transient = True
    family = families.found_family(spot)
    assert _in(family) == (0, 1)  # the other one is buried when it is taken
    _end(family)


@pytest.mark.usefixtures("home")
def test_the_first_of_the_stop_markers_ends_with_its_run_as_well() -> None:
    spot = Spot("place")
    family = families.found_family(spot)
    with family.open() as store:
        (first, _) = store.commit(Put(family.reference.queue, MARKER), Put(family.reference.queue, MARKER))
        store.commit(Set(families.MARKED, live.key_of(family.reference.queue), first.to_bytes(8, "big")))
    _end(family)
    family = families.found_family(spot)
    assert (family.reference.left, _in(family)) == (0, (0, 0))
    _end(family)


@pytest.mark.usefixtures("home")
def test_a_place_whose_name_begins_as_another_one_keeps_its_own() -> None:
    _end(_found(Spot("place-0.inner"), b"inner"))
    family = families.found_family(Spot("place"))
    assert (family.reference.queue, _in(family)) == ("place-0.0", (0, 0))
    _end(family)


def test_a_long_queue_is_moved_behind_what_is_older_once(tmp_path: Path) -> None:
    """What has been moved is found again at its end, while the rest is still read."""
    with SqliteStore(tmp_path / "q.db") as store:
        store.commit(*put(OTHER, 0))
        store.commit(*(Put(OURS, b"%d" % each, put_at=THEN + each) for each in range(1, 3000)))
        families._merge([OTHER], OURS, store)
        assert [record.payload for record in store.browse(OURS)] == [b"%d" % each for each in range(3000)]


@pytest.mark.usefixtures("home")
def test_a_queue_that_was_dropped_is_used_again_once_its_children_are_gone() -> None:
    first = families.found_family(occupy("place"))
    child = families.Family.joined(first.reference, None)
    first.leave()
    second = families.found_family(occupy("place"))
    assert second.reference.queue == "place-0.1"
    second.leave()
    child.leave()
    third = families.found_family(occupy("place"))
    assert third.reference.queue == "place-0.0"
    third.leave()


@pytest.mark.usefixtures("home")
def test_a_forked_child_that_drops_the_queue_has_not_left_its_place() -> None:
    """Nor does it touch what is in it: the parent's own queue there was taken for one of many."""
    family = _found(occupy("place"), b"item")
    child = os.fork()
    if not child:
        family.leave()
        os._exit(occupy("place").transient or places.made() != {("place", 0), ("place", 1)})
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _in(family) == (1, 0)
    family.leave()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("call", ["commit", "claim", "take", "join", "is_shared"])
def test_whoever_keeps_the_exception_of_a_founding_that_failed_keeps_no_lock(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try had another queue, without what earlier runs had left: a `get` waited for ever."""
    spot = Spot("place")
    runs = [families.found_family(spot) for _ in range(2)]
    for run in runs:
        with run.open() as store:
            queue = run.reference.queue
            store.commit(Put(queue, b"left"), Set(families.MARKED, live.key_of(queue), bytes(8)))
        _end(run)
    owner: Any = SqliteStore if hasattr(SqliteStore, call) else Locks
    plain, calls, failing = getattr(owner, call), 0, 0

    def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise DiskError(errno.EIO, "it can't be read")
        return plain(*arguments, **options)

    monkeypatch.setattr(owner, call, fail)
    kept = []
    while calls >= failing:
        calls, failing = 0, failing + 1
        try:
            family = families.found_family(spot)
        except DiskError as error:
            kept.append(error)
            calls, failing, again = 0, 0, failing
            family = families.found_family(spot)
            calls = failing = again
        assert family.reference.queue in ("place-0.0", "place-0.1")
        assert family.reference.left == 2
        _end(family)
    assert kept
