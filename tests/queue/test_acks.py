"""What acknowledges an item, under each policy, and what comes again after a restart."""

from __future__ import annotations

import gc
import threading
import warnings
from typing import Any

import pytest

from pqadapters.errors import DiskError, LeaseLost
from pqadapters.stdlib._lines import held as _held
from pqadapters.stdlib.queue import Empty, Queue
from pqadapters.store import Ack, State, Store
from pqadapters.stores.memory import MemoryStore

from .background import Background, Watched, in_thread
from .conftest import Place


def left(place: Place) -> list[Any]:
    """What a restart finds."""
    return list(Queue(store=place.restart()).queue)


def test_an_item_that_is_not_done_comes_again_in_its_place(place: Place) -> None:
    q: Queue[str] = Queue(store=place.open())
    q.put_many("ab")
    assert q.get() == "a"
    q.put("c")
    assert left(place) == ["a", "b", "c"]


def test_what_is_done_does_not_come_again(place: Place) -> None:
    q: Queue[str] = Queue(store=place.open())
    q.put_many("abc")
    q.get()
    q.get()
    q.task_done()
    assert left(place) == ["b", "c"]


def test_task_done_acknowledges_the_callers_oldest_by_a_lazy_ack() -> None:
    seen: list[Any] = []

    class Store(MemoryStore):
        def commit(self, *ops: Any, **options: Any) -> Any:
            seen.extend(ops)
            return super().commit(*ops, **options)

    q: Queue[int] = Queue(store=Store())
    q.put(1)
    q.get()
    q.task_done()
    assert [op.lazy for op in seen if isinstance(op, Ack)] == [True]


def test_one_task_done_acknowledges_one_item(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(4))
    for _ in range(3):
        q.get()
    q.task_done()
    assert left(place) == [1, 2, 3]


def test_a_caller_that_holds_nothing_takes_nobodys_single_item(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    q.get()
    q.get()
    in_thread(q.task_done)
    assert q.unfinished_tasks == 2
    assert left(place) == [0, 1, 2]


def test_once_all_that_is_outstanding_is_covered_all_is_acknowledged(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    q.get()
    q.get()
    in_thread(lambda: (q.task_done(), q.task_done()))
    assert q.unfinished_tasks == 1
    assert left(place) == [2]


def test_covered_and_own_calls_add_up(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    for _ in range(3):
        q.get()
    in_thread(q.task_done)
    q.task_done()
    assert q.unfinished_tasks == 1
    in_thread(q.task_done)
    assert q.unfinished_tasks == 0
    assert left(place) == []


def test_task_done_ahead_of_its_get_acknowledges_nothing(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    q.task_done()
    assert q.unfinished_tasks == 2
    in_thread(q.get)
    in_thread(q.get)
    q.task_done()  # covers one of the two: the early call covers none
    assert q.unfinished_tasks == 1
    assert left(place) == [0, 1, 2]


def test_too_many_task_done_raise(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    with pytest.raises(ValueError, match="called too many times"):
        q.task_done()
    q.put(1)
    q.get()
    q.task_done()
    with pytest.raises(ValueError, match="called too many times"):
        q.task_done()


def test_a_thousand_uncovered_calls_warn_once(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(1100))
    q.get_many(1100)

    def finish() -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
            for _ in range(1050):
                q.task_done()
        return [str(each.message) for each in caught]

    (message,) = in_thread(finish)
    assert "1000 times" in message
    assert "task_done(item)" in message
    assert q.unfinished_tasks == 50


def test_an_ended_threads_items_stay_claimed_whatever_its_successors_ident(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(2))
    idents = set()
    for _ in range(50):  # idents are reused at once: one of these has the first one's

        def work() -> None:
            idents.add(threading.get_ident())
            if q.qsize() == 2:
                q.get()
            else:
                assert next(q._line.held.oldest(), None) is None

        in_thread(work)
    assert len(idents) < 50
    assert q.unfinished_tasks == 2
    assert left(place) == [0, 1]


def test_threads_that_come_and_go_leave_nothing_behind(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    for i in range(300):
        q.put(i)
        in_thread(lambda: (q.get(), q.task_done()))
    assert len(q._line.held.by) <= 65


def test_task_done_of_an_item_acknowledges_exactly_it(place: Place) -> None:
    q: Queue[Any] = Queue(store=place.open())
    q.put_many([[1], [1], [2]])
    first, second, third = q.get_many(3)
    q.task_done(second)
    assert next(q._line.held.matching(first))[3] is first
    q.task_done(third)
    assert left(place) == [[1]]


def test_task_done_of_an_equal_item_finds_the_callers_own_first(place: Place) -> None:
    q: Queue[str] = Queue(store=place.open())
    q.put_many("aab")
    in_thread(q.get)
    q.get()
    q.get()
    first, _, third = (record.id for record in q._line.store.browse("default", state=State.CLAIMED))
    q.task_done("a")
    assert [id for _, id in q._line.held.snapshot()] == [first, third]
    with pytest.raises(ValueError, match="nobody holds 'x'"):
        q.task_done("x")


def test_task_done_of_an_item_that_another_thread_got(place: Place) -> None:
    q: Queue[str] = Queue(store=place.open())
    q.put_many("ab")
    in_thread(lambda: q.get_many(2))
    q.task_done("b")
    assert left(place) == ["a"]


@pytest.mark.parametrize("order", [1, -1])
def test_task_done_of_one_of_many_items_looks_at_few(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 50,000 in hand all were looked at for each, which took 3 to 20 ms. What comes meanwhile is found, too."""
    looks, look = list[object](), _held._identical

    def note(a: object, b: object) -> bool:
        looks.append(a)
        return look(a, b)

    monkeypatch.setattr(_held, "_identical", note)
    q: Queue[Any] = Queue(store="memory:", ack="task_done")
    q.put_many([n] for n in range(900))
    items = q.get_many(700)[::order]
    for item in items[:300]:
        q.task_done(item)
    items = items[300:] + q.get_many(200)[::order]
    q.nack(items.pop())
    for item in items:
        q.task_done(item)
    assert q.unfinished_tasks == 1
    assert len(looks) < 900 * 70


def test_items_without_a_truth_value_of_equality_are_found(store: Store) -> None:
    class Array(list):  # type: ignore[type-arg]
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = None

    held = _held.Held()
    array = Array([1])
    store.commit()
    q: Queue[int] = Queue(store=store)
    q.put(1)
    (claim,) = store.claim("default")
    held.own()[claim.id] = claim, Array([2])
    assert next(held.matching(array), None) is None
    held.own()[claim.id] = claim, array
    assert next(held.matching(array))[3] is array


def test_under_get_an_item_is_gone_when_handed_out(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open(), ack="get")
    q.put_many(range(2))
    assert q.get() == 0
    assert q.unfinished_tasks == 2
    assert left(place) == [1]


def test_under_get_the_ack_is_synced_and_comes_before_the_item() -> None:
    class Full(MemoryStore):
        def commit(self, *ops: Any, **options: Any) -> Any:
            if any(isinstance(op, Ack) for op in ops):
                assert not ops[0].lazy
                raise DiskError(28, "disk full")
            return super().commit(*ops, **options)

    q: Queue[int] = Queue(store=Full(), ack="get")
    q.put(1)
    with pytest.raises(OSError, match="disk full"):
        q.get()
    assert (q.qsize(), q.unfinished_tasks) == (1, 1)


def test_under_get_many_are_acknowledged_together_or_given_back_together(place: Place) -> None:
    class Fails(Watched):
        broken = True

        def commit(self, *ops: Any, **options: Any) -> Any:
            if self.broken and any(isinstance(op, Ack) and op.claim.id == last for op in ops):
                raise DiskError(28, "disk full")
            return super().commit(*ops, **options)

    store = Fails(place.open())
    q: Queue[int] = Queue(store=store, ack="get")
    q.put_many(range(3))
    last = [record.id for record in store.browse("default")][-1]
    with pytest.raises(OSError, match="disk full"):
        q.get_many(3)
    assert (list(q.queue), q.unfinished_tasks) == ([0, 1, 2], 3)
    store.broken = False
    store.calls.clear()
    assert q.get_many(3) == [0, 1, 2]
    assert store.calls == ["Ack,Ack,Ack"]


@pytest.mark.parametrize("many", [False, True])
def test_under_get_a_record_whose_lease_ran_out_is_somebody_elses(place: Place, many: bool) -> None:
    """Where claims run out by time, the ack decides who has the record; at most one hands it out."""
    robbed: list[int] = []

    class Robs(Watched):
        def commit(self, *ops: Any, **options: Any) -> Any:
            if any(isinstance(op, Ack) and op.claim.id == first for op in ops):
                robbed.append(1)
                raise LeaseLost
            return super().commit(*ops, **options)

    store = Robs(place.open())
    q: Queue[int] = Queue(store=store, ack="get")
    q.put_many(range(3))
    first = next(iter(store.browse("default"))).id
    assert (q.get_many(2) if many else [q.get()]) == [1]
    assert robbed
    assert q.unfinished_tasks == 3


def test_task_done_after_the_lease_ran_out_says_so(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put(1)
    q.get()
    ((claim, _),) = q._line.held.own().values()
    q._line.release([claim])
    with pytest.raises(LeaseLost):
        q.task_done()
    assert q.get() == 1


def test_under_get_task_done_and_join_count_as_ever(store: Store) -> None:
    q: Queue[int] = Queue(store=store, ack="get")
    q.put_many(range(2))
    q.get()
    q.get()
    joiner = Background(q.join)
    q.task_done()
    assert q.unfinished_tasks == 1
    in_thread(q.task_done)
    joiner.result()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()


def test_under_next_an_item_is_done_when_its_consumer_asks_again(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open(), ack="next")
    q.put_many(range(3))
    q.get()
    q.get()
    assert left(place) == [1, 2]


def test_under_next_asking_in_vain_counts_as_asking(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open(), ack="next")
    q.put(1)
    q.get()
    with pytest.raises(Empty):
        q.get_nowait()
    assert left(place) == []


def test_under_next_one_consumers_asking_does_not_end_anothers_item(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open(), ack="next")
    q.put_many(range(3))
    in_thread(q.get)
    q.get()
    q.get()
    assert left(place) == [0, 2]


def test_under_next_close_acknowledges_all_but_what_a_live_thread_works_on(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open(), ack="next")
    q.put_many(range(3))
    got, go_on = threading.Event(), threading.Event()

    def work() -> None:
        q.get()
        got.set()
        go_on.wait()

    worker = Background(work)
    got.wait()
    in_thread(q.get)
    q.get()
    q.close()
    go_on.set()
    worker.result()
    assert left(place) == [0]


def test_under_next_task_done_still_ends_join(store: Store) -> None:
    q: Queue[int] = Queue(store=store, ack="next")
    q.put_many(range(3))
    for _ in range(3):
        q.get()
    for _ in range(3):
        q.task_done()
    assert q.unfinished_tasks == 0
    q.join()


def test_a_failed_ack_leaves_the_item_with_its_holder(place: Place) -> None:
    class Fails(Watched):
        broken = False

        def commit(self, *ops: Any, **options: Any) -> Any:
            if self.broken:
                raise DiskError(5, "EIO")
            return super().commit(*ops, **options)

    store = Fails(place.open())
    q: Queue[int] = Queue(store=store)
    q.put_many(range(2))
    q.get_many(2)
    store.broken = True
    with pytest.raises(OSError, match="EIO"):
        q.task_done()
    with pytest.raises(OSError, match="EIO"):
        in_thread(lambda: (q.task_done(), q.task_done()))
    store.broken = False
    assert q.unfinished_tasks == 1
    q.task_done()
    assert q.unfinished_tasks == 0
    assert left(place) == []


def test_after_a_failed_ack_the_oldest_is_still_the_oldest(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(2))
    q.get_many(2)
    commit = q._line.commit

    def broken(*ops: Any, **options: Any) -> Any:
        raise DiskError(5, "EIO")

    q._line.commit = broken
    with pytest.raises(OSError, match="EIO"):
        q.task_done()
    q._line.commit = commit
    q.task_done()
    assert left(place) == [1]


def test_an_interruption_behind_the_claim_gives_it_back(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put(1)
    loads = q._line.loads

    def interrupted(payload: bytes) -> Any:
        raise KeyboardInterrupt

    q._line.loads = interrupted
    for call in (q.get, lambda: q.get_many(3)):
        with pytest.raises(KeyboardInterrupt):
            call()
        assert (q.qsize(), len(q._line.held)) == (1, 0)
    q._line.loads = loads
    assert q.get() == 1


def test_ack_is_one_of_three_words(store: Store) -> None:
    with pytest.raises(ValueError, match="'task_done', 'get', 'next', not 'never'"):
        Queue(store=store, ack="never")


def test_items_are_let_go_of_when_done(store: Store) -> None:
    q: Queue[Any] = Queue(store=store)
    q.put([1])
    item = q.get()
    q.task_done()
    assert not [each for each in gc.get_referrers(item) if isinstance(each, tuple)]
