"""One at a time: listeners on one spool, durabilities on one path, a fork while a store opens; order all the way."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.durability import Survives
from pqadapters.logging._delivery.couriers import Courier
from pqadapters.logging._delivery.owed import Owed
from pqadapters.logging._delivery.post import Post
from pqadapters.logging._delivery.turn import Turn
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink, SpoolQueue
from pqadapters.store import Capabilities, Put, State
from pqadapters.stores.memory import MemoryStore
from tests.contract.threads import Task

from .programs import ran
from .sinks import PATIENCE, Hanging, Noting, Reporting, eventually, logger_of, spool
from .test_processes import delivered, place

__all__ = ["place"]
FAST: dict[str, Any] = {"backoff": (0.001, 0.01), "retries": 1_000_000}


class HangingReporting(Hanging, Reporting):
    """Hangs in its first record until `go_on` is set, and fails by `handleError` alone."""


def test_two_listeners_of_a_process_on_one_directory_take_turns(tmp_path: Path) -> None:
    """The second one waits until the first is stopped, and says so; else records would overtake each other."""
    handler = QueueHandler(tmp_path / "spool")
    logger = logger_of(handler)
    first, second = Hanging(), Noting()
    one, other = QueueListener(tmp_path / "spool", first), QueueListener(tmp_path / "spool", second)
    logger.info("0")
    one.start()
    assert first.hangs.wait(PATIENCE)
    waits, told = threading.Event(), logging.Handler()
    told.emit = lambda record: waits.set() if "waits" in record.getMessage() else None  # type: ignore[method-assign]
    logging.getLogger("pqadapters.logging").addHandler(told)
    other.start()
    assert waits.wait(PATIENCE)
    logging.getLogger("pqadapters.logging").removeHandler(told)
    logger.info("1")
    first.go_on.set()
    assert one.flush(PATIENCE)
    assert (first.messages, second.messages) == (["0", "1"], [])
    one.stop()
    logger.info("2")
    second.until_count(1)
    assert other.flush(PATIENCE)
    assert second.messages == ["2"]
    other.stop()
    spool(handler).close()


def test_who_delivers_from_a_store_that_is_opened_anew_has_the_turn_there(tmp_path: Path) -> None:
    """What it had claimed of the old one ended with that."""
    spool = SpoolQueue(f"sqlite:///{tmp_path}/log.db").spool
    turn, stopping = Turn(spool, Owed()), threading.Event()
    assert turn.is_ours(stopping)
    spool.close()
    assert spool.store.depth(spool.names.turn).claimed == 0
    assert turn.is_ours(stopping)
    assert spool.store.depth(spool.names.turn).claimed == 1
    turn.give_up()
    assert spool.store.depth(spool.names.turn).claimed == 0
    spool.close()


def test_a_turn_that_came_back_to_another_one_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server that took us for dead: it is claimed, but not by us."""
    spool = SpoolQueue(f"sqlite:///{tmp_path}/log.db").spool
    store, name = spool.store, spool.names.turn
    monkeypatch.setattr(type(store), "capabilities", Capabilities(hosts=True))
    monkeypatch.setattr("pqadapters.logging._delivery.turn._LOOK", 0.0)
    turn = Turn(spool, Owed())
    assert turn.is_ours(threading.Event())
    assert not turn.is_lost()
    (claimed,) = store.browse(name, state=State.CLAIMED)
    monkeypatch.setattr(store, "browse", lambda queue, **options: iter([claimed._replace(attempts=2)]))
    assert turn.is_lost()
    monkeypatch.undo()
    turn.give_up()
    spool.close()


def test_a_listener_that_never_had_its_turn_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a database that processes share it took 5 seconds, for slots that there are in directories alone."""
    monkeypatch.setattr("pqadapters.logging._delivery.listener._STOP", 4 * PATIENCE)
    handler, sink = QueueHandler(f"sqlite:///{tmp_path}/spool.db"), Noting()
    with QueueListener(handler.queue, sink) as first:
        logger_of(handler).info("m")
        assert first.flush(PATIENCE)
        second = QueueListener(f"sqlite:///{tmp_path}/spool.db?durability=process", Noting())
        second.start()
        Task(second.stop, patience=PATIENCE).result()
    assert sink.messages == ["m"]
    spool(handler).close()


def test_the_turn_in_a_store_says_nothing_of_the_next_one() -> None:
    """A spool that is let go of and opened again has another one: there the turn may be somebody else's."""
    stopping, stores = threading.Event(), [MemoryStore(), MemoryStore()]
    spools: list[Any] = [
        SimpleNamespace(shared=True, store=store, names=SimpleNamespace(turn="turn")) for store in stores
    ]
    ours, theirs = (Turn(spool, Owed()) for spool in spools)
    assert ours.is_ours(stopping)
    assert theirs.is_ours(stopping)
    spools[0].store = stores[1]
    stopping.set()  # so it doesn't wait for it
    assert not ours.is_ours(stopping)


def test_of_two_that_make_the_turn_of_a_store_at_once_one_has_it() -> None:
    """Neither finds one; the second is told so when it writes its own down."""

    class Racing(MemoryStore):
        too_early = False

        def get(self, table: str, key: bytes) -> bytes | None:
            was, self.too_early = self.too_early, False
            return None if was else super().get(table, key)

    spool: Any = SimpleNamespace(shared=True, store=Racing(), names=SimpleNamespace(turn="turn"))
    stopping = threading.Event()
    first, second = Turn(spool, Owed()), Turn(spool, Owed())
    assert first.is_ours(stopping)
    stopping.set()  # so the second doesn't wait for it
    spool.store.too_early = True
    assert not second.is_ours(stopping)
    stopping.clear()
    first.give_up()
    assert second.is_ours(stopping)


def test_who_has_lost_the_turn_works_off_nothing_of_a_sink(tmp_path: Path) -> None:
    """A process that was stopped goes on with any of its threads: that of a sink claimed what was another one's."""
    queue, noting = SpoolQueue(tmp_path / "spool"), Noting()
    store, name = queue.spool.store, queue.spool.names.sink("it")
    for number in range(3):
        store.commit(Put(name, queue.spool.codec.dumps(logging.makeLogRecord({"msg": str(number)}))))
    stopping, lost, asked = threading.Event(), [True], threading.Semaphore(0)

    def is_over() -> bool:
        asked.release()
        return bool(lost)

    post = Post("it", Sink(noting), queue.spool.codec, False, stopping, Owed())
    courier = Courier(post, name, queue.spool)
    courier.is_over, courier.caught_up = is_over, lambda store: None
    courier.fall_behind(store)
    courier.thread.start()
    for _ in range(3):
        assert asked.acquire(timeout=PATIENCE)
    assert store.depth(name).ready == 3
    lost.clear()
    noting.until_count(3)
    stopping.set()
    courier.stop()
    courier.thread.join(PATIENCE)
    queue.close()


def test_who_waits_for_the_turn_again_leaves_the_sinks_queues_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has it works these off; and what it leaves there is taken up when it is ours again."""
    place = f"sqlite:///{tmp_path}/spool.db"
    handler, healthy = QueueHandler(place), Noting()
    down = Noting(lambda message: ConnectionRefusedError())
    listener = QueueListener(place, Sink(down, name="down", **FAST), Sink(healthy, name="healthy", **FAST))
    listener.start()
    logger_of(handler).info("0")
    name = spool(handler).names.sink("down")
    assert eventually(lambda: spool(handler).store.depth(name).unfinished)
    asked = threading.Semaphore(0)

    def is_anothers(turn: Turn, stopping: threading.Event) -> bool:
        asked.release()
        stopping.wait(0.01)
        return False

    with monkeypatch.context() as patched:
        patched.setattr(Turn, "is_ours", is_anothers)
        spool(handler).store.wake(spool(handler).names.inbox)
        for _ in range(3):
            assert asked.acquire(timeout=PATIENCE)
        tries = len(down.tries) + 1  # one may be on its way
        for _ in range(20):
            assert asked.acquire(timeout=PATIENCE)
        assert len(down.tries) <= tries
    down.fails = lambda message: None
    logger_of(handler).info("1")
    assert listener.flush(PATIENCE)
    assert down.messages == healthy.messages == ["0", "1"]
    listener.stop()
    spool(handler).close()


def test_a_slot_that_is_let_go_of_in_the_middle_is_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who reads found that all of it was delivered before its sink's own thread did, which said that records wait."""
    left = SpoolQueue(tmp_path / "left").spool.store
    queue, noting = SpoolQueue(tmp_path / "spool"), Noting()
    store, name = queue.spool.store, queue.spool.names.sink("it")
    store.commit(Put(name, queue.spool.codec.dumps(logging.makeLogRecord({"msg": "m"}))))
    stopping, ended = threading.Event(), threading.Event()
    post = Post("it", Sink(noting), queue.spool.codec, False, stopping, Owed())
    courier = Courier(post, name, queue.spool)
    courier.is_over, courier.caught_up = lambda: False, lambda store: ended.set()
    courier.fall_behind(left)
    courier.fall_behind(store)
    left.close()
    courier.thread.start()
    noting.until_count(1)
    assert ended.wait(PATIENCE)
    assert courier.behind == [store]
    stopping.set()
    courier.stop()
    courier.thread.join(PATIENCE)
    assert "records for it wait" not in caplog.text
    queue.close()


@pytest.mark.parametrize("closed_first", [True, False])
def test_a_closed_handler_that_starts_beside_another_one_makes_way(
    place: str, monkeypatch: pytest.MonkeyPatch, closed_first: bool
) -> None:
    """As where two threads log at the same moment: each looked before the other had started, and one of the two waited
    for its turn for ever."""
    monkeypatch.setattr(QueueListener, "_is_replaced", lambda self: False)
    sinks = [Noting(), Noting()]
    closed, other = (QueueHandler(place, handlers=[sink]) for sink in sinks)
    closed.close()
    for handler in (closed, other) if closed_first else (other, closed):
        logger_of(handler).info("it")
    assert other.flush(PATIENCE)
    assert closed.listener.sinks() is None
    assert other.listener.sinks() == ["Noting-0"]
    assert sum(len(sink.messages) for sink in sinks) >= 2
    other.close()
    spool(other).close()


def test_a_listener_that_hangs_in_its_sink_when_it_is_stopped_keeps_its_turn(tmp_path: Path) -> None:
    """What it has in hand comes before the rest, which the next one would have been given."""
    handler = QueueHandler(tmp_path / "spool")
    logger = logger_of(handler)
    hanging = Hanging()
    for number in range(300):  # more than it has in hand
        logger.info("%d", number)
    listener = QueueListener(tmp_path / "spool", hanging)
    listener.start()
    assert hanging.hangs.wait(PATIENCE)
    listener.stop(drain_timeout=0.0)
    listener.start()
    logger.info("300")
    hanging.go_on.set()
    assert listener.flush(PATIENCE)
    assert list(dict.fromkeys(hanging.messages)) == [str(number) for number in range(301)]
    listener.stop()
    spool(handler).close()


@pytest.mark.parametrize("kind", [Hanging, HangingReporting])
@pytest.mark.parametrize("sinks", [1, 2])
def test_a_sink_that_fails_when_its_listener_was_stopped_has_confirmed_nothing(
    place: str, sinks: int, kind: type[Hanging]
) -> None:
    """As an `HTTPHandler` whose server hangs: it calls `handleError` at last, which nobody listened to by then, and the
    record was gone. One that raises an `OSError` was said to refuse its record, which others overtook."""
    handler = QueueHandler(place)
    logger = logger_of(handler)
    told: list[logging.LogRecord] = []
    hanging = kind()
    hanging.handleError = told.append  # type: ignore[method-assign,assignment]
    listener = QueueListener(place, Sink(hanging, **FAST), *[Noting()] * (sinks - 1))
    for number in range(3):
        logger.info("%d", number)
    listener.start()
    assert hanging.hangs.wait(PATIENCE)
    listener.stop(drain_timeout=0.0)
    hanging.fails = lambda message: ConnectionResetError()
    hanging.go_on.set()
    hanging.until(lambda: hanging.tries)
    hanging.fails = lambda message: None
    listener.start()
    assert listener.flush(PATIENCE)
    assert list(dict.fromkeys(hanging.messages)) == ["0", "1", "2"]
    listener.stop()
    assert not told
    assert hanging.handleError == told.append
    spool(handler).close()


def test_what_one_of_several_sinks_has_in_hand_comes_before_what_the_next_listener_gives_it(place: str) -> None:
    """The next one took what stood behind it in the sink's queue, and then it was given back."""
    handler = QueueHandler(place)
    logger = logger_of(handler)
    behind, healthy = Hanging(), Noting()
    down = Noting(lambda message: ConnectionRefusedError())
    for number in range(10):
        logger.info("%d", number)

    def listener(sink: Noting) -> QueueListener:
        return QueueListener(place, Sink(sink, name="behind", **FAST), Sink(healthy, name="healthy", **FAST))

    first = listener(down)
    first.start()
    healthy.until_count(10)
    first.stop()
    second = listener(behind)
    second.start()
    assert behind.hangs.wait(PATIENCE)  # with what is in its own queue
    for number in range(10, 20):
        logger.info("%d", number)
    healthy.until_count(20)
    second.stop(drain_timeout=0.0)
    third = listener(behind)
    third.start()
    logger.info("20")
    behind.go_on.set()
    assert third.flush(PATIENCE)
    assert list(dict.fromkeys(behind.messages)) == [str(number) for number in range(21)]
    third.stop()
    spool(handler).close()


@pytest.mark.parametrize("sinks", [1, 2])
def test_restarts_at_any_moment_keep_the_order_of_each_thread(place: str, sinks: int) -> None:
    """Of a listener, again and again, while two threads log and a sink fails now and then: what one listener has left
    claimed, or in the queue of a sink, the next one takes first."""
    counts = [0] * sinks

    def failing(sink: int) -> Any:
        def fails(message: str) -> Exception | None:
            counts[sink] += 1
            return ConnectionRefusedError() if counts[sink] % (97 + sink) < 2 else None

        return fails

    noting = [Noting(failing(sink)) for sink in range(sinks)]
    handler = QueueHandler(place)
    logger = logger_of(handler)

    def work(thread: int) -> None:
        for number in range(1500):
            logger.info("%d %d", thread, number)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    for count in range(200, 1800, 200):
        listener = QueueListener(place, *[Sink(each, name=str(at), **FAST) for at, each in enumerate(noting)])
        listener.start()
        noting[-1].until_count(count)
        listener.stop(drain_timeout=0.0)
    for thread in threads:
        thread.join()
    listener.start()
    assert listener.flush(PATIENCE)
    for each in noting:
        found: dict[str, list[int]] = defaultdict(list)
        for message in dict.fromkeys(each.messages):
            found[message.split()[0]].append(int(message.split()[1]))
        assert found == {"0": list(range(1500)), "1": list(range(1500))}
    listener.stop()
    spool(handler).close()


def test_two_durabilities_on_one_path(tmp_path: Path) -> None:
    """A place is one spool, whoever asks for it. It was one for each durability, and the second one couldn't be opened
    in this process, or took a slot of its own, past the order of the first."""
    path = tmp_path / "spool"
    plain = QueueHandler(path)
    logger_of(plain).info("0")
    assert spool(plain).store.durability.survives is Survives.PROCESS
    strict = QueueHandler(path, durability="power")  # nobody had asked for another one
    assert spool(strict) is spool(plain)
    logger_of(plain).info("1")
    assert spool(plain).store.durability.survives is Survives.POWER
    assert SpoolQueue(path).spool is spool(plain)
    with pytest.raises(ValueError, match=r"is used with .*POWER.*, and not with .*PROCESS"):
        SpoolQueue(path, durability="process")
    logger_of(strict).info("2")
    sink = Noting()
    with QueueListener(path, sink) as listener:
        assert listener.flush(PATIENCE)
    assert sink.messages == ["0", "1", "2"]
    assert [each.name for each in path.iterdir() if each.name.isdecimal()] == ["0"]
    spool(plain).close()


def test_a_fork_while_another_thread_opens_the_store(place: str) -> None:
    """The child's first record waited for a lock that nobody in the child would ever let go of."""
    ran(
        """
from pqadapters.logging._spools import spool as _spool
names = ["open_store", "open_slots"]
opened = {name: getattr(_spool, name) for name in names}
opening, go_on = threading.Event(), threading.Event()
def slow(name):
    def open_it(*args, **options):
        opening.set()
        go_on.wait()
        return opened[name](*args, **options)
    return open_it
for name in names:
    setattr(_spool, name, slow(name))
logger.addHandler(QueueHandler(place))
thread = threading.Thread(target=logger.info, args=("parent",))
thread.start()
opening.wait()
pid = os.fork()
if not pid:
    for name in names:
        setattr(_spool, name, opened[name])
    logger.info("child")
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
go_on.set()
thread.join()
""",
        place,
    )
    assert sorted(delivered(place)) == ["child", "parent"]
