"""A job that waits for its next try, and that somebody asks for meanwhile: both futures come to its end.

One of the two was forgotten wherever the job ended otherwise than by an outcome here, and whoever had it waited for
ever.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pqadapters.clock import SYSTEM, Clock
from pqadapters.concurrent.futures import CancelledError, JobFuture, ThreadPoolExecutor, wait
from pqadapters.concurrent.futures._backlog import finishing
from pqadapters.concurrent.futures._backlog.backlog import Backlog
from pqadapters.concurrent.futures._jobs.outcome import Outcome
from pqadapters.concurrent.futures._others import peers
from pqadapters.errors import StoreClosed

from ..contract.threads import Task, is_gone, together
from . import work
from .conftest import Make
from .test_left_behind import end

HOUR = 3600.0


def leave_failing(make: Make, **options: Any) -> str:
    """A job of an earlier executor that fails at its first try."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    job: str = executor.using(**options).submit(work.fail_until, 1, "done").job_id
    end(executor)
    return job


def ask(executor: ThreadPoolExecutor, patch: pytest.MonkeyPatch) -> JobFuture:
    """For its one job, as if nobody had its future: who runs it was between claiming it and saying so."""
    with patch.context() as context:
        context.setattr(Backlog, "unfinished", lambda self, id: None)
        [future] = executor.recovered()
    return future


def waits_for_its_next_try(executor: ThreadPoolExecutor) -> JobFuture:
    [future] = executor.recovered()
    executor.submit(work.nothing).result(work.PATIENCE)  # behind the first try
    assert future._id in executor._backlog.live
    return future


ENDS: dict[str, Callable[[ThreadPoolExecutor, JobFuture], object]] = {
    "purged": lambda executor, future: executor.purge("delayed"),
    "purged by its id": lambda executor, future: executor.purge(job_id=future.job_id),
    "cancelled by its id": lambda executor, future: executor.cancel(future.job_id),
    "left": lambda executor, future: executor.shutdown(drain=False),
}


@pytest.mark.parametrize("how", ENDS)
def test_both_are_cancelled(how: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_failing(make, retries=1, backoff=HOUR)
    executor = make()
    futures = [waits_for_its_next_try(executor), ask(executor, monkeypatch)]
    ENDS[how](executor, futures[0])
    assert not wait(futures, work.PATIENCE).not_done
    for future in futures:
        with pytest.raises(CancelledError):
            future.result()


def test_both_are_cancelled_by_another_executor(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_failing(make, retries=1, backoff=HOUR)
    executor = make()
    futures = [waits_for_its_next_try(executor), ask(executor, monkeypatch)]
    make(recover="manual").purge("delayed")
    assert not wait(futures, work.PATIENCE).not_done


def test_both_hear_of_a_try_in_another_executor(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_failing(make, retries=1, backoff=HOUR)
    executor = make()
    first = waits_for_its_next_try(executor)
    executor.submit(work.hold, "busy")
    work.reached("busy")  # and the next try isn't made here
    futures = [first, ask(executor, monkeypatch)]
    later = SYSTEM.wall() + HOUR
    monkeypatch.setattr(Clock, "wall", staticmethod(lambda: later))
    make()
    assert [future.result(work.PATIENCE) for future in futures] == ["done", "done"]
    work.GATES["busy"].set()


def test_who_asks_twice_has_one_future(make: Make) -> None:
    leave_failing(make, retries=1, backoff=HOUR)
    executor = make()
    waiting = waits_for_its_next_try(executor)
    assert executor.recovered() == [waiting]


def test_who_else_waits_for_one_that_is_cancelled_is_told(make: Make) -> None:
    executor = make()
    executor.stats()
    backlog = executor._backlog
    future: Any = executor.using(delay=HOUR).submit(work.nothing)
    backlog.attached[future._id] = other = JobFuture(backlog, future._id, None)
    assert future.cancel()
    assert other.cancelled()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_who_has_asked_for_one_that_runs_is_told(elsewhere: bool, make: Make) -> None:
    """Also where a callback of the future that ran ends its thread."""
    executor, other = make(), make(recover="manual")
    other.stats()
    future: Any = executor.submit(work.hold, "gate")
    work.reached("gate")
    backlog = (other if elsewhere else executor)._backlog
    backlog.attached[future._id] = asked_for = JobFuture(backlog, future._id, None)
    if elsewhere and backlog.sharing is not None:
        backlog.sharing.watch(future._id)

    def end_thread(_: object) -> None:
        raise SystemExit

    future.add_done_callback(end_thread)
    work.GATES["gate"].set()
    assert asked_for.result(work.PATIENCE) == "gate"


def test_one_whose_claim_is_lost_comes_to_what_who_asked_hears(url: str) -> None:
    """Of what comes from the other process only one was told."""
    with ThreadPoolExecutor(1, store=url) as executor:
        executor.stats()
        backlog, id = executor._backlog, b"some other's job"
        runs, asked_for = JobFuture(backlog, id, None), JobFuture(backlog, id, None)
        backlog.attached[id] = asked_for
        finishing._wait_for_others(backlog, runs)
        finishing.hear_outcome(backlog, id, Outcome("done"))
        assert [each.result(work.PATIENCE) for each in (runs, asked_for)] == ["done", "done"]


def test_the_options_of_a_job_that_one_has_asked_for_hold_where_another_runs_it(make: Make) -> None:
    """On a directory the future that was asked for went over, and its job was run as one without options: it wasn't
    tried again, and its key stayed behind as that of a job which was still to come."""
    job = leave_failing(make, key="k", retries=1, backoff=0)
    one = make(recover="manual")
    one.submit(work.hold, "busy")
    work.reached("busy")
    [future] = one.recovered()
    other = make()
    assert future.result(work.PATIENCE) == "done"
    assert other.future(key="k").result(work.PATIENCE) == "done"
    assert other.future(job).done()
    work.GATES["busy"].set()


class Filling(dict[bytes, JobFuture]):
    """One more comes right behind the look at what is there."""

    late: JobFuture

    def values(self) -> Any:
        return self.copy().values()

    def copy(self) -> dict[bytes, JobFuture]:
        found = super().copy()
        self.setdefault(self.late._id, self.late)
        return found


@pytest.mark.parametrize("way", ["leave", "break_with", "fail"])
@pytest.mark.parametrize("where", ["live", "attached"])
def test_one_that_comes_while_all_are_ended_is_ended(
    way: str, where: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that failed, or was asked for, in the middle of a shutdown."""
    backlog = make()._backlog
    filling = Filling()
    filling.late = JobFuture(backlog, b"late", None)
    filling[b"first"] = first = JobFuture(backlog, b"first", None)
    monkeypatch.setattr(backlog, where, filling)
    getattr(backlog, way)(*([] if way == "leave" else [RuntimeError("the end")]))
    assert first.done()
    assert filling.late.done()
    assert not filling


def test_a_future_whose_job_couldnt_be_watched_isnt_found_by_others(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was closed in that moment; whoever asked for the job as well had what nobody ends."""
    with ThreadPoolExecutor(1, store=url) as another, ThreadPoolExecutor(1, store=url, recover="manual") as executor:
        held: Any = another.submit(work.hold, "gate")
        job = held.job_id
        work.reached("gate")
        executor.stats()
        sharing, gate = executor._backlog.sharing, work.GATES["watched"]
        assert sharing is not None

        def fail(id: bytes) -> None:
            work.hold("watched")
            raise StoreClosed("closed just now")

        monkeypatch.setattr(sharing, "watch", fail)
        tasks = [Task(lambda: executor.future(job), patience=work.PATIENCE)]
        work.reached("watched")
        tasks.append(Task(lambda: executor.future(job), patience=work.PATIENCE))
        gate.set()
        for task in tasks:
            with pytest.raises(StoreClosed):
                task.result()
        assert not executor._backlog.attached
        work.GATES["gate"].set()


class Opened:
    """As far as others look at it."""

    closed = forked = False


def test_executors_that_open_at_once_know_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them was forgotten, and what it waited for was told to nobody."""
    monkeypatch.setattr(peers, "_open", type(peers._open)())
    made: list[Any] = [Opened() for _ in range(400)]
    interval = sys.getswitchinterval()

    def enter(some: list[Any]) -> None:
        for each in some:
            peers.enter(each)

    sys.setswitchinterval(1e-6)
    try:
        together([partial(enter, made[at::4]) for at in range(4)], patience=work.PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    assert set(peers.others(made[0])) == set(made[1:])


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("cancelled", [False, True])
def test_who_follows_a_future_comes_to_the_same(make: Make, cancelled: bool, ended: bool) -> None:
    """Also where that has just come to its end."""
    backlog = make(1)._backlog
    first, second = (JobFuture(backlog, bytes(16), None) for _ in range(2))

    def come_to_it() -> None:
        if cancelled:
            first.cancel_here()
        else:
            first.settle(42, None)

    if ended:
        come_to_it()
    second.follow(first)
    come_to_it()
    assert second.done()
    assert second.cancelled() == cancelled
    assert cancelled or second.result(0) == 42


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_future_that_is_done_keeps_no_executor_and_no_call(place: dict[str, Any], cancelled: bool) -> None:
    executor, given = ThreadPoolExecutor(1, **place), work.LoadedIn("")
    gone, call = weakref.ref(executor), weakref.ref(given)
    future = executor.using(delay=600 if cancelled else 0, retries=1).submit(id, given)
    assert future.cancel() if cancelled else future.result(work.PATIENCE)
    del executor, given
    assert is_gone(gone, patience=work.PATIENCE)
    assert is_gone(call, patience=work.PATIENCE)
    assert future.done()
