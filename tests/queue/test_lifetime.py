"""Queues that are dropped, programs that end, programs that are killed."""

from __future__ import annotations

import copy
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib import queue as durable
from pqadapters.stdlib.queue import Queue, SimpleQueue
from pqadapters.store import Store

from .background import PATIENCE, in_thread
from .conftest import Place

KINDS: list[Any] = [durable.Queue, durable.LifoQueue, durable.PriorityQueue, durable.SimpleQueue]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("options", [{}, {"maxsize": 5}], ids=["plain", "bounded"])
def test_a_dropped_queue_is_gone_at_once(store: Store, kind: Any, options: dict[str, Any]) -> None:
    if kind is SimpleQueue:
        options = {}
    gc.disable()
    try:
        q = kind(store=store, **options)
        q.put((1, {}))
        item = q.get()
        if kind is not SimpleQueue:
            q.task_done(item)
            q.join()
            assert list(q.queue) == []
        gone = weakref.ref(q)
        del q
        assert gone() is None
    finally:
        gc.enable()


class Worker(threading.Thread):
    """As many programs have it: with its queue as an attribute."""

    def __init__(self, q: Queue[int], done: bool) -> None:
        super().__init__()
        self.q, self.done = q, done

    def run(self) -> None:
        self.q.get()
        if self.done:
            self.q.task_done()


@pytest.mark.parametrize("done", [True, False], ids=["done", "in hand"])
def test_a_dropped_queue_is_gone_with_the_threads_that_had_it(store: Store, done: bool) -> None:
    """They keep each other, but nothing else does."""
    q: Queue[int] = Queue(store=store, ack="task_done")
    q.put(1)
    worker = Worker(q, done)
    worker.start()
    worker.join()
    gone = weakref.ref(q)
    del q, worker
    gc.collect()
    assert gone() is None
    assert store.depth("default").unfinished == (0 if done else 1)


@pytest.mark.parametrize("ack", ["task_done", "next", "auto"])
def test_a_dropped_queue_ends_as_its_own_close(tmp_path: Path, ack: str) -> None:
    """As a local of main() does. One that never called task_done() had all that it ever got again in each run."""
    q: Queue[int] = Queue(path=tmp_path, ack=ack)
    q.put(1)
    q.get()
    gone = weakref.ref(q._line.store)
    del q
    assert gone() is None
    with Queue[int](path=tmp_path, ack=ack) as q:
        assert list(q.queue) == ([1] if ack == "task_done" else [])


def test_a_dropped_simple_queue_ends_as_its_own_close(place: Place) -> None:
    q: SimpleQueue[int] = SimpleQueue(store=place.open())
    q.put(1)
    q.put(2)
    q.get()
    del q
    assert SimpleQueue(store=place.restart()).get_nowait() == 2


def test_a_dropped_queue_whose_store_was_closed_says_nothing(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    store = place.open()
    q: Queue[int] = Queue(store=store, ack="next")
    q.put(1)
    q.get()
    store.close()
    del q
    assert caplog.messages == []


def test_a_queue_is_kept_by_who_looks_into_it(tmp_path: Path) -> None:
    with Queue[int](path=tmp_path) as q:
        q.put_many([1, 2])
    assert list(Queue(path=tmp_path).queue) == [1, 2]
    assert [item for item in Queue(path=tmp_path).queue] == [1, 2]  # noqa: C416  # that is another way to keep it
    assert list(reversed(Queue(path=tmp_path).queue)) == [2, 1]


def test_a_shallow_copy_is_the_same_queue_and_outlives_it(tmp_path: Path) -> None:
    """The queue was closed when the first of the two was dropped."""
    q: Queue[int] = Queue(path=tmp_path / "q")
    q = copy.copy(q)
    q.put(1)
    assert q.get() == 1
    q.close()


def test_the_thread_that_made_a_queue_may_end(store: Store) -> None:
    q: Queue[int] = in_thread(lambda: Queue(store=store))
    in_thread(lambda: q.put(1))
    assert threading.active_count() >= 1
    assert q.get() == 1


def run(program: str, directory: Path, *, status: int | None = 0) -> str:
    """A Python of its own with the program, which gets the directory as `here`."""
    text = f"here = {str(directory)!r}\nfrom pqadapters.stdlib.queue import *\n" + textwrap.dedent(program)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


FETCH = """
q = {kind}(path=here, durability="process"{options})
if q.empty():
    for i in range(3): q.put(i)
q.get()
"""


@pytest.mark.parametrize(
    ("kind", "options", "end", "left"),
    [
        ("SimpleQueue", "", "", [1, 2]),
        ("Queue", ", ack='next'", "", [1, 2]),
        ("Queue", ", ack='next'", "raise SystemExit(0)", [1, 2]),
        ("Queue", "", "", [1, 2]),
        ("Queue", ", ack='task_done'", "", [0, 1, 2]),
        ("Queue", ", ack='get'", "", [1, 2]),
    ],
)
def test_a_normal_exit(tmp_path: Path, kind: str, options: str, end: str, left: list[int]) -> None:
    run(FETCH.format(kind=kind, options=options) + end, tmp_path)
    assert list(Queue(path=tmp_path).queue) == left


def test_an_exit_by_an_exception_is_a_redelivery(tmp_path: Path) -> None:
    run(FETCH.format(kind="SimpleQueue", options="") + "raise LookupError", tmp_path, status=1)
    assert list(Queue(path=tmp_path).queue) == [0, 1, 2]


def test_an_exit_while_a_daemon_works_on_its_item(tmp_path: Path) -> None:
    program = """
    import threading
    q = SimpleQueue(path=here)
    for i in range(3): q.put(i)
    got = threading.Event()
    def work():
        q.get()
        got.set()
        threading.Event().wait()
    threading.Thread(target=work, daemon=True).start()
    got.wait()
    q.get()
    """
    run(program, tmp_path)
    assert list(Queue(path=tmp_path).queue) == [0, 2]


def test_what_was_acknowledged_before_sigkill_stays_so_and_nothing_else_is_lost(tmp_path: Path) -> None:
    program = """
    import os, signal
    q = Queue(path=here, durability="process")
    for i in range(6): q.put(i)
    for i in range(3): q.get()
    q.task_done()
    with q.lease() as item: assert item == 3
    q.put(6)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    run(program, tmp_path, status=-signal.SIGKILL)
    with Queue[int](path=tmp_path) as q:
        assert (q.unfinished_tasks, list(q.queue)) == (5, [1, 2, 4, 5, 6])


def test_attempts_survive_sigkill_where_they_are_limited(tmp_path: Path) -> None:
    program = """
    import os, signal
    q = Queue(path=here, durability="process", max_attempts=2)
    if not q.dead_letters() and q.empty(): q.put("kills")
    try:
        q.get_nowait()
    except Empty:
        print(q.dead_letters()[0].reason)
    else:
        os.kill(os.getpid(), signal.SIGKILL)
    """
    for _ in range(2):
        run(program, tmp_path, status=-signal.SIGKILL)
    assert "max_attempts=2" in run(program, tmp_path)


def test_ctrl_c_while_get_waits_claims_nothing(tmp_path: Path) -> None:
    program = """
    import os, signal, threading
    def hear(*args):
        heard.set()
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, hear)
    q = Queue(path=here)
    claim = q._line.claim
    heard = threading.Event()
    def interrupt():  # once more where the first one came right before the sleep: Python doesn't wake up for that
        os.kill(os.getpid(), signal.SIGINT)
        while not heard.wait(5):
            os.kill(os.getpid(), signal.SIGINT)
    def waiting(*args, **options):  # the signal comes when get() is on its way into the store, or in it
        threading.Thread(target=interrupt).start()
        return claim(*args, **options)
    q._line.claim = waiting
    try:
        q.get()
    except KeyboardInterrupt:
        q._line.claim = claim
        q.put(1)
        assert q.stats()["claimed"] == 0
        print(q.get_nowait())
    """
    assert run(program, tmp_path) == "1\n"


def test_the_thread_of_a_closed_queue_waits_for_no_garbage_collector(tmp_path: Path) -> None:
    """CPython's own tests of 3.10 take such a one for left behind, and waited seconds behind each test."""
    before = set(threading.enumerate())
    gc.disable()
    try:
        q: Queue[int] = Queue(path=tmp_path / "q", durability="process")
        q.put(1)
        (thread,) = (each for each in set(threading.enumerate()) - before if each.name == "pqadapters-sync")
        q.close()
        thread.join(PATIENCE)
        left = weakref.ref(thread)
        del thread
        assert left() is None
    finally:
        gc.enable()
