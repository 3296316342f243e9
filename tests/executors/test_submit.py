"""What submit promises: on disk when it returns, the very objects in this process, memory for what can't be stored."""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import functools
import gc
import sys
import threading
import warnings
import weakref
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import JobFuture, JobParked, ProcessPoolExecutor, ThreadPoolExecutor, _durable, wait
from pqadapters.errors import NotDurableWarning, NotSerializable, StoreLocked
from pqadapters.resting import Rest, visit

from ..contract.threads import Task, is_gone
from . import work
from .conftest import Make


def test_a_job_is_stored_when_submit_returns(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future = executor.submit(work.double, 21)
    assert [job.function for job in executor.jobs("pending")] == ["tests.executors.work.double"]
    assert [job.job_id for job in executor.jobs("pending")] == [future.job_id]  # type: ignore[attr-defined]
    work.GATES["gate"].set()
    assert future.result(work.PATIENCE) == 42


@pytest.mark.parametrize("wait_for", [JobFuture.result, JobFuture.exception])
def test_who_waits_for_a_job_has_no_turn(wait_for: Any, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its store, from which workers stay away meanwhile: they would come back by themselves, later."""
    place, called = Rest(), list[Rest]()
    future = make().submit(work.double, 21)
    monkeypatch.setattr(Rest, "call", lambda rest, *call: called.append(rest))
    visit(place)
    wait_for(future, work.PATIENCE)
    assert place in called


class Large:
    def __reduce__(self) -> Any:
        raise MemoryError


def test_a_call_that_there_is_no_memory_for_is_refused(make: Make) -> None:
    """It ran from memory alone, as one that can't be serialised."""
    executor = make()
    for submit in (executor.submit, executor.using().submit):
        with pytest.raises(MemoryError):
            submit(work.note, Large())
    executor.submit(work.nothing).result(work.PATIENCE)
    assert not work.DONE


def test_what_is_done_is_off_the_disk_before_anybody_sees_it(make: Make) -> None:
    executor = make()
    for number in range(20):
        assert executor.submit(work.double, number).result(work.PATIENCE) == 2 * number
        assert not list(executor.jobs())


def test_the_attempt_is_counted_before_the_job_runs(make: Make) -> None:
    executor = make()
    future: Any = executor.submit(work.hold, "gate")
    work.reached("gate")
    (job,) = executor.jobs("running")
    assert (job.attempts, future.attempts, future.durable) == (1, 1, True)


def test_the_very_objects_are_used_in_this_process(make: Make) -> None:
    given: list[int] = []
    make().submit(given.append, 1).result(work.PATIENCE)
    assert given == [1]


def test_jobs_run_in_their_order(make: Make) -> None:
    executor = make()
    wait([executor.submit(work.note, number) for number in range(50)])
    assert list(range(50)) == work.DONE


def test_futures_are_the_standard_librarys(make: Make) -> None:
    executor = make(2)
    futures = [executor.submit(work.double, number) for number in range(10)]
    assert all(isinstance(future, concurrent.futures.Future) for future in futures)
    assert sorted(future.result() for future in concurrent.futures.as_completed(futures)) == list(range(0, 20, 2))


def test_a_failure_is_its_exception(make: Make) -> None:
    with pytest.raises(ValueError, match="no"):
        make().submit(work.fail, "no").result(work.PATIENCE)


# Calls that can't be stored


def test_a_lambda_runs_from_memory_with_one_warning_for_each_place(make: Make) -> None:
    _durable._warned.clear()
    executor = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
        futures: list[Any] = [executor.submit(work.double, work.Unstorable()) for _ in range(3)]  # type: ignore[arg-type]  # one place
        futures.append(executor.submit(str, work.Unstorable()))
    assert [each.category for each in caught] == [NotDurableWarning] * 2
    assert all(each.filename == __file__ for each in caught)
    assert [future.durable for future in futures] == [False] * 4
    assert "Unstorable" in futures[-1].result(work.PATIENCE)


def test_of_asyncios_calls_that_cant_be_stored_the_warning_names_the_programs_own_place_and_function() -> None:
    """It was asyncio's line, the same one for all of them, and "the call of partial"."""
    _durable._warned.clear()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(store="memory:"))
        assert await asyncio.to_thread(work.double, 2) == 4
        assert await asyncio.to_thread(functools.partial(work.double, 3)) == 6

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
    told = [each for each in caught if each.category is NotDurableWarning]
    assert [each.filename for each in told] == [__file__] * 2
    assert all("the call of double can't be stored" in str(each.message) for each in told)


def test_a_thread_that_begins_with_submit_warns_as_any_other(make: Make) -> None:
    """As greenlets do. Nobody's place is in its stack: a ValueError said that this isn't deep enough, and the job was
    gone."""
    _durable._warned.clear()
    executor, done = make(), threading.Event()

    def is_done() -> bool:
        _thread.start_new_thread(executor.submit, (done.set,))
        return done.wait(work.PATIENCE)

    with pytest.warns(NotDurableWarning, match="the call of Event.set can't be stored"):
        assert is_done()


def test_volatile_raise_and_allow(make: Make, tmp_path: Path) -> None:
    with pytest.raises(NotSerializable, match="volatile"):
        make(volatile="raise").submit(str, work.Unstorable())
    with warnings.catch_warnings(), ThreadPoolExecutor(path=tmp_path / "b", volatile="allow") as executor:
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
        assert executor.submit(str, work.Unstorable()).result(work.PATIENCE)


def test_options_need_a_call_that_can_be_stored(make: Make) -> None:
    with pytest.raises(NotSerializable):
        make().using(key="a").submit(str, work.Unstorable())


def test_a_call_from_memory_isnt_kept_waiting_by_the_backlog(make: Make) -> None:
    executor = make(volatile="allow")
    executor.submit(work.hold, "first")
    work.reached("first")
    for number in range(5):
        executor.submit(work.note, number)
    volatile = executor.submit(lambda unstorable: work.note("volatile"), work.Unstorable())
    work.GATES["first"].set()
    volatile.result(work.PATIENCE)
    assert work.DONE.index("volatile") <= 1  # behind the one job that its ticket had looked for already


def test_cancel_futures_is_for_calls_from_memory_too(make: Make) -> None:
    """Its thread, which had stepped back for them, came first behind them, and was waited for."""
    executor = make(1)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    results = executor.map(work.note, range(3), timeout=work.PATIENCE)
    ends = Task(functools.partial(executor.shutdown, cancel_futures=True), patience=work.PATIENCE)
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)
    work.GATES["gate"].set()
    ends.result()
    assert not work.DONE


def test_cloudpickle_stores_lambdas(place: dict[str, Any]) -> None:
    pytest.importorskip("cloudpickle")
    executor = ThreadPoolExecutor(1, **place)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    factor = 3
    future: Any = executor.submit(lambda number: work.note(factor * number), 14)
    assert future.durable
    executor.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    executor.shutdown()
    with ThreadPoolExecutor(1, **place):
        pass
    assert work.DONE == [42]


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_what_another_python_has_stored_by_value_is_parked(
    pool: Any, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytecode ended the process: a segmentation fault, each time that the program was started."""
    pytest.importorskip("cloudpickle")
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading._PATIENCE", 0.0)
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading._HOUR", 0.0)
    with monkeypatch.context() as older:
        older.setattr("pqadapters.concurrent.futures._jobs.wire.PYTHON", "cpython-39")
        with pool(1, **place) as executor:
            executor._backlog.added = lambda: True  # and begins nothing
            job = executor.submit(lambda: work.note(1)).job_id
            executor.shutdown(drain=False)
    with pool(1, recover="manual", **place) as executor:
        future = executor.future(job)
        executor.recovered()
        with pytest.raises(JobParked, match="by cpython-39, and this is"):
            future.result(work.PATIENCE)


# map


def test_map_runs_from_memory(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    results = executor.map(work.double, range(3))
    assert not list(executor.jobs("pending"))
    work.GATES["gate"].set()
    assert list(results) == [0, 2, 4]


def test_recover_map_stores_its_calls(make: Make) -> None:
    executor = make(recover_map=True)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    results = executor.map(work.double, range(3))
    assert len(list(executor.jobs("pending"))) == 3
    work.GATES["gate"].set()
    assert list(results) == [0, 2, 4]


def test_map_with_buffersize_submits_as_it_is_read(make: Make) -> None:
    asked: list[int] = []

    def numbers() -> Any:
        for number in range(10):
            asked.append(number)
            yield number

    results = make().map(work.double, numbers(), buffersize=2)
    assert len(asked) == 2
    assert next(results) == 0
    assert len(asked) == 3
    assert list(results) == list(range(2, 20, 2))


@pytest.mark.parametrize("options", [{}, {"buffersize": 2}])
def test_map_keeps_nothing_of_what_was_read(make: Make, options: dict[str, Any]) -> None:
    """With a buffer the last result stayed until the next one was read, however large it was."""
    executor = make()
    results: Any = executor.map(set, [[1], [2], [3]], **options)
    read = weakref.ref(next(results))
    executor.shutdown()  # and its thread has it no longer
    assert [read(), list(results)] == [None, [{2}, {3}]]


@pytest.mark.parametrize("size", [0, -1])
def test_map_refuses_a_buffer_for_nothing(make: Make, size: int) -> None:
    with pytest.raises(ValueError, match="buffersize"):
        make().map(work.double, [1], buffersize=size)


def test_a_subclass_sees_the_function_that_is_mapped(place: dict[str, Any]) -> None:
    """Its `submit` is called by `map`, as of the standard library's: with something that had no `__name__`."""
    seen: list[tuple[Any, ...]] = []

    class Noting(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            seen.append((fn.__name__, fn == work.double, {fn: 1}.get(work.double), repr(fn)))
            return super().submit(functools.wraps(fn)(lambda *each: fn(*each) + 1), *args, **kwargs)

    with Noting(1, volatile="allow", **place) as executor:
        assert list(executor.map(work.double, [1, 2])) == [3, 5]
    assert seen == [("double", True, 1, repr(work.double))] * 2


@pytest.mark.parametrize("recover", [False, True])
def test_what_map_gives_to_the_submit_of_a_subclass_is_no_other_job(make: Make, recover: bool) -> None:
    """It was stored, and run once more beside the program that maps again."""

    class Calling(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            return super().submit(work.call, work.call, fn, *args, **kwargs)

    executor = make(recover_map=recover)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.__class__ = Calling
    results = executor.map(work.double, range(3))
    assert len(list(executor.jobs("pending"))) == (3 if recover else 0)
    work.GATES["gate"].set()
    assert list(results) == [0, 2, 4]


@pytest.mark.parametrize("options", [{}, {"buffersize": 1}, {"buffersize": 2}])
def test_what_map_has_no_time_left_for_is_cancelled(make: Make, options: dict[str, int]) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    results = executor.map(work.note, range(3), timeout=0.01, **options)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    work.GATES["gate"].set()
    executor.shutdown()
    assert not work.DONE


def test_a_partial_of_nothing_is_a_call_like_any_other(make: Make) -> None:
    executor = make()
    assert executor.submit(functools.partial(work.double, 2)).result(work.PATIENCE) == 4
    assert executor.submit(functools.partial(work.nothing)).result(work.PATIENCE) is None


# With others


def test_event_loops(make: Make) -> None:
    executor = make(2)

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        return [await loop.run_in_executor(None, work.double, 21), await loop.run_in_executor(executor, work.double, 1)]

    assert asyncio.run(main()) == [42, 2]


def test_thread_name_prefix_and_initializer(place: dict[str, Any]) -> None:
    done = threading.Event()
    with ThreadPoolExecutor(1, "mine", done.set, **place) as executor:
        assert executor.submit(threading.current_thread).result(work.PATIENCE).name == "mine_0"
    assert done.is_set()


def test_a_failing_initializer_breaks_the_pool_and_loses_no_job(
    place: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    executor = ThreadPoolExecutor(1, initializer=work.fail, initargs=("not today",), **place)
    future = executor.submit(work.note, "job")
    with pytest.raises(concurrent.futures.BrokenExecutor):
        future.result(work.PATIENCE)
    with pytest.raises(concurrent.futures.BrokenExecutor):
        executor.submit(work.note, "another")
    executor.shutdown()
    with ThreadPoolExecutor(1, **place):
        pass
    assert work.DONE == ["job"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_runs_as_an_initializer_fails_comes_to_its_end(place: dict[str, Any], fails: bool) -> None:
    """As in the standard library's pool. Its future failed, though the job was done, and not run again."""
    first = threading.Lock()

    def begin() -> None:
        assert first.acquire(blocking=False)

    executor = ThreadPoolExecutor(2, initializer=begin, **place)
    runs = executor.using(retries=1, backoff=0).submit(work.fail_at if fails else work.hold, "gate")
    work.reached("gate")
    with pytest.raises(concurrent.futures.BrokenExecutor):
        executor.submit(work.nothing).result(work.PATIENCE)
    assert not runs.done()
    work.GATES["gate"].set()
    if fails:  # its next try is for another executor
        with pytest.raises(concurrent.futures.BrokenExecutor):
            runs.result(work.PATIENCE)
    else:
        assert runs.result(work.PATIENCE) == "gate"
    executor.shutdown()


def test_the_store_doesnt_keep_the_executor_alive(place: dict[str, Any]) -> None:
    executor = ThreadPoolExecutor(1, **place)
    executor.submit(work.double, 1).result(work.PATIENCE)
    threads = list(executor._threads)
    gone = weakref.ref(executor)
    del executor
    assert is_gone(gone, patience=work.PATIENCE)
    for thread in threads:
        thread.join(work.PATIENCE)
        assert not thread.is_alive()
    ThreadPoolExecutor(1, **place).shutdown()  # the store is free again


def test_an_executor_that_nobody_has_does_what_it_was_given(place: dict[str, Any]) -> None:
    executor = ThreadPoolExecutor(1, **place)
    futures = [executor.submit(work.note, number) for number in range(20)]
    del executor
    wait(futures)
    assert list(range(20)) == work.DONE


def test_a_path_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    import subprocess

    with ThreadPoolExecutor(path=tmp_path / "jobs") as executor:
        executor.submit(work.nothing).result(work.PATIENCE)
        program = (
            "import sys\nfrom pqadapters.concurrent.futures import ThreadPoolExecutor\n"
            "try: ThreadPoolExecutor(path=sys.argv[1])\nexcept Exception as error: print(type(error).__name__)"
        )
        ran = subprocess.run([sys.executable, "-c", program, str(tmp_path / "jobs")], capture_output=True, text=True)
    assert ran.stdout.strip() == StoreLocked.__name__


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"path": "a", "store": "memory:"},
        {"volatile": "never"},
        {"recover": "no"},
        {"interrupted": "x"},
        {"when_full": "drop"},
        {"max_attempts": 0},
        {"max_pending": 0},
        {"result_ttl": -1},
        {"store": ""},  # was the application's home
        {"store": "jobs.db", "recover": "manual"},  # was found by the first submit
        {"path": "memory:", "recover": "manual"},
        {"path": ""},
    ],
)
def test_arguments_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ThreadPoolExecutor(**wrong)


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"serializer": "json"}, "PoolExecutor.. got an unexpected keyword argument 'serializer'"),
        ({"on_recovered": "print"}, "on_recovered"),  # was found by the first job that was left
        ({"path": 5}, "path"),
        ({"result_ttl": Decimal("1")}, "result_ttl"),  # the jobs ran, and their futures never came to an end
        ({"max_pending": "5"}, "max_pending"),
    ],
)
def test_kinds_of_arguments_are_checked(kind: Any, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        kind(**wrong)


@pytest.mark.parametrize("variable", ["PQADAPTERS_DURABILITY", "PQADAPTERS_URL"])
def test_a_wrong_word_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "somewhere")
    with pytest.raises(ValueError, match=f"{variable}.*somewhere"):
        ThreadPoolExecutor(name="jobs")


@pytest.mark.parametrize("place", [{"path": "jobs"}, {"store": "sqlite:///jobs.db"}])
def test_a_relative_place_is_in_the_directory_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: dict[str, Any]
) -> None:
    """Where the first submit opens it, a program that had gone elsewhere meanwhile had its jobs there."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(1, **place, recover="on_submit") as executor:
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
        assert str(executor.stats()["place"]).startswith(f"{tmp_path}/jobs")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        {"retries": -1},
        {"backoff": -1.0},
        {"delay": -0.1},
        {"delay": Decimal("1")},
        {"timeout": 0},
        {"timeout": 10**400},  # as of the next one, a job that was begun had no end
        {"backoff": 10**400},
        {"max_attempts": 0},
        {"key": 1.5},
    ],
)
def test_options_are_checked(make: Make, wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        make().using(**wrong)


@pytest.mark.parametrize("options", [{}, {"retries": 1, "backoff": 0.001}])
def test_what_failed_waits_for_no_garbage_collector(options: dict[str, Any], place: dict[str, Any]) -> None:
    """The exception's traceback had the frame that ran the job, that had the future, and that the exception: executors
    whose jobs fail, and whatever their arguments hold, were freed by the collector alone."""
    gc.disable()
    try:
        executor = ThreadPoolExecutor(1, **place)
        future = executor.using(**options).submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            future.result()
        executor.shutdown()
        left: list[weakref.ref[Any]] = [weakref.ref(executor), weakref.ref(future)]
        del executor, future
        assert [each() for each in left] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("options", [{}, {"key": "k"}])
def test_what_an_interrupted_submit_has_stored_isnt_put_back_by_who_has_it_in_hand(
    options: dict[str, Any], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was put back as one whose executor had come to its end, and ran later. Who asked for its key meanwhile waited
    for ever."""
    executor = make()
    executor.stats()
    begin, added, begins = JobFuture.begin, executor._backlog.added, threading.Event()

    def hold(future: JobFuture) -> bool:
        begins.set()
        work.hold("gate")
        return begin(future)

    def interrupt() -> bool:
        if added() and threading.current_thread() is threading.main_thread():
            begins.wait(work.PATIENCE)
            raise KeyboardInterrupt
        return True

    with monkeypatch.context() as context:
        context.setattr(JobFuture, "begin", hold)
        context.setattr(executor._backlog, "added", interrupt)
        with pytest.raises(KeyboardInterrupt):
            executor.using(**options).submit(work.note, 1)
    asked = [executor.using(**options).submit(work.note, 2)] if options else []
    work.GATES["gate"].set()
    for future in asked:
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(work.PATIENCE)
    executor.using(**options).submit(work.nothing).result(work.PATIENCE)
    executor.shutdown()
    assert not work.DONE
    assert not list(make(recover="manual").jobs())
