"""Process pools: only the parent touches the store, killed workers, a new pool in the place of a broken one."""

from __future__ import annotations

import errno
import multiprocessing
import os
import queue
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import process as stdlib
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.concurrent.futures import JobParked, ProcessPoolExecutor, RemoteError, _durable, wait
from pqadapters.concurrent.futures._backlog import clock, keys, returning, starting, storing, timeouts, watch
from pqadapters.concurrent.futures._workers import apart
from pqadapters.errors import NotDurableWarning, NotSerializable
from pqadapters.stores.sqlite import SqliteStore

from ..contract.threads import Task
from . import work
from .harness import App

MakeProcesses = Callable[..., ProcessPoolExecutor]


@pytest.fixture
def make_processes(place: dict[str, Any]) -> Iterator[MakeProcesses]:
    made: list[ProcessPoolExecutor] = []

    def new(workers: int = 2, **more: Any) -> ProcessPoolExecutor:
        made.append(ProcessPoolExecutor(workers, **place, **more))
        return made[-1]

    yield new
    for executor in made:
        executor.shutdown(drain=False)


def kill_idle(executor: Any) -> None:
    """Its worker, until the pool knows."""
    os.kill(executor.submit(work.pid).result(work.PATIENCE), signal.SIGKILL)
    executor._executor_manager_thread.join(work.PATIENCE)


def test_jobs_run_in_other_processes(make_processes: MakeProcesses) -> None:
    executor = make_processes()
    futures: list[Any] = [executor.submit(work.pid) for _ in range(20)]
    assert os.getpid() not in {future.result(work.PATIENCE) for future in futures}
    assert all(future.durable for future in futures)
    assert not list(executor.jobs())


def test_cloudpickle_gives_lambdas_to_workers(make_processes: MakeProcesses) -> None:
    """They were stored, and then failed with the standard library's PicklingError."""
    pytest.importorskip("cloudpickle")
    executor, more = make_processes(), 5
    plain, keyed = executor.submit(lambda: os.getpid()), executor.using(key="k").submit(lambda number: number + more, 1)
    assert plain.result(work.PATIENCE) != os.getpid()
    assert keyed.result(work.PATIENCE) == 6


def test_map(make_processes: MakeProcesses) -> None:
    executor = make_processes()
    assert list(executor.map(work.double, range(10), chunksize=3)) == list(range(0, 20, 2))


def test_stored_maps_run_again(make_processes: MakeProcesses) -> None:
    executor = make_processes(recover_map=True)
    assert list(executor.map(work.double, range(10), chunksize=3)) == list(range(0, 20, 2))


def test_failures_and_keys(make_processes: MakeProcesses) -> None:
    executor = make_processes()
    with pytest.raises(ValueError, match="no"):
        executor.submit(work.fail, "no").result(work.PATIENCE)
    assert executor.using(key=1).submit(work.double, 1).result(work.PATIENCE) == 2
    assert executor.using(key=1).submit(work.double, 2).result(work.PATIENCE) == 2


def test_an_exception_that_cant_be_loaded_breaks_no_pool(make_processes: MakeProcesses, tmp_path: Path) -> None:
    """The job was begun three times and parked, as if it had ended its worker, and each time others were blamed too."""
    executor, go = make_processes(), str(tmp_path / "go")
    other = executor.submit(work.wait_for_file, go)
    failed: Any = executor.submit(work.fail_awkwardly)
    with pytest.raises(RemoteError, match="not found") as caught:
        failed.result(work.PATIENCE)
    Path(go).touch()
    assert other.result(work.PATIENCE) is None
    assert caught.value.type == "tests.executors.work.Awkward"
    assert "fail_awkwardly" in caught.value.traceback
    assert failed.attempts == 1


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("kind", [work.Unloadable, work.Leaves, work.Interrupts])
def test_a_result_that_cant_be_loaded_breaks_no_pool(
    make_processes: MakeProcesses, tmp_path: Path, kind: type[Any], rebuild: bool
) -> None:
    """It broke it, and with rebuild=True its job was begun three times and parked, as if it had ended its worker. One
    whose loading raises what is no Exception left its future without an end."""
    executor, go, ledger = make_processes(rebuild=rebuild), str(tmp_path / "go"), tmp_path / "ledger"
    other = executor.submit(work.wait_for_file, go)
    failed: Any = executor.submit(work.return_noted, str(ledger), kind)
    with pytest.raises(RemoteError, match="the result can't be loaded") as caught:
        failed.result(work.PATIENCE)
    Path(go).touch()
    assert other.result(work.PATIENCE) is None
    assert isinstance(caught.value, BrokenExecutor)  # what the standard library gives
    raised = {work.Unloadable: ValueError, work.Leaves: SystemExit, work.Interrupts: KeyboardInterrupt}
    assert caught.value.type == f"builtins.{raised[kind].__name__}"
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    assert ledger.read_text().split() == [kind.__name__]


def test_a_result_that_cant_be_pickled_is_the_futures_error(make_processes: MakeProcesses) -> None:
    executor = make_processes(1)
    with pytest.raises(TypeError, match="not me"):
        executor.submit(work.Unstorable).result(work.PATIENCE)
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4


def test_a_call_that_cant_be_pickled_is_its_futures_error_and_not_for_the_pool(
    make_processes: MakeProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library's pool hangs where it is shut down meanwhile (its gh-125451): every other time, here.
    Nor did it run from memory, as a warning said."""
    executor = make_processes(1)
    executor.submit(work.double, 1).result(work.PATIENCE)
    issued, given = executor._issue, list[Any]()

    def issue(carry: Any, function: Any, *more: Any) -> Any:
        given.append(function)
        return issued(carry, function, *more)

    monkeypatch.setattr(executor, "_issue", issue)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
        future: Any = executor.submit(id, work.Unstorable())
    executor.shutdown(wait=False)
    with pytest.raises(TypeError, match="not me"):
        future.result(work.PATIENCE)
    assert (future.durable, future.job_id) == (False, None)
    assert id not in given
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(id, work.Unstorable())


def test_a_call_that_multiprocessing_can_pickle_runs_from_memory(make_processes: MakeProcesses) -> None:
    _durable._warned.clear()
    one, other = socket.socketpair()
    with one, other:
        with pytest.warns(NotDurableWarning, match="runs from memory"):
            future: Any = make_processes(1).submit(work.greet, one)
        assert other.recv(10) == b"hello"
        assert future.result(work.PATIENCE) is None
    assert not future.durable
    with pytest.raises(NotSerializable):
        make_processes(1, volatile="raise", name="raising").submit(id, work.Unstorable())


def test_results_come_as_multiprocessing_pickles_them(make_processes: MakeProcesses) -> None:
    """A connection goes to another process by its means alone."""
    connection = make_processes(1).submit(work.connected, b"hello").result(work.PATIENCE)
    with connection:
        assert connection.recv_bytes() == b"hello"


def test_exceptions_come_as_multiprocessing_pickles_them(tmp_path: Path) -> None:
    """It was an OSError of a bad descriptor: pickle alone closed the connection."""
    with ProcessPoolExecutor(1, path=tmp_path / "jobs") as executor:
        error = executor.submit(work.fail_connected, b"hello").exception(work.PATIENCE)
    assert isinstance(error, ValueError)
    with error.args[0] as connection:
        assert connection.recv_bytes() == b"hello"


@pytest.mark.parametrize(
    ("kind", "args"), [(work.Unprinted, ("1", "7", "no")), (work.Sealed, ("no",)), (work.Exits, ("no",))]
)
def test_an_exception_that_the_pool_cant_send_breaks_no_pool(
    kind: type[Exception], args: tuple[str, ...], make_processes: MakeProcesses, tmp_path: Path
) -> None:
    """It ended its worker, and the others with it; with `rebuild=True` the job was begun three times and parked."""
    executor = make_processes()
    failed: Any = executor.submit(work.fail_noted, str(tmp_path / "ledger"), kind, *args)
    with pytest.raises(RemoteError, match="no") as caught:
        failed.result(work.PATIENCE)
    assert caught.value.type == f"tests.executors.work.{kind.__name__}"
    assert failed.attempts == 1
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


def test_an_exception_of_map_that_cant_be_loaded_breaks_no_pool(make_processes: MakeProcesses, tmp_path: Path) -> None:
    """It broke it, and the jobs that ran beside it were begun again."""
    executor, go = make_processes(), str(tmp_path / "go")
    other = executor.submit(work.wait_for_file, go)
    with pytest.raises(RemoteError, match="not found"):
        list(executor.map(work.fail_awkwardly_on, [1]))
    Path(go).touch()
    assert other.result(work.PATIENCE) is None


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_job_that_raises_what_a_broken_pool_does_breaks_none(
    make_processes: MakeProcesses, tmp_path: Path, rebuild: bool
) -> None:
    """It may have a pool of its own. All other futures failed, and the executor took no more jobs; or it was begun
    three times and parked."""
    executor, go, ledger = make_processes(rebuild=rebuild), str(tmp_path / "go"), tmp_path / "ledger"
    other = executor.submit(work.wait_for_file, go)
    with pytest.raises(BrokenProcessPool, match="its own"):
        executor.submit(work.fail_noted, str(ledger), BrokenProcessPool, "its own").result(work.PATIENCE)
    Path(go).touch()
    assert other.result(work.PATIENCE) is None
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    assert ledger.read_text().split() == ["BrokenProcessPool"]


@pytest.mark.parametrize(
    ("kind", "args", "retry_on", "tries"),
    [
        (work.Awkward, (404, "not found"), work.Awkward, 3),
        (work.Awkward, (404, "not found"), OSError, 1),
        (work.Awkward, (404, "not found"), RemoteError, 3),
        (work.AwkwardSystem, (404, "no", "not found"), (ValueError, OSError), 3),
        (work.AwkwardEnd, (404, "not found"), None, 1),
    ],
)
def test_retries_look_at_what_was_raised(
    make_processes: MakeProcesses, tmp_path: Path, kind: type[BaseException], args: Any, retry_on: Any, tries: int
) -> None:
    """And not at the RemoteError that comes in its place."""
    options = make_processes(1).using(retries=2, backoff=0.001, retry_on=retry_on)
    with pytest.raises(RemoteError, match="not found"):
        options.submit(work.fail_noted, str(tmp_path / "ledger"), kind, *args).result(work.PATIENCE)
    assert len((tmp_path / "ledger").read_text().split()) == tries


def test_a_killed_worker_breaks_the_pool_and_the_jobs_stay(
    make_processes: MakeProcesses, place: dict[str, Any]
) -> None:
    executor = make_processes(1)
    fatal = executor.submit(work.end_process)
    with pytest.raises(BrokenExecutor):
        fatal.result(work.PATIENCE)
    with pytest.raises(BrokenExecutor):
        executor.submit(work.double, 1)
    executor.shutdown()
    with ProcessPoolExecutor(1, recover="manual", **place) as another:
        assert [job.function.rpartition(".")[2] for job in another.jobs("pending")] == ["end_process"]
        assert next(another.jobs()).attempts == 1
        another.purge("pending")


def test_ctrl_c_in_a_worker_ends_no_job(make_processes: MakeProcesses, tmp_path: Path) -> None:
    """A terminal sends it to all processes of a program: what ran was done with KeyboardInterrupt, and lost."""
    executor, file = make_processes(1), str(tmp_path / "struck")
    assert type(executor.submit(work.strike_once, file).exception(work.PATIENCE)) is KeyboardInterrupt
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    executor.shutdown()
    again = make_processes(1)
    assert [future.result(work.PATIENCE) for future in again.recovered()] == ["done"]


def test_a_worker_ignores_ctrl_c_where_its_program_does(make_processes: MakeProcesses) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        asked = make_processes(1).submit(signal.getsignal, signal.SIGINT)
        assert asked.result(work.PATIENCE) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_key_whose_job_ctrl_c_has_broken_off_begins_it_again(make_processes: MakeProcesses, tmp_path: Path) -> None:
    """Else the interrupt would be what the key stands for, for a day."""
    recovered: list[Any] = []
    executor, file = make_processes(1, recover="manual", on_recovered=recovered.append), str(tmp_path / "struck")
    keyed = executor.using(key="key")
    assert isinstance(keyed.submit(work.strike_once, file).exception(work.PATIENCE), KeyboardInterrupt)
    again = keyed.submit(work.strike_once, file)
    assert again.exception(work.PATIENCE) is None
    assert again.result() == "done"
    assert not recovered


def test_ctrl_c_in_a_worker_is_tried_again_where_the_job_says_so(make_processes: MakeProcesses, tmp_path: Path) -> None:
    retried = make_processes(1).using(retries=1, backoff=0.0, retry_on=KeyboardInterrupt)
    assert retried.submit(work.strike_once, str(tmp_path / "struck")).exception(work.PATIENCE) is None


def test_a_job_that_raises_keyboard_interrupt_has_come_to_that(make_processes: MakeProcesses, tmp_path: Path) -> None:
    executor, ledger = make_processes(1), str(tmp_path / "ledger")
    raised = executor.submit(work.fail_noted, ledger, KeyboardInterrupt).exception(work.PATIENCE)
    assert isinstance(raised, KeyboardInterrupt)
    executor.shutdown()
    assert not make_processes(1).recovered()


def test_the_workers_of_a_new_pool_end_with_the_executor(place: dict[str, Any]) -> None:
    with ProcessPoolExecutor(1, rebuild=True, max_attempts=1, **place) as executor:
        with pytest.raises(JobParked):
            executor.submit(work.end_process).result(work.PATIENCE)
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
        workers = [worker for pool in executor._pools for worker in (pool._processes or {}).values()]
    assert workers
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize("options", [None, {}, {"key": "k"}, {"priority": 1}])
def test_a_pool_whose_idle_worker_was_killed_takes_no_job(
    make_processes: MakeProcesses, options: dict[str, Any] | None
) -> None:
    """As the standard library's: its future failed instead, where programs make a new pool if submit() raises."""
    executor = make_processes(1)
    kill_idle(executor)
    submit: Any = executor.submit if options is None else executor.using(**options).submit
    with pytest.raises(BrokenExecutor, match="terminated abruptly"):
        submit(work.double, 1)
    executor.shutdown()
    assert not list(make_processes(recover="manual").jobs())


def test_what_broke_a_pool_breaks_no_other(make_processes: MakeProcesses, place: dict[str, Any]) -> None:
    """A program that goes on with a new executor finds it as with the standard library's."""
    executor = make_processes(1)
    fatal: Any = executor.submit(work.end_process)
    with pytest.raises(BrokenExecutor):
        fatal.result(work.PATIENCE)
    executor.shutdown()
    with ProcessPoolExecutor(1, **place) as another:
        left = another.future(fatal.job_id)
        assert another.submit(work.double, 1).result(work.PATIENCE) == 2
        with pytest.raises(JobParked, match="3 times"):
            left.result(work.PATIENCE)
        assert [job.attempts for job in another.jobs("dead")] == [3]
        assert another.submit(work.double, 2).result(work.PATIENCE) == 4


def run_again_behind(executor: ProcessPoolExecutor, futures: list[Any], place: dict[str, Any]) -> None:
    """Its pool breaks, and another executor has done what it leaves."""
    for future in futures:
        with pytest.raises(BrokenExecutor):
            future.result(work.PATIENCE)
    executor.shutdown()
    with ProcessPoolExecutor(2, **place):
        pass


def test_jobs_whose_workers_were_killed_run_at_a_time(
    make_processes: MakeProcesses, place: dict[str, Any], tmp_path: Path
) -> None:
    executor = make_processes(2)
    ledger = str(tmp_path / "ledger")
    futures: list[Any] = [executor.submit(work.meet, ledger, 4) for _ in range(2)]
    work.wait_for_lines(ledger, 2)
    for pid in list(executor._processes):
        with suppress(ProcessLookupError):  # the pool ends the others itself when it hears of the first one
            os.kill(pid, signal.SIGKILL)
    run_again_behind(executor, futures, place)
    assert len(Path(ledger).read_text().split()) == 4


def test_one_that_ends_its_worker_again_takes_no_other_with_it(
    make_processes: MakeProcesses, place: dict[str, Any], tmp_path: Path
) -> None:
    """Those whose worker was killed were in one pool, which the next death among them broke: a job that had done
    nothing was counted once more for each, and parked behind the third."""
    executor = make_processes(2)
    ledger = str(tmp_path / "ledger")
    futures: list[Any] = [executor.submit(fn, ledger) for fn in (work.end_beside, work.stay_beside)]
    run_again_behind(executor, futures, place)
    assert Path(ledger).read_text().split().count("ends") == 3
    assert Path(ledger).read_text().split().count("stays") == 2, "once with the pool, and once to its end"


def test_one_pool_forks_at_a_time(make_processes: MakeProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that another pool forked meanwhile held open what tells of a worker's end, which went unnoticed."""
    executor, fork, free = make_processes(), os.fork, []

    def noted() -> int:
        free.append(Task(lambda: apart._launching.acquire(blocking=False), patience=work.PATIENCE).result())
        return fork()

    monkeypatch.setattr(os, "fork", noted)
    executor.submit(work.nothing).result(work.PATIENCE)
    few = len(free)
    executor._apart.submit(work.nothing)[1].result(work.PATIENCE)
    assert len(free) > few > 0
    assert not any(free)


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"priority": 1}])
def test_a_submit_for_which_no_worker_can_be_started_stores_nothing(
    make_processes: MakeProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """As one without descriptors: submit() raised, the job ran later all the same, and shutdown() waited for it."""
    executor, file = make_processes(1), tmp_path / "file"

    def none_left(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(watch._Look, "_is_taken", lambda *_: False)  # else that thread may have it in hand: it's kept
    monkeypatch.setattr(executor, "_issue", none_left)
    monkeypatch.setattr(executor._apart, "submit", none_left)
    with pytest.raises(OSError, match="too many"):
        executor.using(**options).submit(os.mkdir, str(file))
    monkeypatch.undo()
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
    executor.shutdown()
    assert not list(make_processes(recover="manual").jobs())
    assert not file.exists()


@pytest.mark.parametrize("stands", ["before its try", "behind it", "behind putting it back"])
@pytest.mark.parametrize("options", [{}, {"key": "k"}])
def test_nor_where_another_thread_has_it_in_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], stands: str
) -> None:
    """In a store that processes share one looks for jobs all the time: it put the job back behind the end of submit(),
    and it ran later."""
    executor, file = ProcessPoolExecutor(2, path=tmp_path / "jobs", durability="process"), tmp_path / "file"
    executor.stats()
    backlog, undo, put_back = executor._backlog, storing.undo, returning.put_back
    other, back = list[Task[bool]](), list[int]()

    def is_others() -> bool:
        return threading.current_thread() is not threading.main_thread()

    def none_left(*args: Any, **kwargs: Any) -> Any:
        if is_others() and stands == "before its try":
            work.hold("there")
        raise OSError(errno.EMFILE, "too many")

    def put_back_late(*args: Any, **more: Any) -> int:
        if is_others() and stands == "behind it":
            work.hold("there")
        record = put_back(*args, **more)
        back.extend([record] * is_others())
        if is_others() and stands == "behind putting it back":
            work.hold("there")
        return record

    def undo_late(*args: Any) -> None:
        other.append(Task(backlog.added, patience=work.PATIENCE))
        work.reached("there")
        undo(*args)

    with monkeypatch.context() as patch:
        patch.setattr(executor, "_issue", none_left)
        patch.setattr(starting, "put_back", put_back_late)
        for module in (storing, keys):
            patch.setattr(module, "undo", undo_late)
        with pytest.raises(OSError, match="too many"):
            executor.using(**options).submit(os.mkdir, str(file))
        work.GATES["there"].set()
        with pytest.raises(OSError, match="too many"):
            other[0].result()
    assert bool(back) == (stands != "before its try"), "others would have it for a moment"
    assert not backlog.live
    assert executor.using(**options).submit(work.double, 1).result(work.PATIENCE) == 2
    executor.shutdown()
    with ProcessPoolExecutor(1, path=tmp_path / "jobs", recover="manual") as executor:
        assert not list(executor.jobs())
    assert not file.exists()


def test_a_job_for_which_no_worker_can_be_started_for_a_moment_is_begun_though_nobody_asks_again(
    make_processes: MakeProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited when the worker was free again, and who has come to an end then looks but once."""
    executor, tried = make_processes(1), list[bool]()
    first = executor.submit(work.wait_for_file, str(tmp_path / "go"))
    second = executor.submit(work.double, 21)
    issue = executor._issue

    def none_left_once(*args: Any, **kwargs: Any) -> Any:
        if not tried:
            tried.append(True)
            raise OSError(errno.EMFILE, "too many")
        return issue(*args, **kwargs)

    monkeypatch.setattr(executor, "_issue", none_left_once)
    (tmp_path / "go").touch()
    assert first.result(work.PATIENCE) is None
    assert second.result(work.PATIENCE) == 42
    assert tried


def test_a_job_that_ctrl_c_has_broken_off_is_ready_behind_its_executor_in_the_programs_own_store(
    tmp_path: Path,
) -> None:
    """That one stays open, and with it each claim."""
    with SqliteStore(tmp_path / "jobs.db") as store:
        executor = ProcessPoolExecutor(1, store=store)
        future = executor.submit(signal.raise_signal, signal.SIGINT)
        assert isinstance(future.exception(work.PATIENCE), KeyboardInterrupt)
        assert store.depth("default").claimed == 1
        executor.shutdown()
        depth = store.depth("default")
        assert (depth.ready, depth.claimed) == (1, 0)


@contextmanager
def no_workers() -> Iterator[threading.Semaphore]:
    """As without descriptors: no pool can fork one. What is yielded is released at each try."""
    tried = threading.Semaphore(0)

    def none_left(pool: object) -> None:
        tried.release()
        raise OSError(errno.EMFILE, "too many")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stdlib.ProcessPoolExecutor, "_launch_processes", none_left)
        yield tried


def test_a_call_for_which_no_worker_can_be_started_is_not_left_in_the_pool(
    make_processes: MakeProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library's had put it there before, and it ran behind the next one."""
    monkeypatch.setattr(watch._Look, "_is_taken", lambda *_: False)  # likewise
    executor, file = make_processes(), str(tmp_path / "file")
    with no_workers():
        for number in range(3):
            with pytest.raises(OSError, match="too many"):
                executor.submit(work.append, file, number)
    executor.submit(work.append, file, "last").result(work.PATIENCE)
    executor.shutdown()
    assert Path(file).read_text() == "last\n"


def test_a_job_that_is_due_while_no_worker_can_be_started(
    make_processes: MakeProcesses,
    place: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was tried again and again, each time with a traceback in the log, and ran as often as it had been tried."""
    later, call_in = queue.SimpleQueue[Callable[[], object]](), clock.call_in

    def put_off(seconds: float, function: Callable[[], object]) -> Callable[[], object]:
        if seconds < returning._AGAIN:
            return call_in(seconds, function)
        later.put(function)
        return bool

    monkeypatch.setattr(returning, "call_in", put_off)
    executor, file = make_processes(), str(tmp_path / "file")
    with no_workers() as tried:
        future = executor.using(delay=0.01).submit(work.append, file, "due")
        assert tried.acquire(timeout=work.PATIENCE)
        assert "store" in place or not tried.acquire(timeout=0.3)  # where others may come, one looks more often
    later.get(timeout=work.PATIENCE)()
    future.result(work.PATIENCE)
    executor.shutdown()
    assert Path(file).read_text() == "due\n"
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "too many" in told.getMessage()
    assert not told.exc_info


def test_a_call_that_another_worker_has_already_was_submitted() -> None:
    """One that is there takes it at once, and the one that it was to have can't be started."""

    class Pool:
        _queue_count, _pending_work_items = 0, dict[int, Any]()

        def submit(self, function: Callable[[], object]) -> Future[Any]:
            future = Future[Any]()
            self._pending_work_items[self._queue_count] = SimpleNamespace(future=future)
            if function is work.nothing:
                future.set_running_or_notify_cancel()
            raise OSError(errno.EMFILE, "too many")

    pool = Pool()
    assert apart.issue(pool.submit, work.nothing) is pool._pending_work_items[0].future
    with pytest.raises(OSError, match="too many"):
        apart.issue(pool.submit, work.pid)
    assert pool._pending_work_items[0].future.cancelled()


def test_an_initializer_that_fails_takes_no_attempt(make_processes: MakeProcesses, place: dict[str, Any]) -> None:
    """A job that was begun before isn't blamed for it."""
    executor = make_processes(1)
    fatal = executor.submit(work.end_process)
    with pytest.raises(BrokenExecutor):
        fatal.result(work.PATIENCE)
    executor.shutdown()
    with pytest.raises(BrokenExecutor), ProcessPoolExecutor(1, initializer=work.fail, initargs=("no",), **place) as bad:
        bad.submit(work.double, 1).result(work.PATIENCE)
    with ProcessPoolExecutor(1, recover="manual", **place) as another:
        assert [job.attempts for job in another.jobs() if job.function.endswith("end_process")] == [1]
        another.purge("pending")


def test_each_pool_gives_its_initializer_the_arguments(make_processes: MakeProcesses, tmp_path: Path) -> None:
    """One that may be rebuilt has another initializer in between; so have the new one, and the one beside it."""
    executor = make_processes(1, rebuild=True, initializer=os.chdir, initargs=(str(tmp_path),))
    assert executor.submit(os.getcwd).result(work.PATIENCE) == str(tmp_path)
    assert executor._apart.submit(os.getcwd)[1].result(work.PATIENCE) == str(tmp_path)
    kill_idle(executor)
    assert executor.submit(os.getcwd).result(work.PATIENCE) == str(tmp_path)


def test_a_new_pool_takes_the_place_of_one_that_was_idle(make_processes: MakeProcesses) -> None:
    executor = make_processes(1, rebuild=True)
    kill_idle(executor)
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


def test_a_new_pool_goes_on(make_processes: MakeProcesses) -> None:
    """What kills its worker is parked at last, and all the others come to their end."""
    executor = make_processes(2, rebuild=True)
    fatal = executor.submit(work.end_process)
    futures = [executor.submit(work.double, number) for number in range(30)]
    assert [future.result(work.PATIENCE) for future in futures] == list(range(0, 60, 2))
    with pytest.raises(JobParked, match="3 times"):
        fatal.result(work.PATIENCE)
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


def test_a_job_whose_pool_cannot_be_replaced_for_now_runs_when_it_can(
    make_processes: MakeProcesses, tmp_path: Path
) -> None:
    """As without descriptors when its worker ends: it was taken for one that runs, and shutdown() never returned."""
    executor, refused = make_processes(1, rebuild=True), threading.Event()

    def none_left(*args: object, **kwargs: object) -> None:
        refused.set()
        raise OSError(errno.EMFILE, "too many")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stdlib.ProcessPoolExecutor, "__init__", none_left)
        future = executor.submit(work.end_process_once, str(tmp_path / "once"))
        assert refused.wait(work.PATIENCE)
    future.result(work.PATIENCE)
    Task(executor.shutdown, patience=work.PATIENCE).result()


def test_a_job_that_ran_out_of_time_is_not_begun_again_when_its_worker_is_killed(
    make_processes: MakeProcesses, tmp_path: Path
) -> None:
    """It was over, and yet was waited for once more: shutdown() never returned."""
    executor = make_processes(1, rebuild=True)
    late = executor.using(timeout=0.05).submit(work.wait_for_file, str(tmp_path / "never"))
    assert isinstance(late.exception(work.PATIENCE), TimeoutError)
    next_one = executor.submit(work.double, 1)  # which waits for the worker
    for worker in list(executor._processes):
        os.kill(worker, signal.SIGKILL)
    assert next_one.result(work.PATIENCE) == 2
    assert not list(executor.jobs())
    Task(executor.shutdown, patience=work.PATIENCE).result()


def test_a_job_that_runs_out_of_time_while_its_pool_is_found_broken_is_over(
    make_processes: MakeProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was waited for once more: shutdown() never returned."""
    due: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def call_in(seconds: float, function: Callable[[], object]) -> Callable[[], object]:
        due.put(function)
        return bool

    monkeypatch.setattr(timeouts, "call_in", call_in)
    executor = make_processes(1, rebuild=True)
    cannot_begin = executor._cannot_begin

    def looked_late(broken: int) -> bool:
        monkeypatch.setattr(executor, "_cannot_begin", cannot_begin)
        due.get(timeout=work.PATIENCE)()
        late.exception(work.PATIENCE)
        return cannot_begin(broken)

    monkeypatch.setattr(executor, "_cannot_begin", looked_late)
    late = executor.using(timeout=work.PATIENCE).submit(work.end_process)
    assert isinstance(late.exception(work.PATIENCE), TimeoutError)
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
    Task(executor.shutdown, patience=work.PATIENCE).result()


def test_what_was_left_runs_in_the_next_pool(
    make_processes: MakeProcesses, place: dict[str, Any], tmp_path: Path
) -> None:
    executor = make_processes(1)
    executor.submit(work.wait_for_file, str(tmp_path / "go"))
    futures = [executor.submit(work.append, str(tmp_path / "ledger"), number) for number in range(10)]
    executor.shutdown(wait=False, drain=False)
    (tmp_path / "go").touch()
    executor.shutdown()
    assert sum(future.cancelled() for future in futures) >= 9
    with ProcessPoolExecutor(1, **place):
        pass
    assert sorted(map(int, (tmp_path / "ledger").read_text().split())) == list(range(10))


def test_cancel_futures_is_for_good(make_processes: MakeProcesses, place: dict[str, Any], tmp_path: Path) -> None:
    executor = make_processes(1)
    executor.submit(work.wait_for_file, str(tmp_path / "go"))
    futures = [executor.submit(work.append, str(tmp_path / "ledger"), number) for number in range(10)]
    executor.shutdown(wait=False, cancel_futures=True)
    (tmp_path / "go").touch()
    executor.shutdown()
    assert all(future.cancelled() for future in futures)
    with ProcessPoolExecutor(1, **place):
        pass
    assert not (tmp_path / "ledger").exists()


def test_an_executor_that_nobody_has_does_what_it_was_given(place: dict[str, Any]) -> None:
    executor = ProcessPoolExecutor(1, **place)
    futures = [executor.submit(work.double, number) for number in range(20)]
    del executor
    wait(futures, work.PATIENCE)
    assert [future.result(0) for future in futures] == list(range(0, 40, 2))


@pytest.mark.parametrize("rebuild", [True, False])
def test_workers_that_are_on_their_way_as_nobody_has_the_executor_any_more(
    rebuild: bool, place: dict[str, Any]
) -> None:
    """What an initializer was given beside its arguments was gone with the executor, and the pool broke."""
    spawn = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(1, spawn, initializer=work.nothing, rebuild=rebuild, **place)
    results = executor.map(work.double, range(2))
    del executor
    assert list(results) == [0, 2]


def test_a_timeout_fails_the_future(make_processes: MakeProcesses, tmp_path: Path) -> None:
    executor = make_processes(1)
    future = executor.using(timeout=0.1).submit(work.wait_for_file, str(tmp_path / "go"))
    with pytest.raises(TimeoutError):
        future.result(work.PATIENCE)
    (tmp_path / "go").touch()
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


KILLED = """
def slow(number):
    time.sleep(0.05)
    say("ran", number)

if __name__ == "__main__":
    with ProcessPoolExecutor(2, **eval(sys.argv[2])) as executor:
        if sys.argv[1] == "first":
            for number in range(20):
                executor.submit(slow, number)
            say("submitted")
            hear()
"""


@pytest.mark.parametrize("where", ["{}", "{'path': sys.argv[0] + '.jobs'}", "{'name': 'jobs'}"])
def test_jobs_of_a_killed_program_run_in_the_next_one(where: str, tmp_path: Path) -> None:
    app = App(tmp_path, KILLED)
    with app.start("first", where) as run:
        run.until("submitted")
        run.kill_all()
        assert run.process.stdout is not None
        run.said += [line.rstrip("\n") for line in run.process.stdout]
        first = run.words("ran")
    with app.start("second", where) as run:
        again = run.end().words("ran")
    assert {int(number) for number in first + again} == set(range(20))
    assert len(first + again) <= 22 + 1  # but for what was in hand
