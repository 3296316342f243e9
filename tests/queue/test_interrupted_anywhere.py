"""Calls that a signal handler interrupts wherever CPython calls one: no item is in nobody's hands, none is lost."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

import pqadapters
from pqadapters import apart, home, stdlib
from pqadapters.errors import StoreClosed
from pqadapters.stdlib.queue import PriorityQueue, Queue, SimpleQueue
from pqadapters.store import Ack, Nack, Put, Set, State
from pqadapters.stores import memory
from pqadapters.stores.memory import MemoryStore

from ..contract.interrupting import interrupted
from ..contract.threads import Task
from .background import PATIENCE

_HERE = str(Path(stdlib.__file__).parent), str(Path(home.__file__).parent), apart.__file__


class Hooked(Queue[Any]):
    """As subclasses are that the standard library invites to."""

    def _put(self, item: Any) -> None:
        super()._put(item)

    def _get(self) -> Any:
        return super()._get()


class Ranked:
    """What is ordered in memory."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: Any) -> bool:
        return str(self) < str(other)

    def __gt__(self, other: Any) -> bool:
        return str(self) > str(other)

    def __str__(self) -> str:
        return self.text


def _hands(q: Any) -> set[int]:
    return {id for own in q._line.held.by.values() for id in own}


def _claimed(q: Any) -> set[int]:
    return {record.id for record in q._line.store.browse("default", state=State.CLAIMED)}


def _everywhere(make: Callable[[], Any], call: Callable[[Any], object], check: Callable[[Any, int], None]) -> int:
    nth, struck = 0, True
    while struck:
        nth += 1
        q = make()
        for item in "abcd":
            q.put(item)
        q.get()
        struck = interrupted(lambda q=q: call(q), nth, _HERE, exits=True)  # type: ignore[misc]
        check(q, nth)
        q.close()
    return nth


def _nothing_in_nobodys_hands(q: Any, nth: int) -> None:
    assert _claimed(q) <= _hands(q), f"at place {nth}"


def _comes_to_an_end(q: Any, nth: int, *, dropped: Collection[int] = ()) -> None:
    _nothing_in_nobodys_hands(q, nth)
    for _ in _hands(q):
        q.task_done()
    with suppress(Empty):
        while True:
            q.get_nowait()
            q.task_done()
    assert q.unfinished_tasks in (0, *dropped), f"at place {nth}: join() would wait for ever"


def _leased(q: Any) -> None:
    with q.lease():
        pass


def _leased_in_vain(q: Any) -> None:
    with suppress(ZeroDivisionError), q.lease():
        raise ZeroDivisionError


CALLS: dict[str, Callable[[Any], object]] = {
    "put": lambda q: q.put("e"),
    "get": lambda q: q.get_nowait(),
    "get_many": lambda q: q.get_many(2),
    "task_done(item)": lambda q: q.task_done("a"),
    "nack": lambda q: q.nack(),
    "nack(item)": lambda q: q.nack("a"),
    "lease": _leased,
    "lease, in vain": _leased_in_vain,
    "clear": lambda q: q.queue.clear(),
    "remove": lambda q: q.queue.remove("c"),
    "popleft": lambda q: q.queue.popleft(),
}
_NOT_THROUGH_HOOKS = ("lease", "lease, in vain")
_DROPPED: dict[str, Collection[int]] = {"clear": (3, 4), "remove": (1,)}  #: who does it has these to say done


def _ranked_in_memory() -> PriorityQueue[Any]:
    q: PriorityQueue[Any] = PriorityQueue(store=MemoryStore(), ack="task_done")
    q.put(Ranked("z"))
    return q


KINDS: dict[str, Callable[[], Any]] = {
    "plain": lambda: Queue(store=MemoryStore(), ack="task_done"),
    "auto": lambda: Queue(store=MemoryStore()),
    "ranked": lambda: PriorityQueue(store=MemoryStore(), ack="task_done"),
    "ranked in memory": _ranked_in_memory,
    "hooked": lambda: Hooked(20, store=MemoryStore(), ack="task_done"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_everything_comes_to_its_end(kind: str, call: str) -> None:
    """An item had left its holder and not yet come to the store, or the other way round: join() waited for ever."""
    if kind != "hooked" or call not in _NOT_THROUGH_HOOKS:
        check = partial(_comes_to_an_end, dropped=_DROPPED.get(call, ()))
        assert _everywhere(KINDS[kind], CALLS[call], check) > 3


@pytest.mark.parametrize("call", ["get", "get_many", "popleft", "lease", "clear"])
def test_under_next_what_was_in_hand_stays_there(call: str) -> None:
    """Between the hands of its consumer and its acknowledgement it was nobody's."""

    def make() -> Queue[str]:
        return Queue(store=MemoryStore(), ack="next")

    assert _everywhere(make, CALLS[call], _nothing_in_nobodys_hands) > 4


def test_what_others_report_done_is_done_when_that_is_interrupted() -> None:
    """The items that a thread's calls cover were taken out of their holder's hands."""

    def make() -> Queue[str]:
        return Queue(store=MemoryStore(), ack="task_done")

    def by_another(q: Any) -> None:
        (own,) = q._line.held.by.values()
        q._line.held.by.clear()
        q._line.held.by["another"] = own
        q.task_done()

    def check(q: Any, nth: int) -> None:
        _nothing_in_nobodys_hands(q, nth)
        assert q.unfinished_tasks in ({4} if _claimed(q) and not q._line.counts.uncovered else {3}), f"at place {nth}"

    assert _everywhere(make, by_another, check) > 4


def test_a_simple_queue_puts_after_an_interrupted_put() -> None:
    """The thread counted as one that puts from then on: what it put waited in memory for the end of that put."""

    def check(q: Any, nth: int) -> None:
        before = q.qsize()
        q.put("after")
        assert q.qsize() == before + 1, f"at place {nth}"

    assert _everywhere(lambda: SimpleQueue(store=MemoryStore()), lambda q: q.put("e"), check) > 4


def test_an_interrupted_close_can_be_made_up_for(tmp_path: Path) -> None:
    """The queue was closed, its store wasn't, and never would be: other processes found it locked."""
    numbers = itertools.count()

    def check(q: Any, nth: int) -> None:
        q.close()
        with pytest.raises(StoreClosed):
            q._line.store.depth("default")

    def make() -> Queue[str]:
        return Queue(path=tmp_path / str(next(numbers)), durability="process", ack="next")

    assert _everywhere(make, lambda q: q.close(), check) > 10


def test_who_opens_the_place_of_an_interrupted_close_finds_it_free(tmp_path: Path) -> None:
    """The store was half closed and still known: the next queue on it could put nothing. A second close() is none."""
    nth, struck = 0, True
    while struck:
        nth += 1
        q: Queue[str] = Queue(path=tmp_path / str(nth), durability="process", ack="task_done")
        q.put("a")
        struck = interrupted(q.close, nth, (str(Path(pqadapters.__file__).parent),), exits=True)
        with Queue[str](path=tmp_path / str(nth), durability="process", ack="task_done") as again:
            again.put("b")
            for _ in range(2):
                again.get(timeout=0)
                again.task_done()
            assert not again.unfinished_tasks, f"at place {nth}"
        q.close()
    assert nth > 100


@pytest.mark.parametrize("call", ["put", "get", "task_done(item)", "nack"])
def test_a_call_that_is_interrupted_as_it_tells_who_waits_leaves_the_mutex_free(call: str) -> None:
    """It had been taken, and each later put or get waited for it for five seconds."""
    nth, struck = 0, True
    while struck:
        nth += 1
        q: Queue[str] = Queue(store=MemoryStore(), ack="task_done")
        for item in "ab":
            q.put(item)
        q.get()
        for condition in (q.not_empty, q.not_full, q.all_tasks_done):
            condition.waiting = 1  # by hand, as the standard library's conditions are waited for
        struck = interrupted(lambda q=q: CALLS[call](q), nth, _HERE, exits=True, locks=True)  # type: ignore[misc]
        assert not q.mutex.locked(), f"at place {nth}"
        q.close()
    assert nth > 4


def test_a_commit_in_memory_that_is_interrupted_anywhere_is_there_or_it_isnt() -> None:
    """A record that an interrupt had left half removed was in the queue twice, and with its end each look into the
    queue was a KeyError."""
    before = {"q": [b"a", b"b"], "q.dead": [], "t": [b"old"]}
    behind = {"q": [b"c"], "q.dead": [b"b"], "t": [b"new"]}
    for nth in itertools.count(1):
        with MemoryStore() as store:
            store.commit(Put("q", b"a"), Put("q", b"b"), Set("t", b"k", b"old"))
            a, b = store.claim("q", limit=2)
            ops = Ack(a), Nack(b, dead="why"), Put("q", b"c"), Set("t", b"k", b"new")
            struck = interrupted(lambda s=store, o=ops: s.commit(*o), nth, (memory.__file__,))  # type: ignore[misc]
            found = {name: [record.payload for record in store.browse(name, state=None)] for name in ("q", "q.dead")}
            found["t"] = [value for _, value in store.scan("t")]
            assert found in (before, behind), nth
        if not struck:
            break
    assert nth > 20


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.commit(Put("q", b"b")),
        lambda store: store.claim("q"),
        lambda store: store.depth("q"),
        lambda store: store.wait("q", lambda depth: depth.ready > 0),
        lambda store: list(store.browse("q")),
        lambda store: store.get("t", b"k"),
        lambda store: list(store.scan("t")),
        lambda store: store.snapshot("t"),
        lambda store: store.count("t"),
        lambda store: store.wake("q"),
        lambda store: store.close(),
    ],
    ids=["commit", "claim", "depth", "wait", "browse", "get", "scan", "snapshot", "count", "wake", "close"],
)
def test_a_call_in_memory_whose_interrupt_is_kept_leaves_the_lock_free(call: Callable[[MemoryStore], object]) -> None:
    """As the console keeps one: a context manager of ours that was broken off in the middle kept the lock with it, or
    let go of another thread's when it was collected there."""
    kept = list[BaseException]()
    for nth in itertools.count(1):
        store = MemoryStore()
        store.commit(Put("q", b"a"), Set("t", b"k", b"value"))
        struck = interrupted(partial(call, store), nth, (memory.__file__, contextlib.__file__), kept)
        other = store.another()
        Task(partial(other.commit, Put("q", b"c")), patience=PATIENCE).result()
        assert [record.payload for record in other.browse("q", state=None)][-1] == b"c", nth
        if not struck:
            break
    assert nth > 2
