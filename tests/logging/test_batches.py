"""Sinks that take batches: up to so many records, collected for up to so many seconds; a bad one of them is found."""

from __future__ import annotations

import logging
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink

from .sinks import PATIENCE, Batching, Noting, logger_of, spool
from .test_delivery import FAST, Listen, _log, _numbers, listen, place

__all__ = ["listen", "place"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch": 1.5}, TypeError),
        ({"backoff": (Decimal("0.1"), Decimal("1"))}, TypeError),
        ({"backoff": 1}, TypeError),
        ({"retries": "8"}, TypeError),
        ({"batch_wait": float("nan")}, ValueError),
        ({"batch": 0}, ValueError),
    ],
)
def test_options_of_a_sink_are_checked(options: dict[str, Any], error: type[Exception]) -> None:
    """With the first two nothing was delivered, for good."""
    with pytest.raises(error, match=next(iter(options))):
        Sink(Noting(), **options)


def test_batches(place: str, listen: Listen) -> None:
    batching = Batching()
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 250)
    listener = listen(Sink(batching, batch=100))
    assert listener.flush(PATIENCE)
    assert [message for batch in batching.batches for message in batch] == _numbers(0, 250)
    assert max(map(len, batching.batches)) == 100


def test_a_refused_record_in_a_batch_is_found(place: str, listen: Listen) -> None:
    batching = Batching(lambda message: ValueError("no sevens") if message == "m 7" else None)
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 20)
    listener = listen(Sink(batching, retries=2, **FAST))
    assert listener.flush(PATIENCE)
    assert sorted(batching.messages) == sorted(set(_numbers(0, 20)) - {"m 7"})
    assert listener.stats()["dead"] == 1


def test_a_batch_with_one_bad_record_costs_each_of_the_others_a_try_or_two(place: str, listen: Listen) -> None:
    sink = Batching(lambda message: ValueError("bad") if message == "m 50" else None)
    listener = listen(Sink(sink, retries=2, **FAST))
    _log(logger_of(QueueHandler(place)), 0, 101)
    assert listener.flush(PATIENCE)
    assert listener.stats()["dead"] == 1
    assert sink.messages == [message for message in _numbers(0, 101) if message != "m 50"]


def test_behind_a_batch_with_a_bad_record_there_are_batches_again(place: str, listen: Listen) -> None:
    sink = Batching(lambda message: ValueError("bad") if message == "m 2" else None)
    listener, logger = listen(Sink(sink, batch=5, batch_wait=3600.0, retries=1)), logger_of(QueueHandler(place))
    for first, last in ((0, 5), (5, 6), (6, 11)):
        _log(logger, first, last)
        assert listener.flush(PATIENCE)
    assert sink.batches == [["m 0"], ["m 1"], ["m 3"], ["m 4"], ["m 5"], _numbers(6, 11)]


def test_a_filter_of_a_sink_of_batches_may_replace_records(place: str, listen: Listen) -> None:
    def redact(record: logging.LogRecord) -> Any:
        return logging.makeLogRecord({**vars(record), "msg": "redacted", "args": ()})

    sink = Batching()
    sink.addFilter(redact)
    listener = listen(sink)
    _log(logger_of(QueueHandler(place)), 0, 2)
    assert listener.flush(PATIENCE)
    assert sink.messages == (["redacted", "redacted"] if sys.version_info >= (3, 12) else _numbers(0, 2))


def _until_claimed(place: str, count: int) -> None:
    """The listener has so many in hand."""
    handler = QueueHandler(place)
    assert spool(handler).store.wait("inbox", lambda depth: depth.claimed == count, PATIENCE)


@pytest.mark.parametrize("others", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"max_bytes": 1 << 20}])
def test_records_are_collected_until_there_are_enough(
    tmp_path: Path, others: int, options: dict[str, Any]
) -> None:
    """With several sinks, and where there is a limit, each record was handed on at once."""
    batching, noting = Batching(), [Noting() for _ in range(others)]
    handler = QueueHandler(tmp_path / "spool", **options)
    logger = logger_of(handler)
    patient = Sink(batching, batch=10, batch_wait=PATIENCE * 2)
    with QueueListener(handler.queue, patient, *noting) as listener:
        _log(logger, 0, 5)
        _until_claimed(str(tmp_path / "spool"), 5)
        assert batching.batches == []
        _log(logger, 5, 10)
        assert listener.flush(PATIENCE)
    assert batching.batches == [_numbers(0, 10)]
    assert [each.messages for each in noting] == [_numbers(0, 10)] * others
    spool(handler).close()


@pytest.mark.parametrize("others", [0, 1])
def test_records_are_collected_for_so_long_at_most(place: str, listen: Listen, others: int) -> None:
    batching = Batching()
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(batching, batch=1000, batch_wait=0.05), *[Noting() for _ in range(others)])
    _log(logger, 0, 3)
    assert listener.flush(PATIENCE)
    assert batching.messages == _numbers(0, 3)


def test_records_are_delivered_while_a_test_has_stopped_the_clock(
    place: str, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As freezegun does: records were collected for ever, and a flush that came to nothing never ended."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    batching = Batching()
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(batching, batch=1000, batch_wait=0.01, retries=10_000, **FAST))
    _log(logger, 0, 3)
    assert listener.flush(PATIENCE)
    batching.fails = ConnectionResetError
    _log(logger, 3, 4)
    assert not listener.flush(0.01)
    batching.fails = lambda message: None
    assert listener.flush(PATIENCE)
    assert batching.messages == _numbers(0, 4)


@pytest.mark.parametrize("others", [0, 1])
def test_nobody_collects_for_long_when_listening_ends(place: str, others: int) -> None:
    """What was collected is delivered then; it was left on the disk, and stop() had waited five seconds for it."""
    batching = Batching()
    handler = QueueHandler(place)
    listener = QueueListener(place, Sink(batching, batch=1000, batch_wait=PATIENCE * 4), *[Noting()] * others)
    listener.start()
    _log(logger_of(handler), 0, 3)
    _until_claimed(place, 3)
    stopping = threading.Thread(target=listener.stop)
    stopping.start()
    stopping.join(PATIENCE)
    assert batching.batches == [_numbers(0, 3)]
    assert handler.stats()["depth"] == 0
    spool(handler).close()


def test_who_looks_for_a_bad_record_among_fewer_than_a_batch_waits_for_the_next_one(
    place: str, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asked for the next record without a pause, until a whole batch had come one by one."""
    waits = threading.Event()
    failing = iter([ValueError("not now")])
    batching = Batching(lambda message: next(failing, None))
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 5)
    listener = QueueListener(place, Sink(batching, batch=100, **FAST))
    store = spool(listener).store
    claim = store.claim

    def claiming(queue: str, **options: Any) -> Any:
        if options.get("timeout", 0.0) > 0.0 and len(batching.records) == 5:
            waits.set()
        return claim(queue, **options)

    monkeypatch.setattr(store, "claim", claiming)
    listener.start()
    assert waits.wait(PATIENCE)
    _log(logger, 5, 7)
    assert listener.flush(PATIENCE)
    assert sorted(batching.messages) == _numbers(0, 7)
    listener.stop()
    spool(listener).close()
