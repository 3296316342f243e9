"""A spool is let go of with the last one who uses it, and nothing that was logged goes with it."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import StoreClosed, StoreError, StoreForked, StoreRefused
from pqadapters.living import living
from pqadapters.logging._delivery import delivery as _delivery
from pqadapters.logging._delivery import looking
from pqadapters.logging._delivery.listener import _listeners
from pqadapters.logging._spools import spool as _spool
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink, SpoolQueue
from pqadapters.store import Depth, Put, Store
from pqadapters.stores.segment.slots import Slot, Slots

from ..contract.descriptors import open_below
from ..contract.threads import Task
from .programs import ran
from .sinks import PATIENCE, Hanging, Noting, eventually, logger_of, spool
from .test_left_behind import ALL, FORKS


def _is_open(place: Path) -> bool:
    found = _spool._spools.get(str(place))
    return found is not None and found.is_open


pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are counted by Linux's /proc")


def test_a_closed_handler_lets_go_of_its_directory(tmp_path: Path) -> None:
    """Each directory that was ever logged to cost two descriptors to the end of the process."""
    noting = Noting()
    for number in range(20):
        handler = QueueHandler(tmp_path / f"{number}", handlers=[noting])
        logger_of(handler).info("%d", number)
        assert handler.flush(PATIENCE)
        handler.close()
    assert eventually(lambda: not open_below(tmp_path))  # a busy machine's threads end behind close()
    assert noting.messages == [str(number) for number in range(20)]
    assert not list(tmp_path.glob("*/0"))


def test_what_waits_is_there_for_the_next_handler(tmp_path: Path) -> None:
    handler = QueueHandler(tmp_path / "spool")
    logger_of(handler).info("early")
    assert not handler.flush()
    handler.close()
    assert not _is_open(tmp_path / "spool")
    assert not handler.flush()
    noting = Noting()
    after = QueueHandler(tmp_path / "spool", handlers=[noting])
    logger_of(after).info("late")
    assert after.flush(PATIENCE)
    after.close()
    assert after.flush()
    assert handler.flush()
    assert noting.messages == ["early", "late"]


def test_a_look_at_a_closed_handler_opens_nothing_for_long(tmp_path: Path) -> None:
    """Who watched `stats()` kept the directory, and from others what waits there."""
    handler = QueueHandler(tmp_path / "spool")
    logger_of(handler).info("one")
    assert handler.stats()["depth"] == 1
    assert _is_open(tmp_path / "spool")
    handler.close()
    assert handler.stats()["depth"] == 1
    assert not _is_open(tmp_path / "spool")


def test_a_store_that_could_not_be_opened_once_is_flushed_later(tmp_path: Path) -> None:
    """What is true while it is open, that all was confirmed, was false when it was closed."""
    (tmp_path / "spool").write_text("no directory")
    noting = Noting()
    handler = QueueHandler(tmp_path / "spool", handlers=[noting])
    with pytest.raises(StoreRefused):
        handler.enqueue(logging.makeLogRecord({"msg": "early"}))
    assert not handler.flush()
    (tmp_path / "spool").unlink()
    logger_of(handler).info("late")
    assert handler.flush(PATIENCE)
    handler.close()
    assert handler.flush()
    assert noting.messages == ["late"]


def test_a_listener_that_no_thread_can_be_had_for_keeps_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_delivery, "start_thread", refuse)
    handler = QueueHandler(tmp_path / "spool", handlers=[Noting()])
    logger_of(handler).info("one")
    with pytest.raises(RuntimeError, match="can't start new thread") as kept:
        handler.listener.start()
    handler.close()
    assert not _is_open(tmp_path / "spool")
    del kept


def test_what_waits_in_memory_stays_there() -> None:
    """It went with the store, when its handler was closed: by `dictConfig`, say, though its logger kept it."""
    down = [ConnectionRefusedError("down")]
    noting = Noting(lambda message: down[0] if down else None)
    handler = QueueHandler("memory:", handlers=[Sink(noting, backoff=(0.01, 0.01))])
    logger_of(handler).info("early")
    noting.until(lambda: noting.tries)
    handler.close()
    assert not handler.flush()
    down.clear()
    logger_of(handler).info("late")
    assert handler.flush(PATIENCE)
    handler.close()
    spool(handler).close()
    assert noting.messages == ["early", "late"]


def test_who_else_uses_it_keeps_it_open(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    one, other = QueueHandler(place), QueueHandler(place)
    logger_of(one).info("one")
    one.close()
    assert _is_open(place)
    noting = Noting()
    with QueueListener(place, noting) as listener:
        other.close()
        assert _is_open(place)
        logger_of(other).info("two")
        assert listener.flush(PATIENCE)
    assert noting.messages == ["one", "two"]
    assert eventually(lambda: not _is_open(place))  # a busy machine's thread ends behind stop()


def test_a_queue_that_records_are_taken_from_stays_open(tmp_path: Path) -> None:
    """By a listener of the standard library's, say, which would end with an error."""
    handler = QueueHandler(tmp_path / "spool")
    logger_of(handler).info("one")
    queue = handler.queue
    assert isinstance(queue, SpoolQueue)
    assert queue.get(timeout=PATIENCE).getMessage() == "one"
    handler.close()
    queue.task_done()
    assert queue.empty()
    spool(handler).close()


def test_who_takes_records_out_after_that_keeps_it_open(tmp_path: Path) -> None:
    """A listener of the standard library's on the queue of a handler that was closed already ended with an error when
    another handler of the directory was closed."""
    handler, other = QueueHandler(tmp_path / "spool"), QueueHandler(tmp_path / "spool")
    handler.close()
    queue = handler.queue
    assert isinstance(queue, SpoolQueue)
    logger_of(other).info("one")
    assert queue.get(timeout=PATIENCE).getMessage() == "one"
    other.close()
    queue.task_done()
    assert queue.empty()
    spool(handler).close()


def test_a_sink_that_hangs_keeps_it_open_until_it_is_done(tmp_path: Path) -> None:
    before, hanging = {*_threads()}, Hanging()  # those of earlier tests may be on their way out
    handler = QueueHandler(tmp_path / "spool", handlers=[hanging])
    logger_of(handler).info("one")
    assert hanging.hangs.wait(PATIENCE)
    (thread,) = {*_threads()} - before
    handler.close()
    assert _is_open(tmp_path / "spool")
    hanging.go_on.set()
    thread.join(PATIENCE)
    assert not _is_open(tmp_path / "spool")
    assert hanging.messages == ["one"]
    assert not list((tmp_path / "spool").glob("0"))  # it was acknowledged


def test_who_stops_the_listener_of_a_handler_that_is_being_closed_has_stopped_it(tmp_path: Path) -> None:
    """In another thread. The next record started it again."""
    noting = Noting()
    handler = QueueHandler(tmp_path / "spool", handlers=[noting])
    logger_of(handler).info("one")
    assert handler.flush(PATIENCE)
    listener = handler.listener
    delivery: Any = listener._delivery
    drain = delivery.drain

    def drained(*given: Any, **options: Any) -> None:
        delivery.drain = drain
        listener.stop()

    delivery.drain = drained
    handler.close()
    logger_of(handler).info("two")
    assert listener.sinks() is None
    assert noting.messages == ["one"]
    listener.start()
    assert handler.flush(PATIENCE)
    handler.close()
    assert noting.messages == ["one", "two"]


def test_what_another_thread_logs_right_then_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look, whether the slot is empty, and its removal."""
    handler = QueueHandler(tmp_path / "spool")
    logger_of(handler).info("one")
    queue = handler.queue
    assert isinstance(queue, SpoolQueue)
    queue.get()
    queue.task_done()
    store, late = spool(handler).store, logging.makeLogRecord({"msg": "late"})
    waits, looks = _spool._waits, list[Store]()

    def look(seen: Store) -> bool:
        found = waits(seen)
        if not looks:
            store.commit(Put(spool(handler).names.inbox, spool(handler).codec.dumps(late)))
        looks.append(seen)
        return found

    monkeypatch.setattr(_spool, "_waits", look)
    spool(handler).close()
    assert queue.get(timeout=0.0).getMessage() == "late"
    queue.task_done()
    spool(handler).close()


def test_nothing_is_said_to_be_confirmed_while_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a `flush()` in another thread, before it was known whether anything was left."""
    handler, said = QueueHandler(tmp_path / "spool"), list[bool]()
    logger_of(handler).info("it")
    is_done = _spool._is_done

    def ask_first(store: Store) -> bool:
        said.append(handler.flush(PATIENCE))
        return is_done(store)

    monkeypatch.setattr(_spool, "_is_done", ask_first)
    spool(handler).close()
    spool(handler).close()  # once more, which looked at nothing
    assert said == [False]
    assert not handler.flush(PATIENCE)
    with QueueListener(tmp_path / "spool", Noting()) as listener:
        assert listener.flush(PATIENCE)
    handler.close()
    assert handler.flush()


def test_what_is_logged_while_it_is_closed_overtakes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread took a slot of its own for that, from which it was delivered before what waited in the first."""
    handler, noting = QueueHandler(tmp_path / "spool"), Noting()
    logger, leave, opened = logger_of(handler), Slots.leave, threading.Event()
    late = threading.Thread(target=logger.info, args=("two",))
    logger.info("one")
    opens = _spool.Spool._opened

    def leave_late(slots: Slots, slot: Slot, **options: Any) -> None:
        monkeypatch.setattr(Slots, "leave", leave)
        late.start()
        opened.wait(0.2)  # in vain
        leave(slots, slot, **options)

    def note(self: _spool.Spool) -> Store:
        opened.set()
        return opens(self)

    monkeypatch.setattr(_spool, "_LEAVES", PATIENCE)
    monkeypatch.setattr(_spool.Spool, "_opened", note)
    monkeypatch.setattr(Slots, "leave", leave_late)
    spool(handler).close()
    late.join(PATIENCE)
    with QueueListener(tmp_path / "spool", noting) as listener:
        assert listener.flush(PATIENCE)
    assert noting.messages == ["one", "two"]
    handler.close()


@pytest.mark.parametrize("forked", [False, True])
def test_a_record_whose_store_goes_as_it_is_put_is_stored_in_the_next(
    tmp_path: Path, forked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread lets go of it, or a signal handler forks, and this is the child."""
    handler = QueueHandler(tmp_path / "spool")
    logger, kept = logger_of(handler), spool(handler)
    logger.info("one")
    store: Any = kept.store
    commit = store.commit

    def going(*ops: Any) -> Any:
        if forked:
            raise StoreForked("it is the parent's")
        kept.close()
        return commit(*ops)

    monkeypatch.setattr(store, "commit", going)
    logger.info("two")
    assert kept.store is not store
    assert kept.store.depth("inbox").ready == (1 if forked else 2)
    store.close()
    handler.close()


def test_a_record_that_comes_behind_the_last_look_at_its_slot_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a thread that was in the middle of putting it: an empty slot goes."""
    handler, is_empty = QueueHandler(tmp_path / "spool"), _spool._is_empty

    def look(store: Store) -> bool:
        found = is_empty(store)
        store.commit(Put("inbox", b"late"))
        return found

    kept = spool(handler)
    assert kept.store.depth("inbox").ready == 0
    monkeypatch.setattr(_spool, "_is_empty", look)
    kept.close()
    monkeypatch.undo()
    assert kept.store.depth("inbox").ready == 1
    handler.close()


def test_a_finalizer_that_logs_while_it_is_closed_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the thread that closes it: that would wait for itself."""
    monkeypatch.setattr(_spool, "_LEAVES", None)
    handler, noting = QueueHandler(tmp_path / "spool"), Noting()
    logger, leave = logger_of(handler), Slots.leave
    logger.info("one")

    def leave_late(slots: Slots, slot: Slot, **options: Any) -> None:
        monkeypatch.setattr(Slots, "leave", leave)
        logger.info("two")
        leave(slots, slot, **options)

    monkeypatch.setattr(Slots, "leave", leave_late)
    spool(handler).close()
    with QueueListener(tmp_path / "spool", noting) as listener:
        assert listener.flush(PATIENCE)
    assert sorted(noting.messages) == ["one", "two"]
    handler.close()


class Interrupted:
    """A lock; `strikes`, as a signal handler does, comes when this thread has taken it. Who would wait for itself then
    gets an error."""

    def __init__(self, lock: Any, strikes: Callable[[], None]) -> None:
        self._lock, self._strikes = lock, strikes
        self._thread, self._has = threading.get_ident(), False
        self.waits_for_itself = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)

    def __enter__(self) -> Any:
        if threading.get_ident() != self._thread:
            return self._lock.__enter__()
        if self._has:
            self.waits_for_itself = True
            raise RuntimeError
        self._lock.__enter__()
        self._has = True
        self._strikes()
        return True

    def __exit__(self, *error: Any) -> Any:
        if threading.get_ident() == self._thread:
            self._has = False
        return self._lock.__exit__(*error)


def test_a_signal_handler_that_logs_while_the_threads_are_told_to_end_waits_for_nobody(tmp_path: Path) -> None:
    """Its record told them as well: the thread waited for ever for the lock of the event, which it had itself."""
    noting = [Noting(), Noting()]
    closed, other = (QueueHandler(tmp_path / "spool", handlers=[each]) for each in noting)
    logger_of(closed).info("one")
    assert closed.flush(PATIENCE)
    delivery: Any = closed.listener._delivery
    told = Interrupted(delivery.stopping._cond, lambda: logger_of(other).info("two"))
    delivery.stopping._cond = told
    closed.close()
    del delivery
    assert not told.waits_for_itself
    assert other.flush(PATIENCE)
    assert noting[0].messages + noting[1].messages == ["one", "two"]
    other.close()


def test_threads_that_log_while_it_is_closed(tmp_path: Path) -> None:
    """What comes too late for the store that is closed is put into the one that is opened next."""
    noting, over = Noting(), threading.Event()
    handler = QueueHandler(tmp_path / "spool")
    logger = logger_of(handler)
    counts = [0, 0]

    def log(thread: int) -> None:
        while not over.is_set():
            counts[thread] += 1
            logger.info("%d.%d", thread, counts[thread])

    threads = [threading.Thread(target=log, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        spool(handler).close()
    over.set()
    for thread in threads:
        thread.join(PATIENCE)
    with QueueListener(tmp_path / "spool", noting) as listener:
        assert listener.flush(PATIENCE)
    handler.close()
    expected = [f"{thread}.{number + 1}" for thread in range(2) for number in range(counts[thread])]
    assert sorted(noting.messages) == sorted(expected)


def _listener_beside(handler: QueueHandler) -> QueueListener:
    return next(each for each in living(_listeners) if getattr(each.queue, "spool", None) is spool(handler))


def _threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("pqadapters-logging")]


@pytest.mark.parametrize("sinks", [1, 2])
def test_a_handler_that_the_program_lets_go_of_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sinks: int
) -> None:
    """Each that a logger had lost, without closing it, cost two threads and three descriptors for ever."""
    monkeypatch.setattr(_delivery, "_LOOK", 0.05)
    earlier, noting = {*_threads()}, [Noting() for _ in range(sinks)]  # those of other tests are theirs
    handler = QueueHandler(tmp_path / "spool", handlers=noting)
    logger = logger_of(handler)
    logger.info("one")
    assert handler.flush(PATIENCE)
    threads = {*_threads()} - earlier
    assert threads
    logger.info("two")
    logger.handlers.clear()
    del handler
    for thread in threads:
        thread.join(PATIENCE)
    assert not {*_threads()} - earlier
    assert not _is_open(tmp_path / "spool")
    assert not open_below(tmp_path)
    assert [each.messages for each in noting] == [["one", "two"]] * sinks
    assert "handleError" not in vars(noting[0])


@pytest.mark.parametrize("left", [False, True])
def test_what_waits_for_the_sink_of_a_handler_that_is_gone_is_delivered_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bool
) -> None:
    """Be it `left` by a dead process: nobody else may listen here for days."""
    monkeypatch.setattr(_delivery, "_LOOK", 0.01)
    if left:
        ran(FORKS, tmp_path / "spool")
    down = [True]
    noting = Noting(lambda message: OSError("away") if down else None)
    handler = QueueHandler(tmp_path / "spool", handlers=[Sink(noting, backoff=(0.001, 0.01))])
    logger = logger_of(handler)
    logger.info("one")
    noting.until(lambda: noting.tries)
    logger.handlers.clear()
    del handler
    tries = len(noting.tries)
    noting.until(lambda: len(noting.tries) > tries + 5)
    down.clear()
    wanted = {"one", *(ALL if left else ())}
    noting.until(lambda: wanted <= {*noting.messages})
    assert eventually(lambda: not _is_open(tmp_path / "spool"))


def test_the_next_handler_of_a_directory_delivers_where_the_program_has_let_go_of_the_last_one(tmp_path: Path) -> None:
    """`logger.handlers = [...]` a second time: the first one's sinks were given everything, for ever."""
    first, second = Noting(), Noting()
    logger = logger_of(QueueHandler(tmp_path / "spool", handlers=[first]))
    logger.info("one")
    first.until_count(1)
    logger.handlers = [QueueHandler(tmp_path / "spool", handlers=[second])]
    logger.info("two")
    second.until_count(1)
    logger.handlers[0].close()
    assert "two" in second.messages
    assert first.messages == ["one"]


def test_the_last_ones_sinks_are_given_nothing_that_the_next_handler_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one's first record was there before its listener was: the last one's delivered it, if it was quick."""
    noting, put, delivers = Noting(), _spool.Spool.put, []
    logger = logger_of(QueueHandler(tmp_path / "spool", handlers=[noting]))
    logger.info("one")
    noting.until_count(1)
    last = _listener_beside(logger.handlers[0])  # type: ignore[arg-type]
    logger.handlers = [QueueHandler(tmp_path / "spool", handlers=[Noting()])]

    def look_and_put(spool: Any, record: Any) -> None:
        delivers.append(last.sinks() is not None)
        put(spool, record)

    monkeypatch.setattr(_spool.Spool, "put", look_and_put)
    logger.info("two")
    logger.handlers[0].close()
    assert delivers == [False]


def test_a_listener_that_two_records_start_is_over_with_its_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two threads that logged at the same moment, the second one started what the first had started."""
    handler = QueueHandler(tmp_path / "spool", handlers=[Noting()])
    logger_of(handler).info("one")
    monkeypatch.setattr(QueueListener, "has_begun", lambda listener: False)
    logger_of(handler).info("two")
    assert handler.flush(PATIENCE)
    listener = handler.listener
    del handler
    assert listener.is_forsaken()
    listener.stop()


def test_a_listener_that_the_program_has_started_and_lets_go_of_goes_on(tmp_path: Path) -> None:
    """As the standard library's does; also one of a handler."""
    noting = Noting()
    QueueHandler(tmp_path / "spool", handlers=[noting]).listener.start()
    handler = QueueHandler(tmp_path / "spool")
    logger_of(handler).info("one")
    assert handler.flush(PATIENCE)
    listener = _listener_beside(handler)
    listener.stop()
    handler.close()
    assert noting.messages == ["one"]


def test_who_else_logs_keeps_the_listener_of_a_handler_that_is_gone(tmp_path: Path) -> None:
    noting = Noting()
    logger = logger_of(QueueHandler(tmp_path / "spool", handlers=[noting]))
    logger.info("one")
    noting.until_count(1)
    other = QueueHandler(tmp_path / "spool")
    listener = _listener_beside(other)
    logger.handlers.clear()
    assert not listener.is_forsaken()
    logger_of(other).info("two")
    noting.until_count(2)
    other.close()
    listener.stop()


def test_a_directory_without_a_handler_is_closed_when_another_one_is_logged_to(tmp_path: Path) -> None:
    handler = QueueHandler(tmp_path / "one")
    logger_of(handler).info("one")
    QueueHandler(tmp_path / "yet another").close()
    assert _is_open(tmp_path / "one")
    del handler
    other = QueueHandler(tmp_path / "other")
    assert not _is_open(tmp_path / "one")
    other.close()


def test_one_that_cannot_be_closed_is_no_failure_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = QueueHandler(tmp_path / "one")
    logger_of(handler).info("one")
    left = spool(handler)
    store, closes = left.store, list[bool]()

    def close() -> None:
        closes.append(True)
        raise StoreError("in vain")

    monkeypatch.setattr(left, "_leave", lambda *used: close())
    del handler
    QueueHandler(tmp_path / "other").close()
    assert closes
    store.close()


def test_stats_of_a_spool_that_is_let_go_of_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by whoever delivers, when nothing is left."""
    handler = QueueHandler(str(tmp_path / "spool"))
    logger_of(handler).info("one")
    depth, times = looking._depth, iter([True])

    def let_go_first(store: Store, queue: str) -> Depth:
        if next(times, False):
            spool(handler).close()
        return depth(store, queue)

    monkeypatch.setattr(looking, "_depth", let_go_first)
    assert handler.stats()["depth"] == 1
    handler.close()
    assert not spool(handler).is_open


def test_a_record_that_finds_its_store_let_go_of_says_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written once more in the middle of that error, which structlog's `exc_info=True` then stood for, and what
    it had lost was counted twice."""
    handler = QueueHandler(tmp_path / "spool")

    def let_go_first(*ops: object, **options: object) -> Any:
        spool(handler).close()
        raise StoreClosed("another thread did")

    monkeypatch.setattr(spool(handler).store, "commit", let_go_first)
    try:
        raise LookupError("the program's")
    except LookupError:
        extra = {"_name": "info", "_logger": None, "what": object()}
        logger_of(handler).info({"event": "failed", "exc_info": True}, extra=extra)
    (claim,) = spool(handler).store.claim("inbox")
    event = spool(handler).codec.loads(claim.payload).msg
    assert str(event.exception()[1]) == "the program's"
    assert spool(handler).codec.unencodable == 1
    spool(handler).close()


def test_a_record_whose_store_somebody_else_has_closed_is_reported(tmp_path: Path) -> None:
    """As what closes all of them at the very end of the process: it isn't tried for ever."""
    handler, refused = QueueHandler(tmp_path / "spool"), list[object]()
    handler.handleError = lambda record: refused.append(sys.exc_info()[0])  # type: ignore[method-assign]
    spool(handler).store.close()
    Task(lambda: logger_of(handler).info("late"), patience=PATIENCE).result()
    assert refused == [StoreClosed]
    handler.close()
