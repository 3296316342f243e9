"""Claims of the segment store: records that are decoded ahead, and calls that an exception breaks off anywhere."""

from __future__ import annotations

import gc
import logging
import random
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pqadapters.store import Ack, Nack, Order, Put, Update
from pqadapters.stores._disk import Disk, ScratchDisk
from pqadapters.stores.segment import SegmentStore, claims, queues
from tests.contract.late import check_a_claim_in_the_middle_waits_for_nothing, check_a_refused_late_commit_is_told


def open_store(directory: Path, **options: Any) -> SegmentStore:
    return SegmentStore(directory, durability="process", max_lag=1000.0, disk=ScratchDisk(), **options)


def test_a_record_that_moved_is_not_decoded_ahead(tmp_path: Path) -> None:
    """It was, with what it held before its update."""
    with open_store(tmp_path) as store:
        store.commit(Put("q", b"B"))
        store.commit(Put("q", b"A"))
    with open_store(tmp_path) as store:
        (a,) = store.claim("q", order=Order.NEWEST)
        store.commit(Nack(a, dead="why"))
        (a,) = store.claim("q.dead")
        (b,) = store.claim("q")
        assert b.payload == b"B"
        store.commit(Update(a, b"A2"))
        store.commit(Nack(a))
        assert [claim.payload for claim in store.claim("q.dead")] == [b"A2"]


def test_nothing_is_kept_of_records_that_left(tmp_path: Path) -> None:
    with open_store(tmp_path, segment_bytes=4096) as store:
        for number in range(300):
            store.commit(Put("q", b"%d" % number))
    with open_store(tmp_path, segment_bytes=4096) as store:
        for order in (Order.OLDEST, Order.NEWEST) * 150:
            (claim,) = store.claim("q", order=order)
            store.commit(Ack(claim))
        assert store._core.recent == {}


def test_little_is_kept_of_records_that_nobody_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beside each record that was claimed by its id stayed in memory, in the end all of the queue's."""
    monkeypatch.setattr(claims, "RECENT_RECORDS", 100)
    with open_store(tmp_path) as store:
        store.commit(*[Put("q", bytes(100)) for _ in range(2000)])
    with open_store(tmp_path) as store:
        for record in list(store.browse("q"))[::20]:
            (claim,) = store.claim("q", ids=[record.id])
            store.commit(Ack(claim))
        assert len(store._core.recent) < 300


def test_i5_what_an_interrupted_caller_had_is_taken_from_nobody_else(tmp_path: Path) -> None:
    """It was given back meanwhile, by the end of its handle, and somebody else has it."""
    with open_store(tmp_path) as store, open_store(tmp_path) as other:
        store.commit(Put("q", b"x"))
        claims = store.claim("q")
        store.commit(*map(Nack, claims))
        theirs = other.claim("q")
        store._give_back(claims)
        assert store.depth("q")[:3] == (0, 0, 1)
        other.commit(*map(Ack, theirs))


@pytest.mark.parametrize("together", [1, 3])
def test_nothing_is_kept_of_what_was_known_of_records_that_left(together: int, tmp_path: Path) -> None:
    """Each checkpoint would tell of it."""
    with open_store(tmp_path) as store:
        store.commit(*[Put("q", b"x")] * 6)
        while claims := store.claim("q", limit=together, counted=True):
            assert len(store._core.catalog.extra) == together
            store.commit(*map(Ack, claims))
        assert store._core.catalog.extra == {}


@pytest.mark.parametrize("order", [Order.NEWEST, Order.RANK])
def test_a_claim_that_is_interrupted_before_the_record_was_taken_out(
    tmp_path: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was put back beside itself, and served twice."""
    take = queues.Queue.take

    def interrupted(self: queues.Queue, id: int) -> None:
        monkeypatch.setattr(queues.Queue, "take", take)
        raise KeyboardInterrupt

    with open_store(tmp_path) as store:
        for number in range(3):
            store.commit(Put("q", b"%d" % number, bytes([number]) if order is Order.RANK else b""))
        monkeypatch.setattr(queues.Queue, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.claim("q", order=order)
        assert store.depth("q")[:3] == (3, 0, 0)
        assert len(store.claim("q", order=order, limit=9)) == 3
        assert store.depth("q")[:3] == (0, 0, 3)


@pytest.mark.parametrize("lost", [True, False])
def test_a_late_commit_that_is_refused_is_told_in_the_log(
    lost: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(tmp_path) as store:
        check_a_refused_late_commit_is_told(store, caplog, lost=lost)


def test_a_claim_in_the_middle_of_another_one(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        check_a_claim_in_the_middle_waits_for_nothing(store)


def test_a_claim_for_whose_list_there_is_no_memory_is_given_back(tmp_path: Path) -> None:
    """It was nobody's until the handle was closed: join() waited for it."""
    memory = pytest.importorskip("_testcapi")
    with open_store(tmp_path) as store:
        for allocation in range(40):
            store.commit(Put("q", b"A"))
            taken = list[Any]()
            try:
                memory.set_nomemory(allocation, allocation + 1)
                try:
                    taken = store.claim("q")
                finally:
                    memory.remove_mem_hooks()
            except MemoryError:
                taken = store.claim("q")
            assert len(taken) == 1, f"after a failure of allocation {allocation}"
            store.commit(Ack(taken[0]))


class Interrupt(BaseException):
    """What the signal's handler raises."""


def test_interrupts_while_somebody_looks_are_in_nobodys_way(tmp_path: Path) -> None:
    """After one, puts returned and had stored nothing."""

    def handler(number: int, frame: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, handler)
    rng, interrupts = random.Random(5), 0
    store = open_store(tmp_path)
    gc.disable()  # what is raised in a finalizer of another test's goes nowhere, and nobody is interrupted
    try:
        for _ in range(1500):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(2e-5, 2e-4))
                while True:
                    store.depth("q")
            except Interrupt:
                interrupts += 1
            finally:
                with suppress(Interrupt):
                    signal.setitimer(signal.ITIMER_REAL, 0)
            assert not store._core.inside
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    assert interrupts == 1500
    store.commit(Put("q", b"here"))
    assert store.depth("q").ready == 1
    store.close()


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("the sink is down")


def test_a_log_handler_that_fails_holds_nobody_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was to be said of damage was said again and again, for ever."""
    with open_store(tmp_path) as store:
        for number in range(3):
            store.commit(Put("q", b"%d" % number * 2000))
    store = open_store(tmp_path)
    (segment,) = tmp_path.glob("*.seg")
    data = bytearray(segment.read_bytes())
    at = data.index(b"1" * 100)
    data[at : at + 10] = b"x" * 10
    segment.write_bytes(data)
    handler = Failing()
    logging.getLogger("pqadapters.stores.segment").addHandler(handler)
    try:
        claims = store.claim("q", limit=9)
    finally:
        logging.getLogger("pqadapters.stores.segment").removeHandler(handler)
    assert [claim.payload[:1] for claim in claims] == [b"0", b"2"]
    assert "the sink is down" in capsys.readouterr().err
    store.close()


def test_an_attempt_is_synced_in_time(tmp_path: Path) -> None:
    """Nobody had seen to it where a counted claim was the first thing that a process did."""
    directory = tmp_path / "store"
    with SegmentStore(directory, durability="process") as store:
        store.commit(Put("q", b"a"))
    disk = _Watching()
    with SegmentStore(directory, durability="process", max_lag=0.01, disk=disk) as store:
        assert store.claim("q", counted=True)
        assert disk.synced.wait(30)


class _Watching(Disk):
    """Knows when a thread of ours has synced."""

    def __init__(self) -> None:
        self.synced = threading.Event()

    def sync(self, fd: int) -> None:
        super().sync(fd)
        if threading.current_thread().name.startswith("pqadapters"):
            self.synced.set()


def test_an_older_handle_with_more_time_takes_none_from_others(tmp_path: Path) -> None:
    """Their syncs came when its next one was due."""
    disk = _Watching()
    with SegmentStore(tmp_path, durability="process", disk=disk) as slow:
        slow._core.max_lag = 1000.0
        slow.commit(Put("q", b"a"))
        with SegmentStore(tmp_path, durability="process", max_lag=0.01) as quick:
            quick.commit(Put("q", b"b"))
            assert disk.synced.wait(30)
