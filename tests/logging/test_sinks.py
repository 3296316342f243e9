"""A sink by itself: how many records were confirmed, whatever its handler does, and whoever waits for that."""

from __future__ import annotations

import io
import logging
import queue as stdlib_queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink

from .sinks import PATIENCE, Batching, Hanging, Noting, logger_of

NEVER, NOW = threading.Event(), threading.Event()  #: whether listening ends
NOW.set()


def _records(count: int) -> list[logging.LogRecord]:
    return [logging.LogRecord("a", logging.INFO, "a.py", 1, str(number), (), None) for number in range(count)]


@pytest.fixture
def begun() -> Iterator[list[Sink]]:
    """Those that listening has begun for; it ends behind the test."""
    sinks: list[Sink] = []
    yield sinks
    for sink in sinks:
        sink.end()


def _begin(begun: list[Sink], sink: Sink) -> Sink:
    sink.begin()
    begun.append(sink)
    return sink


def test_who_ends_gives_the_record_that_it_is_at_and_no_more(begun: list[Sink]) -> None:
    noting, batching = Noting(), Batching()
    assert _begin(begun, Sink(noting)).deliver(_records(5), False, NOW) == (1, None)
    assert _begin(begun, Sink(batching, batch=2)).deliver(_records(5), False, NOW) == (2, None)
    assert (noting.messages, batching.batches) == (["0"], [["0", "1"]])


def test_a_batch_that_was_reported_to_have_failed_is_not_confirmed(begun: list[Sink]) -> None:
    class Failing(Batching):
        def emit_batch(self, records: list[logging.LogRecord]) -> None:
            self.handleError(records[0])

    done, failure = _begin(begun, Sink(Failing(), batch=2)).deliver(_records(5), False, NEVER)
    assert done == 0
    assert failure is not None


def test_nobody_is_given_a_batch_of_which_its_filters_leave_nothing(begun: list[Sink]) -> None:
    batching = Batching()
    batching.addFilter(lambda record: record.getMessage() == "2")
    assert _begin(begun, Sink(batching, batch=2)).deliver(_records(5), False, NEVER) == (5, None)
    assert batching.batches == [["2"]]


def test_a_stream_that_cannot_get_rid_of_a_record_is_given_it_once(begun: list[Sink]) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "no space left")

    stream = Full()
    sink = _begin(begun, Sink(logging.StreamHandler(stream)))
    for _ in range(3):
        done, failure = sink.deliver(_records(2), False, NEVER)
        assert done == 0
        assert failure is not None
        assert failure.outage
    assert stream.getvalue() == "0\n"


def test_nobody_waits_for_the_lock_of_a_handler_that_hangs_when_listening_ends(begun: list[Sink]) -> None:
    hanging, found = Hanging(), list[object]()
    sink = _begin(begun, Sink(hanging))
    thread = threading.Thread(target=lambda: found.append(sink.deliver(_records(1), False, NEVER)), daemon=True)
    thread.start()
    assert hanging.hangs.wait(PATIENCE)
    sink.end()
    lock = hanging.lock
    assert lock is not None
    assert lock.acquire(blocking=False)
    lock.release()
    hanging.go_on.set()
    thread.join(PATIENCE)
    assert found == [(1, None)]


class Dispatching:
    """As in the standard library's logging cookbook: no handler, and hands records to the loggers of their names."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def handle(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        if record.getMessage() == "refused":
            raise ValueError("refused")


def test_what_has_a_handle_and_is_no_handler_is_a_sink(tmp_path: Path) -> None:
    """Its QueueListener raised TypeError where it was started."""
    both, spool = [Dispatching(), Dispatching()], tmp_path / "spool"
    logger = logger_of(QueueHandler(spool, handlers=both))
    listener = QueueListener(spool, *both)
    listener.start()
    logger.info("one")
    assert listener.flush(PATIENCE)
    assert listener.sinks() == ["Dispatching-0", "Dispatching-1"]
    listener.stop()
    assert [each.messages for each in both] == [["one"]] * 2


def test_what_is_no_handler_and_raises_is_asked_again_until_it_is_a_dead_letter(begun: list[Sink]) -> None:
    dispatching: Any = Dispatching()
    sink = _begin(begun, Sink(dispatching))
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "refused", (), None)
    done, failure = sink.deliver([record], True, NEVER)
    assert (done, failure is not None and failure.text) == (0, "ValueError: refused")


def test_what_is_no_handler_and_raises_ends_no_listener_of_a_queue_in_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue, dispatching = stdlib_queue.SimpleQueue[object](), Dispatching()
    logger = logger_of(QueueHandler(queue))
    with QueueListener(queue, dispatching):
        for message in ("refused", "one"):
            logger.info(message)
    assert dispatching.messages == ["refused", "one"]
    assert "ValueError: refused" in capsys.readouterr().err
