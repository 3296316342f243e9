"""What a signal handler raises in the middle of a call, wherever CPython calls one; a callback that exits, or comes
late; a finalizer that ends the executor in the middle of its own work: nobody waits for good.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pqadapters.concurrent.futures as package
from pqadapters import ending
from pqadapters.concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor, _closing, wait
from pqadapters.concurrent.futures._backlog import clock as _clock
from pqadapters.concurrent.futures._backlog import refusals, returning
from pqadapters.concurrent.futures._backlog.future import JobFuture
from pqadapters.concurrent.futures._workers import calls as _calls
from pqadapters.concurrent.futures._workers.tickets import Tickets
from pqadapters.errors import StoreClosed, StoreError
from pqadapters.store import Ack, Nack

from ..contract.interrupting import Interrupt, _Handler, interrupted
from ..contract.threads import Task
from ..segment.programs import ROOT
from . import work
from .conftest import Make
from .harness import App
from .test_left_behind import leave

_HERE = (str(Path(package.__file__).parent), weakref.__file__)  # and Python's dictionaries of weak references


def _goes_on(executor: Any, futures: list[Any]) -> None:
    """What was submitted comes to its end, and so does the executor."""
    if not executor._backlog.closing:
        futures = [*futures, executor.submit(work.double, 2)]
    _goes_on_behind(executor, futures)


def _goes_on_behind(executor: Any, futures: list[Any]) -> None:
    """The same without a further job."""
    work.GATES["gate"].set()
    assert not wait(futures, work.PATIENCE).not_done
    Task(executor.shutdown, patience=work.PATIENCE).result()


def _interrupting(commit: Any, interrupts: list[KeyboardInterrupt], *, behind: bool = True) -> Any:
    """A commit that each of the interrupts meets in turn: behind it, or instead of it."""

    def interrupt(*ops: Any) -> Any:
        try:
            if behind or not interrupts:
                return commit(*ops)
        finally:
            if interrupts:
                raise interrupts.pop()

    return interrupt


def _everywhere(prepare: Callable[[int], tuple[Any, list[Any], Callable[[], object]]]) -> None:
    nth, struck = 0, True
    while struck:
        nth += 1
        for each in (work.GATES, work.ENTERED):
            each.clear()
        executor, futures, call = prepare(nth)
        struck = interrupted(call, nth, _HERE)
        _goes_on(executor, futures)
    assert nth > 10


def test_a_signal_handler_submits_while_its_thread_has_a_futures_lock(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `result()` has, in the middle of which it comes. Who begins that job waits for this lock, and has no other."""
    held = list[bool]()
    executor = make(1)
    lock: Any = executor._backlog.lock
    begin = JobFuture.set_running_or_notify_cancel

    def look(future: JobFuture) -> bool:
        held.append(lock._is_owned())
        return begin(future)

    monkeypatch.setattr(JobFuture, "set_running_or_notify_cancel", look)
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    cancelled = executor.using(delay=60).submit(work.double, 2)
    assert cancelled.cancel()
    assert held == [False, False]


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"delay": 0.01}])
def test_a_submit_that_is_interrupted_anywhere(options: dict[str, Any], tmp_path: Path) -> None:
    """A ticket that never came to the pool was counted for good: leaving the `with` block on Ctrl-C hung. So did it
    where a job with a key was noted as one that waits, and was not yet to be undone."""

    def prepare(nth: int) -> tuple[Any, list[Any], Callable[[], object]]:
        executor = ThreadPoolExecutor(2, path=tmp_path / str(nth), durability="process")
        submitter = executor.using(**options) if options else executor
        return executor, [], lambda: submitter.submit(work.double, 1)

    _everywhere(prepare)


def test_an_executor_whose_first_submit_is_interrupted_anywhere_shuts_down(tmp_path: Path) -> None:
    """A ticket was taken back that wasn't counted yet: there was one less than none, and shutdown() waited for it."""
    nth, struck = 0, True
    while struck:
        nth += 1
        executor = ThreadPoolExecutor(2, path=tmp_path / str(nth), durability="process")
        struck = interrupted(partial(executor.submit, work.double, 1), nth, _HERE)
        Task(executor.shutdown, patience=work.PATIENCE).result()
    assert nth > 10


def test_a_submit_to_processes_that_is_interrupted_anywhere(tmp_path: Path) -> None:
    """A job that was claimed, and that the pool hadn't got, was nobody's; its call was counted for good."""

    def prepare(nth: int) -> tuple[Any, list[Any], Callable[[], object]]:
        executor = ProcessPoolExecutor(1, path=tmp_path / str(nth), durability="process")
        first = executor.submit(work.double, 1)
        first.result(work.PATIENCE)
        return executor, [first], lambda: executor.submit(work.double, 1)

    _everywhere(prepare)


class _InChild(_Handler):
    """Ctrl-C that a terminal sends to a child right behind the fork."""

    def strike(self) -> None:
        if os.getpid() != self.parent:
            super().strike()

    parent = 0


def _forked(nth: int, look: Callable[[], bool]) -> int:
    """What a child that is struck at the nth place of ours as it begins finds: 0 for yes, 2 where there is none."""
    handler = _InChild(nth, _HERE, False, False, Interrupt)
    handler.parent = os.getpid()
    before = sys.gettrace(), sys.getprofile()
    sys.settrace(handler.trace)
    sys.setprofile(handler.profile)
    child = os.fork()
    sys.settrace(before[0])
    sys.setprofile(before[1])
    if not child:
        os._exit(not look() if handler.struck else 2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def begin_children(kind: Any, place: str) -> None:
    """One for each place."""
    sys.unraisablehook = lambda told: None
    executor = kind(1, path=place, durability="process")
    future = executor.submit(work.double, 1)
    backlog, nth, found = executor._backlog, 0, 0
    while not found:
        nth += 1
        found = _forked(nth, lambda: backlog.forked and not (backlog.live or backlog.running) and backlog.idle())
    assert (found, nth > 10) == (2, True)
    _goes_on(executor, [future])


@pytest.mark.parametrize("kind", ["ThreadPoolExecutor", "ProcessPoolExecutor"])
def test_a_child_that_is_interrupted_anywhere_as_it_begins(kind: str, tmp_path: Path) -> None:
    """It took its parent's jobs for its own. A worker of a pool waited for them as it ended, and shutdown() for it.
    Here in a program of its own: where tests were run, each child lets go of many others' executors."""
    code = f"from {__name__} import {kind}, begin_children; begin_children({kind}, {str(tmp_path)!r})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, timeout=100)
    assert not done.returncode, done.stderr


def test_a_look_for_jobs_that_is_interrupted_anywhere(tmp_path: Path) -> None:
    """A call that came to nothing, and was broken off as it was to be counted no more, was counted for good; a
    thread that was to be started, and wasn't, was waited for."""
    nth, struck = 0, True
    while struck:
        nth += 1
        executor = ProcessPoolExecutor(1, path=tmp_path / str(nth), durability="process")
        executor._backlog.recovering = True
        struck = interrupted(executor._calls.added, nth, _HERE, exits=True)
        executor._backlog.recovering = False
        assert executor._calls.count == 0
        struck = interrupted(executor._calls._see_to_it, nth, _HERE, exits=True) or struck
        thread = executor._calls._thread
        assert thread is None or thread.ident
        Task(executor.shutdown, patience=work.PATIENCE).result()
    assert nth > 10


@pytest.mark.parametrize("whose", ["its own", "another's"])
def test_a_look_for_a_job_that_waits_is_interrupted_anywhere(whose: str, tmp_path: Path) -> None:
    """It was claimed, in nobody's hands, or begun as one of an earlier process: its future had no end."""
    others: list[ProcessPoolExecutor] = []

    def prepare(nth: int) -> tuple[Any, list[Any], Callable[[], object]]:
        while others:
            others.pop().shutdown()
        executor = ProcessPoolExecutor(1, path=tmp_path / str(nth), durability="process")
        executor.submit(work.double, 1).result(work.PATIENCE)  # its worker is there
        submitter = executor
        if whose == "another's":
            others.append(submitter := ProcessPoolExecutor(1, path=tmp_path / str(nth), durability="process"))
        added, submitter._backlog.added = submitter._backlog.added, lambda: True
        future = submitter.submit(work.double, 1)
        submitter._backlog.added = added
        executor._backlog.recovering = True
        return executor, [future], executor._backlog.added

    _everywhere(prepare)
    for other in others:
        other.shutdown()


def test_a_thread_that_an_interrupt_of_its_start_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `threading` has it where an Exception comes as it starts one: no outcome of the pool was told any more."""
    executor, start = ProcessPoolExecutor(1, path=tmp_path / "e", durability="process"), ending.start_thread

    def interrupt(thread: threading.Thread) -> None:
        monkeypatch.setattr(_calls, "start_thread", start)
        thread.run = lambda: None  # type: ignore[method-assign]
        start(thread)
        thread.join()
        raise KeyError(thread)

    monkeypatch.setattr(_calls, "start_thread", interrupt)
    with pytest.raises(KeyError):
        executor.submit(work.double, 1)
    _goes_on(executor, [])


def test_a_clock_that_is_interrupted_anywhere() -> None:
    """Its thread was taken for one that runs, and no job that was delayed in this process was ever due again."""
    nth, struck = 0, True
    while struck:
        nth += 1
        clock, due = _clock.Clock(), threading.Event()
        files = _clock.__file__, ending.__file__, threading.__file__  # a condition's `with` has code of its own
        struck = interrupted(partial(clock.call_in, 0.0, int), nth, files, exits=True)
        Task(partial(clock.call_in, 0.0, due.set), patience=work.PATIENCE).result()
        assert due.wait(work.PATIENCE)
    assert nth > 5


@pytest.mark.parametrize("how", ["cancel", "cancel_futures", "drain=False"])
def test_cancelling_that_is_interrupted_anywhere(how: str, tmp_path: Path) -> None:
    """The job was off the disk, or claimed, and whoever waited for its future was never told."""

    def prepare(nth: int) -> tuple[Any, list[Any], Callable[[], object]]:
        executor = ThreadPoolExecutor(2, path=tmp_path / str(nth), durability="process")
        futures: list[Any] = [executor.submit(work.hold, "gate") for _ in range(2)]
        for _ in futures:
            work.reached("gate")
        futures += [executor.submit(work.double, number) for number in range(3)]
        calls: dict[str, Callable[[], object]] = {
            "cancel": lambda: (futures[3].cancel(), work.GATES["gate"].set()),
            "cancel_futures": lambda: executor.shutdown(wait=False, cancel_futures=True),
            "drain=False": lambda: executor.shutdown(wait=False, drain=False),
        }
        return executor, futures, calls[how]

    _everywhere(prepare)


@pytest.mark.parametrize("how", ["cancel", "cancel_futures"])
def test_cancelling_a_delayed_job_that_is_interrupted_anywhere(how: str, tmp_path: Path) -> None:
    """It was to be dropped when it was due, and its future was forgotten, and never came to an end."""
    nth, struck = 0, True
    while struck:
        nth += 1
        executor = ThreadPoolExecutor(1, path=tmp_path / str(nth), durability="process")
        future = executor.using(delay=3600.0).submit(work.double, 1)
        end = partial(executor.shutdown, wait=False, cancel_futures=True)
        struck = interrupted(future.cancel if how == "cancel" else end, nth, _HERE, exits=True)
        assert future.cancelled() or future.cancel()
        assert wait([future], work.PATIENCE).done
        Task(executor.shutdown, patience=work.PATIENCE).result()
    assert nth > 10


@pytest.mark.parametrize("times", [1, 3])
def test_cancelling_that_is_interrupted_right_behind_its_commit_again_and_again(
    times: int, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LeaseLost came in the interrupt's place, and the future and shutdown() waited; so they did behind a second
    one, as of a greenlet that is killed again."""
    executor = make()
    futures: list[Any] = [executor.submit(work.hold, "gate")]
    work.reached("gate")
    futures.append(executor.submit(work.double, 1))
    backlog = executor._backlog
    interrupts = [KeyboardInterrupt(f"{n}") for n in range(times)]
    with monkeypatch.context() as patch:
        patch.setattr(backlog, "commit", _interrupting(backlog.commit, interrupts))
        with pytest.raises(KeyboardInterrupt, match="0"):
            futures[1].cancel()
    assert not interrupts
    assert futures[1].cancelled()
    _goes_on(executor, futures)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreError("a full disk")])
def test_a_job_whose_cancel_came_to_nothing_is_begun(
    error: BaseException, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it was claimed the last worker looked, and found none; where the store also refused to give it back, it
    stayed claimed: nobody began it, and shutdown() waited."""
    executor = make()
    futures: list[Any] = [executor.submit(work.hold, "gate")]
    work.reached("gate")
    futures.append(executor.submit(work.double, 1))
    monkeypatch.setattr(refusals, "_AGAIN", 0.0)
    backlog, tickets = executor._backlog, executor._tickets
    commit, refused = backlog.commit, list[type]()

    def refuse(*ops: Any) -> Any:
        kind = type(ops[0])
        if len(refused) == 2 or (refused and kind is not Nack):
            return commit(*ops)
        refused.append(kind)
        if kind is Ack:
            work.GATES["gate"].set()
            with tickets.changed:
                assert tickets.changed.wait_for(tickets.idle, work.PATIENCE)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(backlog, "commit", refuse)
        with pytest.raises(type(error)):
            futures[1].cancel()
    assert refused == [Ack, Nack]
    _goes_on_behind(executor, futures)


@pytest.mark.parametrize("behind", [True, False])
def test_cancelling_all_that_is_interrupted_again_and_again(
    behind: bool, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C twice: jobs stayed claimed by nobody, or their futures were never told."""
    executor = make()
    futures: list[Any] = [executor.submit(work.hold, "gate")]
    work.reached("gate")
    futures += [executor.submit(work.double, number) for number in range(3)]
    backlog = executor._backlog
    interrupts = [KeyboardInterrupt() for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(backlog, "commit", _interrupting(backlog.commit, interrupts, behind=behind))
        with pytest.raises(KeyboardInterrupt):
            executor.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in futures[1:]] == [behind] * 3
    _goes_on_behind(executor, futures)
    assert not interrupts


def test_a_submit_that_is_interrupted_again_right_behind_the_undoing_leaves_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job was off the disk, and shutdown() waited for it."""
    executor = make()
    futures: list[Any] = [executor.submit(work.hold, "gate")]
    work.reached("gate")
    backlog = executor._backlog
    interrupts, me = [KeyboardInterrupt("second"), KeyboardInterrupt("first")], threading.get_ident()

    def interrupt(call: Any, *ops: Any) -> Any:
        result = call(*ops)
        if interrupts and threading.get_ident() == me:  # in a database a thread of its own looks for jobs as well
            raise interrupts.pop()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(backlog, "added", partial(interrupt, backlog.added))
        patch.setattr(backlog, "commit_ends", partial(interrupt, backlog.commit_ends))
        with pytest.raises(KeyboardInterrupt):
            executor.submit(work.double, 1)
    assert not interrupts
    _goes_on_behind(executor, futures)


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_shutdown_that_is_interrupted_at_its_end(
    kind: type[Any], place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was delayed, and done by then, was looked at once more when it had been due: no pool was there to do that,
    and the next shutdown() waited for it."""
    executor = kind(1, **place)
    executor.submit(work.double, 1).result(work.PATIENCE)

    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_closing, "sweep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            executor.shutdown()
    returning.look(weakref.ref(executor._backlog))
    returning._back(executor._backlog, b"an id")
    Task(executor.shutdown, patience=work.PATIENCE).result()


def test_a_call_whose_thread_could_not_be_started_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library leaves it in the pool's queue: it was counted as lost, and again when it was over."""
    executor = ThreadPoolExecutor(2, path=tmp_path / "jobs", durability="process")
    first = executor.submit(work.hold, "gate")
    work.reached("gate")
    start, failures = threading.Thread.start, [RuntimeError("can't start new thread")]

    def failing(thread: threading.Thread) -> None:
        if failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    second = executor.submit(work.double, 1)
    assert not failures
    _goes_on_behind(executor, [first, second])


def test_the_first_thread_can_not_be_started(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told that the executor was shut down."""
    executor = make(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_more)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.submit(work.double, 1)
    assert not executor._backlog.live
    _goes_on(executor, [])


def _no_more(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


# Callbacks and finalizers


def test_a_callback_that_exits_stops_nobody_else(make: Make) -> None:
    """The one that had run the job was gone, and nobody took its place."""
    executor = make(1)
    future = executor.submit(work.hold, "gate")
    work.reached("gate")
    future.add_done_callback(lambda _: sys.exit(3))
    _goes_on_behind(executor, [future, *(executor.submit(work.double, number) for number in range(3))])


def test_a_callback_that_comes_while_the_end_is_stored(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who calls it was counted on for the next job; the callback waits for that."""
    executor = make(2)
    executor.submit(work.nothing).result(work.PATIENCE)
    commit, results = executor._backlog.commit, list[int]()

    def late(*ops: Any) -> Any:
        if type(ops[0]) is Ack and not work.GATES["end"].is_set():
            work.hold("end")
        return commit(*ops)

    monkeypatch.setattr(executor._backlog, "commit", late)
    future = executor.submit(work.double, 1)
    work.reached("end")

    def call(_: object) -> None:
        try:
            results.append(executor.submit(work.double, 2).result(work.PATIENCE / 2))
        finally:
            work.GATES["called"].set()

    future.add_done_callback(call)
    work.GATES["end"].set()
    assert work.GATES["called"].wait(work.PATIENCE)
    assert results == [4]


def test_an_executor_that_is_collected_by_its_own_thread(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector came while the thread held the backlog's lock, which the executor's end takes."""

    class Owner:
        def __init__(self) -> None:
            self.executor, self.me = ThreadPoolExecutor(1, **place), self

    end = Tickets._end
    monkeypatch.setattr(Tickets, "_end", lambda tickets: (gc.collect(), end(tickets))[1])
    owner = Owner()
    future, backlog = owner.executor.submit(work.hold, "gate"), owner.executor._backlog
    threads = list(owner.executor._threads)
    work.reached("gate")
    gc.disable()
    try:
        del owner
        work.GATES["gate"].set()
        assert future.result(work.PATIENCE) == "gate"
        for thread in threads:
            thread.join(work.PATIENCE)
            assert not thread.is_alive()
    finally:
        gc.enable()
    assert backlog.closed


# A store that refuses, a worker that is killed


def test_cancelling_all_that_the_store_refuses_leaves_the_jobs_as_they_were(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stayed claimed, by nobody: the next shutdown() waited for good."""
    executor = make(1)
    futures: list[Any] = [executor.submit(work.hold, "gate")]
    work.reached("gate")
    futures += [executor.submit(work.double, number) for number in range(3)]
    commit, failures = executor._backlog.commit, [StoreError("full")]

    def failing(*ops: Any) -> Any:
        if failures and sum(type(op) is Ack for op in ops) == 3:
            raise failures.pop()
        return commit(*ops)

    monkeypatch.setattr(executor._backlog, "commit", failing)
    with pytest.raises(StoreError):
        executor.shutdown(cancel_futures=True)
    assert not failures
    _goes_on_behind(executor, futures)
    assert [future.result() for future in futures[1:]] == [0, 2, 4]


def test_jobs_that_werent_cancelled_after_all_are_begun_though_nobody_looks_any_more(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last worker has found nothing while they were claimed, and nobody calls shutdown() again."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    futures = [executor.submit(work.double, number) for number in range(3)]
    commit, failures = executor._backlog.commit, [StoreError("full")]

    def failing(*ops: Any) -> Any:
        if failures and sum(type(op) is Ack for op in ops) == 3:
            work.GATES["gate"].set()
            with executor._tickets.changed:
                assert executor._tickets.changed.wait_for(executor._backlog.idle, work.PATIENCE)
            raise failures.pop()
        return commit(*ops)

    monkeypatch.setattr(executor._backlog, "commit", failing)
    with pytest.raises(StoreError):
        executor.shutdown(wait=False, cancel_futures=True)
    assert [future.result(work.PATIENCE) for future in futures] == [0, 2, 4]


def test_map_goes_on_in_a_new_pool(place: dict[str, Any]) -> None:
    """A pool that a call of map() had broken was replaced only for jobs that are on disk."""
    with ProcessPoolExecutor(1, rebuild=True, **place) as executor:
        with pytest.raises(BrokenExecutor):
            list(executor.map(work.exit_process, [3]))
        assert list(executor.map(work.double, [1, 2])) == [2, 4]


EXIT = """
from pqadapters.concurrent.futures._backlog import refusals
from pqadapters.errors import StoreClosed, StoreError

def refuse(*_, **__):
    raise StoreError("full")

if __name__ == "__main__":
    refusals._PATIENCE = 0.1
    executor = ProcessPoolExecutor(1, path=sys.argv[0] + ".jobs")
    executor.submit(abs, -1).result()
    executor._backlog.claim = refuse
    executor.submit(abs, -2)
    say("submitted")
"""


def test_a_program_ends_while_the_store_refuses(tmp_path: Path) -> None:
    """It waited for the jobs of its processes as long as the disk was full."""
    with App(tmp_path, EXIT).start() as run:
        run.end()
        assert run.words("submitted")
    with ThreadPoolExecutor(1, path=tmp_path / "app.py.jobs", recover="manual") as executor:
        (future,) = executor.recovered()
        assert future.result(work.PATIENCE) == 2


def test_a_store_that_refuses_while_the_executor_is_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was there to look again, and nobody told the future."""
    place: dict[str, Any] = {"path": tmp_path / "jobs", "durability": "process"}
    future = _refused_and_let_go_of(place, monkeypatch)
    with pytest.raises(StoreClosed):
        future.result(work.PATIENCE)
    with ThreadPoolExecutor(1, **place) as another:
        assert [each.result(work.PATIENCE) for each in another.recovered()] == [2]


def test_a_shared_store_that_refused_while_the_executor_was_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: dict[str, Any] = {"store": f"sqlite:///{tmp_path}/jobs.db?durability=process"}
    future = _refused_and_let_go_of(place, monkeypatch)
    assert not future.done()
    monkeypatch.undo()
    assert future.result(work.PATIENCE) == 2


def _refused_and_let_go_of(place: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Future[int]:
    executor = ThreadPoolExecutor(1, **place)
    executor.submit(work.nothing).result(work.PATIENCE)
    refused = threading.Event()

    def refuse(*_: Any, **__: Any) -> Any:
        refused.set()
        raise StoreError("full")

    monkeypatch.setattr(executor._backlog, "claim", refuse)
    future = executor.submit(work.double, 1)
    assert refused.wait(work.PATIENCE)
    del executor
    gc.collect()
    return future


def test_a_job_that_is_put_back_while_the_last_look_finds_none(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look then said that there was none."""
    executor = make(1)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future: Any = executor.submit(work.note, 1)
    backlog = executor._backlog
    (parked,) = backlog.store.claim("default")
    backlog.store.commit(Nack(parked, dead="so"))
    backlog.live.pop(future._id)
    claim, requeued = backlog.claim, list[int]()

    def late(*args: Any, **more: Any) -> Any:
        found = claim(*args, **more)
        if not found and not requeued:
            requeued.append(1)
            requeued.append(executor.requeue())
        return found

    monkeypatch.setattr(backlog, "claim", late)
    backlog.recovering = True
    work.GATES["gate"].set()
    Task(executor.shutdown, patience=work.PATIENCE).result()
    assert requeued == [1, 1]
    assert work.DONE == [1]


@pytest.mark.parametrize("cloudpickle", [True, False])
def test_a_handlers_exception_in_the_middle_of_pickling(
    cloudpickle: bool, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken for what the call can't be stored for: it came up nowhere, and the job ran from memory alone."""
    if not cloudpickle:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
    executor = make(1)
    monkeypatch.setattr(work.Struck, "when", "pickled")
    with pytest.raises(TimeoutError, match="the handler's"):
        executor.submit(work.note, work.Struck())
    future: Any = executor.submit(work.note, work.Struck())
    assert isinstance(future.result(work.PATIENCE), work.Struck)
    assert future.durable


def test_a_handlers_exception_in_the_middle_of_loading(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job was a dead letter: "it can't be loaded"."""
    leave(make, (work.note, work.Struck()))
    monkeypatch.setattr(work.Struck, "when", "loaded")
    again = make(1, recover="manual")
    (future,) = again.recovered()
    assert isinstance(future.result(work.PATIENCE), work.Struck)
    assert (work.Struck.when, list(again.jobs("dead"))) == ("", [])


@pytest.mark.parametrize("how", ["result", "exception"])
def test_who_is_interrupted_at_a_futures_lock_lets_go_of_it(make: Make, how: str) -> None:
    """Who ended the future waited for that lock for ever, and all other jobs of the executor for that one."""

    class Caught(threading.Condition):
        def __enter__(self) -> bool:
            taken = super().__enter__()
            if self in caught and threading.current_thread() is threading.main_thread():
                caught.clear()
                raise KeyboardInterrupt
            return taken

    executor = make(1)
    future = executor.submit(work.hold, "gate")
    work.reached("gate")
    caught = {(condition := Caught())}
    future._condition = condition
    with pytest.raises(KeyboardInterrupt):
        getattr(future, how)()
    assert Task(lambda: condition.acquire() and condition.release(), patience=work.PATIENCE).result() is None
    _goes_on(executor, [future])
