"""A process that may open no more files: calls that would have to are refused, and the store goes on behind that."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pqadapters.errors import DiskError
from pqadapters.store import Ack, Op, Put
from pqadapters.stores.segment import SegmentStore

from ..contract.descriptors import descriptors_left


def _is_done(store: SegmentStore, op: Op) -> bool:
    """Whether it isn't refused for want of a descriptor."""
    try:
        store.commit(op)
    except DiskError as error:
        if error.errno != errno.EMFILE or "ulimit -n" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_segment_is_ended_and_there_is_no_descriptor(tmp_path: Path, left: int) -> None:
    """The new one was there, and its directory couldn't be opened to be synced: the store was poisoned by that."""
    payloads = [b"%d" % n * 500 for n in range(20)]
    with SegmentStore(tmp_path / "q", segment_bytes=4096) as store:
        store.commit(Put("q", b"first"))
        with descriptors_left(left):
            stored = [payload for payload in payloads if _is_done(store, Put("q", payload))]
        assert (stored == payloads) == (left == 2)
        store.commit(Put("q", b"last"))
        expected = [b"first", *stored, b"last"]
        assert [claim.payload for claim in store.claim("q", limit=99)] == expected
    with SegmentStore(tmp_path / "q") as store:
        assert [record.payload for record in store.browse("q")] == expected


@pytest.mark.parametrize("left", [0, 1, 2])
def test_space_comes_back_and_there_is_no_descriptor(tmp_path: Path, left: int) -> None:
    """The checkpoint was removed in place of being written, which couldn't be synced, either."""
    directory = tmp_path / "q"
    with SegmentStore(directory, segment_bytes=4096) as store:
        for _ in range(60):
            store.commit(Put("q", bytes(1000)))
        claims = store.claim("q", limit=60)
        store.checkpoint()
        with descriptors_left(left):
            rest = [claim for claim in claims[:50] if not _is_done(store, Ack(claim))] + claims[50:]
        for claim in rest:
            store.commit(Ack(claim))
        assert len([*directory.glob("*.seg")]) == 1
        store.commit(Put("q", b"more"))
    with SegmentStore(directory) as store:
        assert [record.payload for record in store.browse("q")] == [b"more"]
        assert not store.damage
