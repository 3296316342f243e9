"""Queues on their way to other processes: as arguments, inherited, in pools, in executors, in each other."""

from __future__ import annotations

import concurrent.futures
import logging
import logging.handlers
import multiprocessing as stdlib
import os
import pickle
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib.multiprocessing import Queue

pytestmark = pytest.mark.usefixtures("home")


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
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context, initializer=_inherit, initargs=(q,)) as executor:
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


def test_a_copy_is_open_and_the_same_queue_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it was closed here, and its URL names no directory."""
    monkeypatch.chdir(tmp_path)
    q: Queue[int] = Queue(store="sqlite:///jobs.db")
    q.put(1)
    q.close()
    data = pickle.dumps(q)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    copy = pickle.loads(data)
    assert copy.get(timeout=60) == 1
    copy.close()


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
