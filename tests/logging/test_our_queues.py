"""Queues of ours as spools: handler and listener are given one, and records wait in it and beside it.
And a spool as a queue of the program's."""

from __future__ import annotations

import logging
import pickle
import queue as stdlib_queue
import sys
import threading
from collections.abc import Callable, Iterator
from logging import handlers as stdlib
from pathlib import Path
from typing import Any

import pytest

from pqadapters.logging._delivery import sharing
from pqadapters.logging._delivery.owed import Owed
from pqadapters.logging._delivery.post import BATCH, copied
from pqadapters.logging._delivery.sharing import SharedPost, Sharing
from pqadapters.logging._records import records
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink, SpoolQueue
from pqadapters.stdlib import multiprocessing
from pqadapters.stdlib.queue import Queue, ShutDown
from pqadapters.store import Claim

from .failures import mute
from .sinks import PATIENCE, Noting, logger_of

QUEUES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: Queue(path=path / "queue"),
    "database": lambda path: Queue(store=f"sqlite:///{path}/queue.db", name="logs"),
    "json": lambda path: Queue(path=path / "queue", serializer="json"),
    "multiprocessing": lambda path: multiprocessing.Queue(store=f"sqlite:///{path}/queue.db", name="logs"),
}
DOWN: dict[str, Any] = {"backoff": (0.01, 0.05)}


@pytest.fixture(params=QUEUES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    made: list[Any] = []

    def make() -> Any:
        for queue in made:
            queue.close()
        made.append(QUEUES[request.param](tmp_path))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


def _log(logger: logging.Logger, first: int, last: int) -> list[str]:
    for number in range(first, last):
        logger.info("m %d", number, extra={"number": number})
    return [f"m {number}" for number in range(first, last)]


@pytest.mark.parametrize("sinks", [1, 2])
def test_every_record_to_every_sink(make: Callable[[], Any], sinks: int) -> None:
    queue = make()
    noting = [Noting() for _ in range(sinks)]
    with QueueListener(queue, *noting) as listener:
        messages = _log(logger_of(QueueHandler(queue)), 0, 50)
        assert listener.flush(PATIENCE)
    assert [sink.messages for sink in noting] == [messages] * sinks
    assert [record.__dict__["number"] for record in noting[0].records] == list(range(50))
    assert queue.qsize() == 0


def test_what_a_prepare_makes_of_records_goes_to_who_gets_from_the_queue(make: Callable[[], Any]) -> None:
    """As the standard library's documentation has it: each log call was an AttributeError."""

    class AsText(QueueHandler):
        def prepare(self, record: logging.LogRecord) -> str:
            return record.getMessage()

    queue = make()
    assert [queue.get() for _ in _log(logger_of(AsText(queue)), 0, 3)] == ["m 0", "m 1", "m 2"]


def test_a_subclass_with_a_slot_for_its_queue(make: Callable[[], Any]) -> None:
    """As `dataclass(slots=True)` makes it. The handler didn't know where its records go."""

    class Slotted(QueueHandler):
        __slots__ = ("queue",)

    queue, noting = make(), Noting()
    messages = _log(logger_of(Slotted(queue)), 0, 3)
    with QueueListener(queue, noting) as listener:
        assert listener.flush(PATIENCE)
    assert noting.messages == messages


@pytest.mark.parametrize("method", ["enqueue", "emit"])
def test_what_a_subclass_puts_into_the_queue_by_itself(make: Callable[[], Any], method: str) -> None:
    """As the standard library's documentation has it, to wait for room: a record with an exception, or an argument that
    can't be pickled, was lost."""

    class Waiting(QueueHandler):
        def put(self, record: logging.LogRecord) -> None:
            self.queue.put(record if method == "enqueue" else self.prepare(record))

    setattr(Waiting, method, Waiting.put)
    queue, noting = make(), Noting()
    if queue._line.dumps.__module__.endswith(".json"):
        pytest.skip("its items are no records")
    logger = logger_of(Waiting(queue))
    logger.info("%s", threading.Lock())
    try:
        raise OSError("failed")
    except OSError:
        logger.exception("number %d", 1)
    with QueueListener(queue, noting) as listener:
        assert listener.flush(PATIENCE)
    assert noting.messages[0].startswith("<unlocked")
    assert noting.messages[1].startswith("number 1\nTraceback")
    assert noting.messages[1].endswith("OSError: failed")


def test_who_is_down_keeps_nothing_from_the_others_and_loses_nothing(make: Callable[[], Any]) -> None:
    """While the process lives the others get each record once; behind its end, once more."""
    queue = make()
    up = threading.Event()
    down, healthy = Noting(lambda message: None if up.is_set() else ConnectionRefusedError()), Noting()
    with QueueListener(queue, Sink(down, name="down", **DOWN), Sink(healthy, name="up")) as listener:
        messages = _log(logger_of(QueueHandler(queue)), 0, 50)
        healthy.until_count(50)
        assert not listener.flush(0.1)
        up.set()
        assert listener.flush(PATIENCE)
        assert (down.messages, healthy.messages) == (messages, messages)
        up.clear()
        more = _log(logger_of(QueueHandler(queue)), 50, 60)
        healthy.until_count(60)

    queue = make()
    again, other = Noting(), Noting()
    with QueueListener(queue, Sink(again, name="down"), Sink(other, name="up")) as listener:
        assert listener.flush(PATIENCE)
    assert (again.messages, other.messages) == (more, more)


def test_what_a_sink_that_is_down_was_given_is_ready_again_when_listening_ends(make: Callable[[], Any]) -> None:
    """For the next listener of the process, or who else gets from the queue."""
    queue, healthy = make(), Noting()
    down = Noting(lambda message: ConnectionRefusedError())
    with QueueListener(queue, Sink(down, name="down", **DOWN), Sink(healthy, name="up")):
        _log(logger_of(QueueHandler(queue)), 0, 3)
        healthy.until_count(3)
    assert queue.qsize() == 3


def test_each_sink_has_records_of_its_own(make: Callable[[], Any]) -> None:
    """A handler may change its record."""

    class Changing(Noting):
        def emit(self, record: logging.LogRecord) -> None:
            record.msg = f"{record.msg}, changed"
            super().emit(record)

    queue, sinks = make(), [Changing(), Changing()]
    with QueueListener(queue, *sinks) as listener:
        logger_of(QueueHandler(queue)).info("m")
        assert listener.flush(PATIENCE)
    assert [sink.messages for sink in sinks] == [["m, changed"]] * 2


def test_what_waits_at_the_end_is_delivered_though_all_sinks_are_idle(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They had confirmed what they were given: stop() took that for the end, and left the rest to the next start."""
    held, go_on, hand_out = threading.Event(), threading.Event(), Sharing.hand_out

    def hold(*arguments: Any) -> None:
        held.set()
        assert go_on.wait(PATIENCE)
        hand_out(*arguments)

    monkeypatch.setattr(Sharing, "hand_out", hold)
    queue, noting = make(), [Noting(), Noting()]
    listener = QueueListener(queue, *noting)
    listener.start()
    logger = logger_of(QueueHandler(queue))
    messages = _log(logger, 0, 1)
    assert held.wait(PATIENCE)
    messages += _log(logger, 1, 500)
    stopping = threading.Thread(target=listener.stop)
    stopping.start()
    while not listener._delivery or not listener._delivery._hurries:
        assert stopping.is_alive()
    go_on.set()
    stopping.join(PATIENCE)
    assert [sink.messages for sink in noting] == [messages, messages]
    assert queue.qsize() == 0


def test_a_sink_that_was_given_records_is_idle_when_it_has_confirmed_them() -> None:
    """stop() took what its thread was delivering for done, and broke it off."""
    store: Any = None
    record, codec = logging.makeLogRecord({}), records.Codec()
    post = SharedPost("it", Sink(Noting()), codec, False, threading.Event(), Owed())
    post.sharing = Sharing([post], object())
    post.add([(Claim("q", 1, 1, b""), record)])
    assert not post.idle
    claims = post._claimed(store, "q", 10)
    assert not post.idle
    post._acknowledge(store, claims)
    assert post.idle


def test_what_was_logged_right_before_the_end_is_delivered(make: Callable[[], Any]) -> None:
    queue, noting, messages = make(), [Noting(), Noting(), Noting()], list[str]()
    logger = logger_of(QueueHandler(queue))
    for number in range(20):
        with QueueListener(queue, *noting):
            messages += _log(logger, number, number + 1)
    assert [sink.messages for sink in noting] == [messages] * 3


def test_who_waits_until_fewer_are_kept_goes_on_then(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_MOST", 5)
    logger, noting = logger_of(QueueHandler(queue := make())), [Noting(), Noting()]
    with QueueListener(queue, *noting) as listener:
        messages: list[str] = []
        for first in (0, 10, 20):
            messages += _log(logger, first, first + 10)
            assert listener.flush(PATIENCE)
    assert [sink.messages for sink in noting] == [messages] * 2


def test_only_so_many_are_kept_for_one_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_MOST", 5)
    queue, healthy = Queue[Any](path=tmp_path / "queue"), Noting()
    _log(logger_of(QueueHandler(queue)), 0, BATCH + 10)
    down = Noting(lambda message: ConnectionRefusedError())
    with QueueListener(queue, Sink(down, name="down", **DOWN), Sink(healthy, name="up")) as listener:
        healthy.until_count(BATCH)
        assert not listener.flush(0.1)
        assert queue.qsize() == 10
    queue.close()


def test_what_one_of_several_refuses_is_a_dead_letter_of_its_own(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    queue = make()
    refusing = Noting(lambda message: ValueError("not this one") if message == "m 2" else None)
    other = Noting()
    with QueueListener(queue, Sink(refusing, name="a", retries=2, **DOWN), Sink(other, name="b")) as listener:
        messages = _log(logger_of(QueueHandler(queue)), 0, 5)
        assert listener.flush(PATIENCE)
        assert listener.stats()["dead"] == 1
        assert "a log record for a is a dead letter now: ValueError: not this one" in caplog.text
        delivery: Any = listener._delivery
        assert all(post.idle for post in delivery.posts)
    assert other.messages == messages
    assert refusing.messages == ["m 0", "m 1", "m 3", "m 4"]


def test_what_one_of_several_refuses_is_tried_again_behind_a_pause_and_others_go_on(make: Callable[[], Any]) -> None:
    """All that came meanwhile waited for the pause; or, where more was there than a batch, there was none, and the
    record was a dead letter at once."""
    queue = make()
    refusing = Noting(lambda message: ValueError("not this one") if message == "m 0" else None)
    messages = _log(logger_of(QueueHandler(queue)), 0, 300)
    listener = QueueListener(queue, Sink(refusing, name="a", retries=3, backoff=(999.0, 999.0)), Noting())
    listener.start()
    try:
        refusing.until_count(299)
        messages += _log(logger_of(QueueHandler(queue)), 300, 301)
        refusing.until_count(300)
    finally:
        listener.stop(0.0)
    assert refusing.messages == messages[1:]
    assert refusing.tries.count("m 0") == 1


def test_a_restart(make: Callable[[], Any]) -> None:
    queue = make()
    handler = QueueHandler(queue, handlers=[Sink(Noting(lambda message: OSError()), **DOWN)])
    messages = _log(logger_of(handler), 0, 5)
    handler.close()
    queue = make()
    sink = Noting()
    handler = QueueHandler(queue, handlers=[sink])
    messages += _log(logger_of(handler), 5, 6)
    assert handler.flush(PATIENCE)
    assert sink.messages == messages
    assert handler.stats()["sinks"]["Noting-0"]["delivered"] == 6
    handler.close()


@pytest.mark.parametrize("others", [0, 1])
def test_what_is_put_by_others_is_a_record_too(make: Callable[[], Any], others: int) -> None:
    """What the standard library's handler puts is delivered; what is no record is a dead letter. With several sinks it
    was one for each start, and in hand to the end."""
    queue = make()
    sink = Noting()
    if getattr(queue, "_line", None) is not None and "json" not in repr(queue._line.dumps):
        logger_of(stdlib.QueueHandler(queue)).info("theirs")
    queue.put("no record")
    logger_of(QueueHandler(queue)).info("ours")
    noting = [sink, *[Noting() for _ in range(others)]]
    with QueueListener(queue, *noting) as listener:
        assert listener.flush(PATIENCE)
        assert listener.stats()["dead"] == 1
    assert [each.messages[-1] for each in noting] == ["ours"] * len(noting)


@pytest.mark.parametrize("item", ["text", "\u65e5\u672c", "", 5, {"a": 1}])
def test_what_is_put_by_others_and_is_no_record_is_said_to_be_none(make: Callable[[], Any], item: object) -> None:
    """Of text that isn't Latin it was said that a codec can't encode it."""
    queue = make()
    queue.put(item)
    noting = Noting()
    with QueueListener(queue, noting) as listener:
        assert listener.flush(PATIENCE)
    (letter,) = queue.dead_letters()
    assert "log record" in letter.reason
    assert not noting.records


class _Unreadable:
    """What a pickle calls to make it raises an error without a text."""

    def __reduce__(self) -> Any:
        return mute, ()


@pytest.mark.parametrize("sinks", [1, 2])
def test_what_cannot_be_read_and_does_not_say_why_keeps_no_record(tmp_path: Path, sinks: int) -> None:
    """It stayed in the listener's way for ever."""
    noting = [Noting() for _ in range(sinks)]
    with Queue[Any](path=tmp_path / "queue") as queue:
        queue.put(_Unreadable())
        messages = _log(logger_of(QueueHandler(queue)), 0, 2)
        with QueueListener(queue, *noting) as listener:
            for each in noting:
                each.until_count(2)
            assert listener.flush(PATIENCE)
        (letter,) = queue.dead_letters()
        assert "Mute, whose text can't be had" in letter.reason
    assert [each.messages for each in noting] == [messages] * sinks


def test_a_listener_of_the_standard_librarys(tmp_path: Path) -> None:
    with Queue[Any](path=tmp_path / "queue") as queue:
        messages = _log(logger_of(QueueHandler(queue)), 0, 5)
        sink = Noting()
        listener = stdlib.QueueListener(queue, sink)
        listener.start()
        sink.until_count(5)
        listener.stop()
        assert sink.messages == messages


def test_what_is_pickled_executes_nothing_of_the_programs(tmp_path: Path) -> None:
    class Nasty:
        def __reduce__(self) -> Any:
            raise AssertionError("pickled")

    with Queue[Any](path=tmp_path / "queue") as queue:
        logger_of(QueueHandler(queue)).info("m", extra={"nasty": Nasty()})
        item = queue.get()
        assert "Nasty object" in item.nasty
        with pytest.raises(AssertionError):
            pickle.dumps(Nasty())


def _raising(error: Exception, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a record fails so many times."""
    read, left = vars(records)["read_record"], [error] * times

    def failing(values: Any) -> logging.LogRecord:
        if left:
            raise left.pop()
        return read(values)  # type: ignore[no-any-return]

    monkeypatch.setattr(records, "read_record", failing)


@pytest.mark.parametrize(("error", "times"), [(TimeoutError("of a signal handler"), 1), (MemoryError(), 2)])
def test_what_is_no_fault_of_a_record_leaves_it_in_the_spool(
    error: Exception, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a dead letter, and the exception of an alarm was gone."""
    queue = SpoolQueue(tmp_path / "spool")
    (message,) = _log(logger_of(QueueHandler(queue)), 0, 1)
    _raising(error, times, monkeypatch)
    for _ in range(times):
        with pytest.raises(type(error)):
            queue.get()
    assert queue.get().getMessage() == message
    queue.close()


@pytest.mark.parametrize("sinks", [1, 2])
def test_memory_that_runs_out_for_a_moment_makes_no_dead_letters(
    make: Callable[[], Any], sinks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = make()
    messages = _log(logger_of(QueueHandler(queue)), 0, 3)
    _raising(MemoryError(), 4, monkeypatch)
    noting = [Noting() for _ in range(sinks)]
    with QueueListener(queue, *noting) as listener:
        for each in noting:
            each.until_count(3)
        assert listener.stats()["dead"] == 0
    assert all(each.messages == messages for each in noting)


def test_memory_that_runs_out_for_the_copy_of_the_second_sink_keeps_nothing_from_it(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one had the batch, the second never got it, and it was in hand until the process ended."""
    queue = make()
    messages = _log(logger_of(QueueHandler(queue)), 0, 3)
    calls = list[int]()

    def failing(record: logging.LogRecord) -> logging.LogRecord:
        calls.append(1)
        if len(calls) == 5:
            raise MemoryError
        return copied(record)

    monkeypatch.setattr(sharing, "copied", failing)
    noting = [Noting() for _ in range(2)]
    with QueueListener(queue, *noting) as listener:
        for each in noting:
            each.until_count(3)
        assert listener.flush(PATIENCE)
    assert [each.messages for each in noting] == [messages] * 2


def test_a_negative_timeout_of_a_spool(tmp_path: Path) -> None:
    """As of the standard library's queues; it was taken for none."""
    queue = SpoolQueue(tmp_path / "spool")
    with pytest.raises(ValueError, match="non-negative"):
        queue.get(timeout=-1)
    with pytest.raises(stdlib_queue.Empty):
        queue.get(block=False, timeout=-1)
    queue.close()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="queues have no shutdown()")
@pytest.mark.parametrize("immediate", [False, True])
def test_a_spool_that_is_shut_down(tmp_path: Path, immediate: bool) -> None:
    """Who waited for a record waited for ever. What waits is handed out, or left for the next one to the disk."""
    queue: Any = SpoolQueue(tmp_path / "spool")
    ends: list[BaseException] = []

    def take() -> None:
        try:
            queue.get()
        except BaseException as error:
            ends.append(error)

    waiting = threading.Thread(target=take)
    waiting.start()
    queue.shutdown()
    waiting.join(PATIENCE)
    assert list(map(type, ends)) == [ShutDown]

    queue = SpoolQueue(tmp_path / "spool")
    (message,) = _log(logger_of(QueueHandler(queue)), 0, 1)
    queue.shutdown(immediate)
    with pytest.raises(ShutDown):
        queue.put(logging.makeLogRecord({"msg": "late"}))
    given = None if immediate else queue.get().getMessage()
    with pytest.raises(ShutDown):
        queue.get()
    assert (given or SpoolQueue(tmp_path / "spool").get().getMessage()) == message
    queue.close()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="queues have no shutdown()")
def test_who_joins_a_spool_that_is_shut_down_at_once_waits_for_what_is_in_hand(tmp_path: Path) -> None:
    """As the standard library's; what nobody was given stays on the disk, and was waited for for ever."""
    queue: Any = SpoolQueue(tmp_path / "spool")
    _log(logger_of(QueueHandler(queue)), 0, 2)
    queue.get()
    joined = threading.Thread(target=queue.join, daemon=True)
    joined.start()
    queue.shutdown(immediate=True)
    queue.task_done()
    joined.join(PATIENCE)
    assert not joined.is_alive()
    assert queue.qsize() == 1
    queue.close()


@pytest.mark.parametrize("method", ["enqueue", "emit"])
def test_a_subclass_that_puts_records_into_what_is_no_queue(method: str) -> None:
    """As in the standard library's logging cookbook, into a socket of ZeroMQ's: to make one was a TypeError."""

    class Sends(QueueHandler):
        def send(self, record: logging.LogRecord) -> None:
            self.queue.append(record.getMessage())

    setattr(Sends, method, Sends.send)
    sent = list[str]()
    logger_of(Sends(sent)).info("%d", 1)
    assert sent == ["1"]
    with pytest.raises(TypeError, match="not 3"):
        QueueHandler(3)


def test_one_thread_at_a_time_is_in_the_emit_of_a_handler_with_another_queue() -> None:
    """As the standard library has it: a subclass may count its records, or put some of them together."""
    inside, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    class Waiting(QueueHandler):
        def emit(self, record: logging.LogRecord) -> None:
            order.append(record.getMessage())
            inside.set()
            assert go_on.wait(PATIENCE)
            order.append("end")
            super().emit(record)

    handler = Waiting(stdlib_queue.Queue())
    logger = logger_of(handler)
    threads = [threading.Thread(target=logger.info, args=[str(number)]) for number in range(2)]
    threads[0].start()
    assert inside.wait(PATIENCE)
    threads[1].start()
    assert not handler.lock.acquire(timeout=0.1)
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["0", "end", "1", "end"]
