"""The limits of one commit."""

from __future__ import annotations

import errno
import gc
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from pqadapters.errors import ConditionFailed, DiskError, TooLarge
from pqadapters.store import Ack, Clear, Delete, Nack, Op, Put, Set, Update
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import SegmentStore, draft
from tests.crash.faulty import FaultyDisk


def test_a_commit_beyond_what_a_segment_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "MAX_COMMIT", 1000)
    with SegmentStore(tmp_path / "q") as store:
        with pytest.raises(TooLarge, match=r"too large: at most 1000. Commit in parts"):
            store.commit(Put("q", bytes(600)), Put("q", bytes(600)))
        store.commit(Put("q", bytes(400)), Put("q", bytes(400)))
        assert store.depth("q").ready == 2


def test_a_payload_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "MAX_PAYLOAD", 70_000)
    with SegmentStore(tmp_path / "q") as store:
        for put in (Put("q", bytes(70_001)), Put("q", bytes(70_001), rank=b"r")):
            with pytest.raises(TooLarge, match="a payload of 70001 bytes is too large"):
                store.commit(put)
        store.commit(Put("q", bytes(70_000)))
        assert store.depth("q").ready == 1
        (claim,) = store.claim("q")
        for op in (Update(claim, bytes(70_001)), Set("t", b"k", bytes(70_001))):
            with pytest.raises(TooLarge, match="a payload of 70001 bytes is too large"):
                store.commit(op)
        assert [record.payload for record in store.browse("q", state=None)] == [bytes(70_000)]
        assert store.get("t", b"k") is None


def test_a_commit_is_no_cycle(tmp_path: Path) -> None:
    """Each kept its payloads until the garbage collector came: a bounded queue that small hands filled with large items
    took hundreds of megabytes."""
    gc.collect()
    gc.disable()
    try:
        with SegmentStore(tmp_path / "q") as store:
            store.commit(*[Put("q", b"x", limit=9)] * 5)
            a, b, c, d, e = store.claim("q", limit=5)
            commits: list[tuple[Op, ...]] = [
                (Put("q", b"x", limit=9),),
                (Ack(a), Set("t", b"k", b"v")),
                (Nack(b), Put("q", b"x")),
                (Nack(c, dead="why"),),
                (Nack(d, not_before=1e12),),
                (Update(e, b"more"),),
                (Delete("t", b"k"),),
                (Set("t", b"k", b"v", expect=b"other"),),
            ]
            for ops in commits:
                with suppress(ConditionFailed):
                    store.commit(*ops)
                assert not [each for each in gc.get_objects() if type(each) is draft.Draft], ops
    finally:
        gc.enable()


@pytest.mark.parametrize("first", [Delete("t", b"a"), Clear("t")], ids=["deleted", "cleared"])
def test_a_key_that_a_commit_deletes_and_sets_twice_has_its_new_place_behind_a_crash(first: Op, tmp_path: Path) -> None:
    """It came back to its old one: the last frame named that, and a commit's own keys aren't in the table yet."""
    with SegmentStore(tmp_path / "q") as store:
        store.commit(Set("t", b"a", b"1"), Set("t", b"b", b"1"))
        store.commit(first, Set("t", b"b", b"2"), Set("t", b"a", b"2"), Set("t", b"a", b"3"), Set("t", b"b", b"3"))
        assert list(store.keys("t")) == [b"b", b"a"]
        shutil.copytree(tmp_path / "q", tmp_path / "killed")
    with SegmentStore(tmp_path / "killed") as store:
        assert list(store.scan("t")) == [(b"b", b"3"), (b"a", b"3")]


class _Unreadable(Disk):
    """Once it is `damaged`, nothing can be read."""

    damaged = False

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if self.damaged:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(fd, length, offset)


def test_a_value_to_compare_with_that_cannot_be_read_is_a_disk_error(tmp_path: Path) -> None:
    """It was a bare OSError, which named nothing."""
    disk = _Unreadable()
    with SegmentStore(tmp_path / "q", disk=disk) as store:
        store.commit(Set("t", b"k", b"v"))
        disk.damaged = True
        for op in (Set("t", b"k", b"w", expect=b"v"), Delete("t", b"k", expect=b"v")):
            with pytest.raises(DiskError, match="can't read the store") as caught:
                store.commit(Put("q", b"x"), op)
            assert (caught.value.errno, caught.value.filename) == (errno.EIO, store.place)
        disk.damaged = False
        assert (store.depth("q").ready, store.get("t", b"k")) == (0, b"v")


def test_one_acknowledgement_among_lazy_ones_is_on_the_disk_when_all_are_done(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, max_lag=1000.0, disk=(disk := FaultyDisk(str(tmp_path)))) as store:
        store.commit(*[Put("q", b"x")] * 4)
        claims = store.claim("q", limit=4)
        syncs = disk.count("sync")
        store.commit(Ack(claims[0], lazy=True), Ack(claims[1], lazy=True))
        assert disk.count("sync") == syncs
        store.commit(Ack(claims[2], lazy=True), Ack(claims[3]))
        assert disk.count("sync") > syncs
