"""Stop markers, `None` and a bare `object()`: the very object, in its place; those of a dead process are dropped."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters import live
from pqadapters.errors import NotSerializable
from pqadapters.opening import open_store
from pqadapters.stdlib.queue import Empty, LifoQueue, PriorityQueue, Queue, SimpleQueue
from pqadapters.store import State, Store

from .background import Background, Watched, in_thread
from .conftest import Place

pytestmark = pytest.mark.exclusive

STOP = object()


def dropping(place: Place, kind: Any = Queue, **options: Any) -> Any:
    return kind(store=place.open(), markers="drop", **options)


@pytest.fixture
def crash(place: Place) -> Callable[..., Any]:
    """What a process of its own would find after this one died: `crash(kind, **options)`."""

    def again(kind: Any = Queue, **options: Any) -> Any:
        live._renew()  # as in another process, whose random name differs
        return kind(store=place.restart(), **({"markers": "drop"} | options))

    return again


# In their place, and the very object


@pytest.mark.parametrize("put", [lambda q, items: [q.put(i) for i in items], lambda q, items: q.put_many(items)])
@pytest.mark.parametrize("marker", [None, STOP], ids=["None", "object"])
@pytest.mark.parametrize("maxsize", [0, 9])
def test_a_marker_keeps_its_place(place: Place, put: Any, marker: object, maxsize: int) -> None:
    q = dropping(place, maxsize=maxsize)
    put(q, [1, marker, 2, marker, 3])
    assert (q.qsize(), q.unfinished_tasks) == (5, 5)
    assert list(q.queue) == [1, marker, 2, marker, 3]
    assert q.get_many(3) == [1, marker, 2]
    assert q.peek() is marker
    assert q.get() is marker
    assert q.get() == 3
    for _ in range(5):
        q.task_done()
    q.join()


def test_each_kind_of_queue_gives_markers_in_its_order(place: Place) -> None:
    q = dropping(place, LifoQueue)
    q.put_many([1, STOP, 2, None])
    assert q.get_many(4) == [None, 2, STOP, 1]
    simple = dropping(place, SimpleQueue, name="simple")
    for item in (1, None, STOP, 2):
        simple.put(item)
    assert [simple.get() for _ in range(4)] == [1, None, STOP, 2]


def test_several_objects_are_told_apart(place: Place) -> None:
    q = dropping(place)
    objects = [object() for _ in range(5)]
    q.put_many(objects)
    assert all(q.get() is each for each in objects)


def test_a_marker_given_back_keeps_its_place_and_its_identity(place: Place) -> None:
    q = dropping(place)
    q.put_many([STOP, 1])
    assert q.get() is STOP
    q.nack()
    with pytest.raises(LookupError), q.lease() as item:
        assert item is STOP
        raise LookupError
    assert q.get() is STOP
    q.task_done(STOP)
    assert q.get() == 1


def test_another_handle_gets_the_very_object(place: Place) -> None:
    store = place.open()
    q: Queue[Any] = Queue(store=store, markers="drop")
    q.put_many([STOP, None, 1, STOP])
    other: Queue[Any] = Queue(store=store, markers="drop")
    keeps: Queue[Any] = Queue(store=store, markers="keep")
    assert q.qsize() == 4  # opening others drops nothing
    assert (other.get(), other.get(), keeps.get()) == (STOP, None, 1)
    assert keeps.get() is STOP
    assert other.stats()["dropped"] == keeps.stats()["dropped"] == 0


@pytest.mark.exclusive
def test_an_object_that_went_with_its_queue_is_done_where_another_handle_finds_its_record(place: Place) -> None:
    store = place.open()
    q: Queue[Any] = Queue(store=store, markers="drop")
    other: Queue[Any] = Queue(store=store, markers="drop")
    q.put(STOP)
    del q
    gc.collect()
    with pytest.raises(Empty):
        other.get_nowait()
    assert (other.stats()["dropped"], store.depth(other.name).unfinished) == (1, 0)


def test_the_view_finds_and_removes_markers(place: Place) -> None:
    q = dropping(place)
    q.put_many([1, STOP, 2, None])
    assert STOP in q.queue
    assert None in q.queue
    assert object() not in q.queue
    q.queue.remove(STOP)
    q.queue.remove(None)
    assert list(q.queue) == [1, 2]
    q.queue.append(STOP)
    assert q.queue[-1] is STOP
    assert q.queue.pop() is STOP


def test_hooks_of_a_subclass_see_the_markers(place: Place) -> None:
    seen: list[object] = []

    class Hooked(Queue[Any]):
        def _put(self, item: Any) -> None:
            seen.append(item)
            super()._put(item)

        def _get(self) -> Any:
            seen.append(super()._get())
            return seen[-1]

    q = dropping(place, Hooked)
    for item in (None, STOP, 1):
        q.put(item)
    assert [q.get() for _ in range(3)] == [None, STOP, 1]
    assert seen == [None, STOP, 1] * 2


def test_a_marker_behind_a_full_queue_waits_for_room(place: Place) -> None:
    q = dropping(place, maxsize=1)
    q.put(1)
    putter = Background(lambda: q.put(STOP))
    assert q.get() == 1
    putter.result()
    assert q.get() is STOP


def test_workers_are_stopped_each_by_a_marker(place: Place) -> None:
    q = dropping(place)
    done: list[int] = []

    def work() -> None:
        while (item := q.get()) is not None:
            done.append(item)
            q.task_done()
        q.task_done()

    workers = [Background(work) for _ in range(3)]
    q.put_many(range(20))
    q.put_many([None] * 3)
    for worker in workers:
        worker.result()
    q.join()
    assert sorted(done) == list(range(20))


@pytest.mark.parametrize("items", [[None, None], [3, None], ["a", None], [(1, None), (1, 2)]], ids=repr)
@pytest.mark.parametrize("turned", [False, True])
def test_none_comes_first_in_a_priority_queue(place: Place, items: list[Any], turned: bool) -> None:
    """Python doesn't compare it: the standard library raises in put() or get(), as soon as there are two items."""
    q = dropping(place, PriorityQueue)
    q.put_many(items[:: -1 if turned else 1])
    expected = [items[1], items[0]] if items[0] in (3, "a") else items
    assert list(q.queue) == expected
    assert [q.get(), q.get()] == expected


@pytest.mark.parametrize("items", [[STOP, 3], [3, STOP], [STOP, object()], [None, STOP], [STOP, None]], ids=len)
def test_an_object_is_alone_in_a_priority_queue(place: Place, items: list[Any]) -> None:
    """As in the standard library, but that what can't be compared isn't stored."""
    q = dropping(place, PriorityQueue)
    q.put(items[0])
    with pytest.raises(TypeError, match="not supported between"):
        q.put(items[1])
    assert (q.qsize(), q.get()) == (1, items[0])
    q.task_done()
    q.put(items[1])
    assert q.get() is items[1]


# Markers that are items


def test_a_named_place_takes_none_for_an_item_and_refuses_an_object(place: Place, crash: Callable[..., Any]) -> None:
    for markers in (None, "keep"):
        q: Queue[Any] = Queue(store=place.restart(), markers=markers)
        q.put(None)
        with pytest.raises(NotSerializable, match=r"another object\(\)") as refused:
            q.put(STOP)
        assert 'markers="drop"' in str(refused.value)
        again = crash(markers=None)
        assert (again.get(), again.qsize()) == (None, 0)
        again.task_done()


def test_objects_within_items_are_the_users_affair(place: Place) -> None:
    q = dropping(place)
    q.put((1, None))
    assert q.get() == (1, None)


def _identity() -> Any:
    return types.SimpleNamespace(
        dumps=lambda item: item, loads=lambda data: data, dump=lambda item, fp: None, load=lambda fp: b""
    )


PAYLOADS = [b"\0pq-live" + bytes(16), b"\0pq-item", b"\0pq-item\0pq-item", b"\0pq-", b"\0pq-live", b"\0", b"", b"\0\0"]


@pytest.mark.parametrize("first", ["drop", "keep"])
@pytest.mark.parametrize("then", ["drop", "keep"])
def test_items_whose_bytes_look_like_markers_survive(
    place: Place, crash: Callable[..., Any], first: str, then: str
) -> None:
    q: Queue[bytes] = Queue(store=place.open(), serializer=_identity(), markers=first)
    q.put_many(PAYLOADS)
    own = live.payload(0)
    q.put(own)
    again = crash(serializer=_identity(), markers=then)
    assert again.get_many(50) == [*PAYLOADS, own]
    assert again.stats()["dropped"] == 0


@pytest.mark.parametrize("serializer", ["pickle", "json", "msgpack", "cbor2"])
def test_every_serializer_leaves_room_for_markers(place: Place, crash: Callable[..., Any], serializer: str) -> None:
    q = dropping(place, serializer=serializer)
    items = [0, "\0pq-live" + "x" * 16, "\0pq-item", {"\0pq-": 0}, 0]
    q.put_many([None, *items, STOP])
    assert q.get_many(50) == [None, *items, STOP]
    again = crash(serializer=serializer)
    assert (again.get_many(50), again.stats()["dropped"]) == (items, 2)


def test_a_store_that_others_share_has_no_room_for_markers() -> None:
    memory = open_store("memory:")

    class Shared(Watched):
        capabilities = memory.capabilities._replace(processes=True)

    store = Shared(memory)
    with pytest.raises(ValueError, match="holds alone"):
        Queue(store=store, markers="drop")
    q: Queue[Any] = Queue(store=store)
    q.put(None)
    assert in_thread(q.get) is None


# What they cost


def test_a_queue_that_is_dropped_lets_go_of_its_objects_and_its_store_at_once(tmp_path: Path) -> None:
    gc.disable()
    try:
        q: Queue[Any] = Queue(path=tmp_path, markers="drop")
        q.put_many([STOP, None, 1])
        assert q.get() is STOP
        gone = weakref.ref(q._line), weakref.ref(q._line.objects), weakref.ref(q._line.store)
        del q
        assert [ref() for ref in gone] == [None] * 3
    finally:
        gc.enable()


def test_a_thousand_markers_leave_nothing_behind(place: Place) -> None:
    q = dropping(place)
    for _ in range(1000):
        q.put(object())
        q.get()
        q.task_done()
    assert not q._line.objects._own
    assert q._line.store.depth(live.TABLE).unfinished == 0


def test_the_store_is_asked_for_nothing_but_the_flag(store: Store) -> None:
    watched = Watched(store)
    q: Queue[Any] = Queue(store=watched, markers="drop")
    q.put(None)
    q.put(None)
    assert watched.calls == ["Put", "Set", "Ack", "Put", "Put"]
    assert [record.state for record in store.browse("default")] == [State.READY] * 2
