"""Interrupts, which come between any two steps, and what they leave behind."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pqadapters.errors import DiskError
from pqadapters.stdlib._lines.held import Own, consumer
from pqadapters.stdlib.queue import PriorityQueue, Queue
from pqadapters.store import Put
from pqadapters.stores.memory import MemoryStore

from ..contract.threads import waiting
from .conftest import Place


class Interrupt(Exception):
    """What a signal handler raises; an ordinary exception on purpose."""


def interrupting(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call does its work, and the interrupt comes as it returns."""

    def interrupted(*args: Any, **options: Any) -> Any:
        call(*args, **options)
        raise Interrupt

    return interrupted


@pytest.mark.parametrize("finish", [lambda q: q.task_done(), lambda q: q.nack()], ids=["task_done", "nack"])
def test_an_interrupt_as_a_commit_returns_leaves_no_stale_holder(
    place: Place, monkeypatch: pytest.MonkeyPatch, finish: Callable[[Queue[str]], None]
) -> None:
    q = Queue[str](store=place.open())
    q.put("a")
    q.get()
    with monkeypatch.context() as patch:
        patch.setattr(q._line, "commit", interrupting(q._line.commit))
        with pytest.raises(Interrupt):
            finish(q)
    assert q.stats()["held"] == 0
    q.put("b")
    q.get()
    q.task_done()


def failing(*errors: Exception, call: Callable[..., Any]) -> Callable[..., Any]:
    """Of the first calls none does anything; later ones do."""
    left = list(errors)

    def failed(*args: Any, **options: Any) -> Any:
        if left:
            raise left.pop(0)
        return call(*args, **options)

    return failed


def test_an_interrupt_before_the_commit_of_a_lease_that_went_well_leaves_it_done(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = Queue[str](store=place.open())
    q.put("a")
    with pytest.raises(Interrupt), q.lease():
        monkeypatch.setattr(q._line, "commit", failing(Interrupt(), call=q._line.commit))
    assert q.stats()["unfinished"] == 0


def test_an_interrupt_before_a_commit_that_is_refused_then_leaves_the_item_with_its_holder(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = Queue[str](store=place.open())
    q.put("a")
    q.get()
    full = DiskError(errno.ENOSPC, "no room")
    with monkeypatch.context() as patch:
        patch.setattr(q._line, "commit", failing(Interrupt(), full, call=q._line.commit))
        with pytest.raises(Interrupt):
            q.task_done()
    assert q.stats()["held"] == 1
    q.task_done()
    assert q.stats()["unfinished"] == 0


class Slow:
    """Its first decoding and its first encoding are interrupted."""

    calls = 0

    def __getstate__(self) -> dict[str, int]:
        return _interrupted_once("encode")

    def __setstate__(self, state: dict[str, int]) -> None:
        _interrupted_once("decode")


_seen: set[str] = set()


def _interrupted_once(what: str) -> dict[str, int]:
    if what not in _seen:
        _seen.add(what)
        raise Interrupt
    return {"a": 1}


@pytest.mark.parametrize("ack", ["auto", "get"])
def test_an_interrupt_in_the_middle_of_a_codec_is_no_fault_of_the_item(place: Place, ack: str) -> None:
    _seen.clear()
    q = Queue[Slow](store=place.open(), ack=ack)
    with pytest.raises(Interrupt):
        q.put(Slow())
    assert q.qsize() == 0
    q.put(Slow())
    with pytest.raises(Interrupt):
        q.get()
    assert (q.dead_letters(), q.qsize()) == ([], 1)
    assert isinstance(q.get(), Slow)


@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
def test_a_put_that_waits_sees_another_maxsize_when_it_is_notified(place: Place, kind: type[Queue[int]]) -> None:
    store = place.open()
    q = kind(1, store=store)
    q.put(1)
    waiting = threading.Event()
    original = store.wait

    def wait(*args: Any, **options: Any) -> bool:
        waiting.set()
        return original(*args, **options)

    store.wait = wait  # type: ignore[method-assign]
    thread = threading.Thread(target=q.put, args=(2,), daemon=True)
    thread.start()
    assert waiting.wait(30)
    with q.mutex:
        q.maxsize = 2
        q.not_full.notify()
    thread.join(30)
    assert not thread.is_alive()
    assert q.qsize() == 2


def test_who_waits_in_memory_hears_of_a_commit_whose_end_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record was there, and who waited for it slept on."""
    store = MemoryStore()
    taker = waiting(store, lambda look: store.claim("q", timeout=None, stop=look), patience=30.0, stop=lambda: False)
    real = store._data.changed

    def interrupted(name: str) -> None:
        monkeypatch.setattr(store._data, "changed", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(store._data, "changed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.commit(Put("q", b"a"))
    assert [claim.payload for claim in taker.result()] == [b"a"]


class _Changing(Own):
    """What a signal handler changes, once, as somebody has begun to look at it: it gets an item, and that is done."""

    queue: Queue[int]
    struck = False

    def _strike(self) -> None:
        if not self.struck:
            self.struck = True
            self.queue.task_done(self.queue.get())

    def __reversed__(self) -> Any:
        found = super().__reversed__()
        self._strike()
        return found

    def values(self) -> Any:
        found = iter(super().values())
        self._strike()
        return found


@pytest.mark.parametrize(("call", "left"), [(lambda q: q.get(), 3), (lambda q: q.task_done(0), 2)])
def test_what_a_thread_holds_may_be_changed_by_a_handler_that_interrupts_its_call(
    place: Place, call: Callable[[Queue[int]], object], left: int
) -> None:
    """A get was a RuntimeError: OrderedDict mutated during iteration."""
    q = Queue[int](store=place.open())
    q.put_many(range(4))
    q.get()
    own = q._line.held.own()
    q._line.held.by[consumer()] = changing = _Changing()
    changing.update(own)
    changing.queue = q
    call(q)
    assert changing.struck
    assert q.unfinished_tasks == left
