"""Two executors of one process on one place: whichever runs a job, who waits for it hears of its end.

On a directory the one that was made last took over jobs of the other, ran copies of them, and told nobody: their
futures, and the shutdown() of the other one, waited for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.clock import SYSTEM, Clock
from pqadapters.concurrent.futures import CancelledError, JobFuture, ThreadPoolExecutor, wait
from pqadapters.concurrent.futures._backlog import returning, starting
from pqadapters.concurrent.futures._others import peers
from pqadapters.opening import open_store

from ..contract.threads import Task
from . import work
from .conftest import Make
from .test_left_behind import leave


def test_jobs_of_one_that_another_runs_come_to_their_end(make: Make) -> None:
    one = make()
    held = one.submit(work.hold, "gate")
    work.reached("gate")
    futures = [one.submit(work.double, number) for number in range(30)]
    other = make()  # it takes what it finds
    assert [future.result(work.PATIENCE) for future in futures] == [2 * number for number in range(30)]
    assert not held.done()
    work.GATES["gate"].set()
    one.shutdown()
    assert other.submit(work.double, 4).result(work.PATIENCE) == 8


def test_what_one_couldnt_begin_is_begun_by_who_waits_for_it(make: Make) -> None:
    one, other = make(1), make(recover="manual")
    held = one.submit(work.hold, "gate")
    work.reached("gate")
    future = one.submit(work.double, 1)
    other.stats()
    backlog = other._backlog
    backlog.foreign = backlog.recovering = True
    started = starting.next_job(backlog)
    assert started is not None
    backlog.foreign = backlog.recovering = False
    work.GATES["gate"].set()
    held.result(work.PATIENCE)
    with one._tickets.changed:
        assert one._tickets.changed.wait_for(one._tickets.idle, work.PATIENCE)
    starting.give_up(backlog, started)
    assert future.result(work.PATIENCE) == 2


def test_the_very_objects_are_called(tmp_path: Path) -> None:
    """As far as one process has a store alone; another one may have taken the bytes."""
    results: list[int] = []
    store = open_store(f"file://{tmp_path}/jobs?durability=process")
    with ThreadPoolExecutor(1, store=store) as one:
        one.submit(work.hold, "gate")
        work.reached("gate")
        future = one.submit(results.append, 1)
        with ThreadPoolExecutor(1, store=store):
            future.result(work.PATIENCE)
        work.GATES["gate"].set()
    store.close()
    assert results == [1]


def test_one_that_shuts_down_waits_for_its_job_in_the_other(make: Make) -> None:
    one = make()
    one.submit(work.hold, "gate")
    work.reached("gate")
    future = one.submit(work.hold, "other")
    make()
    work.reached("other")
    work.GATES["gate"].set()
    one.shutdown(wait=False)
    assert not future.done()
    work.GATES["other"].set()
    one.shutdown()
    assert future.result(work.PATIENCE) == "other"


def test_one_that_was_shut_down_is_closed_behind_its_job_in_the_other(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody waits for that."""
    one, closed = make(), threading.Event()
    one.submit(work.hold, "gate")
    work.reached("gate")
    one.submit(work.hold, "other")
    make()
    work.reached("other")
    close = one._backlog.close

    def close_and_tell() -> None:
        close()
        closed.set()

    monkeypatch.setattr(one._backlog, "close", close_and_tell)
    one.shutdown(wait=False)
    work.GATES["gate"].set()
    with one._tickets.changed:
        assert one._tickets.changed.wait_for(one._tickets.idle, work.PATIENCE)
    work.GATES["other"].set()
    assert closed.wait(work.PATIENCE)


def test_one_that_was_shut_down_is_closed_when_the_other_takes_its_last_job_away(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its store stayed open, and its directory closed to other processes, for as long as this one lived."""
    one, closed = make(), threading.Event()
    one.using(delay=3600).submit(work.nothing)
    close = one._backlog.close
    monkeypatch.setattr(one._backlog, "close", lambda: (close(), closed.set()))
    one.shutdown(wait=False)
    assert make(recover="manual").purge("delayed") == 1
    assert closed.wait(work.PATIENCE)


def test_two_threads_shut_down_one_whose_job_another_has(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that drops the rest closes it; the other one waited for ever for the job that went over."""
    one = make()
    one.submit(work.hold, "gate")
    work.reached("gate")
    one.submit(work.hold, "other")
    make()
    work.reached("other")
    idle, drained = threading.Event(), one._backlog.drained

    def drained_or_idle() -> bool:
        if one._tickets.idle():
            idle.set()
        return drained()

    monkeypatch.setattr(one._backlog, "drained", drained_or_idle)
    patient = Task(one.shutdown, patience=work.PATIENCE)
    work.GATES["gate"].set()
    assert idle.wait(work.PATIENCE)
    one.shutdown(wait=False, drain=False)
    work.GATES["other"].set()
    patient.result()


class Leaving(dict[bytes, JobFuture]):
    """Its executor leaves right behind the look at one of them."""

    leave: Callable[[], object]

    def get(self, id: bytes, *default: Any) -> Any:
        found = super().get(id, *default)
        self.leave()
        return found

    def pop(self, id: bytes, *default: Any) -> Any:
        found = super().pop(id, *default)
        self.leave()
        return found


def test_one_leaves_while_the_other_takes_its_job(tmp_path: Path) -> None:
    """It was cancelled, since it hadn't begun, and then dropped by who had it in hand, as if somebody had done that."""
    place: dict[str, Any] = {"path": tmp_path / "jobs", "durability": "process"}
    with ThreadPoolExecutor(1, **place) as one:
        one.submit(work.hold, "gate")
        work.reached("gate")
        future = one.submit(work.note, 1)
        leaving = Leaving(one._backlog.live)
        leaving.leave = one._backlog.leave
        one._backlog.live = leaving
        ThreadPoolExecutor(1, **place).shutdown()
        assert work.DONE == [1]
        assert future.result(work.PATIENCE) == 1
        work.GATES["gate"].set()


@pytest.mark.parametrize("leaves", [True, False])
def test_a_job_that_failed_in_another_waits_with_its_own(
    leaves: bool, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for its next try with who had begun it, at whose end it was cancelled, or failed (StoreClosed)."""
    with ThreadPoolExecutor(1, **place) as one:
        one.submit(work.hold, "gate")
        work.reached("gate")
        future: Any = one.using(retries=1, backoff=3600).submit(work.fail_until, 1, "done")
        other = ThreadPoolExecutor(1, **place)
        other.submit(work.hold, "behind it")
        work.reached("behind it")
        assert work.DONE == ["try"]
        assert future._id in one._backlog.live
        if leaves:
            other.shutdown(wait=False, drain=False)
        work.GATES["behind it"].set()
        if leaves:
            other.shutdown()
        del other
        later = SYSTEM.wall() + 3600
        monkeypatch.setattr(Clock, "wall", staticmethod(lambda: later))
        work.GATES["gate"].set()
        returning._back(one._backlog, future._id)  # as its clock does when it is due
        assert future.result(work.PATIENCE) == "done"


def test_a_job_that_failed_in_another_stays_there_where_its_own_runs_no_more(tmp_path: Path) -> None:
    """With one that has left, and waits for the job that it runs itself, it would be cancelled."""
    place: dict[str, Any] = {"path": tmp_path / "jobs", "durability": "process"}
    with ThreadPoolExecutor(1, **place) as one:
        one.submit(work.hold, "busy")
        work.reached("busy")
        future = one.using(retries=1, backoff=0.01).submit(work.fail_at, "gate")
        with ThreadPoolExecutor(1, **place):
            work.reached("gate")
            one.shutdown(wait=False, drain=False)
            work.GATES["gate"].set()
            wait([future], work.PATIENCE)
            work.GATES["busy"].set()
            assert future.result(0) == "gate"


def test_one_key_is_one_run(make: Make) -> None:
    one, other = make(), make()
    first = one.using(key="k").submit(work.hold, "gate")
    work.reached("gate")
    second = other.using(key="k").submit(work.hold, "gate")
    third = other.future(first.job_id)
    work.GATES["gate"].set()
    done, pending = wait([first, second, third], work.PATIENCE)
    assert not pending
    assert {future.result() for future in done} == {"gate"}


def test_both_hear_of_what_was_left(make: Make) -> None:
    leave(make, (work.hold, "first"), *((work.double, number) for number in range(10)))
    one, other = make(recover="manual"), make(recover="manual")
    mine = one.recovered()
    work.reached("first")
    theirs = other.recovered()
    work.GATES["first"].set()
    done, pending = wait([*mine, *theirs], work.PATIENCE)
    assert not pending
    assert {future.result() for future in done} >= {"first", 0, 18}


def test_priorities_of_jobs_of_the_other_are_kept(make: Make) -> None:
    """One that had opened before any had one began them in the order in which they had been submitted."""
    leave(make, (work.hold, "one"))
    make()
    work.reached("one")
    other = make(recover="manual")
    other.submit(work.hold, "other")
    work.reached("other")
    futures = [other.using(priority=number).submit(work.note, number) for number in (3, 1, 2)]
    work.GATES["one"].set()
    assert not wait(futures, work.PATIENCE).not_done
    assert work.DONE == [1, 2, 3]
    work.GATES["other"].set()


def test_what_the_other_asked_for_is_told_as_recovered(make: Make) -> None:
    (left,) = leave(make, (work.double, 1))
    one, told = make(recover="manual"), list[JobFuture]()
    future = one.future(left.job_id)
    make(on_recovered=told.append)
    assert future.result(work.PATIENCE) == 2
    assert [each.job_id for each in told] == [left.job_id]


def test_a_delayed_job_that_one_cancels_isnt_run_by_the_other(make: Make) -> None:
    """By its tombstone, which the other one has to look for."""
    one = make(recover="manual")
    is_cancelled = False
    while not is_cancelled:  # a slow machine has begun it by then
        work.DONE.clear()
        cancelled = one.using(delay=0.05).submit(work.note, "cancelled")
        other = make()
        is_cancelled = one.cancel(cancelled.job_id) or not wait([cancelled], work.PATIENCE).done
    other.using(delay=0.1).submit(work.note, "kept").result(work.PATIENCE)
    assert work.DONE == ["kept"]


def test_one_cancels_what_the_other_was_given(make: Make) -> None:
    one = make()
    one.submit(work.hold, "gate")
    work.reached("gate")
    other = make(recover="manual")
    waiting: Any = one.submit(work.note, "cancelled")
    assert other.cancel(waiting.job_id)
    with pytest.raises(CancelledError):
        waiting.result(work.PATIENCE)
    work.GATES["gate"].set()
    one.shutdown()
    assert not work.DONE


@pytest.mark.parametrize("added", ["before", "behind"])
def test_one_whose_job_ends_the_others_thread_by_a_callback_is_shut_down(added: str, make: Make) -> None:
    """The callbacks behind it were left out, and among them what told the executor that its job was over."""

    def leave(future: object) -> None:
        raise SystemExit

    one = make()
    one.submit(work.hold, "busy")
    work.reached("busy")
    future: Any = one.submit(work.hold, "gate")
    if added == "before":
        future.add_done_callback(leave)
    make()
    work.reached("gate")
    if added == "behind":
        future.add_done_callback(leave)
    work.GATES["gate"].set()
    assert future.result(work.PATIENCE) == "gate"
    work.GATES["busy"].set()
    Task(one.shutdown, patience=work.PATIENCE).result()


def test_two_that_wait_for_what_a_third_one_begins_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One had asked for the job of the other while that was between two tables; the third one took over its future, and
    looked for no other."""
    place: dict[str, Any] = {"path": tmp_path / "jobs", "durability": "process"}
    with ThreadPoolExecutor(1, **place) as one, ThreadPoolExecutor(1, recover="manual", **place) as two:
        one.submit(work.hold, "busy")
        work.reached("busy")
        two.stats()
        future: Any = one.submit(work.double, 1)
        asked_for = two._backlog.attached[future._id] = JobFuture(two._backlog, future._id, None)
        others = peers.others
        monkeypatch.setattr(peers, "others", lambda each: sorted(others(each), key=lambda one_: one_ is one._backlog))
        with ThreadPoolExecutor(1, **place):
            assert not wait([future, asked_for], work.PATIENCE).not_done
        assert future.result() == asked_for.result() == 2
        work.GATES["busy"].set()
