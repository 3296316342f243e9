"""Where no thread can be started any more (`ulimit -u`, a container's limit of processes): who asks is told, nobody
waits for good, and all goes on once threads can be started again.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pqadapters.concurrent.futures._backlog import clock as _clock
from pqadapters.concurrent.futures._backlog import returning
from pqadapters.concurrent.futures._workers import calls as _calls
from pqadapters.stores.sqlite import SqliteStore

from ..contract.threads import Task
from . import work
from .conftest import Make
from .harness import App

Refuse = Callable[..., pytest.MonkeyPatch]
_NO_MORE = "can't start new thread"


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """No thread of such a name is started until the patch is undone."""
    start = threading.Thread.start
    monkeypatch.setattr(_clock, "_clocks", {})

    def begin(name: str = "") -> pytest.MonkeyPatch:
        def failing(thread: threading.Thread) -> None:
            if name in thread.name:
                raise RuntimeError(_NO_MORE)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", failing)
        return monkeypatch

    return begin


def _is_over(executor: Any) -> bool:
    Task(executor.shutdown, patience=work.PATIENCE).result()
    return bool(executor._backlog.closed)


def test_the_thread_that_hears_what_calls_in_processes_come_to(
    tmp_path: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls were in the pool, and nobody heard of their end: no job was begun any more, and no program ended."""
    monkeypatch.setattr(_calls, "_LINGER", 0.01)
    monkeypatch.setattr(returning, "_AGAIN", 10 * work.PATIENCE)  # no look in between
    executor = ProcessPoolExecutor(1, path=tmp_path / "jobs", durability="process")
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
    while (thread := executor._calls._thread) is not None:
        thread.join(work.PATIENCE)
    with refuse("executor-calls").context():
        for _ in range(3):
            with pytest.raises(RuntimeError, match=_NO_MORE):
                executor.submit(work.double, 1)
    assert not list(executor.jobs())
    refuse("nobody")
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    assert _is_over(executor)


def test_the_thread_of_a_pool_of_processes(tmp_path: Path, refuse: Refuse) -> None:
    """Its workers were there, and nobody gave them anything: no job was begun any more, and no program ended."""
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(1, path=tmp_path / "jobs", durability="process")
    refuse("Thread-")
    with pytest.raises(RuntimeError, match=_NO_MORE):
        executor.submit(work.double, 1)
    assert not set(multiprocessing.active_children()) - before  # those of earlier tests may end meanwhile
    assert not list(executor.jobs())
    refuse("nobody")
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    assert _is_over(executor)


def test_a_pool_of_processes_that_is_begun_as_the_program_ends(tmp_path: Path) -> None:
    """From Python 3.12 on no thread is started then. The program waited for its workers, and for the next job."""
    app = App(tmp_path, _AT_THE_END)
    with app.start() as program:
        assert sorted(program.end().said) == ["first RuntimeError", "second RuntimeError"]
    with app.start("again") as program:
        assert sorted(program.end().said) == ["ran 1", "ran 2"]


_AT_THE_END = """
from pqadapters.concurrent.futures._backlog.backlog import ending
start, second = threading.Thread.start, threading.Event()
def failing(thread):
    if thread.name.startswith("Thread-"):
        second.set()
        while not ending:
            time.sleep(0.01)
        raise RuntimeError("can't start new thread")
    start(thread)
def submit(name, number):
    say(name, type(executor.submit(double, number).exception(60)).__name__)
if __name__ == "__main__":
    executor = ProcessPoolExecutor(1, path=sys.argv[0] + ".jobs")
    if sys.argv[1:]:
        executor.shutdown()
        sys.exit()
    threading.Thread.start = failing
    start(threading.Thread(target=submit, args=("first", 1)))
    second.wait(60)
    start(threading.Thread(target=submit, args=("second", 2)))
    while executor.stats()["pending"] < 1:
        time.sleep(0.01)
"""


def _leave_one(place: Path) -> None:
    earlier = ThreadPoolExecutor(1, path=place, durability="process")
    earlier.submit(work.hold, "gate")
    work.reached("gate")
    earlier.submit(work.note, "left")
    earlier.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    assert _is_over(earlier)


def test_a_submit_that_raises_leaves_what_others_have_left(tmp_path: Path, refuse: Refuse) -> None:
    """shutdown() waited for it, and nobody was at it."""
    _leave_one(tmp_path)
    executor = ThreadPoolExecutor(1, path=tmp_path, durability="process", recover="on_submit")
    refuse("ThreadPoolExecutor")
    with pytest.raises(RuntimeError, match=_NO_MORE):
        executor.submit(work.note, "new")
    refuse("nobody")
    assert _is_over(executor)
    assert work.DONE == ["left"]


def test_an_executor_that_has_jobs_to_begin_with(tmp_path: Path, refuse: Refuse) -> None:
    """They waited for a submit(), and shutdown() for them."""
    _leave_one(tmp_path)
    refuse("ThreadPoolExecutor")
    with pytest.raises(RuntimeError, match=_NO_MORE):
        ThreadPoolExecutor(1, path=tmp_path, durability="process")
    refuse("nobody")
    assert _is_over(ThreadPoolExecutor(1, path=tmp_path, durability="process"))
    assert work.DONE == ["left"]


def test_a_delayed_job_that_nobody_would_begin(make: Make, refuse: Refuse) -> None:
    """submit() returned, and the job was begun with the next one that was delayed."""
    executor = make()
    refuse("executor-clock")
    with pytest.raises(RuntimeError, match=_NO_MORE):
        executor.using(delay=600).submit(work.note, "delayed")
    assert executor.stats()["submitted_here"] == 0
    refuse("nobody")
    assert executor.using(delay=0.01).submit(work.note, "later").result(work.PATIENCE) == "later"
    assert _is_over(executor)
    assert work.DONE == ["later"]


def test_a_job_that_waits_for_its_next_try(make: Make, refuse: Refuse) -> None:
    """It was never tried again."""
    executor = make()
    refuse("executor-clock")
    assert executor.using(retries=2, backoff=0.01).submit(work.fail_until, 2, "done").result(work.PATIENCE) == "done"
    assert _is_over(executor)


def test_a_next_try_does_not_keep_a_program_from_its_end(tmp_path: Path) -> None:
    with App(tmp_path, _FAR_OFF).start() as program:
        program.end()


_FAR_OFF = """
start = threading.Thread.start
def failing(thread):
    if "executor-clock" in thread.name:
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = failing
begun = threading.Event()
def fail():
    begun.set()
    raise OSError
executor = ThreadPoolExecutor(1, path=sys.argv[0] + ".jobs")
executor.using(retries=1, backoff=1000.0).submit(fail)
begun.wait(60)
while not executor.stats()["delayed"]:
    pass
"""


def test_a_job_whose_time_is_over(make: Make, refuse: Refuse) -> None:
    """Its future waited for the job, however long that took."""
    executor = make()
    refuse("executor-timeout")
    future = executor.using(timeout=0.01).submit(work.hold, "gate")
    with pytest.raises(TimeoutError, match="wasn't done"):
        future.result(work.PATIENCE)
    work.GATES["gate"].set()
    assert _is_over(executor)


def test_an_executor_that_can_not_listen_is_no_member(tmp_path: Path, refuse: Refuse) -> None:
    """As long as the store was open others left jobs to it."""
    with SqliteStore(tmp_path / "jobs.db", durability="process") as store:
        refuse("executor-outcomes")
        with pytest.raises(RuntimeError, match=_NO_MORE):
            ThreadPoolExecutor(1, store=store)
        refuse("nobody")
        executor = ThreadPoolExecutor(1, store=store)
        assert executor._backlog.sharing is not None
        assert executor._backlog.sharing.is_alone()
        assert _is_over(executor)
