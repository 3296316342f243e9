"""`Queue`: a directory; what was got and isn't done comes again."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from shutil import rmtree
from typing import Any, BinaryIO

import pytest

from pqadapters.errors import NotSerializable, StoreLocked
from pqadapters.persistqueue import AsyncQueue, Empty, Full, PDict, Queue, queue
from pqadapters.stdlib import queue as durable
from tests.segment.programs import run, running, said

_KILLED = """
import sys, os, signal
from pqadapters.persistqueue import Queue
q = Queue(sys.argv[1])
for item in "abc": q.put(item)
q.get(); q.task_done()
q.get(); q.put("d")
os.kill(os.getpid(), signal.SIGKILL)
"""
_HOLDER = """
import sys
from pqadapters.persistqueue import Queue
q = Queue(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


def _left(path: str) -> list[Any]:
    with Queue(path) as q:
        return [q.get_nowait() for _ in range(q.qsize())]


def test_another_ones_put_does_not_persist_a_get(path: str) -> None:
    with running(_KILLED, path) as child:
        child.wait(60)
    assert _left(path) == ["b", "c", "d"]


def test_a_new_process_goes_on_where_the_last_one_was(path: str) -> None:
    program = (
        "import sys; from pqadapters.persistqueue import Queue; q = Queue(sys.argv[1]); "
        "[q.put(n) for n in range(3)]; q.get(); q.task_done()"
    )
    run(program, path)
    assert _left(path) == [1, 2]


def test_one_task_done_is_for_all_that_the_thread_has_got(path: str) -> None:
    with Queue(path) as q:
        for item in range(5):
            q.put(item)
        for _ in range(3):
            q.get()
        q.task_done()
        assert q.unfinished_tasks == 4
    assert _left(path) == [3, 4]


def test_task_done_leaves_what_another_thread_has_in_hand(path: str) -> None:
    got, done = threading.Barrier(2), threading.Event()

    def other() -> None:
        q.get()
        got.wait()
        done.wait()

    with Queue(path) as q:
        q.put("theirs")
        q.put("ours")
        thread = threading.Thread(target=other)
        thread.start()
        got.wait()
        assert q.get() == "ours"
        q.task_done()
        done.set()
        thread.join()
    assert _left(path) == ["theirs"]


def test_join_waits_for_as_many_calls_as_there_were_items(path: str) -> None:
    with Queue(path) as q:
        q.put(1)
        q.put(2)
        joined = threading.Thread(target=q.join)
        joined.start()
        q.get()
        q.get()
        q.task_done()
        joined.join(0.05)
        assert joined.is_alive()
        q.task_done()
        joined.join(60)
        assert not joined.is_alive()
        with pytest.raises(ValueError, match="too many times"):
            q.task_done()


def test_a_thread_that_fetched_for_others_has_their_calls_counted(path: str) -> None:
    with Queue(path) as q:
        q.put(1)
        q.put(2)
        q.get()
        q.get()
        workers = [threading.Thread(target=q.task_done) for _ in range(2)]
        for worker in workers:
            worker.start()
            worker.join()
        q.join()
    assert _left(path) == []


def test_autosave_persists_the_get_and_join_still_counts(path: str) -> None:
    with Queue(path, autosave=True) as q:
        q.put("a")
        q.put("b")
        assert q.get() == "a"
        assert q.unfinished_tasks == 2
        q.task_done()
        assert q.unfinished_tasks == 1
    assert _left(path) == ["b"]


def test_a_queue_with_more_than_maxsize_after_a_reopen_is_full(path: str) -> None:
    with Queue(path) as q:
        for item in range(5):
            q.put(item)
    with Queue(path, maxsize=3) as q:
        assert q.full()
        with pytest.raises(Full):
            q.put(5, timeout=0.01)
        with pytest.raises(Full):
            q.put_nowait(5)
        with pytest.raises(ValueError, match="non-negative"):
            q.put(5, timeout=-1)


def test_empty_and_timeouts(path: str) -> None:
    with Queue(path) as q:
        for timeout in (0.01, 0):
            with pytest.raises(Empty):
                q.get(timeout=timeout)
        with pytest.raises(Empty):
            q.get_nowait()
        with pytest.raises(ValueError, match="non-negative"):
            q.get(timeout=-1)
        q.put(None)
        assert q.get() is None


def test_a_get_that_does_not_wait_still_waits_for_puts_that_are_under_way(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised Empty beside a producer that puts one after the other: theirs waits for the lock that a put holds."""
    stored, goes_on, looked = threading.Event(), threading.Event(), threading.Event()
    put, get = durable.Queue.put, durable.Queue.get

    def slow(q: Any, item: Any, *arguments: Any) -> None:
        put(q, item, *arguments)  # somebody may get it from here on
        stored.set()
        goes_on.wait()

    def seen(q: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return get(q, *arguments, **options)
        except Empty:
            looked.set()
            raise

    monkeypatch.setattr(durable.Queue, "put", slow)
    monkeypatch.setattr(durable.Queue, "get", seen)
    monkeypatch.setattr(queue, "MOMENT", 60.0)
    got: list[Any] = []
    with Queue(path) as q:
        producer = threading.Thread(target=lambda: [q.put(item) for item in "ab"])
        consumer = threading.Thread(target=lambda: got.append(q.get_nowait()))
        producer.start()
        stored.wait()
        assert q.get() == "a"
        consumer.start()
        looked.wait()
        goes_on.set()
        producer.join()
        consumer.join()
        assert got == ["b"]
        with pytest.raises(Empty):
            q.get_nowait()


def test_a_put_that_takes_longer_than_a_moment_is_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    put, get = durable.Queue.put, durable.Queue.get
    looks = 0

    def slow(q: Any, *arguments: Any) -> None:
        begun.set()
        goes_on.wait()
        put(q, *arguments)

    def seen(q: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 4:
            goes_on.set()
        return get(q, *arguments, **options)

    monkeypatch.setattr(durable.Queue, "put", slow)
    monkeypatch.setattr(durable.Queue, "get", seen)
    monkeypatch.setattr(queue, "MOMENT", 0.001)
    with Queue(path) as q:
        producer = threading.Thread(target=q.put, args=("a",))
        producer.start()
        begun.wait()
        try:
            assert q.get_nowait() == "a"
        finally:
            goes_on.set()
            producer.join()


def test_a_put_of_the_thread_itself_is_not_waited_for(path: str) -> None:
    class Looks:
        """As a finalizer or a signal handler in the middle of a put."""

        def __reduce__(self) -> tuple[Any, ...]:
            with pytest.raises(Empty):
                q.get_nowait()
            return str, ("looked",)

    with Queue(path) as q:
        q.put(Looks())
        assert q.get() == "looked"


def test_a_put_that_was_interrupted_is_not_waited_for(path: str) -> None:
    """Right behind its beginning: each get_nowait of other threads took five seconds from then on."""

    class Interrupted(dict[int, Any]):
        def __setitem__(self, thread: int, put: Any) -> None:
            super().__setitem__(thread, put)
            raise KeyboardInterrupt

    with Queue(path) as q:
        q._under_way = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            q.put("a")
        assert not q._under_way


@pytest.mark.parametrize("close", [lambda q: q.__del__(), lambda q: (q.headf.close(), q.tailf.close())])
def test_it_is_closed_as_programs_close_persist_queues_which_has_no_close(close: Any, path: str) -> None:
    q = Queue(path)
    q.put("a")
    assert not q.headf.closed
    close(q)
    assert q.headf.closed
    assert q.tailf.closed
    run("import sys; from pqadapters.persistqueue import Queue; assert Queue(sys.argv[1]).get() == 'a'", path)


def test_two_objects_in_one_process_are_one_queue(path: str) -> None:
    with Queue(path) as a, Queue(path) as b:
        got: list[Any] = []
        waiter = threading.Thread(target=lambda: got.append(b.get(timeout=60)))
        waiter.start()
        a.put("x")
        waiter.join(60)
        assert got == ["x"]
        assert (a.qsize(), b.qsize()) == (0, 0)


def test_a_second_process_is_refused_and_not_let_in_beside_the_first(path: str) -> None:
    with running(_HOLDER, path) as child:
        assert said(child) == "held"
        with pytest.raises(StoreLocked):
            Queue(path)


def test_tempdir_is_checked(path: str, tmp_path: Path) -> None:
    Queue(path, tempdir=str(tmp_path), chunksize=1).close()
    with pytest.raises(ValueError, match="filesystem"):
        Queue(path, tempdir="/proc")
    with pytest.raises(FileNotFoundError):
        Queue(path, tempdir=str(tmp_path / "missing"))


def test_tempdir_may_be_the_queues_own_directory_that_is_not_made_yet(tmp_path: Path) -> None:
    """persist-queue makes the directory first; where it wasn't there, ours was a FileNotFoundError."""
    path = tmp_path / "new" / "queue"
    for tempdir in (path, path.parent):
        with Queue(str(path), tempdir=str(tempdir)) as q:
            q.put(1)
            assert q.get() == 1
        rmtree(path.parent)
    with pytest.raises(FileNotFoundError):
        Queue(str(path), tempdir=str(path / "below"))
    assert not path.exists()


def test_a_users_own_serializer_with_functions_for_files_alone(path: str) -> None:
    class Lines:
        @staticmethod
        def dump(value: object, fp: BinaryIO) -> None:
            fp.write(json.dumps(value).encode() + b"\n")

        @staticmethod
        def load(fp: BinaryIO) -> object:
            return json.loads(fp.readline())

    with Queue(path, serializer=Lines) as q:
        q.put({"a": [1]})
        with pytest.raises(NotSerializable):
            q.put({1, 2})
        assert q.get() == {"a": [1]}


def test_what_cant_be_kept_is_refused_without_advice_that_persist_queues_classes_dont_take(path: str) -> None:
    with Queue(path) as q, pytest.raises(NotSerializable, match="serializer=") as refused:
        q.put(lambda: None)
    assert "volatile=" not in str(refused.value)
    with PDict(f"{path}-mapping", "n") as d, pytest.raises(NotSerializable, match="Nothing was stored") as refused:
        d["a"] = lambda: None
    assert "serializer=" not in str(refused.value)


def test_what_is_no_serializer_is_refused(path: str) -> None:
    with pytest.raises(TypeError, match="not a serializer"):
        Queue(path, serializer=object())


def test_none_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A setting that was missing made a queue in the home, which nobody found again.
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    nowhere: Any = None
    for kind in (Queue, AsyncQueue):
        with pytest.raises(TypeError, match="path is the queue's directory"):
            kind(nowhere)
