"""Subclasses: hooks that call ours, hooks that replace ours, attributes of their own."""

from __future__ import annotations

import queue
import threading
import warnings
from collections import deque
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import pytest

from pqadapters.errors import NotDurableWarning, ShutDown
from pqadapters.stdlib.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, SimpleQueue
from pqadapters.store import Store

from .background import PATIENCE, Background, Watched
from .conftest import Place
from .programs import run


class Uppercase(Queue[str]):
    """Hooks around ours."""

    def _put(self, item: str) -> None:
        assert self.mutex.locked()
        super()._put(item.upper())

    def _get(self) -> str:
        assert self.mutex.locked()
        return super()._get() + "!"


class Unique(Queue[Any]):
    """The well-known recipe: what is in the queue already is dropped, and isn't counted."""

    def _put(self, item: Any) -> None:
        if item in self.queue:
            self.unfinished_tasks -= 1
        else:
            self.queue.append(item)


class SetQueue(Queue[Any]):
    """The other well-known recipe, with a container of its own."""

    def _init(self, maxsize: int) -> None:
        self.queue = set()

    def _put(self, item: Any) -> None:
        self.queue.add(item)

    def _get(self) -> Any:
        return self.queue.pop()


class AllItsOwn(Queue[Any]):
    """Nothing of ours is left."""

    def _init(self, maxsize: int) -> None:
        self.things: list[Any] = []

    def _qsize(self) -> int:
        return len(self.things)

    def _put(self, item: Any) -> None:
        self.things.append(item)

    def _get(self) -> Any:
        return self.things.pop()


class Weighed(Queue[str]):
    """maxsize counts characters."""

    def _qsize(self) -> int:
        return sum(len(item) for item in self.queue)


def test_hooks_around_ours_are_durable(place: Place) -> None:
    q = Uppercase(store=place.open())
    q.put("a")
    q.put("b")
    assert q.get() == "A!"
    q.task_done()
    q = Uppercase(store=place.restart())
    assert list(q.queue) == ["B"]
    assert (q.unfinished_tasks, q.get(timeout=5)) == (1, "B!")


def test_hooks_block_time_out_and_wake_as_ever(store: Store) -> None:
    watched = Watched(store)
    q = Uppercase(1, store=watched)
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    getter = Background(q.get)
    watched.settled()
    q.put("a")
    assert getter.result() == "A!"
    q.put("b")
    with pytest.raises(Full):
        q.put("c", timeout=0.01)
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-1)
    putter = Background(lambda: q.put("c"))
    assert q.get() == "B!"
    putter.result()
    assert q.get_many(5) == ["C!"]


def test_a_hooked_get_waits_for_what_another_handle_puts(place: Place) -> None:
    watched = Watched(place.open())
    q = Uppercase(store=watched)
    getter = Background(q.get)
    watched.settled()
    Queue[str](store=place.open()).put("x")
    assert getter.result() == "x!"


def test_a_put_hook_that_raises_leaves_the_queue_intact(store: Store) -> None:
    class Fails(Queue[int]):
        def _put(self, item: int) -> None:
            raise LookupError("no")

    q = Fails(store=store)
    with pytest.raises(LookupError):
        q.put(1)
    assert (q.qsize(), q.unfinished_tasks, q.mutex.locked()) == (0, 0, False)


def test_a_get_hook_that_raises_behind_our_get_gives_the_item_back(store: Store) -> None:
    class Fails(Queue[int]):
        def _get(self) -> int:
            super()._get()
            raise LookupError("no")

    q = Fails(store=store)
    q.put(1)
    q.put(2)
    with pytest.raises(LookupError):
        q.get()
    assert list(q.queue) == [1, 2]
    assert (q.unfinished_tasks, q._line.held.own(), q.mutex.locked()) == (2, {}, False)


def test_a_recipe_that_drops_duplicates_counts_as_by_the_standard_library(store: Store) -> None:
    q = Unique(store=store)
    for item in (1, 2, 1, 1):
        q.put(item)
    assert (q.qsize(), q.unfinished_tasks) == (2, 2)
    for _ in range(2):
        q.get()
        q.task_done()
    q.join()


def test_a_hook_that_drops_without_saying_so_leaves_a_task_as_by_the_standard_library(store: Store) -> None:
    class Drops(Queue[int]):
        def _put(self, item: int) -> None:
            if item:
                super()._put(item)

    q = Drops(store=store)
    q.put(0)
    q.put(1)
    assert (q.qsize(), q.unfinished_tasks) == (1, 2)
    q.get()
    q.task_done()
    q.task_done()
    q.join()


def test_a_size_of_its_own_bounds_the_queue(store: Store) -> None:
    watched = Watched(store)
    q = Weighed(4, store=watched)
    q.put("abc")
    q.put("d")
    with pytest.raises(Full):
        q.put_nowait("e")
    putter = Background(lambda: q.put("e"))
    while not q.not_full.waiting:
        assert putter.thread.is_alive()
    assert q.get() == "abc"
    putter.result()
    assert q.qsize() == 2
    assert not watched.waiting.is_set(), "the store can't know when there is room"


def test_a_hooked_queue_that_holds_more_than_maxsize_takes_no_more(place: Place) -> None:
    Uppercase(store=place.open()).put_many("abc")
    q = Uppercase(2, store=place.restart())
    with pytest.raises(Full):
        q.put_nowait("d")


@pytest.mark.parametrize("kind", [SetQueue, AllItsOwn])
def test_a_container_of_its_own_is_served_from_memory_with_a_warning(place: Place, kind: Any) -> None:
    store = place.open()
    with pytest.warns(NotDurableWarning, match=kind.__name__):
        q = kind(2, store=store)
    q.put(1)
    q.put(2)
    with pytest.raises(Full):
        q.put_nowait(3)
    assert (q.qsize(), q.unfinished_tasks, store.depth("default").ready) == (2, 2, 0)
    assert {q.get(), q.get()} == {1, 2}
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    q.task_done()
    q.task_done()
    q.join()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    with pytest.raises(TypeError, match="container of its own"):
        q.dead_letters()
    assert "not durable" in repr(q)
    q.close()


def test_a_queue_in_memory_holds_the_very_objects(store: Store) -> None:
    with pytest.warns(NotDurableWarning):
        q = SetQueue(store=store)
    item = object()
    q.put(item)
    assert q.get() is item


def test_a_queue_in_memory_wakes_and_shuts_down(store: Store) -> None:
    with pytest.warns(NotDurableWarning):
        q = SetQueue(store=store)
    getter = Background(q.get)
    q.put(1)
    assert getter.result() == 1
    q.put(2)
    getter = Background(lambda: (q.get(), q.get()))
    q.shutdown()
    with pytest.raises(ShutDown):
        getter.result()
    with pytest.raises(ShutDown):
        q.put(1)


def test_a_queue_in_memory_is_emptied_by_an_immediate_shutdown(store: Store) -> None:
    with pytest.warns(NotDurableWarning):
        q = SetQueue(store=store)
    q.put(1)
    q.shutdown(immediate=True)
    assert (q.qsize(), q.unfinished_tasks) == (0, 0)
    with pytest.raises(ShutDown):
        q.get()


def test_an_own_container_with_the_hooks_left_alone_is_a_warning_too(store: Store) -> None:
    class Bounded(Queue[int]):
        def _init(self, maxsize: int) -> None:
            self.queue = deque(maxlen=2)

    with pytest.warns(NotDurableWarning):
        q = Bounded(store=store)
    for i in range(3):
        q.put(i)
    assert [q.get(), q.get()] == [1, 2]


def test_a_container_that_is_exchanged_later_with_hooks_is_a_warning_too(store: Store) -> None:
    q = Uppercase(store=store)
    with pytest.warns(NotDurableWarning):
        q.queue = set()


def test_no_warning_where_nothing_is_lost(store: Store) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in (Queue, LifoQueue, PriorityQueue, Uppercase, Unique, Weighed):
            kind(store=store)


def test_attributes_that_are_set_before_our_constructor_stay(store: Store) -> None:
    class Named(Queue[int]):
        def __init__(self) -> None:
            self.name = "mine"
            self.close = "mine, too"  # type: ignore[assignment, method-assign]
            super().__init__(store=store, name="jobs")

    q = Named()
    q.put(1)
    assert (q.name, vars(q)["close"], q.get()) == ("mine", "mine, too", 1)


def test_subclasses_of_put_and_get_work(store: Store) -> None:
    class Tagged(PriorityQueue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            super().put((-item, item), block, timeout)

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return super().get(block, timeout)[1]

    q = Tagged(store=store)
    for i in (1, 3, 2):
        q.put_nowait(i)
    assert [q.get_nowait() for _ in range(3)] == [3, 2, 1]


def test_what_would_go_past_a_hook_is_refused(store: Store) -> None:
    q = Uppercase(store=store)
    q.put("a")
    with pytest.raises(TypeError, match="_get"):
        q.peek()
    with pytest.raises(TypeError, match="_get"), q.lease():
        pass
    assert q.get_nowait() == "A!"


def test_many_go_through_the_hooks_one_by_one(store: Store) -> None:
    q = Uppercase(store=store)
    q.put_many("abc")
    assert q.get_many(2) == ["A!", "B!"]
    assert q.get_many(2) == ["C!"]


def test_the_classes_are_the_standard_librarys_subclasses_with_its_names() -> None:
    import pqadapters.stdlib.queue as ours

    for name in ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"):
        kind = getattr(ours, name)
        assert issubclass(kind, getattr(queue, name))
        assert (kind.__name__, kind.__module__.partition(".")[0]) == (name, "pqadapters")
    assert issubclass(ours.LifoQueue, ours.Queue)
    assert repr(ours.Queue[int]).endswith("Queue[int]")


def test_a_shutdown_reaches_a_hooked_put_and_get(store: Store) -> None:
    q = Uppercase(1, store=store)
    q.put("a")
    start = threading.Barrier(2)
    putter = Background(lambda: (start.wait(), q.put("b")))
    start.wait()
    q.shutdown()
    with pytest.raises(ShutDown):
        putter.result()
    assert q.get() == "A!"
    with pytest.raises(ShutDown):
        q.get()


def test_a_hooked_queue_may_be_what_the_log_goes_to(tmp_path: Path) -> None:
    """What the queue itself says is put into it, behind the put that it is about."""
    program = """
    import logging, logging.handlers
    class Lines(Queue):
        def _put(self, item): super()._put(item)
        def _get(self): return super()._get()
    lines = Lines()
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.handlers.QueueHandler(lines))
    logging.info("mine")
    found = [lines.get().getMessage() for _ in range(lines.qsize())]
    print(found[0], len(found) > 1)
    """
    assert run(program, tmp_path) == ("mine True", "")


def test_empty_and_full_ask_no_qsize_of_a_subclass(store: Store) -> None:
    """As the standard library's: one that asks them was a RecursionError."""

    class Weighed(Queue[int]):
        def qsize(self) -> int:
            return 0 if self.empty() else sum(self.queue)

    q = Weighed(3, store=store)
    assert (q.empty(), q.full(), q.qsize()) == (True, False, 0)
    q.put(7)
    assert (q.empty(), q.full(), q.qsize()) == (False, False, 7)
    q.get()
    assert (q.empty(), q.qsize()) == (True, 0)


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_hook_that_is_replaced_in_one_queue(tmp_path: Path, kind: Any) -> None:
    """As programs do that wait for several queues; it was never called."""
    q, other, seen = kind(path=tmp_path / "q"), kind(path=tmp_path / "other"), []
    before = q._put

    def put(self: Any, item: int) -> None:
        assert self.mutex.locked()
        before(item)
        seen.append(item)

    q._put = MethodType(put, q)
    q.put(1)
    q.put_many([2, 3])
    other.put(0)
    assert seen == [1, 2, 3]
    q._put = before
    q.put(4)
    assert seen == [1, 2, 3]
    assert sorted(q.get() for _ in range(4)) == [1, 2, 3, 4]
    assert q._seam.plain is (kind is not PriorityQueue)


def test_other_hooks_that_are_replaced_in_one_queue(tmp_path: Path) -> None:
    q: Any = Queue(maxsize=1, path=tmp_path / "q")
    q._get, q._qsize = (lambda get=q._get: (get(), "got")), lambda: 0
    q.put(1)
    q.put(2)
    assert q.qsize() == 0
    del q._qsize
    assert q.qsize() == 2
    assert q.get() == (1, "got")
    with pytest.raises(AttributeError):
        del q._qsize
    del q._get
    assert q.get() == 2


def break_off(q: Any) -> None:
    """As beets ends its pipelines: a queue that is never empty or full from now on, and gives nothing but None."""
    with q.mutex:
        q._qsize, q._put, q._get = lambda: 1, lambda item: None, lambda: None
        q.not_empty.notify_all()
        q.not_full.notify_all()


@pytest.mark.parametrize("kind", [Queue, PriorityQueue, Uppercase])
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_hooks_that_are_replaced_while_somebody_waits_for_an_item(store: Store, kind: Any, timeout: Any) -> None:
    """It waited for an item that nobody would put any more."""
    watched = Watched(store)
    q = kind(store=watched)
    getter = Background(lambda: q.get(timeout=timeout))
    watched.settled()
    break_off(q)
    assert getter.result() is None


@pytest.mark.parametrize("kind", [Queue, PriorityQueue, Uppercase])
def test_hooks_that_are_replaced_while_somebody_waits_for_room(store: Store, kind: Any) -> None:
    watched = Watched(store)
    q = kind(2, store=watched)
    q.put_many(["a", "b"])
    putters = [Background(lambda: q.put("c"))]
    watched.settled()
    watched.waiting.clear()
    if kind is not Uppercase:  # whose hooks get items one by one
        putters.append(Background(lambda: q.put_many(["d", "e"])))
        watched.settled()
    break_off(q)
    for putter in putters:
        putter.result()
    del q._qsize
    assert q.qsize() == 2


@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
def test_a_hook_that_comes_and_goes_ends_no_wait(store: Store, kind: Any) -> None:
    watched, seen = Watched(store), []
    q: Any = kind(1, store=watched)
    before = q._put
    for _ in range(2):
        watched.waiting.clear()
        getter = Background(q.get)
        watched.settled()
        q._put = lambda item: (seen.append(item), before(item))
        del q._put
        q._get = lambda get=q._get: ("got", get())
        q.put(1)
        assert getter.result() == ("got", 1)
        del q._get
    assert seen == []
    q.put(2)
    watched.waiting.clear()
    putter = Background(lambda: q.put(3))
    watched.settled()
    q._put = lambda item: (seen.append(item), before(item))
    assert q.get() == 2
    putter.result()
    assert (seen, q.get()) == ([3], 3)
    q.shutdown()
    del q._put
    with pytest.raises(ShutDown):
        q.put(4)
    with pytest.raises(ShutDown):
        q.get()


@pytest.mark.parametrize("hooked", [False, True])
def test_a_shutdown_behind_a_replaced_hook_ends_a_wait(store: Store, hooked: bool) -> None:
    watched = Watched(store)
    q: Any = Queue(store=watched)
    q._get = q._get.__func__.__get__(q) if hooked else (lambda: 0)
    if not hooked:
        del q._get
    getter = Background(q.get)
    watched.settled()
    q.shutdown()
    with pytest.raises(ShutDown):
        getter.result()


def test_a_hook_that_is_set_before_the_constructor_runs(tmp_path: Path) -> None:
    class Early(Queue[int]):
        def __init__(self) -> None:
            self._put = self.put_twice  # type: ignore[method-assign]
            super().__init__(path=tmp_path / "q")

        def put_twice(self, item: int) -> None:
            Queue._put(self, item)
            Queue._put(self, item)

    q = Early()
    q.put(1)
    assert [q.get(timeout=1), q.get(timeout=1)] == [1, 1]


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("others", [False, True])
def test_locks_of_the_programs_own(place: Place, kind: Any, others: bool) -> None:
    """A put stored the item, and was an AttributeError then."""
    q = kind(store=place.open())
    q.mutex = threading.RLock()
    if others:
        for name in ("not_empty", "not_full", "all_tasks_done"):
            setattr(q, name, threading.Condition(q.mutex))
    with q.mutex:
        q.put_many([1, 2])
        assert (q.get(), q.qsize(), q.unfinished_tasks) == (2 if kind is LifoQueue else 1, 1, 2)
    q.task_done()
    q.unfinished_tasks += 1
    assert q.unfinished_tasks == 2
    q.unfinished_tasks -= 1
    getter = Background(lambda: (q.get(), q.get()))
    q.put(3)
    getter.result()
    q.close()
    assert sorted(kind(store=place.restart()).queue) == ([1, 3] if kind is LifoQueue else [2, 3])


def test_conditions_of_the_programs_own_are_notified(tmp_path: Path) -> None:
    q: Any = Queue(path=tmp_path / "q")
    q.mutex, entered = threading.RLock(), threading.Semaphore(0)
    for name in ("not_empty", "not_full", "all_tasks_done"):
        setattr(q, name, threading.Condition(q.mutex))

    def await_(condition: threading.Condition, there: Any) -> None:
        with condition:
            entered.release()
            assert condition.wait_for(there, timeout=30)

    getter = Background(lambda: await_(q.not_empty, q.qsize))
    assert entered.acquire(timeout=30)
    q.put(1)
    getter.result()
    q.maxsize = 1
    putter = Background(lambda: await_(q.not_full, q.empty))
    joiner = Background(lambda: await_(q.all_tasks_done, lambda: not q.unfinished_tasks))
    assert entered.acquire(timeout=30)
    assert entered.acquire(timeout=30)
    assert q.get() == 1
    q.task_done()
    putter.result()
    joiner.result()
    q.shutdown()


def test_a_put_with_the_programs_own_lock_held_waits_without_it(store: Store) -> None:
    watched = Watched(store)
    q: Any = Queue(1, store=watched)
    q.mutex = threading.RLock()
    for name in ("not_empty", "not_full", "all_tasks_done"):
        setattr(q, name, threading.Condition(q.mutex))

    def put() -> None:
        with q.mutex:
            q.put(2)

    q.put(1)
    putter = Background(put)
    watched.settled()
    assert Background(q.get).result() == 1
    putter.result()
    assert q.get() == 2


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("newer", [False, True])
def test_a_constructor_that_is_written_out(tmp_path: Path, kind: Any, newer: bool) -> None:
    """As in old recipes: what they do without ours was an AttributeError."""

    class Old(kind):  # type: ignore[misc]
        def __init__(self, maxsize: int = 0) -> None:
            self.maxsize = maxsize
            self._init(maxsize)
            self.mutex = threading.Lock()
            self.not_empty = threading.Condition(self.mutex)
            self.not_full = threading.Condition(self.mutex)
            self.all_tasks_done = threading.Condition(self.mutex)
            self.unfinished_tasks = 0
            if newer:
                self.is_shutdown = False

    q = Old(2)
    lock = q.mutex
    with pytest.warns(NotDurableWarning, match="Old has a constructor of its own"):
        q.put(3)
    q.put(1)
    with pytest.raises(Full):
        q.put_nowait(2)
    assert (q.mutex is lock, sorted(q.queue), q.unfinished_tasks) == (True, [1, 3], 2)
    getter = Background(lambda: sorted(q.get() for _ in range(3)))
    q.put(2)
    assert getter.result() == [1, 2, 3]
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    for _ in range(3):
        q.task_done()
    q.join()
    q.close()


def test_what_is_set_before_the_constructor_runs_is_no_constructor() -> None:
    class Early(Queue[int]):
        def __init__(self) -> None:
            self.mutex, self.unfinished_tasks, self.is_shutdown = threading.Lock(), 0, False
            super().__init__(store="memory:")

    q = Early()
    q.put(1)
    assert (q.get(), q._seam.plain, q.mutex is q.not_empty._lock) == (1, True, True)  # type: ignore[attr-defined]


def test_without_any_constructor_it_is_no_queue() -> None:
    with pytest.raises(AttributeError, match="'Queue' object has no attribute 'mutex'"):
        Queue.__new__(Queue).qsize()
    with pytest.raises(AttributeError, match="'Queue' object has no attribute 'queue'"):
        Queue.__new__(Queue).queue  # noqa: B018


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue, SimpleQueue])
def test_a_getattr_that_knows_everything(tmp_path: Path, kind: Any) -> None:
    """Our own attributes were asked of it: an AttributeError of the constructor, or a RecursionError."""

    class Knows(kind):  # type: ignore[misc]
        def __getattr__(self, name: str) -> Any:
            return getattr(self.queue, name)

    class Says(kind):  # type: ignore[misc]
        def __getattr__(self, name: str) -> Any:
            return name

    q: Any
    for number, q in enumerate((Knows(path=tmp_path / "0"), Says(path=tmp_path / "1"))):
        q.put(number)
        assert (q.qsize(), q.get(), Says(store="memory:").other) == (1, number, "other")
    if kind is not SimpleQueue:
        assert Knows(store="memory:").count(1) == 0


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_init_called_once_more_empties(store: Store, kind: Any) -> None:
    q = kind(store=store)
    q.put(1)
    with q.mutex:
        q._init(q.maxsize)
    assert (q.qsize(), q.unfinished_tasks) == (0, 1)
    q.put(2)
    assert q.get() == 2


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_subclass_that_has_other_names_for_its_own(store: Store, kind: Any) -> None:
    """What it called `_notify` was taken for ours: a put stored its item, and was a TypeError then."""

    class Listened(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            self._order, self._container, self._begin = "mine", ["mine"], None
            super().__init__(2, store=store)

        def _notify(self) -> None:
            raise NotImplementedError

        _notify_done = _notify

    q = Listened()
    q.not_empty.waiting = q.not_full.waiting = q.all_tasks_done.waiting = 1  # else there is nobody to notify
    q.put(1)
    q.put(2)
    assert (q.get(), q._order) == (2 if kind is LifoQueue else 1, "mine")
    q.get()
    q.task_done()
    q.task_done()
    assert list(q.queue) == []


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_hook_that_is_replaced_in_the_class(tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs do that trace what is put; it was never called."""
    seen, before = [], Queue._put

    def put(self: Any, item: int) -> None:
        seen.append(item)
        before(self, item)

    monkeypatch.setattr(Queue, "_put", put)
    q = kind(path=tmp_path / "q")
    q.put(1)
    monkeypatch.undo()
    q.put(2)
    assert (seen, q.qsize(), kind(path=tmp_path / "other")._seam.hooked) == ([1], 2, False)


class Doubling(deque[int]):
    def append(self, item: int) -> None:
        super().append(2 * item)


@pytest.mark.parametrize(("made", "first"), [(partial(deque, maxlen=1), 3), (Doubling, 2)])
def test_a_container_that_does_something_else_is_a_warning_too(store: Store, made: Any, first: int) -> None:
    """As in `q.queue = deque(maxlen=2)`: it was taken for what is in it."""
    q: Queue[int] = Queue(store=store)
    with pytest.warns(NotDurableWarning, match="container of its own"):
        q.queue = made()
    q.put(1)
    q.put(3)
    assert q.get(timeout=5) == first


def test_a_queue_property_is_a_container_of_its_own(store: Store) -> None:
    """What its hooks had put there was never found, as the size was that of the store."""

    class Listed(Queue[int]):
        def _init(self, maxsize: int) -> None:
            self.items: list[int] = []

        @property
        def queue(self) -> Any:
            return self.items

        def _put(self, item: int) -> None:
            self.items.append(item)

        def _get(self) -> int:
            return self.items.pop(0)

    with pytest.warns(NotDurableWarning, match="container of its own"):
        q = Listed(store=store)
    q.put(1)
    q.put(2)
    assert (q.qsize(), q.get(), q.queue) == (2, 1, [2])
