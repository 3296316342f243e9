"""A record that can't be delivered keeps no other: it is refused, can't be read, was taken away."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pqadapters.logging import _records
from pqadapters.logging._post import Post
from pqadapters.logging._records import Codec
from pqadapters.logging.handlers import QueueHandler, Sink, SpoolQueue
from pqadapters.store import Ack, Claim, Put, State

from .sinks import PATIENCE, Noting, logger_of
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
        without.setattr(_records, "msgpack", None)
        queue = SpoolQueue(place)
        queue.spool.store.commit(Put("inbox", Codec(binary=False).dumps(logging.makeLogRecord({"msg": "as JSON"}))))
        noting = [Noting() for _ in range(sinks)]
        listener = listen(*[Sink(each, **FAST) for each in noting])
        noting[-1].until_count(1)
        assert not listener.flush(0.1)
        assert [each.messages for each in noting] == [["as JSON"]] * sinks
        stats = listener.stats()
        assert (stats["depth"], stats["dead"]) == (3, 0)
        assert "pip install" in str(stats["sinks"])
    assert listener.flush(PATIENCE)
    assert [sorted(each.messages) for each in noting] == [["as JSON", *_numbers(0, 3)]] * sinks


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
