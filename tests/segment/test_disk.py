"""What the system may do with one call: take a part of it, nothing at all, or refuse it for the file's size."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from pqadapters.errors import DiskError
from pqadapters.store import Ack, Put, Set
from pqadapters.stores.segment import SegmentStore

_PART = 7  #: bytes


def test_a_call_that_takes_a_part_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As near the end of a full disk, or where a call is of 2 GiB: what was put is all there."""
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, bytes(data[:_PART]), at))
    monkeypatch.setattr(os, "pread", lambda fd, length, at: read(fd, min(length, _PART), at))
    payloads = [bytes([n]) * 20 * n for n in range(1, 9)]
    with SegmentStore(tmp_path / "q") as store:
        store.commit(*map(partial(Put, "q"), payloads), Set("t", b"key", b"value " * 9))
        store.commit(*map(Ack, store.claim("q", limit=2)))
    monkeypatch.undo()  # what reads it now is told of all that isn't as it was to be
    with SegmentStore(tmp_path / "q") as store:
        assert store.damage == ()
        assert store.get("t", b"key") == b"value " * 9
    monkeypatch.setattr(os, "pread", lambda fd, length, at: read(fd, min(length, _PART), at))
    with SegmentStore(tmp_path / "q") as store:
        assert store.damage == ()
        assert [claim.payload for claim in store.claim("q", limit=9)] == payloads[2:]
        assert store.get("t", b"key") == b"value " * 9


def test_a_call_that_takes_nothing_and_does_not_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error, and no endless loop."""
    write, calls = os.pwrite, count()

    def once(fd: int, data: bytes, at: int) -> int:
        return 0 if next(calls) else write(fd, bytes(data[:_PART]), at)

    with SegmentStore(tmp_path / "q") as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", once)
            with pytest.raises(DiskError, match="can't write to the store") as caught:
                store.commit(Put("q", b"refused"))
            assert caught.value.errno == errno.EIO
        store.commit(Put("q", b"stored"))
        assert [claim.payload for claim in store.claim("q", limit=9)] == [b"stored"]


_LIMITED = """
import errno, itertools, resource, sys
from pqadapters.errors import DiskError
from pqadapters.store import Ack, Put
from pqadapters.stores.segment import SegmentStore

def fill(store):
    for number in itertools.count():
        try:
            store.commit(Put("q", bytes(5000)))
        except DiskError as error:
            return number, error

resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
with SegmentStore(sys.argv[1]) as store:
    for _ in range(3):
        count, error = fill(store)
        assert error.errno == errno.EFBIG and "ulimit -f" in str(error) and "drain the queue" in str(error), error
        assert store.depth("q").ready == count > 20
        while claims := store.claim("q"):
            store.commit(Ack(claims[0]))
print("drained")
"""


def test_where_files_may_not_grow_it_says_so_and_is_drained(tmp_path: Path) -> None:
    """`ulimit -f`."""
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(tmp_path / "q")], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("drained\n", "")
