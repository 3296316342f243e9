"""Whoever waits for a future is told: whatever ends its job, wherever, and however two ends meet."""

from __future__ import annotations

import importlib
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from pqadapters.concurrent.futures._backlog import keys, refusals, returning, starting
from pqadapters.concurrent.futures._backlog.backlog import Backlog
from pqadapters.concurrent.futures._durable import _abandon
from pqadapters.errors import LeaseLost, StoreClosed, StoreError
from pqadapters.opening import open_store
from pqadapters.store import Put, Set

from ..contract.threads import Task
from . import work
from .conftest import Make
from .test_futures_at_the_end import submits
from .test_left_behind import leave

HERE: list[ThreadPoolExecutor] = []  #: for jobs that use their executor


def shut_down_inside() -> None:
    HERE[0].shutdown()


# A store that fails for a moment


def test_what_was_put_off_and_is_somebody_elses_by_now_holds_nothing_up(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as something waits to be stored no job is begun."""
    monkeypatch.setattr(refusals, "_AGAIN", 0.0)
    executor, over = make(), threading.Event()
    executor.stats()

    def lost() -> None:
        raise LeaseLost("it is somebody else's")

    refusals.try_later(executor._backlog, bytes(16), lost, over.set)
    assert over.wait(work.PATIENCE)
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


def test_jobs_that_came_while_something_was_put_off_are_begun_behind_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    due: list[Callable[[], object]] = []
    monkeypatch.setattr(refusals, "call_in", lambda seconds, function: due.append(function))
    executor = make()
    executor.stats()
    refusals.try_later(executor._backlog, bytes(16), work.nothing, work.nothing)
    future = executor.submit(work.double, 1)
    with executor._tickets.changed:
        assert executor._tickets.changed.wait_for(executor._tickets.idle, work.PATIENCE)
    assert not future.done()
    due.pop()()
    assert future.result(work.PATIENCE) == 2


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


def fail_twice(backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next two commits."""
    commit, failures = backlog.commit, [StoreError("full"), StoreError("full")]

    def failing(*ops: Any) -> Any:
        if failures:
            raise failures.pop()
        return commit(*ops)

    monkeypatch.setattr(backlog, "commit", failing)


def test_one_that_couldnt_be_begun_while_the_store_fails_is_begun_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_AGAIN", 0.0)
    executor = make(1)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future = executor.submit(work.double, 1)
    backlog = executor._backlog
    started = starting.next_job(backlog)
    assert started is not None
    fail_twice(backlog, monkeypatch)
    starting.give_up(backlog, started)
    work.GATES["gate"].set()
    assert future.result(work.PATIENCE) == 2


def _give_up(backlog: Backlog) -> None:
    started = starting.next_job(backlog)
    assert started is not None
    starting.give_up(backlog, started)


def _fail_to_look(backlog: Backlog) -> None:
    with pytest.raises(StoreError):
        starting.next_job(backlog)


def _interrupt_the_claim(backlog: Backlog) -> None:
    with pytest.raises(KeyboardInterrupt):
        starting.next_job(backlog)


@pytest.mark.parametrize(
    ("name", "error", "act"),
    [
        ("", None, _give_up),
        ("_looked_at", StoreError("full"), _fail_to_look),
        ("_claim_anybodys", KeyboardInterrupt(), _interrupt_the_claim),
    ],
)
def test_one_that_couldnt_be_undone_for_a_moment_is_not_taken_for_interrupted(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException | None, act: Callable[[Backlog], None]
) -> None:
    """The attempt was counted after all, and interrupted="drop" dropped a job that had never begun."""
    monkeypatch.setattr(refusals, "_AGAIN", 0.0)
    leave(make, (work.note, "left"))
    executor = make(recover="manual", interrupted="drop")
    backlog = executor._backlog
    backlog.open()
    added, backlog.added = backlog.added, lambda: True  # no thread of its own takes the job
    backlog.foreign = backlog.recovering = True
    commit, failures = backlog.commit, [StoreError("full")]

    def failing(*ops: Any) -> Any:
        if failures and isinstance(ops[-1], Put):
            raise failures.pop()
        return commit(*ops)

    def fail(*args: Any) -> Any:
        raise error or AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(backlog, "commit", failing)
        if name == "_claim_anybodys":
            patch.setattr(backlog, "end_look", fail)
        elif name:
            patch.setattr(starting, name, fail)
        act(backlog)
        assert not failures
    backlog.added = added
    backlog.recovering = True
    backlog.added()
    executor.shutdown()
    assert work.DONE == ["left"]


def test_one_that_was_left_and_couldnt_be_begun_while_the_store_fails_is_begun_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it was looked in between whether more was left."""
    monkeypatch.setattr(refusals, "_AGAIN", 0.0)
    leave(make, (work.note, "left"))
    backlog = make(recover="manual")._backlog
    backlog.open()
    added, backlog.added = backlog.added, lambda: True  # no thread of its own takes the job
    backlog.foreign = backlog.recovering = True
    started = starting.next_job(backlog)
    assert started is not None
    assert starting.next_job(backlog) is None
    backlog.added = added
    fail_twice(backlog, monkeypatch)
    starting.give_up(backlog, started)
    assert started.future.result(work.PATIENCE) == "left"


def test_an_outcome_that_was_put_off_is_stored_before_the_store_is_let_go_of(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the job would be done once more."""
    monkeypatch.setattr(refusals, "call_in", lambda seconds, function: None)
    executor = make(1)
    future = executor.submit(work.hold, "gate")
    work.reached("gate")
    backlog = executor._backlog

    def full(*ops: Any) -> Any:
        raise StoreError("full")

    with monkeypatch.context() as refuses:
        refuses.setattr(backlog, "commit", full)
        work.GATES["gate"].set()
        assert future.result(work.PATIENCE) == "gate"
    backlog.close()
    with make(recover="manual") as other:
        assert list(other.jobs()) == []


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


def test_an_executor_that_couldnt_begin_leaves_nothing_open(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else others leave jobs to it, and its files are open for as long as the process lives."""
    opened: list[Any] = []

    def failing(backlog: Backlog, store: Any) -> None:
        begin(backlog, store)
        opened.append(store)
        raise OSError("no thread")

    begin = Backlog._begin
    with monkeypatch.context() as patch:
        patch.setattr(Backlog, "_begin", failing)
        with pytest.raises(OSError, match="no thread"):
            ThreadPoolExecutor(1, store=url)
    with pytest.raises(StoreClosed):
        opened[0].depth("default")
    with open_store(url) as store:
        assert not store.depth("default.members").unfinished


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


@pytest.mark.parametrize("how", ["job", "callback", "map"])
def test_shutting_down_inside_a_call_from_memory_is_refused(make: Make, how: str) -> None:
    """Its thread waited for jobs that it was to run itself."""
    executor = make(1, volatile="allow")
    told: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def shut_down(*_: object) -> None:
        try:
            work.hold("gate")
            executor.shutdown()
        except BaseException as error:
            told.put(error)
            raise

    if how == "map":
        executor.map(shut_down, [work.Unstorable()])
    elif how == "job":
        executor.submit(shut_down, work.Unstorable())
    else:
        executor.submit(work.call, work.hold, "gate").add_done_callback(shut_down)
        executor.submit(id, work.Unstorable()).add_done_callback(shut_down)
    future = executor.submit(work.double, 21)
    work.GATES["gate"].set()
    assert "cannot join current thread" in str(told.get(timeout=work.PATIENCE))
    assert future.result(work.PATIENCE) == 42
    executor.shutdown()


@pytest.mark.parametrize("how", ["submit", "map"])
def test_shutting_down_in_a_callback_of_a_process_pool_is_refused(
    place: dict[str, Any], how: str, tmp_path: Path
) -> None:
    """As the standard library's. It waited for the job whose callback it was, and so did who shut down behind it."""
    executor, go = ProcessPoolExecutor(1, **place), tmp_path / "go"
    told: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def shut_down(_: object) -> None:
        try:
            executor.shutdown()
        except BaseException as error:
            told.put(error)

    if how == "map":
        executor._submit_volatile((work.wait_for_file, (str(go),), {})).add_done_callback(shut_down)
    else:
        executor.submit(work.wait_for_file, str(go)).add_done_callback(shut_down)
    future = executor.submit(work.double, 21)
    go.touch()
    assert "cannot join current thread" in str(told.get(timeout=work.PATIENCE))
    assert future.result(work.PATIENCE) == 42
    executor.shutdown()
    assert executor._backlog.closed


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
                signal.alarm(60)
                _abandon(backlog)
                executor.shutdown()
                backlog.suspects.enter("claim")
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


def test_a_job_whose_result_runs_out_while_its_key_is_looked_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was neither there nor gone: the key was still its, and what it came to was told before anybody asked."""
    with ThreadPoolExecutor(1, store=url) as first, ThreadPoolExecutor(1, store=url, recover="manual") as second:
        job = first.using(key=1, result_ttl=60).submit(work.hold, "gate")
        work.reached("gate")
        second.stats()
        sharing = second._backlog.sharing
        assert sharing is not None
        watch = sharing.watch

        def late(id: bytes) -> None:
            work.GATES["gate"].set()
            job.result(work.PATIENCE)
            monkeypatch.setattr(keys, "SYSTEM", SimpleNamespace(wall=lambda: time.time() + 3600))
            watch(id)

        monkeypatch.setattr(sharing, "watch", late)
        assert second.using(key=1).submit(work.double, 1).result(work.PATIENCE) == 2


def test_a_job_that_is_begun_as_its_executor_leaves_stays_on_disk(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its future was cancelled in that moment, as all that wait, and the job was dropped for one that was cancelled."""
    leave(make, (work.note, 1))
    executor = make(recover="manual")
    opened = executor._backlog.opened

    def late(call: bytes) -> Any:
        work.hold("gate")
        executor.shutdown(wait=False, drain=False)
        return opened(call)

    monkeypatch.setattr(executor._backlog, "opened", late)
    [future] = executor.recovered()
    work.GATES["gate"].set()
    with pytest.raises(CancelledError):
        future.result(work.PATIENCE)
    executor.shutdown()
    make().shutdown()
    assert work.DONE == [1]


@pytest.mark.parametrize("where", ["storing", "finishing"])
def test_a_job_that_is_purged_right_behind_its_commit_isnt_waited_for(
    make: Make, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was told of it then, and a shutdown() waited until it would have been due."""
    executor = make()
    module = importlib.import_module(f"pqadapters.concurrent.futures._backlog.{where}")
    wait_until_due = module.wait_until_due

    def late(*args: Any) -> None:
        executor.purge("delayed")
        wait_until_due(*args)

    monkeypatch.setattr(module, "wait_until_due", late)
    options = {"delay": 3600} if where == "storing" else {"retries": 1, "backoff": 3600}
    future = submits(executor, options, work.fail, "once")
    with pytest.raises(CancelledError):
        future.result(work.PATIENCE)
    Task(executor.shutdown, patience=work.PATIENCE).result()


def test_a_cancel_while_the_executor_ends_says_no(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raised StoreClosed, which the standard library's never does; a moment later it is False."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future = executor.submit(work.nothing)
    backlog = executor._backlog
    claim = backlog.claim

    def late(*args: Any, **options: Any) -> Any:
        backlog.close()
        return claim(*args, **options)

    monkeypatch.setattr(backlog, "claim", late)
    assert not future.cancel()


def test_a_job_that_becomes_ready_behind_the_last_look_of_a_shut_pool_is_left(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shutdown() behind a shutdown(wait=False) waited for it for ever: nobody looked any more."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.shutdown(wait=False)
    end = executor._tickets._end

    def late() -> bool:
        last = end()
        executor._backlog.recovering = True  # as requeue() and recovered() have it
        return last

    monkeypatch.setattr(executor._tickets, "_end", late)
    work.GATES["gate"].set()
    Task(executor.shutdown, patience=work.PATIENCE).result()
    assert executor._backlog.closed


def test_a_requeue_behind_the_end_of_a_shut_pool_is_left_to_the_next_one(place: dict[str, Any]) -> None:
    executor = ThreadPoolExecutor(1, recover="manual", **place)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.shutdown(wait=False)
    backlog = executor._backlog
    backlog.foreign, backlog.ended = True, lambda: None  # as if the look at the end were still to come
    work.GATES["gate"].set()
    with executor._tickets.changed:
        assert executor._tickets.changed.wait_for(executor._tickets.idle, work.PATIENCE)
    backlog.recovering = True
    Task(executor.shutdown, patience=work.PATIENCE).result()


class Submits:
    """Its finalizer does."""

    def __init__(self, executor: ThreadPoolExecutor, futures: list[Any], **options: Any) -> None:
        self._executor, self._futures, self._options = executor, futures, options

    def __del__(self) -> None:
        executor = self._executor.using(**self._options) if self._options else self._executor
        self._futures.append(executor.submit(work.double, 3))


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


def test_a_finalizer_submits_in_the_middle_of_a_commit_that_takes_long(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others had the database locked for longer than its job was looked for, 0.2 s: it was never begun."""
    executor, futures, looks, looked = make(1, recover="manual"), list[Any](), list[None](), threading.Event()
    executor.submit(work.double, 1).result(work.PATIENCE)
    late, find_late = [Submits(executor, futures)], returning._find_late

    def looking(*args: Any) -> None:
        find_late(*args)
        looks.append(None)
        if len(looks) == 15:
            looked.set()

    def ends_late() -> bool:
        late.clear()
        if executor._backlog.shared:  # else who looks waits for the end of it
            assert looked.wait(work.PATIENCE)
        return False

    monkeypatch.setattr(returning, "_find_late", looking)
    monkeypatch.setattr(returning, "_RARELY", 0.02)
    executor._backlog.store.commit(Set("t", b"k", b"v"), stop=ends_late)
    assert futures[0].result(work.PATIENCE) == 6


def test_a_job_that_is_in_hand_while_all_are_left_and_then_refused_is_ended(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited again behind the end of those that waited, and nobody came back to it."""
    executor = make()

    def refuse(*args: Any) -> None:
        work.hold("gate")
        raise StoreError("full")

    monkeypatch.setattr(starting, "_looked_at", refuse)
    future = executor.using(priority=1).submit(work.nothing)
    work.reached("gate")
    executor.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    assert not wait([future], work.PATIENCE).not_done


def test_a_callback_that_would_end_its_thread_ends_no_pool_of_processes(place: dict[str, Any]) -> None:
    """The thread that stores what jobs came to was over, and no later one came to its end."""

    def leave(future: object) -> None:
        work.hold("gate")
        raise SystemExit

    with ProcessPoolExecutor(1, **place) as executor:
        executor.submit(work.nothing).add_done_callback(leave)
        work.GATES["gate"].set()
        assert executor.submit(work.double, 2).result(work.PATIENCE) == 4


class _Failing(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())
        raise RuntimeError("the window is gone")


@pytest.mark.parametrize(
    ("kind", "timeout"), [(ThreadPoolExecutor, None), (ThreadPoolExecutor, 0.05), (ProcessPoolExecutor, None)]
)
def test_a_handler_that_fails_at_what_is_said_of_a_job(
    kind: Any,
    timeout: float | None,
    place: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It ended the thread that told of a job's end, and no job of the executor was carried out any more."""
    failing = _Failing()
    monkeypatch.setattr(logging.getLogger("pqadapters"), "handlers", [failing])
    caplog.set_level(logging.INFO, "pqadapters")
    with kind(3, **place) as executor:
        begun = executor.using(retries=1, backoff=0.01, timeout=timeout)
        failed = begun.submit(work.hold, "long") if timeout else begun.submit(work.fail, "no")
        with pytest.raises(TimeoutError if timeout else ValueError):
            failed.result(work.PATIENCE)
        work.GATES["long"].set()
        assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    assert any("is tried again" in message for message in failing.told)
