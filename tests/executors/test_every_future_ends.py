"""Whoever waits for a future is told: whatever ends its job, wherever, and however two ends meet."""

from __future__ import annotations

import gc
import os
import signal
import threading
from concurrent.futures import BrokenExecutor, CancelledError
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
    _cancelling,
    _finishing,
    as_completed,
    wait,
)
from pqadapters.concurrent.futures._backlog import Backlog
from pqadapters.concurrent.futures._durable import _abandon
from pqadapters.concurrent.futures._returning import put_back
from pqadapters.concurrent.futures._starting import give_up, next_job
from pqadapters.errors import DiskError, LimitReached, StoreError
from pqadapters.opening import open_store
from pqadapters.store import Ack, Nack, Put, Set

from ..contract.threads import Task
from . import work
from .conftest import Make
from .harness import App

HERE: list[ThreadPoolExecutor] = []  #: for jobs that use their executor


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db?durability=process"


def fail_once() -> int:
    work.DONE.append("run")
    if len(work.DONE) == 1:
        raise OSError("once")
    work.ENTERED["again"].release()
    return len(work.DONE)


def hold_each_time() -> str:
    work.DONE.append("run")
    return work.hold(f"run {len(work.DONE)}")


def shut_down_inside() -> None:
    HERE[0].shutdown()


# Processes


def test_a_worker_that_is_killed_while_idle_breaks_the_pool(place: dict[str, Any]) -> None:
    """A job that the broken pool refused was forgotten, and its future with it."""
    executor = ProcessPoolExecutor(1, **place)
    os.kill(executor.submit(work.pid).result(work.PATIENCE), signal.SIGKILL)
    with suppress(BrokenExecutor):
        executor._issue(work.nothing).result(work.PATIENCE)  # the pool knows it now
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


def test_an_initializer_that_fails_isnt_tried_again_and_costs_no_attempt(place: dict[str, Any]) -> None:
    """With rebuild=True each new pool cost the job an attempt, and it was parked without ever having run."""
    executor = ProcessPoolExecutor(1, rebuild=True, initializer=fail_to_begin, **place)
    with pytest.raises(BrokenExecutor):
        executor.submit(work.double, 1).result(work.PATIENCE)
    executor.shutdown(drain=False)
    with ProcessPoolExecutor(1, rebuild=True, initializer=work.nothing, recover="manual", **place) as another:
        assert [(job.state, job.attempts) for job in another.jobs()] == [("pending", 0)]
        (future,) = another.recovered()
        assert future.result(work.PATIENCE) == 2


def test_two_jobs_that_kill_their_workers_are_both_parked(place: dict[str, Any]) -> None:
    """One at a time is on its last attempt; none of those that wait for it loses its future."""
    with ProcessPoolExecutor(2, rebuild=True, **place) as executor:
        futures = [executor.submit(work.end_process) for _ in range(3)]
        for future in futures:
            with pytest.raises(JobParked):
                future.result(work.PATIENCE)
        executor.purge("dead")


def test_a_job_that_is_dropped_is_cancelled(place: dict[str, Any]) -> None:
    with ProcessPoolExecutor(1, rebuild=True, interrupted="drop", **place) as executor:
        with pytest.raises(CancelledError):
            executor.submit(work.end_process).result(work.PATIENCE)
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


# Retries


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
    assert executor.using(retries=1, backoff=0).submit(fail_once).result(work.PATIENCE) == 2
    work.reached("looked")
    assert not wait(others, work.PATIENCE).not_done
    assert not backlog.running


def test_each_try_has_its_time(make: Make) -> None:
    """The late outcome of the first try took the second one off the list of what runs."""
    executor = make(3)
    future = executor.using(timeout=0.3, retries=1, backoff=0.01).submit(hold_each_time)
    work.reached("run 1")
    work.reached("run 2")
    work.GATES["run 1"].set()
    with pytest.raises(TimeoutError, match="wasn't done in"):
        future.result(work.PATIENCE)
    work.GATES["run 2"].set()


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
        return ThreadPoolExecutor(1, **place).using(**options).submit(fail_once)

    future = submit()
    gc.collect()
    assert future.result(work.PATIENCE) == 2


# A store that fails for a moment


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_store_that_fails_for_a_moment_holds_nothing_up_for_good(
    kind: Any, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: the claim failed, and nobody looked again."""
    with kind(1, **place) as executor:
        backlog = executor._backlog
        claim, failures = backlog.claim, [StoreError("full"), StoreError("full")]

        def failing(*args: Any, **more: Any) -> Any:
            if failures:
                raise failures.pop()
            return claim(*args, **more)

        monkeypatch.setattr(backlog, "claim", failing)
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
        assert not failures


def test_an_executor_whose_first_look_failed_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private store was closed for good by the first failure."""
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    begin, failures = Backlog._begin, [KeyboardInterrupt()]

    def failing(backlog: Backlog, store: Any) -> None:
        if failures:
            raise failures.pop()
        begin(backlog, store)

    monkeypatch.setattr(Backlog, "_begin", failing)
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(KeyboardInterrupt):
            executor.submit(work.nothing)
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


# Cancelled ones


def test_a_future_cant_be_cancelled_any_more_when_the_store_is_let_go_of(make: Make) -> None:
    """cancel() that returns True has taken the job off the disk; this one stays there."""
    executor = make(1)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future = executor.submit(work.nothing)
    executor._backlog.close()
    assert not future.cancel()
    work.GATES["gate"].set()


def test_what_is_no_job_id_is_named(make: Make) -> None:
    executor = make(1)
    for call in (executor.future, executor.cancel, executor.requeue):
        with pytest.raises(ValueError, match="'mine' is none"):
            call("mine")


def test_a_callback_that_takes_long_doesnt_stop_the_clock(make: Make) -> None:
    """The end of a job's time was told in the thread that all timers share."""
    executor = make(2)
    told = threading.Event()
    slow = executor.using(timeout=0.05).submit(work.hold, "gate")
    slow.add_done_callback(lambda _: (told.set(), work.GATES["callback"].wait(work.PATIENCE)))
    assert told.wait(work.PATIENCE)
    assert executor.using(delay=0.05).submit(work.double, 1).result(work.PATIENCE / 2) == 2
    for gate in ("callback", "gate"):
        work.GATES[gate].set()


def test_who_waits_for_a_cancelled_future_is_told(make: Make) -> None:
    """wait() and as_completed() wait for more than the state: nobody took the cancelled job up, so nobody told them."""
    executor = make(1)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future = executor.submit(work.nothing)
    assert future.cancel()
    assert future.cancel()
    assert wait([future], work.PATIENCE).done
    assert next(as_completed([future], work.PATIENCE)) is future


def test_shutting_down_inside_a_job_is_refused(make: Make) -> None:
    """As the standard library's: it would wait for itself."""
    HERE[:] = [make(1)]
    with pytest.raises(RuntimeError, match="cannot join current thread"):
        HERE[0].submit(shut_down_inside).result(work.PATIENCE)
    with pytest.raises(RuntimeError):
        HERE[0].submit(work.nothing)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_a_lock_is_held_ends(make: Make) -> None:
    """What waits for the end of the jobs was bound to a lock that nobody in the child gives back."""
    executor = make(1)
    executor.submit(work.nothing).result(work.PATIENCE)
    backlog = executor._backlog
    with backlog.lock, backlog.attaching, backlog.suspects._lock:
        child = os.fork()
        if not child:
            try:
                signal.alarm(10)
                _abandon(backlog)
                executor.shutdown()
                backlog.suspects.enter()
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_few_jobs_are_asked_for_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only ours are run, each claim named a thousand of them."""
    executor = make(1, recover="manual")
    executor.submit(work.hold, "gate")
    work.reached("gate")
    backlog = executor._backlog
    claim, asked = backlog.claim, []

    def counting(*args: Any, ids: Any = (), **more: Any) -> Any:
        asked.append(len(ids))
        return claim(*args, ids=ids, **more)

    monkeypatch.setattr(backlog, "claim", counting)
    futures = [executor.submit(work.note, number) for number in range(100)]
    work.GATES["gate"].set()
    wait(futures, work.PATIENCE)
    assert list(range(100)) == work.DONE
    assert max(asked) <= 16


# Several processes

TWO_SCRIPTS = """
def job(number):
    return os.path.basename(os.path.dirname(sys.argv[0]))

if __name__ == "__main__":
    executor = ThreadPoolExecutor(2, store=sys.argv[2])
    if sys.argv[1] == "help":
        executor.stats()
        say("ready")
        hear()
        executor.shutdown(drain=False)
    else:
        say("results", *(future.result() for future in [executor.submit(job, number) for number in range(20)]))
        executor.shutdown()
"""


def test_a_function_of_another_script_isnt_taken_for_ours(tmp_path: Path, url: str) -> None:
    """Two scripts on one store have functions of the same name in `__main__`: one ran its own with the other's jobs."""
    apps = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        apps.append(App(tmp_path / name, TWO_SCRIPTS))
    with apps[0].start("help", url) as helper:
        helper.until("ready")
        with apps[1].start("submit", url) as run:
            run.end()
            assert run.words("results") == [" ".join(["two"] * 20)]
        helper.tell("")
        helper.end()


LEFT = """
def job(number):
    say("ran", number)

if __name__ == "__main__":
    executor = ThreadPoolExecutor(1, store=sys.argv[1])
    if len(sys.argv) > 2:
        executor.submit(hold, 0)
        executor.submit(job, 1)
        say("submitted")
        hear()
    executor.shutdown()
    another = ThreadPoolExecutor(1, store=sys.argv[1], recover="manual")
    say("left", *(info.state for info in another.jobs()))
"""


def test_what_another_script_has_left_stays_when_we_shut_down(tmp_path: Path, url: str) -> None:
    apps = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        apps.append(App(tmp_path / name, LEFT))
    with apps[0].start(url, "submit") as run:
        run.until("submitted")
        run.kill()
    apps[1].script.write_text(apps[1].script.read_text().replace("time.sleep(600)", "return 0"))
    with apps[1].start(url) as run:
        assert run.end().words("left") == ["pending pending"]
        assert not run.words("ran") + run.words("holds")
    apps[0].script.write_text(apps[0].script.read_text().replace("time.sleep(600)", "return 0"))
    with apps[0].start(url) as run:
        assert sorted(run.end().words("ran") + run.words("holds")) == ["0", "1"]


def test_a_job_that_another_process_has_put_back_is_found(url: str) -> None:
    """It is another record then: who shut down asked for the old one, for good."""
    with (
        ThreadPoolExecutor(1, store=url, recover="manual") as one,
        ThreadPoolExecutor(1, store=url, recover="manual") as two,
    ):
        one.submit(work.hold, "gate")
        work.reached("gate")
        future = one.submit(work.double, 1)
        two.stats()
        (claim,) = two._backlog.claim("default", counted=True)
        put_back(two._backlog, claim, 0.0)
        work.GATES["gate"].set()
        assert future.result(work.PATIENCE) == 2


@pytest.mark.parametrize("how", ["cancel", "purge", "purge all", "future", "cancel_futures"])
@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"delay": 600}])
def test_cancelled_elsewhere(how: str, options: dict[str, Any], url: str) -> None:
    """The end of a job that never ran was told to nobody in other processes."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        one.submit(work.hold, "gate")
        work.reached("gate")
        future = one.using(**options).submit(work.nothing)
        attached = two.future(future.job_id)
        if how == "cancel":
            assert two.cancel(future.job_id)
        elif how == "purge":
            assert two.purge(job_id=future.job_id)
        elif how == "purge all":
            assert two.purge("delayed" if "delay" in options else "pending") == 1
        elif how == "future":
            assert future.cancel()
        else:
            one.shutdown(wait=False, cancel_futures=True)
        assert len(wait([future, attached], work.PATIENCE).done) == 2
        assert future.cancelled()
        assert attached.cancelled()
        work.GATES["gate"].set()


def test_a_job_of_others_that_is_tried_again_elsewhere(url: str) -> None:
    """Who had tried it first waited for it, and shut down, for good: it was told to its submitter alone."""
    begun: list[JobFuture] = []
    with ThreadPoolExecutor(1, store=url, recover="manual") as one:
        one.submit(work.hold, "one")
        work.reached("one")
        two = ThreadPoolExecutor(1, store=url, on_recovered=begun.append)
        two.submit(work.hold, "first")
        work.reached("first")
        future = one.using(retries=1, backoff=0.02).submit(fail_once)
        two.submit(work.hold, "second")
        work.GATES["first"].set()
        work.reached("second")
        work.GATES["one"].set()
        assert future.result(work.PATIENCE) == 2
        work.GATES["second"].set()
        Task(two.shutdown, patience=work.PATIENCE).result()
        assert [each.result(work.PATIENCE) for each in begun] == [2]
        assert one._backlog.store.count("default.watchers") == 0


def test_a_job_of_others_that_waits_for_its_next_try_isnt_cancelled(url: str) -> None:
    """shutdown(cancel_futures=True) is for what was submitted here; of others it took what had just failed here."""
    with ThreadPoolExecutor(1, store=url, recover="manual") as one:
        one.submit(work.hold, "one")
        work.reached("one")
        with ThreadPoolExecutor(1, store=url) as two:
            two.submit(work.hold, "first")
            work.reached("first")
            future = one.using(retries=1, backoff=0.02).submit(fail_once)
            two.submit(work.hold, "second")
            work.GATES["first"].set()
            work.reached("second")
            two.shutdown(wait=False, cancel_futures=True)
            work.GATES["one"].set()
            assert future.result(work.PATIENCE) == 2
            work.GATES["second"].set()


def test_a_job_of_others_that_is_put_back_and_done_elsewhere(url: str) -> None:
    """Who had it as a recovered one heard no more of it."""
    with (
        ThreadPoolExecutor(1, store=url, recover="manual") as one,
        ThreadPoolExecutor(1, store=url, recover="manual") as two,
    ):
        one.submit(work.hold, "gate")
        work.reached("gate")
        future = one.submit(work.double, 1)
        two.stats()
        backlog = two._backlog
        backlog.foreign = backlog.recovering = True
        started = next_job(backlog)
        assert started is not None
        backlog.foreign = backlog.recovering = False
        give_up(backlog, started)
        work.GATES["gate"].set()
        assert future.result(work.PATIENCE) == 2
        assert started.future.result(work.PATIENCE) == 2


def test_a_job_that_lost_its_claim_and_was_done_elsewhere(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word of the end came while the job still ran here, was thrown away, and waited for behind that."""
    with ThreadPoolExecutor(1, store=url, recover="manual") as one:
        claims: list[Any] = []
        claim = one._backlog.store.claim

        def noted(*args: Any, **more: Any) -> Any:
            claims.extend(claim(*args, **more))
            return claims[:]

        monkeypatch.setattr(one._backlog, "claim", noted)
        future = one.submit(hold_each_time)
        work.reached("run 1")
        one._backlog.commit(Nack(claims[0]))  # as when it was stopped for longer than its claims last
        with ThreadPoolExecutor(1, store=url):
            work.reached("run 2")
            work.GATES["run 2"].set()
            assert future.result(work.PATIENCE) == "run 2"
        work.GATES["run 1"].set()


@pytest.mark.parametrize("how", ["future", "recovered"])
@pytest.mark.parametrize("name", ["running", "pending"])
def test_a_job_without_a_key_is_waited_for_in_another_process(how: str, name: str, url: str) -> None:
    """Only who had submitted it was told of its end."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        jobs: dict[str, Any] = {"running": one.submit(work.hold, "gate")}
        work.reached("gate")
        jobs["pending"] = one.submit(work.double, 1)
        found: Any
        if how == "future":
            found = two.future(jobs[name].job_id)
        else:
            two._backlog.foreign = True  # as if all were recovered, while another process has them
            two._backlog.stopped = True
            found = next(each for each in two.recovered() if each.job_id == jobs[name].job_id)
            two._backlog.stopped = False
        work.GATES["gate"].set()
        assert found.result(work.PATIENCE) == jobs[name].result(work.PATIENCE)
        wait(jobs.values())
        assert one._backlog.store.count("default.watchers") == 0


def test_a_job_that_ends_while_its_key_is_looked_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a result that is kept there was nothing to attach to any more, and the future waited for good."""
    executor = make(1)
    first = executor.using(key=1, result_ttl=0).submit(work.hold, "gate")
    work.reached("gate")
    backlog = executor._backlog
    store, get = backlog.store, backlog.store.get

    def late(table: str, key: bytes) -> bytes | None:
        found = get(table, key)
        if table.endswith("keys") and not first.done():
            work.GATES["gate"].set()
            first.result(work.PATIENCE)
        return found

    monkeypatch.setattr(store, "get", late)
    assert executor.using(key=1, result_ttl=0).submit(work.double, 1).result(work.PATIENCE) == 2
    assert not backlog.attached


def test_a_member_that_another_one_took_for_dead(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors that begin at the same time: between a member's entry and its claim another one cleaned it up."""
    with open_store(url) as store, open_store(url) as other:
        claim, entered = store.claim, threading.Event()

        def late(queue: str, **more: Any) -> Any:
            if queue.endswith("members") and more.get("ids") and not entered.is_set():
                entered.set()
                for member in other.claim(queue, limit=9):
                    other.commit(Ack(member))
            return claim(queue, **more)

        monkeypatch.setattr(store, "claim", late)
        with ThreadPoolExecutor(1, store=store) as executor:
            future: Any = executor.submit(work.nothing)
            future.result(work.PATIENCE)
            assert entered.is_set()
            sharing = executor._backlog.sharing
            assert sharing is not None
            assert sharing.lives(bytes.fromhex(future.job_id)[:8])


class Submits:
    """Its finalizer does."""

    def __init__(self, executor: ThreadPoolExecutor, futures: list[Any], **options: Any) -> None:
        self._executor, self._futures, self._options = executor, futures, options

    def __del__(self) -> None:
        self._futures.append(self._executor.using(**self._options).submit(work.double, 3))


@pytest.mark.parametrize("options", [{}, {"priority": 1}, {"delay": 0.01}])
@pytest.mark.parametrize("recover", ["auto", "manual"])
def test_a_finalizer_submits_in_the_middle_of_a_commit(make: Make, recover: str, options: dict[str, Any]) -> None:
    """The job is stored behind it, and its record isn't known until then: where only our own jobs are run, which are
    asked for by their records, it was never begun, and shutdown() waited for ever."""
    executor, futures = make(1, recover=recover), list[Any]()
    executor.submit(work.double, 1).result(work.PATIENCE)
    late = [Submits(executor, futures, **options)]
    executor._backlog.store.commit(Set("t", b"k", b"v"), stop=lambda: bool(late.clear()))
    (future,) = futures
    assert future.result(work.PATIENCE) == 6
    Task(executor.shutdown, patience=work.PATIENCE).result()


def test_a_cancel_that_meets_a_failing_try_leaves_the_next_one_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the job off the disk and returned False, and the future never came to an end."""
    executor, failed = make(), threading.Event()
    executor.submit(work.hold, "first")
    future = executor.using(retries=1, backoff=3600.0).submit(work.fail_until, 1, "done")
    monkeypatch.setattr(_finishing, "come_back", lambda *_: failed.set())

    def late(*args: Any) -> bool:
        work.GATES["first"].set()
        assert failed.wait(work.PATIENCE)
        return _cancelling.cancel(*args)

    monkeypatch.setattr("pqadapters.concurrent.futures._future.cancel", late)
    assert not future.cancel()
    assert future.running()
    assert executor.cancel(future.job_id)
    with pytest.raises(CancelledError):
        future.result(work.PATIENCE)
