"""Jobs that are claimed some at a time. Here the clock stands still, so all jobs follow each other at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures.thread import BrokenThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.concurrent.futures import ThreadPoolExecutor, wait
from pqadapters.concurrent.futures._backlog import ahead
from pqadapters.stores.segment import SegmentStore

from . import work
from .harness import App

New = Callable[..., ThreadPoolExecutor]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "SYSTEM", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.fixture
def new(tmp_path: Path) -> New:
    def make(**more: Any) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, path=tmp_path / "jobs", durability="process", **more)

    return make


def behind_a_gate(executor: ThreadPoolExecutor, *names: object) -> list[Any]:
    """Jobs that note these names; the one thread is at the gate "next", and has claimed that job together with them."""
    executor.submit(work.hold, "first")
    work.reached("first")
    executor.submit(work.hold, "next")
    futures = [executor.submit(work.note, name) for name in names]
    work.GATES["first"].set()
    work.reached("next")
    return futures


def claimed(executor: ThreadPoolExecutor) -> int:
    return executor._backlog.store.depth(executor._backlog.names.jobs).claimed


def test_jobs_that_follow_each_other_are_counted_together(new: New) -> None:
    with new() as executor:
        futures = behind_a_gate(executor, *range(40))
        assert claimed(executor) == 16
        work.GATES["next"].set()
        assert not wait(futures, work.PATIENCE).not_done
        assert list(range(40)) == work.DONE
        assert {future.attempts for future in futures} == {1}


def test_a_slow_job_leaves_those_behind_it_alone(new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be counted long before they are begun."""
    now = iter(range(1, 1000))
    monkeypatch.setattr(ahead, "SYSTEM", SimpleNamespace(monotonic=lambda: float(next(now))))
    with new() as executor:
        behind_a_gate(executor, 1, 2, 3)
        assert claimed(executor) == 1
        work.GATES["next"].set()


@pytest.mark.parametrize(
    "settings", [{"interrupted": "fail"}, {"interrupted": "drop"}, {"max_attempts": 2}, {"max_pending": 100}]
)
def test_not_where_a_false_attempt_does_harm(new: New, settings: dict[str, Any]) -> None:
    with new(**settings) as executor:
        behind_a_gate(executor, 1, 2, 3)
        assert claimed(executor) == 1
        work.GATES["next"].set()


def test_nor_in_a_store_of_several_processes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1, store=f"sqlite:///{tmp_path}/jobs.db?durability=process") as executor:
        behind_a_gate(executor, 1, 2, 3)
        assert claimed(executor) == 1
        work.GATES["next"].set()


def test_nor_jobs_with_options_of_their_own(new: New) -> None:
    with new() as executor:
        executor.submit(work.hold, "first")
        work.reached("first")
        executor.submit(work.hold, "next")
        future = executor.using(interrupted="drop").submit(work.note, "dropped if it is interrupted")
        work.GATES["first"].set()
        work.reached("next")
        assert claimed(executor) == 1
        work.GATES["next"].set()
        assert future.result(work.PATIENCE)


def test_what_is_put_there_while_somebody_looks_is_looked_for(new: New) -> None:
    with new(recover="manual") as executor:
        backlog = executor._backlog
        backlog.recovering = True
        looks = backlog.begin_look()
        assert not backlog.only_ours()
        backlog.recovering = True
        backlog.end_look(looks, more=False)
        assert backlog.recovering
        backlog.end_look(backlog.begin_look(), more=False)
        assert backlog.only_ours()


def test_they_are_pending_to_whoever_looks(new: New) -> None:
    with new() as executor:
        futures = behind_a_gate(executor, 1, 2)
        assert [job.job_id for job in executor.jobs("pending")] == [future.job_id for future in futures]
        assert {job.attempts for job in executor.jobs("pending")} == {0}
        assert len(list(executor.jobs("running"))) == 1
        stats = executor.stats()
        assert (stats["pending"], stats["running"]) == (2, 1)
        assert not any(future.running() for future in futures)
        work.GATES["next"].set()


@pytest.mark.parametrize("how", ["by the future", "by the executor", "by a purge", "by a purge of all"])
def test_they_can_be_cancelled(new: New, how: str) -> None:
    with new() as executor:
        first, second, third = behind_a_gate(executor, 1, 2, 3)
        if how == "by the future":
            assert second.cancel()
        elif how == "by the executor":
            assert executor.cancel(second.job_id)
        elif how == "by a purge":
            assert executor.purge(job_id=second.job_id) == 1
        else:
            assert executor.purge("pending") == 3
            assert first.cancelled()
            assert third.cancelled()
        assert second.cancelled()
        work.GATES["next"].set()
    assert ([] if how == "by a purge of all" else [1, 3]) == work.DONE
    with new() as executor:
        assert not list(executor.jobs())


def test_all_are_cancelled_by_a_shutdown(new: New) -> None:
    executor = new()
    futures = behind_a_gate(executor, 1, 2)
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    work.GATES["next"].set()
    executor.shutdown()
    with new() as executor:
        assert not list(executor.jobs())
    assert work.DONE == []


def test_what_a_shutdown_leaves_is_ready_in_its_order(tmp_path: Path) -> None:
    """Also in a store that stays open, where claims don't end with the executor."""
    with SegmentStore(tmp_path / "jobs", durability="process") as store:
        executor = ThreadPoolExecutor(1, store=store)
        futures = behind_a_gate(executor, *range(20))
        executor.shutdown(wait=False, drain=False)
        assert all(future.cancelled() for future in futures)
        assert claimed(executor) == 1
        work.GATES["next"].set()
        executor.shutdown()
        ThreadPoolExecutor(1, store=store).shutdown()
    assert list(range(20)) == work.DONE


def test_what_a_broken_pool_leaves_is_ready(new: New) -> None:
    executor = new()
    futures = behind_a_gate(executor, *range(5))
    assert claimed(executor) == 6
    executor._backlog.break_with(BrokenThreadPool("an initializer has failed"))
    assert claimed(executor) == 1
    assert all(isinstance(future.exception(work.PATIENCE), BrokenThreadPool) for future in futures)
    work.GATES["next"].set()
    executor.shutdown()


def test_what_is_not_a_new_job_of_ours_goes_back(new: New) -> None:
    """A job that was begun before would be run beside one on its last attempt."""
    with new() as executor:
        backlog = executor._backlog
        executor.submit(work.hold, "first")
        work.reached("first")
        executor.submit(work.hold, "next")
        again: Any = executor.submit(work.note, "again")
        (claim,) = backlog.store.claim(backlog.names.jobs, ids=[again._record], counted=True)
        executor._backlog.ahead.keep(backlog, [claim])
        assert (len(backlog.ahead), claimed(executor)) == (1, 2)
        backlog.ahead.give_back(backlog)
        work.GATES["first"].set()
        work.reached("next")
        assert (len(backlog.ahead), claimed(executor)) == (0, 1), "it was begun before, as far as is known"
        work.GATES["next"].set()
        assert again.result(work.PATIENCE) == "again"


def test_nor_beside_what_others_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While a thread looked for these, another one claimed some of them along with ours, and gave them back, which was
    an attempt each time: they were dead letters before anybody had begun them."""
    executor = ThreadPoolExecutor(1, path=tmp_path / "jobs", durability="process")
    executor.submit(work.hold, "first")
    work.reached("first")
    for name in range(50):
        executor.submit(work.note, name)
    executor.shutdown(wait=False, drain=False)
    work.GATES["first"].set()
    executor.shutdown()
    claim, attempts = SegmentStore.claim, list[int]()

    def slowly(*arguments: Any, **how: Any) -> Any:
        time.sleep(0.002)
        claims = claim(*arguments, **how)
        attempts.extend(each.attempt for each in claims)
        return claims

    monkeypatch.setattr(SegmentStore, "claim", slowly)
    with ThreadPoolExecutor(4, path=tmp_path / "jobs", durability="process") as executor:
        for name in range(50, 150):
            executor.submit(work.note, name)
    assert (sorted(work.DONE), max(attempts), caplog.messages) == (list(range(150)), 1, [])


KILLED = """
from types import SimpleNamespace
from pqadapters.concurrent.futures._backlog import ahead
ahead.SYSTEM = SimpleNamespace(monotonic=lambda: 0.0)
begun, goes_on = threading.Event(), threading.Event()

def wait_here():
    begun.set()
    goes_on.wait()

if __name__ == "__main__":
    executor = ThreadPoolExecutor(1, path=sys.argv[0] + ".jobs")
    if sys.argv[1] == "first":
        executor.submit(wait_here)
        begun.wait()
        executor.submit(die, 0)
        for number in range(1, 9):
            executor.submit(double, number)
        open(sys.argv[0] + ".go", "w").close()
        goes_on.set()
    executor.shutdown()
    again = ThreadPoolExecutor(1, path=sys.argv[0] + ".jobs", recover="manual")
    say("dead", *(job.reason for job in again.jobs("dead")))
"""


def test_a_job_that_kills_the_process_takes_none_with_it_that_was_claimed_beside_it(tmp_path: Path) -> None:
    app = App(tmp_path, KILLED)
    starts, ran = 0, list[str]()
    for attempt in range(6):
        with app.start("first" if attempt == 0 else "again") as run:
            assert run.process.stdout is not None
            run.said += [line.rstrip("\n") for line in run.process.stdout]
            starts += len(run.words("dies"))
            ran += run.words("ran")
            if run.process.wait() == 0:
                break
    assert starts == 3
    assert ran == [str(number) for number in range(1, 9)]
    assert run.words("dead") == ["its process ended while it ran, 3 times (max_attempts=3)"]
