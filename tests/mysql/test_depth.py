"""What a look at a queue tells fits together, whatever others commit between two questions of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pqadapters.stdlib.queue import Queue
from pqadapters.store import Nack, Put
from pqadapters.stores.mysql import MysqlStore
from tests.contract.maker import ManualClock

from .test_queues import KEY


@pytest.fixture
def at_question(monkeypatch: pytest.MonkeyPatch) -> Callable[[MysqlStore, int, Callable[[], object]], None]:
    """Something is done before the store asks its server for the so many-th time."""

    def arrange(store: MysqlStore, number: int, do: Callable[[], object]) -> None:
        reader: Any = store._core.reader
        ask, asked = reader._patiently, []

        def count(*arguments: Any) -> Any:
            asked.append(True)
            if len(asked) == number:
                do()
            return ask(*arguments)

        monkeypatch.setattr(reader, "_patiently", count)

    return arrange


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_record_that_becomes_ready_meanwhile_has_an_age(url: str, number: int, at_question: Any) -> None:
    """It was delayed and due as the records were counted, and ready as the oldest one was asked for: None."""
    clock = ManualClock()
    with MysqlStore(url, clock=clock, prefetch=1) as store:
        store.commit(Put("q", b"retried", not_before=clock.now + 10))
        clock.advance(20)
        at_question(store, number, lambda: store.claim("q", ids=[]))
        depth = store.depth("q")
        assert (depth.ready, depth.oldest_age) == (1, 20.0)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_first_dead_letter_is_counted(url: str, number: int, at_question: Any) -> None:
    """The queue of dead letters wasn't there as it was looked for: the record was nowhere."""
    with MysqlStore(url, prefetch=1) as store:
        store.commit(Put("q", b"poison"))
        (claim,) = store.claim("q")
        at_question(store, number, lambda: store.commit(Nack(claim, dead="reason")))
        depth = store.depth("q")
        assert sorted((depth.claimed, depth.dead)) == [0, 1]


def test_whether_a_queue_is_empty_is_told_without_counting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`while not q.empty()` counted all that waited, again and again: 36 ms each behind 100,000."""
    with MysqlStore(url) as store, Queue[int](store=store, name="q", signing_key=KEY, ack="task_done") as q:
        monkeypatch.setattr(store._looks, "_counted", None)
        assert q.empty()
        q.put_many([1, 2, 3])
        for item in (1, 2, 3):
            assert not q.empty()
            assert q.get() == item
        assert q.empty()


def test_what_lies_ahead_is_ready(url: str) -> None:
    """It is claimed on the server, and whoever asks may have it."""
    with MysqlStore(url, prefetch=8) as store:
        store.commit(*[Put("q", b"%d" % n) for n in range(8)])
        for _ in range(7):
            store.claim("q")
            assert store.any_ready("q")
        store.claim("q")
        assert not store.any_ready("q")
