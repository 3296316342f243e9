"""A record that can't be delivered keeps no other: it is refused, can't be read, was taken away."""

from __future__ import annotations

import errno
import io
import logging
import queue
import re
import threading
from logging import handlers
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pqadapters.logging._delivery.couriers import Courier, Job
from pqadapters.logging._delivery.owed import Owed
from pqadapters.logging._delivery.post import Post
from pqadapters.logging._records import records
from pqadapters.logging._records.records import Codec
from pqadapters.logging.handlers import QueueHandler, Sink, SpoolQueue
from pqadapters.store import Ack, Claim, Put, State, Store
from pqadapters.stores.memory import MemoryStore

from .failures import Mute, MuteOutage
from .sinks import PATIENCE, Batching, Noting, eventually, logger_of, spool
from .test_delivery import FAST, Listen, _log, _numbers, listen, place

__all__ = ["listen", "place"]


@pytest.mark.parametrize("others", [0, 1])
def test_a_record_that_is_refused_is_a_dead_letter_and_the_others_flow(
    place: str, listen: Listen, others: int
) -> None:
    picky = Noting(lambda message: ValueError("no sevens") if message == "m 7" else None)
    healthy = [Noting() for _ in range(others)]
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(picky, retries=3, **FAST), *healthy)
    _log(logger, 0, 20)
    picky.until_count(19)
    assert picky.messages == [message for message in _numbers(0, 20) if message != "m 7"]
    assert listener.flush(PATIENCE)
    assert picky.tries.count("m 7") - others <= 3
    found = listener.stats()
    assert found["dead"] == 1
    assert "no sevens" in str(found["sinks"])
    for sink in healthy:
        assert sink.messages == _numbers(0, 20)


@pytest.mark.parametrize("others", [0, 1])
def test_a_sink_that_comes_back_with_the_record_behind_refuses_none(place: str, listen: Listen, others: int) -> None:
    """It was asked whether it is the record's fault, and the next one got through because the sink was up again."""
    up = threading.Event()

    def fails(message: str) -> Exception | None:
        if message == "m 1":
            up.set()
        return None if up.is_set() else ConnectionRefusedError()

    sink = Noting(fails)
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 2)
    listener = listen(Sink(sink, retries=3, **FAST), *[Noting() for _ in range(others)])
    assert listener.flush(PATIENCE)
    assert sink.messages == ["m 1", "m 0"]
    assert listener.stats()["dead"] == 0


def test_nobody_looks_again_and_again_while_a_refused_record_waits(
    place: str, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink with a queue of its own tried to claim a hundred thousand times in a second while all it had left was a
    record that it is given later."""
    looks = []
    work_off = Post.work_off

    def looking(post: Post, *arguments: Any) -> bool:
        looks.append(post.name)
        return work_off(post, *arguments)

    monkeypatch.setattr(Post, "work_off", looking)
    picky = Noting(lambda message: ValueError("no sevens") if message == "m 7" else None)
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(picky, retries=3, backoff=(0.3, 0.3)), Noting())
    _log(logger, 0, 20)
    assert listener.flush(PATIENCE)
    assert listener.stats()["dead"] == 1
    assert len(looks) < 200


def test_one_record_that_the_net_refuses_while_others_get_through_is_a_dead_letter(place: str, listen: Listen) -> None:
    sink = Noting(lambda message: ConnectionResetError("too large") if message == "m 3" else None)
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(sink, retries=3, **FAST))
    _log(logger, 0, 10)
    sink.until_count(9)
    assert listener.flush(PATIENCE)
    assert listener.stats()["dead"] == 1


def test_a_queue_that_is_full_is_no_reason_for_dead_letters(place: str, listen: Listen) -> None:
    """The standard library's handler with a bounded queue: what found no room eight times was a dead letter. Others
    that find some in between say nothing about the record either."""
    own: queue.Queue[logging.LogRecord] = queue.Queue(1)
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 10)
    listener = listen(Sink(handlers.QueueHandler(own), retries=1, **FAST))
    assert [own.get(timeout=PATIENCE).getMessage() for _ in range(10)] == _numbers(0, 10)
    assert listener.flush(PATIENCE)
    assert listener.stats()["dead"] == 0


@pytest.mark.parametrize(("error", "asked"), [(queue.Full(), False), (OSError("down"), True)])
def test_where_a_batch_stays_a_full_queue_is_not_asked_for_the_record_behind(error: Exception, asked: bool) -> None:
    """Another record says nothing about this one there: it gets through once there is room."""
    stopping, store = threading.Event(), cast("Store", SimpleNamespace())
    sink = Noting(lambda message: error)
    post = Post("one", Sink(sink, retries=2, backoff=(0.001, 0.001)), Codec(), False, stopping, Owed())
    courier, looks = Courier(post, "sinks/one", object()), list[object]()
    job = Job([logging.makeLogRecord({"msg": "m"})], stays=True)

    def takes_another(found: object) -> bool:
        looks.append(found)
        return True

    courier.takes_another = takes_another
    thread = threading.Thread(target=courier._insist, args=(job, store))
    thread.start()
    if not asked:  # else it ends by itself
        sink.until(lambda: len(sink.tries) > 8 or looks)
        job.over.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert bool(job.refused) is asked
    assert bool(looks) is asked


@pytest.mark.parametrize("dropped", [False, True])
def test_what_a_late_sink_has_confirmed_is_done_and_no_more(dropped: bool) -> None:
    """It had confirmed four of five as it was known of two, and the rest was put into its own queue, or dropped."""
    store, counted = MemoryStore(), list[int]()
    post = Post("one", Sink(Noting()), Codec(), False, threading.Event(), Owed())
    courier = Courier(post, "sinks/one", object())
    courier.not_dropped = counted.append
    job = Job([logging.makeLogRecord({}) for _ in range(5)])
    job.done, job.first = 4, 2
    job.diverted = [] if dropped else list(store.commit(*(Put("sinks/one", b"%d" % number) for number in (2, 3, 4))))
    courier.done_late(job, cast("Store", store))
    assert [record.payload for record in store.browse("sinks/one", state=None)] == ([] if dropped else [b"4"])
    assert counted == [2 if dropped else 0]


def test_a_record_is_asked_for_by_itself_whether_it_is_its_fault() -> None:
    """Beside one that the sink refuses it was a dead letter, too."""
    sink = Batching(lambda message: ValueError("bad") if message == "bad" else None)
    post = Post("one", Sink(sink), Codec(), False, threading.Event(), Owed())
    courier, store = Courier(post, "sinks/one", object()), cast("Store", SimpleNamespace())
    courier.takes_another = lambda store: True
    job = Job([logging.makeLogRecord({"msg": text}) for text in ("good", "bad")], stays=True)
    assert not courier._is_its_fault(job, store)
    assert courier._is_its_fault(job, store)
    assert (sink.messages, job.done) == (["good"], 1)


def test_a_file_that_was_closed_and_opens_once_has_confirmed_nothing(
    place: str, listen: Listen, tmp_path: Path
) -> None:
    """`FileHandler(mode="w")` drops what comes behind its `close()`, which `logging.shutdown()` calls."""
    file = logging.FileHandler(tmp_path / "app.log", "w")
    logger = logger_of(QueueHandler(place))
    first = listen(Sink(file, **FAST))
    logger.info("m 0")
    assert first.flush(PATIENCE)
    file.close()
    logger.info("m 1")
    assert eventually(lambda: "closed" in str(first.stats()["sinks"]))
    assert not first.flush(0.1)
    first.stop()
    sink = Noting()
    assert listen(sink).flush(PATIENCE)
    assert sink.messages == ["m 1"]


def test_an_undecodable_record_is_a_dead_letter(place: str, listen: Listen) -> None:
    queue = SpoolQueue(place)
    queue.spool.store.commit(Put("inbox", b"\xff\xffnonsense"))
    sink = Noting()
    logger_of(QueueHandler(queue)).info("fine")
    listener = listen(sink)
    assert listener.flush(PATIENCE)
    assert sink.messages == ["fine"]
    assert listener.stats()["dead"] == 1


@pytest.mark.parametrize("sinks", [1, 2])
def test_a_record_that_another_installation_reads_waits_for_it(
    place: str, listen: Listen, monkeypatch: pytest.MonkeyPatch, sinks: int
) -> None:
    """As in a rolling deploy, or where msgpack is missing: its dead letters were never delivered, as was said."""
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 3)
    with monkeypatch.context() as without:
        without.setattr(records, "msgpack", None)
        queue = SpoolQueue(place)
        queue.spool.store.commit(Put("inbox", Codec(binary=False).dumps(logging.makeLogRecord({"msg": "as JSON"}))))
        noting = [Noting() for _ in range(sinks)]
        listener = listen(*[Sink(each, **FAST) for each in noting])
        for each in noting:
            each.until_count(1)
        assert eventually(lambda: listener.stats()["depth"] == 3)
        assert not listener.flush(0.1)
        assert [each.messages for each in noting] == [["as JSON"]] * sinks
        stats = listener.stats()
        assert (stats["depth"], stats["dead"]) == (3, 0)
        assert "pip install" in str(stats["sinks"])
    assert listener.flush(PATIENCE)
    assert [sorted(each.messages) for each in noting] == [["as JSON", *_numbers(0, 3)]] * sinks


def test_such_a_record_is_looked_at_now_and_then() -> None:
    """With the longest of the pauses in between: nothing that the program does makes it readable."""

    def loads(data: bytes) -> logging.LogRecord:
        raise records.NotReadHere("another one's")

    store, codec = MemoryStore(), cast(Codec, SimpleNamespace(loads=loads))
    store.commit(Put("q", b""))
    sink = Sink(Noting(), backoff=(0.001, PATIENCE))
    Post("it", sink, codec, False, threading.Event(), Owed()).work_off(store, "q")
    assert (store.depth("q").delayed, sink.last_error) == (1, "another one's")


def test_the_standard_librarys_listener_goes_on_behind_a_record_that_cannot_be_read(place: str) -> None:
    """Its thread died of the error, and nothing was delivered any more; a loop of the program's own acknowledged
    another record than it had."""
    own = SpoolQueue(place)
    logger = logger_of(handlers.QueueHandler(own))
    for payload in (b"M\xffof a newer version", b"nonsense"):
        logger.info("it")
        own.spool.store.commit(Put("inbox", payload))
    logger.info("it")
    sink = Noting()
    listener = handlers.QueueListener(own, sink)
    listener.start()
    sink.until_count(3)
    listener.stop()
    depth = own.spool.store.depth("inbox")
    assert (depth.unfinished, depth.delayed, depth.dead) == (1, 1, 1)
    own.close()


def test_a_record_that_is_taken_away_keeps_no_other(place: str, listen: Listen) -> None:
    """As by somebody who purges the queue: the acknowledgements of its whole batch were refused with its own, and what
    they were for was in hand until the process ended."""
    queue = SpoolQueue(place)
    store = queue.spool.store

    class Taking(Noting):
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            if record.getMessage() == "m 3":
                found = [each for each in store.browse("inbox", state=State.CLAIMED) if b"m %d" in each.payload]
                store.commit(Ack(Claim("inbox", found[3].id, found[3].attempts, found[3].payload)))

    sink = Taking()
    _log(logger_of(QueueHandler(queue)), 0, 10)
    listener = listen(sink)
    assert listener.flush(PATIENCE)
    assert sink.messages == _numbers(0, 10)


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), RecursionError()])
def test_whatever_a_sink_raises_ends_nothing(place: str, listen: Listen, error: BaseException) -> None:
    once = [error]

    class Raising(Noting):
        def emit(self, record: logging.LogRecord) -> None:
            if once:
                raise once.pop()
            super().emit(record)

    sink = Raising()
    listener = listen(Sink(sink, **FAST))
    _log(logger_of(QueueHandler(place)), 0, 3)
    assert listener.flush(PATIENCE)
    assert sorted(sink.messages) == _numbers(0, 3)


@pytest.mark.parametrize("error", [Mute(), MuteOutage()])
@pytest.mark.parametrize("others", [0, 1])
def test_an_error_without_a_text_keeps_no_other_record(
    place: str, listen: Listen, others: int, error: Exception
) -> None:
    """The listener failed in its place, for ever: nothing behind that record was delivered, by the next program
    neither."""
    picky = Noting(lambda message: error if message == "m 1" else None)
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(picky, retries=2, **FAST), *[Noting() for _ in range(others)])
    _log(logger, 0, 4)
    assert listener.flush(PATIENCE)
    assert picky.messages == ["m 0", "m 2", "m 3"]
    assert listener.stats()["dead"] == 1
    assert f"{type(error).__name__}, whose text can't be had" in str(listener.stats()["sinks"])


class _Disk(io.RawIOBase):
    """One that is full until there is room."""

    def __init__(self) -> None:
        self.room, self.tried = threading.Event(), threading.Semaphore(0)
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.tried.release()
        if not self.room.is_set():
            raise OSError(errno.ENOSPC, "full")
        self.written += bytes(data)
        return len(data)


def test_a_stream_on_a_full_disk_has_what_it_kept_of_a_try_once(tmp_path: Path) -> None:
    """Each try added the record to what the stream would write when there was room: dozens of copies, and the next one
    in between."""
    disk = _Disk()
    stream = io.TextIOWrapper(io.BufferedWriter(disk), write_through=True)
    sink = Sink(logging.StreamHandler(stream), retries=2, backoff=(0.001, 0.001))
    handler = QueueHandler(tmp_path / "spool", handlers=[sink])
    for number in range(3):
        logger_of(handler).info("m %d", number)
    for _ in range(10):
        assert disk.tried.acquire(timeout=PATIENCE)
    disk.room.set()
    assert handler.flush(PATIENCE)
    assert disk.written.split(b"\n") == [b"m 0", b"m 0", b"m 1", b"m 2", b""]
    handler.close()
    spool(handler).close()


@pytest.mark.parametrize("heard", [False, True])
def test_a_dead_letter_is_told_of_where_no_other_handler_hears_of_it(
    place: str, heard: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The thread that delivers has said it to a handler that stores nothing of that thread's, and to nobody else."""
    sink, console = Noting(lambda message: ValueError("no")), Noting()
    handler = QueueHandler(place, handlers=[Sink(sink, retries=1, **FAST)])
    ours = logging.getLogger("pqadapters")
    handlers, ours.handlers, ours.propagate = ours.handlers, [handler, console][: 1 + heard], False
    try:
        logger_of(handler).info("%d", 1)
        assert handler.flush(PATIENCE)
        handler.listener.stop()
    finally:
        ours.handlers, ours.propagate = handlers, True
        spool(handler).close()
    said, heard_here = capsys.readouterr().err, "".join(console.messages)
    told = r"a log record for Noting-0 is a dead letter now: ValueError: no \('%d' with \(1,\), logged as app in .+\)"
    assert re.fullmatch(told, heard_here if heard else said[:-1])
    assert (said if heard else heard_here) == ""


@pytest.mark.parametrize("others", [0, 1])
def test_of_a_dead_letter_it_is_said_which_record_it_was(
    place: str, listen: Listen, others: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As behind a mistake in a call: the error alone names neither the message nor the place, as the standard library's
    handlers do."""

    class Formats(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.getMessage()

    logger = logger_of(QueueHandler(place))
    sinks: list[logging.Handler] = [Formats(), *(Noting() for _ in range(others))]
    listener = listen(*(Sink(each, retries=2, **FAST) for each in sinks))
    logger.info("before")
    logger.info("a count of %d", "many")
    assert listener.flush(PATIENCE)
    listener.stop()
    found = [message for message in caplog.messages if "is a dead letter now" in message]
    assert len(found) == 1 + others
    for told in found:
        assert "TypeError: %d format" in told
        assert f"('a count of %d' with ('many',), logged as app in {__file__}, line " in told


@pytest.mark.parametrize("others", [0, 1])
def test_a_record_that_is_refused_is_told_of_before_it_is_a_dead_letter(
    place: str, listen: Listen, others: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that ends within seconds heard of none, and so did its next run, which tries them anew."""
    sink = Noting(lambda message: ValueError("too late") if message == "4" else ValueError("no"))
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(sink, retries=1000, backoff=(0.05, 0.1)), *[Noting() for _ in range(others)])
    for number in range(5):
        logger.info("%d", number)
    sink.until(lambda: sink.tries.count("4") > 3)  # whoever delivers has told of all by then
    listener.stop(drain_timeout=0.0)
    told = [message for message in caplog.messages if "refuses a log record, and is asked again" in message]
    assert [text.split(" (")[0].partition(": ")[2] for text in told] == ["ValueError: no", "ValueError: too late"]
    assert all("logged as app in" in text for text in told)


@pytest.mark.parametrize("others", [0, 1])
def test_a_handler_that_fails_at_what_the_listener_says_keeps_no_record(
    place: str, listen: Listen, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread ended, and nothing was delivered any more. As a handler of a window that was closed fails."""
    failing = Noting(lambda message: RuntimeError("the window is gone"))
    own = logging.getLogger("pqadapters.logging")
    monkeypatch.setattr(own, "handlers", [failing])
    picky = Noting(lambda message: ValueError("no") if message == "m 1" else None)
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(picky, retries=2, **FAST), *[Noting() for _ in range(others)])
    _log(logger, 0, 4)
    assert listener.flush(PATIENCE)
    assert picky.messages == ["m 0", "m 2", "m 3"]
    assert "is a dead letter now" in failing.tries[-1]


@pytest.mark.parametrize("heard", [False, True])
def test_why_nothing_is_delivered_is_told_where_no_other_handler_hears_of_it(
    place: str, heard: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was said to the spool alone, where it waited with the others."""
    console, sinks = Noting(), [Sink(Noting(), name="twice"), Sink(Noting(), name="twice")]
    handler = QueueHandler(place, handlers=sinks)
    ours = logging.getLogger("pqadapters")
    handlers, ours.handlers, ours.propagate = ours.handlers, [handler, console][: 1 + heard], False
    try:
        logger_of(handler).info("%d", 1)
        logger_of(handler).info("%d", 2)
    finally:
        ours.handlers, ours.propagate = handlers, True
        spool(handler).close()
    told, said = capsys.readouterr().err, console.messages
    assert ["twice" in message for message in said] == [True] * heard
    assert ("twice" in told, told.count("log records wait")) == (not heard, 1 - heard)
