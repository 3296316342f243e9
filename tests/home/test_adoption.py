"""What dead processes left moves into the slot of whoever looks first: all of it, once, in the order it was put in."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import pytest

from pqadapters.errors import DiskError, StorePoisoned
from pqadapters.home import adoption
from pqadapters.home.adoption import DEAD, LEFT_BEHIND, QUEUE, Moved, adopt, bury_all, drop, thin_out
from pqadapters.live import is_left_behind, payload
from pqadapters.stdlib import multiprocessing
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Nack, Op, Order, Put, Record, Set, State
from pqadapters.stores._disk import ScratchDisk
from pqadapters.stores.segment import SegmentStore

from ..contract.descriptors import open_below
from .test_slots import UNUSABLE
from .world import THEN, begin_anew, child, everything, items, leave, litter, open_slots, put, take_and_adopt, tree


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "app" / "place-0"


def adopt_all(place: Path, *own: Op, transient: bool = False) -> tuple[SegmentStore, Moved]:
    """A process that puts, and then looks."""
    slots = open_slots(place)
    slot = slots.take()
    if own:
        slot.store.commit(*own)
    moved = adopt(slots, slot, ends=is_left_behind, transient=transient)
    assert litter(slot) == []
    return slot.store, moved


# Order


def test_items_of_several_slots_come_in_the_order_of_their_puts(place: Path) -> None:
    for worker in range(4):
        leave(place, *(put(f"{n:03d}", n) for n in range(worker, 100, 4)))
    store, moved = adopt_all(place)
    assert items(store) == [f"{n:03d}" for n in range(100)]
    assert moved == Moved(items=75)  # the rest was in the slot that was taken


def test_what_this_process_put_before_its_first_look_comes_behind(place: Path) -> None:
    for worker in range(3):
        leave(place, put(f"old {worker}", worker))
    store, _ = adopt_all(place, put("new 0", 5), put("new 1", 5))
    assert items(store) == ["old 0", "old 1", "old 2", "new 0", "new 1"]


@pytest.mark.parametrize("ahead", [-1e9, 1e9], ids=["back", "ahead"])
def test_a_clock_that_jumped_puts_nothing_of_this_process_in_front(place: Path, ahead: float) -> None:
    for worker in range(3):
        leave(place, put(f"old {worker}", worker))
    store, _ = adopt_all(place, *(put(f"new {n}", ahead - n) for n in range(3)))
    assert items(store) == ["old 0", "old 1", "old 2", "new 0", "new 1", "new 2"]


@pytest.mark.parametrize(("first", "apart"), [(1, 0), (5, 1)])
@pytest.mark.parametrize("jump", [-500, 500])
def test_a_clock_that_jumped_reorders_no_slot(place: Path, jump: int, first: int, apart: int) -> None:
    times = {worker: [n + jump * (n >= first + apart * worker) for n in range(10)] for worker in range(4)}
    for worker, moments in times.items():
        leave(place, *(put(f"{worker}.{n}", at) for n, at in enumerate(moments)))
    found = items(adopt_all(place)[0])
    assert len(found) == 40
    for worker in times:
        assert [item for item in found if item.startswith(f"{worker}.")] == [f"{worker}.{n}" for n in range(10)]


def test_what_stood_in_our_slot_and_was_put_later_comes_behind(place: Path) -> None:
    """The slot that is taken is the fullest, not the oldest."""
    leave(place, *(put(f"{n}", n) for n in (0, 4, 9)))
    leave(place, *(put(f"{n}" + "x" * 2000, n) for n in (2, 6, 7)), put("8" + "x" * 2000, 8, attempts=3, note="n"))
    store, _ = adopt_all(place)
    assert [item[0] for item in items(store)] == ["0", "2", "4", "6", "7", "8", "9"]
    (record,) = (record for record in store.browse(QUEUE) if record.payload.startswith(b"8"))
    assert (record.attempts, record.put_at, record.note) == (3, THEN + 8, "n")


def test_a_stack_and_a_priority_queue_keep_their_order(place: Path) -> None:
    leave(place, *(put(f"{n}", n, rank=bytes([n % 3])) for n in (0, 3, 4, 9)))
    leave(place, *(put(f"{n}", n, rank=bytes([n % 3])) for n in (1, 2, 8)))
    leave(place, *(put(f"{n}", n, rank=bytes([n % 3])) for n in (5, 6, 7)))
    store, _ = adopt_all(place, put("new", rank=b"\1"))
    assert items(store, order=Order.NEWEST) == ["new", *(f"{n}" for n in reversed(range(10)))]
    assert [c.payload.decode() for c in store.claim(QUEUE, order=Order.RANK, limit=99)] == [
        *("0369"),
        *("147"),
        "new",
        *("258"),
    ]


# What is known of a record


def test_all_that_is_known_of_a_record_moves_with_it(place: Path) -> None:
    leave(place, put("x" * 9000))  # the slot that is taken
    slot = leave(
        place,
        put("rich", 1, attempts=3, note="why"),
        put("delayed", 2, not_before=THEN + 1e10, attempts=1),
        put("letter", 3, attempts=2, note="poison")._replace(queue=DEAD),
        put("nacked", 4),
        put("buried", 5),
        put("plain", 6),
    )
    with SegmentStore(slot, disk=ScratchDisk()) as store:
        by = {claim.payload: claim for claim in store.claim(QUEUE, limit=9, counted=True)}
        store.commit(Nack(by[b"nacked"]), Nack(by[b"buried"], dead="too bad"))
    before = _facts(slot)
    assert before["buried"][0] == DEAD
    assert before["delayed"][1] is State.DELAYED
    store, moved = adopt_all(place)
    after = {record.payload.decode(): (record[0], record[2], *record[4:]) for record in _all(store)}
    del after["x" * 9000]
    assert after == before
    assert moved == Moved(items=4, letters=2)


def test_what_goes_behind_the_adopted_ones_in_our_slot_keeps_its_attempts(place: Path) -> None:
    """Else what ends its process is begun once more in each run that adopts something."""
    leave(place, put("x" * 9000), put("own", 5, attempts=3, note="why"))  # the slot that is taken
    leave(place, put("other", 1))
    store, _ = adopt_all(place)
    _, other, own = _all(store)
    assert (other.payload, own.payload) == (b"other", b"own")
    assert (own.attempts, own.put_at, own.note) == (3, THEN + 5, "why")


def _all(store: SegmentStore) -> Iterator[Record]:
    return itertools.chain(store.browse(QUEUE, state=None), store.browse(DEAD, state=None))


def _facts(slot: Path) -> dict[str, tuple[object, ...]]:
    store = SegmentStore(slot, disk=ScratchDisk())
    try:
        return {record.payload.decode(): (record[0], record[2], *record[4:]) for record in _all(store)}
    finally:
        store.discard()


def test_what_ended_with_its_process_is_dropped_and_counted(place: Path) -> None:
    leave(place, put("x" * 9000))
    marker = Put(QUEUE, b"\0pq-live" + bytes(16))
    leave(place, put("a", 1), marker, put("b", 2), marker._replace(queue=DEAD, note="why"))
    store, moved = adopt_all(place, Put(QUEUE, payload(7)))
    assert items(store)[1:3] == ["a", "b"]
    assert [record.payload for record in store.browse(QUEUE)][3:] == [payload(7)], "our own goes on"
    assert [record.note for record in store.browse(DEAD)] == ["why"]
    assert moved == Moved(items=2, letters=1, dropped=1)


# Transient places


def test_where_dropping_fails_whoever_is_handed_one_drops_it(place: Path) -> None:
    """On a full disk say: the queue is served nevertheless."""
    slot = open_slots(place).take()
    store = slot.store
    ids = [*store.commit(put("marker")), *store.commit(put("item"))]
    with pytest.MonkeyPatch.context() as patch:
        full = DiskError(errno.ENOSPC, "no room", "somewhere")
        patch.setattr(store, "commit", Mock(side_effect=[full, DEFAULT], wraps=store.commit))
        assert drop(store, QUEUE, ids[:1]) == 0
    assert store.depth(QUEUE).claimed == 0, "it is in nobody's hand"
    assert drop(store, QUEUE, ids[1:]) == 1
    assert items(store) == ["marker"]
    store.close()


def test_some_hundred_are_dropped_in_a_commit(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "_RECORDS", 2)
    with SegmentStore(place, disk=ScratchDisk()) as store:
        ids = store.commit(*(put("marker") for _ in range(5)), put("item"))
        assert drop(store, QUEUE, list(ids[:5])) == 5
        assert items(store) == ["item"]


def test_what_is_left_in_a_place_that_makes_a_queue_for_each_call_is_dead(place: Path) -> None:
    for worker in range(3):
        leave(place, put(f"{worker}", worker, attempts=worker), put("d", 9, note="own reason")._replace(queue=DEAD))
    slots = open_slots(place)
    slot = slots.take()
    assert bury_all(slot.store) == 1
    slot.store.commit(put("new"))
    moved = adopt(slots, slot, ends=is_left_behind, transient=True)
    assert items(slot.store) == ["new"]
    assert sorted(items(slot.store, DEAD)) == ["0", "1", "2", "d", "d", "d"]
    notes = {record.payload: record.note for record in slot.store.browse(DEAD)}
    assert notes == {b"0": LEFT_BEHIND, b"1": LEFT_BEHIND, b"2": LEFT_BEHIND, b"d": "own reason"}
    assert moved == Moved(letters=4)


def test_dead_letters_do_not_pile_up_for_ever(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert adoption._KEPT == 10_000
    monkeypatch.setattr(adoption, "_KEPT", 1200)
    with SegmentStore(place, disk=ScratchDisk(), durability="process") as store:
        store.commit(*(Put(DEAD, b"%d" % n) for n in range(1200)))
        thin_out(store)
        assert store.depth(DEAD).ready == 1200
        assert not caplog.records
        store.commit(*(Put(DEAD, b"%d" % n) for n in range(1200, 2600)))
        thin_out(store)
        assert items(store, DEAD) == [f"{n}" for n in range(1520, 2600)]
        assert f"{place}: more than 1200 dead letters" in caplog.text


@pytest.mark.parametrize("kind", [Queue, multiprocessing.Queue], ids=["threads", "processes"])
def test_a_process_that_drops_many_queues_keeps_few_dead_letters(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They were counted where a process begins alone, and a server that abandons its queues runs for months."""
    begin_anew(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(adoption, "_KEPT", 20)

    def abandon(item: int) -> Any:
        q = kind()
        q.put(item)
        return q

    for item in range(44):
        abandon(item).close()
    q = abandon(44)
    letters = q.dead_letters()
    assert 18 <= len(letters) <= 20
    assert letters[-1].item == 43
    assert caplog.text.count("were dropped") == 8  # of 44 letters
    q.close()


# Many


MANY = 1000


def test_a_thousand_slots_of_dead_processes(place: Path) -> None:
    """They go in one go, in order, and nothing is left but our slot."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    at_a_time = min(MANY, (hard - 200) // 4)
    left = 0
    while left < MANY:
        first, last = left, min(MANY, left + at_a_time)

        def die(me: object, first: int = first, last: int = last) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            slots = open_slots(place)
            held = [slots._open(str(place / f"{n}")) for n in range(first, last)]
            for n, slot in enumerate(held, first):
                slot.store.commit(put(f"{n:04d}", (n * 7919) % MANY))
            os.kill(os.getpid(), 9)

        with child(die) as process:
            assert process.wait() == -9
        left = last
    slots = open_slots(place)
    slot = slots.take()
    slot.store.commit(put("new"))
    moved = adopt(slots, slot, ends=is_left_behind, transient=False)
    assert len(open_below(place)) < 10
    assert moved == Moved(items=MANY - 1)
    assert items(slot.store) == [*(f"{n:04d}" for n in sorted(range(MANY), key=lambda n: (n * 7919) % MANY)), "new"]
    assert litter(slot) == []
    assert [*slot.store.scan("pqadapters.moved")] == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files can't be counted here")
@pytest.mark.parametrize("apiece", [1, 30])
def test_open_files_dont_grow_with_the_number_of_slots(
    place: Path, apiece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "_OPEN", 4)
    monkeypatch.setattr(adoption, "_AHEAD_RECORDS", 200)
    most: list[int] = []
    commit = SegmentStore.commit

    def counting(self: SegmentStore, *ops: Op, **options: object) -> tuple[int, ...]:
        most[-1] = max(most[-1], len(open_below(place)))
        return commit(self, *ops, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentStore, "commit", counting)
    for number in (8, 40):
        most.append(0)
        here = place / f"{number}"
        for slot in range(number):
            leave(here, *(put(f"{n:02d}.{slot:02d}", n + slot / 100) for n in range(apiece)))
        most[-1] = 0
        store, _ = adopt_all(here)
        assert items(store) == sorted(items(store))
        assert len(items(store)) == number * apiece
        store.discard()
    assert most[1] <= most[0] + 1


def test_memory_stays_bounded(place: Path) -> None:
    """A large slot beside our own large one: 80 MB are moved, in a few."""
    size, number = 2000, 20_000
    for worker in range(2):
        leave(place, *(put(f"{n:05d}".ljust(size), n) for n in range(worker, 2 * number, 2)))
    slots = open_slots(place)
    slot = slots.take()
    tracemalloc.start()
    try:
        adopt(slots, slot, ends=is_left_behind, transient=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [record.payload[:5] for record in slot.store.browse(QUEUE)] == [b"%05d" % n for n in range(2 * number)]
    assert peak < 50 << 20, f"{peak >> 20} MB"


# Damage


def test_slots_that_cant_be_read_stay_and_the_rest_is_adopted(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = {what: leave(place, put(f"in the slot with {what}")) for what in UNUSABLE if what != "another user's"}
    good = [leave(place, put("x" * 9000)), leave(place, put("y"))]
    for what, directory in bad.items():
        UNUSABLE[what](directory)
    contents = sorted(repr(tree(slot)) for slot in bad.values())
    slots = open_slots(place)
    slot, moved = take_and_adopt(slots)
    assert slot.directory == str(good[0])
    assert moved == Moved(items=1)
    assert [item[0] for item in items(slot.store)] == ["x", "y"]
    kept = [place / str(slot.directory) / name for name in litter(slot)]
    assert sorted(repr(tree(directory)) for directory in kept) == contents
    for directory in kept:
        assert str(directory) in caplog.text
    caplog.clear()
    slots.leave(slot, empty=False)
    again, _ = take_and_adopt(slots)
    assert [Path(again.directory, name).name for name in litter(again)] == [directory.name for directory in kept]
    assert sum(str(directory) in caplog.text for directory in kept) == len(kept), "they are named each time"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_slot_stays_where_it_is(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave(place, put("x" * 9000))
    theirs = leave(place, put("theirs"))
    os.chown(theirs, 12345, -1)
    before = tree(theirs)
    _, moved = take_and_adopt(open_slots(place))
    assert not any(moved)
    assert tree(theirs) == before
    assert f"{theirs} is passed over: it belongs to another user" in caplog.text


def _flip(slot: Path, item: str) -> bytes:
    """Damage a record; the bytes that are there then."""
    for segment in slot.glob("*.seg"):
        data = bytearray(segment.read_bytes())
        at = data.find(item.encode())
        if at >= 0:
            data[at] ^= 0xFF
            segment.write_bytes(data)
            return bytes(data[at : at + len(item)])
    raise AssertionError(f"{item} isn't there")


@pytest.mark.parametrize("closed", [True, False], ids=["with a checkpoint", "killed"])
def test_what_can_be_read_of_a_damaged_slot_is_adopted_and_the_rest_kept(
    place: Path, closed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With a checkpoint the damage is found while the records are read, without one when the slot is opened."""
    leave(place, put("x" * 9000))
    bad = leave(place, *(put(f"<item-{n}>", n) for n in range(9)), closed=closed)
    flipped = _flip(bad, "<item-4>")
    slots = open_slots(place)
    slot, moved = take_and_adopt(slots)
    assert items(slot.store)[1:] == [f"<item-{n}>" for n in range(9) if n != 4]
    assert moved.items == 8
    (kept,) = litter(slot)
    assert kept.startswith("damaged-of-1-")
    assert flipped in Path(slot.directory, kept).read_bytes()
    assert caplog.records
    slots.leave(slot, empty=True)
    assert Path(slot.directory, kept).exists()


def test_a_slot_whose_checkpoint_was_cut_off_loses_nothing(place: Path) -> None:
    leave(place, put("x" * 9000))
    slot = leave(place, *(put(f"{n}", n) for n in range(9)), closed=True)
    checkpoint = slot / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:40])
    assert everything(place)[1:] == [f"{n}" for n in range(9)]


def test_slots_without_a_segment_yet_are_taken_away(place: Path) -> None:
    """Whoever made them died at once."""
    leave(place, put("x"))
    for number, files in enumerate(
        [(), ("LOCK",), ("LOCK", "0000000000000001.seg.tmp"), ("LOCK", "checkpoint.tmp")], 1
    ):
        (place / str(number)).mkdir(mode=0o700)
        for name in files:
            (place / str(number) / name).write_bytes(b"")
    assert everything(place) == ["x"]


# An adopted slot in an adopted slot


def test_what_an_adopter_had_not_moved_when_it_died(place: Path) -> None:
    """Its mark is where its store is: in the slot that is adopted next."""
    leave(place, put("0", 0))
    outer = leave(place, put("1", 1), put("2", 2))
    inner = leave(place.with_name("beside"), put("1", 1), put("2", 2), put("3", 3), put("4", 4))
    inner.rename(outer / "adopted-7-0123abcd")
    with SegmentStore(outer / "adopted-7-0123abcd", disk=ScratchDisk()) as store:
        second = [record.id for record in store.browse(QUEUE)][1]
    with SegmentStore(outer, disk=ScratchDisk()) as store:
        store.commit(Set("pqadapters.moved", b"adopted-7-0123abcd", b'{"default": %d}' % second))
    assert everything(place) == ["0", "1", "2", "3", "4"]


def test_one_that_had_ended_and_was_not_removed(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its files went in part: what is left tells of records that were done, and is not read."""
    leave(place, put("1", 1))
    outer = leave(place, put("2", 2), put("x" * 9000, 3))
    inner = leave(place.with_name("beside"), put("done long ago"), put("2", 2))
    inner.rename(outer / "adopted-7-0123abcd")
    with SegmentStore(outer, disk=ScratchDisk()) as store:
        store.commit(Set("pqadapters.moved", b"adopted-7-0123abcd", b'"ended"'))
    (outer / "adopted-7-0123abcd" / "0000000000000001.seg").write_bytes(b"torn away")
    assert [item[0] for item in everything(place)] == ["1", "2", "x"]
    assert not caplog.records


def test_one_that_cant_be_read_doesnt_go_with_the_one_around_it(place: Path) -> None:
    leave(place, put("x" * 9000))
    outer = leave(place, put("1", 1))
    inner = leave(place.with_name("beside"), put("precious"))
    UNUSABLE["a newer format"](inner)
    before = tree(inner)
    inner.rename(outer / "adopted-7-0123abcd")
    slots = open_slots(place)
    slot, moved = take_and_adopt(slots)
    assert moved == Moved(items=1)
    assert litter(slot) == ["adopted-7-0123abcd"]
    assert tree(Path(slot.directory, "adopted-7-0123abcd")) == before


def test_one_in_another_that_cant_be_read_stays_in_it(place: Path) -> None:
    """How far it was moved over is known to the one around it alone."""
    leave(place, put("x" * 9000))
    outer = leave(place, put("1", 1))
    inner = leave(place.with_name("beside"), put("2", 2))
    inner.rename(outer / "adopted-7-0123abcd")
    UNUSABLE["both headers gone"](outer)
    slot, moved = take_and_adopt(open_slots(place))
    assert not any(moved)
    (name,) = litter(slot)
    assert Path(slot.directory, name, "adopted-7-0123abcd").is_dir()


# Failure


class Refusing(ScratchDisk):
    """Refuses writes of records that hold a word."""

    word = b""

    def write(self, fd: int, data: bytes, offset: int) -> None:
        if self.word and self.word in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(fd, data, offset)


@pytest.fixture
def interleaved(place: Path) -> Path:
    """A slot that is taken, and one whose records belong among its own."""
    leave(place, *(put(f"{n:04d}".ljust(20), n) for n in range(0, 2400, 2)))
    leave(place, *(put(f"{n:04d}", n) for n in range(1, 2400, 2)))
    return place


def test_an_adoption_that_fails_can_be_tried_again(interleaved: Path) -> None:
    """What was claimed of our own records to be put again is given back: it must be served, whatever happens."""
    disk = Refusing()
    slots = open_slots(interleaved, disk)
    slot = slots.take()
    disk.word = b"1500"
    with pytest.raises(DiskError):
        adopt(slots, slot, ends=is_left_behind, transient=False)
    depth = slot.store.depth(QUEUE)
    assert depth.claimed == 0
    assert depth.ready < 2400
    slot.store.commit(put("meanwhile"))
    disk.word = b""
    adopt(slots, slot, ends=is_left_behind, transient=False)
    assert [item.strip() for item in items(slot.store)] == [*(f"{n:04d}" for n in range(2400)), "meanwhile"]
    assert litter(slot) == []


@pytest.mark.parametrize("carried_out", [False, True])
def test_an_adoption_that_is_interrupted_can_be_tried_again(
    interleaved: Path, carried_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = open_slots(interleaved)
    slot = slots.take()
    commit = SegmentStore.commit

    def interrupted(self: SegmentStore, *ops: Op, **options: object) -> tuple[int, ...]:
        if any(isinstance(op, Put) and op.payload == b"1501" for op in ops):
            monkeypatch.undo()
            if carried_out:
                commit(self, *ops)
            raise KeyboardInterrupt
        return commit(self, *ops)

    monkeypatch.setattr(SegmentStore, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adopt(slots, slot, ends=is_left_behind, transient=False)
    assert slot.store.depth(QUEUE).claimed == 0
    adopt(slots, slot, ends=is_left_behind, transient=False)
    assert [item.strip() for item in items(slot.store)] == [f"{n:04d}" for n in range(2400)]


def test_a_slot_that_cant_be_removed_is_removed_next_time(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave(place, put("x" * 9000))
    leave(place, put("y"))

    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    with monkeypatch.context() as patched:
        patched.setattr("pqadapters.stores.segment.estates.directories.remove", refuse)
        patched.setattr("shutil.rmtree", refuse)
        slots = open_slots(place)
        slot, moved = take_and_adopt(slots)
    assert moved == Moved(items=1)
    assert "can't be removed yet" in caplog.text
    slot.store.discard()
    assert [item[0] for item in everything(place)] == ["x", "y"]


def test_a_sync_that_fails_poisons_the_slot_and_loses_nothing(interleaved: Path) -> None:
    class Failing(ScratchDisk):
        def sync(self, fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

    slots = open_slots(interleaved, ScratchDisk())
    slot = slots.take()
    slot.store._core.disk.__class__ = Failing
    with pytest.raises(StorePoisoned):
        adopt(slots, slot, ends=is_left_behind, transient=False)
    slot.store.close()
    assert [item.strip() for item in everything(interleaved)] == [f"{n:04d}" for n in range(2400)]
