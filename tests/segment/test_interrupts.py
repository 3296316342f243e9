"""What a signal handler raises in the middle of a commit, wherever CPython calls one: at calls, their ends, at loops.

All operations have happened, in memory and in the files, or none.
"""

from __future__ import annotations

import gc
import time
import weakref
from array import array
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import pqadapters.stores.segment as package
from pqadapters.errors import StorePoisoned
from pqadapters.store import Ack, Claim, Nack, Order, Put, Set, State
from pqadapters.stores import _directory, _disk, _gate, _turns
from pqadapters.stores.segment import SegmentStore, format

from ..contract.descriptors import open_below
from ..contract.interrupting import IsMissing, ItFailed, TimeIsUp, interrupted
from ..contract.maker import ManualClock
from ..contract.threads import Task
from ..crash.promises import die

_HERE = str(Path(package.__file__).parent), _gate.__file__, _turns.__file__
_PATIENCE = 30.0


def _interrupted(call: Callable[[], object], nth: int) -> bool:
    return interrupted(call, nth, _HERE)


def _payloads(store: SegmentStore, queue: str) -> list[bytes]:
    return [record.payload for record in store.browse(queue, state=None)]


def _await(gate: _gate.Gate) -> None:
    """Somebody waits there."""
    while not gate.waiting:
        time.sleep(0.0005)  # nothing tells of that


def _whole(store: SegmentStore) -> tuple[list[bytes], bytes | None]:
    """What two queues and a table have of the commits: the same."""
    found = _payloads(store, "a")
    assert _payloads(store, "b") == found
    last = store.get("t", b"k")
    assert (last or b"") == (found[-1] if found else b"")
    return found, last


def _two(store: SegmentStore, item: bytes) -> None:
    store.commit(Put("a", item), Put("b", item, rank=b"r"), Set("t", b"k", item))


def test_a_queue_gets_its_first_rank(tmp_path: Path) -> None:
    """Its records are put into another order, all of them once."""
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        nth = 0
        going = True
        while going:
            nth += 1
            name = f"q{nth}"
            store.commit(*[Put(name, b"plain")] * 3)
            going = _interrupted(partial(store.commit, Put(name, b"ranked", rank=b"r")), nth)
            found = len(_payloads(store, name))
            assert found in (3, 4)
            assert store.depth(name).ready == found
            assert len(store.claim(name, limit=9)) == found
        assert nth > 50


@pytest.mark.parametrize("ops", [[Put("q", b"x")], [Put("q", b"x"), Put("p", b"y")]], ids=["plain", "planned"])
def test_i7_who_waits_gets_what_was_put(ops: list[Put], tmp_path: Path) -> None:
    """The put was interrupted, and the record is there: the getter has it, without anything else that is put."""
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        gate = store._core.catalog.queue("q").takers  # here: whoever mentions a queue first makes it
        nth = 0
        going = True
        while going:
            nth += 1
            getter = Task(lambda: store.claim("q", timeout=None), patience=_PATIENCE)
            _await(gate)
            going = _interrupted(partial(store.commit, *ops), nth)
            if not store.depth("q").unfinished:
                store.commit(Put("q", b"x"))
            (claim,) = getter.result()
            store.commit(Ack(claim))
        assert nth > 10


def test_i7_who_joins_hears_of_the_last_acknowledgement(tmp_path: Path) -> None:
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        gate = store._core.catalog.queue("q").watchers  # here: whoever mentions a queue first makes it
        nth = 0
        going = True
        while going:
            nth += 1
            store.commit(Put("q", b"x"))
            (claim,) = store.claim("q")
            joiner = Task(lambda: store.wait("q", lambda depth: not depth.unfinished), patience=_PATIENCE)
            _await(gate)
            going = _interrupted(partial(store.commit, Ack(claim)), nth)
            if store.depth("q").unfinished:
                store.commit(Ack(claim))
            assert joiner.result()
        assert nth > 10


def test_i7_who_goes_away_takes_no_wake_up_along(tmp_path: Path) -> None:
    """Two wait, and one is interrupted on its way to sleep: the other one gets what is put."""
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        gate = store._core.catalog.queue("q").takers  # here: whoever mentions a queue first makes it
        nth = 0
        going = True
        while going:
            nth += 1
            getter = Task(lambda: store.claim("q", timeout=None), patience=_PATIENCE)
            _await(gate)
            going = _interrupted(partial(store.claim, "q", timeout=0.001), nth)
            store.commit(Put("q", b"x"))
            (claim,) = getter.result()
            store.commit(Ack(claim))
        assert nth > 20


def test_i7_who_goes_away_leaves_no_place_in_the_line(tmp_path: Path) -> None:
    """Behind somebody who waits already: the next wake-up would go to nobody."""
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        gate, nth = store._core.catalog.queue("q").takers, 0
        going = True
        while going:
            nth += 1
            first = _gate.Sleeper()
            gate._sleepers.append(first)
            going = _interrupted(partial(store.claim, "q", timeout=0.001), nth)
            assert {*gate._sleepers} <= {first}
            gate._sleepers.clear()
        assert nth > 20


class Tight(array):  # type: ignore[type-arg]  # takes none before Python 3.12
    """A segment's index, for which there is no memory once."""

    def append(self, place: int) -> None:
        if not self.full:
            self.full = True
            raise MemoryError
        super().append(place)

    full = False


@pytest.mark.parametrize("op", ["put", "ack"])
def test_what_there_was_no_memory_for_has_its_place_in_the_index(op: str, tmp_path: Path) -> None:
    """What was put behind it would be looked for in a wrong place."""
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        store.commit(Put("q", b"first"))
        claims = store.claim("q")
        tail = store._core.log.tail
        tail.index = Tight("I", tail.index)
        with pytest.raises(MemoryError):
            store.commit(Put("q", b"second") if op == "put" else Ack(claims[0]))
        store.commit(Put("q", b"last"))
        expected = [b"first", b"second", b"last"] if op == "put" else [b"last"]
        assert _payloads(store, "q") == expected
        assert store._core.log.live == len(expected)
    with SegmentStore(tmp_path / "store") as store:
        assert _payloads(store, "q") == expected
        assert not store.damage


def test_what_cant_be_carried_out_in_memory_is_back_with_the_next_opening(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A checkpoint of what is in memory would give the record to another queue."""
    with SegmentStore(tmp_path / "store") as store:
        queue = store._core.catalog.queue("a")

        def fail(*_: object) -> None:
            raise MemoryError

        with monkeypatch.context() as patched:
            patched.setattr(queue, "add", fail)
            with pytest.raises(MemoryError):
                store.commit(Put("a", b"x"), Put("b", b"x"), Put("c", b"x"))
        with pytest.raises(StorePoisoned, match=r"is stored and couldn't be carried out in memory.*open it again"):
            store.commit(Put("a", b"y"))
    with SegmentStore(tmp_path / "store") as store:
        assert [_payloads(store, name) for name in "abc"] == [[b"x"]] * 3


@pytest.mark.parametrize("durability", ["process", "power"])
def test_i2_puts_are_whole_wherever_they_are_interrupted(durability: str, tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "store", durability=durability, max_lag=1000)
    _two(store, b"0")
    nth = 0
    going = True
    while going:
        nth += 1
        before = len(_whole(store)[0])
        going = _interrupted(partial(_two, store, b"%d" % nth), nth)
        found = _whole(store)[0]
        assert len(found) - before in (0, 1)
        assert found[-1] == b"%d" % nth or going
        _two(store, b"plain %d" % nth)
        store.commit(Put("c", b"%d" % nth))
    assert nth > 50
    expected = _whole(store), _payloads(store, "c")
    die(store)
    with SegmentStore(tmp_path / "store") as store:
        assert (_whole(store), _payloads(store, "c")) == expected
        assert not store.damage


def test_i2_acknowledgements_are_whole_wherever_they_are_interrupted(tmp_path: Path) -> None:
    """Of two queues in one commit, with something put; and many of one queue, which go a shorter way."""
    store = SegmentStore(tmp_path / "store", durability="process", max_lag=1000)
    nth = 0
    going = True
    while going:
        nth += 1
        store.commit(Put("a", b"x"), Put("b", b"x"), *[Put("q", b"y")] * 3)
        claims = [*store.claim("a"), *store.claim("b")]
        many = store.claim("q", limit=3)
        done = len(_payloads(store, "done"))
        going = _interrupted(partial(store.commit, *map(Ack, claims), Put("done", b"z")), nth)
        left = [len(_payloads(store, name)) for name in ("a", "b")]
        assert (left, len(_payloads(store, "done")) - done) in (([0, 0], 1), ([1, 1], 0))
        going = _interrupted(partial(store.commit, *map(Ack, many)), nth) or going
        assert len(_payloads(store, "q")) in (0, 3)
        for name in ("a", "b", "q"):
            store.commit(*[Nack(claim) for claim in (*claims, *many) if claim.queue == name and left[0] * (name < "q")])
            with_us = [claim for claim in many if name == "q" and _payloads(store, "q")]
            store.commit(*map(Ack, with_us), *map(Ack, store.claim(name, limit=9)))
    assert nth > 50
    done = len(_payloads(store, "done"))
    die(store)
    with SegmentStore(tmp_path / "store") as store:
        assert [store.depth(name).unfinished for name in ("a", "b", "q", "done")] == [0, 0, 0, done]
        assert not store.damage


def test_an_acknowledgement_of_a_record_with_a_rank_is_whole_wherever_it_is_interrupted(tmp_path: Path) -> None:
    """It had a number in the log and no place in the index: what was put behind it was looked for in a wrong place."""
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        nth, going = 0, True
        while going:
            nth += 1
            store.commit(Put("q", b"ranked", rank=b"r"))
            claims = store.claim("q")
            going = _interrupted(partial(store.commit, *map(Ack, claims)), nth)
            if store.depth("q").unfinished:
                store.commit(*map(Ack, claims))
            store.commit(Put("p", b"%d" % nth))
            assert store._core.log.tail.next == store._core.log.next, f"at place {nth}"
            assert store.depth("q").bytes == 0
        assert nth > 5
    with SegmentStore(tmp_path / "store") as store:
        assert _payloads(store, "p") == [b"%d" % n for n in range(1, nth + 1)]
        assert not store.damage


def test_i3_a_delayed_record_that_becomes_ready_is_in_one_state(tmp_path: Path) -> None:
    """It was no more delayed, and not yet ready: the next checkpoint knew nothing of it."""
    clock = ManualClock()
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000, clock=clock) as store:
        nth, going = 0, True
        while going:
            nth += 1
            store.commit(*(Put("q", b"x", not_before=clock.now + n) for n in (5, 6)))
            clock.advance(10)
            going = _interrupted(partial(store.depth, "q"), nth)
            assert store.depth("q")[:3] == (2, 0, 0), f"at place {nth}"
            store.commit(*map(Ack, store.claim("q", limit=9)))
        assert nth > 10


def test_i3_an_entry_that_is_passed_over_is_counted_once(tmp_path: Path) -> None:
    """A record that was claimed by its id leaves an entry, which went, and was still taken off the count."""
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        nth, going = 0, True
        while going:
            nth += 1
            ids = store.commit(*[Put("q", b"x")] * 4)
            store.commit(*map(Ack, store.claim("q", ids=ids[1:2])))
            store.commit(*map(Ack, store.claim("q")))
            going = _interrupted(partial(store.claim, "q"), nth)
            held = [record.id for record in store.browse("q", state=State.CLAIMED)]
            assert store.depth("q")[:3] == (2 - len(held), 0, len(held)), f"at place {nth}"
            other = SegmentStore(tmp_path / "store")
            store.close()
            store = other
            store.commit(*map(Ack, store.claim("q", limit=9)))
        assert nth > 5


def test_a_segment_is_begun_or_not_wherever_that_is_interrupted(tmp_path: Path) -> None:
    """It was in the directory and unknown in memory, or known in one list of two: each record was looked for in the
    segment beside its own."""
    store = SegmentStore(tmp_path / "store", durability="process", max_lag=1000, segment_bytes=4096)
    nth, going, log = 0, True, store._core.log
    while going:
        nth += 1
        while log.tail.end + 1000 + format.PUT_COST <= log.segment_bytes:
            store.commit(Put("q", bytes(1000)))
        before = store.depth("q").unfinished
        going = _interrupted(partial(store.commit, Put("q", bytes(1000))), nth)
        assert store.depth("q").unfinished - before in (0, 1)
        assert [segment.base for segment in log.segments] == log._bases
        assert log.segments[-1] is log.tail
        assert [len(payload) for payload in _payloads(store, "q")] == [1000] * store.depth("q").unfinished
        store.commit(*map(Ack, store.claim("q", limit=max(0, store.depth("q").ready - 4))))
    assert nth > 50
    count = store.depth("q").unfinished
    die(store)
    with SegmentStore(tmp_path / "store") as store:
        assert len(_payloads(store, "q")) == count
        assert not store.damage


def test_space_is_given_back_or_not_wherever_that_is_interrupted(tmp_path: Path) -> None:
    """A record that was being written again was live nowhere, and the next checkpoint knew nothing of it."""
    reopen = partial(SegmentStore, tmp_path / "store", segment_bytes=4096, disk=_disk.ScratchDisk())
    store = reopen()
    nth, going, log = 0, True, store._core.log
    while going:
        nth += 4  # there are some thousand
        store.commit(Put("kept", b"%d" % nth), Set("t", b"%d" % (nth % 3), b"%d" % nth))
        store.commit(*map(Ack, store.claim("kept", limit=max(0, store.depth("kept").ready - 3))))
        for _ in range(2):
            store.commit(*[Put("q", bytes(900))] * 4)
            store.commit(*map(Ack, store.claim("q", limit=4)))
        expected = _payloads(store, "kept"), store.snapshot("t")
        going = _interrupted(store.checkpoint, nth)
        assert [segment.base for segment in log.segments] == log._bases, f"at place {nth}"
        assert (_payloads(store, "kept"), store.snapshot("t")) == expected, f"at place {nth}"
        if nth % 80 == 0:
            die(store)
            store = reopen()
            log = store._core.log
            assert (_payloads(store, "kept"), store.snapshot("t")) == expected, f"at place {nth}"
            assert not store.damage
    assert nth > 100
    store.close()


def test_i5_a_handle_whose_close_is_interrupted_keeps_no_record(tmp_path: Path) -> None:
    """A record was in no state any more, which the next checkpoint didn't know of; the others were nobody's as long as
    the process lived, and the directory stayed open."""
    nth, going = 0, True
    while going:
        nth += 1
        with SegmentStore(tmp_path / "store", disk=_disk.ScratchDisk()) as store:
            other: SegmentStore | None = SegmentStore(tmp_path / "store")
            assert other is not None
            store.commit(Put("q", b"a"), Put("q", b"b", rank=b"r"), Put("p", b"c"))
            held = [*other.claim("q", limit=2), *other.claim("p")]
            going = interrupted(other.close, nth, _HERE, exits=True)
            if nth % 2:
                other.close()
            other = None  # or it is dropped
            gc.collect()
            assert (store.depth("q")[:3], store.depth("p")[:3]) == ((2, 0, 0), (1, 0, 0)), f"at place {nth}"
        with SegmentStore(tmp_path / "store", disk=_disk.ScratchDisk()) as store:
            claims = [*store.claim("q", limit=9), *store.claim("p")]
            assert [claim.id for claim in claims] == [claim.id for claim in held], f"at place {nth}"
            store.commit(*map(Ack, claims))
    assert nth > 20


def test_a_store_whose_close_is_interrupted_is_closed_by_a_second_call(tmp_path: Path) -> None:
    """Its directory stayed locked, though the store was closed."""
    nth, going = 0, True
    while going:
        nth += 1
        store = SegmentStore(tmp_path / "store", disk=_disk.ScratchDisk())
        store.commit(Put("q", b"a"))
        going = interrupted(store.close, nth, (*_HERE, _directory.__file__), exits=True)
        store.close()
        with SegmentStore(tmp_path / "store", disk=_disk.ScratchDisk()) as again:
            assert again._core is not store._core, f"at place {nth}"
            again.commit(*map(Ack, again.claim("q", limit=2)))
    assert nth > 20


def test_a_store_whose_opening_was_interrupted_is_closed_with_its_other_handles(tmp_path: Path) -> None:
    """The handle that there never was kept the directory locked; and a poisoned store couldn't be opened anew."""
    nth, going = 0, True
    while going:
        nth += 1
        store = SegmentStore(tmp_path / "store", disk=_disk.ScratchDisk())
        going = interrupted(lambda: SegmentStore(tmp_path / "store"), nth, _HERE, exits=True)
        gc.collect()
        store.close()
        hold = _directory.try_lock(str(tmp_path / "store" / "LOCK"), _disk.Disk())
        assert hold is not None, f"at place {nth}"
        hold.close()
    assert nth > 10


def test_a_lock_whose_end_is_interrupted_goes_with_its_object(tmp_path: Path) -> None:
    """It was nobody's any more and still held, to the end of the process."""
    disk, file, files = _disk.Disk(), str(tmp_path / "LOCK"), (_directory.__file__, _disk.__file__, weakref.__file__)
    nth, going = 0, True
    while going:
        nth += 1
        hold = _directory.try_lock(file, disk)
        assert hold is not None, f"at place {nth - 1}"
        going = interrupted(hold.close, nth, files)
        del hold
        gc.collect()
        assert not open_below(tmp_path), f"at place {nth}"
    assert nth > 3


_CLAIMS: dict[str, dict[str, Any]] = {
    "one": {},
    "the newest": {"order": Order.NEWEST},
    "by rank": {"order": Order.RANK},
    "counted": {"counted": True},
    "several": {"limit": 2},
    "one that waits": {"limit": 2, "timeout": None},
    "some ids": {"ids": [1, 2, 3, 4, 5]},
}


@pytest.mark.parametrize("taken", [False, True], ids=["", "the lock is taken at first"])
@pytest.mark.parametrize("how", _CLAIMS)
def test_i5_a_claim_is_made_or_not(how: str, taken: bool, tmp_path: Path) -> None:
    """As the store's lock was let go of behind a claim, or somebody else was about to be woken, the record was nobody's
    until the handle was closed, and who joined waited for ever."""
    with SegmentStore(tmp_path / "store", durability="process", max_lag=1000) as store:
        nth, going, door = 0, True, store._core.door
        while going:
            nth += 1
            store._core.door = door
            ids = store.commit(*[Put("q", b"x")] * 3)
            options = _CLAIMS[how] if how != "some ids" else {"ids": ids}
            claims: list[Claim] = []
            store._core.door = chain([False], door) if taken else door
            going = interrupted(lambda: claims.extend(store.claim("q", **options)), nth, _HERE, exits=True)  # noqa: B023
            store._core.door = door
            held = [record.id for record in store.browse("q", state=State.CLAIMED)]
            assert held == sorted(claim.id for claim in claims), f"at place {nth}"
            store.commit(*map(Ack, [*claims, *store.claim("q", limit=9)]))
            assert store.depth("q").unfinished == 0
        assert nth > 5


_OPS: dict[str, Callable[[SegmentStore], object]] = {
    "put": lambda store: store.commit(Put("q", b"b")),
    "ack": lambda store: store.commit(*map(Ack, store.claim("q"))),
    "several": lambda store: store.commit(Put("q", b"b"), Set("t", b"k", b"v", expect=b"v")),
    "look": lambda store: store.get("t", b"k"),
    "sync": lambda store: store.sync(),
    "checkpoint": lambda store: store.checkpoint(),
}


@pytest.mark.parametrize("raised", [TimeIsUp, ItFailed, IsMissing])
@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("op", _OPS)
def test_what_a_handler_raises_is_no_word_of_the_disk(
    op: str, durability: str, raised: type[OSError], tmp_path: Path
) -> None:
    """An alarm that came during a sync, where a put is most of its time, was taken for a sync that had failed, and
    nothing went any more; elsewhere it was a DiskError without a number, or passed over as an error of the disk is."""
    kept = list[BaseException]()
    with SegmentStore(tmp_path / "store", durability=durability, max_lag=None if durability == "power" else 1e6) as s:
        nth, going = 0, True
        while going:
            nth += 1
            s.commit(Put("q", b"a"), Set("t", b"k", b"v"))
            going = interrupted(partial(_OPS[op], s), nth, (*_HERE, _disk.__file__), kept, interrupt=raised)
            assert len(kept) == (nth if going else nth - 1), f"at place {nth}"
        s.sync()
        assert nth > 2


class _Failing(_disk.ScratchDisk):
    """Refuses the next sync of this kind, once."""

    fails: str | None = None

    def sync(self, fd: int) -> None:
        self._refuse("sync")

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        self._refuse("sync_directory")

    def _refuse(self, kind: str) -> None:
        if self.fails == kind:
            self.fails = None
            raise OSError(5, "Input/output error")


_SYNCS: list[tuple[str, str, Callable[[SegmentStore], object]]] = [
    ("power", "sync", lambda store: store.commit(Put("q", b"b"))),
    ("process", "sync", SegmentStore.sync),
    ("process", "sync", SegmentStore.checkpoint),
    ("power", "sync_directory", SegmentStore.checkpoint),
]


def _unless_poisoned(call: Callable[[], object]) -> None:
    with suppress(StorePoisoned):
        call()


@pytest.mark.parametrize(("durability", "kind", "call"), _SYNCS, ids=["put", "sync", "checkpoint", "of the directory"])
def test_i1_a_sync_that_fails_is_known_of_whatever_interrupts_that(
    durability: str, kind: str, call: Callable[[SegmentStore], object], tmp_path: Path
) -> None:
    """As Ctrl-C while a disk hangs, and then fails: the store went on, and the system had told of it once."""
    nth, going = 0, True
    while going:
        nth += 1
        disk = _Failing()
        store = SegmentStore(tmp_path / str(nth), durability=durability, disk=disk)
        store.commit(Put("q", b"a"))
        disk.fails = kind
        going = interrupted(partial(_unless_poisoned, partial(call, store)), nth, _HERE)
        if disk.fails is None:
            with pytest.raises(StorePoisoned):
                store.commit(Put("q", b"c"))
        store.close()
    assert nth > 5


def test_a_sync_where_recursion_has_no_room_for_a_call() -> None:
    """It was tried for ever whether the lock is there again: before Python 3.12 calls of C functions need room, too."""

    class Brim:
        asked = 0

        def _release_save(self) -> object:
            raise RecursionError

        def _is_owned(self) -> bool:
            self.asked += 1
            if self.asked < 10:
                raise RecursionError
            return True

    lock = Brim()
    with pytest.raises(RecursionError):
        _gate.unlocked(lock, lambda: None)
    assert lock.asked == 1


def test_who_is_interrupted_as_a_sync_begins_has_the_lock_as_often_as_before(tmp_path: Path) -> None:
    """Who came to a lock that was taken has it twice: behind an alarm as it was let go of for the sync, it was had
    once, and in place of what the handler raised its caller was told RuntimeError: cannot release un-acquired lock."""
    with SegmentStore(tmp_path / "store") as store:
        store.commit(Put("q", b"a"))
        nth, going = 0, True
        while going:
            nth += 1
            store._core.door = chain([False], store._core.door)  # another thread has the lock at first
            going = interrupted(partial(store.commit, Put("q", b"a")), nth, (_gate.__file__,))
            assert not store._core.owned()
        assert nth > 3
