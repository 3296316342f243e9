"""stats, jobs, requeue, cancel and purge."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pqadapters import astray
from pqadapters.clock import SYSTEM, Clock
from pqadapters.concurrent.futures import JobParked, ThreadPoolExecutor, UnknownJob, wait
from pqadapters.concurrent.futures._backlog import overview
from pqadapters.concurrent.futures._backlog.finishing import park
from pqadapters.concurrent.futures._backlog.records import find_record
from pqadapters.concurrent.futures._jobs import wire
from pqadapters.errors import StoreUnreachable
from pqadapters.store import Ack, Nack, Put, Update
from pqadapters.stores.segment import looks

from . import work
from .conftest import Make
from .test_left_behind import end, leave


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


def test_what_is_kept_is_purged_without_being_in_memory(make: Make) -> None:
    """All results were read before the first one was taken away."""
    executor = make(result_ttl=60)
    for done in [executor.submit(bytes, 1 << 20) for _ in range(32)]:
        done.result(work.PATIENCE)
    del done
    tracemalloc.start()
    try:
        assert executor.purge("results") == 32
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_a_cancelled_job_that_is_due_isnt_counted(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was pending, and the next delayed one was taken off instead of it."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.using(delay=6000).submit(work.note, 1)
    assert executor.using(delay=600).submit(work.note, 2).cancel()
    counts = [executor.stats()[each] for each in ("pending", "delayed", "running")]
    later = SYSTEM.wall() + 601
    monkeypatch.setattr(Clock, "wall", staticmethod(lambda: later))
    assert [executor.stats()[each] for each in ("pending", "delayed", "running")] == counts == [0, 1, 1]


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


def test_jobs_keep_their_executor_while_they_are_looked_through(tmp_path: Path) -> None:
    """Of one that nothing else kept it was StoreClosed."""
    executor = ThreadPoolExecutor(1, path=tmp_path / "jobs")
    executor.using(delay=600).submit(work.note, 1)
    executor.shutdown(drain=False)
    assert [job.state for job in ThreadPoolExecutor(1, path=tmp_path / "jobs", recover="manual").jobs()] == ["delayed"]


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


def test_requeue_is_of_what_is_dead_when_it_is_asked_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It went on for as long as jobs were parked again as fast: by processes that lack their module, say."""
    executor = _parked(make)
    backlog, store, rounds = executor._backlog, executor._backlog.store, [1] * 3

    def parked_again(*ops: Any, **options: Any) -> Any:
        done = commit(*ops, **options)
        if rounds and any(isinstance(op, Put) for op in ops):
            rounds.pop()
            for claim in store.claim("default", limit=2):
                store.commit(Nack(claim, dead="again"))
            assert store.wait("default", lambda depth: depth.dead == 2, work.PATIENCE)
        return done

    commit = backlog.commit
    monkeypatch.setattr(backlog, "commit", parked_again)
    assert executor.requeue() == 2
    assert len(rounds) == 2


def test_what_a_requeue_has_put_back_is_begun_where_it_is_broken_off(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was left to whoever came next."""
    leave(make, (work.note, 1), (work.note, 2))
    manual = make(recover="manual")
    store = manual._backlog.store
    store.commit(*(Nack(claim, dead="so") for claim in store.claim("default", limit=2)))
    end(manual)
    executor = make()
    executor.submit(abs, -1).result(work.PATIENCE)
    backlog, store, commit = executor._backlog, executor._backlog.store, executor._backlog.commit

    def refusing(*ops: Any, **options: Any) -> Any:
        if store.depth("default").dead == 1 and any(isinstance(op, Put) and op.queue == "default" for op in ops):
            raise StoreUnreachable("it is away")
        return commit(*ops, **options)

    monkeypatch.setattr(backlog, "commit", refusing)
    monkeypatch.setattr("pqadapters.portions.COUNT", 1)
    with pytest.raises(StoreUnreachable):
        executor.requeue()
    assert store.wait("default", lambda depth: not depth.unfinished, work.PATIENCE)
    assert work.DONE == [1]
    assert store.depth("default").dead == 1


def test_requeue_is_the_first_that_is_asked_for(make: Make) -> None:
    """It was an AttributeError where nothing had opened the store yet."""
    assert make(recover="manual").requeue() == 0


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
    with pytest.raises(ValueError, match="'dead' or 'results', not 'done'"):
        executor.purge("done")
    work.GATES["gate"].set()
    executor.shutdown()
    assert not work.DONE


def test_each_delayed_job_is_looked_at_a_few_times_when_all_are_purged(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that there were, for each 500 of them: with 10,000 it took a minute, with 100,000 it was hours."""
    executor = make()
    futures = [executor.using(delay=600).submit(work.note, number) for number in range(40)]
    looked: list[int] = []
    record = looks.record

    def counted(core: Any, queue: Any, id: int, state: Any) -> Any:
        looked.append(id)
        return record(core, queue, id, state)

    monkeypatch.setattr(looks, "record", counted)
    monkeypatch.setattr("pqadapters.portions.COUNT", 2)
    assert executor.purge("delayed") == len(futures)
    assert len(looked) <= 4 * len(futures)


@pytest.mark.parametrize("how", ["delayed", "key", "job_id"])
def test_a_delayed_job_that_is_purged_leaves_its_key(make: Make, how: str) -> None:
    """Who submitted with its key got a future that never came to an end, after a restart, too."""
    executor = make()
    future: Any = executor.using(key="k", delay=600).submit(work.note, 1)
    given: Any = {"key": {"key": "k"}, "job_id": {"job_id": future.job_id}}.get(how, {"state": how})
    assert executor.purge(**given) == 1
    assert future.cancelled()
    assert executor.purge(**given) == 0
    assert executor.using(key="k").submit(work.note, 2).result(work.PATIENCE) == 2


def test_a_cancelled_job_that_isnt_due_is_gone_to_whoever_looks(make: Make) -> None:
    """It was there until it was due: cancelled a second time, it took the key of the job that had it by then."""
    executor = make(recover="manual")
    first: Any = executor.using(key="k", delay=600).submit(work.note, 1)
    assert first.cancel()
    second = executor.using(key="k", delay=600).submit(work.note, 2)
    assert not executor.cancel(first.job_id)
    assert executor.future(key="k") is second
    assert [job.job_id for job in executor.jobs()] == [second.job_id]
    assert executor.stats()["delayed"] == 1
    with pytest.raises(UnknownJob):
        executor.future(first.job_id)
    end(executor)
    executor = make(recover="manual")
    assert [future.job_id for future in executor.recovered()] == [second.job_id]
    assert executor.purge("delayed") == 1


def test_purge_results_that_are_kept_for_ever(make: Make) -> None:
    executor = make()
    executor.using(key="k", result_ttl=float("inf")).submit(work.note, 1).result(work.PATIENCE)
    assert executor.purge("results") == 1
    assert executor.using(key="k").submit(work.note, 2).result(work.PATIENCE) == 2


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


def test_results_arent_purged_by_age(make: Make) -> None:
    executor = make()
    executor.using(key="k").submit(work.note, 1).result(work.PATIENCE)
    with pytest.raises(ValueError, match="older_than="):
        executor.purge("results", older_than=3600)
    assert executor.stats()["results"] == 1


def test_what_says_that_a_job_was_parked_is_no_result_to_purge(make: Make) -> None:
    """Its key would be free, and the job begun once more by who submits it again."""
    executor = make(recover="manual")
    executor.submit(work.hold, "gate")
    work.reached("gate")
    parked = executor.using(key="k").submit(work.note, "parked")
    (claim,) = executor._backlog.claim(executor._backlog.names.jobs)
    park(executor._backlog, claim, "no good", parked)
    work.GATES["gate"].set()
    assert executor.purge("results") == 0
    with pytest.raises(JobParked, match="no good"):
        executor.using(key="k").submit(work.note, "again").result(work.PATIENCE)
    assert executor.requeue(parked.job_id) == 1
    future = executor.using(key="k").submit(work.note, "again")
    assert not future.done()  # with what it was parked for
    executor.recovered()
    assert future.result(work.PATIENCE) == "parked"


def test_a_job_that_is_put_back_has_all_its_tries_again(make: Make) -> None:
    executor = make(recover="manual")
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.using(retries=1).submit(work.note, 1)
    store, jobs = executor._backlog.store, executor._backlog.names.jobs
    (claim,) = store.claim(jobs)
    store.commit(Update(claim, wire.with_failures(claim.payload, 1)), Nack(claim, dead="no good"))
    assert executor.requeue() == 1
    (record,) = store.browse(jobs)
    assert (wire.read(record.payload).failures, record.attempts) == (0, 0)
    work.GATES["gate"].set()


def test_a_job_that_is_parked_as_it_is_looked_for_is_purged(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was no dead letter yet, and then no job any more: 0, and it stayed."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    backlog, future = executor._backlog, executor.using().submit(work.note, 1)
    claims = backlog.store.claim(backlog.names.jobs)

    def meanwhile(*arguments: Any) -> int | None:
        if arguments[1] == backlog.names.jobs:
            backlog.store.commit(*(Nack(claims.pop(), dead="bad") for _ in claims[:1]))
        return find_record(*arguments)

    monkeypatch.setattr(overview, "find_record", meanwhile)
    assert executor.purge(job_id=future.job_id) == 1
    assert executor.stats()["dead"] == 0
    work.GATES["gate"].set()


@pytest.mark.parametrize("state", ["pending", "dead"])
def test_what_could_not_be_purged_or_put_back_is_there_as_before(
    make: Make, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a server was away: claimed for as long as the process lived, it was neither begun nor ever put back."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    for number in range(3):
        executor.submit(work.note, number)
    backlog = executor._backlog
    if state == "dead":
        for claim in backlog.store.claim(backlog.names.jobs, limit=3):
            backlog.store.commit(Nack(claim, dead="bad"))
    commit, refusals = backlog.store.commit, [StoreUnreachable("it is away") for _ in range(3)]

    def refusing(*ops: Any, **options: Any) -> Any:
        if refusals and any(isinstance(op, (Ack, Nack)) for op in ops):
            raise refusals.pop()
        return commit(*ops, **options)

    monkeypatch.setattr(astray, "_AGAIN", 0.001)
    for owner in (backlog, backlog.store):
        monkeypatch.setattr(owner, "commit", refusing)
    with pytest.raises(StoreUnreachable):
        executor.purge("pending") if state == "pending" else executor.requeue()
    queue = backlog.names.jobs if state == "pending" else backlog.names.dead
    assert backlog.store.wait(queue, lambda depth: depth.ready == 3, work.PATIENCE)
    assert (executor.purge("pending") if state == "pending" else executor.requeue()) == 3
    work.GATES["gate"].set()
