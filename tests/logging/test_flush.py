"""`flush` is true when the sinks have confirmed what was logged before, and not earlier; whatever others log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.logging._delivery import looking
from pqadapters.logging.handlers import QueueHandler, Sink
from pqadapters.store import Depth

from .sinks import PATIENCE, Hanging, Noting, logger_of
from .test_delivery import Listen, _log, _numbers, listen, place

__all__ = ["listen", "place"]


@pytest.mark.parametrize("behind", [0, 19])
def test_flush_is_not_true_while_a_sink_has_it_in_hand(place: str, listen: Listen, behind: int) -> None:
    """Whatever comes behind it."""
    hanging = Hanging()
    logger = logger_of(QueueHandler(place))
    listener = listen(hanging)
    _log(logger, 0, 1)
    assert hanging.hangs.wait(PATIENCE)
    thread = threading.Timer(0.05, _log, (logger, 1, 1 + behind))
    thread.start()
    assert not listener.flush(0.3)
    hanging.go_on.set()
    assert listener.flush(PATIENCE)
    thread.join()


@pytest.mark.parametrize("sinks", [1, 2])
def test_flush_ends_though_others_log_on(place: str, listen: Listen, sinks: int) -> None:
    """The queue is never empty: no record is confirmed before another one is there."""
    logger = logger_of(QueueHandler(place))
    asked, there, over = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    class Greedy(Noting):
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            asked.release()
            if not over.is_set():
                assert there.acquire(timeout=PATIENCE)

    def feed() -> None:
        while asked.acquire(timeout=PATIENCE) and not over.is_set():
            logger.info("more")
            there.release()

    greedy = Greedy()
    listener = listen(greedy, *[Noting() for _ in range(1, sinks)])
    feeding = threading.Thread(target=feed)
    feeding.start()
    _log(logger, 0, 5)
    assert listener.flush(PATIENCE)
    assert [message for message in greedy.messages if message != "more"] == _numbers(0, 5)
    assert listener.stats()["depth"] > 0
    over.set()
    asked.release()
    there.release()
    feeding.join()


def test_stats_tell_the_age_of_what_a_sink_has_in_hand(place: str, listen: Listen) -> None:
    """A sink that hangs had everything, and nothing of it was old."""
    hanging = Hanging()
    logger = logger_of(QueueHandler(place))
    listener = listen(hanging)
    _log(logger, 0, 1)
    assert hanging.hangs.wait(PATIENCE)
    stats = listener.stats()
    (sink,) = stats["sinks"].values()
    assert 0 <= stats["oldest_age"] < PATIENCE
    assert 0 <= sink["oldest_age"] < PATIENCE
    hanging.go_on.set()
    assert listener.flush(PATIENCE)
    assert listener.stats()["oldest_age"] is None


def test_stats_tell_the_age_of_the_oldest_of_all() -> None:
    found = looking._sum(Depth(1, oldest_age=2.0), None, Depth(2, bytes=5, oldest_age=7.0), Depth())
    assert found == {"depth": 3, "bytes": 5, "oldest_age": 7.0}


def test_stats_tell_the_age_of_what_waits_for_its_next_try(place: str, listen: Listen) -> None:
    refusing = Noting(lambda message: ValueError("no"))
    logger = logger_of(QueueHandler(place))
    listener = listen(Sink(refusing, backoff=(PATIENCE, PATIENCE)))
    _log(logger, 0, 1)
    refusing.until(lambda: refusing.tries)
    assert 0 <= listener.stats()["oldest_age"] < PATIENCE


class Emptying:
    """A store in which fewer wait at each look."""

    def __init__(self, *left: int) -> None:
        self._left = list(left)

    def depth(self, queue: str) -> Depth:
        return Depth(ready=self._left.pop(0))

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float) -> bool:
        assert not self._left
        return until(Depth())


def test_who_waits_for_many_is_not_woken_by_each_batch() -> None:
    """Those who deliver waited for it each time: a tenth of what a delivery took."""
    store: Any = Emptying(5000, 3000, 100)
    assert looking._is_emptied(store, "q", PATIENCE, None)


def test_who_waits_for_many_waits_no_longer_than_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    store: Any = Emptying(*[10**9] * 3)
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(looking, "SYSTEM", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(looking, "time", SimpleNamespace(sleep=sleep))
    assert not looking._is_emptied(store, "q", 0.01, None)
    assert now == 0.01
    assert len(store._left) == 1  # a look, as long as it wants, and a look
