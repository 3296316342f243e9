"""How much is written for what is put: cleaning must not write the same records again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqadapters.rank import rank
from pqadapters.store import Ack, Delete, Nack, Order, Put, Set, Update
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.queues import Catalog


class Counting(Disk):
    """Counts what is written to segments at their ends, headers and checkpoints included; and the reads and writes."""

    written = 0
    writes = 0
    reads = 0

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self.written += len(data)
        self.writes += 1
        super().write(fd, data, offset)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        self.reads += 1
        return super().read(fd, size, offset)


@pytest.mark.parametrize("value", ["\0" * 500, 7], ids=["long-rank", "short"])
def test_a_backlog_with_ranks_is_not_written_again(tmp_path: Path, value: object) -> None:
    disk = Counting()
    with SegmentStore(tmp_path / "q", durability="process", segment_bytes=1 << 16, disk=disk) as store:
        place = rank(value)[0]
        for _ in range(1000):
            store.commit(Put("q", bytes(20), place))
        assert disk.written < 2 * 1000 * (len(place) + 20 + 80)


def test_small_records_that_wait_are_written_about_once_for_each_byte_that_is_put(tmp_path: Path) -> None:
    """Written again they are longer, and their queues are named again. As long as neither was counted, there was always
    more to clean than cleaning could give back: each file that was ended had thousands of them written again."""
    disk = Counting()
    with SegmentStore(tmp_path / "q", durability="process", segment_bytes=1 << 16, disk=disk) as store:
        store.commit(*(Put(f"waiting {n}", b"small") for n in range(3000)))
        pass_through(store, 100)
        before = disk.written
        pass_through(store, 100)
    assert disk.written - before < 5 * 100 * 5000  # 11 times, it was


@pytest.mark.parametrize("what", ["one queue", "queues", "keys"])
def test_small_records_that_wait_are_read_and_written_again_many_at_a_time(what: str, tmp_path: Path) -> None:
    """The lock is held meanwhile. In the order in which they stand: those that were moved before are read again in it,
    too."""
    disk = Counting()
    with SegmentStore(tmp_path / "q", durability="process", segment_bytes=1 << 17, disk=disk) as store:
        store.commit(*(_small(what, n) for n in range(3000)))
        pass_through(store, 200)
        before = disk.writes, disk.reads, disk.written
        pass_through(store, 200)
        writes, reads, written = disk.writes - before[0], disk.reads - before[1], disk.written - before[2]
    assert written > 200 * 5000 + 3000 * 60  # they were written again
    assert writes < 2 * 200 + 500
    assert reads < 200 + 500


def _small(what: str, n: int) -> Put | Set:
    if what == "keys":
        return Set("t", b"%d" % n, b"small")
    return Put(f"waiting {n}" if what == "queues" else "waiting", b"small")


def test_what_is_live_is_not_added_up_for_each_commit_beside_a_dead_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file at the front that isn't worth a checkpoint yet stands there for a while, and to add up is to look at all
    queues."""
    looks: list[int] = []
    add_up = Catalog.standing_bytes
    monkeypatch.setattr(Catalog, "standing_bytes", lambda *args: looks.append(1) or add_up(*args))
    with SegmentStore(tmp_path / "q", durability="process", segment_bytes=1 << 16) as store:
        store.commit(*(Put(f"waiting {n}", b"small") for n in range(9000)))
        store.checkpoint()  # another one takes its place before a file goes
        stood = 0
        for _ in range(3000):
            store.commit(*[Put("q", bytes(500))] * 2)
            store.commit(*(Ack(claim, lazy=True) for claim in store.claim("q", limit=2)))
            stood += bool(store._core.log.dead)
    assert stood > 50
    assert 0 < len(looks) < 150


def pass_through(store: SegmentStore, count: int) -> None:
    """So many records come and go."""
    for _ in range(count):
        store.commit(Put("q", bytes(5000)))
        store.commit(Ack(store.claim("q")[0], lazy=True))


def live_bytes(store: SegmentStore) -> tuple[int, int]:
    """And those of the keys among them."""
    return store._core.catalog.live_bytes(store._core.log), store._core.log.key_bytes


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_what_is_live_is_counted_the_same_at_work_and_after_a_replay(tmp_path: Path, with_checkpoint: bool) -> None:
    """Cleaning rests on this count: too low a one would never let it rest."""
    with SegmentStore(tmp_path / "q", durability="process", segment_bytes=4096) as store:
        for n in range(200):
            store.commit(Put("ranked", bytes(n), b"r" * 60 + b"%d" % (n % 7)), Put("plain", bytes(n)))
            store.commit(Set("t", b"%d" % (n % 5), bytes(n)))
        for queue, order in (("ranked", Order.RANK), ("plain", Order.OLDEST)):
            first, second, third, *others = store.claim(queue, order=order, limit=50)
            store.commit(Ack(first), Nack(second), Nack(third, dead="no"), Update(others[0], b"new"))
            for claim in others:
                store.commit(Ack(claim))
        store.commit(Delete("t", b"0"))
        before = live_bytes(store)
    if not with_checkpoint:
        (tmp_path / "q" / "checkpoint").unlink()
    with SegmentStore(tmp_path / "q", segment_bytes=4096) as store:
        assert live_bytes(store) == before
        for queue in ("ranked", "plain", "ranked.dead", "plain.dead"):
            for claim in store.claim(queue, limit=1000):
                store.commit(Ack(claim))
        store.commit(*(Delete("t", b"%d" % n) for n in range(5)))
        assert live_bytes(store) == (0, 0)
