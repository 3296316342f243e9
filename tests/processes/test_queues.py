"""What `multiprocessing`'s queues do, in one process and with pools, executors and logging."""

from __future__ import annotations

import concurrent.futures
import logging
import logging.handlers
import multiprocessing as stdlib
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import pool, resource_sharer
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, Full
from typing import Any

import pytest

from pqadapters.errors import NotSerializable, StoreError
from pqadapters.stdlib import multiprocessing
from pqadapters.stdlib.multiprocessing import JoinableQueue, Queue, SimpleQueue
from pqadapters.stores.memory import MemoryStore
from tests.home.world import begin_anew

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    begin_anew(monkeypatch, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(params=["home", "name", "url"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    places: dict[str, dict[str, Any]] = {
        "home": {},
        "name": {"name": "jobs"},
        "url": {"store": f"sqlite:///{tmp_path}/queue.db?durability=process", "name": "jobs"},
    }
    return places[str(request.param)]


@pytest.fixture(params=METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    return multiprocessing.get_context(request.param)


# As the standard library's


def test_they_are_the_standard_librarys_classes() -> None:
    assert isinstance(Queue(), multiprocessing.queues.Queue)
    assert isinstance(Queue(), stdlib.queues.Queue)
    assert isinstance(JoinableQueue(), stdlib.queues.JoinableQueue)
    assert isinstance(SimpleQueue(), stdlib.queues.SimpleQueue)
    for kind in (Queue, JoinableQueue, SimpleQueue):
        theirs = {name for name in dir(getattr(stdlib.queues, kind.__name__)) if not name.startswith("_")}
        assert theirs <= set(dir(kind))
    assert set(stdlib.__all__) <= set(multiprocessing.__all__)
    assert multiprocessing.Process is stdlib.Process
    assert multiprocessing.pool is pool


def test_put_and_get(options: dict[str, Any]) -> None:
    q: Queue[Any] = Queue(2, **options)
    q.put(None)
    q.put({"a": (1, b"2")}, True, 5)
    assert (q.qsize(), q.empty(), q.full()) == (2, False, True)
    puts: list[Callable[[], object]] = [
        lambda: q.put_nowait(3), lambda: q.put(3, False), lambda: q.put(3, True, -1.0)
    ]
    for refused in puts:
        with pytest.raises(Full):
            refused()
    assert q.get(timeout=-1.0) is None  # one is there
    assert q.get_nowait() == {"a": (1, b"2")}
    gets: list[Callable[[], object]] = [q.get_nowait, lambda: q.get(True, 0.01), lambda: q.get(True, -1.0)]
    for refused_get in gets:
        with pytest.raises(Empty):
            refused_get()


def test_many_at_a_time(options: dict[str, Any]) -> None:
    q: Queue[int] = Queue(5, **options)
    q.put_many(range(5))
    with pytest.raises(Full):
        q.put_many([5], block=False)
    with pytest.raises(ValueError, match="never fit"):
        q.put_many(range(6))
    assert q.get_many(3) == [0, 1, 2]
    assert q.get_many(9, timeout=1.0) == [3, 4]
    with pytest.raises(ValueError, match="none"):
        q.get_many(0)
    with pytest.raises(Empty):
        q.get_many(1, timeout=0.0)


def test_prefetch(options: dict[str, Any]) -> None:
    q: Queue[int] = Queue(prefetch=8, **options)
    q.put_many(range(20))
    assert [q.get() for _ in range(20)] == list(range(20))
    q.close()
    assert q.stats()["unfinished"] == 0


@pytest.mark.parametrize("kind", [Queue, JoinableQueue, SimpleQueue])
def test_what_was_fetched_ahead_is_the_others_behind_close(kind: Any, options: dict[str, Any]) -> None:
    """Nobody had it as long as the process lived: whoever waited for it waited on."""
    q = kind(prefetch=8, **options)
    other = pickle.loads(pickle.dumps(q))
    for item in range(3):
        q.put(item)
    assert q.get() == 0
    q.close()
    assert other._reader.poll(10.0)
    assert [other.get(), other.get()] == [1, 2]


def test_what_a_child_has_done_with_prefetch_is_done_at_its_end(context: Any, options: dict[str, Any]) -> None:
    q = context.Queue(prefetch=8, **options)
    q.put_many(range(20))
    process = context.Process(target=_take, args=(q, 18))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert [q.get(timeout=10) for _ in range(2)] == [18, 19]
    q.close()
    assert q.stats()["unfinished"] == 0


def _take(queue: Any, count: int) -> None:
    assert [queue.get() for _ in range(count)] == list(range(count))


def test_close(options: dict[str, Any]) -> None:
    q: Queue[int] = Queue(**options)
    q.put(1)
    q.put(2)
    assert q.get() == 1
    with pytest.raises(AssertionError, match="not closed"):
        q.join_thread()
    q.cancel_join_thread()
    q.close()
    q.close()
    q.join_thread()
    uses: list[Callable[[], object]] = [lambda: q.put(3), q.get, q.get_nowait]
    for use in uses:
        with pytest.raises(ValueError, match="is closed"):
            use()
    with pytest.raises(OSError, match="is closed"):
        q.empty()
    assert q.stats()["unfinished"] == 1  # 1 is done, 2 stays


def test_a_simple_queue(options: dict[str, Any]) -> None:
    q: SimpleQueue[int] = SimpleQueue(**options)
    assert q.empty()
    q.put(1)
    q.put(2)
    assert not q.empty()
    assert [q.get(), q.get()] == [1, 2]
    q.close()
    uses: list[Callable[[], object]] = [lambda: q.put(3), q.get, q.empty]
    for use in uses:
        with pytest.raises(OSError, match="is closed"):
            use()


def test_what_cannot_be_serialised_is_refused(options: dict[str, Any]) -> None:
    q: Queue[Any] = Queue(**options)
    puts: list[Callable[[], object]] = [lambda: q.put(lambda: 0), lambda: q.put_many([1, threading.Lock()])]
    for refused in puts:
        with pytest.raises(NotSerializable, match="Nothing was stored") as refusal:
            refused()
        assert "volatile" not in str(refusal.value)  # was advised, and isn't there for queues that processes share
    assert q.empty()


def test_a_subclass_may_deal_with_it() -> None:
    seen = []

    class Safe(Queue[Any]):
        @staticmethod
        def _on_queue_feeder_error(error: Exception, item: object) -> None:
            seen.append((type(error), item))

    q, lock = Safe(), threading.Lock()
    q.put(lock)
    q.put(1)
    assert seen == [(TypeError, lock)]
    assert q.get() == 1


def test_task_done_and_join(options: dict[str, Any]) -> None:
    q: JoinableQueue[int] = JoinableQueue(**options)
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    for item in range(3):
        q.put(item)
    for _ in range(3):
        q.get()
        q.task_done()
    q.join()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()


@pytest.mark.parametrize("ack", [None, "next", "task_done"])
def test_task_done_behind_close(ack: str | None) -> None:
    """close() had taken what was in hand for done, so the calls were counted for what is still there: join() ended."""
    q: JoinableQueue[int] = JoinableQueue(ack=ack)
    q.put_many(range(5))
    assert [q.get() for _ in range(3)] == [0, 1, 2]
    q.close()
    for unfinished in (4, 3, 2):
        q.task_done()
        assert q.stats()["unfinished"] == unfinished


def test_items_given_back_and_dead_letters(options: dict[str, Any]) -> None:
    q: Queue[str] = Queue(max_attempts=2, **options)
    q.put("a")
    for _ in range(2):
        assert q.get() == "a"
        q.nack()
    with pytest.raises(Empty):
        q.get_nowait()
    assert [(letter.item, letter.attempts) for letter in q.dead_letters()] == [("a", 3)]
    assert q.requeue() == 1
    assert q.get() == "a"
    with pytest.raises(ValueError, match="delay"):
        q.nack(delay=-1.0)


def test_a_queue_without_task_done_counts_no_calls_of_it() -> None:
    """With ack="get" all that was ever handed out was unfinished, in `stats()`."""
    q: Queue[int] = Queue(ack="get")
    q.put(1)
    assert q.get() == 1
    assert q.stats()["unfinished"] == 0


def test_a_joinable_queue_knows_its_items_however_they_are_done() -> None:
    """With ack="next" nobody held what `nack(item)` named, and `stats()` counted no `task_done()`."""
    q: JoinableQueue[str] = JoinableQueue(ack="next")
    q.put_many(["a", "b"])
    assert q.get() == "a"
    q.nack("a")
    assert [q.get(), q.get()] == ["a", "b"]
    assert q.stats()["unfinished"] == 2
    for unfinished in (1, 0):
        q.task_done()
        assert q.stats()["unfinished"] == unfinished


def test_the_ends_of_a_pipe_that_is_not_there() -> None:
    q: Any = Queue()
    assert not q._reader.poll()
    q.put(1)
    assert q._reader.poll(5.0)
    assert not q._writer.closed
    with pytest.raises(OSError, match="no pipe"):
        q._reader.fileno()
    q.close()
    assert q._reader.closed


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"store": "memory:"}, ValueError, "one process"),
        ({"store": MemoryStore()}, ValueError, "one process"),
        ({"store": 5}, TypeError, "store is"),
        ({"store": "nowhere:///x"}, ValueError, "names no store"),
        ({"store": "jobs.db"}, ValueError, "^'jobs.db' names no store"),  # not a path that nobody has written
        ({"store": "sqlite:jobs.db"}, ValueError, "^'sqlite:jobs.db': write sqlite:///"),
        ({"store": ""}, ValueError, "^'' names no store"),
        ({"store": "sqlite:///:memory:"}, ValueError, "memory:"),  # was a file of that name
        ({"store": "sqlite:///"}, ValueError, "^'sqlite:///': write sqlite:///"),
        ({"name": ""}, ValueError, "empty"),
        ({"name": 5}, TypeError, "str"),
        ({"maxsize": None}, TypeError, "integer"),  # at once, as the standard library's; was found by the first put
        ({"maxsize": "5"}, TypeError, "integer"),
        ({"ack": "task_done"}, ValueError, "JoinableQueue"),
        ({"ack": "never"}, ValueError, "ack is one of"),
        ({"serializer": "yaml"}, ValueError, "no serializer"),
        ({"max_attempts": 0}, ValueError, "too few"),
        ({"durability": "wishful"}, ValueError, "durability"),
        ({"name": "x", "prefetch": 0}, ValueError, "prefetch"),
        ({"prefetch": 0}, ValueError, "prefetch"),  # was found by the first put
        ({"name": "x", "prefetch": 1.5}, TypeError, "prefetch"),  # was found by the first get
        ({"max_lag": "x"}, TypeError, "max_lag"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Queue(**arguments)


@pytest.mark.parametrize("variable", ["PQADAPTERS_ACK", "PQADAPTERS_DURABILITY", "PQADAPTERS_URL"])
def test_a_wrong_word_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "somewhere")
    with pytest.raises(ValueError, match=f"{variable}.*somewhere"):
        Queue(name="jobs")


def test_a_segment_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one process"):
        Queue(store=f"file://{tmp_path}/directory")


@pytest.mark.parametrize("home", ["file/home", "x" * 300, "/".join(["x" * 100] * 5)])
def test_a_home_that_cannot_be_used(home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path / home))
    q: Queue[int] = Queue()
    with pytest.raises(StoreError, match="PQADAPTERS_HOME"):
        q.put(1)


# To other processes


def _double(source: Any, target: Any) -> None:
    for item in iter(source.get, None):
        target.put((os.getpid(), 2 * item))


def test_as_arguments(context: Any, options: dict[str, Any]) -> None:
    name = options.get("name")
    source, target = context.Queue(**options), context.SimpleQueue(**options | ({"name": "results"} if name else {}))
    process = context.Process(target=_double, args=(source, target))
    process.start()
    for item in (1, 2, None):
        source.put(item)
    assert [target.get(), target.get()] == [(process.pid, 2), (process.pid, 4)]
    process.join()
    assert process.exitcode == 0
    assert source.stats()["unfinished"] == 0  # what it had in hand at its normal end is done


_inherited: Any = None


def _inherit(queue: Any) -> None:
    global _inherited
    _inherited = queue


def _use_inherited(item: int) -> int:
    _inherited.put(item)
    return os.getpid()


def test_in_a_pool(context: Any) -> None:
    """The pool's own pipes stay the standard library's."""
    q = context.Queue()
    with context.Pool(2, initializer=_inherit, initargs=(q,)) as pool:
        pids = pool.map(_use_inherited, range(6), chunksize=1)
    assert os.getpid() not in pids
    assert sorted(q.get() for _ in range(6)) == list(range(6))


def test_in_an_executor(context: Any) -> None:
    q = context.Queue()
    with concurrent.futures.ProcessPoolExecutor(
        2, mp_context=context, initializer=_inherit, initargs=(q,)
    ) as executor:
        list(executor.map(_use_inherited, range(6)))
        executor.submit(_put, q, 6).result()  # the standard library refuses a queue as an argument
    assert sorted(q.get() for _ in range(7)) == list(range(7))


def _put(queue: Any, item: Any) -> None:
    queue.put(item)


def test_a_manager_and_its_queues_are_the_standard_librarys(context: Any) -> None:
    with context.Manager() as manager:
        q = manager.Queue()
        q.put(1)
        assert q.get() == 1


def test_a_queue_in_a_queue() -> None:
    outer: Queue[Any] = Queue()
    inner: Queue[int] = Queue()
    outer.put(inner)
    inner.put(1)
    other = outer.get()
    assert other is not inner
    assert other.get() == 1


def test_a_copy_by_pickle_is_the_same_queue(options: dict[str, Any]) -> None:
    q: Queue[Any] = Queue(3, max_attempts=5, **options)
    other = pickle.loads(pickle.dumps(q))
    q.put(None)
    assert other.get() is None
    other.put_many(range(3))
    assert other.full()
    assert q.full()


def test_a_store_object_cannot_be_given_away(tmp_path: Path) -> None:
    from pqadapters.opening import open_database

    with open_database(tmp_path / "queue.db") as store:
        q: Queue[int] = Queue(store=store)
        q.put(1)
        with pytest.raises(TypeError, match="give its URL"):
            pickle.dumps(q)
        assert q.get() == 1


def test_connections_travel(context: Any) -> None:
    """As through the standard library's queues."""
    q, enough = context.Queue(), context.Event()
    process = context.Process(target=_send_connection, args=(q, enough))
    process.start()
    connection: Connection = q.get()
    assert connection.recv() == "through"
    connection.close()
    enough.set()
    process.join()
    assert process.exitcode == 0


def _send_connection(queue: Any, enough: Any) -> None:
    here, there = stdlib.Pipe()
    queue.put(here)
    there.send("through")
    enough.wait()


def test_a_spool_of_log_records(context: Any) -> None:
    """`logging.handlers.QueueHandler` in children, its listener here."""
    q = context.Queue()
    seen: list[str] = []

    class Sink(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    listener = logging.handlers.QueueListener(q, Sink())
    listener.start()
    processes = [context.Process(target=_log, args=(q, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    listener.stop()
    assert sorted(seen) == [f"{number}: {line}" for number in range(2) for line in range(5)]


def _log(queue: Any, number: int) -> None:
    logger = logging.Logger("child")
    logger.addHandler(logging.handlers.QueueHandler(queue))
    for line in range(5):
        logger.info("%d: %d", number, line)


def test_a_fork_that_founds_a_queue_says_nothing() -> None:
    """The store that it loads imported `logging`, whose hook behind a fork then let go of a lock that the one before it
    had never taken: each first `start()` of a child showed a traceback."""
    program = """
from pqadapters.stdlib import multiprocessing
context = multiprocessing.get_context("fork")
q = context.Queue()
child = context.Process(target=q.put, args=(1,))
child.start()
print(q.get())
child.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


# Contexts


@pytest.fixture
def start_method() -> Iterator[None]:
    before = stdlib.get_start_method(allow_none=True)
    yield
    stdlib.set_start_method(before, force=True)


@pytest.mark.usefixtures("start_method")
def test_the_start_method_is_the_standard_librarys() -> None:
    for method in METHODS:
        multiprocessing.set_start_method(method, force=True)
        assert multiprocessing.get_start_method() == stdlib.get_start_method() == method
        assert multiprocessing.get_context().get_start_method() == method
        stdlib.set_start_method("spawn", force=True)
        assert multiprocessing.get_context().get_start_method() == "spawn"


@pytest.mark.parametrize("method", METHODS)
def test_a_context_gives_durable_queues(method: str) -> None:
    context = multiprocessing.get_context(method)
    assert context.get_start_method() == method
    assert type(context.Queue()) is Queue
    assert type(context.JoinableQueue(3)) is JoinableQueue
    assert type(context.SimpleQueue()) is SimpleQueue
    assert context.get_context("spawn") is multiprocessing.get_context("spawn")
    assert isinstance(context, type(stdlib.get_context(method)))
    with pytest.raises(ValueError, match="cannot find context"):
        context.get_context("teleport")
    with pytest.raises(ValueError, match="cannot find context"):
        multiprocessing.get_context("teleport")


def test_the_other_modules_are_the_standard_librarys() -> None:
    """They need no import of their own, which would bind the name `multiprocessing` to the standard library's again."""
    program = """
from pqadapters.stdlib import multiprocessing
print(multiprocessing.pool.ThreadPool.__module__, hasattr(multiprocessing, "nothing"), hasattr(multiprocessing, "_no"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == "multiprocessing.pool False False\n"


def test_a_start_method_of_a_librarys_own_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """loky has one: joblib failed with a KeyError."""

    class Loky(stdlib.context.SpawnContext):
        _name = "loky"

    loky = Loky()
    monkeypatch.setitem(stdlib.context._concrete_contexts, "loky", loky)  # type: ignore[attr-defined]
    assert multiprocessing.get_context("loky") is loky


def test_sockets_do_not_outlive_their_run() -> None:
    """What can't come back is a dead letter, and the next one is served."""
    q: Queue[Any] = Queue()
    with socket.socket() as one:
        q.put(one)
    resource_sharer.stop()
    q.put("next")
    assert q.get(timeout=10) == "next"
    (letter,) = q.dead_letters()
    assert "can't be decoded" in letter.reason


def test_the_module_of_contexts_has_what_the_standard_librarys_has() -> None:
    """`multiprocessing.context.BaseContext`, or `TimeoutError` there, was an AttributeError."""
    import multiprocessing.context as stdlib

    from pqadapters.stdlib import multiprocessing as ours

    for name in ("BaseContext", "Process", "TimeoutError", "assert_spawning", "reduction"):
        assert getattr(ours.context, name) is getattr(stdlib, name)
    assert isinstance(ours.get_context("spawn"), ours.context.BaseContext)
