"""Signals that arrive in the main thread while it is in a store: their handlers may commit, or raise."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pqadapters.store import Put, Stop

from .maker import Maker
from .snapshot import payloads
from .threads import Task


@contextmanager
def _on_signal(handler: Callable[[], object], patience: float) -> Iterator[None]:
    """SIGUSR1 calls `handler` in the main thread; a deadlock there ends in an error after `patience` seconds."""

    def give_up(*_: object) -> None:
        raise AssertionError(f"the main thread did not come back within {patience} seconds")

    before = signal.signal(signal.SIGUSR1, lambda *_: handler()), signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, patience)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGALRM, before[1])


@contextmanager
def _interrupted_while_waiting(make_store: Maker, handler: Callable[[], object]) -> Iterator[Stop]:
    """Yields a `stop` for a call of the main thread. Once that waits, a signal comes and its handler runs, one time."""
    looked, handled, store = threading.Event(), threading.Event(), make_store()

    def look() -> bool:
        looked.set()
        return False

    def handle() -> None:
        if not handled.is_set():
            handled.set()
            handler()

    def send() -> None:
        assert looked.wait(make_store.patience)
        store.depth("")  # the main thread waits now: see `waiting`
        while not handled.wait(0.1):  # CPython doesn't notice a signal that comes right before it blocks in a lock
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    with _on_signal(handle, make_store.patience):
        sender = Task(send, patience=make_store.patience)
        try:
            yield look
        finally:
            looked.set()
            handled.set()
            sender.result()


def test_a_signal_handler_commits_in_the_middle_of_a_commit(make_store: Maker) -> None:
    store = make_store()
    with _on_signal(lambda: store.commit(Put("late", b"from a handler")), make_store.patience):
        store.commit(Put("q", b"a"), stop=lambda: bool(signal.raise_signal(signal.SIGUSR1)))
    assert (payloads(store), payloads(store, "late")) == ([b"a"], [b"from a handler"])


def test_i7_a_signal_handler_ends_the_wait_that_it_interrupted(make_store: Maker) -> None:
    """The main thread waits to claim, and the handler of SIGTERM puts a stop marker: a common way to end a program."""
    store = make_store()
    with _interrupted_while_waiting(make_store, lambda: store.commit(Put("q", b"stop"))) as look:
        assert [claim.payload for claim in store.claim("q", timeout=None, stop=look)] == [b"stop"]


def test_i7_an_interrupted_claim_claims_nothing(make_store: Maker) -> None:
    store = make_store()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with _interrupted_while_waiting(make_store, interrupt) as look, pytest.raises(KeyboardInterrupt):
        store.claim("q", timeout=None, stop=look)
    store.commit(Put("q", b"a"))
    assert [claim.attempt for claim in store.claim("q")] == [1]


def test_i7_an_interrupted_wait_leaves_others_waiting(make_store: Maker) -> None:
    store = make_store()

    def interrupt() -> None:
        raise KeyboardInterrupt

    other = Task(lambda: store.wait("q", lambda depth: depth.ready == 1), patience=make_store.patience)
    with _interrupted_while_waiting(make_store, interrupt) as look, pytest.raises(KeyboardInterrupt):
        store.wait("q", lambda depth: look() or depth.ready == 2)
    store.commit(Put("q", b"a"))
    assert other.result()
