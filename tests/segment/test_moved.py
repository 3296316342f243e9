"""A store whose directory is moved or removed while it is open: it spoils nothing that stands in its place."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pqadapters.errors import DiskError, StoreClosed, StorePoisoned
from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore

from ..contract.threads import Task
from .contents import filled, payloads
from .users import USER, as_root, as_user, home_of_user


@pytest.mark.parametrize("durability", ["power", "process"])
def test_files_that_are_removed_under_an_open_store_are_noticed(durability: str, tmp_path: Path) -> None:
    """What is written to a file without a name goes with its descriptor: nothing more is acknowledged."""
    store = SegmentStore(tmp_path / "store", durability=durability)
    store.commit(Put("q", b"one"))
    store.sync()
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(StorePoisoned, match=r"its files were removed while the store was open.*open it again"):
        for _ in range(2):  # at "process" the sync, which may be in the background, is what notices it
            store.commit(Put("q", b"two"))
            store.sync()
    with pytest.raises(StorePoisoned, match="were removed"):
        store.commit(Put("q", b"three"))
    store.close()
    assert payloads(filled(tmp_path / "store", b"four")) == [b"four"]


@pytest.mark.parametrize("calls", ["put", "checkpoint"])
def test_files_that_are_removed_are_noticed_where_no_sync_comes(calls: str, tmp_path: Path) -> None:
    """Who needed another file was told, for ever, that the directory was moved or replaced, and all else that nothing
    was wrong: with what it had all synced nobody looked."""
    store = SegmentStore(tmp_path / "store", segment_bytes=1 << 16, durability="process")
    store.commit(Put("q", b"one"))
    store.sync()
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(StorePoisoned, match="files were removed while the store was open"):
        store.commit(Put("q", bytes(1 << 16))) if calls == "put" else store.checkpoint()
    with pytest.raises(StorePoisoned, match="were removed"):
        store.commit(Put("q", b"two"))
    store.close()


@pytest.mark.parametrize("ends", ["is closed", "is left open"])
def test_of_files_that_are_removed_before_the_end_nothing_is_said(
    ends: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As by a test that takes its directory away, and closes nothing before that."""
    store = SegmentStore(tmp_path / "store")
    store.commit(Put("q", b"one"))
    shutil.rmtree(tmp_path / "store")
    store._core.end() if ends == "is left open" else store.close()
    assert not caplog.records
    store.close()


def test_a_store_that_is_moved_while_it_is_open_goes_on(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "store")
    store.commit(Put("q", b"one"))
    (tmp_path / "store").rename(tmp_path / "moved")
    store.commit(Put("q", b"two"))
    store.close()
    assert payloads(tmp_path / "moved") == [b"one", b"two"]


def test_a_store_that_was_moved_writes_nothing_into_the_one_that_has_its_place(tmp_path: Path) -> None:
    """Its next segment took the place of one of the other's, whose records were gone, and was missing where it had been
    moved to."""
    store = SegmentStore(tmp_path / "store", segment_bytes=1 << 16)
    store.commit(Put("q", b"old"))
    (tmp_path / "store").rename(tmp_path / "moved")
    other = SegmentStore(tmp_path / "store", segment_bytes=1 << 16)
    large = bytes(1 << 16)
    other.commit(Put("q", b"new"))
    other.commit(Put("q", large))
    for _ in range(2):
        with pytest.raises(DiskError, match=r"was moved or replaced.*and close what was opened here: "):
            store.commit(Put("q", large))
    assert [claim.payload for claim in store.claim("q", limit=2)] == [b"old"]
    store.close()
    other.close()
    assert payloads(tmp_path / "moved") == [b"old"]
    assert payloads(tmp_path / "store") == [b"new", large]


def test_a_store_that_was_moved_leaves_the_checkpoint_of_the_one_that_has_its_place(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "store")
    store.commit(Put("q", b"old"))
    (tmp_path / "store").rename(tmp_path / "moved")
    with SegmentStore(tmp_path / "store") as other:
        other.commit(Put("q", b"new"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    assert "checkpoint" in before
    with pytest.raises(DiskError, match="was moved or replaced"):
        store.checkpoint()
    store.close()
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()} == before


def test_damage_in_a_store_that_was_moved_changes_nothing_in_the_one_that_has_its_place(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "store")
    store.commit(Put("q", b"precious"))
    path = tmp_path / "store" / "0000000000000001.seg"
    path.write_bytes(path.read_bytes().replace(b"precious", b"prexious"))
    (tmp_path / "store").rename(tmp_path / "moved")
    with SegmentStore(tmp_path / "store") as other:
        other.commit(Put("q", b"whole"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    with pytest.raises(DiskError, match="was moved or replaced"):
        list(store.browse("q"))
    store.close()
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()} == before


def test_i7_who_waits_is_told_that_the_store_was_removed(tmp_path: Path) -> None:
    store, other, looks = SegmentStore(tmp_path / "q"), SegmentStore(tmp_path / "q"), threading.Event()
    taker = Task(lambda: other.claim("q", timeout=None, stop=lambda: bool(looks.set())), patience=60)
    watcher = Task(lambda: other.wait("q", lambda depth: bool(depth.ready)), patience=60)
    assert looks.wait(60)
    assert store.discard(remove=True)
    for waiter in (taker, watcher):
        with pytest.raises(StoreClosed, match="was removed"):
            waiter.result()


def test_what_stands_where_a_store_was_removed_stays(tmp_path: Path) -> None:
    """Another handle is told to remove it as well."""
    store, other = SegmentStore(tmp_path / "q"), SegmentStore(tmp_path / "q")
    assert store.discard(remove=True)
    assert not (tmp_path / "q").exists()
    with SegmentStore(tmp_path / "q") as again:
        again.commit(Put("q", b"new"))
    other.discard(remove=True)
    assert payloads(tmp_path / "q") == [b"new"]


def test_what_stands_where_a_store_was_moved_away_stays(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "q")
    (tmp_path / "q").rename(tmp_path / "moved")
    with SegmentStore(tmp_path / "q") as other:
        other.commit(Put("q", b"new"))
    with pytest.raises(OSError, match="handle"):
        store.discard(remove=True)
    assert payloads(tmp_path / "q") == [b"new"]
    assert payloads(tmp_path / "moved") == []


def test_the_files_of_a_store_go_behind_the_door(tmp_path: Path) -> None:
    """Whoever has it may be about to take the store."""
    is_there = list[bool]()

    @contextmanager
    def door() -> Iterator[None]:
        is_there.append((tmp_path / "q").exists())
        yield
        is_there.append((tmp_path / "q").exists())

    assert SegmentStore(tmp_path / "q").discard(remove=True, door=door)
    assert is_there == [True, False]


def test_a_store_that_is_to_be_removed_in_the_middle_of_a_call_and_isnt_empty_by_then_is_closed(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "q")

    def stop() -> bool:
        return not store.discard(remove=True, unless=lambda: True)

    store.commit(Put("q", b"x"), stop=stop)
    with pytest.raises(StoreClosed):
        store.depth("q")
    assert payloads(tmp_path / "q") == [b"x"]


@as_root
def test_a_directory_that_this_user_may_not_write_any_more(tmp_path: Path) -> None:
    """Who needed another file was sent to the system's log, which has nothing of that."""
    home, large = home_of_user(tmp_path), bytes(1 << 16)
    with as_user():
        store = SegmentStore(home / "q", segment_bytes=1 << 16)
        store.commit(Put("q", b"first"))
    os.chown(home / "q", 0, 0)
    with as_user():
        with pytest.raises(DiskError, match="Permission denied; see to the directory's owner and mode") as caught:
            store.commit(Put("q", large))
        assert (caught.value.errno, caught.value.filename) == (errno.EACCES, str(home / "q"))
    os.chown(home / "q", USER, USER)
    with as_user():
        store.commit(Put("q", large))
        store.close()
        assert payloads(home / "q") == [b"first", large]
