"""The background sync of "process" durability: its thread ends, and begins again, and keeps no store alive."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import StorePoisoned
from pqadapters.store import Ack, Put
from pqadapters.stores.segment import SegmentStore, syncer
from tests.crash.faulty import CHANGES, FaultyDisk
from tests.crash.promises import die

FAR = 1e6


class Idle:
    """A core for which there is nothing to sync; it lets the thread go when it is asked often enough."""

    def __init__(self, refuses: int = 0) -> None:
        self.rounds, self.refuses = 0, refuses

    def sync_written(self) -> bool:
        self.rounds += 1
        return False

    def retire_syncer(self, _: object) -> bool:
        self.refuses -= 1
        return self.refuses < 0


class Rounds:
    """For the event that ends it, and that it sleeps by: counts, and is called by that number."""

    def __init__(self, between: Callable[[int], object] = bool) -> None:
        self.count, self.between = 0, between

    def wait(self, lag: float) -> bool:
        self.count += 1
        self.between(self.count)
        return self.count > 100


def _run(ref: Any, rounds: Any) -> None:
    syncer._run(ref, syncer.Syncer(ref(), 1.0), rounds)


def test_the_thread_ends_where_nothing_comes_any_more() -> None:
    core, rounds = Idle(refuses=1), Rounds()  # something had come right before the end, the first time
    _run(weakref.ref(core), rounds)
    assert rounds.count == core.rounds == syncer._IDLE_ROUNDS + 1


def test_between_two_rounds_the_store_may_go() -> None:
    cores = [Idle()]
    ref, rounds = weakref.ref(cores[0]), Rounds(lambda count: count == 2 and cores.clear())
    _run(ref, rounds)
    assert ref() is None
    assert rounds.count == 2


def test_what_comes_behind_the_last_round_has_another_one(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, durability="process", max_lag=1000.0) as store:
        core = store._core
        store.commit(Put("q", b"x"))
        first = core.syncer
        assert first is not None
        assert not core.retire_syncer(first)
        assert core.syncer is first
        store.sync()
        assert core.retire_syncer(first)
        store.commit(Put("q", b"y"))
        assert core.syncer is not None
        assert core.syncer is not first
        store.sync()
        second = core.syncer
        assert core.retire_syncer(first)
        assert core.syncer is second
        first.stop()


@pytest.mark.parametrize("kind", ["put", "several", "lazy", "counted"])
def test_whatever_nobody_waits_for_is_synced_in_time(kind: str, tmp_path: Path) -> None:
    with SegmentStore(tmp_path, durability="power" if kind == "lazy" else "process") as store:
        store.commit(Put("q", b"x"))
        if kind != "put":
            store.sync()
            if store._core.syncer is not None:
                assert store._core.retire_syncer(store._core.syncer)
            (claim,) = store.claim("q", counted=kind == "counted")
            if kind == "lazy":
                store.commit(Ack(claim, lazy=True))
            elif kind == "several":
                store.commit(Ack(claim), Put("p", b"y"))
        assert store._core.syncer is not None


def test_a_handle_that_wants_it_soon_doesnt_wait_for_the_thread_of_one_that_has_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did, as long as that thread had something to do: up to a second, whatever its max_lag."""
    monkeypatch.setattr(syncer, "_IDLE_ROUNDS", 10**9)  # else it may have ended by then
    with SegmentStore(tmp_path, durability="process") as slow:
        slow.commit(Put("q", b"x"))
        first = slow._core.syncer
        assert first is not None
        with SegmentStore(tmp_path, durability="process", max_lag=0.25):
            second = slow._core.syncer  # also for what is written already
            assert second is not None
            assert (first.lag, second.lag) == (1.0, 0.25)
            first._thread.join(60)
            with SegmentStore(tmp_path, durability="process", max_lag=0.5):
                assert slow._core.syncer is second


def test_where_there_are_no_daemon_threads_it_is_synced_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an interpreter beside the main one, which refuses them when they are made, not when they are started."""

    def refused(**options: object) -> None:
        raise RuntimeError("daemon threads are disabled in this (sub)interpreter")

    with SegmentStore(tmp_path, durability="process") as store:
        monkeypatch.setattr(threading, "Thread", refused)
        store.commit(Put("q", b"x"))
        assert store._core.syncer is None
        assert store._core.log.synced == store._core.log.next - 1


@pytest.mark.parametrize("durability", ["process", "power"])
def test_what_is_written_behind_the_end_of_the_interpreter_is_synced_at_once(durability: str, tmp_path: Path) -> None:
    """Daemon threads and handlers of the program's own may put to the very end: no thread can be started any more."""
    store = SegmentStore(tmp_path, durability=durability, disk=(disk := FaultyDisk(str(tmp_path))))
    store.commit(Put("q", b"x"))
    store._core.end()
    syncs = disk.count("sync")
    store.commit(Put("q", b"y"))
    assert disk.count("sync") > syncs
    assert store._core.syncer is None
    assert store._core.log.synced == store._core.log.next - 1
    store.close()


def _refused_from_now_on(store: SegmentStore, *kinds: str) -> None:
    disk = store._core.disk
    assert isinstance(disk, FaultyDisk)
    disk.refuse = lambda action, _: OSError(errno.EIO, os.strerror(errno.EIO)) if action.kind in kinds else None


@pytest.mark.parametrize("ends", [False, True])
def test_a_sync_of_its_own_that_fails_is_told(ends: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next caller was told, and a program that had put its last item, and ended, was not."""
    place = tmp_path / "store"
    place.mkdir()
    store = SegmentStore(place, durability="process", max_lag=FAR, disk=FaultyDisk(str(place)))
    store.commit(Put("q", b"a"))
    _refused_from_now_on(store, "sync")
    (store._core.end if ends else store._core.sync_written)()
    (told,) = [record for record in caplog.records if str(place) in record.getMessage()]
    assert told.levelname == "ERROR"
    assert f"{place}: a sync to disk failed" in told.getMessage()
    with pytest.raises(StorePoisoned):
        store.commit(Put("q", b"b"))
    store.close()


def test_the_end_of_the_interpreter_comes_on_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    """An UnboundLocalError kept all others from it."""
    place = tmp_path / "store"
    place.mkdir()
    store = SegmentStore(place, durability="process", max_lag=FAR, disk=FaultyDisk(str(place)))
    store.commit(Put("q", b"a"))
    store.checkpoint()
    store.commit(Put("q", b"b"))
    _refused_from_now_on(store, *CHANGES)
    store._core.end()
    assert store._core.ended
    store.close()


def test_at_the_end_of_the_interpreter_the_thread_has_ended(tmp_path: Path) -> None:
    """The interpreter would stop it for good wherever it is, with the store's lock, say."""
    with SegmentStore(tmp_path, durability="process", max_lag=1000.0) as store:
        store.commit(Put("q", b"x"))
        thread = store._core.syncer
        assert thread is not None
        store._core.end()
        assert not thread._thread.is_alive()


def test_what_an_opening_has_found_is_on_the_disk_when_it_is_served(tmp_path: Path) -> None:
    """A killed process has written it; what somebody does for it must not outlive it in a power cut."""
    store = SegmentStore(tmp_path, durability="process", max_lag=1000.0, disk=FaultyDisk(str(tmp_path)))
    store.commit(Put("q", b"x"))
    die(store)
    with SegmentStore(tmp_path, durability="process", disk=(disk := FaultyDisk(str(tmp_path)))) as store:
        done = {(action.kind, action.name) for action in disk.actions}
        assert done >= {("sync", "0000000000000001.seg"), ("sync_directory", "")}
        assert store.depth("q").ready == 1
