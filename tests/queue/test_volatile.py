"""Items that can't be serialised: refused, or with volatile="warn" kept in memory, in their place, with a warning."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from pqadapters import live
from pqadapters.errors import DiskError, NotDurableWarning, NotSerializable, ShutDown
from pqadapters.stdlib.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, SimpleQueue

from .conftest import Place
from .programs import run

KILLED = -signal.SIGKILL
STOP = object()
#: The tests' warnings are of no interest, but where they are the test.
pytestmark = [
    pytest.mark.exclusive,
    pytest.mark.filterwarnings("ignore::pqadapters.errors.NotDurableWarning"),
]


class Unpicklable:
    """What can be referred to weakly, and can't be serialised."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def keeping(place: Place, kind: Any = Queue, **options: Any) -> Any:
    return kind(store=place.open(), volatile="warn", **options)


@pytest.fixture
def caught() -> Iterator[list[warnings.WarningMessage]]:
    """Warnings as the default filter of a program shows them: once for each line and text."""
    with warnings.catch_warnings(record=True) as found:
        warnings.resetwarnings()
        warnings.simplefilter("default", NotDurableWarning)
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
        yield found


KINDS: list[Any] = [Queue, LifoQueue, SimpleQueue]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_same_object_comes_back_in_its_place(place: Place, kind: Any, tmp_path: Path) -> None:
    q = keeping(place, kind)
    with open(tmp_path / "file", "w") as file:
        items = [1, threading.Lock(), lambda: 2, "two", file, (3, sys.stderr), Unpicklable(), (i for i in "")]
        for item in items:
            q.put(item)
        got = [q.get() for _ in items]
        came = got[::-1] if kind is LifoQueue else got
        assert [found is item for item, found in zip(items, came, strict=True) if item not in (1, "two")] == [True] * 6
        assert (came[0], came[3]) == (1, "two")


class Failed(Exception):
    """Pickled with the text alone, which its `__init__` doesn't take."""

    def __init__(self, job: int, why: str) -> None:
        super().__init__(f"{job}: {why}")


class Proxy:
    """Loaded, it has no `_of` yet, and asks itself for it."""

    def __init__(self, of: object) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


@pytest.mark.parametrize("kind", [*KINDS, PriorityQueue], ids=lambda kind: kind.__name__)
def test_what_could_not_be_loaded_again_is_kept_as_well(place: Place, kind: Any, caught: list[Any]) -> None:
    q = keeping(place, kind)
    items = [(1, Failed(7, "no")), (2, "error", Failed(8, "no")), (3, Proxy("of this")), (4, Path("a"))]
    for item in items:
        q.put(item)
    got = [q.get_nowait() for _ in items]
    came = got[::-1] if kind is LifoQueue else got
    assert [found is item for item, found in zip(items, came, strict=True)] == [True, True, True, False]
    assert came[3] == items[3]
    assert [str(each.message).count("can't be serialised") for each in caught] == [1, 1]  # one for both errors


def test_a_priority_queue_orders_them_as_python_does(place: Place) -> None:
    class Job:
        def __init__(self, priority: int) -> None:
            self.priority, self.call = priority, lambda: priority

        def __lt__(self, other: Job) -> bool:
            return self.priority < other.priority

    jobs = [Job(3), Job(1), Job(2)]
    q = keeping(place, PriorityQueue)
    q.put_many(jobs)
    assert [q.get() for _ in jobs] == [jobs[1], jobs[2], jobs[0]]
    calls = [(2, jobs[0].call), (1, jobs[1].call)]
    q.put_many(calls)
    assert q.get() is calls[1]


def test_they_come_back_after_a_nack_and_to_another_handle(place: Place) -> None:
    store = place.open()
    q: Queue[Any] = Queue(store=store, volatile="warn")
    item = Unpicklable()
    q.put_many([item, 1])
    assert q.get() is item
    q.nack()
    assert q.peek() is item
    assert list(q.queue) == [item, 1]
    assert Queue[Any](store=store).get() is item


def test_of_the_queues_of_one_place_the_warning_is_the_same(
    caught: list[warnings.WarningMessage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It named the directory of each from its second item on: a server that makes them as users come had it in its log
    for each user."""
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    queues: list[Queue[Any]] = [Queue(volatile="warn") for _ in range(3)]
    for q in queues * 2:
        q.put(threading.Lock())
    assert len({q.stats()["place"] for q in queues}) == 3
    (told,) = [str(each.message) for each in caught]
    assert told.startswith("queue 'default' in the home of this application (of tests.queue.test_volatile.")


def test_what_can_be_serialised_comes_back_as_a_copy_as_ever(place: Place) -> None:
    q = keeping(place)
    item = [1]
    q.put(item)
    found = q.get()
    assert found == item
    assert found is not item


def test_they_are_gone_with_their_process_and_counted(place: Place) -> None:
    q = keeping(place)
    q.put_many([Unpicklable(), 1, lambda: None])
    live._renew()  # as in another process, whose random name differs
    again: Queue[Any] = Queue(store=place.restart())
    assert (again.qsize(), again.unfinished_tasks, again.stats()["dropped"]) == (1, 1, 2)
    assert (again.get(), again.dead_letters()) == (1, [])


@pytest.mark.parametrize("where", ["Queue(volatile='warn')", "Queue(path=os.environ['HERE'], volatile='warn')"])
def test_they_are_gone_after_a_crash_and_counted(tmp_path: Path, where: str) -> None:
    program = f"q = {where}; q.put_many([threading.Lock(), 1, lambda: 2]); assert q.get() is not None; crash()"
    done = run(program, tmp_path, status=KILLED, HERE=str(tmp_path / "q"))
    assert done.err.count("NotDurableWarning") == 2
    look = f"q = {where}; print(q.qsize(), list(q.queue), q.stats()['dropped'])"
    assert run(look, tmp_path, HERE=str(tmp_path / "q")).out == "1 [1] 2"


# Refused


@pytest.mark.parametrize("options", [{}, {"volatile": "raise"}, {"volatile": "raise", "markers": "drop"}], ids=str)
def test_the_refusal_names_the_choices(place: Place, options: dict[str, Any]) -> None:
    q: Queue[Any] = Queue(store=place.open(), **options)
    ways: list[Callable[[Any], object]] = [q.put, lambda item: q.put_many([1, item])]
    for put in ways:
        with pytest.raises(NotSerializable, match="Nothing was stored") as refused:
            put(threading.Lock())
        text = str(refused.value)
        assert all(word in text for word in ("_thread.lock", "cannot pickle", "serializer=", 'volatile="warn"'))
        assert isinstance(refused.value, TypeError)
    assert q.qsize() == q.unfinished_tasks == 0


def test_volatile_is_one_of_two_words(place: Place) -> None:
    with pytest.raises(ValueError, match="volatile is one of 'raise', 'warn', not 'maybe'"):
        Queue(store=place.open(), volatile="maybe")


def test_a_bare_object_is_kept_like_any_other_volatile_item(place: Place) -> None:
    """markers="keep" takes `None` for an item, and would refuse it for want of another way."""
    q = keeping(place, markers="keep")
    q.put_many([STOP, None])
    assert q.get() is STOP
    live._renew()
    assert Queue[Any](store=place.restart()).get_many(5) == [None]


@pytest.mark.parametrize("volatile", ["warn", "raise"])
def test_a_signal_handlers_exception_is_not_blamed_on_the_item(place: Place, volatile: str) -> None:
    q: Queue[Any] = Queue(store=place.open(), volatile=volatile)
    dumps, failures = q._line.dumps, [LookupError("from a handler")]

    def interrupted(item: object) -> bytes:
        if failures:
            raise failures.pop()
        return dumps(item)

    q._line.dumps = interrupted
    with pytest.raises(LookupError, match="from a handler"):
        q.put([1])
    q.put([1])
    assert (q.get(), q.qsize()) == ([1], 0)


def test_an_interrupt_while_an_item_is_serialised_stores_nothing(place: Place) -> None:
    class Interrupted:
        def __reduce__(self) -> Any:
            raise KeyboardInterrupt

    q = keeping(place)
    with pytest.raises(KeyboardInterrupt):
        q.put(Interrupted())
    assert q.qsize() == 0


# The warning


def test_the_warning_points_at_the_callers_put_and_is_shown_once(place: Place, caught: list[Any]) -> None:
    q = keeping(place)
    for _ in range(3):
        q.put(Unpicklable())
    assert len(caught) == 1
    message = str(caught[0].message)
    assert all(word in message for word in ("memory alone", "Unpicklable", "_thread.lock", "lost in a crash"))
    assert caught[0].filename == __file__
    q.put(Unpicklable())  # another line
    assert len(caught) == 2
    assert caught[1].lineno > caught[0].lineno


WAYS: dict[str, Callable[[Any, Any], object]] = {
    "put": lambda q, item: q.put(item),
    "put_nowait": lambda q, item: q.put_nowait(item),
    "put_many": lambda q, item: q.put_many([item]),
    "put_many, generator": lambda q, item: q.put_many(iter([item]), timeout=1),
    "append": lambda q, item: q.queue.append(item),
    "replace": lambda q, item: setattr(q, "queue", [item]),
}


class Hooked(Queue[Any]):
    def _put(self, item: Any) -> None:
        super()._put(item)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Queue, PriorityQueue], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("maxsize", [0, 9])
def test_the_warning_points_here_whichever_way(
    place: Place, caught: list[Any], way: str, kind: Any, maxsize: int
) -> None:
    WAYS[way](keeping(place, kind, maxsize=maxsize), Unpicklable())
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("way", ["put", "put_nowait"])
@pytest.mark.parametrize("kind", [Hooked, SimpleQueue], ids=lambda kind: kind.__name__)
def test_the_warning_points_here_from_a_hook_and_a_simple_queue(
    place: Place, caught: list[Any], way: str, kind: Any
) -> None:
    WAYS[way](keeping(place, kind), Unpicklable())
    assert [warning.filename for warning in caught] == [__file__]


def test_the_same_reason_is_the_same_warning_whatever_the_address(place: Place, caught: list[Any]) -> None:
    q = keeping(place)
    kept: list[Any] = [eval("lambda: 1") for _ in range(5)]
    for item in kept:
        q.put(item)
    assert len(caught) == 1
    assert " at 0x" not in str(caught[0].message)


def test_a_warning_that_is_an_error_stores_nothing(place: Place) -> None:
    q = keeping(place)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotDurableWarning)
        with pytest.raises(NotDurableWarning):
            q.put(Unpicklable())
    assert q.qsize() == 0
    assert not q._line.objects._own


# What is kept of them


ENDS: dict[str, Callable[[Any], object]] = {
    "task_done": lambda q: (q.get(), q.task_done()),
    "task_done(item)": lambda q: q.task_done(q.get()),
    "clear": lambda q: q.queue.clear(),
    "remove": lambda q: q.queue.remove(q.peek()),
}


@pytest.mark.parametrize(
    ("handle", "end"), [("its own", end) for end in ENDS] + [("another", end) for end in ENDS if end != "clear"]
)
def test_an_object_is_let_go_of_when_its_record_is_gone(place: Place, handle: str, end: str) -> None:
    store = place.open()
    q: Queue[Any] = Queue(store=store, markers="drop", volatile="warn")
    taker = q if handle == "its own" else Queue[Any](store=store)
    gone = [weakref.ref(item) for item in put_some(q, 1)]
    gc.collect()
    assert gone[0]() is not None
    ENDS[end](taker)
    gc.collect()
    assert gone[0]() is None


def put_some(q: Any, count: int) -> list[Unpicklable]:
    items = [Unpicklable() for _ in range(count)]
    for item in items:
        q.put(item)
    return items


@pytest.mark.parametrize("ack", ["get", "next"])
def test_an_object_is_let_go_of_under_the_other_policies(place: Place, ack: str) -> None:
    q = keeping(place, ack=ack)
    gone = [weakref.ref(item) for item in put_some(q, 2)]
    q.get()
    q.get()
    gc.collect()
    assert [ref() is None for ref in gone] == [True, ack == "get"]


def test_a_simple_queue_lets_go_of_objects(place: Place) -> None:
    q = keeping(place, SimpleQueue)
    gone = [weakref.ref(item) for item in put_some(q, 2)]
    q.get()
    q.get()
    gc.collect()
    assert [ref() is None for ref in gone] == [True, True]
    assert (q.stats()["claimed"], q.stats()["held"]) == (0, 0)


def test_a_simple_queue_lets_go_of_an_object_later_where_its_store_refuses(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = keeping(place, SimpleQueue)
    gone = [weakref.ref(item) for item in put_some(q, 2)]
    with monkeypatch.context() as patch:
        patch.setattr(q._line, "commit", Mock(side_effect=DiskError(28, "full", "there")))
        assert type(q.get()) is Unpicklable
        gc.collect()
        assert (gone[0]() is None, q.stats()["held"]) == (False, 1)
    q.get()
    gc.collect()
    assert ([ref() is None for ref in gone], q.stats()["held"]) == ([True, True], 0)


def test_a_dead_letter_keeps_its_object_and_so_does_the_record_that_comes_of_it(place: Place) -> None:
    q = keeping(place, max_attempts=1)
    q.put(STOP)
    q.get()
    q.nack()
    with pytest.raises(Empty):
        q.get_nowait()
    gc.collect()
    assert [letter.item is STOP for letter in q.dead_letters()] == [True]
    assert q.requeue() == 1
    gc.collect()
    assert q.get() is STOP
    q.task_done()
    assert not q._line.objects._own


def test_an_object_that_could_not_be_put_is_let_go_of(place: Place) -> None:
    q = keeping(place, maxsize=1)
    q.put(1)
    with pytest.raises(Full):
        q.put(Unpicklable(), timeout=0)
    with pytest.raises(Full):
        q.put_nowait(STOP)
    plain = keeping(place, name="plain")
    plain.shutdown()
    with pytest.raises(ShutDown):
        plain.put(Unpicklable())
    refuses = Queue[Any](store=place.open(), markers="drop", name="refuses")
    with pytest.raises(NotSerializable):
        refuses.put_many([STOP, lambda: None])
    assert [each._line.objects._own for each in (q, plain, refuses)] == [{}] * 3
