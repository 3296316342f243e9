"""A delayed job is cancelled in the moment in which it is begun: it is cancelled, or it is run, and cancel() knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.clock import SYSTEM, Clock
from pqadapters.concurrent.futures import ThreadPoolExecutor
from pqadapters.concurrent.futures._backlog import clock
from pqadapters.store import Delete, Nack, Op, Record, Set, State
from pqadapters.stores.sqlite import SqliteStore

from . import work
from .conftest import Make

DAY = 86400.0  #: seconds until a job is due: no machine is so slow that it is before the clock is put forward


@pytest.fixture
def a_day_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """For stores, and for what executors call later."""
    passed = 0.0
    monkeypatch.setattr(Clock, "wall", staticmethod(lambda: time.time() + passed))
    monkeypatch.setattr(clock, "SYSTEM", SimpleNamespace(monotonic=lambda: SYSTEM.monotonic() + passed))

    def put_forward() -> None:
        nonlocal passed
        passed += DAY
        clock.call_in(0.0, bool)  # who waits there looks again

    return put_forward


def cancels(executor: ThreadPoolExecutor, kind: type[Set] | type[Delete], ops: tuple[Op, ...]) -> bool:
    """Whether a commit sets tombstones, or takes them away."""
    table = executor._backlog.names.cancelled
    return any(isinstance(op, kind) and op.table == table for op in ops)


def test_a_job_that_is_begun_before_its_tombstone_is_there_keeps_its_key(
    make: Make, monkeypatch: pytest.MonkeyPatch, a_day_passes: Callable[[], None]
) -> None:
    """In a store of one process the key was free while it ran, and the tombstone stayed, for its next try to find."""
    executor = make()
    future = executor.using(key="it", delay=DAY).submit(work.hold, "gate")
    commit = executor._backlog.commit

    def begun_before(*ops: Op) -> Any:
        if cancels(executor, Set, ops):
            a_day_passes()
            work.reached("gate")
        return commit(*ops)

    with monkeypatch.context() as patch:
        patch.setattr(executor._backlog, "commit", begun_before)
        assert not future.cancel()
    assert executor.using(key="it").submit(work.double, 21) is future
    work.GATES["gate"].set()
    assert future.result(work.PATIENCE) == "gate"
    assert not executor._backlog.store.count(executor._backlog.names.cancelled)


def test_a_job_that_fails_before_its_tombstone_is_there_is_tried_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, a_day_passes: Callable[[], None]
) -> None:
    """Its next try found the tombstone, though cancel() had said that it isn't cancelled."""
    executor, failed = make(), threading.Event()
    future = executor.using(delay=DAY, retries=1, backoff=DAY).submit(work.fail_until, 1, "done")
    commit = executor._backlog.commit

    def failed_before(*ops: Op) -> Any:
        if cancels(executor, Set, ops):
            a_day_passes()
            assert failed.wait(work.PATIENCE)
        done = commit(*ops)
        if any(isinstance(op, Nack) for op in ops):
            failed.set()
        return done

    monkeypatch.setattr(executor._backlog, "commit", failed_before)
    assert not future.cancel()
    a_day_passes()
    assert future.result(work.PATIENCE) == "done"
    assert future.attempts == 2


def test_a_cancelled_job_and_its_tombstone_go_when_it_is_due(make: Make, a_day_passes: Callable[[], None]) -> None:
    """The tombstone without the job would let a later executor run it."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    assert executor.using(delay=DAY).submit(work.note, "cancelled").cancel()
    executor.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    executor.shutdown()
    a_day_passes()
    make().shutdown()
    executor = make(recover="manual")
    backlog = executor._backlog
    assert (backlog.store.depth(backlog.names.jobs).unfinished, backlog.store.count(backlog.names.cancelled)) == (0, 0)
    make().shutdown()
    assert not work.DONE


def test_a_job_whose_tombstone_is_taken_away_as_it_is_found_is_run(
    url: str, monkeypatch: pytest.MonkeyPatch, a_day_passes: Callable[[], None]
) -> None:
    """Who had found it dropped the job, and cancel() had said that it isn't cancelled."""
    canceller, found, away = threading.current_thread(), threading.Event(), threading.Event()
    with ThreadPoolExecutor(1, store=url) as executor:
        future = executor.using(key="it", delay=DAY).submit(work.double, 21)
        commit = executor._backlog.commit

        def in_turn(*ops: Op) -> Any:
            takes_away = cancels(executor, Delete, ops)
            if threading.current_thread() is not canceller and takes_away:
                found.set()
                assert away.wait(work.PATIENCE)
            done = commit(*ops)
            if threading.current_thread() is canceller and cancels(executor, Set, ops):
                a_day_passes()
                assert found.wait(work.PATIENCE)
            elif threading.current_thread() is canceller and takes_away:
                away.set()
            return done

        monkeypatch.setattr(executor._backlog, "commit", in_turn)
        assert not future.cancel()
        assert future.result(work.PATIENCE) == 42
        assert executor.future(key="it") is future


def test_of_two_who_cancel_a_job_that_is_begun_neither_does(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One took the other's tombstone away, and that one took the job for dropped."""
    with ThreadPoolExecutor(1, store=url) as executor, ThreadPoolExecutor(1, store=url, recover="manual") as other:
        future = executor.using(delay=3600).submit(work.double, 21)
        other.stats()  # it is open now
        browse, is_begun, also = SqliteStore.browse, threading.Event(), list[bool]()
        commit, theirs = executor._backlog.commit, other._backlog.commit

        def others_as_well(*ops: Op) -> Any:
            done = commit(*ops)
            if cancels(executor, Set, ops) and not also:
                also.append(other.cancel(future.job_id))
            return done

        def begun_then(*ops: Op) -> Any:
            try:
                return theirs(*ops)
            finally:
                is_begun.set()

        def claimed(self: SqliteStore, *args: Any, **more: Any) -> Iterator[Record]:
            for record in browse(self, *args, **more):
                yield record._replace(state=State.CLAIMED) if is_begun.is_set() else record

        monkeypatch.setattr(executor._backlog, "commit", others_as_well)
        monkeypatch.setattr(other._backlog, "commit", begun_then)
        with monkeypatch.context() as patch:
            patch.setattr(SqliteStore, "browse", claimed)
            assert not future.cancel()
        assert also == [False]
        assert future.cancel()


def test_of_two_who_cancel_a_job_at_once_both_know_that_it_is_cancelled(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cancel() was False to the slower one, as if somebody ran the job."""
    with ThreadPoolExecutor(1, store=url) as executor, ThreadPoolExecutor(1, store=url, recover="manual") as other:
        future = executor.using(delay=3600).submit(work.double, 21)
        other.stats()  # it is open now
        theirs, first = other._backlog.commit, list[bool]()

        def behind_the_first(*ops: Op) -> Any:
            if cancels(other, Set, ops) and not first:
                first.append(future.cancel())
            return theirs(*ops)

        monkeypatch.setattr(other._backlog, "commit", behind_the_first)
        assert other.cancel(future.job_id)
        assert first == [True]
        assert future.cancelled()


def test_a_delayed_job_that_another_process_has_cancelled_is_waited_for_no_more(url: str) -> None:
    """By who shuts down, for a day."""
    executor = ThreadPoolExecutor(1, store=url)
    future = executor.using(delay=DAY).submit(work.double, 21)
    with ThreadPoolExecutor(1, store=url, recover="manual") as other:
        assert other.cancel(future.job_id)
    with pytest.raises(CancelledError):
        future.result(work.PATIENCE)
    due = [*executor._backlog.delayed]
    executor.shutdown(drain=False)
    assert not due


def test_one_that_is_cancelled_as_it_is_stored_is_waited_for_no_more(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another process, which has found it before the clock of this one was told."""
    executor = ThreadPoolExecutor(1, store=url)
    executor.submit(work.double, 21).result(work.PATIENCE)  # it is open now
    backlog = executor._backlog
    commit = backlog.commit
    with ThreadPoolExecutor(1, store=url, recover="manual") as other:

        def cancelled_at_once(*ops: Op) -> Any:
            done = commit(*ops)
            (waiting,) = backlog.live.values()
            monkeypatch.setattr(backlog, "commit", commit)
            assert other.cancel(waiting.job_id)
            with pytest.raises(CancelledError):
                waiting.result(work.PATIENCE)
            return done

        monkeypatch.setattr(backlog, "commit", cancelled_at_once)
        assert executor.using(delay=DAY).submit(work.double, 21).cancelled()
    due = [*backlog.delayed]
    executor.shutdown(drain=False)
    assert not due
