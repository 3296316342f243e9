"""Records that come from another store, in the segment store: after SIGKILL, without a checkpoint, in its space."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqadapters.store import Ack, Nack, Put, Record, Update
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.queues import Extra
from tests.crash.faulty import FaultyDisk
from tests.crash.promises import die

from .programs import running, said

THEN = 1_600_000_000.25
NOTE = "можно ли это прочесть? " * 20

PROGRAM = """
import sys
from pqadapters.store import Nack, Put, Update
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.queues import Extra

path, then, note = sys.argv[1], float(sys.argv[2]), sys.argv[3]
store = SegmentStore(path, durability="process", max_lag=1000.0, segment_bytes=4096)
store.commit(Put("untouched", b"a", attempts=3, put_at=then, note=note))
store.commit(Put("untouched.dead", b"a", rank=b"r", attempts=3, put_at=then, note=note))
for queue in ("claimed", "nacked", "delayed", "counted", "updated"):
    store.commit(Put(queue, b"a", attempts=3, put_at=then, note=note))
store.claim("claimed")
store.commit(*map(Nack, store.claim("nacked")))
store.commit(*(Nack(claim, not_before=then + 1e9) for claim in store.claim("delayed")))
store.claim("counted", counted=True)
(claim,) = store.claim("updated")
store.commit(Update(claim, b"b"))
print("done", flush=True)
sys.stdin.read()
"""


def _all(store: SegmentStore) -> dict[str, Record]:
    queues = ("untouched", "untouched.dead", "claimed", "nacked", "delayed", "counted", "updated")
    return {record.queue: record for queue in queues for record in store.browse(queue, state=None)}


def test_what_is_known_of_them_survives_sigkill(tmp_path: Path) -> None:
    with running(PROGRAM, tmp_path / "store", THEN, NOTE) as child:
        assert said(child) == "done"
        child.kill()
        child.wait()
    attempts = {
        "untouched": 3,
        "untouched.dead": 3,
        "claimed": 3,
        "nacked": 3,
        "delayed": 4,
        "counted": 4,
        "updated": 4,
    }
    for _ in range(2):  # the second time from the checkpoint
        with SegmentStore(tmp_path / "store", segment_bytes=4096) as store:
            records = _all(store)
            assert {queue: record.attempts for queue, record in records.items()} == attempts
            assert {(record.put_at, record.note) for record in records.values()} == {(THEN, NOTE)}
            assert records["delayed"].not_before == THEN + 1e9
            assert records["untouched.dead"].rank == b"r"


class Counting(Disk):
    written = 0

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self.written += len(data)
        super().write(fd, data, offset)


@pytest.mark.parametrize("note", ["x" * 500, "記" * 200, "?"], ids=["long", "of many bytes", "short"])
def test_a_backlog_with_notes_is_not_written_again(tmp_path: Path, note: str) -> None:
    disk = Counting()
    with SegmentStore(tmp_path / "q", durability="process", segment_bytes=1 << 16, disk=disk) as store:
        for _ in range(1000):
            store.commit(Put("q.dead", bytes(20), attempts=1, put_at=THEN, note=note))
        assert disk.written < 2 * 1000 * (len(note.encode()) + 20 + 80)


def _change(store: SegmentStore, queue: str) -> None:
    """All that may happen to records, to some of them more than once."""
    claims = store.claim(queue, limit=45, counted=True)[:40]
    store.commit(*map(Ack, claims[:10]), *map(Nack, claims[10:15]))
    store.commit(*(Nack(claim, dead="нет") for claim in claims[15:25]), *(Nack(c, dead="") for c in claims[25:28]))
    store.commit(*(Nack(claim, not_before=1.0) for claim in claims[28:31]))
    store.commit(*(Update(claim, b"new") for claim in claims[31:36]))
    for claim in claims[36:]:
        store.commit(Ack(claim))
    first, second, *others = store.claim(f"{queue}.dead", limit=5)
    store.commit(Ack(first), Nack(second, dead="again, for another reason"), *(Nack(c, dead="") for c in others))


@pytest.mark.parametrize("after", ["a close", "a replay", "an old checkpoint and a replay"])
def test_their_space_is_counted_at_work_as_it_is_after(after: str, tmp_path: Path) -> None:
    path, size = tmp_path / "q", 1 << 20 if "old" in after else 4096
    store = SegmentStore(path, durability="process", max_lag=1000.0, segment_bytes=size, disk=FaultyDisk(str(path)))
    for n in range(200):
        store.commit(Put("q", bytes(n), attempts=n % 3, put_at=THEN, note=NOTE[:n]), Put("plain", bytes(n)))
    for _ in range(2):
        for queue in ("q", "plain"):
            _change(store, queue)
        if "old" in after:
            store.checkpoint()
    _change(store, "q")
    for queue in ("q", "plain", "q.dead"):
        store.commit(*map(Nack, [r for r in store.claim(queue, limit=1000) if r.id % 7]))
    before = store._core.catalog.live_bytes(store._core.log)
    if after == "a close":
        store.close()
    else:
        die(store)
    if after == "a replay":
        (path / "checkpoint").unlink(missing_ok=True)
    with SegmentStore(path, segment_bytes=size, durability="process") as store:
        assert store._core.catalog.live_bytes(store._core.log) == before
        for queue in ("q", "plain", "q.dead", "plain.dead"):
            store.commit(*map(Ack, store.claim(queue, limit=50)))
            for claim in store.claim(queue, limit=1000):
                store.commit(Ack(claim))
        assert store._core.catalog.live_bytes(store._core.log) == 0


def test_what_is_known_of_them_is_written_again_with_them(tmp_path: Path) -> None:
    """The segment that they came in is gone, and then its successor, and they are as they were."""
    with SegmentStore(tmp_path / "q", durability="process", segment_bytes=4096) as store:
        store.commit(Put("q", b"a", rank=b"r", attempts=3, put_at=THEN, note=NOTE), Put("q", b"b", put_at=THEN))
        (before, _) = expected = [*store.browse("q")]
        for _ in range(2):
            front = store._core.log.segments[0].number
            while store._core.log.segments[0].number == front:
                store.commit(Put("busy", bytes(500)))
                store.commit(*map(Ack, store.claim("busy")))
            assert [*store.browse("q")] == expected
        assert (before.attempts, before.put_at, before.note) == (3, THEN, NOTE)
    for name in ("checkpoint", "nothing"):
        (tmp_path / "q" / name).unlink(missing_ok=True)
        with SegmentStore(tmp_path / "q", segment_bytes=4096) as store:
            assert [*store.browse("q")] == expected


def test_more_attempts_than_a_frame_can_say_are_refused(tmp_path: Path) -> None:
    with SegmentStore(tmp_path / "q") as store:
        with pytest.raises(ValueError, match="2147483647"):
            store.commit(Put("q", b"a"), Put("q", b"b", attempts=1 << 31))
        assert store.depth("q").ready == 0
        store.commit(Put("q", b"a", attempts=(1 << 31) - 1))
        assert [claim.attempt for claim in store.claim("q", counted=True)] == [1 << 31]


def test_one_that_is_given_back_for_days_without_a_pause_is_still_served(tmp_path: Path) -> None:
    """A consumer that does nothing else gives a record back some 25,000 times a second."""
    most = (1 << 32) - 1
    with SegmentStore(tmp_path / "q", segment_bytes=4096) as store:
        store.commit(Put("q", b"a"), Put("updated", b"a"), Put("delayed", b"a"))
        extra = store._core.catalog.extra
        extra.update({record.id: Extra(most) for name in ("q", "updated", "delayed") for record in store.browse(name)})
        for attempt in (most + 1, most + 2):
            (claim,) = store.claim("q", counted=True)
            assert claim.attempt == attempt
            store.commit(Nack(claim))
        (claim,) = store.claim("updated")
        store.commit(Update(claim, b"b"))
        (claim,) = store.claim("delayed")
        store.commit(Nack(claim, not_before=1.0))
        front = store._core.log.segments[0].number
        while store._core.log.segments[0].number == front:
            store.commit(Put("busy", bytes(500)))
            store.commit(*map(Ack, store.claim("busy")))
        assert [record.attempts for record in store.browse("q")] == [most + 2]
    (tmp_path / "q" / "checkpoint").unlink()
    with SegmentStore(tmp_path / "q") as store:
        assert [next(store.browse(name)).attempts for name in ("q", "updated", "delayed")] == [most] * 3


def test_one_that_is_new_but_for_its_time_is_a_plain_frame(tmp_path: Path) -> None:
    """Thousands move at a time, and most of them were never claimed: 28 bytes less for each."""
    sizes = []
    for put in (Put("q", b"a", put_at=THEN), Put("q", b"a", attempts=1)):
        with SegmentStore(tmp_path / str(put.attempts), durability="process") as store:
            store.commit(Put("q", b"first"))
            before = store._core.log.tail.end
            store.commit(put)
            sizes.append(store._core.log.tail.end - before)
    assert sizes[1] - sizes[0] == 28
