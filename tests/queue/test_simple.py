"""SimpleQueue: unbounded, ack="next", put() from finalizers and signal handlers."""

from __future__ import annotations

import inspect
import queue
import signal
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pqadapters.errors import DiskError, NotSerializable, StoreClosed
from pqadapters.stdlib.queue import Queue, SimpleQueue
from pqadapters.store import Ack, Store

from .background import Background, Watched, in_thread
from .conftest import Place


def left(place: Place) -> list[Any]:
    q: SimpleQueue[Any] = SimpleQueue(store=place.restart())
    return list(_drained(q))


def _drained(q: SimpleQueue[Any]) -> Iterator[Any]:
    while not q.empty():
        yield q.get()


def test_help_shows_its_arguments() -> None:
    """They were `*args, **options`."""
    own, full = (inspect.signature(kind).parameters for kind in (SimpleQueue, Queue))
    assert own.keys() == full.keys() - {"maxsize", "ack"}


def test_attributes_of_a_subclass_take_the_place_of_ours(store: Store) -> None:
    """To set a `name` was an AttributeError."""

    class Named(SimpleQueue[int]):
        def __init__(self) -> None:
            self.name = "mine"
            super().__init__(store=store, name="jobs")

    q = Named()
    q.put(1)
    assert (q.name, q.get()) == ("mine", 1)


def test_in_and_out(store: Store) -> None:
    q: SimpleQueue[Any] = SimpleQueue(store=store)
    q.put(1, False, -1)  # both ignored, as ever
    q.put_nowait(None)
    assert (q.qsize(), q.get(), q.get_nowait(), q.empty()) == (2, 1, None, True)
    for call in (q.get_nowait, lambda: q.get(timeout=0.01), lambda: q.get(False, -1)):
        with pytest.raises(queue.Empty):
            call()
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        q.get(timeout=-1)
    with pytest.raises(NotSerializable):
        q.put(lambda: None)


def test_an_item_is_done_when_the_same_thread_asks_again(place: Place) -> None:
    q: SimpleQueue[int] = SimpleQueue(store=place.open())
    for i in range(4):
        q.put(i)
    in_thread(q.get)
    assert (q.get(), q.get()) == (1, 2)
    assert left(place) == [0, 2, 3]


def test_what_was_handed_out_is_done_at_close(place: Place) -> None:
    with SimpleQueue[int](store=place.open()) as q:
        q.put(1)
        q.put(2)
        q.get()
    with pytest.raises(StoreClosed):
        q.put(3)
    assert left(place) == [2]


def test_a_get_waits(store: Store) -> None:
    watched = Watched(store)
    q: SimpleQueue[int] = SimpleQueue(store=watched)
    getter = Background(q.get)
    watched.settled()
    q.put(1)
    assert getter.result() == 1


def test_a_failed_ack_is_made_up_for(place: Place) -> None:
    store = place.open()
    q: SimpleQueue[int] = SimpleQueue(store=store)
    q.put(1)
    q.put(2)
    q.get()
    claim = q._line.claim

    def broken(*arguments: Any, acks: Sequence[Ack] = (), **options: Any) -> Any:
        assert acks
        raise DiskError(28, "disk full")

    q._line.claim = broken
    with pytest.raises(OSError, match="disk full"):
        q.get()
    q._line.claim = claim
    assert q.get() == 2
    assert left(place) == [2]


class Item:
    """An item that can be watched."""


def test_an_item_is_the_consumers_alone(store: Store) -> None:
    q: SimpleQueue[Item] = SimpleQueue(store=store)
    q.put(Item())
    item = q.get()
    gone = weakref.ref(item)
    del item
    assert gone() is None


def test_what_it_says_of_itself(store: Store) -> None:
    q: SimpleQueue[int] = SimpleQueue(store=store, name="log")
    assert (q.name, q.stats()["ready"]) == ("log", 0)
    assert repr(q) == f"<pqadapters.stdlib.queue.SimpleQueue 'log' in {store.place}>"


def test_a_finalizer_puts_in_the_middle_of_put_and_get(store: Store) -> None:
    q: SimpleQueue[Any] = SimpleQueue(store=store)

    class Puts:
        def __init__(self, then: str) -> None:
            self.then = then

        def __del__(self) -> None:
            q.put(self.then)

    class Dies:
        """Its serialisation drops the last reference to an object that puts."""

        def __reduce__(self) -> Any:
            Puts("from put")
            return (str, ("dies",))

    q.put(Dies())
    loads = q._line.loads

    def with_a_finalizer(payload: bytes) -> Any:
        q._line.loads = loads
        Puts("from get")
        return loads(payload)

    q._line.loads = with_a_finalizer
    assert [q.get(), q.get(), q.get()] == ["dies", "from put", "from get"]


@pytest.mark.parametrize("many", [1, 2000])
def test_finalizers_put_in_the_middle_of_the_stores_own_work(store: Store, many: int) -> None:
    """The store runs the predicate of a claim under its lock; there, finalizers' puts have to wait their turn. The
    collector may run thousands of them at once."""
    q: SimpleQueue[Any] = SimpleQueue(store=store)
    q.put("first")
    seen: list[int] = []

    class Puts:
        def __init__(self, number: int) -> None:
            self.number = number

        def __del__(self) -> None:
            q.put(self.number)

    def stop() -> bool:
        if not seen:
            seen.append(1)
            for number in range(many):
                Puts(number)
        return False

    q._line.flags.turned = stop
    assert q.get() == "first"
    assert list(q._line.items()) == list(range(many))


def test_a_signal_handler_puts_while_get_waits(store: Store) -> None:
    q: SimpleQueue[Any] = SimpleQueue(store=store)
    before = signal.signal(signal.SIGALRM, lambda *_: q.put("from the handler"))
    try:
        # Again and again: Python doesn't wake up for one that comes right before the sleep.
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        assert q.get() == "from the handler"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_singleton_keeps_what_is_in_it(store: Store) -> None:
    """Its `__init__` runs each time that the class is called, and the standard library's has none: it became another
    queue."""

    class Only(SimpleQueue[int]):
        made: Any = None

        def __new__(cls, *args: Any, **options: Any) -> Any:
            if cls.made is None:
                cls.made = super().__new__(cls, *args, **options)
            return cls.made

    Only(store=store, name="first").put(1)
    assert Only().get_nowait() == 1
    assert Only().name == "first"
    Only.made.close()
