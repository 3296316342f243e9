"""Jobs that are tried again: each try in the same future, and what comes between two of them."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.concurrent.futures import JobFuture, ThreadPoolExecutor, wait
from pqadapters.concurrent.futures._backlog import cancelling, finishing, loading, returning
from pqadapters.concurrent.futures._jobs.options import Options
from pqadapters.store import Nack

from . import work
from .conftest import Make


def test_a_retry_that_is_claimed_at_once_runs_in_the_same_future(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job was put back before its future waited again: another thread made a second future for it."""
    executor = make(2)
    executor.submit(work.nothing).result(work.PATIENCE)
    backlog = executor._backlog
    commit, others = backlog.commit, []

    def slow(*ops: Any) -> Any:
        results = commit(*ops)
        if any(type(op) is Nack for op in ops):
            others.append(executor.submit(work.nothing))  # somebody looks
            work.reached("again")
            work.ENTERED["looked"].release()
        return results

    monkeypatch.setattr(backlog, "commit", slow)
    assert executor.using(retries=1, backoff=0).submit(work.fail_once).result(work.PATIENCE) == 2
    work.reached("looked")
    assert not wait(others, work.PATIENCE).not_done
    assert not backlog.running


def test_a_shutdown_while_a_job_is_being_begun_leaves_it_its_retries(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither waited nor ran: the pool was shut, and its future waited for ever."""
    begin = JobFuture.begin

    def slow(future: JobFuture) -> bool:
        work.hold("begin")
        return begin(future)

    monkeypatch.setattr(JobFuture, "begin", slow)
    executor = make()
    future = executor.using(retries=1, backoff=0.01).submit(work.fail_until, 1, "done")
    work.reached("begin")
    executor.shutdown(wait=False)
    work.GATES["begin"].set()
    assert future.result(work.PATIENCE) == "done"


def test_each_try_has_its_time(make: Make) -> None:
    """The late outcome of the first try took the second one off the list of what runs."""
    executor = make(3)
    future = executor.using(timeout=0.3, retries=1, backoff=0.01).submit(work.hold_each_time)
    work.reached("run 1")
    work.reached("run 2")
    work.GATES["run 1"].set()
    with pytest.raises(TimeoutError, match="wasn't done in"):
        future.result(work.PATIENCE)
    work.GATES["run 2"].set()


def test_delays_end_and_tries_come_while_a_test_has_stopped_the_clock(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As freezegun does: the time of a job never came, or it was put off by as much as the two clocks differ."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    executor = make()
    assert executor.using(delay=0.01).submit(work.double, 1).result(work.PATIENCE) == 2
    assert executor.using(retries=1, backoff=0.01).submit(work.fail_once).result(work.PATIENCE) == 2


def test_an_earlier_run_of_a_job_doesnt_put_back_the_one_that_runs(make: Make) -> None:
    executor = make()
    future: Any = executor.submit(work.hold, "gate")
    work.reached("gate")
    assert not returning.wait_again(executor._backlog, future, future.attempts - 1)
    work.GATES["gate"].set()
    assert future.result(work.PATIENCE) == "gate"
    assert not returning.wait_again(executor._backlog, future, future.attempts)


def test_a_job_that_was_begun_again_as_its_first_run_failed_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = make()
    future: Any = executor.using(retries=2).submit(work.hold, "gate")
    work.reached("gate")

    def begun_again(options: Options, failures: int) -> float:
        future.attempts += 1
        return 0.0

    monkeypatch.setattr(Options, "pause", begun_again)
    claim: Any = SimpleNamespace(attempt=future.attempts)
    first = loading.Started(future, claim, (work.nothing, (), {}), future._options)
    finishing.finish(executor._backlog, first, None, OSError("out of time"))
    assert future._id in executor._backlog.running
    future.attempts -= 1
    work.GATES["gate"].set()
    assert future.result(work.PATIENCE) == "gate"


def test_one_that_is_looked_for_before_the_store_thinks_it_due_is_looked_for_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returning, "_AGAIN", 0.02)
    executor = make()
    future = executor.using(delay=0.1).submit(work.double, 1)
    returning.come_back(executor._backlog, future._id, 0.0)
    assert future.result(work.PATIENCE) == 2


def test_one_whose_cancel_comes_too_late_is_begun(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has looked for a job meanwhile has found none."""
    executor = make(1)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future: Any = executor.submit(work.double, 21)
    claim = executor._backlog.claim

    def as_it_waits_for_its_next_try(*args: Any, **options: Any) -> Any:
        monkeypatch.undo()
        claims = claim(*args, **options)
        assert future.begin()
        work.GATES["gate"].set()
        with executor._tickets.changed:
            assert executor._tickets.changed.wait_for(executor._tickets.idle, work.PATIENCE)
        return claims

    monkeypatch.setattr(executor._backlog, "claim", as_it_waits_for_its_next_try)
    assert not cancelling.cancel_stored(executor._backlog, future._id, future._record, future)
    assert future.result(work.PATIENCE) == 42


@pytest.mark.parametrize("how", ["cancel", "purge", "drain=False", "cancel_futures"])
def test_a_job_that_waits_for_its_next_try_can_be_cancelled(how: str, make: Make) -> None:
    """Its future is running, which the standard library's cancel() leaves alone."""
    executor = make(1)
    future = executor.using(retries=1, backoff=600).submit(work.fail, "no")
    executor._backlog.store.wait("default", lambda depth: depth.delayed > 0)
    if how == "cancel":
        assert executor.cancel(future.job_id)
    elif how == "purge":
        assert executor.purge("delayed") == 1
    elif how == "drain=False":
        executor.shutdown(drain=False)
    else:
        executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        future.result(work.PATIENCE)


def hold_and_fail() -> None:
    work.hold("gate")
    raise OSError("no")


def test_a_job_that_fails_behind_the_end_is_left_for_the_next_executor(make: Make) -> None:
    """It was running when nothing was to be begun any more, and nobody would have tried it again."""
    executor = make(1)
    future = executor.using(retries=1, backoff=600).submit(hold_and_fail)
    work.reached("gate")
    executor.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    with pytest.raises(CancelledError):
        future.result(work.PATIENCE)
    executor.shutdown()
    assert make(1, recover="manual").stats()["delayed"] == 1


@pytest.mark.parametrize("options", [{"delay": 0.2}, {"retries": 1, "backoff": 0.2}])
def test_an_executor_that_nobody_has_is_there_when_a_job_is_due(options: Any, place: dict[str, Any]) -> None:
    def submit() -> JobFuture:
        work.DONE.extend(["run"] if "delay" in options else [])
        return ThreadPoolExecutor(1, **place).using(**options).submit(work.fail_once)

    future = submit()
    gc.collect()
    assert future.result(work.PATIENCE) == 2


def test_a_cancel_that_meets_a_failing_try_leaves_the_next_one_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the job off the disk and returned False, and the future never came to an end."""
    executor, failed = make(), threading.Event()
    executor.submit(work.hold, "first")
    future = executor.using(retries=1, backoff=3600.0).submit(work.fail_until, 1, "done")
    monkeypatch.setattr(finishing, "wait_until_due", lambda *_: failed.set())

    def late(*args: Any) -> bool:
        work.GATES["first"].set()
        assert failed.wait(work.PATIENCE)
        return cancelling.cancel(*args)

    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.future.cancel", late)
    assert not future.cancel()
    assert future.running()
    assert executor.cancel(future.job_id)
    with pytest.raises(CancelledError):
        future.result(work.PATIENCE)
