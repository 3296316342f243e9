"""Retries, delays, priorities, timeouts, a bounded backlog."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.concurrent import futures
from pqadapters.concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, task, wait
from pqadapters.concurrent.futures._backlog import clock as _clock
from pqadapters.concurrent.futures._backlog import storing, timeouts
from pqadapters.concurrent.futures._backlog.timeouts import _run_out
from pqadapters.concurrent.futures._jobs import options as _options
from pqadapters.concurrent.futures._jobs import wire
from pqadapters.concurrent.futures._jobs.options import Options, key_bytes, options

from ..contract.threads import Task
from . import work
from .conftest import Make


def test_no_retries_by_default(make: Make) -> None:
    with pytest.raises(OSError, match="try 1"):
        make().submit(work.fail_until, 1, "x").result(work.PATIENCE)


def test_retries(make: Make) -> None:
    future = make().using(retries=3, backoff=0.001).submit(work.fail_until, 3, "done")
    assert future.result(work.PATIENCE) == "done"
    assert future.attempts == 4


def test_retries_that_are_due_at_once(make: Make) -> None:
    """A worker that finds the next try before the clock does mustn't leave the one behind it to nobody."""
    executor = make()
    for _ in range(20):
        work.DONE.clear()
        future = executor.using(retries=3, backoff=0.001).submit(work.fail_until, 3, "done")
        assert future.result(work.PATIENCE) == "done"


def test_retries_run_out(make: Make) -> None:
    future = make().using(retries=2, backoff=0.001).submit(work.fail_until, 9, "done")
    with pytest.raises(OSError, match="try 3"):
        future.result(work.PATIENCE)


def test_retries_are_for_what_retry_on_names(make: Make) -> None:
    executor = make()
    future = executor.using(retries=3, backoff=0.0, retry_on=ValueError).submit(work.fail_until, 3, "x")
    with pytest.raises(OSError, match="try 1"):
        future.result(work.PATIENCE)
    future = executor.using(retries=3, backoff=0.0, retry_on=(ValueError, OSError)).submit(work.fail_until, 3, "x")
    assert future.result(work.PATIENCE) == "x"


def test_an_empty_retry_on_names_nothing(make: Make) -> None:
    future = make().using(retries=3, backoff=0.0, retry_on=()).submit(work.fail_until, 3, "x")
    with pytest.raises(OSError, match="try 1"):
        future.result(work.PATIENCE)


@pytest.mark.parametrize("kinds", [[OSError], {OSError}, OSError("x"), 5, (OSError, 5)], ids=repr)
def test_retry_on_takes_what_isinstance_takes(kinds: Any, make: Make) -> None:
    """The future of a job that failed with a list there had no end."""
    with pytest.raises(TypeError, match="retry_on is a class of exceptions or a tuple"):
        make().using(retries=3, retry_on=kinds)


def test_more_retries_than_max_attempts_are_no_interruptions(make: Make) -> None:
    future = make(max_attempts=1).using(retries=5, backoff=0.0).submit(work.fail_until, 5, "done")
    assert future.result(work.PATIENCE) == "done"


def test_while_a_job_waits_for_its_retry_others_run(make: Make) -> None:
    executor = make()
    future = executor.using(retries=1, backoff=0.2).submit(work.fail_until, 1, "done")
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
    assert future.result(work.PATIENCE) == "done"


def test_shutdown_waits_for_retries(make: Make) -> None:
    with make() as executor:
        future = executor.using(retries=2, backoff=0.05).submit(work.fail_until, 2, "done")
    assert future.result(0) == "done"


def test_shutdown_without_waiting_does_retries_too(make: Make) -> None:
    executor = make()
    future = executor.using(retries=2, backoff=0.05).submit(work.fail_until, 2, "done")
    executor.shutdown(wait=False)
    assert future.result(work.PATIENCE) == "done"


def test_backoff_doubles_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(backoff=2.0)
    monkeypatch.setattr(_options, "spread", lambda least, most: most)
    assert [options.pause(failures) for failures in (1, 2, 3, 40)] == [2.0, 4.0, 8.0, 3600.0]
    monkeypatch.setattr(_options, "spread", lambda least, most: least)
    assert options.pause(1) == 1.0


def test_a_delayed_job_waits_for_its_time(make: Make) -> None:
    executor = make()
    before = time.time()
    never = executor.using(delay=3600).submit(work.note, "never")
    late = executor.using(delay=0.2).submit(work.note, "late")
    assert executor.submit(work.note, "soon").result(work.PATIENCE) == "soon"
    assert late.result(work.PATIENCE) == "late"
    assert time.time() - before >= 0.2
    assert sorted(work.DONE) == ["late", "soon"]  # in this order only where the thread wasn't late itself
    assert never.cancel()


def test_priorities(make: Make) -> None:
    executor = make()
    executor.using(priority=0).submit(work.hold, "gate")
    work.reached("gate")
    for priority in (3, -1, 0, 10, -1.5, 0):
        executor.using(priority=priority).submit(work.note, priority)
    executor.submit(work.note, "plain")
    work.GATES["gate"].set()
    executor.shutdown()
    assert work.DONE == [-1.5, -1, 0, 0, "plain", 3, 10]


def test_a_timeout_fails_the_future_and_refuses_the_late_outcome(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    executor = make(2)
    future = executor.using(timeout=0.05, key="k").submit(work.hold, "gate")
    with pytest.raises(TimeoutError, match="can't be stopped"):
        future.result(work.PATIENCE)
    assert not list(executor.jobs())
    work.GATES["gate"].set()
    executor.shutdown()
    with pytest.raises(TimeoutError):
        future.result(0)
    with make() as executor, pytest.raises(TimeoutError):
        executor.future(key="k").result(work.PATIENCE)


@pytest.mark.parametrize("kind", [TimeoutError, futures.TimeoutError])
def test_a_timeout_is_that_of_python_and_of_the_module(kind: type[Exception], make: Make) -> None:
    """Before Python 3.11 they are two, and who caught the one that the module has didn't catch a job's."""
    executor = make(2)
    future = executor.using(timeout=0.05, key="k").submit(work.hold, "gate")
    with pytest.raises(kind, match="can't be stopped"):
        future.result(work.PATIENCE)
    work.GATES["gate"].set()
    executor.shutdown()
    with make() as executor, pytest.raises(kind, match="can't be stopped"):
        executor.future(key="k").result(work.PATIENCE)


def test_a_job_in_time_isnt_failed(make: Make) -> None:
    assert make().using(timeout=60).submit(work.double, 1).result(work.PATIENCE) == 2


def test_a_job_that_was_done_in_time_leaves_nothing_for_the_clock(make: Make) -> None:
    """It had the stored call until the time would have been over: with timeout=3600 those of an hour."""
    executor = make()
    future = executor.using(timeout=600).submit(work.double, 1)
    executor.shutdown()
    assert future.result() == 2
    calls: list[Any] = list(_clock._clocks[""]._calls.values())
    assert not [call for call in calls if call.func is _run_out and call.args[1]() is future]


@pytest.mark.parametrize("end", ["cancelled", "left"])
def test_a_delayed_job_that_is_gone_leaves_nothing_for_the_clock(make: Make, end: str) -> None:
    """It kept the executor's backlog until the job would have been due."""
    executor = make()
    future = executor.using(delay=600).submit(work.double, 1)
    if end == "left":
        executor.shutdown(drain=False)
    else:
        assert future.cancel()
    calls: list[Any] = list(_clock._clocks[""]._calls.values())
    assert not [call for call in calls if executor._backlog in getattr(call, "args", ())]


def test_what_was_taken_back_doesnt_stay_to_its_time() -> None:
    clock = _clock.Clock()
    clock._thread = threading.current_thread()
    for _ in range(1000):
        clock.call_in(600, list)()
    clock.call_in(0, list)()
    clock.call_in(0, dict)
    assert clock._next() is dict
    assert not clock._due


def test_a_timeout_may_be_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    due: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def call_in(seconds: float, function: Callable[[], object]) -> Callable[[], object]:
        due.put(function)
        return bool

    monkeypatch.setattr(timeouts, "call_in", call_in)
    executor = make(2)
    future = executor.using(timeout=work.PATIENCE, retries=1, backoff=0.0).submit(work.hold, "gate")
    work.reached("gate")
    due.get(timeout=work.PATIENCE)()
    work.reached("gate")
    work.GATES["gate"].set()
    assert future.result(work.PATIENCE) == "gate"
    assert future.attempts == 2


def test_the_time_of_a_try_that_is_over_says_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outcome didn't come too late: it waits for the next try."""
    due, threads = list[Callable[[], object]](), list[threading.Thread]()
    monkeypatch.setattr(timeouts, "call_in", lambda seconds, function: due.append(function) or bool)
    monkeypatch.setattr(timeouts, "start_thread", threads.append)
    executor = make()
    future = executor.using(timeout=work.PATIENCE, retries=1, backoff=600).submit(work.fail, "failed")
    while not executor._backlog.delayed:
        assert not future.done()
    due[0]()
    assert not threads


def test_a_full_backlog_raises(make: Make) -> None:
    executor = make(max_pending=2, when_full="raise")
    executor.submit(work.hold, "gate")
    work.reached("gate")
    futures = [executor.submit(work.note, number) for number in range(2)]
    with pytest.raises(queue.Full):
        executor.submit(work.note, 2)
    with pytest.raises(queue.Full):
        executor.using(key="k").submit(work.note, 2)
    work.GATES["gate"].set()
    wait(futures)
    assert executor.submit(work.note, 3).result(work.PATIENCE) == 3
    assert executor.using(key="k").submit(work.note, 4).result(work.PATIENCE) == 4


@pytest.mark.parametrize(
    ("bounds", "full"),
    [
        ({"max_pending": 1, "max_bytes": 9999}, "1 ready records"),
        ({"max_pending": 99, "max_bytes": 400}, "its limit is 400"),
    ],
)
def test_a_full_backlog_says_which_of_two_bounds_it_has_come_to(make: Make, bounds: dict[str, int], full: str) -> None:
    """It was always said to have as many jobs as it may."""
    executor = make(when_full="raise", **bounds)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.submit(work.note, "x" * 100)
    with pytest.raises(queue.Full, match=full):
        executor.submit(work.note, "x" * 100)
    work.GATES["gate"].set()


@pytest.mark.parametrize("bound", [{"max_pending": 2}, {"max_bytes": 500}])
def test_a_full_backlog_makes_submit_wait(make: Make, bound: dict[str, Any]) -> None:
    executor = make(**bound)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    submitted: list[Any] = []
    two = threading.Event()

    def submit() -> None:
        for number in range(8):
            submitted.append(executor.submit(work.note, "x" * 100 + str(number)))
            if number == 1:
                two.set()

    thread = threading.Thread(target=submit)
    thread.start()
    assert two.wait(work.PATIENCE)
    assert not executor._backlog.store.wait("default", lambda depth: depth.ready > 2, 0.1)
    assert len(submitted) == 2
    work.GATES["gate"].set()
    thread.join(work.PATIENCE)
    wait(submitted)
    assert len(work.DONE) == 8


def test_a_job_that_is_larger_than_the_bound_waits_until_there_is_none(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, wait_for_room = threading.Event(), storing._wait_for_room
    monkeypatch.setattr(storing, "_wait_for_room", lambda *args: (waits.set(), wait_for_room(*args)))
    executor = make(max_bytes=100)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    submitting = Task(lambda: executor.submit(work.note, "x" * 1000), patience=work.PATIENCE)
    assert waits.wait(work.PATIENCE)
    work.GATES["gate"].set()
    assert submitting.result().result(work.PATIENCE) == "x" * 1000


def test_a_shutdown_ends_waiting_for_room(make: Make) -> None:
    executor = make(max_pending=1)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.submit(work.note, 1)
    refused: list[BaseException] = []

    def submit() -> None:
        try:
            executor.submit(work.note, 2)
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    executor.shutdown(wait=False)
    thread.join(work.PATIENCE)
    assert refused
    work.GATES["gate"].set()


@pytest.mark.parametrize("way", ["future", "executor", "purge"])
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_cancelled_job_is_waited_for_no_longer(kind: Any, way: str, place: dict[str, Any]) -> None:
    """A delayed one was, behind shutdown(wait=False): the store stayed open until it would have been due."""
    executor: Any = kind(1, **place)
    future = executor.using(delay=3600).submit(work.nothing)
    backlog, closed = executor._backlog, threading.Event()
    close = backlog.close
    backlog.close = lambda: (close(), closed.set())
    executor.shutdown(wait=False)
    assert not closed.is_set()
    if way == "future":
        assert future.cancel()
    elif way == "executor":
        assert executor.cancel(future.job_id)
    else:
        assert executor.purge("delayed") == 1
    assert closed.wait(work.PATIENCE)
    assert future.cancelled()


@pytest.mark.parametrize("name", ["retries", "backoff", "delay", "timeout", "result_ttl"])
def test_what_is_no_number_at_all_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        options(**{name: float("nan")})  # type: ignore[arg-type]


def test_what_may_be_a_key() -> None:
    """What is stored is its repr(): that of a bool, or of a type of somebody's own, says something else."""
    assert key_bytes("\udc80") != key_bytes("\udc81")
    for key in (True, (True,), type("Text", (str,), {})("k")):
        with pytest.raises(TypeError):
            key_bytes(key)


def test_results_that_are_kept_for_ever_can_be_purged(make: Make) -> None:
    """Those of parked jobs can't be, whose time is without end."""
    executor = make()
    executor.using(result_ttl=float("inf")).submit(work.double, 1).result(work.PATIENCE)
    assert executor.purge("results") == 1


def test_a_result_without_a_key_isnt_kept(make: Make) -> None:
    executor = make()
    executor.using(retries=1).submit(work.double, 1).result(work.PATIENCE)
    assert executor.stats()["results"] == 0


def test_more_failures_than_are_counted() -> None:
    job = wire.write(b"0123456789abcdef", b"call")
    assert wire.read(wire.with_failures(job, 70_000)).failures == 0xFFFF


@task(name="named in a store")
def _named() -> None: ...


def test_a_task_goes_by_its_name_whatever_script_it_is_in() -> None:
    call: wire.Call = (_named, (), {})
    assert wire.name_of(wire.dump(call)) == "named in a store"
    assert wire.bounds_of(call, b"__main__", shared=True) == {}


def test_a_script_is_the_same_by_whatever_path_it_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.py").touch()
    (tmp_path / "link.py").symlink_to("app.py")
    main = SimpleNamespace(__spec__=None, __file__=str(tmp_path / "link.py"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(wire, "_main", "")
    there = str((tmp_path / "app.py").resolve())
    assert wire.bounds_of((work.double, (), {}), b"__main__", shared=True) == {"main": there}
