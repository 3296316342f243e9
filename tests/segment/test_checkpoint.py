"""The checkpoint is a shortcut: with it, with an old one and without one the same store is opened."""

from __future__ import annotations

import errno
import logging
import random
import shutil
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from pqadapters.store import Ack, Delete, Nack, Op, Put, Set, State, Update
from pqadapters.stores.segment import SegmentStore, checkpoint, format
from tests.contract.maker import ManualClock
from tests.crash.faulty import FaultyDisk
from tests.crash.promises import die

QUEUES = ("a", "b", "a.dead", "b.dead")


def _live(store: SegmentStore, rng: random.Random, turns: int) -> None:
    """So many random commits."""
    for turn in range(turns):
        sizes = [rng.randrange(300) for _ in range(rng.randrange(3))]
        ops: list[Op] = [Put(rng.choice("ab"), b"%d " % turn + bytes(size)) for size in sizes]
        if rng.random() < 0.2:
            ops.append(Put("b", b"ranked", rank=rng.choice([b"x", b"y", b"z"])))
        if rng.random() < 0.2:
            ops.append(Put("a", b"late", not_before=4e9 + rng.randrange(99)))
        for claim in store.claim(rng.choice(QUEUES), limit=rng.randrange(4), counted=rng.random() < 0.3):
            kind = rng.randrange(6)
            if kind == 0:
                ops.append(Nack(claim, not_before=4e9 + turn))
            elif kind == 1:
                ops.append(Nack(claim, dead=f"broken {turn}"))
            elif kind == 2:
                ops += [Update(claim, bytes(rng.randrange(500))), Nack(claim)]
            else:
                ops.append(Ack(claim, lazy=kind == 3))
        key = b"%d" % rng.randrange(20)
        ops.append(Set("t", key, bytes(rng.randrange(100))) if rng.random() < 0.6 else Delete("t", key))
        store.commit(*ops)


def _inside(directory: Path) -> dict[str, Any]:
    """All that a store knows, after an opening as it is."""
    store = SegmentStore(directory, segment_bytes=4096, disk=FaultyDisk(str(directory)))
    assert store.damage == ()
    core = store._core
    inside: dict[str, Any] = {
        "records": [record for queue in QUEUES for record in store.browse(queue, state=None)],
        "depths": [store.depth(queue)._replace(oldest_age=None) for queue in QUEUES],
        "tables": list(store.scan("t")),
        "next": core.log.next,
        "live": core.log.live,
        "live bytes": core.catalog.live_bytes(core.log),
        "key bytes": core.log.key_bytes,
        "live by segment": {s.number: s.live for s in core.log.segments if s.live},
        "end": core.log.tail.end,
    }
    die(store)
    return inside


def _without_checkpoint(directory: Path) -> dict[str, Any]:
    copy = directory.with_name(directory.name + "-copy")
    shutil.copytree(directory, copy)
    (copy / "checkpoint").unlink(missing_ok=True)
    try:
        return _inside(copy)
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize("rank", [b"", b"x"])
@pytest.mark.parametrize("back", [False, True])
def test_what_is_claimed_when_it_is_written_is_ready_when_it_is_read(rank: bytes, back: bool, tmp_path: Path) -> None:
    """In a queue that isn't the largest: those of that one aren't listed."""
    store = SegmentStore(tmp_path / "s", disk=FaultyDisk(str(tmp_path / "s")))
    store.commit(*(Put("a", b"%d" % n) for n in range(9)), *(Put("b", b"%d" % n, rank=rank) for n in range(3)))
    claims = store.claim("b", limit=3)
    if back:
        store.commit(Nack(claims[1]))
    store.checkpoint()
    size = (tmp_path / "s" / "checkpoint").stat().st_size
    assert store._core.log.saved_bytes == size
    die(store)
    with SegmentStore(tmp_path / "s") as store:
        assert store._core.log.saved_bytes == size
        assert [claim.payload for claim in store.claim("b", limit=9)] == [b"0", b"1", b"2"]
        assert len(store.claim("a", limit=99)) == 9


@pytest.mark.parametrize("rank", [b"", b"x"])
def test_what_was_taken_out_of_the_middle_is_not_ready_when_it_is_read(rank: bytes, tmp_path: Path) -> None:
    """Its entry stays in memory for a while, and isn't written."""
    store = SegmentStore(tmp_path / "s", disk=FaultyDisk(str(tmp_path / "s")))
    store.commit(*(Put("a", b"%d" % n) for n in range(9)))
    ids = store.commit(*(Put("b", b"%d" % n, rank=rank) for n in range(3)))
    store.commit(Ack(store.claim("b", ids=[ids[1]])[0]))
    assert store._core.catalog.queues["b"].gone
    store.checkpoint()
    die(store)
    with SegmentStore(tmp_path / "s") as store:
        assert store.depth("b").ready == 2
        assert [claim.payload for claim in store.claim("b", limit=9)] == [b"0", b"2"]


@pytest.mark.parametrize("seed", range(10))
def test_with_and_without_it_the_same_is_there(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng, directory = random.Random(seed), tmp_path / "store"
    directory.mkdir()
    caplog.set_level(logging.INFO, "pqadapters.stores.segment")
    for _ in range(4):
        store = SegmentStore(
            directory, segment_bytes=4096, durability="process", max_lag=1000.0, disk=FaultyDisk(str(directory))
        )
        _live(store, rng, 40)
        if rng.random() < 0.7:
            store.checkpoint()
        _live(store, rng, rng.randrange(30))
        if rng.random() < 0.5:
            store.close()
        else:
            die(store)
        expected = _without_checkpoint(directory)
        assert _inside(directory) == expected
    assert [record.getMessage() for record in caplog.records] == []  # that one was of no use, say


def test_of_the_delayed_records_that_it_tells_of_one_has_left_since(tmp_path: Path) -> None:
    clock, path = ManualClock(), str(tmp_path)
    store = SegmentStore(path, clock=clock, disk=FaultyDisk(path))
    _, *others = store.commit(*(Put("q", b"%d" % n, not_before=clock.now + 10 + n) for n in range(5)))
    store.checkpoint()
    clock.advance(10)
    store.commit(*map(Ack, store.claim("q")))
    die(store)
    with SegmentStore(path, clock=clock) as store:
        assert [record.id for record in store.browse("q", state=State.DELAYED)] == others
        for id in others:
            clock.advance(1)
            assert [claim.id for claim in store.claim("q", limit=9)] == [id]


def test_it_is_used(tmp_path: Path) -> None:
    """After a clean close the segments' frames aren't read: damage to one isn't seen before somebody reads it."""
    with SegmentStore(tmp_path) as store:
        store.commit(*(Put("q", b"%d" % n * 40) for n in range(9)))
    path = tmp_path / "0000000000000001.seg"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"5" * 40, b"5" * 39 + b"!"))
    with SegmentStore(tmp_path) as store:
        assert store.damage == ()
        assert store.depth("q").ready == 9
        assert [claim.payload[:1] for claim in store.claim("q", limit=9)] == [b"%d" % n for n in range(9) if n != 5]
        assert len(store.damage) == 1


@pytest.mark.parametrize("head", [b"PQACKPT\n\x02\x00", b"PQACKPT2\x01\x00"], ids=["version", "magic"])
def test_another_programs_is_not_used(head: bytes, tmp_path: Path) -> None:
    """That of a newer version may mean other things, or belong to what this one doesn't know."""
    with SegmentStore(tmp_path / "store") as store:
        store.commit(Set("t", b"the key", b"value"))
    file = tmp_path / "store" / "checkpoint"
    body = head + file.read_bytes()[len(head) : -4].replace(b"the key", b"another")
    file.write_bytes(body + format.CRC.pack(crc32(body)))
    with SegmentStore(tmp_path / "store") as store:
        assert list(store.scan("t")) == [(b"the key", b"value")]
        assert store.damage == ()


def test_one_that_is_older_than_the_segments_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    store = SegmentStore(directory, segment_bytes=4096)
    store.commit(*(Put("q", b"%d" % n * 100) for n in range(50)))
    store.checkpoint()
    old = (directory / "checkpoint").read_bytes()
    for claim in store.claim("q", limit=30):
        store.commit(Ack(claim))
        store.commit(Put("r", claim.payload))
    store.close()
    expected = _without_checkpoint(directory)
    (directory / "checkpoint").write_bytes(old)
    assert _inside(directory) == expected


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    """A power cut would leave a name with nothing behind it, in the place of one that was whole."""
    with SegmentStore(tmp_path, disk=(disk := FaultyDisk(str(tmp_path)))) as store:
        store.commit(Put("q", b"x"))
        store.checkpoint()
        done = [action.kind for action in disk.actions if action.name == "checkpoint.tmp"]
        assert done == ["create", "write", "sync", "rename"]


@pytest.mark.parametrize("call", ["write", "sync"])
def test_of_one_that_cant_be_written_nothing_is_left(call: str, tmp_path: Path) -> None:
    """The disk may be full: it is to have the room again. And the last one names segments that are about to go."""
    with SegmentStore(tmp_path, disk=(disk := FaultyDisk(str(tmp_path)))) as store:
        store.commit(Put("q", b"x"))
        store.checkpoint()
        assert (tmp_path / "checkpoint").exists()
        disk.fail(call, 0, errno.ENOSPC)
        store.checkpoint()
        assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("checkpoint")]


def test_nothing_of_what_another_one_has_left_is_behind_it(tmp_path: Path) -> None:
    with SegmentStore(tmp_path) as store:
        store.commit(Put("q", b"x"))
        (tmp_path / "checkpoint.tmp").write_bytes(bytes(100_000))
        store.checkpoint()
        assert checkpoint.read(str(tmp_path)) is not None
