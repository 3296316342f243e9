"""Each record at least once to each sink; who is down or slow keeps nothing from the others, and loses nothing."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import StoreError
from pqadapters.logging._delivery import delivery as _delivery
from pqadapters.logging._delivery import diverting as _diverting
from pqadapters.logging._delivery.couriers import Courier, Job
from pqadapters.logging._delivery.delivery import Delivery
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink, SpoolQueue
from pqadapters.store import Put
from pqadapters.stores.memory import MemoryStore

from .sinks import PATIENCE, Batching, Hanging, Noting, Reporting, eventually, logger_of, spool

FAST: dict[str, Any] = {"backoff": (0.001, 0.01)}


@pytest.fixture(params=["directory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "spool") if request.param == "directory" else f"sqlite:///{tmp_path}/spool.db"


Listen = Callable[..., QueueListener]


@pytest.fixture
def listen(place: str) -> Iterator[Listen]:
    """Starts a listener on the place; it is stopped at the end."""
    listeners = []

    def start(*handlers: Any, **options: Any) -> QueueListener:
        listener = QueueListener(place, *handlers, **options)
        listeners.append(listener)
        listener.start()
        return listener

    yield start
    for listener in listeners:
        listener.stop(drain_timeout=0.0)
        spool(listener).close()


class HangingBatching(Hanging, Batching):
    """Hangs in its first batch."""

    def emit_batch(self, records: list[logging.LogRecord]) -> None:
        self.hangs.set()
        assert self.go_on.wait(PATIENCE)
        super().emit_batch(records)


def _numbers(first: int, last: int) -> list[str]:
    return [f"m {number}" for number in range(first, last)]


def _log(logger: logging.Logger, first: int, last: int) -> None:
    for number in range(first, last):
        logger.info("m %d", number)


@pytest.mark.parametrize("sinks", [1, 3])
def test_every_record_to_every_sink_in_order(place: str, listen: Listen, sinks: int) -> None:
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 10)
    noting = [Noting() for _ in range(sinks)]
    listener = listen(*noting)
    _log(logger, 10, 500)
    assert listener.flush(PATIENCE)
    for sink in noting:
        assert sink.messages == _numbers(0, 500)
    assert listener.stats()["depth"] == 0


def test_a_sink_may_have_the_name_of_any_file(place: str, listen: Listen) -> None:
    """Of one that isn't UTF-8: once it was down nothing left the inbox, and at the next start all came once more."""
    name, up = os.fsdecode(b"caf\xe9"), threading.Event()
    down = Noting(lambda message: None if up.is_set() else ConnectionRefusedError("down"))
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(down, name=name, **FAST), Noting())
    _log(logger, 0, 3)
    assert eventually(lambda: not spool(listener).store.depth("inbox").unfinished)
    assert listener.stats()["sinks"][name]["depth"] == 3
    listener.stop(drain_timeout=0.0)
    other = listen(Noting())
    assert other.unknown() == {name: 3}
    other.stop()
    up.set()
    listener.start()
    assert listener.flush(PATIENCE)
    assert down.messages == _numbers(0, 3)


@pytest.mark.parametrize("kind", [Noting, Reporting])
@pytest.mark.parametrize("others", [0, 1])
def test_a_sink_that_is_down_gets_everything_when_it_is_up_and_the_others_nothing_twice(
    place: str, listen: Listen, kind: type[Noting], others: int
) -> None:
    up = threading.Event()
    down = kind(lambda message: None if up.is_set() else ConnectionRefusedError("down"))
    healthy = [Noting() for _ in range(others)]
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(down, **FAST), *healthy)
    _log(logger, 0, 300)
    for sink in healthy:
        sink.until_count(300)
    down.until(lambda: len(down.tries) > 20)  # far more often than `retries`
    assert not listener.flush(0.0)
    assert "down" in str(listener.stats()["sinks"])
    up.set()
    _log(logger, 300, 400)
    assert listener.flush(PATIENCE)
    for sink in [down, *healthy]:
        assert sink.messages == _numbers(0, 400)
    assert listener.stats()["dead"] == 0




def test_one_of_several_that_is_down_is_tried_again_behind_a_pause(place: str, listen: Listen) -> None:
    down, healthy = Noting(lambda message: ConnectionRefusedError("down")), Noting()
    listener = listen(Sink(down, name="down", backoff=(1000.0, 1000.0)), Sink(healthy, name="healthy"))
    _log(logger_of(QueueHandler(place)), 0, 1)
    healthy.until_count(1)
    down.until(lambda: down.tries)
    assert not listener.flush(0.5)
    assert len(down.tries) == 1


def test_a_sink_that_is_full_is_tried_until_it_takes_the_record_whatever_it_takes_behind_it(
    place: str, listen: Listen
) -> None:
    """There may just have been room for that one: no record is refused for it."""
    room = threading.Event()
    sink = Noting(lambda message: queue.Full() if message == "m 0" and not room.is_set() else None)
    listener = listen(Sink(sink, retries=2, **FAST))
    _log(logger_of(QueueHandler(place)), 0, 2)
    sink.until(lambda: len(sink.tries) > 10)
    room.set()
    assert listener.flush(PATIENCE)
    assert listener.stats()["dead"] == 0
    assert sink.messages == _numbers(0, 2)


def test_a_sink_that_comes_back_for_the_record_behind_gets_the_first_one_next(place: str, listen: Listen) -> None:
    """It is the sink that has failed, and not that record."""
    sink = Noting(lambda message: ConnectionRefusedError("down") if len(sink.tries) < 3 else None)
    _log(logger_of(QueueHandler(place)), 0, 2)
    listener = listen(Sink(sink, retries=2, **FAST))
    assert listener.flush(PATIENCE)
    assert listener.stats()["dead"] == 0
    assert sink.messages == ["m 1", "m 0"]


@pytest.mark.parametrize("kind", [Noting, Batching])
@pytest.mark.parametrize("durable", [True, False])
def test_a_level_and_filters_of_a_sinks_own(place: str, listen: Listen, kind: Any, durable: bool) -> None:
    """They were nobody's, in silence; `dictConfig` sets them, too."""
    inner = kind()
    sink = Sink(inner, **FAST)
    sink.setLevel(logging.WARNING)
    sink.addFilter(lambda record: "no" not in record.getMessage())
    way: Any = place if durable else queue.Queue()
    listener = listen(sink, respect_handler_level=True)
    if not durable:
        listener = QueueListener(way, sink, respect_handler_level=True)
    logger = logger_of(QueueHandler(way))
    for level, message in ((logging.INFO, "low"), (logging.WARNING, "no"), (logging.WARNING, "yes")):
        logger.log(level, message)
    if not durable:
        listener.start()
        listener.stop()
    assert not durable or listener.flush(PATIENCE)
    assert inner.messages == ["yes"]


def test_a_sinks_formatter_is_its_handlers() -> None:
    formatter, early = logging.Formatter(), Noting()
    sink = Sink(early)
    sink.setFormatter(formatter)
    assert early.formatter is formatter


def test_what_a_handlers_filter_drops_is_not_to_be_confirmed(place: str, listen: Listen) -> None:
    """The check was asked whether it had come, and it was a dead letter in the end."""
    sink = Noting()
    sink.addFilter(lambda record: record.getMessage() != "m 1")
    listener = listen(Sink(sink, check=lambda record: record.getMessage() in sink.messages, retries=2, **FAST))
    _log(logger_of(QueueHandler(place)), 0, 3)
    assert listener.flush(PATIENCE)
    assert (sink.messages, listener.stats()["dead"]) == (["m 0", "m 2"], 0)


def test_what_a_check_does_not_confirm_is_tried_again(place: str, listen: Listen) -> None:
    answers = iter([False, False, True, True])
    sink = Noting()
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(sink, check=lambda record: next(answers), **FAST))
    _log(logger, 0, 2)
    assert listener.flush(PATIENCE)
    assert (len(sink.messages), set(sink.messages)) == (4, {"m 0", "m 1"})


def test_what_was_confirmed_of_a_batch_of_one_slot_says_nothing_of_anothers(place: str) -> None:
    """Their records have the same ids."""
    with QueueListener(place, Noting(), Sink(Noting(), name="other")) as listener:
        delivery: Any = listener._delivery
        diverting = delivery._diverting
        courier, one, other = diverting._couriers[0], MemoryStore(), MemoryStore()
        diverting._had, diverting._had_in = {courier: {1, 2}}, one
        assert diverting._confirmed_before(courier, one, [1, 2, 3]) == 2
        assert diverting._confirmed_before(courier, other, [1, 2, 3]) == 0


def test_who_ends_with_a_batch_that_came_again_while_it_is_put_by_gets_nothing_twice(place: str) -> None:
    """It had confirmed the first of three before, and confirms the others in the moment in which they are put by."""
    with QueueListener(place, Noting(), Sink(Noting(), name="other")) as listener:
        delivery: Any = listener._delivery
        diverting, store = delivery._diverting, MemoryStore()
        courier = diverting._couriers[0]
        ids = store.commit(Put(courier.queue, b""), Put(courier.queue, b""))
        job = Job([logging.makeLogRecord({})] * 2, before=1)
        job.done = 2
        job.ended.set()
        diverting._divert(job, 1, list(ids), courier, store)
        assert store.depth(courier.queue).unfinished == 0


def test_who_ends_while_its_records_are_put_by_gets_nothing_twice(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_diverting, "_SLOW", 0.0)
    handler, ended, carry = QueueHandler(place), threading.Semaphore(0), Courier._carry
    store: Any = spool(handler).store
    commit, hanging = store.commit, [Hanging(), Hanging()]

    def carrying(courier: Courier, *job: Any) -> None:
        carry(courier, *job)
        ended.release()

    def committing(*ops: Any) -> Any:
        if any(isinstance(op, Put) and op.queue.startswith("sinks/") for op in ops):
            for sink in hanging:
                sink.go_on.set()
                assert ended.acquire(timeout=PATIENCE)
        return commit(*ops)

    monkeypatch.setattr(Courier, "_carry", carrying)
    _log(logger_of(handler), 0, 5)
    monkeypatch.setattr(store, "commit", committing)
    with QueueListener(place, *hanging) as listener:
        assert listener.flush(PATIENCE)
    assert [sink.messages for sink in hanging] == [_numbers(0, 5)] * 2


@pytest.mark.parametrize("up_first", [False, True])
def test_the_others_get_nothing_twice_where_there_is_no_room_for_the_backlog_of_one(
    place: str, monkeypatch: pytest.MonkeyPatch, up_first: bool
) -> None:
    """On a full disk: each try to put by what one of them hadn't confirmed gave the others the whole batch once more,
    hundreds of records a second."""
    monkeypatch.setattr(_delivery, "AGAIN", 0.01)
    down = [ConnectionRefusedError("down")]
    behind, healthy = Noting(lambda message: down[0] if down and message != "0" else None), Noting()
    handler = QueueHandler(place)
    logger = logger_of(handler)
    store: Any = spool(handler).store
    commit, full, tries = store.commit, [StoreError("no room")], threading.Semaphore(0)

    def committing(*ops: Any) -> Any:
        if full and any(isinstance(op, Put) and op.queue.startswith("sinks/") for op in ops):
            tries.release()
            raise full[0]
        return commit(*ops)

    monkeypatch.setattr(store, "commit", committing)
    with QueueListener(place, Sink(behind, **FAST), healthy) as listener:
        for number in range(5):
            logger.info("%d", number)
        for _ in range(5):
            assert tries.acquire(timeout=PATIENCE)
        for number in range(5, 10):
            logger.info("%d", number)
        for _ in range(3):
            assert tries.acquire(timeout=PATIENCE)
        if up_first:
            down.clear()
        full.clear()
        healthy.until_count(10)
        down.clear()
        assert listener.flush(PATIENCE)
    assert healthy.messages == behind.messages == [str(number) for number in range(10)]
    spool(handler).close()


@pytest.mark.parametrize("sinks", [1, 2])
def test_what_was_refused_and_then_confirmed_is_forgotten(place: str, sinks: int) -> None:
    """Each such record took memory to the end of the process, and was counted with one of another slot."""
    handler = QueueHandler(place)
    logger = logger_of(handler)
    flaky = Noting(lambda message: ValueError("once") if flaky.tries.count(message) < 3 else None)
    with QueueListener(place, Sink(flaky, **FAST), *[Noting() for _ in range(sinks - 1)]) as listener:
        for number in range(10):
            logger.info("%d", number)
        assert listener.flush(PATIENCE)
        delivery: Any = listener._delivery
        assert listener.stats()["dead"] == 0
    assert sorted(flaky.messages) == [str(number) for number in range(10)]
    assert not any(post._refusals for post in delivery.posts)
    spool(handler).close()


def test_a_sink_that_hangs_keeps_nothing_from_the_others(place: str, listen: Listen) -> None:
    hanging, healthy = Hanging(), Noting()
    logger = logger_of(QueueHandler(place))
    listener = listen(hanging, healthy)
    _log(logger, 0, 10)
    assert hanging.hangs.wait(PATIENCE)
    _log(logger, 10, 100)
    healthy.until_count(100)
    hanging.go_on.set()
    assert listener.flush(PATIENCE)
    assert healthy.messages == _numbers(0, 100)
    assert hanging.messages == _numbers(0, 100)  # the one that it hung in isn't delivered once more




def test_levels_and_filters(place: str, listen: Listen) -> None:
    low, high, filtering = Noting(), Noting(), Noting()
    high.setLevel(logging.ERROR)
    filtering.addFilter(lambda record: "keep" in record.getMessage())
    logger = logger_of(QueueHandler(place))
    listener = listen(low, high, filtering, respect_handler_level=True)
    logger.info("keep this")
    logger.error("this as well")
    assert listener.flush(PATIENCE)
    assert low.messages == ["keep this", "this as well"]
    assert high.messages == ["this as well"]
    assert filtering.messages == ["keep this"]


def test_the_backlog_stays_on_the_disk(place: str) -> None:
    """Of a sink that is down, when listening ends; the next listener delivers it, and to nobody else."""
    down, healthy = Noting(lambda message: ConnectionRefusedError()), Noting()
    handler = QueueHandler(place)
    logger = logger_of(handler)
    listener = QueueListener(place, Sink(down, name="down", **FAST), Sink(healthy, name="up"))
    listener.start()
    _log(logger, 0, 50)
    healthy.until_count(50)
    listener.stop()
    spool(handler).close()

    again, other = Noting(), Noting()
    with QueueListener(place, Sink(again, name="down"), Sink(other, name="up")) as listener:
        _log(logger, 50, 60)
        assert listener.flush(PATIENCE)
    assert again.messages == _numbers(0, 60)
    assert other.messages == _numbers(50, 60)
    spool(handler).close()


@pytest.mark.parametrize("named", [True, False])
def test_a_sink_that_logs_is_finite(place: str, listen: Listen, named: bool) -> None:
    """What it logged was no failure, but where the record had no name, as `makeLogRecord` makes it: then it was given
    all once more, and all was a dead letter."""
    handler = QueueHandler(place)
    logger = logger_of(handler)

    class Talking(Noting):
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            if named:
                logger.info("delivering %s", record.getMessage())
            else:
                logger.handle(logging.makeLogRecord({"msg": "delivering", "levelno": logging.INFO}))

    talking = Talking()
    listener = listen(talking)
    _log(logger, 0, 5)
    assert listener.flush(PATIENCE)
    assert talking.messages == _numbers(0, 5)
    assert handler.stats()["dropped"] == {"feedback": 5}


def test_a_handler_with_an_emit_of_its_own(place: str) -> None:
    """Its listener was never started, and a sink that logged was given what it had logged."""

    class Own(QueueHandler):
        def emit(self, record: logging.LogRecord) -> None:
            self.enqueue(self.prepare(record))

    class Talking(Noting):
        def emit(self, record: logging.LogRecord) -> None:
            logger.info("delivering %s", record.getMessage())
            super().emit(record)

    talking = Talking()
    handler = Own(place, handlers=[talking])
    logger = logger_of(handler)
    _log(logger, 0, 5)
    assert handler.flush(PATIENCE)
    assert talking.messages == _numbers(0, 5)
    assert handler.stats()["dropped"] == {"feedback": 5}
    handler.close()
    spool(handler).close()


def test_attributes_of_a_listener_that_is_a_subclass_take_the_place_of_ours(place: str) -> None:
    """To set `started` was an AttributeError, and `sinks` was called."""

    class Own(QueueListener):
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options)
            self.started, self.sinks = False, []  # type: ignore[assignment, method-assign]

    noting = Noting()
    handler = QueueHandler(place, handlers=[noting], listener=Own)
    logger_of(handler).info("1")
    assert handler.flush(PATIENCE)
    assert noting.messages == ["1"]
    assert (handler.listener.started, handler.listener.sinks) == (False, [])
    handler.close()
    spool(handler).close()


def test_what_a_prepare_of_its_own_changes_is_its_own(place: str) -> None:
    """It was given the very record: other handlers had what it made of that, and `message` wasn't there."""

    class Masking(QueueHandler):
        def prepare(self, record: logging.LogRecord) -> Any:
            prepared = super().prepare(record)
            assert prepared.message == prepared.msg
            prepared.msg = prepared.msg.replace("secret", "***")
            prepared.host = "here"
            return prepared

    sink, beside = Noting(), Noting()
    handler = Masking(place, handlers=[sink])
    logger = logger_of(handler, beside)
    logger.info("password %s", "secret")
    try:
        raise OSError("failed")
    except OSError:
        logger.exception("%s again", "secret")
    assert handler.flush(PATIENCE)
    assert sink.messages == ["password ***", "*** again"]
    assert sink.records[0].__dict__["host"] == "here"
    assert logging.Formatter().format(sink.records[1]).endswith("OSError: failed")
    assert beside.messages == ["password secret", "secret again"]
    assert [record.args for record in beside.records] == [("secret",), ("secret",)]
    assert not hasattr(beside.records[0], "host")
    handler.close()
    spool(handler).close()


def test_a_prepare_of_its_own_leaves_structlogs_event_as_it_is(place: str) -> None:
    class Adding(QueueHandler):
        def prepare(self, record: logging.LogRecord) -> Any:
            prepared = super().prepare(record)
            prepared.host = "here"
            return prepared

    sink = Noting()
    handler = Adding(place, handlers=[sink])
    logger_of(handler).info({"event": "paid", "order": 42})
    assert handler.flush(PATIENCE)
    assert [(record.msg, record.__dict__["host"]) for record in sink.records] == [
        ({"event": "paid", "order": 42}, "here")
    ]
    handler.close()
    spool(handler).close()


def test_a_prepare_that_makes_no_record_is_told_so(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    class AsDict(QueueHandler):
        def prepare(self, record: logging.LogRecord) -> Any:
            return {"message": record.getMessage()}

    handler = AsDict(place)
    logger_of(handler).info("m")
    assert "AsDict.prepare() has made a dict of one" in capsys.readouterr().err
    assert handler.queue.qsize() == 0
    spool(handler).close()


def test_a_subclass_may_have_a_listener_of_its_own(place: str) -> None:
    """The well-known recipe, in attributes with the names that it gives them: the first record had started it."""

    class Listening(QueueHandler):
        def __init__(self, queue: Any, *handlers: logging.Handler) -> None:
            super().__init__(queue)
            self._queue = None
            self._listener = QueueListener(self.queue, *handlers)

    sink = Noting()
    handler = Listening(place, sink)
    logger = logger_of(handler)
    logger.info("m 0")
    handler._listener.start()
    logger.info("m 1")
    assert handler._listener.flush(PATIENCE)
    handler._listener.stop()
    assert sink.messages == _numbers(0, 2)
    spool(handler).close()


def test_stop_and_start_again(place: str) -> None:
    sink = Noting()
    handler = QueueHandler(place, handlers=[sink])
    logger = logger_of(handler)
    _log(logger, 0, 10)
    handler.listener.stop()
    assert sink.messages == _numbers(0, 10)
    handler.listener.stop()
    _log(logger, 10, 20)  # it was stopped on purpose: nothing starts it
    handler.listener.start()
    assert handler.flush(PATIENCE)
    assert sink.messages == _numbers(0, 20)
    with pytest.raises(RuntimeError, match="already started"):
        handler.listener.start()
    handler.close()
    spool(handler).close()





@pytest.mark.parametrize("kind", [Hanging, HangingBatching])
@pytest.mark.parametrize("sinks", [1, 2])
def test_a_sink_is_given_nothing_more_of_its_batch_when_its_listener_is_stopped(
    place: str, sinks: int, kind: type[Hanging]
) -> None:
    """A slow one was given the other 199, for minutes, and once more by the next start where the program had ended."""
    handler = QueueHandler(place)
    logger = logger_of(handler)
    slow = kind()
    listener = QueueListener(place, Sink(slow, batch=1), *[Noting()] * (sinks - 1))
    for number in range(5):
        logger.info("%d", number)
    listener.start()
    assert slow.hangs.wait(PATIENCE)
    delivery = listener._delivery
    assert delivery is not None
    listener.stop(drain_timeout=0.0)
    slow.go_on.set()
    delivery.thread.join(PATIENCE)
    assert slow.messages == ["0"]
    listener.start()
    assert listener.flush(PATIENCE)
    assert slow.messages == [str(number) for number in range(5)]
    listener.stop()
    spool(handler).close()


def test_handlers_are_changed_while_it_listens(place: str) -> None:
    """As with the standard library's; those that came later were given nothing until it was stopped and started."""
    handler = QueueHandler(place)
    logger = logger_of(handler)
    first, second, third = Noting(), Noting(), Noting()
    with QueueListener(place, Sink(first, name="first")) as listener:
        logger.info("one")
        assert listener.flush(PATIENCE)
        listener.handlers = (*listener.handlers, second)
        logger.info("two")
        assert listener.flush(PATIENCE)
        with pytest.raises(ValueError, match="named"):
            listener.handlers = (Sink(first, name="same"), Sink(third, name="same"))
        assert listener.sinks() == ["first", "Noting-1"]
        listener.handlers = (third,)
        logger.info("three")
        assert listener.flush(PATIENCE)
    assert [each.messages for each in (first, second, third)] == [["one", "two"], ["two"], ["three"]]
    assert "handleError" not in vars(first)
    spool(handler).close()


def test_handlers_are_changed_while_a_record_starts_the_listener(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that another thread logged right then started it with the new ones, and who had changed them was told
    "Listener already started"."""
    first, second = Noting(), Noting()
    handler = QueueHandler(place, handlers=[first])
    logger, make_way = logger_of(handler), QueueListener._make_way

    def log_first(listener: QueueListener) -> None:
        monkeypatch.undo()
        logger.info("two")
        make_way(listener)

    logger.info("one")
    assert handler.flush(PATIENCE)
    monkeypatch.setattr(QueueListener, "_make_way", log_first)
    handler.listener.handlers = (second,)
    assert handler.flush(PATIENCE)
    assert (first.messages, second.messages) == (["one"], ["two"])
    handler.close()
    spool(handler).close()


def test_another_queue_in_the_place_of_a_handlers(tmp_path: Path) -> None:
    """As with the standard library's; records went on into the first one."""
    noting = Noting()
    handler = QueueHandler(SpoolQueue(tmp_path / "one"))
    logger = logger_of(handler)
    logger.info("one")
    first, handler.queue = handler.queue, SpoolQueue(tmp_path / "other")
    logger.info("two")
    with QueueListener(handler.queue, noting) as listener:
        assert listener.flush(PATIENCE)
    handler.queue = queue.Queue()
    logger.info("three")
    assert (noting.messages, handler.queue.get_nowait().message) == (["two"], "three")
    assert first.qsize() == 1
    first.close()


def test_two_sinks_of_one_name_are_refused(place: str) -> None:
    with pytest.raises(ValueError, match="two sinks are named 'x'"):
        QueueListener(place, Sink(Noting(), name="x"), Sink(Noting(), name="x")).start()


def test_a_handler_that_is_its_own_sink_loses_nothing(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """As where a program's setup, which puts a queue in front of the handlers that there are, is called twice: what was
    logged then counted as delivered."""
    noting = Noting()
    first = QueueHandler(place, handlers=[noting])
    second = QueueHandler(place, handlers=[first])
    logger_of(second).info("one")
    assert "the sink QueueHandler-0 puts its records into" in caplog.text
    assert second.stats()["depth"] == 1
    with QueueListener(place, noting) as listener:
        with pytest.raises(ValueError, match="puts its records into"):
            listener.handlers = (first,)
        assert listener.flush(PATIENCE)
    assert noting.messages == ["one"]
    second.close()
    first.close()
    spool(first).close()


def test_a_handler_in_two_listeners_reports_to_the_one_that_delivers(tmp_path: Path) -> None:
    """And calls the `handleError` of its own again, when nobody listens any more."""
    failing = [True]
    shared = Reporting(lambda message: OSError() if failing else None)
    calls: list[logging.LogRecord] = []
    shared.handleError = calls.append  # type: ignore[method-assign,assignment]
    first, second = (QueueListener(tmp_path / name, Sink(shared, **FAST)) for name in "ab")
    first.start()
    second.start()
    first.stop(drain_timeout=0.0)
    logger_of(QueueHandler(tmp_path / "b")).info("m")
    shared.until(lambda: len(shared.tries) > 3)
    assert not second.flush(0.0)
    failing.clear()
    assert second.flush(PATIENCE)
    second.stop()
    assert (shared.messages, calls) == (["m"], [])
    failing.append(True)
    shared.handle(logging.makeLogRecord({"msg": "alone"}))
    assert len(calls) == 1
    for each in (first, second):
        spool(each).close()


def test_a_spool_behind_another_one(tmp_path: Path) -> None:
    last = Noting()
    inner = QueueHandler(f"sqlite:///{tmp_path}/inner.db", handlers=[last])
    outer = QueueHandler(tmp_path / "outer", handlers=[inner])
    _log(logger_of(outer), 0, 5)
    assert outer.flush(PATIENCE)
    assert inner.flush(PATIENCE)
    assert last.messages == _numbers(0, 5)
    for each in (outer, inner):
        each.close()
        spool(each).close()



def test_a_sink_that_changes_its_record_changes_it_for_nobody_else(place: str, listen: Listen) -> None:
    class Changing(Noting):
        def emit(self, record: logging.LogRecord) -> None:
            record.msg, record.args = "changed", None
            super().emit(record)

    sinks = [Changing(), Noting(), Changing(), Noting()]
    listener = listen(*sinks)
    _log(logger_of(QueueHandler(place)), 0, 3)
    assert listener.flush(PATIENCE)
    assert [each.messages for each in sinks] == [["changed"] * 3, _numbers(0, 3)] * 2


@pytest.mark.parametrize("sinks", [1, 2])
def test_a_listener_with_a_handle_of_its_own(place: str, sinks: int) -> None:
    """It was passed over in silence. The standard library calls it for each record; here for each sink, too."""

    class Stamping(QueueListener):
        def handle(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "m 1":
                raise ValueError("not this one")
            if record.getMessage() != "m 2":
                super().handle(record)

        def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
            record.msg = f"prepared {record.msg}"
            return record

    noting = [Noting() for _ in range(sinks - 1)]
    batching = Batching()
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 4)
    with Stamping(place, *[Sink(each, retries=2, **FAST) for each in (*noting, batching)]) as listener:
        assert listener.flush(PATIENCE)
        assert listener.stats()["dead"] == sinks
    for each in (*noting, batching):
        assert each.messages == ["prepared m 0", "prepared m 3"]
    spool(listener).close()


def test_what_a_handle_of_its_own_gives_to_a_sink_that_fails_comes_again(place: str) -> None:
    class Own(QueueListener):
        def handle(self, record: logging.LogRecord) -> None:
            super().handle(record)

    errors = [ConnectionRefusedError(), ConnectionRefusedError()]
    reporting, healthy = Reporting(lambda message: errors.pop() if errors else None), Noting()
    logger = logger_of(QueueHandler(place))
    with Own(place, Sink(reporting, **FAST), healthy) as listener:
        _log(logger, 0, 4)
        assert listener.flush(PATIENCE)
    assert reporting.messages == healthy.messages == _numbers(0, 4)
    assert len(reporting.tries) == 6
    spool(listener).close()


@pytest.mark.parametrize("how", ["subclass", "instance", "class"])
def test_a_listener_whose_handle_is_all_that_takes_records(
    place: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener without handlers, as programs write them that override `handle`, was never called."""
    taken: list[str] = []
    failing = [ValueError("not now")]

    def handle(self: Any, record: logging.LogRecord) -> None:
        if failing and record.getMessage() == "m 1":
            raise failing.pop()
        taken.append(record.getMessage())

    class Own(QueueListener): ...

    if how != "instance":
        monkeypatch.setattr(Own if how == "subclass" else QueueListener, "handle", handle)
    listener = Own(place)
    if how == "instance":
        monkeypatch.setattr(listener, "handle", partial(handle, listener))
    logger = logger_of(QueueHandler(place))
    _log(logger, 0, 3)
    for last in (3, 6):  # the second time it finds what it has of its own again
        with listener:
            assert listener.flush(PATIENCE)
        assert sorted(set(taken)) == _numbers(0, last)
        _log(logger, last, last + 3)
    spool(listener).close()


def test_stopping_a_listener_without_handlers_waits_for_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited five seconds for a look of nobody's."""
    listener = QueueListener(place)
    _log(logger_of(QueueHandler(place)), 0, 3)
    monkeypatch.setattr(Delivery, "_look", lambda *arguments, **options: pytest.fail("who should look?"))
    monkeypatch.setattr("pqadapters.logging._delivery.listener._JOIN", PATIENCE)  # it lets go of the store as it ends
    listener.start()
    listener.stop()
    assert listener.stats()["depth"] == 3
    spool(listener).close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: QueueHandler(place, handlers=[print]), "logging handler"),
        (lambda place: QueueHandler(place, handlers="file"), "list"),
        (lambda place: QueueHandler(b"bytes"), "directory"),
        (lambda place: QueueHandler(place, path=place), "two words for one thing"),
        (lambda place: QueueHandler(SpoolQueue(place), path=place), "two words for one thing"),
        (lambda place: Sink(Noting(), check=5), "check"),  # type: ignore[arg-type]
        (lambda place: Sink(Noting(), name=5), "check"),  # type: ignore[arg-type]
    ],
)
def test_wrong_types(place: str, make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make(place)
