"""Damage that is found: what is kept of it, what a crash meanwhile leaves, and what is no damage."""

from __future__ import annotations

import os
import random
import shutil
import threading
from pathlib import Path

import pytest

from pqadapters.errors import LeaseLost, StoreRefused
from pqadapters.store import Ack, Nack, Op, Put, Set
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import SegmentStore, format, space

from ..contract.threads import Task
from .faulty import FaultyDisk
from .promises import PROCESS, Ruins, die
from .states import Snapshot, cut_writes, distinct
from .test_damage import served


def test_i8_a_record_found_damaged_at_work_stays_gone(tmp_path: Path) -> None:
    """The checkpoint on the disk lists it; after SIGKILL it must not be served from the bytes that replaced it."""
    directory = tmp_path / "store"
    directory.mkdir()
    store = SegmentStore(directory, disk=FaultyDisk(str(directory)))
    store.commit(*(Put("q", b"%d" % n * 50) for n in range(3)))
    store.close()
    path = next(directory.glob("*.seg"))
    data = path.read_bytes()
    at = data.index(b"1" * 50)
    path.write_bytes(data[:at] + b"!" + data[at + 1 :])
    store = SegmentStore(directory, disk=FaultyDisk(str(directory)))
    assert [claim.payload[:1] for claim in store.claim("q", limit=3)] == [b"0", b"2"]
    assert len(store.damage) == 1
    die(store)
    records, _, damage = served(directory)
    assert ([payload[:1] for payload in records.values()], damage) == ([b"0", b"2"], ())


def test_damaged_bytes_are_on_the_disk_elsewhere_before_they_are_written_over(tmp_path: Path) -> None:
    """Here in a segment that is not the last one, which is synced in any case."""
    with SegmentStore(tmp_path, segment_bytes=4096) as store:
        for n in range(60):
            store.commit(Put("q", b"%02d" % n * 50))
    (tmp_path / "checkpoint").unlink()
    segment = min(tmp_path.glob("*.seg"))
    segment.write_bytes(segment.read_bytes().replace(b"01" * 50, b"!!" * 50))
    with SegmentStore(tmp_path, disk=(disk := FaultyDisk(str(tmp_path)))) as store:
        (damage,) = store.damage
    copy = Path(damage.quarantine).name + ".tmp"
    steps = [(kind, copy) for kind in ("create", "write", "sync", "rename")]
    steps += [("sync_directory", ""), ("write", segment.name), ("sync", segment.name)]
    done = [(action.kind, action.name) for action in disk.actions]
    assert [each for each in done if each in steps][: len(steps)] == steps


def test_nothing_is_kept_of_records_found_damaged(tmp_path: Path) -> None:
    """Neither what memory has for who gets them at once, nor how often they were claimed."""
    with SegmentStore(tmp_path) as store:
        store.commit(*(Put("q", b"%d" % n * 50) for n in range(2)))
        store.commit(*map(Nack, store.claim("q", counted=True)))
        store.commit(Put("q", b"2" * 50))
        path = next(tmp_path.glob("*.seg"))
        data = path.read_bytes()
        for n in (b"0", b"2"):
            data = data.replace(n * 50, b"!" * 50)
        path.write_bytes(data)
        store._core.reader.forget()
        assert [record.payload[:1] for record in store.browse("q")] == [b"1"]
        assert (store._core.catalog.extra, store._core.recent) == ({}, {})


@pytest.mark.parametrize("state", ["ready", "delayed", "claimed"])
def test_i3_a_record_found_damaged_is_in_no_state(state: str, tmp_path: Path) -> None:
    """One that was taken out of the middle of its queue has left an entry there."""
    with SegmentStore(tmp_path) as store:
        ids = store.commit(*(Put("q", b"%d" % n * 50) for n in range(3)))
        if state != "ready":
            (claim,) = store.claim("q", ids=ids[1:2])
            if state == "delayed":
                store.commit(Nack(claim, not_before=4e9))
        looks = threading.Event()
        joiner = Task(lambda: store.wait("q", lambda depth: looks.set() or depth.unfinished < 3), patience=60)
        assert looks.wait(60)
        path = next(tmp_path.glob("*.seg"))
        path.write_bytes(path.read_bytes().replace(b"1" * 50, b"!" * 50))
        store._core.reader.forget()
        assert len(list(store.browse("q", state=None))) == 2
        assert joiner.result()
        assert store.depth("q")[:3] == (2, 0, 0)
        claims = store.claim("q", limit=9)
        assert [claim.payload[:1] for claim in claims] == [b"0", b"2"]
        store.commit(*map(Ack, claims))
        assert store.depth("q").unfinished == 0
        assert store.depth("q").bytes == 0 or state != "claimed"  # else nobody knows how much it was


def test_i8_bytes_that_were_kept_are_never_replaced(tmp_path: Path) -> None:
    """The same place is damaged again: the copies stand side by side."""
    place = b"%08d" % 1
    for turn in range(3):
        with SegmentStore(tmp_path / "store") as store:
            store.commit(Put("q", place + b"%d" % turn))
        path = tmp_path / "store" / "0000000000000001.seg"
        (copy,) = [path.read_bytes()]
        (tmp_path / "store" / "checkpoint").unlink()
        at = format.DATA + 5
        path.write_bytes(copy[:at] + bytes([copy[at] ^ (turn + 1)]) + copy[at + 1 :])
        with SegmentStore(tmp_path / "store") as store:
            (damage,) = store.damage
            assert Path(damage.quarantine).read_bytes()[5] == copy[at] ^ (turn + 1)
        names = {path.name for path in (tmp_path / "store").glob("damaged-*.bin")}
        assert len(names) == turn + 1, names


def test_i8_a_crash_while_damaged_bytes_are_put_aside(tmp_path: Path) -> None:
    """Whatever was done of it: the record isn't served, the others are, and its bytes are kept."""
    with SegmentStore(tmp_path / "store") as store:
        store.commit(*(Put("q", b"%d" % n * 700) for n in range(4)))
    path = tmp_path / "store" / "0000000000000001.seg"
    path.write_bytes(path.read_bytes().replace(b"2" * 700, b"2" * 300 + b"!" + b"2" * 399))
    disk, ruins, rng = FaultyDisk(str(tmp_path / "store")), Ruins(tmp_path / "ruins"), random.Random(3)
    store = SegmentStore(tmp_path / "store", disk=disk)
    before = len(disk.actions)
    assert [claim.payload[:1] for claim in store.claim("q", limit=4)] == [b"0", b"1", b"3"]
    die(store)
    for crash in range(before, len(disk.actions) + 1):
        for state in distinct(Snapshot(disk, crash).power_cut(rng, 4)):
            with ruins.build(state) as directory:
                records, _, damage = served(directory)
                assert list(records.values()) == [b"%d" % n * 700 for n in (0, 1, 3)]
                kept = b"".join(copy.read_bytes() for copy in directory.glob("damaged-*.bin"))
                assert b"2" * 300 + b"!" + b"2" * 399 in kept, damage
                assert served(directory) == (records, {}, ())


def test_i8_a_crash_while_a_commit_that_damage_has_torn_apart_is_put_right(tmp_path: Path) -> None:
    """A PAD half over the damage looked like a write that was never finished: what was whole of its commit went."""
    (tmp_path / "store").mkdir()
    disk = FaultyDisk(str(tmp_path / "store"))
    store = SegmentStore(tmp_path / "store", durability=PROCESS, disk=disk)
    store.commit(*(Put("q", b"%d" % n * 700) for n in range(4)))
    die(store)
    path = tmp_path / "store" / "0000000000000001.seg"
    path.write_bytes(path.read_bytes().replace(b"2" * 700, b"2" * 300 + b"!" + b"2" * 399))
    disk, ruins, rng = FaultyDisk(str(tmp_path / "store")), Ruins(tmp_path / "ruins"), random.Random(3)
    die(SegmentStore(tmp_path / "store", disk=disk))
    for crash in range(len(disk.actions) + 1):
        for state in distinct([*Snapshot(disk, crash).power_cut(rng, 4), *cut_writes(disk, crash, rng)]):
            with ruins.build(state) as directory:
                records, _, _ = served(directory)
                assert list(records.values()) == [b"%d" % n * 700 for n in (0, 1, 3)]
                kept = b"".join(copy.read_bytes() for copy in directory.glob("damaged-*.bin"))
                assert b"2" * 300 + b"!" + b"2" * 399 in kept


def test_i8_a_damaged_record_with_zeros_of_its_own_is_told_of(tmp_path: Path) -> None:
    """A few zeros were taken for a write that was broken off: what was whole of its commit went without a word."""
    (tmp_path / "store").mkdir()
    store = SegmentStore(tmp_path / "store", durability=PROCESS, disk=FaultyDisk(str(tmp_path / "store")))
    store.commit(*(Put("q", b"%d" % n * 70 + bytes(400)) for n in range(3)))
    die(store)
    path = tmp_path / "store" / "0000000000000001.seg"
    path.write_bytes(path.read_bytes().replace(b"1" * 70, b"1" * 35 + b"!" + b"1" * 34))
    records, _, damage = served(tmp_path / "store")
    assert list(records.values()) == [b"0" * 70 + bytes(400), b"2" * 70 + bytes(400)]
    assert [Path(item.path).name for item in damage] == [path.name]


@pytest.mark.parametrize("zeros", [False, True])
def test_i8_the_end_of_the_last_commit_is_damaged_in_front_of_the_mark(zeros: bool, tmp_path: Path) -> None:
    """What was whole of that commit went with it, and its ids were given again: it looked like one without an end."""
    with SegmentStore(tmp_path / "store", durability=PROCESS) as store:
        store.commit(Put("q", b"first"))
        ids = store.commit(*(Put("q", b"%d" % n * 70) for n in range(3)))
    (tmp_path / "store" / "checkpoint").unlink()
    path = tmp_path / "store" / "0000000000000001.seg"
    data = path.read_bytes()
    at = data.index(b"2" * 70)
    path.write_bytes(data[:at] + (bytes(70) if zeros else b"!" + data[at + 1 : at + 70]) + data[at + 70 :])
    records, _, damage = served(tmp_path / "store")
    assert list(records.values()) == [b"first", b"0" * 70, b"1" * 70]
    assert [Path(item.path).name for item in damage] == [path.name]
    assert served(tmp_path / "store") == (records, {}, ())
    with SegmentStore(tmp_path / "store") as store:
        assert store.commit(Put("q", b"new"))[0] > ids[-1]


def test_a_copy_that_a_store_before_this_one_has_left_makes_no_damage_of_a_crash(tmp_path: Path) -> None:
    """A commit that was never synced was served in part, where other bytes had once been put aside at its offset."""
    store = SegmentStore(tmp_path / "store", durability=PROCESS, disk=FaultyDisk(str(tmp_path / "store")))
    store.commit(Put("q", b"first"))
    store.sync()
    ids = store.commit(*(Put("q", b"%d" % n * 700) for n in range(3)))
    segment, start = store._core.log.locate(ids[1]) or (store._core.log.tail, 0)
    end = (store._core.log.locate(ids[2]) or (segment, 0))[1]
    die(store)
    path = Path(segment.path)
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(end - start) + data[end:])
    (tmp_path / "store" / f"damaged-{path.stem}-{start}.bin").write_bytes(b"older")
    assert served(tmp_path / "store") == ({ids[0] - 1: b"first"}, {}, ())


class _Killed(BaseException):
    pass


class _KilledBehindAPad(Disk):
    def write(self, fd: int, data: bytes, offset: int) -> None:
        super().write(fd, data, offset)
        if data[:3] == format.MAGIC + bytes([format.PAD]):
            raise _Killed


@pytest.mark.parametrize("queue", ["", "q", "qu", "que", "queu"])
def test_i8_a_lost_sector_behind_a_name_that_is_shorter_than_a_mark_is_no_damage(queue: str, tmp_path: Path) -> None:
    """The name was written over the mark behind what was synced, and the records behind it lack a sector, as a power
    cut leaves them: it has what the name has left of the mark."""
    store = SegmentStore(tmp_path / "s", durability="power")
    store.commit(Put("first", b"x"))
    path = store._core.log.tail.path
    end = store._core.log.tail.end
    older = Path(path).read_bytes()
    assert older[end : end + 3] == format.MAGIC + bytes([format.SYNC])
    store.commit(*[Put(queue, b"y" * 400)] * 6)
    newer = Path(path).read_bytes()[: store._core.log.tail.end]  # without the mark: they weren't synced
    die(store)
    name = end + format.FRAME_COST + format.NAME_FIELDS.size + len(queue)
    sector = name - name % 512 + 512
    Path(path).write_bytes(newer[:name] + older[name:sector] + newer[sector:])
    with SegmentStore(tmp_path / "s") as store:
        assert store.damage == ()
        assert store.depth("first").ready == 1
        assert store.depth(queue).ready == 0


def test_i8_a_recovery_that_was_broken_off_beside_a_checkpoint(tmp_path: Path) -> None:
    """A segment is shorter than the checkpoint says, which is of no use then, and is again once a PAD fills the gap: it
    was handed out as a record; and what was put behind it was gone once the checkpoint was."""
    with SegmentStore(tmp_path / "store") as store:
        ids = [store.commit(Put("q", b"old %d " % n * 20))[0] for n in range(20)]
        segment, offset = store._core.log.locate(ids[4]) or (store._core.log.tail, 0)
    os.truncate(segment.path, offset)
    with pytest.raises(_Killed):
        SegmentStore(tmp_path / "store", disk=_KilledBehindAPad())
    disk = FaultyDisk(str(tmp_path / "store"))
    store = SegmentStore(tmp_path / "store", disk=disk)
    assert [record.payload[:6] for record in store.browse("q")] == [b"old %d " % n for n in range(4)]
    new = [store.commit(Put("q", b"new"))[0] for _ in range(20)]
    assert new[0] > ids[-1]
    die(store)
    (tmp_path / "store" / "checkpoint").unlink(missing_ok=True)
    records, _, damage = served(tmp_path / "store")
    assert (list(records), damage) == ([*ids[:4], *new], ())


def test_a_store_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0000000000000001.seg"
    path.write_bytes(random.Random(0).randbytes(5000))
    (tmp_path / "0000000000000002.seg").touch()
    with pytest.raises(StoreRefused, match=r"both copies of its header.*move it elsewhere"):
        SegmentStore(tmp_path)
    assert path.read_bytes() == random.Random(0).randbytes(5000)
    assert len(list(tmp_path.glob("*.seg"))) == 2


@pytest.mark.parametrize("how", ["alone", "with another", "with a put"])
def test_i6_a_record_found_damaged_by_its_own_acknowledgement(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit that ends a claim may be the one that makes room, and finds the record unreadable: it is lost then."""
    directory = tmp_path / "store"
    directory.mkdir()
    store = SegmentStore(directory, durability=PROCESS, segment_bytes=4096, disk=FaultyDisk(str(directory)))
    log = store._core.log
    store.commit(Put("old", b"precious"))
    (claim,) = store.claim("old")
    path = directory / "0000000000000001.seg"
    path.write_bytes(path.read_bytes().replace(b"precious", b"prexious"))
    for _ in range(600):
        store.commit(Put("q", b""))
    store.commit(Put("old", b"whole"))
    (whole,) = store.claim("old")
    with monkeypatch.context() as patch:
        patch.setattr(store._core, "tidy_locked", lambda: None)  # else an earlier one finds it
        for other in store.claim("q", limit=600):
            if space.wasteful(log, store._core.catalog) and log.tail.end + format.ACK_FRAME > log.put_room:
                break
            assert store.damage == ()
            store.commit(Ack(other))
    others: dict[str, list[Op]] = {"with another": [Ack(whole)], "with a put": [Put("r", b"result")]}
    with pytest.raises(LeaseLost):
        store.commit(*others.get(how, []), Ack(claim))
    assert len(store.damage) == 1
    assert store.depth("r").ready == 0
    assert [record.payload for record in store.browse("old", state=None)] == [b"whole"]
    store.commit(Put("r", b"and on"), Ack(other))
    die(store)
    with SegmentStore(directory) as again:
        assert (again.damage, again.depth("r").ready) == ((), 1)


class _Untrimmed(Disk):
    """Files keep what stands behind their last frame: nobody has come to cut it off, or a power cut has undone that."""

    def truncate(self, fd: int, size: int) -> None:
        pass


@pytest.mark.parametrize("damaged", [False, True])
def test_i6_i8_a_mark_at_the_end_of_an_earlier_segment(damaged: bool, tmp_path: Path) -> None:
    """It has the number of the next segment's first frame, and damage before it takes no numbers of that one's."""
    store = SegmentStore(tmp_path / "store", disk=_Untrimmed(), segment_bytes=65536)
    store.commit(Put("q", b"first"))
    store.commit(Put("q", b"B" * 60000))
    first, end = Path(store._core.log.tail.path), store._core.log.tail.end
    for number in range(20):
        store.commit(Set("t", b"%d" % number, b"v" * 5000))
    assert len(store._core.log.segments) > 1
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    (tmp_path / "copy" / "checkpoint").unlink(missing_ok=True)
    if damaged:
        with open(tmp_path / "copy" / first.name, "r+b") as file:
            file.seek(end - 30000)
            file.write(b"\xff" * 100)
    for reopened in (False, True):
        with SegmentStore(tmp_path / "copy") as copy:
            assert copy._core.log.next == copy._core.log.tail.next
            assert [copy.get("t", b"%d" % number) for number in range(20)] == [b"v" * 5000] * 20
            assert len(copy.damage) == (damaged and not reopened)
            left = [record.payload[:5] for record in copy.browse("q")]
            assert left == [b"first"] + [b"BBBBB"] * (not damaged) + [b"new"] * reopened
            if not reopened:
                (id,) = copy.commit(Put("q", b"new"))
                assert id > 22
    store.discard()
