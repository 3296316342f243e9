"""Priority queues: Python's order, from ranks where bytes express it and in memory where they don't."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import total_ordering
from typing import Any

import pytest

from pqadapters.errors import DiskError, NotSerializable, RankError
from pqadapters.stdlib.queue import Empty, Full, PriorityQueue, Queue
from pqadapters.store import Capabilities, Put, Record, Store
from pqadapters.stores.memory import MemoryStore

from .background import Background, Watched
from .conftest import Place


@total_ordering
class Job:
    """Comparable, and nothing that bytes express."""

    def __init__(self, urgency: int, name: str = "") -> None:
        self.urgency, self.name = urgency, name

    def __lt__(self, other: Any) -> bool:
        return self.urgency < other.urgency if isinstance(other, Job) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and (self.urgency, self.name) == (other.urgency, other.name)

    def __hash__(self) -> int:
        return hash(self.urgency)


@dataclass(order=True)
class Ordered:
    urgency: int
    name: str


def drain(q: PriorityQueue[Any]) -> list[Any]:
    return q.get_many(100) if q.qsize() else []


def test_the_least_item_leaves_first_after_a_restart_as_well(place: Place) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=place.open())
    items = [(2, "b"), (1, "z"), (2, "a"), (-1.5, ""), (10**20, "x")]
    q.put_many(items)
    assert q.get() == (-1.5, "")
    assert drain(PriorityQueue(store=place.restart())) == sorted(items)


@pytest.mark.exclusive
def test_what_was_removed_is_seen_no_more(store: Store) -> None:
    """In memory it was still in its place: q.queue[0] and peek() showed items that were gone."""
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    q.put_many([Job(5), Job(3), Job(1), Job(4)])
    assert q.peek() == Job(1)
    q.queue.remove(Job(1))
    assert (q.peek(), q.queue[0], len(q.queue)) == (Job(3), Job(3), 3)
    q.queue = [Job(4), Job(2)]
    assert (list(q.queue), q.unfinished_tasks) == ([Job(2), Job(4)], 4)
    q.queue.clear()
    assert (list(q.queue), q.unfinished_tasks) == ([], 4)


def test_equal_items_leave_in_order_of_arrival(store: Store) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    q.put_many([(1, {"n": n}) for n in range(3)])  # the standard library can't compare these
    q.put((0, {}))
    assert [n for _, n in drain(q)] == [{}, {"n": 0}, {"n": 1}, {"n": 2}]


def test_ordered_dataclasses_need_no_memory(store: Store) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    q.put_many([Ordered(2, "a"), Ordered(1, "b"), Ordered(1, "a")])
    assert drain(q) == [Ordered(1, "a"), Ordered(1, "b"), Ordered(2, "a")]
    assert q._line._sorted is None  # type: ignore[attr-defined]


def test_nan_is_refused(store: Store) -> None:
    q: PriorityQueue[float] = PriorityQueue(store=store)
    with pytest.raises(RankError):
        q.put(float("nan"))
    assert q.empty()


@pytest.mark.exclusive
def test_comparable_objects_are_ordered_in_memory(place: Place) -> None:
    q: PriorityQueue[Job] = PriorityQueue(store=place.open())
    jobs = [Job(3), Job(1, "first"), Job(2), Job(1, "second"), Job(0)]
    for job in jobs:
        q.put(job)
    assert q.peek() == q.queue[0] == Job(0)
    assert [each.urgency for each in q.queue] == [0, 1, 1, 2, 3]
    assert q.get() == Job(0)
    q = PriorityQueue(store=place.restart())
    assert q.queue[0] == Job(0)
    assert drain(q) == [Job(0), Job(1, "first"), Job(1, "second"), Job(2), Job(3)]
    with pytest.raises(Empty):
        q.get_nowait()


@pytest.mark.exclusive
def test_recovered_ones_are_loaded_at_the_first_get(place: Place) -> None:
    PriorityQueue[Job](store=place.open()).put_many([Job(2), Job(1)])
    q: PriorityQueue[Job] = PriorityQueue(store=place.restart())
    assert [q.get().urgency, q.get().urgency] == [1, 2]


@pytest.mark.exclusive
def test_items_are_ordered_as_they_were_when_put(store: Store) -> None:
    q: PriorityQueue[Job] = PriorityQueue(store=store)
    job = Job(1)
    q.put(job)
    q.put(Job(2))
    job.urgency = 3
    assert [each.urgency for each in drain(q)] == [1, 2]


@pytest.mark.exclusive
def test_an_item_given_back_leaves_in_its_place(store: Store) -> None:
    q: PriorityQueue[Job] = PriorityQueue(store=store)
    q.put_many([Job(1, "a"), Job(1, "b"), Job(2)])
    first = q.get()
    q.nack(first)
    assert [each.name for each in drain(q)] == ["a", "b", ""]


@pytest.mark.exclusive
@pytest.mark.parametrize("many", [False, True])
def test_what_cannot_be_compared_raises_pythons_error_and_leaves_the_queue_intact(store: Store, many: bool) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    q.put(Job(1))
    with pytest.raises(TypeError, match="'<' not supported"):
        q.put_many([Job(0), "text"]) if many else q.put("text")
    assert (q.qsize(), q.unfinished_tasks) == (1, 1)
    assert drain(q) == [Job(1)]


@pytest.mark.exclusive
@pytest.mark.parametrize("refused", [{}, 1j, Job(1)], ids=["dict", "complex", "Job"])
def test_a_refused_item_leaves_those_alone_that_only_their_ranks_order(store: Store, refused: object) -> None:
    """The queue was ordered by Python's `<` from then on: "a", None and {} were dead letters, and "b" was refused."""
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    q.put_many([3, "a", None, (1, {"x": 1}), (1, {})])
    with pytest.raises(TypeError, match="'<' not supported"):
        q.put(refused)
    q.put("b")
    assert (q.dead_letters(), drain(q)) == ([], [None, 3, "a", "b", (1, {"x": 1}), (1, {})])


@pytest.mark.exclusive
def test_items_of_another_class_of_queue_have_the_order_of_their_types(place: Place) -> None:
    """All but the first and what Python compares with it were dead letters."""
    queue: Queue[Any] = Queue(store=place.open())
    queue.put_many([3, "a", None, 1.5, (2, "b"), (1, "c")])
    q: PriorityQueue[Any] = PriorityQueue(store=place.restart())
    assert drain(q) == [None, 1.5, 3, "a", (1, "c"), (2, "b")]
    assert q.dead_letters() == []


@pytest.mark.exclusive
def test_maxsize_holds_for_what_is_ordered_in_memory(store: Store) -> None:
    watched = Watched(store)
    q: PriorityQueue[Job] = PriorityQueue(1, store=watched)
    q.put(Job(1))
    with pytest.raises(Full):
        q.put_nowait(Job(0))
    putter = Background(lambda: q.put(Job(0)))
    watched.settled()
    assert q.get() == Job(1)
    putter.result()
    assert q.get() == Job(0)


@pytest.mark.exclusive
def test_a_get_waits_for_what_is_ordered_in_memory(store: Store) -> None:
    watched = Watched(store)
    q: PriorityQueue[Job] = PriorityQueue(store=watched)
    q.put(Job(1))
    q.get()
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    watched.waiting.clear()
    getter = Background(q.get)
    watched.settled()
    q.put(Job(2))
    assert getter.result() == Job(2)


@pytest.mark.exclusive
def test_two_handles_share_what_is_ordered_in_memory(place: Place) -> None:
    a: PriorityQueue[Job] = PriorityQueue(store=place.open())
    b: PriorityQueue[Job] = PriorityQueue(store=place.open())
    a.put(Job(2))
    b.put(Job(1))
    assert (a.get().urgency, b.get().urgency) == (1, 2)
    a.put(Job(4))
    b.put(Job(3))
    assert (b.get().urgency, a.get().urgency) == (3, 4)


@pytest.mark.exclusive
def test_records_that_cannot_be_compared_with_the_others_are_dead_letters(store: Store) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    q.put("text")  # ranked
    store.commit(q._line.make(Job(2)))  # as an older version might have
    assert q.get() == "text"
    assert q.unfinished_tasks == 1
    (letter,) = q.dead_letters()
    assert "can't be compared" in letter.reason


class Renamed:
    """Comparable, by an attribute that one of an earlier version hasn't got."""

    def __init__(self, urgency: int) -> None:
        self.importance = urgency

    def __lt__(self, other: Renamed) -> bool:
        return self.importance < other.importance


def earlier(q: PriorityQueue[Any]) -> Put:
    item = Renamed(0)
    del item.importance
    return q._line.make(item)


@pytest.mark.exclusive
@pytest.mark.parametrize("place_of_it", [0, 1, 2])
def test_one_that_fails_to_be_compared_at_all_is_the_one_to_go(store: Store, place_of_it: int) -> None:
    """What it raised, unless it was a TypeError, came out of each get and put, and none of the others was served."""
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    puts = [q._line.make(Renamed(2)), q._line.make(Renamed(1))]
    store.commit(*puts[:place_of_it], earlier(q), *puts[place_of_it:])
    q.put(Renamed(3))
    assert [q.get_nowait().importance for _ in range(3)] == [1, 2, 3]
    (letter,) = q.dead_letters()
    assert "can't be compared" in letter.reason
    assert vars(letter.item) == {}


class Exits:
    """What ends the program when it is loaded."""

    def __reduce__(self) -> Any:
        return sys.exit, ()


@pytest.mark.exclusive
def test_one_that_ends_the_program_stands_in_nobodys_way_where_the_order_is_in_memory(store: Store) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    store.commit(Put(q.name, pickle.dumps(Exits())), q._line.make(Job(1)))
    assert q.get_nowait() == Job(1)
    (letter,) = q.dead_letters()
    assert "SystemExit" in letter.reason


@pytest.mark.exclusive
@pytest.mark.parametrize("error", [SystemExit, TimeoutError])
def test_what_a_signal_handler_raises_while_they_are_sorted_is_raised(store: Store, error: type[BaseException]) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    store.commit(q._line.make(Job(2)), q._line.make(Job(1)))
    loads, signals = q._line.decode, [error()]

    def interrupted(payload: bytes) -> Any:
        if signals:
            raise signals.pop()
        return loads(payload)

    q._line._sort_in_memory()._loads = interrupted  # type: ignore[attr-defined]
    with pytest.raises(error):
        q.get_nowait()
    assert [q.get_nowait(), q.get_nowait()] == [Job(1), Job(2)]


def test_on_a_shared_store_what_bytes_cannot_order_is_refused() -> None:
    class Shared(MemoryStore):
        capabilities = Capabilities(processes=True)

    q: PriorityQueue[Any] = PriorityQueue(store=Shared())
    with pytest.raises(RankError, match=r"shared with other processes.*Job"):
        q.put(Job(1))
    q.put((1, "a"))
    assert q.qsize() == 1


def test_unserialisable_items_with_a_rank_are_refused(store: Store) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    with pytest.raises(NotSerializable):
        q.put((1, lambda: None))
    assert q.empty()


@pytest.mark.exclusive
def test_what_is_put_through_the_view_must_be_comparable_too(store: Store) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    q.put(Job(1))
    with pytest.raises(TypeError, match="'<' not supported"):
        q.queue.append("text")
    assert list(q.queue) == [Job(1)]


@pytest.mark.exclusive
def test_poison_among_what_is_ordered_in_memory_is_a_dead_letter(store: Store) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=store)
    store.commit(Put("default", b"no pickle"))
    q.put(Job(1))
    assert q.get_nowait() == Job(1)
    (letter,) = q.dead_letters()
    assert letter.item == b"no pickle"
    assert store.depth("default").claimed == 1


def test_a_look_at_the_first_reads_no_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    q: PriorityQueue[int] = PriorityQueue(store=store)
    q.put_many(range(100))
    read: list[int] = []
    browse = store.browse

    def counting(*args: Any, **options: Any) -> Iterator[Record]:
        for record in browse(*args, **options):
            read.append(record.id)
            yield record

    monkeypatch.setattr(store, "browse", counting)
    assert (q.peek(), q.queue[0]) == (0, 0)
    assert len(read) == 2


class _FailsLater(Watched):
    """A store that can't claim the second of the records that it is asked for by their ids."""

    asked = 0

    def claim(self, queue: str, **options: Any) -> Any:
        self.asked += options.get("ids") is not None
        if self.asked == 2:
            raise DiskError(5, "EIO")
        return super().claim(queue, **options)


@pytest.mark.exclusive
def test_what_was_claimed_before_the_disk_refused_is_ready_again(store: Store) -> None:
    q: PriorityQueue[Any] = PriorityQueue(store=_FailsLater(store))
    q.put_many([Job(2), Job(1), Job(3)])
    with pytest.raises(DiskError):
        q.get_many(3)
    assert store.depth(q.name)[:3] == (3, 0, 0)
    assert q.get_many(3) == [Job(1), Job(2), Job(3)]
