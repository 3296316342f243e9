"""A finalizer or a signal handler may commit in the middle of a method of its own thread: no deadlock, no damage.

Every line of the store is a place where that can happen, so these tests interrupt it at each of them.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import CodeType, FrameType
from typing import Any

import pytest

import pqadapters.stores
from pqadapters.errors import ConditionFailed, Stopped, StoreClosed
from pqadapters.store import Ack, Claim, Delete, Expect, Nack, Order, Put, Set, Stop, Store, Update
from pqadapters.stores import _gate

from .interrupting import Interrupt, interrupted
from .late import Late
from .maker import Maker
from .snapshot import payloads
from .threads import Task, waiting

_STORES = tuple(pqadapters.stores.__path__)


def test_a_finalizer_commits_in_the_middle_of_a_commit(make_store: Maker) -> None:
    store, results = make_store(), list[tuple[int, ...]]()
    late = [Late(store, results)]
    task = Task(lambda: store.commit(Put("q", b"a"), stop=lambda: bool(late.clear())), patience=make_store.patience)
    (id,) = task.result()
    assert results == [(0,)]  # carried out later: no id yet
    assert (payloads(store), payloads(store, "late")) == ([b"a"], [b"from a finalizer"])
    assert next(store.browse("late")).id != id


def test_a_finalizer_commits_in_the_middle_of_a_claim(make_store: Maker) -> None:
    store, results = make_store.filled(b"a"), list[tuple[int, ...]]()
    late = [Late(store, results)]
    task = Task(lambda: store.claim("q", stop=lambda: bool(late.clear())), patience=make_store.patience)
    assert [claim.payload for claim in task.result()] == [b"a"]
    assert results == [(0,)]
    assert payloads(store, "late") == [b"from a finalizer"]


def test_a_finalizer_commits_in_the_middle_of_a_wait(make_store: Maker) -> None:
    store, results = make_store.filled(b"a"), list[tuple[int, ...]]()
    late = [Late(store, results)]
    task = Task(lambda: store.wait("q", lambda depth: late.clear() is None), patience=make_store.patience)
    assert task.result()
    assert payloads(store, "late") == [b"from a finalizer"]


def test_a_claim_in_the_middle_of_another_one_waits_for_nothing(make_store: Maker) -> None:
    """Though there is nothing that it could claim, and what it acknowledges is done all the same."""
    store, inner = make_store.filled(b"a", b"b"), list[list[Claim]]()
    (first,) = store.claim("q")

    def stop() -> bool:
        if not inner:
            inner.append(store.claim("q", acks=[Ack(first)], timeout=None))
        return False

    task = Task(lambda: store.claim("q", stop=stop, timeout=0), patience=make_store.patience)
    outer = task.result()
    assert [claim.payload for claim in (*inner[0], *outer)] == [b"b"]  # in one of them
    assert store.depth("q").unfinished == store.depth("q").claimed == 1


def test_i1_others_dont_come_in_while_who_interrupts_a_commit_waits(make_store: Maker) -> None:
    """As a signal handler that flushes: theirs was put off to the end of a call that isn't their own, and a kill before
    that took what they had been told to be stored."""
    store, waits, ids = make_store(), threading.Event(), list[tuple[int, ...]]()

    def put() -> None:
        assert waits.wait(make_store.patience)
        ids.append(store.commit(Put("q", b"other")))

    def stop() -> bool:
        waits.set()
        store.wait("q", lambda depth: bool(ids), timeout=0.3)
        return False

    other = Task(put, patience=make_store.patience)
    Task(lambda: store.commit(Put("q", b"a"), stop=stop), patience=make_store.patience).result()
    other.result()
    assert ids != [(0,)]
    assert payloads(store) == [b"a", b"other"]


def test_a_late_commit_of_several_ops_returns_a_zero_for_each(make_store: Maker) -> None:
    store, results = make_store(), list[tuple[int, ...]]()

    def stop() -> bool:
        if not results:
            results.append(store.commit(Put("q", b"a"), Set("t", b"k", b"v"), Put("q", b"b")))
        return False

    Task(lambda: store.commit(Put("q", b"first"), stop=stop), patience=make_store.patience).result()
    assert results == [(0, 0, 0)]
    assert payloads(store) == [b"first", b"a", b"b"]
    assert store.get("t", b"k") == b"v"


def test_a_late_put_goes_beyond_the_limit_rather_than_get_lost(make_store: Maker) -> None:
    """Its caller has been told that it is stored."""
    store, results = make_store.filled(b"a"), list[tuple[int, ...]]()

    def stop() -> bool:
        if not results:
            results.append(store.commit(Put("q", b"late", limit=1)))
        return False

    Task(lambda: store.commit(Put("other", b"b"), stop=stop), patience=make_store.patience).result()
    assert results == [(0,)]
    assert payloads(store) == [b"a", b"late"]


def test_i2_a_late_commit_is_not_undone_with_the_one_it_interrupted(make_store: Maker) -> None:
    store, results = make_store(), list[tuple[int, ...]]()
    late = [Late(store, results)]

    def stop() -> bool:
        late.clear()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Task(lambda: store.commit(Put("q", b"a"), stop=stop), patience=make_store.patience).result()
    assert (payloads(store), payloads(store, "late")) == ([], [b"from a finalizer"])


def test_i1_a_late_commit_is_carried_out_though_its_handle_is_closed_behind_it(make_store: Maker) -> None:
    """As of a signal handler that opens a queue, puts into it, and closes it: its put has returned."""
    store, handles, closed, results = make_store(), [make_store()], list[Store](), list[tuple[int, ...]]()

    def stop() -> bool:
        if handles:
            handle = handles.pop()
            results.append(handle.commit(Put("late", b"a"), stop=lambda: bool(closed)))  # as queues have it
            results.append(handle.commit(Put("late", b"b"), Set("t", b"k", b"v")))
            with pytest.raises(Stopped):
                handle.commit(Put("late", b"c"), stop=lambda: True)
            closed.append(handle)
            handle.close()
            with pytest.raises(StoreClosed):
                handle.commit(Put("late", b"d"))
        return False

    Task(lambda: store.commit(Put("q", b"a"), stop=stop), patience=make_store.patience).result()
    assert results == [(0,), (0, 0)]
    assert payloads(store, "late") == [b"a", b"b"]
    assert store.get("t", b"k") == b"v"


def test_i2_a_late_ack_counts_though_its_handle_is_closed_behind_it(make_store: Maker) -> None:
    """As of a queue that the garbage collector drops in the middle of a call: what it had done doesn't come again."""
    store, handles = make_store.filled(b"done", b"in hand"), [make_store()]
    done, _ = handles[0].claim("q", limit=2)

    def stop() -> bool:
        if handles:
            handle = handles.pop()
            handle.commit(Ack(done))
            handle.close()
        return False

    Task(lambda: store.commit(Put("p", b"a"), stop=stop), patience=make_store.patience).result()
    assert [claim.payload for claim in store.claim("q", limit=2)] == [b"in hand"]


def test_i7_a_claim_takes_what_its_own_threads_finalizer_put(make_store: Maker) -> None:
    store = make_store()
    pending = [lambda: store.commit(Put("q", b"late"))]

    def stop() -> bool:
        if pending:
            pending.pop()()
        return False

    task = Task(lambda: store.claim("q", timeout=None, stop=stop), patience=make_store.patience)
    assert [claim.payload for claim in task.result()] == [b"late"]


def test_i7_a_late_commit_wakes_other_waiters(make_store: Maker) -> None:
    store, results = make_store(), list[tuple[int, ...]]()
    late = [Late(store, results)]
    taker = waiting(store, lambda look: store.claim("late", timeout=None, stop=look), patience=make_store.patience)
    Task(lambda: store.commit(Put("q", b"a"), stop=lambda: bool(late.clear())), patience=make_store.patience).result()
    assert taker.result()


#: A line of a store.
Place = tuple[CodeType, int]

#: How many interruptions one run gets; a run for each of a store's lines would take long.
AT_ONCE = 6


class _Lines:
    """Calls `on_line` before each line of a store that this thread comes to."""

    def __init__(self, on_line: Callable[[Place], object]) -> None:
        self._on_line = on_line

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(_STORES) else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self._on_line((frame.f_code, frame.f_lineno))  # what it does is not traced
        return self._line


def _falls_asleep(place: Place) -> bool:
    """The thread has done all that it does before it waits, in the one wait loop."""
    code, _ = place
    return code.co_filename == _gate.__file__ and code.co_name == "sleep"


def _everywhere(make_store: Maker, store: Store, use: Callable[[], object]) -> None:
    """Runs `use` again and again, each time with puts at others of its lines; each of these puts must be there once."""
    seen: set[Place] = set()
    names = (b"%04d" % n for n in itertools.count())

    def run() -> list[bytes]:
        done: list[bytes] = []

        def interrupt(place: Place) -> None:
            if place not in seen and len(done) < AT_ONCE:
                seen.add(place)
                done.append(next(names))
                store.commit(Put("late", done[-1]))

        with _Lines(interrupt):
            use()
        return done

    while done := Task(run, patience=make_store.patience).result():
        assert sorted(payloads(store, "late")) == done, "a late put is not there, or not once"
        store.commit(*map(Ack, store.claim("late", limit=AT_ONCE)))
    assert len(seen) > 5, "the store was not interrupted"


def test_i6_a_put_is_interrupted_anywhere(make_store: Maker) -> None:
    store = make_store()

    def put() -> None:
        ids = store.commit(Put("q", b"a"), Put("q", b"b"))
        assert [record.id for record in store.browse("q")] == list(ids)
        assert store.depth("q")[:5] == (2, 0, 0, 0, 2)
        store.commit(*map(Ack, store.claim("q", limit=3)))

    _everywhere(make_store, store, put)


def test_i5_a_consumer_is_interrupted_anywhere(make_store: Maker) -> None:
    store = make_store()

    def consume() -> None:
        store.commit(Put("q", b"a"), Put("q", b"b"), Put("q", b"c"))
        first, second = store.claim("q", limit=2, counted=True)
        store.commit(Ack(first), Update(second, b"B"), Nack(second))
        assert payloads(store) == [b"B", b"c"]
        second, third = store.claim("q", limit=2)
        store.commit(Nack(second, dead="no"), Ack(third, lazy=True))
        assert payloads(store, "q.dead") == [b"B"]
        store.commit(*map(Ack, store.claim("q.dead", limit=9)))

    _everywhere(make_store, store, consume)
    assert store.depth("q").unfinished == store.depth("q").dead == 0


def test_i5_a_consumer_is_interrupted_anywhere_by_one_of_its_own_thread(make_store: Maker) -> None:
    """What a signal handler had claimed in the middle of a claim was claimed by that one, too; in the middle of an
    acknowledgement it was a KeyError. Both in memory alone."""
    store, seen, at_once = make_store(), set[Place](), 50

    def run() -> int:
        struck, taken = 0, list[Claim]()

        def interrupt(place: Place) -> None:
            nonlocal struck
            if place not in seen and struck < at_once:
                seen.add(place)
                struck += 1
                taken.extend(store.claim("q"))

        store.commit(*(Put("q", b"%d" % n) for n in range(at_once + 2)))
        with _Lines(interrupt):
            taken += store.claim("q")
            store.commit(Ack(taken.pop()))
        assert len({claim.id for claim in taken}) == len(taken)
        assert store.depth("q")[:3] == (at_once + 1 - len(taken), 0, len(taken))
        store.commit(*map(Ack, taken), *map(Ack, store.claim("q", limit=at_once + 2)))
        return struck

    while Task(run, patience=make_store.patience).result():
        pass
    assert len(seen) > 5, "the store was not interrupted"


def test_i3_readers_are_interrupted_anywhere(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    store.commit(Set("t", b"k", b"v"))

    def read() -> None:
        assert [record.payload for record in store.browse("q", order=Order.NEWEST)] == [b"b", b"a"]
        assert store.depth("q")[:5] == (2, 0, 0, 0, 2)
        assert store.wait("q", lambda depth: depth.ready == 2, timeout=0)
        assert (store.get("t", b"k"), store.count("t"), list(store.scan("t"))) == (b"v", 1, [(b"k", b"v")])
        assert store.claim("empty") == []

    _everywhere(make_store, store, read)


def test_i2_a_table_is_changed_with_interruptions_anywhere(make_store: Maker) -> None:
    store = make_store()
    store.commit(Set("t", b"stays", b"v"))

    def change() -> None:
        store.commit(Set("t", b"k", b"v"), Delete("t", b"k"), Set("t", b"l", b"w"), Put("q", b"a"))
        (claim,) = store.claim("q")
        with pytest.raises(ConditionFailed):
            store.commit(Ack(claim), Delete("t", b"l"), Set("t", b"m", b"v"), Delete("t", b"k", expect=Expect.PRESENT))
        store.commit(Ack(claim))

    _everywhere(make_store, store, change)
    assert list(store.scan("t")) == [(b"stays", b"v"), (b"l", b"w")]


def test_a_checkpoint_is_interrupted_anywhere(make_store: Maker) -> None:
    store = make_store.filled(*[bytes(100)] * 50)

    def checkpoint() -> None:
        store.commit(*map(Ack, store.claim("q", limit=5)), *(Put("q", bytes(100)) for _ in range(5)))
        store.sync()
        store.checkpoint()

    _everywhere(make_store, store, checkpoint)
    assert store.depth("q")[:5] == (50, 0, 0, 0, 5000)


def test_another_handle_comes_and_goes_with_interruptions_anywhere(make_store: Maker) -> None:
    store = make_store.filled(b"a")

    def visit() -> None:
        with make_store() as handle:
            (claim,) = handle.claim("q")
            assert claim.payload == b"a"

    _everywhere(make_store, store, visit)
    assert payloads(store) == [b"a"]


def test_i7_a_claim_is_interrupted_anywhere_before_it_waits(make_store: Maker) -> None:
    """What a signal handler puts, wherever it comes: the claim that it interrupted takes it."""
    store, passed = make_store(), set[Place]()

    def claim(stop: Stop, on_line: Callable[[Place], object]) -> list[Claim]:
        with _Lines(on_line):
            return store.claim("q", timeout=None, stop=stop)

    def interrupted_at(place: Place, done: set[Place], sleeps: threading.Event) -> list[bytes]:
        def put(here: Place) -> None:
            if here == place and not done:
                done.add(here)
                store.commit(Put("q", b"late"))
            if _falls_asleep(here):
                sleeps.set()

        try:
            claims = claim(lambda: False, put)
        finally:
            sleeps.set()
        store.commit(*map(Ack, claims))
        return [claim.payload for claim in claims]

    store.commit(Put("q", b""))
    store.commit(*map(Ack, store.claim("q")))
    store.claim("q", timeout=0.001)  # what happens once has happened
    task = waiting(store, lambda look: claim(look, passed.add), patience=make_store.patience)
    before_it_waited = set(passed)
    store.commit(Put("q", b"a"))
    store.commit(*map(Ack, task.result()))
    for place in before_it_waited:
        done, sleeps = set[Place](), threading.Event()
        late = Task(partial(interrupted_at, place, done, sleeps), patience=make_store.patience)
        sleeps.wait(make_store.patience)
        if not done:  # a claim doesn't come by every place each time: what it waits for then comes from here
            done.add(place)
            store.commit(Put("q", b"late"))
        assert late.result() == [b"late"], f"lost at {place}"


class _Alarm(Exception):
    """As a program's own handler of SIGALRM raises."""


def test_what_is_put_off_is_done_once_wherever_that_is_interrupted(make_store: Maker) -> None:
    """A put that a finalizer had made was lost where Ctrl-C came as it was carried out."""
    _check_put_off(make_store, Interrupt)


def test_what_is_put_off_is_done_once_wherever_an_alarm_goes_off(make_store: Maker) -> None:
    """Its exception was taken for the put's own fault, and told in the log."""
    _check_put_off(make_store, _Alarm)


def _check_put_off(make_store: Maker, interrupt: type[BaseException]) -> None:
    store, put = make_store(), list[bytes]()
    store.commit(Put("q", b""), Put("late", b"0"))
    nth, going = 0, True
    while going:
        nth += 1

        def puts_late() -> bool:
            store.commit(Put("late", b"%d" % nth))  # noqa: B023
            put.append(b"%d" % nth)  # noqa: B023
            return False

        going = interrupted(partial(store.commit, Put("q", b""), stop=puts_late), nth, _STORES, interrupt=interrupt)
    found = payloads(store, "late")
    assert len({*found}) == len(found)
    assert {*put} <= {*found}  # those that were interrupted themselves may be there
    assert len(put) > 30


def test_a_commit_of_several_that_is_put_off_is_done_once_wherever_that_is_interrupted(make_store: Maker) -> None:
    """One of the first in a queue was lost: its name comes before it, and was taken for it."""
    store, nth, going, done = make_store(), 0, True, 0
    while going:
        nth += 3 if store.capabilities.hosts else 1  # a server takes its time
        queue, asked = f"late {nth}", list[bool]()
        store.commit(Put("r", b"%d" % nth), Put("s", b"%d" % nth), Set("t", b"old", b"v"), Set("t", b"n", b"%d" % nth))
        (back,), (over,) = store.claim("r"), store.claim("s")
        ops = (
            Put(queue, b"a", limit=1),
            Set("t", b"n", b"%d" % (nth + 1), expect=b"%d" % nth),
            Delete("t", b"old", expect=Expect.PRESENT),
            Nack(back, dead="why"),
            Ack(over),
        )

        def puts_late() -> bool:
            store.commit(*ops)  # noqa: B023
            asked.append(True)  # noqa: B023
            return False

        going = interrupted(partial(store.commit, Put("q", b""), stop=puts_late), nth, _STORES, interrupt=_Alarm)
        store.commit(Put("q", b""))
        found = payloads(store, queue), store.get("t", b"n"), store.get("t", b"old"), store.depth("s").unfinished
        after = [b"a"], b"%d" % (nth + 1), None, 0
        stored = bool(asked) or found == after  # a commit that was interrupted itself may be there
        assert found == (after if stored else ([], b"%d" % nth, b"v", 1)), f"at {nth}"
        done += stored
        assert store.depth("r").dead == done
        if not stored:
            store.commit(Ack(back), Ack(over))
    assert done > 50
