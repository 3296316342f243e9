"""`unfinished_tasks`, join(), and the idioms that programs build on the queue's lock and conditions."""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from pqadapters.errors import DiskError
from pqadapters.stdlib.queue import Empty, Queue
from pqadapters.store import Op, Store

from .background import PATIENCE, Background, Watched, in_thread
from .conftest import Place


def test_what_a_restart_finds_is_unfinished(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    q.get()
    q.get()
    q.task_done()
    again: Queue[int] = Queue(store=place.restart())
    assert again.unfinished_tasks == 2
    for _ in range(2):
        again.get()
        again.task_done()
    again.join()


def test_join_waits_for_what_is_handed_out(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched)
    q.put(1)
    q.get()
    joiner = Background(q.join)
    watched.settled()
    assert joiner.thread.is_alive()
    q.task_done()
    joiner.result()


def test_join_ends_when_another_handle_finishes(place: Place) -> None:
    watched = Watched(place.open())
    q: Queue[int] = Queue(store=watched)
    q.put(1)
    other: Queue[int] = Queue(store=place.open())
    other.get()
    joiner = Background(q.join)
    watched.settled()
    other.task_done()
    joiner.result()


def test_join_ends_on_calls_of_a_thread_that_holds_nothing(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched)
    q.put_many(range(2))
    q.get()
    joiner = Background(q.join)
    watched.settled()
    in_thread(q.task_done)
    in_thread(q.task_done)
    joiner.result()


def test_i7_join_hears_that_an_item_is_done_which_is_named_and_was_gone_when_it_was_handed_out(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched, ack="get")
    q.put(1)
    q.get()
    joiner = Background(q.join)
    watched.settled()
    q.task_done(1)
    joiner.result()


def test_what_one_thread_has_dropped_by_hand_is_no_others_to_report_done(store: Store) -> None:
    q: Queue[int] = Queue(store=store, ack="task_done")
    q.put_many(range(2))
    in_thread(q.get)
    del q.queue[0]
    in_thread(q.task_done)
    assert (store.depth(q.name).unfinished, q.unfinished_tasks) == (0, 1)
    q.task_done()
    q.join()


def test_a_dead_letter_ends_join(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched, max_attempts=1)
    q.put(1)
    q.get()
    q.nack()
    joiner = Background(q.join)
    watched.settled()
    with pytest.raises(Empty):
        q.get_nowait()
    joiner.result()


def test_the_idiom_of_waiting_on_all_tasks_done(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put(1)
    q.get()
    ready = threading.Event()

    def join_with_timeout() -> int:
        with q.all_tasks_done:
            ready.set()
            while q.unfinished_tasks:
                assert q.all_tasks_done.wait(PATIENCE)
        return q.unfinished_tasks

    joiner = Background(join_with_timeout)
    ready.wait()
    q.task_done()
    assert joiner.result() == 0


def test_a_single_wait_on_all_tasks_done_wakes_for_the_last_one_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(2))
    q.get_many(2)
    ready = threading.Event()

    def join_with_timeout() -> int:
        with q.all_tasks_done:
            ready.set()
            assert q.all_tasks_done.wait(PATIENCE)
        return q.unfinished_tasks

    woken = []
    tell = q.all_tasks_done.tell
    monkeypatch.setattr(q.all_tasks_done, "tell", lambda n: (woken.append(q._line.unfinished()), tell(n)))
    joiner = Background(join_with_timeout)
    ready.wait()
    with q.mutex:
        assert q.all_tasks_done.waiting == 1
    q.task_done()
    q.task_done()
    assert joiner.result() == 0
    assert woken == [0]


@pytest.mark.parametrize("put", [lambda q: q.put(1), lambda q: q.put_many([1, 2])], ids=["put", "put_many"])
def test_the_idiom_of_waiting_on_not_empty(store: Store, put: Any) -> None:
    q: Queue[int] = Queue(store=store)
    ready = threading.Event()

    def wait() -> int:
        with q.not_empty:
            ready.set()
            while not q._qsize():
                assert q.not_empty.wait(PATIENCE)
        return q.get()

    waiter = Background(wait)
    ready.wait()
    put(q)
    assert waiter.result() == 1


def test_the_idiom_of_waiting_on_not_full(store: Store) -> None:
    q: Queue[int] = Queue(1, store=store)
    q.put(1)
    ready = threading.Event()

    def wait() -> bool:
        with q.not_full:
            ready.set()
            while q._qsize() >= q.maxsize:
                assert q.not_full.wait(PATIENCE)
        return True

    waiter = Background(wait)
    ready.wait()
    q.get()
    assert waiter.result()


def test_the_idiom_of_emptying_a_queue(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    joiner = Background(q.join)
    with q.mutex:
        q.queue.clear()
        q.all_tasks_done.notify_all()
        q.unfinished_tasks = 0
    joiner.result()
    q.put(1)
    assert q.unfinished_tasks == 1


def test_setting_the_count_before_clearing_leaves_no_debt(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    q.unfinished_tasks = 0
    q.queue.clear()
    assert q.unfinished_tasks == 0
    q.put(1)
    assert q.unfinished_tasks == 1


def test_setting_the_count_to_zero_ends_join(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched)
    q.put_many(range(3))
    q.get()
    joiner = Background(q.join)
    watched.settled()
    q.unfinished_tasks = 0
    joiner.result()
    q.task_done()  # the debt of the outstanding one
    q.queue.clear()
    assert q.unfinished_tasks == 0
    q.put(1)
    assert q.unfinished_tasks == 1


def test_a_finalizer_may_put_while_its_thread_holds_the_mutex(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqadapters.stdlib._queues.beyond.LOCK_TIMEOUT", 0.01)
    q: Queue[int] = Queue(store=store)

    class Puts:
        def __del__(self) -> None:
            q.put(1)

    def hold() -> None:
        puts = Puts()
        with q.mutex:
            del puts

    in_thread(hold)
    assert q.qsize() == 1


def test_the_idiom_of_putting_by_hand(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    with q.mutex:
        q.queue.append(1)
        q.unfinished_tasks += 1
        q.not_empty.notify()
    assert q.unfinished_tasks == 1
    q.get()
    q.task_done()
    q.join()
    q.put(2)
    assert q.unfinished_tasks == 1


def test_a_put_between_a_look_and_the_wait_is_not_missed(store: Store) -> None:
    """Who holds the mutex may be about to wait: the put that comes then notifies as soon as it can have the mutex."""
    stored = threading.Event()

    class Tells(Watched):
        def commit(self, *ops: Any, **options: Any) -> Any:
            result = super().commit(*ops, **options)
            stored.set()
            return result

    q: Queue[int] = Queue(store=Tells(store))
    looked = threading.Event()

    def wait() -> bool:
        with q.not_empty:
            assert not q._qsize()
            looked.set()
            stored.wait()
            return q.not_empty.wait(PATIENCE)

    waiter = Background(wait)
    looked.wait()
    q.put(1)
    assert waiter.result()


def test_the_recipe_that_empties_a_queue_leaves_what_is_in_hand_unfinished(store: Store) -> None:
    """As programs do it: the count is lowered by hand, and then all that is ready goes. That lowered it once more, and
    join() returned while somebody was at work."""
    q: Queue[str] = Queue(3, store=store)
    for each in "abc":
        q.put(each)
    assert q.get() == "a"
    with q.mutex:
        unfinished = q.unfinished_tasks - len(q.queue)
        assert unfinished == 1
        q.unfinished_tasks = unfinished
        q.queue.clear()
        q.not_full.notify_all()
    assert (q.qsize(), q.unfinished_tasks) == (0, 1)
    q.put("d")
    q.task_done()
    assert (q.get(), q.unfinished_tasks) == ("d", 1)
    q.task_done()
    q.join()


@pytest.mark.parametrize("drop", ["q.queue.clear()", "q.queue.remove('by hand')", "del q.queue[-1]"])
def test_what_was_put_by_hand_and_goes_was_never_counted(store: Store, drop: str) -> None:
    q: Queue[str] = Queue(store=store)
    q.put("a")
    assert q.get() == "a"
    q.queue.append("by hand")
    assert q.unfinished_tasks == 1
    exec(drop, {"q": q})
    assert (q.qsize(), q.unfinished_tasks) == (0, 1)
    q.task_done()
    assert q.unfinished_tasks == 0
    q.join()


def test_what_others_do_between_a_look_and_a_change_counts(store: Store) -> None:
    """As in `q.unfinished_tasks += 1` with the mutex held, which keeps nobody from task_done() here: that was undone,
    and join() waited for ever."""
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    got, held = threading.Event(), threading.Event()

    def work() -> None:
        q.get()
        got.set()
        assert held.wait(PATIENCE)
        q.task_done()

    worker = threading.Thread(target=work)
    worker.start()
    assert got.wait(PATIENCE)
    with q.mutex:
        read = q.unfinished_tasks
        held.set()
        while q._line.unfinished() == read:
            time.sleep(0.001)
        q.unfinished_tasks = read + 1
    worker.join()
    assert q.unfinished_tasks == 3
    in_thread(work)  # between a look and a change that have nothing to do with each other
    q.unfinished_tasks = 3
    assert q.unfinished_tasks == 3
    q.unfinished_tasks = 0
    assert q.unfinished_tasks == 0
    q.unfinished_tasks = 2
    assert q.unfinished_tasks == 2
    q.unfinished_tasks -= 1
    q.unfinished_tasks -= 1
    q.join()


def _lower_behind(q: Any) -> None:
    for at, item in enumerate(q.queue):
        if item == 2:
            del q.queue[at]
            q.unfinished_tasks -= 1
            break


def _filter(q: Any) -> None:
    keep = [item for item in q.queue if item != 2]
    gone = len(q.queue) - len(keep)
    q.queue.clear()
    q.queue.extend(keep)
    q.unfinished_tasks -= gone


def _assign(q: Any) -> None:
    keep = deque(item for item in q.queue if item != 2)
    gone = len(q.queue) - len(keep)
    q.queue = keep
    q.unfinished_tasks -= gone


def _say_done(q: Any) -> None:
    gone = len(q.queue)
    q.queue.clear()
    q.mutex.release()
    for _ in range(gone):
        q.task_done()
    q.mutex.acquire()


BY_HAND: list[Callable[[Any], object]] = [
    _lower_behind,
    _filter,
    _assign,
    _say_done,
    lambda q: q.queue.clear(),
    lambda q: q.queue.remove(2),
]


@pytest.mark.parametrize("change", BY_HAND)
def test_what_is_taken_out_by_hand_is_counted_as_the_standard_librarys(
    store: Store, change: Callable[[Any], object]
) -> None:
    """It was counted less at once. Who lowered the count behind that, or called `task_done()` for each, had `join()`
    return while somebody was at work, or a ValueError."""
    counts = []
    for q in (queue.Queue(), Queue(store=store)):  # type: ignore[var-annotated]
        for item in range(4):
            q.put(item)
        q.get()
        with q.mutex:
            change(q)
        counts.append([(q.unfinished_tasks, q.qsize())])
        while not q.empty():
            q.get()
            q.task_done()
            counts[-1].append((q.unfinished_tasks, q.qsize()))
        q.task_done()
        counts[-1].append((q.unfinished_tasks, q.qsize()))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("change", ["q.queue.clear()", "q.queue = []"])
def test_who_says_done_what_he_has_dropped_says_it_of_nothing_else(place: Place, change: str) -> None:
    """What a worker was at was acknowledged by that, and lost in a crash."""
    q: Queue[int] = Queue(store=place.open(), ack="task_done")
    q.put_many(range(4))
    assert in_thread(q.get) == 0
    gone = len(q.queue)
    exec(change, {"q": q})
    for _ in range(gone):
        q.task_done()
    assert (q.stats()["claimed"], q.unfinished_tasks) == (1, 1)
    q.task_done()
    assert (q.stats()["claimed"], q.unfinished_tasks) == (0, 0)


def test_what_is_refused_to_go_is_counted_as_before(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put("a")
    q.queue.append("by hand")
    assert q.unfinished_tasks == 1

    def refuse(*ops: Op, **_: object) -> tuple[int, ...]:
        raise DiskError(errno.ENOSPC, "full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(q._line, "commit", refuse)
        patch.setattr(q._line, "release", lambda claims: None)
        with pytest.raises(DiskError):
            q.queue.clear()
    assert q.unfinished_tasks == 1


def test_a_task_that_was_done_ahead_and_again_leaves_no_debt(store: Store) -> None:
    """The next one would be taken for done before it is, and join() return."""
    q: Queue[int] = Queue(store=store, ack="task_done")
    q.put(1)
    q.task_done()  # for what isn't got yet
    q.get()
    q.task_done()
    q.put(2)
    assert q.unfinished_tasks == 1


def test_nobody_is_woken_for_a_join_that_is_over(store: Store) -> None:
    """Each task_done() would ring for it."""
    q: Queue[int] = Queue(store=store, ack="task_done")
    q.join()
    assert q._line.counts.joining == 0


def test_a_call_of_a_thread_that_holds_nothing_counts_for_what_its_holder_has_left(store: Store) -> None:
    """One call each, and two items: both are done, whoever calls last."""
    q: Queue[int] = Queue(store=store)
    q.put_many(range(2))
    assert [q.get(), q.get()] == [0, 1]
    in_thread(q.task_done)
    q.task_done()
    assert store.depth(q.name).unfinished == 0
    q.join()


def test_a_count_that_was_set_too_low_leaves_no_debt(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(2))
    assert [q.get(), q.get()] == [0, 1]
    q.unfinished_tasks = 1
    q.task_done()
    q.task_done()
    q.put(2)
    assert q.unfinished_tasks == 1
