"""Space comes back by itself: what is on the disk follows what is live, not what once was."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pqadapters.errors import DiskError
from pqadapters.store import Ack, Delete, Nack, Put, Set
from pqadapters.stores._disk import ScratchDisk
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.format import ACK_FRAME, PUT_COST
from pqadapters.stores.segment.queues import Catalog, Queue

SEGMENT = 16384


def _open(directory: Path) -> SegmentStore:
    return SegmentStore(directory, segment_bytes=SEGMENT, durability="process", max_lag=1000.0)


def _bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix == ".seg" or path.name == "checkpoint")


def _pass_through(store: SegmentStore, count: int, *, lazy: bool = True) -> None:
    """So many records come and go."""
    for n in range(count):
        store.commit(Put("q", b"%d" % n * 20))
        store.commit(Ack(store.claim("q")[0], lazy))


@pytest.mark.parametrize("how", ["one by one", "together", "beside something else"])
def test_an_empty_queue_is_one_segment(how: str, tmp_path: Path) -> None:
    store = _open(tmp_path)
    for _ in range(300):
        store.commit(Put("q", bytes(1000)))
    assert len(_names(tmp_path)) > 15
    acks = [Ack(claim) for claim in store.claim("q", limit=300)]
    if how == "one by one":
        for ack in acks:
            store.commit(ack)
    else:
        store.commit(*acks, *[Delete("t", b"k")] * (how == "beside something else"))
    assert len([name for name in _names(tmp_path) if name.endswith(".seg")]) == 1
    store.checkpoint()
    assert len(_names(tmp_path)) == 2
    store.close()
    assert _bytes(tmp_path) < 2 * SEGMENT


@pytest.mark.parametrize("lazy", [True, False])
def test_a_queue_that_is_emptied_all_the_time_stays_small(tmp_path: Path, lazy: bool) -> None:
    with _open(tmp_path) as store:
        largest = 0
        for _ in range(10):
            _pass_through(store, 300, lazy=lazy)
            largest = max(largest, _bytes(tmp_path))
        assert largest < 8 * SEGMENT


@pytest.mark.parametrize("pin", ["record", "key", "dead letter", "claimed", "moved"])
def test_an_old_record_doesnt_pin_what_came_behind_it(pin: str, tmp_path: Path) -> None:
    with _open(tmp_path) as store:
        store.commit(Put("old", b"precious"), Set("t", b"k", b"v"))
        if pin == "dead letter":
            store.commit(Nack(store.claim("old")[0], dead="why"))
        elif pin == "claimed":
            store.claim("old")
        elif pin == "key":
            store.commit(Ack(store.claim("old")[0]))
        for turn in range(12 if pin == "moved" else 5):
            _pass_through(store, 400)
            assert _bytes(tmp_path) < 10 * SEGMENT, f"round {turn}"
        assert store.get("t", b"k") == b"v"
    with _open(tmp_path) as store:
        assert store.get("t", b"k") == b"v"
        found = [record.payload for name in ("old", "old.dead") for record in store.browse(name)]
        assert found == ([] if pin == "key" else [b"precious"])


@pytest.mark.parametrize("what", ["records", "keys"])
def test_thousands_that_wait_dont_keep_what_came_behind_them(what: str, tmp_path: Path) -> None:
    """A checkpoint that names them is longer than one file. The first file, dead, wasn't worth one, and as long as it
    stood there the next one wasn't written again: the directory grew with each record that came and went."""
    with _open(tmp_path) as store:
        store.commit(*(Set("t", b"%d" % n, b"x") if what == "keys" else Put("old", b"x") for n in range(5000)))
        for _ in range(180):
            store.commit(Put("q", bytes(9000)))
            store.commit(Ack(store.claim("q")[0], lazy=True))
        assert store._core.log.size < 1_100_000
        assert store.depth("old").ready + store.count("t") == 5000


def test_a_table_that_is_overwritten_stays_small(tmp_path: Path) -> None:
    with _open(tmp_path) as store:
        for n in range(5000):
            store.commit(Set("t", b"%d" % (n % 30), b"%d" % n * 20))
        assert _bytes(tmp_path) < 12 * SEGMENT
        assert store.count("t") == 30
    with _open(tmp_path) as store:
        assert sorted(store.scan("t")) == sorted((b"%d" % (n % 30), b"%d" % n * 20) for n in range(4970, 5000))


def test_values_that_were_found_damaged_take_no_room_any_more(tmp_path: Path) -> None:
    """They passed for live from then on: what was overwritten was kept as long as it wasn't more than they had been."""
    with _open(tmp_path) as store:
        store.commit(*(Set("t", b"%d" % n, b"%04d" % n * 5000) for n in range(30)), Set("t", b"kept", b""))
        for file in tmp_path.glob("*.seg"):
            file.write_bytes(file.read_bytes().replace(b"00", b"01"))
        assert [store.get("t", b"%d" % n) for n in range(30)] == [None] * 30
        for n in range(3000):
            store.commit(Set("t", b"live %d" % (n * n % 211 if n % 3 else n % 200), bytes(1000)))
        assert sum(path.stat().st_size for path in tmp_path.glob("*.seg")) < 3 * store.count("t") * 1000


@pytest.mark.parametrize("refused", ["EOPNOTSUPP", "EINVAL", "ENOSYS", "EPERM"])
def test_where_files_cant_be_allocated_their_room_is_written(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a filesystem that has no such thing, or by a sandbox that lets nobody ask for it."""

    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(getattr(errno, refused), os.strerror(getattr(errno, refused)))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with _open(tmp_path / "q") as store:
        _pass_through(store, 2000)
        store.commit(Put("q", b"last"))
        assert all(path.stat().st_blocks * 512 >= path.stat().st_size for path in (tmp_path / "q").glob("*.seg"))
    with _open(tmp_path / "q") as store:
        assert store.claim("q")[0].payload == b"last"


def test_a_backlog_takes_its_own_size(tmp_path: Path) -> None:
    """Many live records: no more than twice what they are, while they are worked off, too."""
    with _open(tmp_path) as store:
        for n in range(600):
            store.commit(Put("q", b"%04d" % n * 100))
        while claims := store.claim("q", limit=20):
            store.commit(*map(Ack, claims))
            live = store.depth("q").bytes
            assert _bytes(tmp_path) < 2 * live + 8 * SEGMENT


def test_files_that_are_open_stay_few(tmp_path: Path) -> None:
    with _open(tmp_path) as store:
        for _ in range(400):
            store.commit(Put("q", bytes(2000)))
        assert sum(1 for _ in store.browse("q")) == 400
        held = sum(segment.fd >= 0 for segment in store._core.log.segments)
        assert len(store._core.log.segments) > 40
        assert held <= 10


def test_a_store_that_the_end_of_the_interpreter_finds_open_takes_no_room_ahead(tmp_path: Path) -> None:
    with _open(tmp_path) as store:
        store.commit(Put("q", b"x"))
        store.commit(Ack(store.claim("q")[0]))
        assert _bytes(tmp_path) > SEGMENT
        store._core.end()
        assert _bytes(tmp_path) < SEGMENT
        assert "checkpoint" in _names(tmp_path)
        store.commit(Put("q", b"y"))
        assert [record.payload for record in store.browse("q")] == [b"y"]


def test_what_was_learnt_of_a_queue_keeps_no_segment_behind(tmp_path: Path) -> None:
    """One record of a table in the middle of the log pinned all that came behind it."""
    with SegmentStore(tmp_path, segment_bytes=SEGMENT, disk=ScratchDisk()) as store:
        for number in range(3000):
            if number == 1000:
                store.commit(Set("learnt", b"q", b"next"))
            store.commit(Put("q", b"x" * 40))
        while claims := store.claim("q", limit=1):
            store.commit(Ack(claims[0], lazy=True))
        assert len(list(tmp_path.glob("*.seg"))) <= 2
    assert len(list(tmp_path.glob("*.seg"))) == 1
    with SegmentStore(tmp_path, segment_bytes=SEGMENT, disk=ScratchDisk()) as store:
        assert store.get("learnt", b"q") == b"next"


class CountingDisk(ScratchDisk):
    """Counts bytes."""

    written = 0

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self.written += len(data)
        super().write(fd, data, offset)


def test_a_few_large_records_are_not_written_again_and_again(tmp_path: Path) -> None:
    """As few as they are: each fills a segment."""
    with SegmentStore(tmp_path, segment_bytes=SEGMENT, disk=(disk := CountingDisk())) as store:
        for _ in range(8):
            store.commit(Put("q", b"x" * (SEGMENT - 2000)))
        written = disk.written
        for _ in range(20):
            store.checkpoint()
        assert disk.written - written < 8 * SEGMENT


def _in_segments(directory: Path) -> list[int]:
    """How many records each of the files has."""
    with SegmentStore(directory, disk=ScratchDisk()) as store:
        return [segment.live for segment in store._core.log.segments]


def test_large_records_dont_fill_a_segment_a_few_each(tmp_path: Path) -> None:
    """Unless it was said how large segments are to be."""
    for name, segment_bytes in (("free", None), ("given", 2 << 20)):
        with SegmentStore(tmp_path / name, segment_bytes=segment_bytes, disk=ScratchDisk()) as store:
            for _ in range(100):
                store.commit(Put("q", bytes(100_000)))
            store.commit(*[Put("q", bytes(100_000))] * 30)
    assert _in_segments(tmp_path / "free") == [63, 37, 30]
    assert _in_segments(tmp_path / "given") == [20, 20, 20, 20, 20, 30]


@pytest.mark.parametrize("together", [1, 5_000])
def test_small_records_fill_no_larger_ones(together: int, tmp_path: Path) -> None:
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        for _ in range(60_000 // together):
            store.commit(*[Put("q", bytes(40))] * together)
        assert len(store._core.log.segments) == 3
        assert max(segment.end for segment in store._core.log.segments) <= store._core.log.segment_bytes


def test_small_records_in_the_room_of_large_ones_can_all_be_acknowledged(tmp_path: Path) -> None:
    """On a full disk, out of the reserve; and there are more of them than in a segment of their own."""
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        log = store._core.log
        for _ in range(40):
            store.commit(Put("q", bytes(130_000)))
        while len(log.segments) == 1:
            live, left = log.live, log.in_reserve
            store.commit(*[Put("q", b"")] * 1000)
        assert live > log.segment_bytes // PUT_COST
        assert left >= live * ACK_FRAME


@pytest.mark.parametrize("behind", ["another segment", "a close"])
@pytest.mark.parametrize("what", ["records", "keys"])
def test_the_reserve_covers_small_records_in_a_segment_of_large_ones_that_has_ended(
    what: str, behind: str, tmp_path: Path
) -> None:
    """Its end is what one of large records has, also where the next one has room for small records alone."""
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        log, count, size = store._core.log, 0, 480
        while len(log.segments) == 1:
            if count < 40:
                store.commit(Put("q", bytes(130_000)))
            elif what == "records":
                store.commit(*[Put("q", b"")] * 1000)
            else:
                store.commit(*[Set("t", b"%0*d" % (size, count + n), b"") for n in range(100)])
            count += 1 if count < 40 or what == "records" else 100
        if behind == "another segment":
            held = log.segments[0].live
            assert log.in_reserve >= held * ACK_FRAME + (held - 40) * size * (what == "keys")
    if behind == "a close":
        with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
            log = store._core.log
            held = log.segments[0].live
            assert log.in_reserve >= held * ACK_FRAME + (held - 40) * size * (what == "keys")


def test_the_largest_records_share_eight_megabytes(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        for _ in range(10):
            store.commit(Put("q", bytes(3 << 20)))
        assert {segment.live for segment in store._core.log.segments} == {2}
        store.commit(Put("q", bytes(10 << 20)))
        assert store._core.log.tail.live == 1


def test_a_front_of_large_records_isnt_written_again_while_it_is_worked_off(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, disk=(disk := CountingDisk())) as store:
        for _ in range(20):
            store.commit(Put("q", bytes(100_000)))
        written = disk.written
        for _ in range(1000):
            store.commit(Put("q", bytes(100_000)))
            store.commit(Ack(store.claim("q")[0]))
        assert disk.written - written < 1.1 * 1000 * 100_000


def test_large_records_dont_keep_a_huge_one_that_came_with_them(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        store.commit(*[Put("q", bytes(size)) for size in (20 << 20, 1 << 20, 2 << 20)])
        store.commit(Ack(store.claim("q")[0]))
        assert _bytes(tmp_path) > 20 << 20
        for _ in range(3000):
            store.commit(Put("other", bytes(40)))
            store.commit(Ack(store.claim("other")[0]))
        assert _bytes(tmp_path) < 8 << 20
        assert [len(record.payload) for record in store.browse("q")] == [1 << 20, 2 << 20]


class TrimmedDisk(ScratchDisk):
    """Counts how often a segment was made shorter, and how many checkpoints were written."""

    trimmed = saved = 0

    def rename(self, path: str, to: str) -> None:
        self.saved += to.endswith("checkpoint")
        super().rename(path, to)

    def truncate(self, fd: int, size: int) -> None:
        self.trimmed += size > 0
        super().truncate(fd, size)


def test_what_was_trimmed_is_not_trimmed_again(tmp_path: Path) -> None:
    """Each time takes a sync, also of a program that puts nothing and ends."""
    with SegmentStore(tmp_path, segment_bytes=SEGMENT, disk=(disk := TrimmedDisk())) as store:
        store.commit(Put("q", b"x"))
        store.commit(Ack(store.claim("q")[0]))
        store.checkpoint()
        assert disk.trimmed == 1
        store.checkpoint()
    assert disk.trimmed == 1


def _fill_and_empty(store: SegmentStore) -> None:
    """So that it is worth to begin another segment."""
    for _ in range(300):
        store.commit(Put("q", b"x" * 100))
    for claim in store.claim("q", limit=300):
        store.commit(Ack(claim))


def test_an_emptied_store_is_closed_with_one_checkpoint(tmp_path: Path) -> None:
    """And what goes isn't made shorter before: each takes a sync, of each short program."""
    with SegmentStore(tmp_path, disk=(disk := TrimmedDisk())) as store:
        _fill_and_empty(store)
    assert (disk.saved, disk.trimmed) == (1, 0)
    assert _names(tmp_path) == ["0000000000000002.seg", "checkpoint"]


def test_an_emptied_store_is_opened_by_its_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The segment that it has is a header and no more, and it was said that the checkpoint isn't about that one."""
    with SegmentStore(tmp_path) as store:
        _fill_and_empty(store)
        behind = store.next_id
    caplog.set_level("INFO")
    with SegmentStore(tmp_path) as store:
        assert store.next_id == behind
        store.commit(Put("q", b"x"))
    with SegmentStore(tmp_path) as store:
        assert [record.payload for record in store.browse("q")] == [b"x"]
    assert not caplog.messages


class AwaitedDisk(ScratchDisk):
    """Counts how often somebody waits for it."""

    synced = 0

    def sync(self, fd: int) -> None:
        self.synced += 1

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        self.synced += 1


@pytest.mark.parametrize("count", [3, 300])
@pytest.mark.parametrize("how", ["close", "exit"])
def test_the_end_of_a_program_waits_for_the_disk_once(how: str, count: int, tmp_path: Path) -> None:
    """For what was written. The checkpoint and the mark are shortcuts: the system has its time for them."""
    store = SegmentStore(tmp_path, durability="process", max_lag=1000.0, disk=(disk := AwaitedDisk()))
    for _ in range(count):
        store.commit(Put("q", b"x" * 100))
    before = disk.synced
    store._core.end() if how == "exit" else store.close()
    assert disk.synced - before == 1
    assert (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("count", [0, 3, 300])
def test_what_a_close_has_left_is_opened_without_waiting_for_the_disk(count: int, tmp_path: Path) -> None:
    """All of it was synced then, and the mark and the checkpoint say so, each by itself. But for its name, which an
    earlier program may have made."""
    for left in ("checkpoint and mark", "mark"):
        with SegmentStore(tmp_path / left) as store:
            for _ in range(count):
                store.commit(Put("q", b"x" * 100))
        if left == "mark":
            (tmp_path / left / "checkpoint").unlink()
        with SegmentStore(tmp_path / left, disk=(disk := AwaitedDisk())) as store:
            assert (disk.synced, len(list(store.browse("q")))) == (1, count)


def test_what_an_unsynced_put_has_left_behind_the_mark_is_cut_off_for_good(tmp_path: Path) -> None:
    """Of its sectors the disk had all but the one with the mark. Another power cut would bring them back."""
    with SegmentStore(tmp_path) as store:
        store.commit(Put("q", b"x"))
    with open(tmp_path / "0000000000000001.seg", "ab") as file:
        file.write(bytes(600) + b"y" * 300)
    with SegmentStore(tmp_path, disk=(disk := AwaitedDisk())) as store:
        assert (disk.synced > 1, store.damage) == (True, ())


def test_files_that_no_checkpoint_names_go_without_one(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, segment_bytes=SEGMENT, disk=(disk := TrimmedDisk())) as store:
        _fill_and_empty(store)
        store.commit(Put("q", b"x"))
        assert (_names(tmp_path)[0] > "0000000000000002", disk.saved) == (True, 0)
    assert disk.saved == 1


class NarrowDisk(TrimmedDisk):
    """Has no room for another segment until one was made shorter."""

    is_narrow = False

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        if self.is_narrow and path.endswith(".seg.tmp") and not self.trimmed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().open(path, create=create, write=write)


def test_an_emptied_store_is_made_anew_in_the_room_that_it_gives_up(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, disk=(disk := NarrowDisk())) as store:
        _fill_and_empty(store)
        disk.is_narrow = True
    assert (disk.saved, disk.trimmed) == (1, 1)
    assert _names(tmp_path) == ["0000000000000002.seg", "checkpoint"]


class TornDisk(ScratchDisk):
    """Writes half of something and no more, or removes nothing."""

    broken = keeps = False

    def write(self, fd: int, data: bytes, offset: int) -> None:
        if not self.broken:
            return super().write(fd, data, offset)
        if b"TORN" in data:
            super().write(fd, data[: len(data) // 2], offset)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def truncate(self, fd: int, size: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(fd, size)

    def unlink(self, path: str) -> None:
        if self.keeps and path.endswith(".seg"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().unlink(path)


def test_what_a_failed_write_has_left_is_gone_from_a_segment_that_is_no_more_the_last(tmp_path: Path) -> None:
    """There it would be taken for damage."""
    with SegmentStore(tmp_path, disk=(disk := TornDisk())) as store:
        _fill_and_empty(store)
        disk.broken = True
        with pytest.raises(DiskError):
            store.commit(Put("q", b"TORN" * 20))
        disk.broken, disk.keeps = False, True
    assert [path.stat().st_size > 16384 for path in sorted(tmp_path.glob("*.seg"))] == [True, False]
    assert not any(b"TORN" in path.read_bytes() for path in tmp_path.glob("*.seg"))
    with SegmentStore(tmp_path) as store:
        assert not store.damage
        assert store.depth("q").unfinished == 0


def test_what_a_failed_write_has_left_is_cut_off_at_the_close(tmp_path: Path) -> None:
    """With the room beyond it, which seemed to have been given back."""
    with SegmentStore(tmp_path, disk=(disk := TornDisk())) as store:
        store.commit(Put("q", b"x"))
        disk.broken = True
        with pytest.raises(DiskError):
            store.commit(Put("q", b"TORN" * 20))
        disk.broken = False
    (segment,) = tmp_path.glob("*.seg")
    assert b"TORN" not in segment.read_bytes()
    assert segment.stat().st_size < 65536


def test_how_often_a_record_was_claimed_is_in_the_checkpoint(tmp_path: Path) -> None:
    """It isn't in the log, so one that has been written since the last put says less."""
    with SegmentStore(tmp_path, segment_bytes=SEGMENT, disk=ScratchDisk()) as store:
        store.commit(Put("q", b"x"))
        store.checkpoint()
        store.claim("q")
    with SegmentStore(tmp_path, segment_bytes=SEGMENT, disk=ScratchDisk()) as store:
        (claim,) = store.claim("q")
        assert claim.attempt == 2


def test_a_queue_that_is_new_to_a_segment_costs_no_look_at_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue for each request: with 16,000 names a put took 2 ms, to find that there was no space to give back."""
    looks, look = list[Catalog](), Catalog.live_bytes
    monkeypatch.setattr(Catalog, "live_bytes", lambda catalog, log: looks.append(catalog) or look(catalog, log))
    with _open(tmp_path) as store:
        for n in range(1000):
            store.commit(Set("learnt", b"%d" % n, b"next"))
            store.commit(Put(f"answers-{n}", b"x"))
            store.commit(Ack(store.claim(f"answers-{n}")[0]))
        assert len(_names(tmp_path)) > 2
    assert len(looks) < 100


def test_puts_to_thousands_of_queues_in_turn_look_at_all_of_them_once_for_a_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each put of a queue that the last segment didn't name yet did so: with 10,000 queues 345 µs in place of 26."""
    looks, look = list[Catalog](), Catalog.live_bytes
    monkeypatch.setattr(Catalog, "live_bytes", lambda catalog, log: looks.append(catalog) or look(catalog, log))
    with _open(tmp_path) as store:
        for n in range(2000):
            store.commit(Put(f"q{n % 500}", bytes(100)))
            if n >= 500:
                store.commit(Ack(store.claim(f"q{n % 500}")[0]))
        assert len(looks) < 200


def test_a_finalizer_asks_for_a_new_queue_while_all_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit or checkpoint that it came in the middle of failed: a dictionary had changed its size."""
    new, total = [b"", b"2", b"3"], Queue.total.__get__

    def interrupted(queue: Queue) -> object:
        if new:
            assert store.depth(f"new {new.pop()!r}").ready == 0
        return total(queue)

    with _open(tmp_path) as store:
        for n in range(9):
            store.commit(Put(f"q{n}", b"x"))
        with monkeypatch.context() as patch:
            patch.setattr(Queue, "total", property(interrupted))
            store.checkpoint()
        assert not new
    with _open(tmp_path) as store:
        assert [store.depth(f"q{n}").ready for n in range(9)] == [1] * 9
