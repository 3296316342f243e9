"""Stop markers of a process that has died, in a store that is opened again: dropped, counted, and quickly found."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters import live
from pqadapters.errors import DiskError
from pqadapters.stdlib._lines import objects
from pqadapters.stdlib.queue import Empty, LifoQueue, PriorityQueue, Queue, SimpleQueue
from pqadapters.store import Put, Set

from .background import Background, Watched
from .conftest import Place
from .programs import run
from .test_markers import STOP, crash, dropping

pytestmark = pytest.mark.exclusive

__all__ = ["crash"]  # a fixture
KILLED = -signal.SIGKILL


@pytest.fixture
def restarted(place: Place) -> Callable[[], Any]:
    return lambda: Queue(store=place.restart(), markers="drop")


# Those of a dead process


@pytest.mark.parametrize("kind", [Queue, LifoQueue, SimpleQueue], ids=lambda kind: kind.__name__)
def test_those_of_a_dead_process_are_dropped_and_counted(place: Place, crash: Callable[..., Any], kind: Any) -> None:
    q = dropping(place, kind)
    for item in (STOP, 1, None, 2, None):
        q.put(item)
    again = crash(kind)
    assert (again.qsize(), again.empty(), again.stats()["dropped"]) == (2, False, 3)
    assert sorted([again.get(), again.get()]) == [1, 2]
    with pytest.raises(Empty):
        again.get_nowait()


def test_a_priority_queue_drops_them_too(place: Place, crash: Callable[..., Any]) -> None:
    q = dropping(place, PriorityQueue)
    q.put_many([3, 1])
    q.put(None)
    again = crash(PriorityQueue)
    assert (again.qsize(), again.get(), again.get(), again.stats()["dropped"]) == (2, 1, 3, 1)
    q = dropping(place, PriorityQueue, name="objects")
    q.put(STOP)
    again = crash(PriorityQueue, name="objects")
    assert (again.qsize(), again.stats()["dropped"]) == (0, 1)
    with pytest.raises(Empty):
        again.get_nowait()


def test_nothing_waits_for_those_that_were_dropped(place: Place, crash: Callable[..., Any]) -> None:
    q = dropping(place)
    q.put_many([None, STOP])
    again = crash()
    assert (again.unfinished_tasks, again.empty(), list(again.queue)) == (0, True, [])
    again.join()
    again.put(1)
    assert again.get_many(5) == [1]


def test_one_that_was_handed_out_is_dropped_too(place: Place, crash: Callable[..., Any]) -> None:
    q = dropping(place)
    q.put_many([None, 1])
    q.get()
    again = crash()
    assert (again.get_many(5), again.stats()["dropped"]) == ([1], 1)


def test_a_delayed_one_is_dropped_when_it_is_due(place: Place, crash: Callable[..., Any]) -> None:
    q = dropping(place)
    q.put(None)
    q.get()
    q.nack(delay=3600)
    again = crash()
    assert (again.qsize(), again.stats()["delayed"]) == (0, 1)


@pytest.mark.parametrize("markers", ["keep", None])
def test_whoever_opens_the_store_next_drops_them(place: Place, crash: Callable[..., Any], markers: str | None) -> None:
    """No dead letters, no item that ends a worker, and no get() that waits in an empty queue that says it isn't."""
    dropping(place).put_many([STOP, 1, None])
    again = crash(markers=markers)
    assert (again.qsize(), again.get(), again.empty()) == (1, 1, True)
    assert (again.dead_letters(), again.stats()["dropped"]) == ([], 2)


def test_those_that_the_flag_does_not_tell_of_are_dropped_on_the_way(place: Place, crash: Callable[..., Any]) -> None:
    q = dropping(place)
    q.put_many([STOP, None])
    q._line.store.commit(Put("default", live.payload(77)))
    ((_, flag),) = q._line.store.scan(live.TABLE)
    q._line.store.commit(Set(live.TABLE, b"default", (1 << 40).to_bytes(8, "big")))
    assert int.from_bytes(flag, "big") < 10
    again = crash(markers=None)
    with pytest.raises(Empty):
        again.get_nowait()
    assert (again.dead_letters(), again.stats()["dropped"]) == ([], 3)


def test_the_objects_of_a_queue_that_was_closed_are_dropped(place: Place, restarted: Callable[[], Any]) -> None:
    q = dropping(place)
    q.put_many([STOP, 1, None])
    q.close()
    del q
    again = restarted()
    assert list(again.queue) == [1, None]  # None is the same in every queue of this process
    assert again.stats()["dropped"] == 1


class CountsReads(Watched):
    """A store that counts the records that are browsed."""

    read = 0

    def browse(self, queue: str, **options: Any) -> Iterator[Any]:
        for record in self._store.browse(queue, **options):
            self.read += 1
            yield record


def test_what_was_put_before_the_first_marker_is_not_read(place: Place, crash: Callable[..., Any]) -> None:
    q = dropping(place)
    q.put_many(range(3000))
    q.put(None)
    q.put(1)
    live._renew()
    store = CountsReads(place.restart())
    again: Queue[Any] = Queue(store=store, markers="drop")
    assert (store.read, again.qsize(), again.stats()["dropped"]) == (2, 3001, 1)


def test_where_there_never_was_a_marker_nothing_is_read(place: Place) -> None:
    dropping(place).put_many(range(50))
    store = CountsReads(place.restart())
    assert Queue[Any](store=store, markers="drop").qsize() == 50
    assert store.read == 0


def test_a_backlog_that_was_looked_through_once_is_not_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_MANY", 10)
    dropping(place).put_many([None, *range(30)])
    reads = []
    for _ in range(2):
        live._renew()
        store = CountsReads(place.restart())
        assert Queue[Any](store=store, markers="drop").qsize() == 30
        reads.append(store.read)
    assert reads == [31, 0]
    again = dropping(place)
    again.put(None)
    live._renew()
    again = dropping(place)
    assert (again.qsize(), again.stats()["dropped"]) == (30, 1)


def test_a_look_through_forgets_nobodys_live_markers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_MANY", 1)
    store = place.open()
    q: Queue[Any] = Queue(store=store, markers="drop")
    q.put_many([STOP, 1, None])
    Queue[Any](store=store, markers="drop")
    live._renew()
    again = Queue[Any](store=place.restart(), markers="drop")
    assert (again.qsize(), again.stats()["dropped"]) == (1, 2)


def test_the_flag_stands_before_the_first_marker(place: Place) -> None:
    """Another thread's marker waits until the store knows of it."""
    in_flag, go_on = threading.Event(), threading.Event()

    class Slow(Watched):
        def claim(self, queue: str, **options: Any) -> Any:
            if queue == live.TABLE and not in_flag.is_set():
                in_flag.set()
                go_on.wait()
            return super().claim(queue, **options)

    q: Queue[Any] = Queue(store=Slow(place.open()), markers="drop")
    first = Background(lambda: q.put(None))
    in_flag.wait()
    q.put(None)
    go_on.set()
    first.result()
    live._renew()
    again = Queue[Any](store=place.restart(), markers="drop")
    assert (again.qsize(), again.stats()["dropped"]) == (0, 2)


def test_a_flag_that_could_not_be_kept_is_kept_with_the_next_marker(place: Place, crash: Callable[..., Any]) -> None:
    class Fails(Watched):
        full = True

        def commit(self, *ops: Any, **options: Any) -> Any:
            if self.full:
                raise DiskError(28, "disk full")
            return super().commit(*ops, **options)

    store = Fails(place.open())
    q: Queue[Any] = Queue(store=store, markers="drop")
    with pytest.raises(DiskError):
        q.put(None)
    store.full = False
    q.put(None)
    again = crash()
    assert (again.qsize(), again.stats()["dropped"]) == (0, 1)


def test_a_marker_from_a_finalizer_in_the_middle_of_a_put(place: Place, crash: Callable[..., Any]) -> None:
    """Its commit is put off until the interrupted one is done; so is what the store is to know of it."""
    q = dropping(place)

    def stop() -> bool:
        if not done:
            done.append(True)
            q.put(None)
        return False

    done: list[bool] = []
    q._line.store.commit(Put("default", q._line.encode(1)), stop=stop)
    assert (q.get(), q.get()) == (1, None)
    again = crash()
    assert (again.get(), again.stats()["dropped"]) == (1, 1)


# Queues without a name or path


def test_unnamed_markers_end_with_their_process(tmp_path: Path) -> None:
    program = """
    q = Queue()
    stop = object()
    q.put_many([1, None, 2, stop])
    assert [q.get(), q.get(), q.get()] == [1, None, 2]
    q.put_many([3, stop, None])
    assert q.get() is stop
    q.nack(stop)
    assert list(q.queue) == [stop, 3, stop, None]
    crash()
    """
    run(program, tmp_path, status=KILLED)
    look = """
    q = Queue()
    print(q.qsize(), q.empty(), q.unfinished_tasks, list(q.queue), q.stats()["dropped"])
    for _ in range(3): q.get(); q.task_done()
    q.join()
    """
    assert run(look, tmp_path).out == "3 False 3 [1, 2, 3] 4"


def test_unnamed_markers_of_adopted_slots_end_with_their_process(tmp_path: Path) -> None:
    program = """
    q = Queue()
    seen, say = os.pipe()
    children = []
    for i in range(3):
        children.append(os.fork())
        if children[-1] == 0:
            q.put_many([i, None, object()])
            os.write(say, b".")
            signal.pause()
    for child in children:
        os.read(seen, 1)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    """
    run(program, tmp_path)
    look = "q = Queue(); print(q.qsize(), sorted(q.queue), q.unfinished_tasks, q.stats()['dropped'])"
    assert run(look, tmp_path).out == "3 [0, 1, 2] 3 6"


@pytest.mark.parametrize(
    ("kind", "found"), [("LifoQueue", "2 2 2"), ("PriorityQueue", "2 1 2"), ("SimpleQueue", "1 2 2")]
)
def test_unnamed_kinds(tmp_path: Path, kind: str, found: str) -> None:
    program = f"q = {kind}(); q.put(1); q.put(None)\nassert None in (q.get(), q.get())\nq.put(2); q.put(None); crash()"
    run(program, tmp_path, status=KILLED)
    assert run(f"q = {kind}(); print(q.qsize(), q.get(), q.stats()['dropped'])", tmp_path).out == found


def test_unnamed_none_may_be_an_item(tmp_path: Path) -> None:
    program = """
    q = Queue(markers="keep")
    q.put(None)
    try: q.put(object())
    except TypeError as error: print(error)
    crash()
    """
    assert "another object()" in run(program, tmp_path, status=KILLED).out
    assert run("q = Queue(markers='keep'); print(list(q.queue))", tmp_path).out == "[None]"


def test_a_path_that_drops_markers_across_a_crash(tmp_path: Path) -> None:
    program = f"q = Queue(path={str(tmp_path / 'q')!r}, markers='drop'); "
    run(program + "q.put_many([object(), 1, None]); crash()", tmp_path, status=KILLED)
    assert run(program + "print(list(q.queue), q.stats()['dropped'])", tmp_path).out == "[1] 2"


def test_unnamed_what_is_left_in_a_queue_for_each_call_is_no_letter_if_it_is_a_marker(tmp_path: Path) -> None:
    program = """
    def call(i):
        q = Queue()
        q.put_many([None, i, object()])
    for i in range(3): call(i)
    """
    look = """
    def call():
        q = Queue()
        print([letter.item for letter in q.dead_letters()], q.qsize())
    call()
    """
    run(program, tmp_path)
    assert run(look, tmp_path).out == "[0, 1, 2] 0"
