"""`q.queue`: the live view of what is ready."""

from __future__ import annotations

import copy
import operator
import pickle
import queue
import random
from collections import deque
from collections.abc import Callable, MutableSequence
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, NotSerializable, RankError
from pqadapters.stdlib import queue as durable
from pqadapters.stdlib._lines import view as views
from pqadapters.stdlib._lines.view import View
from pqadapters.stdlib.queue import LifoQueue, PriorityQueue, Queue
from pqadapters.store import Ack, Put, Store

from .background import Watched
from .conftest import Place

POPPED = [(LifoQueue, 0, 1, [2, 3, 4]), (LifoQueue, -2, 3, [1, 2, 4]), (PriorityQueue, 1, 2, [1, 3, 4])]


def test_it_looks_like_the_standard_librarys_container(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put_many("abc")
    view = q.queue
    assert (len(view), list(view), list(reversed(view)), bool(view)) == (3, list("abc"), list("cba"), True)
    assert (view[0], view[1], view[-1], view[-3]) == ("a", "b", "c", "a")
    assert "b" in view
    assert "x" not in view
    for index in (3, -4):
        with pytest.raises(IndexError):
            view[index]
    assert view == q.queue


@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "PriorityQueue"])
def test_it_is_shown_and_added_up_as_the_standard_librarys_container(store: Store, name: str) -> None:
    ours, theirs = getattr(durable, name)(store=store), getattr(queue, name)()
    for item in (1, 2, 3):
        ours.put(item)
        theirs.put(item)
    view, container = ours.queue, theirs.queue
    assert (repr(view), f"{view}") == (repr(container), f"{container}")
    more = type(container)([7])
    results = [(each + more, more + each, each + each, each * 2, 2 * each) for each in (view, container)]
    assert results[0] == results[1]
    assert {type(result) for result in results[0]} == {type(container)}
    with pytest.raises(TypeError, match="can only concatenate"):
        operator.add(view, ())
    assert getattr(view, "maxlen", None) is None


def test_it_is_a_sequence_for_who_asks(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many((1, 2, 3))
    assert isinstance(q.queue, MutableSequence)
    assert sorted(random.sample(q.queue, 3)) == [1, 2, 3]
    match q.queue:
        case [first, *rest]:
            assert (first, rest) == (1, [2, 3])
        case _:
            pytest.fail("no sequence for a pattern")


@pytest.mark.parametrize("end", ["pop", "popleft"])
def test_under_next_what_is_taken_from_an_end_says_that_the_last_item_is_done(store: Store, end: str) -> None:
    q: Queue[int] = Queue(store=store, ack="next")
    q.put_many(range(3))
    q.get()
    getattr(q.queue, end)()
    assert (store.depth(q.name).unfinished, q.stats()["held"]) == (2, 1)


def test_it_is_live(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    view = q.queue
    q.put(1)
    assert list(view) == [1]
    q.get()
    assert not view


def test_a_stacks_last_is_the_next_to_leave(store: Store) -> None:
    q: LifoQueue[str] = LifoQueue(store=store)
    q.put_many("abc")
    assert (list(q.queue), q.queue[-1], q.queue.pop(), q.get()) == (["a", "b", "c"], "c", "c", "b")


def test_a_priority_queues_first_is_the_next_to_leave(store: Store) -> None:
    q: PriorityQueue[int] = PriorityQueue(store=store)
    q.put_many([3, 1, 2])
    assert (q.queue[0], q.queue[-1], list(q.queue), list(reversed(q.queue))) == (1, 3, [1, 2, 3], [3, 2, 1])
    assert q.queue.pop() == 1


def test_clear_drops_what_is_ready_for_good(place: Place) -> None:
    q: Queue[int] = Queue(store=place.open())
    q.put_many(range(3))
    q.get()
    with q.mutex:
        q.queue.clear()
    assert (q.qsize(), q.unfinished_tasks) == (0, 3)
    q = Queue(store=place.restart())
    assert (list(q.queue), q.unfinished_tasks) == ([0], 1)


def test_clear_takes_few_large_items_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand were read at once, which of large ones was more than there is memory."""
    monkeypatch.setattr(views, "_CHUNK_BYTES", 1000)
    q: Queue[str] = Queue(store=place.open())
    q.put_many("x" * 400 for _ in range(9))
    claim, taken = q._line.claim, list[int]()

    def noted(*which: Any, **options: Any) -> Any:
        claims = claim(*which, **options)
        taken.append(len(claims))
        return claims

    monkeypatch.setattr(q._line, "claim", noted)
    q.queue.clear()
    assert (taken, q.qsize()) == ([2, 2, 2, 2, 1], 0)


def test_clear_leaves_what_comes_when_there_is_room(store: Store) -> None:
    """A put that waited for room was dropped as soon as it was done; in the standard library it comes later."""

    class Refilled(Watched):
        def commit(self, *ops: Any, **options: Any) -> Any:
            done = super().commit(*ops, **options)
            if isinstance(ops[0], Ack):
                other.put("next")
            return done

    other: Queue[str] = Queue(store=store)
    q: Queue[str] = Queue(2, store=Refilled(store))
    q.put_many("ab")
    q.queue.clear()
    assert list(q.queue) == ["next"]
    assert q.get() == "next"


def test_append_and_popleft_are_durable(place: Place) -> None:
    q: Queue[int] = Queue(1, store=place.open())
    with q.mutex:
        q.queue.append(1)
        q.queue.append(2)
    assert q.queue.popleft() == 1
    q.task_done()
    q = Queue(store=place.restart())
    assert list(q.queue) == [2]
    q.queue.pop()
    with pytest.raises(IndexError):
        q.queue.pop()
    with pytest.raises(IndexError):
        q.queue.popleft()


@pytest.mark.parametrize(("kind", "index", "item", "left"), POPPED)
def test_pop_takes_what_is_at_an_index(place: Place, kind: Any, index: int, item: int, left: list[int]) -> None:
    """`stack.queue.pop(0)`, as programs bound a stack, was a TypeError."""
    q: Any = kind(store=place.open(), ack="task_done")
    q.put_many([1, 2, 3, 4])
    assert (q.queue.pop(index), list(q.queue), q.unfinished_tasks) == (item, left, 4)
    with pytest.raises(IndexError):
        q.queue.pop(3)
    q = kind(store=place.restart(), ack="task_done")
    assert list(q.queue) == [1, 2, 3, 4]
    assert q.queue.pop(index) == item
    q.task_done()
    assert list(kind(store=place.restart()).queue) == left


def test_pop_at_an_index_that_others_empty_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    q: Any = LifoQueue(store=store)
    q.put_many([1, 2])
    look = View._ids

    def others_are_faster(view: View, index: int) -> list[int]:
        found = look(view, index)
        if q.qsize() == 2:
            assert q.queue.popleft() == 1
        return found

    monkeypatch.setattr(View, "_ids", others_are_faster)
    assert (q.queue.pop(0), q.qsize()) == (2, 0)
    with pytest.raises(IndexError, match="no item 0"):
        q.queue.pop(0)


def test_remove_drops_one_equal_item(place: Place) -> None:
    q: Queue[str] = Queue(store=place.open())
    q.put_many("abab")
    q.queue.remove("b")
    with pytest.raises(ValueError, match="'x' is not in"):
        q.queue.remove("x")
    assert list(Queue(store=place.restart()).queue) == ["a", "a", "b"]


def test_assigning_to_it_replaces_what_is_ready(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    q.queue = [7, 8]
    assert [q.get(), q.get(), q.qsize()] == [7, 8, 0]


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_what_stays_behind_an_assignment_is_waited_for(kind: Any, place: Place) -> None:
    """It was taken out, and put back as by hand: join() returned at once."""
    q = kind(store=place.open())
    q.put_many(range(6))
    q.queue = [each for each in q.queue if each % 2]
    assert (sorted(q.queue), q.unfinished_tasks) == ([1, 3, 5], 6)
    q.unfinished_tasks -= 3
    q.queue = sorted(q.queue)[1:]
    assert (sorted(q.queue), q.unfinished_tasks) == ([3, 5], 3)
    q.queue = [7, 8, 9]
    assert (sorted(q.queue), q.unfinished_tasks) == ([7, 8, 9], 3)
    assert sorted(kind(store=place.restart()).queue) == [7, 8, 9]


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_who_has_it_keeps_what_an_assignment_takes_out(kind: Any, place: Place) -> None:
    """`old, q.queue = q.queue, deque()` takes all at once. `old` was empty then, and the items were gone."""
    theirs: Any = {Queue: queue.Queue, LifoQueue: queue.LifoQueue, PriorityQueue: queue.PriorityQueue}[kind]()
    ours = kind(store=place.open())
    for q in (ours, theirs):
        for item in (3, 1, 2):
            q.put(item)
    both = []
    for q in (ours, theirs):
        old, q.queue = q.queue, type(theirs.queue)()
        assert (q.qsize(), q.unfinished_tasks, len(old), bool(old), 2 in old) == (0, 3, 3, True, True)
        q.put(4)
        assert (sorted(old), q.qsize(), q.unfinished_tasks) == ([1, 2, 3], 1, 4)
        both.append(old)
        for _ in range(3):
            q.task_done()
        assert (q.get(), q.unfinished_tasks) == (4, 1)
        q.task_done()
        q.join()
    old, expected = both
    for copied in (old.copy(), copy.copy(old), pickle.loads(pickle.dumps(old))):
        assert type(copied) is type(expected)
        assert sorted(copied) == [1, 2, 3]
    assert old == expected if kind is not PriorityQueue else list(old) == sorted(expected)
    assert old.pop() in (2, 3)
    old.append(7)
    old += [8]
    assert list(old)[2:] == [7, 8]
    ours.queue = old
    assert sorted(Queue(store=place.restart()).queue) == sorted(old)


def test_a_view_of_another_queue_is_as_it_was(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    view = q.queue
    other: Queue[int] = Queue(store=store, name="other")
    elsewhere = other.queue
    q.queue = [each for each in view if each]
    assert (list(view), q.queue.copy()) == ([0, 1, 2], deque([1, 2]))
    other.put(5)
    assert list(elsewhere) == [5]


def test_what_is_in_another_queue_takes_the_place_of_what_is_in_this(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    other: Queue[int] = Queue(store=store, name="other")
    q.put_many(range(3))
    other.put_many([5, 6])
    q.queue = other.queue
    assert (list(q.queue), list(other.queue)) == ([5, 6], [5, 6])


def test_an_assignment_keeps_what_can_be_read_of_what_it_takes_out(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    store.commit(Put(q.name, b"no pickle"))
    q.put(1)
    view = q.queue
    q.queue = [2]
    assert (list(view), q.get()) == ([1], 2)


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_an_assignment_is_one_commit(kind: Any, store: Store) -> None:
    """A kill in the middle of it had lost what was to stay."""
    q = kind(store=store)
    q.put_many(range(3))
    before, commit, commits = q.queue.copy(), q._line.commit, 0

    def counted(*ops: Any, **options: Any) -> Any:
        nonlocal commits
        commits += 1
        return commit(*ops, **options)

    q._line.commit = counted
    with pytest.raises((NotSerializable, RankError)):
        q.queue = [5, lambda: 1]
    assert (commits, q.queue.copy(), q.unfinished_tasks) == (0, before, 3)
    q.queue = [1, 2]
    assert (commits, sorted(q.queue), q.unfinished_tasks) == (1, [1, 2], 3)


@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_who_rearranges_what_is_ready_was_given_nothing(kind: Any, store: Store) -> None:
    """What stayed in its place was claimed and released, which counts: it became dead letters."""
    q = kind(store=store, max_attempts=2)
    q.put_many("abc")
    for _ in range(3):
        q.queue.insert(3, "d")
        del q.queue[3]
        q.queue.sort()
        with pytest.raises(IndexError):
            q.queue[9] = "x"
    assert (list(q.queue), q.unfinished_tasks) == (["a", "b", "c"], 3)
    assert sorted(q.get_nowait() for _ in range(3)) == ["a", "b", "c"]
    assert not list(q.dead_letters())


def test_an_item_that_another_handle_takes_before_it_is_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was an IndexError, though there was another one at that index."""
    q, other = Queue(store=store), Queue(store=store)  # type: ignore[var-annotated]
    q.put_many("abc")
    claim, taken = q._line.claim, []  # type: ignore[var-annotated]

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        if not taken:
            taken.append(other.get_nowait())
        return claim(*arguments, **options)

    monkeypatch.setattr(q._line, "claim", meanwhile)
    del q.queue[0]
    assert (taken, list(q.queue)) == (["a"], ["c"])


def test_an_item_that_nobody_can_take_just_now_is_not_tried_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose row another program has locked, on a server."""
    q: Queue[str] = Queue(store=store)
    q.put("a")
    monkeypatch.setattr(q._line, "claim", lambda *_, **__: [])
    with pytest.raises(IndexError, match="others take"):
        del q.queue[0]


def test_it_is_extended_in_place(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put("a")
    q.queue += "bc"
    assert (list(q.queue), q.unfinished_tasks) == (["a", "b", "c"], 1)


CHANGES: dict[str, Callable[[Any], object]] = {
    "extend": lambda q: q.extend("xy"),
    "insert": lambda q: q.insert(2, "x"),
    "insert before the last": lambda q: q.insert(-1, "x"),
    "insert behind the last": lambda q: q.insert(9, "x"),
    "reverse": lambda q: q.reverse(),
    "set": lambda q: q.__setitem__(1, "x"),
    "set the last": lambda q: q.__setitem__(-1, "x"),
    "set a slice": lambda q: q.__setitem__(slice(1, 3), "xyz"),
    "set to the same": lambda q: q.__setitem__(slice(None), list(q)),
    "sort": lambda q: q.sort(reverse=True),
    "sort by a key": lambda q: q.sort(key=lambda item: item in "bd"),
    "del": lambda q: q.__delitem__(1),
    "del of the last": lambda q: q.__delitem__(-1),
}
OF_A_DEQUE: dict[str, Callable[[Any], object]] = {
    "appendleft": lambda q: q.appendleft("x"),
    "extendleft": lambda q: q.extendleft("xy"),
    "rotate": lambda q: q.rotate(),
    "rotate back": lambda q: q.rotate(-3),
    "rotate far": lambda q: q.rotate(10),
}


@pytest.mark.parametrize("kind", [Queue, LifoQueue])
@pytest.mark.parametrize("items", ["abcd", ""])
@pytest.mark.parametrize("change", [*CHANGES, *OF_A_DEQUE])
def test_it_is_changed_as_the_standard_librarys(change: str, items: str, kind: Any, place: Place) -> None:
    """Who puts an item back where it came from does it with `q.queue.appendleft(item)`."""
    container: Any = deque(items) if change in OF_A_DEQUE else list(items)
    q = kind(store=place.open())
    q.put_many(items)
    call = {**CHANGES, **OF_A_DEQUE}[change]
    try:
        call(container)
    except IndexError:
        with pytest.raises(IndexError):
            call(q.queue)
    else:
        call(q.queue)
    assert (list(q.queue), q.unfinished_tasks) == (list(container), len(items))
    again = kind(store=place.restart())
    assert list(again.queue) == list(container)
    left = [again.get() for _ in container]
    assert left == list(container)[:: 1 if kind is Queue else -1]


def test_slices_are_dropped_and_put_in_place_of_longer_ones(place: Place) -> None:
    q: Queue[str] = Queue(store=place.open())
    q.put_many("abcdef")
    del q.queue[1:3]
    q.queue[2:] = "x"
    del q.queue[9:]
    assert (list(q.queue), q.unfinished_tasks) == (list("adx"), 6)
    assert list(Queue(store=place.restart()).queue) == list("adx")


def test_a_copy_of_it_stays(store: Store) -> None:
    """It was the live view once more, or couldn't be made."""
    for kind, container in (Queue, deque("abc")), (LifoQueue, list("abc")), (PriorityQueue, list("abc")):
        q: Queue[str] = kind(store=store, name=kind.__name__)
        q.put_many("abc")
        assert q.queue == container
        assert q.queue != type(container)("ab")
        assert q.queue != tuple(container)
        copies = [copy.copy(q.queue), copy.deepcopy(q.queue), pickle.loads(pickle.dumps(q.queue))]
        q.queue.clear()
        assert copies == [container] * 3


def test_items_of_a_priority_queue_take_the_place_of_others(store: Store) -> None:
    q: PriorityQueue[float] = PriorityQueue(store=store)
    q.put_many([3, 1, 2])
    q.queue[0] = 5
    q.queue.sort()
    assert (list(q.queue), q.unfinished_tasks) == ([2, 3, 5], 3)
    with pytest.raises(RankError):
        q.queue[0] = float("nan")
    with pytest.raises(IndexError):
        q.queue[3] = 7
    q.queue[1:] = [4]
    assert (list(q.queue), q.unfinished_tasks) == ([2, 4], 3)


def test_markers_keep_their_place(tmp_path: Path) -> None:
    marker = object()
    q: Queue[Any] = Queue(path=tmp_path / "q", markers="drop")
    q.put_many([1, marker, None])
    q.queue.appendleft(0)
    assert [q.get() for _ in range(4)] == [0, 1, marker, None]


def test_its_other_looks(store: Store) -> None:
    q: Queue[str] = Queue(store=store)
    q.put_many("abab")
    view = q.queue
    assert (view.index("b"), view.index("b", 2), view.count("a"), view[1:3]) == (1, 3, 2, ["b", "a"])
    assert (view.copy(), type(view.copy())) == (deque("abab"), deque)
    for wrong in ("x", "b"):
        with pytest.raises(ValueError, match="is not in"):
            view.index(wrong, 0, 1)
    stack: LifoQueue[str] = LifoQueue(store=store, name="stack")
    assert stack.queue.copy() == []


def test_a_priority_queue_has_its_own_order(store: Store) -> None:
    q: PriorityQueue[int] = PriorityQueue(store=store)
    q.put_many([3, 1])
    q.queue.insert(0, 2)
    assert [q.get() for _ in range(3)] == [1, 2, 3]


def test_what_cannot_be_decoded_is_passed_over(store: Store) -> None:
    q: Queue[Any] = Queue(store=store)
    q.put(1)
    store.commit(Put("default", b"no pickle"))
    q.put(2)
    assert list(q.queue) == [1, 2]
    assert q.peek() == 1


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("broken", ["b12b34", "1bb2b34b", "1b234"])
@pytest.mark.parametrize(
    "change",
    [
        "del q[1]",
        "del q[-1]",
        "del q[1:3]",
        "del q[::2]",
        "q.remove(2)",
        "del q[q.index(3)]",
        "q[1] = 9",
        "q[-1] = 9",
        "q[1:3] = [7, 8, 9]",
        "q[2:2] = [7]",
        "q[:2] = []",
        "q[::-2] = [7, 8]",
        "q.pop(1)",
        "q.insert(2, 7)",
        "q.insert(-1, 7)",
        "q.appendleft(7)",
        "q.rotate(1)",
        "q.rotate(-1)",
        "q.reverse()",
        "q.sort(reverse=True)",
    ],
)
def test_what_cannot_be_decoded_has_no_index_and_stays(store: Store, kind: Any, broken: str, change: str) -> None:
    """`remove` and `sort` raised what loading it does. What was shown at an index wasn't what an index changed: other
    items were dropped, and what another version of the program can decode."""
    q = kind(store=store)
    for each in broken:
        q.put(int(each)) if each != "b" else store.commit(Put("default", b"no pickle", rank=b"\2" * q._line.ranked))
    ours, theirs = q.queue, [1, 2, 3, 4]
    plain = deque(theirs) if change.startswith(("q.appendleft", "q.rotate")) else theirs
    exec(change, {"q": plain})
    exec(change, {"q": ours})
    if kind is PriorityQueue:  # in an order of its own
        plain = sorted(plain)
    assert list(ours) == list(plain)
    assert sum(record.payload == b"no pickle" for record in store.browse("default")) == broken.count("b")
    assert q.unfinished_tasks == len(broken)


def test_a_slice_takes_as_many_items_as_it_has(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(4))
    with pytest.raises(ValueError, match=r"assign sequence of size 3 to extended slice of size 2"):
        q.queue[::2] = [7, 8, 9]
    with pytest.raises(IndexError):
        q.queue[4] = 7
    assert list(q.queue) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change", [lambda q: q.clear(), lambda q: q.appendleft(9), lambda q: q.reverse(), lambda q: q.replace([1])]
)
def test_a_change_that_fails_gives_everything_back(change: Callable[[Any], object], store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(3))
    commit = q._line.commit

    def full(*ops: Any, **options: Any) -> Any:
        if len(ops) > 1:
            raise DiskError(28, "disk full")
        return commit(*ops, **options)

    q._line.commit = full
    with pytest.raises(OSError, match="disk full"):
        change(q.queue)
    assert (list(q.queue), q.unfinished_tasks) == ([0, 1, 2], 3)
