"""A disk that is really full: puts fail and say so, acknowledgements go on, and draining gives space back.

Where tests may mount (root), the disk is a small tmpfs filled by another file. Elsewhere `FullDisk` refuses what goes
beyond a number of bytes; that test runs everywhere.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError
from pqadapters.stdlib.queue import LifoQueue, PriorityQueue, Queue, SimpleQueue
from pqadapters.store import Ack, Delete, Nack, Order, Put, Set
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.format import PUT_COST

CAPACITY = 5 << 20


def fill(mount: Path) -> Path:
    """Another program's file takes what is left."""
    ballast = mount / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with pytest.raises(OSError, match=r"No space left"):
                while True:
                    file.write(bytes(size))
    return ballast


def put_until_full(store: SegmentStore, size: int, first: int = 0) -> int:
    """How many items there are when the disk is full."""
    number = first
    with pytest.raises(DiskError, match=r"free some space there, or drain the queue") as caught:
        while True:
            store.commit(Put("q", b"%08d" % number + bytes(size)))
            number += 1
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, store.place)
    return number


def drain(store: SegmentStore, count: int, first: int = 0, lazy: bool = True) -> None:
    """Each of them, in order, claimed and acknowledged one by one."""
    for number in range(first, first + count):
        (claim,) = store.claim("q")
        assert claim.payload[:8] == b"%08d" % number
        store.commit(Ack(claim, lazy=lazy))


@pytest.mark.parametrize("segment_bytes", [1 << 16, 2 << 20, None])
@pytest.mark.parametrize("size", [0, 40, 3000, 60_000])
def test_a_backlog_on_a_full_disk_is_drained(small: Path, size: int, segment_bytes: int | None) -> None:
    with SegmentStore(small / "q", durability="process", segment_bytes=segment_bytes) as store:
        store.commit(Put("q", b"%08d" % 0 + bytes(size)))
        count = put_until_full(store, size, first=1)
        fill(small)
        drain(store, count)
        assert store.depth("q")[:3] == (0, 0, 0)
        put_until_full(store, size, first=count)
        assert store.depth("q").ready > count // 10, "draining gave too little space back"


def test_where_the_newest_go_first_a_segments_share_can_be_acknowledged_until_there_is_room(small: Path) -> None:
    """The first segment is the last one to die. Nothing is lost, and who makes room goes on."""
    segment_bytes, done, refused = 1 << 16, 0, False
    (small / "ballast").write_bytes(bytes(3 << 20))
    with SegmentStore(small / "q", durability="process", segment_bytes=segment_bytes) as store:
        left = put_until_full(store, 0)
        while left:
            (claim,) = store.claim("q", order=Order.NEWEST)
            assert int(claim.payload) == left - 1
            try:
                store.commit(Ack(claim, lazy=True))
            except DiskError:
                assert not refused, "there is room by now"
                assert done >= segment_bytes // PUT_COST
                refused = True
                store.commit(Nack(claim))
                (small / "ballast").unlink()
            else:
                left, done = left - 1, done + 1
        assert refused
        assert store.depth("q")[:3] == (0, 0, 0)


@pytest.mark.parametrize(("segment_bytes", "others"), [(1 << 16, 3 << 20), (1 << 20, 27 << 17), (2 << 20, 4 << 20)])
@pytest.mark.parametrize("size", [0, 40, 3000])
@pytest.mark.parametrize("keys", [1, 40])
def test_what_was_learnt_of_queues_is_in_no_drains_way(
    small: Path, keys: int, size: int, segment_bytes: int, others: int
) -> None:
    """The keys kept the first segment: of several the reserve was used up for the rest of the backlog, and of one there
    was no room for another. So acknowledgements were refused, or puts when all was done, until it was opened anew."""
    learnt = [(b"%d" % number, b"task_done") for number in range(keys)]
    (small / "ballast").write_bytes(bytes(others))
    with SegmentStore(small / "q", durability="process", segment_bytes=segment_bytes) as store:
        store.commit(*[Set("t", *entry) for entry in learnt])
        count = put_until_full(store, size)
        drain(store, count)
        again = put_until_full(store, size, first=count) - count
        assert again > count // 2
        drain(store, again, first=count)
        assert list(store.scan("t")) == learnt
    with SegmentStore(small / "q") as store:
        assert store.depth("q").unfinished == 0
        assert list(store.scan("t")) == learnt


class _Shared(Disk):
    """Another program takes what a file gives up."""

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        fill(self.mount)

    mount: Path


def test_what_the_last_segment_gives_up_is_taken_by_others(small: Path) -> None:
    """The rest of a backlog couldn't be acknowledged, for the room of a segment that its records were to move to."""
    (small / "ballast").write_bytes(bytes(4 << 20))
    disk = _Shared()
    disk.mount = small
    with SegmentStore(small / "q", durability="process", disk=disk) as store:
        store.commit(Set("t", b"learnt", b"task_done"))
        count = put_until_full(store, 3000)
        drain(store, count)
        store.commit(Delete("t", b"learnt"))
        (small / "ballast").unlink()
        store.commit(Put("q", b"x"))


@pytest.mark.parametrize("closed", [False, True], ids=["open", "reopened"])
def test_one_segment_that_fills_the_disk_gives_it_back_again_and_again(small: Path, closed: bool) -> None:
    with open(small / "ballast", "wb") as ballast:
        ballast.write(bytes(CAPACITY - (3 << 19)))
    counts = []
    store = SegmentStore(small / "q", durability="process")
    for _ in range(3):
        counts.append(put_until_full(store, 100))
        drain(store, counts[-1])
        if closed:
            store.close()
            store = SegmentStore(small / "q", durability="process")
    store.close()
    assert min(counts) > counts[0] // 2 > 1000


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue, SimpleQueue])
def test_queues_on_a_full_disk_refuse_puts_and_are_drained(small: Path, kind: type[Any]) -> None:
    with kind(path=small / "q", durability="process") as q:
        q.put(0)
        fill(small)
        count = 1
        with pytest.raises(DiskError, match=r"No space left"):
            while True:
                q.put(count)
                count += 1
        assert q.qsize() == count
        taken = []
        for _ in range(count):
            taken.append(q.get())
            if kind is not SimpleQueue:
                q.task_done()
        assert sorted(taken) == list(range(count))
        (small / "ballast").unlink()
        q.put(-1)
        assert q.get() == -1


@pytest.mark.parametrize("queues", ["aa", "ab"])
def test_commits_of_several_operations_that_all_free_space_go_on(queues: str, small: Path) -> None:
    """As acknowledgements do that go alone."""
    with SegmentStore(small / "q", durability="process", segment_bytes=1 << 16) as store:
        count = 0
        with pytest.raises(DiskError):
            while True:
                more = [Set("t", b"%d" % count, bytes(99))] if queues == "ab" else []
                store.commit(*[Put(queue, bytes(300)) for queue in queues], *more)
                count += 1
        fill(small)
        for number in range(count):
            claims = [claim for queue in queues for claim in store.claim(queue)]
            store.commit(*map(Ack, claims), *[Delete("t", b"%d" % number)] * (queues == "ab"))
        assert store.depth("a").unfinished == store.depth("b").unfinished == 0


def test_a_few_items_on_a_disk_that_others_filled(small: Path) -> None:
    with SegmentStore(small / "q", durability="process") as store:
        store.commit(*(Put("q", b"%08d" % n) for n in range(1000)))
        ballast = fill(small)
        count = put_until_full(store, 100, first=1000)
        drain(store, count)
        ballast.unlink()
        store.commit(Put("q", bytes(100_000)), Set("t", b"k", b"v"))
        assert store.depth("q").ready == 1


def test_a_store_that_was_closed_on_a_full_disk_opens_and_drains(small: Path) -> None:
    with SegmentStore(small / "q", durability="process", segment_bytes=1 << 16) as store:
        count = put_until_full(store, 40)
    ballast = fill(small)
    with SegmentStore(small / "q", durability="process", segment_bytes=1 << 16) as store:
        assert store.depth("q").ready == count
        ballast.unlink()
        drain(store, count)


def test_nothing_of_a_refused_commit_is_there_after_a_restart(small: Path) -> None:
    with SegmentStore(small / "q", segment_bytes=1 << 16) as store:
        count = put_until_full(store, 500)
        with pytest.raises(DiskError):
            store.commit(Put("q", bytes(1000)), Put("q", bytes(3 << 20)), Set("t", b"k", b"v"))
        assert store.count("t") == 0
        seen = [record.payload[:8] for record in store.browse("q")]
    assert seen == [b"%08d" % n for n in range(count)]
    with SegmentStore(small / "q") as store:
        assert [record.payload[:8] for record in store.browse("q")] == seen
        assert store.damage == ()


class FullDisk(Disk):
    """Holds so many bytes below one directory, written or allocated; the write that goes beyond is cut short."""

    def __init__(self, directory: Path, capacity: int) -> None:
        self._directory = directory
        self.capacity = capacity

    def used(self) -> int:
        return sum(os.stat(file).st_size for file in self._directory.glob("*/*"))

    def _left(self) -> int:
        return self.capacity - self.used()

    def write(self, fd: int, data: bytes, offset: int) -> None:
        grows = offset + len(data) - self.size(fd)
        if grows > max(0, self._left()):
            super().write(fd, data[: len(data) - grows + max(0, self._left())], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(fd, data, offset)

    def allocate(self, fd: int, size: int) -> None:
        if size - self.size(fd) > self._left():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(fd, size)


def test_a_disk_with_a_limit_anywhere(tmp_path: Path) -> None:
    disk = FullDisk(tmp_path, 1 << 20)
    with SegmentStore(tmp_path / "q", durability="process", segment_bytes=1 << 16, disk=disk) as store:
        count = put_until_full(store, 40)
        assert count > 1000
        disk.capacity = disk.used()  # and others take what is left
        drain(store, count // 2)
        assert [record.payload[:8] for record in store.browse("q")] == [b"%08d" % n for n in range(count // 2, count)]
        disk.capacity = 1 << 20
        store.commit(Put("q", b"%08d" % count))
        drain(store, count - count // 2 + 1, first=count // 2)


class _Counting(FullDisk):
    asked = 0

    def allocate(self, fd: int, size: int) -> None:
        self.asked += 1
        super().allocate(fd, size)


def test_acknowledgements_on_a_full_disk_look_for_space_once_for_many(tmp_path: Path) -> None:
    """Each one asked the file system three times, as long as no segment could go, and took ten times as long."""
    disk = _Counting(tmp_path, 1 << 19)
    with SegmentStore(tmp_path / "q", durability="process", disk=disk) as store:
        count = put_until_full(store, 40)
        disk.capacity, disk.asked = disk.used(), 0
        drain(store, count)
        assert disk.asked * 20 < count


@pytest.mark.parametrize("length", [40, 200])
def test_keys_are_deleted_whatever_their_length(length: int, tmp_path: Path) -> None:
    """There was room to acknowledge as many records, which takes less: nothing was freed, and nothing went any more."""
    disk = FullDisk(tmp_path, 1 << 19)
    with SegmentStore(tmp_path / "q", durability="process", disk=disk) as store:
        number = 0
        with pytest.raises(DiskError, match="free some space"):
            while True:
                store.commit(Set("t", b"%d" % number + bytes(length), bytes(100)))
                number += 1
        disk.capacity = disk.used()
        for key in list(store.keys("t")):
            store.commit(Delete("t", key))
        assert store.count("t") == 0
        store.commit(Set("t", b"again", b""))
