"""stats, jobs, requeue, cancel and purge."""

from __future__ import annotations

from typing import Any

import pytest

from pqadapters.concurrent.futures import wait

from . import work
from .conftest import Make
from .test_left_behind import end


def test_stats(make: Make) -> None:
    executor = make(recover="manual")
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.submit(work.note, 1)
    executor.using(delay=600).submit(work.note, 2)
    stats = executor.stats()
    assert [stats[each] for each in ("pending", "delayed", "running", "dead")] == [1, 1, 1, 0]
    assert stats["bytes"] > 0
    assert stats["submitted_here"] == 2


def test_jobs_by_state(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.using(key="k").submit(work.note, 1)
    executor.using(delay=600).submit(work.double, 2)
    states = {job.state: job for job in executor.jobs()}
    assert set(states) == {"running", "pending", "delayed"}
    assert states["pending"].key == "'k'"
    assert states["delayed"].function == "tests.executors.work.double"
    assert states["delayed"].not_before > states["delayed"].put_at
    assert [job.state for job in executor.jobs("delayed")] == ["delayed"]
    with pytest.raises(ValueError, match="state"):
        executor.jobs("gone")


def test_cancel_by_id(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future: Any = executor.submit(work.note, 1)
    left: Any = executor.submit(work.note, 2)
    running = next(iter(executor.jobs("running")))
    assert executor.cancel(future.job_id)
    assert future.cancelled()
    assert not executor.cancel(running.job_id)
    assert not executor.cancel("00" * 16)
    end(executor)
    executor = make(recover="manual")
    assert executor.cancel(left.job_id)
    executor.recovered()
    executor.shutdown()
    assert not work.DONE


def test_cancel_by_id_of_a_recovered_future(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    futures: list[Any] = [executor.submit(work.note, number) for number in range(2)]
    end(executor)
    executor = make(recover="manual")
    future = executor.future(futures[0].job_id)
    assert future.cancel()
    assert future.cancelled()
    wait(executor.recovered())
    assert work.DONE == [1]


def _parked(make: Make, count: int = 2) -> Any:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    for _ in range(count):
        executor.submit(work.note, work.Unloadable())
    end(executor)
    executor = make()
    assert executor._backlog.store.wait("default", lambda depth: depth.dead == count, work.PATIENCE)
    return executor


def test_requeue_all(make: Make) -> None:
    executor = _parked(make)
    assert executor.requeue() == 2
    assert executor._backlog.store.wait("default", lambda depth: depth.dead == 2, work.PATIENCE)
    assert executor.requeue("00" * 16) == 0


def test_purge_dead_letters(make: Make) -> None:
    executor = _parked(make)
    assert executor.purge("dead", older_than=600) == 0
    assert executor.purge("dead") == 2
    assert executor.stats()["dead"] == 0


def test_purge_pending_and_delayed_jobs(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    futures: list[Any] = [executor.submit(work.note, 1), executor.using(delay=600).submit(work.note, 2)]
    assert executor.purge("pending") == 1
    assert executor.purge("delayed") == 1
    assert all(future.cancelled() for future in futures)
    with pytest.raises(ValueError, match="runs"):
        executor.purge("running")
    work.GATES["gate"].set()
    executor.shutdown()
    assert not work.DONE


def test_purge_results(make: Make) -> None:
    executor = make()
    futures = [executor.using(key=number).submit(work.note, number) for number in range(3)]
    wait(futures)
    assert executor.purge(key=0) == 1
    assert executor.purge(job_id=futures[1].job_id) == 1
    assert executor.purge("results") == 1
    assert executor.stats()["results"] == executor.stats()["keys"] == 0
    with pytest.raises(TypeError):
        executor.purge()
