"""Claims that a store refused to take back: they go back when it works again, before more is claimed there."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

import pytest

from pqadapters import astray
from pqadapters.ending import start_thread
from pqadapters.errors import StoreClosed, StoreUnreachable
from pqadapters.store import Ack, Put, State
from pqadapters.stores.memory import MemoryStore

PATIENCE = 60.0


class Away(MemoryStore):
    """Refuses while it is away."""

    away = False

    def commit(self, *ops: Any, **options: Any) -> Any:
        if self.away:
            raise StoreUnreachable("it is away")
        return super().commit(*ops, **options)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Those that try again, which they do at once."""
    monkeypatch.setattr(astray, "_AGAIN", 0.001)
    found: list[threading.Thread] = []
    def start(thread: threading.Thread) -> None:
        found.append(thread)
        start_thread(thread)

    monkeypatch.setattr(astray, "start_thread", start)
    return found


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """With three records; nobody tries again by himself."""
    monkeypatch.setattr(astray, "_insist", lambda *_: None)
    made = MemoryStore()
    made.commit(*[Put("q", bytes([n])) for n in range(3)])
    return made


def ready(store: MemoryStore) -> list[bytes]:
    return [record.payload for record in store.browse("q", state=State.READY)]


def refuse(monkeypatch: pytest.MonkeyPatch, store: MemoryStore, error: BaseException, nth: int = 0) -> None:
    """Every commit from the nth one on."""
    commit, left = store.commit, [None] * nth

    def refusing(*ops: Any, **options: Any) -> Any:
        if not left:
            raise error
        left.pop()
        return commit(*ops, **options)

    monkeypatch.setattr(store, "commit", refusing)


def test_what_is_done_keeps_nothing_from_going_back(store: MemoryStore) -> None:
    claims = store.claim("q", limit=3)
    store.commit(Ack(claims[0]))
    astray.give_back(store, claims)
    assert ready(store) == [b"\1", b"\2"]


@pytest.mark.parametrize("nth", [0, 1])
@pytest.mark.parametrize("error", [StoreUnreachable("it is away"), KeyboardInterrupt()], ids=["refused", "interrupted"])
def test_what_was_refused_goes_back_before_more_is_claimed(
    store: MemoryStore, nth: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind an interrupt those that weren't back yet were nobody's as long as the process lived."""
    claims = store.claim("q", limit=3)
    with monkeypatch.context() as patch:
        refuse(patch, store, error, nth)
        with nullcontext() if isinstance(error, StoreUnreachable) else pytest.raises(KeyboardInterrupt):
            astray.give_back(store, claims)
            astray.settle(store)
    assert len(ready(store)) == nth
    store.commit(Ack(claims[2]))
    astray.settle(store)
    assert ready(store) == [b"\0", b"\1"]


def test_two_threads_give_the_same_back_at_once(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = store.commit
    astray.give_back_later(store, store.claim("q", limit=3))

    def another_is_quicker(*ops: Any, **options: Any) -> Any:
        astray._astray[store].clear()
        return commit(*ops, **options)

    monkeypatch.setattr(store, "commit", another_is_quicker)
    astray.settle(store)
    assert len(ready(store)) == 3


def test_a_store_that_never_works_again_has_none(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its claims ended with it."""
    claims = store.claim("q", limit=3)
    astray.give_back_later(store, claims[:2])
    refuse(monkeypatch, store, StoreClosed("it is closed"))
    astray.settle(store)
    astray.give_back(store, claims)
    assert not astray._astray[store]


def test_where_no_thread_can_be_started_they_go_back_all_the_same(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(astray, "start_thread", none_left)
    astray.give_back_later(store, store.claim("q"))
    astray.settle(store)
    assert len(ready(store)) == 3


def _away_with_a_claim() -> Away:
    """A store that is away as a claim of its is given back."""
    store = Away()
    store.commit(Put("q", b""))
    claims = store.claim("q")
    store.away = True
    astray.give_back(store, claims)
    return store


def test_they_go_back_by_themselves(threads: list[threading.Thread]) -> None:
    store = _away_with_a_claim()
    assert threads[0].is_alive()
    store.away = False
    assert store.wait("q", lambda depth: depth.ready == 1, PATIENCE)
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_a_store_that_the_program_lets_go_of_is_waited_for_no_longer(threads: list[threading.Thread]) -> None:
    store = _away_with_a_claim()
    assert threads[0].is_alive()
    del store
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_who_tries_again_goes_on_behind_a_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch, threads: list[threading.Thread]
) -> None:
    """The records were nobody's until more was claimed, or the process ended."""
    store = Away()
    store.commit(Put("q", b"a"))
    claims = store.claim("q")
    refuse(monkeypatch, store, MemoryError())
    astray.give_back_later(store, claims)
    threads[0].join(0.2)
    monkeypatch.undo()
    threads[0].join(PATIENCE)
    assert ready(store) == [b"a"]
