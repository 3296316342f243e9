"""A full disk and what comes behind it: several sinks, room that comes back, log calls in the middle of making room."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Full
from typing import Any

import pytest

from pqadapters.logging._spools import limits
from pqadapters.logging.handlers import QueueListener, Sink
from pqadapters.store import Ack, Nack, Put
from pqadapters.stores._disk import Disk

from .sinks import PATIENCE, Batching, Hanging, Noting, spool
from .test_limits import LIMIT, MANY, SEGMENT, TEXT, Limited, closing, place

__all__ = ["closing", "place"]
POLICIES = ["block", "drop_newest", "drop_oldest", "drop_below_level", "raise"]
FAST: dict[str, Any] = {"backoff": (0.001, 0.01), "retries": 1_000_000}  # behind so many another record would be tried


@pytest.fixture
def limited(request: pytest.FixtureRequest, place: Path, closing: list[Limited]) -> Limited:
    closing.append(Limited(place, request.param))
    return closing[-1]


each_policy = pytest.mark.parametrize("limited", POLICIES, indirect=True)


def _numbers(sink: Noting) -> list[int]:
    return [int(message.split()[0]) for message in sink.messages]


class Logging:
    """A thread that logs, and what it raised."""

    def __init__(self, limited: Limited, first: int = 0, count: int = MANY) -> None:
        self._limited, self._first, self._count = limited, first, count
        self.raised: list[BaseException] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._limited.log(self._count, first=self._first)
        except BaseException as error:
            self.raised.append(error)

    def join(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        assert not self.raised, self.raised


@pytest.fixture
def up() -> Iterator[threading.Event]:
    """Set at the end, for who waits."""
    event = threading.Event()
    yield event
    event.set()


@each_policy
def test_three_sinks_of_which_two_are_down(limited: Limited, up: threading.Event) -> None:
    """What waits for them is copied, once for each: the limit holds for the copies, at whatever moment it is looked."""
    sizes: list[int] = []

    def down(message: str) -> Exception | None:
        sizes.append(limited.size())
        return None if up.is_set() else ConnectionRefusedError()

    first, second = Noting(down), Noting(down)
    healthy = Noting(lambda message: sizes.append(limited.size()))
    sinks = [Sink(first, name="a", **FAST), Sink(second, name="b", **FAST), Sink(healthy, name="c")]
    with QueueListener(limited.place, *sinks) as listener:
        logging_ = Logging(limited)
        first.until(lambda: sizes and max(sizes) > LIMIT * 3 // 4)
        if spool(limited.handler).limit.when_full is not limits.WhenFull.BLOCK:
            logging_.join()
        up.set()
        logging_.join()
        assert listener.flush(PATIENCE)
        dropped = sum(listener.stats()["dropped"].values()) + len(limited.failed)
    assert max(sizes) <= LIMIT + SEGMENT
    for sink in (first, second, healthy):
        assert _numbers(sink) == sorted(set(_numbers(sink)))  # in order, and none twice
    missing = sum(MANY - len(sink.records) for sink in (first, second, healthy))
    assert (missing > 0) == (dropped > 0) == (spool(limited.handler).limit.when_full.value != "block")
    assert dropped <= missing <= 3 * dropped


@pytest.mark.parametrize("limited", ["drop_newest", "drop_oldest", "drop_below_level"], indirect=True)
def test_what_a_sink_that_hung_has_confirmed_was_not_dropped(limited: Limited) -> None:
    """What it had in hand was counted when its copies were dropped, or when there was no room for them."""
    hanging, healthy = Hanging(), Noting()
    with QueueListener(limited.place, Sink(hanging, name="a"), Sink(healthy, name="b")) as listener:
        limited.log(MANY)
        hanging.go_on.set()
        assert listener.flush(PATIENCE)
        stats = listener.stats()
    lacking = set(range(MANY)) - (set(_numbers(hanging)) & set(_numbers(healthy)))
    assert stats["dropped"] == {spool(limited.handler).limit.when_full.value: len(lacking)}


@pytest.mark.parametrize("limited", ["block", "raise"], indirect=True)
def test_one_that_catches_up_again_and_again_gets_no_room_for_the_other(
    limited: Limited, up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two sinks that are behind one has worked off its queue: each batch was copied for both of them then, however
    full the other one's was."""
    queue = spool(limited.handler)
    limit, store = queue.limit, queue.store
    idle, down = queue.names.sink("idle"), queue.names.sink("down")
    while limit._has_room_for(1):
        store.commit(*[Put(down, TEXT.encode())] * 50)
    admitted: list[bool] = []
    waited = threading.Event()
    monkeypatch.setattr(limit, "_tidy", lambda store: (waited.set(), store.checkpoint()))

    def copy() -> None:
        admitted.append(limit.admits_copies(1, store, [idle, down], up, lambda: 1))

    copying = threading.Thread(target=copy)
    copying.start()
    assert waited.wait(PATIENCE)
    assert copying.is_alive()
    store.commit(*[Ack(claim) for claim in store.claim(down, limit=MANY)])
    copying.join(PATIENCE)
    assert admitted == [True]


@each_policy
def test_room_that_has_come_back_is_used(limited: Limited, up: threading.Event) -> None:
    """A handler that had refused records went on refusing them when everything had been delivered."""
    logging_ = Logging(limited)
    if spool(limited.handler).limit.when_full is limits.WhenFull.BLOCK:
        sink = Noting()
        with QueueListener(limited.place, sink) as listener:
            sink.until_count(MANY)
            logging_.join()
            assert listener.flush(PATIENCE)
    else:
        logging_.join()
        limited.delivered()
    before = sum(limited.handler.stats()["dropped"].values()), len(limited.failed)
    limited.log(300, first=MANY)
    assert (sum(limited.handler.stats()["dropped"].values()), len(limited.failed)) == before
    assert limited.delivered() == list(range(MANY, MANY + 300))


@pytest.mark.parametrize("limited", ["drop_newest", "raise"], indirect=True)
def test_room_comes_back_where_some_records_stay(limited: Limited) -> None:
    """In each of the files: they have to be written again, and nobody else writes any more who would see to that."""
    limited.log(MANY)
    store = spool(limited.handler).store
    claims = store.claim("inbox", limit=MANY)
    kept = claims[::5]
    store.commit(*[Ack(claim) for claim in claims if claim not in kept])
    store.commit(*map(Nack, kept))
    spool(limited.handler).limit._tidied = 0.0  # the last look that was in vain is some time ago
    before = sum(limited.handler.stats()["dropped"].values()), len(limited.failed)
    limited.log(300, first=MANY)
    assert (sum(limited.handler.stats()["dropped"].values()), len(limited.failed)) == before


@pytest.mark.parametrize("limited", ["raise"], indirect=True)
def test_full_is_raised_as_long_as_it_is_full(limited: Limited) -> None:
    record = logging.makeLogRecord({"msg": f"0 {TEXT}"})
    queue: Any = limited.handler.queue
    for _ in range(2):
        with pytest.raises(Full):
            while True:
                queue.put(record)
        with pytest.raises(Full):
            queue.put(record)
        limited.delivered()


@pytest.mark.parametrize("limited", ["raise"], indirect=True)
def test_each_stop_of_a_listener_takes_no_more_room(limited: Limited) -> None:
    """What it had in hand was copied for the sinks that were down, room or not."""
    Logging(limited).join()
    down, healthy = Noting(lambda message: ConnectionRefusedError()), Noting()
    sinks = [Sink(down, name="a", **FAST), Sink(down, name="b", **FAST), Sink(healthy, name="c")]
    listener = QueueListener(limited.place, *sinks)
    for _ in range(80):
        count = len(healthy.records)
        listener.start()
        healthy.until_count(count + 1)
        listener.stop(drain_timeout=0.0)
        assert limited.size() <= limited.most
    assert set(_numbers(healthy)) | set(limited.delivered()) == set(range(MANY - len(limited.failed)))


@pytest.mark.parametrize("limited", ["drop_oldest"], indirect=True)
def test_a_log_call_in_the_middle_of_making_room(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    """As our own loggers do, or a finalizer, in the thread that makes room: it waited for itself."""
    inside: list[str] = []
    drop = limits.Limit._drop_oldest

    def dropping(limit: Any, *arguments: Any) -> bool:
        if not inside:
            inside.append("once")
            for number in range(200):  # more than fits: room is made for these, too
                limited.logger.info("%d %s", MANY + number, TEXT)
        return drop(limit, *arguments)

    monkeypatch.setattr(limits.Limit, "_drop_oldest", dropping)
    Logging(limited).join()
    found = limited.delivered()
    assert inside
    assert set(found) >= set(range(MANY - 200, MANY))
    assert len(found) + limited.handler.stats()["dropped"]["drop_oldest"] == MANY + 200


@pytest.mark.parametrize("limited", ["drop_oldest"], indirect=True)
def test_a_finalizer_that_logs_in_the_middle_of_a_commit(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another thread makes room: that one waited for the store, and this one for room, both for ever."""
    Logging(limited).join()
    making, committing = threading.Event(), threading.Event()
    drop, write, look = limits.Limit._drop_oldest, Disk.write, limits.Limit._look

    def dropping(limit: Any, *arguments: Any) -> bool:
        monkeypatch.setattr(limits.Limit, "_drop_oldest", drop)
        making.set()
        assert committing.wait(PATIENCE)
        return drop(limit, *arguments)

    def writing(disk: Disk, fd: int, data: bytes, offset: int) -> None:
        if threading.current_thread() is finalizing:
            monkeypatch.setattr(Disk, "write", write)
            committing.set()
            limited.logger.info("%d from a finalizer", MANY + 1)
        write(disk, fd, data, offset)

    def put() -> None:
        spool(limited.handler).store.commit(Put(spool(limited.handler).names.inbox, b""))

    finalizing = threading.Thread(target=put, daemon=True)
    monkeypatch.setattr(limits.Limit, "_look", lambda limit, size: making.is_set() and look(limit, size))
    monkeypatch.setattr(limits.Limit, "_drop_oldest", dropping)
    other = Logging(limited, MANY, 100)
    assert making.wait(PATIENCE)
    monkeypatch.setattr(limits.Limit, "_look", lambda limit, size: False)
    monkeypatch.setattr(Disk, "write", writing)
    finalizing.start()
    finalizing.join(PATIENCE)
    assert not finalizing.is_alive()
    monkeypatch.setattr(limits.Limit, "_look", look)
    other.join()


@pytest.mark.parametrize("limited", ["block", "drop_oldest"], indirect=True)
def test_records_that_are_collected_keep_no_room_for_long(limited: Limited) -> None:
    """Until there were enough for a batch: who waited for room waited for its time, and nothing could be dropped."""
    batching = Batching()
    with QueueListener(limited.place, Sink(batching, batch=2 * MANY, batch_wait=3600.0)) as listener:
        Logging(limited).join()
        assert limited.size() <= limited.most
        listener.stop()
    dropped = sum(listener.stats()["dropped"].values())
    assert len(batching.messages) + len(limited.delivered()) + dropped == MANY


@pytest.mark.parametrize("limited", ["drop_oldest"], indirect=True)
def test_threads_and_a_sink_that_log_while_room_is_made(limited: Limited) -> None:
    class Talking(Noting):
        def emit(self, record: logging.LogRecord) -> None:
            limited.logger.info("0 delivering")
            super().emit(record)

    down = Talking(lambda message: ConnectionRefusedError())
    with QueueListener(limited.place, Sink(down, **FAST)) as listener:
        threads = [Logging(limited, first, MANY // 4) for first in range(0, MANY, MANY // 4)]
        for each in threads:
            each.join()
        listener.stop(drain_timeout=0.0)
        dropped = listener.stats()["dropped"]
    assert dropped["feedback"] == len(down.tries)
    assert limited.size() <= LIMIT + SEGMENT
    found = limited.delivered()
    assert len(found) == len(set(found)) == MANY - dropped["drop_oldest"]
