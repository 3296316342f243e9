"""What goes wrong around a conversion: persist-queue used in the middle of it, a serializer that nearly fits, a
directory that no store may be in, one in which nothing ever was."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import persistqueue as old
import pytest

import pqadapters.persistqueue as ours
from pqadapters.errors import DiskError, StoreLocked, StoreRefused
from pqadapters.opening import is_unfinished
from pqadapters.persistqueue import conversion, serializers
from pqadapters.persistqueue.conversion import directories
from tests.segment.programs import run, running

from . import theirs


def all_of(q: Any) -> list[Any]:
    return [q.get(block=False) for _ in range(q.qsize())]


def test_somebody_elses_file_queue_is_left_alone_and_the_error_says_whose_it_is(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A service's queue that root opened: the error told of a foreign file, `info`, that one should move away.
    theirs.file_queue(path, [{"n": 1}])
    before = theirs.contents(path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StoreRefused, match=f"belongs to user {os.getuid()}"):
        ours.Queue(path)
    assert theirs.contents(path) == before


@pytest.mark.parametrize("make", [ours.Queue, ours.SQLiteQueue, lambda path: ours.PDict(path, "x")])
def test_somebody_elses_store_is_refused_without_advice_that_cant_be_followed(
    make: Callable[[str], Any], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was to pass trust_directory=True, which these classes don't take."""
    make(path).close()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StoreRefused, match=f"belongs to user {os.getuid()}.*Run as that user, or give a dir") as caught:
        make(path)
    assert "trust_directory" not in str(caught.value)


# Nothing in it


@pytest.mark.parametrize("name", ["pickle", "json"])
def test_a_queue_into_which_nothing_was_put(path: str, name: str) -> None:
    """persist-queue writes its `info` with the first put. It was refused, for what it has in it can't be read."""
    old.Queue(path, serializer=theirs.serializer(name))
    assert theirs.contents(path) == {"q00000": b""}
    with ours.Queue(path, serializer=getattr(serializers, name)) as q:
        assert q.empty()
        assert not q._line.store.damage
        q.put("a")
    assert theirs.contents(f"{path}.persist-queue") == {"q00000": b""}


def test_an_empty_queue_whose_info_was_emptied(path: str) -> None:
    """As a power cut leaves it: there is nothing to be read, by whatever serializer."""
    old.Queue(path)
    Path(path, "info").touch()
    with ours.Queue(path) as q:
        assert q.empty()
        assert [Path(each.path).name for each in q._line.store.damage] == ["info"]


@pytest.mark.parametrize("name", ["info", "q00000"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "device"])
def test_what_is_no_file_in_a_files_place(path: str, name: str, make: Callable[[str], None]) -> None:
    """A pipe was waited for, for ever; of a device all memory was filled."""
    theirs.file_queue(path, [{"n": 1}])
    os.unlink(os.path.join(path, name))
    make(os.path.join(path, name))
    with pytest.raises(DiskError, match=f"can't be read.*{name}"):
        ours.Queue(path)


# The wrong serializer


@pytest.mark.parametrize(("wrote", "reads"), [("msgpack", "cbor2"), ("cbor2", "msgpack")])
def test_items_that_look_alike_by_another_serializer(path: str, wrote: str, reads: str) -> None:
    """Small numbers are the same bytes in both. Its `info` isn't: that was taken for damage, what had been got came
    again, and what isn't alike was left out."""
    theirs.file_queue(path, [1, 2, 3, "text", 4], got=2, name=wrote)
    before = theirs.contents(path)
    with pytest.raises(StoreRefused, match=f"seems to be {wrote}'s"):
        ours.Queue(path, serializer=getattr(serializers, reads))
    assert theirs.contents(path) == before
    with ours.Queue(path, serializer=getattr(serializers, wrote)) as q:
        assert all_of(q) == [3, "text", 4]


# Where no store may be


def test_a_directory_shared_by_all_is_refused_before_it_is_converted(path: str) -> None:
    """It was converted, and then not opened: neither persist-queue nor we could go on."""
    theirs.file_queue(path, ["a"])
    os.chmod(path, 0o1777)
    before = theirs.contents(path)
    with pytest.raises(StoreRefused, match="sticky"):
        ours.Queue(path)
    assert theirs.contents(path) == before
    assert [*Path(path).parent.iterdir()] == [Path(path)]
    os.chmod(path, 0o700)
    with ours.Queue(path) as q:
        assert all_of(q) == ["a"]


# persist-queue in the middle of it


def _put(path: str, item: Any) -> None:
    run("import sys, persistqueue; persistqueue.Queue(sys.argv[1], chunksize=10).put(sys.argv[2])", path, item)


def test_a_put_of_persist_queue_while_it_is_converted(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no locks. Its item was in what was kept, and nobody said so."""
    theirs.file_queue(path, ["a"])
    moved = directories._moved

    def meanwhile(*arguments: Any) -> Any:
        found = moved(*arguments)
        _put(path, "b")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(directories, "_moved", meanwhile)
        with pytest.raises(StoreLocked, match="was changed by another program"):
            ours.Queue(path)
    assert not Path(f"{path}.persist-queue").exists()
    with ours.Queue(path) as q:
        assert all_of(q) == ["a", "b"]


_KILLED = """
import os, sys
from pqadapters.stores._disk import Disk
real = Disk.rename
def rename(self, source, target):
    real(self, source, target)
    if os.path.basename(source) == sys.argv[2]:
        os.kill(os.getpid(), 9)
Disk.rename = rename
import pqadapters.persistqueue as ours
ours.Queue(sys.argv[1])
"""


def _killed(path: str, last: str) -> None:
    with running(_KILLED, path, last) as child:
        assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("last", [".converting", "info", "q00000"])
def test_persist_queue_used_after_a_conversion_was_broken_off(
    path: str, last: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it put went over the originals that were kept, without a word."""
    theirs.file_queue(path, list(range(25)), chunksize=10)
    before = theirs.contents(path)
    _killed(path, last)
    _put(path, "late")
    with ours.Queue(path) as q:
        assert all_of(q) == list(range(25))
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"{path}.persist-queue" in record.getMessage()
    kept = theirs.contents(f"{path}.persist-queue")
    assert any(b"late" in data for data in kept.values())
    if last == "q00000":  # else persist-queue itself changed files of the original, which were still its own
        assert {name: kept[name] for name in before} == before


def test_what_was_broken_off_is_not_moved_elsewhere(path: str) -> None:
    """Half of its files may be away: what was left of them was taken for all."""
    theirs.file_queue(path, list(range(25)), chunksize=10)
    _killed(path, "q00000")
    assert is_unfinished(path)
    with ours.Queue(f"{path}-other") as q, pytest.raises(StoreRefused, match="broken off"):
        conversion.move_directory(path, serializers.pickle, q._line.store, "default")
    with ours.Queue(path) as q:
        assert all_of(q) == list(range(25))


# Two at once


@pytest.mark.parametrize("kind", ["Queue", "SQLiteQueue"])
def test_another_process_converts_it_between_two_looks(path: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several that opened at once one was told of the other program's files, which were away by then."""
    if kind == "Queue":
        theirs.file_queue(path, ["a"])
    else:
        theirs.database(path, old.SQLiteQueue, ["a"])
    name = "is_file_queue" if kind == "Queue" else "is_theirs"
    looks: Callable[[str], bool] = getattr(conversion, name)

    def late(place: str) -> bool:
        run(f"import sys, pqadapters.persistqueue as o; o.{kind}(sys.argv[1]).close()", path)
        return looks(place)

    monkeypatch.setattr(conversion, name, late)
    with getattr(ours, kind)(path) as q:
        assert all_of(q) == ["a"]
