"""A first use that a signal handler interrupts wherever CPython calls one: nothing is lost, nobody waits for ever."""

from __future__ import annotations

import builtins
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import ConditionFailed, StoreClosed
from pqadapters.home import private as module
from pqadapters.home.adoption import QUEUE
from pqadapters.home.private import PrivateStore
from pqadapters.store import Depth, Op, Set
from pqadapters.stores import _directory
from pqadapters.stores._disk import Disk
from pqadapters.stores.segment import slots as slots_module
from pqadapters.stores.segment.slots import Slots
from tests.contract.interrupting import interrupted
from tests.queue.background import Background

from .world import begin_anew, place_directory, private, put

_HERE = (module.__file__,)


def _items(store: PrivateStore) -> list[str]:
    return [record.payload.decode() for record in store.browse(QUEUE, state=None)]


@pytest.mark.parametrize("then", ["put", "close", "put_down"])
def test_what_a_finalizer_put_meanwhile_is_there_nevertheless(
    then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had returned, and was to be carried out behind the taking of the slot: it was taken out of the list for that,
    and then the interrupt came. Whatever the program does next, be it nothing, carries it out."""
    opened = Slots._open
    nth, struck = 0, True
    while struck:
        nth += 1
        begin_anew(monkeypatch, tmp_path / str(nth))
        store, done = private(), list[str]()

        def finalizer_puts(self: Slots, directory: str, store: Any = store, done: list[str] = done) -> Any:
            monkeypatch.setattr(Slots, "_open", opened)
            store.commit(put("from a finalizer"))
            done.append("from a finalizer")
            return opened(self, directory)

        monkeypatch.setattr(Slots, "_open", finalizer_puts)
        struck = interrupted(lambda store=store: store.commit(put("new")), nth, _HERE, exits=True)  # type: ignore[misc]
        monkeypatch.setattr(Slots, "_open", opened)
        if then == "put":
            store.commit(put("after"))
            assert "after" in _items(store), f"at place {nth}"
        else:
            getattr(store, then)()
            if store._slot is not None:
                store._slot.store.discard()  # put down: the process ends, and the kernel lets go of it
            begin_anew(monkeypatch, tmp_path / str(nth))
            store = private()
        assert {*done} <= {*_items(store)}, f"at place {nth}"
        store.close()
    assert nth > 10


def test_one_that_fails_is_said_in_the_log_and_fails_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has returned already: there is nobody else to be told."""
    begin_anew(monkeypatch, tmp_path)
    store, opened = private(), Slots._open

    def interrupted_by_puts(self: Slots, directory: str) -> Any:
        store.commit(put("first"), Set("t", b"k", b"v", expect=b"other"))
        store.commit(put("second"))
        return opened(self, directory)

    monkeypatch.setattr(Slots, "_open", interrupted_by_puts)
    store.commit(put("new"))
    assert sorted(_items(store)) == ["new", "second"]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is ConditionFailed
    store.close()


def test_what_a_handler_put_is_there_though_it_closed_the_store_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its put has returned, so it comes before the end; the call that was interrupted hears of that."""
    begin_anew(monkeypatch, tmp_path)
    store, opened, closed = private(), Slots._open, list[bool]()

    def interrupted_by_a_handler(self: Slots, directory: str) -> Any:
        store.commit(put("from a handler"), stop=lambda: bool(closed))
        closed.append(True)
        store.close()
        return opened(self, directory)

    monkeypatch.setattr(Slots, "_open", interrupted_by_a_handler)
    with pytest.raises(StoreClosed):
        store.commit(put("new"))
    monkeypatch.setattr(Slots, "_open", opened)
    begin_anew(monkeypatch, tmp_path)
    store = private()
    assert _items(store) == ["from a handler"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    store.close()


def test_use_in_the_middle_of_a_first_use_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler in the middle of another one's import had half a module, and its put or get an ImportError."""
    begin_anew(monkeypatch, tmp_path)
    store, opened = private(), Slots._open
    seen: list[object] = []

    def no_import(name: str, *more: object) -> None:
        raise ImportError(name)

    def interrupted_by_use(self: Slots, directory: str) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(builtins, "__import__", no_import)
            store.commit(put("from a handler"))
            seen.extend([store.depth(QUEUE), store.claim(QUEUE), store.claim(QUEUE, timeout=1e-3)])
            seen.extend([*store.browse(QUEUE), store.wait(QUEUE, lambda depth: not depth.unfinished)])
            seen.extend([store.get("table", b"key"), *store.scan("table"), *store.keys("table")])
            seen.extend([store.snapshot("table"), store.count("table")])
        return opened(self, directory)

    monkeypatch.setattr(Slots, "_open", interrupted_by_use)
    store.commit(put("new"))
    assert seen == [Depth(), [], [], True, None, {}, 0]
    assert sorted(_items(store)) == ["from a handler", "new"]
    store.close()


def test_who_waits_for_the_end_of_a_commit_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first look waits for it. The commit was over, and the interrupt came before it could say so."""
    nth, struck = 0, True
    while struck:
        nth += 1
        begin_anew(monkeypatch, tmp_path / str(nth))
        store = private()
        store.commit(put("first"))
        inner: Any = store._slot.store  # type: ignore[union-attr]
        lookers: list[Background] = []

        def look(store: Any = store, lookers: list[Background] = lookers) -> None:
            lookers.append(Background(lambda: store.depth(QUEUE).ready))
            while not store._changed._waiters:
                time.sleep(0.0005)  # nothing tells of that

        class Slow:
            """A look comes in the middle of its commit."""

            depth, wake, next_id, checkpoint = inner.depth, inner.wake, inner.next_id, inner.checkpoint

            def commit(self, *ops: Op, look: Any = look, inner: Any = inner, **how: Any) -> Any:
                look()
                return inner.commit(*ops, **how)

        store._slot.store = Slow()  # type: ignore[union-attr]
        struck = interrupted(lambda store=store: store.commit(put("second")), nth, _HERE, exits=True)  # type: ignore[misc]
        store._slot.store = inner  # type: ignore[union-attr]
        for looker in lookers:
            assert looker.result() > 0, f"at place {nth}"
        store.close()
    assert nth > 3


def test_whoever_takes_a_slot_and_is_interrupted_lets_go_of_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A console keeps the exception, and with it the frames that had the lock: the next put was told that the place is
    in use, by its own process, and so was each other process."""
    files, kept = (slots_module.__file__, _directory.__file__), list[BaseException]()
    nth, struck = 0, True
    while struck:
        nth += 1
        begin_anew(monkeypatch, tmp_path / str(nth))
        store = private()
        struck = interrupted(lambda store=store: store.commit(put("new")), nth, files, kept)  # type: ignore[misc]
        place = place_directory(tmp_path / str(nth))
        place.mkdir(mode=0o700, parents=True, exist_ok=True)  # the interrupt may have come before that
        hold = _directory.try_lock(str(place / "LOCK"), Disk())
        assert hold is not None, f"at place {nth}"
        hold.close()
        store.close()
    assert nth > 30
