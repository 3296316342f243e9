"""Executors that break, are shut down or refuse meanwhile: each future ends all the same."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from concurrent.futures import thread as stdlib
from contextlib import suppress
from pathlib import Path
from queue import Full
from typing import Any

import pytest

from pqadapters.concurrent.futures import (
    JobFuture,
    JobParked,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from pqadapters.errors import DiskError, LimitReached
from pqadapters.opening import open_store
from pqadapters.store import Put

from ..contract.threads import Task
from . import work
from .conftest import Make


def test_a_worker_that_is_killed_while_idle_breaks_the_pool(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that the broken pool refused was forgotten, and its future with it."""
    executor = ProcessPoolExecutor(1, **place)
    os.kill(executor.submit(work.pid).result(work.PATIENCE), signal.SIGKILL)
    with suppress(BrokenExecutor):
        executor._issue(work.nothing).result(work.PATIENCE)  # the pool knows it now
    monkeypatch.setattr(executor, "_check_pool", lambda: None)  # submit() was past that before
    with pytest.raises(BrokenExecutor):
        executor.submit(work.nothing).result(work.PATIENCE)
    executor.shutdown(drain=False)
    with ProcessPoolExecutor(1, recover="manual", **place) as another:
        assert another.stats()["pending"] == 1
        another.purge("pending")


def fail_to_begin() -> None:
    raise OSError("no license")


def fail_behind_the_gate() -> None:
    work.hold("gate")
    fail_to_begin()


def test_a_broken_pool_ends_waiting_for_room(place: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in its backlog is begun by nobody, so there is no room to wait for."""
    executor = ThreadPoolExecutor(1, initializer=fail_behind_the_gate, max_pending=1, **place)
    first = executor.submit(work.nothing)
    work.reached("gate")
    store, looked = executor._backlog.store, threading.Event()
    store_wait = store.wait

    def wait_for_room(queue: str, until: Any, *timeout: Any) -> bool:
        def look(depth: Any) -> bool:
            looked.set()
            return bool(until(depth))

        return store_wait(queue, look if not timeout else until, *timeout)

    monkeypatch.setattr(store, "wait", wait_for_room)
    second = Task(lambda: executor.submit(work.nothing), patience=work.PATIENCE)
    assert looked.wait(work.PATIENCE)
    work.GATES["gate"].set()
    with pytest.raises(BrokenExecutor):
        second.result()
    with pytest.raises(BrokenExecutor):
        first.result(work.PATIENCE)
    executor.shutdown()


class Shuts:
    """Pickling it takes so long that its executor is shut down meanwhile."""

    def __init__(self, executor: ThreadPoolExecutor, wait: bool, drain: bool) -> None:
        self._executor, self._wait, self._drain = executor, wait, drain

    def __reduce__(self) -> Any:
        self._executor.shutdown(self._wait, drain=self._drain)
        return int, ()


def submits(executor: Any, options: dict[str, Any], function: Any, argument: Any) -> JobFuture:
    future: JobFuture = (executor.using(**options) if options else executor).submit(function, argument)
    return future


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"priority": 1}])
@pytest.mark.parametrize("drain", [True, False])
def test_a_submit_that_meets_a_shutdown_is_refused_as_a_later_one(
    make: Make, drain: bool, options: dict[str, Any]
) -> None:
    """It raised StoreClosed, which is no RuntimeError, where the store was closed meanwhile."""
    executor = make(1)
    executor.submit(work.double, 1).result(work.PATIENCE)
    with pytest.raises(RuntimeError, match="after shutdown"):
        submits(executor, options, work.double, Shuts(executor, True, drain))
    with make(1, recover="manual") as another:
        assert not list(another.jobs())


def test_who_asks_for_what_was_left_and_meets_a_shutdown_is_refused_as_after_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised StoreClosed, where a submit raises RuntimeError."""
    executor = make(recover="manual")
    store = executor._backlog.store
    browse = store.browse

    def late(*args: Any, **more: Any) -> Any:
        executor.shutdown()
        return browse(*args, **more)

    monkeypatch.setattr(store, "browse", late)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="was shut down"):
            executor.recovered()


def test_who_asks_for_what_was_left_as_the_executor_ends_isnt_left_waiting(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The futures were entered behind the look of who closes, so that they never came to an end."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.submit(work.note, 1)
    executor.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    executor.shutdown()
    executor = make(recover="manual")
    store, asked = executor._backlog.store, list[bool]()
    browse = store.browse

    def late(*args: Any, **more: Any) -> Any:
        found = list(browse(*args, **more))
        if not asked:
            asked.append(True)
            executor.shutdown()
        return iter(found)

    monkeypatch.setattr(store, "browse", late)
    with suppress(RuntimeError):
        assert all(future.cancelled() for future in executor.recovered())
    assert all(future.cancelled() for future in executor._backlog.attached.values())
    assert asked


def test_who_asks_for_anothers_job_as_its_executor_ends_isnt_left_waiting(url: str) -> None:
    """On a store of the program's own, which stays open: the future was one that nobody ends."""
    with open_store(url) as store, ThreadPoolExecutor(1, store=url) as another:
        another.using(key="k").submit(work.hold, "gate")
        work.reached("gate")
        executor = ThreadPoolExecutor(1, store=store)
        try:
            with pytest.raises(RuntimeError, match="after shutdown"):
                submits(executor, {"key": "k"}, work.double, Shuts(executor, True, True))
            assert executor.future(key="k").cancelled()
        finally:
            work.GATES["gate"].set()


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"priority": 1}])
def test_a_submit_that_is_refused_stores_nothing(
    make: Make, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored first, and taken off the disk only where the shutdown hadn't closed the store by then."""
    executor = make(1)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    commit, stored = executor._backlog.commit, list[Any]()
    monkeypatch.setattr(executor._backlog, "commit", lambda *ops: stored.extend(ops) or commit(*ops))
    with pytest.raises(RuntimeError, match="after shutdown"):
        submits(executor, options, work.double, Shuts(executor, False, False))
    assert not any(isinstance(op, Put) for op in stored)


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"priority": 1}])
@pytest.mark.parametrize("error", [DiskError("full"), LimitReached("full")])
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_submit_that_fails_ends_a_shutdown_that_waits_for_it(
    kind: type[Any], error: Exception, options: dict[str, Any], place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is being stored is waited for, and nobody was told that it came to nothing: shutdown() hung."""
    bound = {"max_pending": 9, "when_full": "raise"} if isinstance(error, LimitReached) else {}
    executor = kind(1, **bound, **place)
    backlog = executor._backlog
    waits, begun, drained, commit = threading.Event(), threading.Event(), backlog.drained, backlog.commit

    def look() -> bool:
        if not (over := drained()):
            waits.set()
        return bool(over)

    def refuse(*ops: Any) -> Any:
        if not any(isinstance(op, Put) for op in ops):
            return commit(*ops)
        begun.set()
        assert waits.wait(work.PATIENCE)
        raise error

    monkeypatch.setattr(backlog, "commit", refuse)
    task = Task(lambda: submits(executor, options, work.double, 2), patience=work.PATIENCE)
    assert begun.wait(work.PATIENCE)
    monkeypatch.setattr(backlog, "drained", look)
    ends = Task(executor.shutdown, patience=work.PATIENCE)
    with pytest.raises((DiskError, Full)):
        task.result()
    ends.result()


@pytest.mark.parametrize("rebuild", [True, False])
@pytest.mark.parametrize("initializer", [fail_to_begin, work.end_process])
def test_an_initializer_that_fails_isnt_tried_again_and_costs_no_attempt(
    initializer: Callable[[], None], rebuild: bool, place: dict[str, Any]
) -> None:
    """With rebuild=True each new pool cost the job an attempt, and it was parked without ever having run; without, it
    was taken for one that had been interrupted."""
    executor = ProcessPoolExecutor(1, rebuild=rebuild, initializer=initializer, interrupted="drop", **place)
    with pytest.raises(BrokenExecutor):
        executor.submit(work.double, 1).result(work.PATIENCE)
    executor.shutdown(drain=False)
    with ProcessPoolExecutor(1, recover="manual", interrupted="drop", **place) as another:
        assert [(job.state, job.attempts) for job in another.jobs()] == [("pending", 0)]
        (future,) = another.recovered()
        assert future.result(work.PATIENCE) == 2


def test_a_job_that_was_begun_before_isnt_blamed_for_an_initializer_that_ends_its_worker(
    place: dict[str, Any], tmp_path: Path
) -> None:
    """It runs in a pool beside the executor's, of which no worker begins either."""
    with pytest.raises(BrokenExecutor), ProcessPoolExecutor(1, **place) as executor:
        executor.submit(work.end_process_once, str(tmp_path / "once")).result(work.PATIENCE)
    with pytest.raises(BrokenExecutor), ProcessPoolExecutor(1, initializer=work.end_process, **place) as executor:
        executor.submit(work.double, 1).result(work.PATIENCE)
    with ProcessPoolExecutor(1, recover="manual", **place) as executor:
        assert sorted(job.attempts for job in executor.jobs()) == [0, 1]
        assert [future.exception(work.PATIENCE) for future in executor.recovered()] == [None, None]


def test_workers_that_are_killed_side_by_side_before_they_begin_are_no_failing_initializer(
    place: dict[str, Any], tmp_path: Path
) -> None:
    """Jobs that were begun before run in a pool each: three at a time, whose workers somebody kills. No pool was made
    anew behind that."""
    ends, begins = str(tmp_path / "ends"), str(tmp_path / "begins")
    with pytest.raises(BrokenExecutor), ProcessPoolExecutor(3, **place) as executor:
        for future in [executor.submit(work.end_three_processes, ends) for _ in range(3)]:
            future.result(work.PATIENCE)
    killed: dict[str, Any] = {"initializer": work.end_three_processes, "initargs": (begins,)}
    with ProcessPoolExecutor(3, recover="manual", rebuild=True, **killed, **place) as executor:
        assert [future.exception(work.PATIENCE) for future in executor.recovered()] == [None] * 3
        executor.submit(work.end_process_once, str(tmp_path / "once")).result(work.PATIENCE)


def test_a_worker_that_is_killed_before_it_begins_costs_no_attempt(place: dict[str, Any], tmp_path: Path) -> None:
    """By somebody else, say: then the next pool's begins."""
    once: dict[str, Any] = {"initializer": work.end_process_once, "initargs": (str(tmp_path / "once"),)}
    with ProcessPoolExecutor(1, rebuild=True, **once, **place) as executor:
        future: Any = executor.submit(work.double, 1)
        assert (future.result(work.PATIENCE), future.attempts) == (2, 1)


def test_two_jobs_that_kill_their_workers_are_both_parked(place: dict[str, Any]) -> None:
    """One at a time is on its last attempt; none of those that wait for it loses its future."""
    with ProcessPoolExecutor(2, rebuild=True, **place) as executor:
        futures = [executor.submit(work.end_process) for _ in range(3)]
        for future in futures:
            with pytest.raises(JobParked):
                future.result(work.PATIENCE)
        executor.purge("dead")


def test_a_job_that_is_dropped_is_cancelled(place: dict[str, Any]) -> None:
    """And its key is free."""
    with ProcessPoolExecutor(1, rebuild=True, interrupted="drop", **place) as executor:
        with pytest.raises(CancelledError):
            executor.using(key="k").submit(work.end_process).result(work.PATIENCE)
        assert executor.using(key="k").submit(work.double, 1).result(work.PATIENCE) == 2
    with ThreadPoolExecutor(1, recover="manual", **place) as another:
        assert list(another.jobs()) == []


@pytest.mark.parametrize(("looked_at", "drain"), [("drained", True), ("pool", True), ("pool", False), ("idle", False)])
def test_one_whose_last_job_ends_as_it_is_shut_down_is_closed(
    looked_at: str, drain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody waits for it. Who had the job found nobody to tell, and the store stayed open for good."""
    executor = ThreadPoolExecutor(1, path=tmp_path / "jobs", durability="process")
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    backlog: Any = executor._backlog
    closed, close, idle = threading.Event(), backlog.close, backlog.idle
    owner, name = (stdlib.ThreadPoolExecutor, "shutdown") if looked_at == "pool" else (backlog, looked_at)

    def ends_behind(look: Callable[..., object]) -> Callable[..., object]:
        def first(*args: Any, **options: Any) -> object:
            found = look(*args, **options)
            work.GATES["gate"].set()
            while threading.current_thread() is threading.main_thread() and not idle():
                threading.Event().wait(0.001)
            return found

        return first

    backlog.close = lambda: (close(), closed.set())
    monkeypatch.setattr(owner, name, ends_behind(getattr(owner, name)))
    executor.shutdown(wait=False, drain=drain)
    assert held.result(work.PATIENCE) == "gate"
    assert closed.wait(work.PATIENCE)


def test_a_callback_that_ends_the_last_thread_behind_a_shutdown(make: Make) -> None:
    """The next shutdown() waited for jobs that nobody would begin."""
    executor = make()
    first = executor.submit(work.hold, "gate")
    work.reached("gate")
    first.add_done_callback(lambda _: sys.exit())
    left = executor.submit(work.note, "left")
    executor.shutdown(wait=False)
    work.GATES["gate"].set()
    Task(executor.shutdown, patience=work.PATIENCE).result()
    assert first.result() == "gate"
    assert left.done()
    with make():
        pass
    assert work.DONE == ["left"]  # there, where the pool was shut already


def test_a_call_that_is_cancelled_in_a_pool_that_begins_no_more_ends_its_future(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits again then, behind the end of those that waited; the job stays on disk."""
    executor = ProcessPoolExecutor(1, **place)
    inner: Future[Any] = Future()
    monkeypatch.setattr(executor, "_issue", lambda *_: inner)
    future = executor.submit(work.nothing)
    executor.shutdown(wait=False, drain=False)
    inner.cancel()
    assert not wait([future], work.PATIENCE).not_done
    executor.shutdown()
    with ProcessPoolExecutor(1, recover="manual", **place) as another:
        assert another.stats()["pending"] == 1
        another.purge("pending")


def test_one_whose_last_thread_ends_in_the_middle_of_its_shutdown_is_closed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that does the last job closes the store, and wasn't told to yet."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    shutdown = stdlib.ThreadPoolExecutor.shutdown

    def ends(pool: Any, *args: Any, **options: Any) -> None:
        shutdown(pool, *args, **options)
        work.GATES["gate"].set()
        for thread in list(pool._threads):
            thread.join(work.PATIENCE)

    monkeypatch.setattr(stdlib.ThreadPoolExecutor, "shutdown", ends)
    executor.shutdown(wait=False)
    assert executor._backlog.closed
