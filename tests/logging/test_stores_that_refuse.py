"""A store that refuses for a while, as a server that is away does: nobody keeps in hand for ever what he had in hand
then, and no sink gets anything twice because of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from pqadapters import astray as _astray
from pqadapters.errors import StoreError, StoreUnreachable
from pqadapters.logging._delivery import couriers as _couriers
from pqadapters.logging._delivery import delivery as _delivery
from pqadapters.logging._delivery import owed as _owed
from pqadapters.logging._delivery.listener import spool_of
from pqadapters.logging._delivery.post import Post
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink, SpoolQueue
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Ack, Nack, Put
from pqadapters.stores.memory import MemoryStore

from .sinks import PATIENCE, Batching, Noting, logger_of

FAST: dict[str, Any] = {"backoff": (0.001, 0.01)}
MESSAGES = [str(number) for number in range(20)]
QUEUES: dict[str, Callable[[Path], Any]] = {
    "directory": lambda path: SpoolQueue(path / "spool"),
    "sqlite": lambda path: SpoolQueue(f"sqlite:///{path}/spool.db"),
    "queue": lambda path: Queue(path=path / "queue"),
}


class Refusing:
    """Makes a store refuse all commits and claims from `begin` to `end`."""

    def __init__(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._refuses = False
        self.error: StoreError = StoreUnreachable("it is away")
        self._tries = threading.Semaphore(0)
        for module, name in ((_delivery, "AGAIN"), (_couriers, "AGAIN"), (_owed, "_AGAIN")):
            monkeypatch.setattr(module, name, 0.001)
        for method in ("commit", "claim"):
            monkeypatch.setattr(store, method, self._unless_it_refuses(getattr(store, method)))

    def _unless_it_refuses(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self._refuses:
                self._tries.release()
                raise self.error
            return method(*arguments, **options)

        return call

    def begin(self) -> None:
        self._refuses = True

    def until_tried(self, times: int) -> None:
        for _ in range(times):
            assert self._tries.acquire(timeout=PATIENCE)

    def end(self) -> None:
        self._refuses = False


@pytest.fixture(params=QUEUES)
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = QUEUES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(queue: Any) -> Any:
    spool: Any = spool_of(queue)
    return spool.store


def _log_all(queue: Any) -> None:
    logger = logger_of(QueueHandler(queue))
    for message in MESSAGES:
        logger.info(message)


@pytest.mark.parametrize("sinks", [1, 2])
def test_what_a_sink_has_not_confirmed_is_delivered_when_both_are_back(
    queue: Any, store: Any, sinks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither it nor the server could be reached: what it had in hand was in nobody's reach until its process ended."""
    refusing, down = Refusing(store, monkeypatch), [ConnectionRefusedError("down")]

    def fails(message: str) -> Exception | None:
        if down:
            refusing.begin()
        return next(iter(down), None)

    _log_all(queue)
    noting = [Noting(fails) for _ in range(sinks)]
    with QueueListener(queue, *[Sink(sink, **FAST) for sink in noting]) as listener:
        refusing.until_tried(5)
        down.clear()
        refusing.end()
        assert listener.flush(PATIENCE)
    assert all(sink.messages == MESSAGES for sink in noting)


@pytest.mark.parametrize("sinks", [1, 2])
def test_what_was_confirmed_is_acknowledged_when_the_store_is_back(
    queue: Any, store: Any, sinks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sink got it once more, or nobody ever heard that it was done."""
    refusing = Refusing(store, monkeypatch)

    def last(message: str) -> None:
        if message == MESSAGES[-1]:
            refusing.begin()

    _log_all(queue)
    noting = [Noting(last) for _ in range(sinks)]
    with QueueListener(queue, *noting) as listener:
        refusing.until_tried(3)
        refusing.end()
        assert listener.flush(PATIENCE)
    assert all(sink.messages == MESSAGES for sink in noting)


def test_what_was_collected_for_a_batch_is_delivered_when_the_store_is_back(
    queue: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing, batching, claim = Refusing(store, monkeypatch), Batching(), store.claim

    def claiming(*arguments: Any, **options: Any) -> Any:
        found = claim(*arguments, **options)
        if found and options.get("limit", 1) > 1 and not refused:
            refused.append(True)
            refusing.begin()
        return found

    refused: list[bool] = []
    monkeypatch.setattr(store, "claim", claiming)
    _log_all(queue)
    with QueueListener(queue, Sink(batching, batch=len(MESSAGES) + 1, batch_wait=0.01)) as listener:
        refusing.until_tried(3)
        refusing.end()
        assert listener.flush(PATIENCE)
    assert batching.messages == MESSAGES


@pytest.mark.parametrize("sinks", [1, 2])
def test_a_record_that_can_not_be_put_out_of_the_way_is_not_lost(
    queue: Any, store: Any, sinks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing, tries = Refusing(store, monkeypatch), list[str]()

    def picky(message: str) -> Exception | None:
        if message != MESSAGES[3]:
            return None
        tries.append(message)
        if len(tries) == 2:
            refusing.begin()
        return ValueError("refused")

    _log_all(queue)
    noting, others = Noting(picky), [Noting() for _ in range(sinks - 1)]
    with QueueListener(queue, Sink(noting, retries=2, **FAST), *others) as listener:
        refusing.until_tried(3)
        refusing.end()
        assert listener.flush(PATIENCE)
        assert listener.stats()["dead"] == 1
    assert sorted(noting.messages) == sorted(set(MESSAGES) - {MESSAGES[3]})
    assert all(other.messages == MESSAGES for other in others)


@pytest.fixture
def refusing_to_bury(store: Any, monkeypatch: pytest.MonkeyPatch) -> Refusing:
    """From the first time on that a record is to be a dead letter."""
    refusing, commit, begun = Refusing(store, monkeypatch), store.commit, list[bool]()

    def refuses_to_bury(*ops: Any) -> Any:
        if not begun and any(isinstance(op, Nack) and op.dead for op in ops):
            begun.append(True)
            refusing.begin()
        return commit(*ops)

    monkeypatch.setattr(store, "commit", refuses_to_bury)
    return refusing


def _put_nonsense(queue: Any) -> None:
    spool: Any = spool_of(queue)
    spool.store.commit(Put(spool.names.inbox, b"no record"))


@pytest.mark.parametrize("sinks", [1, 2])
def test_those_beside_a_record_that_can_not_be_decoded_go_back(
    queue: Any, sinks: int, refusing_to_bury: Refusing
) -> None:
    """That couldn't be stored."""
    _log_all(queue)
    _put_nonsense(queue)
    noting = [Noting() for _ in range(sinks)]
    with QueueListener(queue, *noting) as listener:
        refusing_to_bury.until_tried(3)
        refusing_to_bury.end()
        assert listener.flush(PATIENCE)
        assert listener.stats()["dead"] == 1
    assert all(sink.messages == MESSAGES for sink in noting)


def test_a_record_that_was_taken_beside_a_failing_one_goes_back(queue: Any, refusing_to_bury: Refusing) -> None:
    """It can't be decoded, and that couldn't be stored: it was in hand until the process ended."""
    down = [ConnectionRefusedError("down")]

    def fails(message: str) -> Exception | None:
        if len(noting.tries) == 1:
            _put_nonsense(queue)
        return next(iter(down), None)

    logger_of(QueueHandler(queue)).info("good")
    noting = Noting(fails)
    with QueueListener(queue, Sink(noting, retries=1, **FAST)) as listener:
        refusing_to_bury.until_tried(3)
        down.clear()
        refusing_to_bury.end()
        assert listener.flush(PATIENCE)
        assert listener.stats()["dead"] == 1
    assert noting.messages == ["good"]


def test_a_listener_that_ends_while_the_store_refuses_leaves_nothing_behind(
    queue: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn was no other process's for as long as its own lived."""
    refusing, down = Refusing(store, monkeypatch), Noting(lambda message: ConnectionRefusedError("down"))
    _log_all(queue)
    listener = QueueListener(queue, Sink(down, **FAST))
    listener.start()
    down.until(lambda: down.tries)
    refusing.begin()
    refusing.until_tried(1)
    listener.stop(drain_timeout=0.0)
    refusing.end()
    spool: Any = spool_of(queue)
    for name in (spool.names.turn, spool.names.inbox):
        assert store.wait(name, lambda depth: not depth.claimed, PATIENCE)
    assert store.depth(spool.names.inbox).ready == len(MESSAGES)


def test_what_goes_back_is_not_overtaken_by_what_is_claimed_next(
    queue: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, owed, noting = spool_of(queue), _owed.Owed(), Noting()
    assert spool is not None
    _log_all(queue)
    claims, refusing = store.claim(spool.names.inbox, limit=2), Refusing(store, monkeypatch)
    refusing.begin()
    owed.give_back(store, claims)
    post = Post("it", Sink(noting), spool.codec, False, threading.Event(), owed)
    with pytest.raises(StoreUnreachable):
        post.work_off(store, spool.names.inbox)
    refusing.end()
    post.work_off(store, spool.names.inbox)
    assert noting.messages == MESSAGES


def test_what_there_is_no_room_for_waits_while_the_rest_goes_on(
    queue: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk an acknowledgement may go through, and makes room."""
    spool, owed = spool_of(queue), _owed.Owed()
    assert spool is not None
    _log_all(queue)
    claims, refusing = store.claim(spool.names.inbox, limit=2), Refusing(store, monkeypatch)
    refusing.error = StoreError("no room")
    refusing.begin()
    owed.give_back(store, claims)
    owed.pay(store)
    refusing.end()
    assert store.depth(spool.names.inbox).claimed == 2
    owed.pay(store)
    assert store.depth(spool.names.inbox).claimed == 0


def test_a_task_done_that_was_refused_may_be_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record was in hand for as long as the process lived, and came again in the next one."""
    queue = SpoolQueue(tmp_path / "spool")
    _log_all(queue)
    refusing = Refusing(queue.spool.store, monkeypatch)
    for message in MESSAGES:
        assert queue.get(timeout=PATIENCE).getMessage() == message
        refusing.begin()
        with pytest.raises(StoreUnreachable):
            queue.task_done()
        refusing.end()
        queue.task_done()
    queue.join()
    queue.close()


def test_what_is_owed_to_a_store_that_was_closed_is_forgotten(tmp_path: Path) -> None:
    """Its claims ended with it."""
    queue = Queue[Any](path=tmp_path / "queue")
    spool: Any = spool_of(queue)
    store: Any = spool.store
    QueueHandler(queue).emit(logging.makeLogRecord({"msg": "m"}))
    owed, claims = _owed.Owed(), store.claim(spool.names.inbox)
    with pytest.MonkeyPatch.context() as patch:
        refusing = Refusing(store, patch)
        refusing.begin()
        owed.give_back(store, claims)
    queue.close()
    owed.pay_at_last()
    with pytest.raises(StoreError):
        owed.carry_out(store, [Nack(claims[0])])
    owed.pay_at_last()


def test_what_is_owed_to_one_store_is_no_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose record of the same number it would acknowledge. Nothing more is claimed before it is paid."""
    stores = MemoryStore(), MemoryStore()
    for store in stores:
        store.commit(Put("q", b""))
    one, other = stores
    claims, _ = one.claim("q"), other.claim("q")
    owed, refusing = _owed.Owed(), Refusing(one, monkeypatch)
    refusing.begin()
    with pytest.raises(StoreUnreachable):
        owed.carry_out(one, [Ack(claim) for claim in claims])
    owed.pay(other)
    assert other.depth("q").claimed == 1
    with pytest.raises(StoreUnreachable):
        owed.pay(one)
    refusing.end()
    owed.pay(one)
    assert one.depth("q").unfinished == 0


def test_a_record_that_can_not_be_read_is_put_away_when_the_store_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = SpoolQueue(tmp_path / "spool")
    store = queue.spool.store
    store.commit(Put(queue.spool.names.inbox, b"nonsense"))
    commit, refusals = store.commit, [StoreUnreachable("it is away") for _ in range(3)]

    def refusing(*ops: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return commit(*ops, **options)

    monkeypatch.setattr(_astray, "_AGAIN", 0.001)
    monkeypatch.setattr(store, "commit", refusing)
    with pytest.raises(StoreUnreachable):
        queue.get()
    assert store.wait(queue.spool.names.inbox, lambda depth: depth.ready > 0, PATIENCE)
    with pytest.raises(Empty):
        queue.get(block=False)
    assert store.depth(queue.spool.names.inbox).dead == 1
    queue.close()
