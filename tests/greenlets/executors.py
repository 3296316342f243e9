"""What executors do in a process whose threads are greenlets; a library's own module binds these tests to it.

The threads of a pool are greenlets then, too: a job that waits lets others go on, one that computes doesn't.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from tests.segment.programs import PATIENCE, ROOT, run

from .programs import REST

_OURS = """
from pqadapters.concurrent.futures import ThreadPoolExecutor, as_completed, wait, TimeoutError
"""
_JOBS = """
def double(number):
    return 2 * number

def double_slowly(number):
    sleep(0.01)
    return 2 * number

def fail(text):
    raise ValueError(text)

class Held:  # runs from memory, and ends when somebody says so
    def __init__(self):
        self.go = Event()
    def __call__(self):
        self.go.wait()
    def __reduce__(self):
        raise TypeError("not me")

def pool(workers=4, **more):
    return ThreadPoolExecutor(workers, store=place, volatile="allow", **more)
"""


class ExecutorPrograms:
    """The tests. A library's subclass says how it patches, and its words."""

    PATCH: ClassVar[str]
    WORDS: ClassVar[str]
    DRAINS_AT_END: ClassVar[bool]  #: whether threads of the standard library's pool end their work before the program

    @pytest.fixture(params=["before", "after"])
    def begin(self, request: pytest.FixtureRequest) -> str:
        return self._begin(self.PATCH, _OURS) if request.param == "before" else self._begin(_OURS, self.PATCH)

    def _begin(self, *first: str) -> str:
        return "\n".join([*first, self.WORDS, REST, _JOBS])

    @pytest.fixture(params=["segment", "sqlite"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        return f"file://{tmp_path}/jobs" if request.param == "segment" else f"sqlite:///{tmp_path}/jobs.db"

    def test_jobs_and_what_they_come_to(self, begin: str, place: str) -> None:
        code = """
with pool() as executor:
    assert executor.submit(double, 1).result(60) == 2
    futures = [executor.submit(double_slowly, n) for n in range(50)]
    assert others_run()
    assert sorted(each.result() for each in as_completed(futures, 60)) == list(range(0, 100, 2))
    assert list(executor.map(double_slowly, range(20), timeout=60)) == list(range(0, 40, 2))
    assert isinstance(executor.submit(fail, "so").exception(60), ValueError)
    assert executor.submit(lambda: ticks).result(60) > 0
    done = executor.using(key="k").submit(double, 4)
    assert executor.using(key="k").submit(double, 5).result(60) == done.result(60) == 8
    assert executor.using(delay=0.02).submit(double, 6).result(60) == 12
assert executor._backlog.closed
with pool() as executor:
    assert executor.stats()["pending"] == 0 and executor.future(key="k").result(60) == 8
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_others_run_while_greenlets_wait_for_jobs(self, begin: str, place: str) -> None:
        code = """
def wait_long():
    return sleep(0.2) or "slept"

executor = pool(1, max_pending=1)
held = Held()
executor.submit(held)
first = executor.submit(wait_long)
puts = [spawn(executor.submit, double, n) for n in (1, 2)]  # there is no room for them
assert others_run() and not any(ended(each) for each in puts)
held.go.set()
assert first.result(60) == "slept"
assert [result(each).result(60) for each in puts] == [2, 4]
waiter = spawn(executor.submit(wait_long).result)
assert others_run() and result(waiter) == "slept"

def wait_for_the_end():
    ends.wait()
    return "slept"

ends = Event()
last = executor.submit(wait_for_the_end)
try:
    last.result(0.01)
except TimeoutError:
    end = spawn(executor.shutdown)
    assert others_run() and not ended(end)
    ends.set()
    result(end)
    print(last.result(0))
"""
        assert run(begin + code, place) == "slept"

    def test_others_run_while_a_submit_waits_for_the_disk(self, begin: str, tmp_path: Path) -> None:
        code = """
executor = ThreadPoolExecutor(2, path=place)
assert executor.submit(double, 1).result(60) == 2
os.fdatasync = held_up
submits = [spawn(executor.submit, double, n) for n in range(5)]
while not entered:
    sleep(0.001)
assert others_run() and not any(ended(each) for each in submits)
go.release()
assert [result(each).result(60) for each in submits] == [0, 2, 4, 6, 8]
executor.shutdown()
print("done")
"""
        assert run(begin + code, str(tmp_path / "jobs")) == "done"

    def test_a_killed_greenlet_has_lost_no_job(self, begin: str, place: str) -> None:
        code = """
executor = pool(2)
waiter = spawn(executor.submit(double_slowly, 1).result)
kill(waiter)
futures = [executor.submit(double_slowly, n) for n in range(5)]
assert [each.result(60) for each in futures] == [0, 2, 4, 6, 8]
executor.shutdown()
assert executor._backlog.closed
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_what_a_killed_process_has_left_runs_in_the_next_one(self, begin: str, place: str, tmp_path: Path) -> None:
        code = """
def append(what):
    with open(sys.argv[2], "a") as ledger:
        print(what, file=ledger)

def hold():
    append("held")
    sleep(600)

if not os.path.exists(sys.argv[2]):
    executor = pool(1)
    executor.submit(append, "first").result(60)
    executor.submit(hold)
    for number in range(20):
        executor.submit(append, number)
    cancelled = executor.submit(append, "cancelled")
    assert cancelled.cancel()
    while "held" not in open(sys.argv[2]).read():
        sleep(0.001)
    os.kill(os.getpid(), 9)
hold = lambda: append("held again")
with pool(1) as executor:
    for future in as_completed(executor.recovered(), 60):
        future.result()
assert others_run()
print("done")
"""
        ledger = tmp_path / "ledger"
        command = [sys.executable, "-c", begin + code, place, str(ledger)]
        died = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=PATIENCE)
        assert died.returncode == -signal.SIGKILL
        assert run(begin + code, place, ledger) == "done"
        assert ledger.read_text().split("\n")[:-1] == ["first", "held", "held again", *map(str, range(20))]

    def test_processes_on_one_database(self, begin: str, tmp_path: Path) -> None:
        """Outcomes that come about in another process reach the greenlets that wait for them."""
        code = """
import subprocess
executor = pool(1)
if sys.argv[2] == "waits":
    held = Held()
    executor.submit(held)  # so the other process has to run what comes behind it
    waiter = spawn(executor.submit(double, 21).result)
    other = subprocess.Popen([sys.executable, __file__, place, "works"])
    assert others_run() and result(waiter) == 42
    assert other.wait() == 0
    held.go.set()
    print("done")
else:
    assert [each.result(60) for each in executor.recovered()] == [42]
executor.shutdown()
"""
        assert self._program(tmp_path, begin + code, f"sqlite:///{tmp_path}/jobs.db", "waits") == "done\n"

    def test_a_pool_of_processes(self, place: str, tmp_path: Path) -> None:
        """Spawned ones that nobody kills, of a program that was patched first: docs/executors.md has what fails."""
        code = """
import multiprocessing
from pqadapters.concurrent.futures import ProcessPoolExecutor

def work():
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, store=place, mp_context=spawned) as executor:
        futures = [executor.submit(double_slowly, n) for n in range(20)]
        assert others_run()
        assert [each.result(60) for each in futures] == list(range(0, 40, 2))
        assert list(executor.map(double, range(5), timeout=60)) == list(range(0, 10, 2))

if __name__ == "__main__":
    result(spawn(work), 60)
    print("done")
"""
        assert self._program(tmp_path, self._begin(self.PATCH, _OURS) + code, place) == "done\n"

    def test_a_program_that_just_ends_loses_no_job(self, begin: str, place: str, tmp_path: Path) -> None:
        """As threads are under the library, so is the end: its jobs are done first, or the next run does them."""
        code = """
def append(what):
    sleep(0.01)
    with open(sys.argv[2], "a") as ledger:
        print(what, file=ledger)

executor = pool(2)
if sys.argv[3:]:
    executor.shutdown()
else:
    for number in range(10):
        executor.submit(append, number)
"""
        ledger, jobs = tmp_path / "ledger", sorted(map(str, range(10)))
        ledger.touch()
        run(begin + code, place, ledger)
        assert not self.DRAINS_AT_END or sorted(ledger.read_text().split()) == jobs
        run(begin + code, place, ledger, "rest")
        assert sorted(set(ledger.read_text().split())) == jobs

    def test_an_executor_without_a_place(self, begin: str, tmp_path: Path) -> None:
        code = """
with ThreadPoolExecutor(3) as executor:
    futures = [executor.submit(double_slowly, n) for n in range(20)]
    assert [each.result(60) for each in futures] == list(range(0, 40, 2))
with ThreadPoolExecutor(2, name="jobs") as executor:
    assert result(spawn(lambda: executor.submit(double, 3).result(60))) == 6
print("done")
"""
        assert self._program(tmp_path, begin + code, "nowhere") == "done\n"

    def _program(self, directory: Path, code: str, *arguments: str) -> str:
        """What the code prints, as a file: what it starts may be it again."""
        program = directory / "program.py"
        program.write_text(code)
        done = subprocess.run(
            [sys.executable, str(program), *arguments],
            env={"PYTHONPATH": str(ROOT), "PQADAPTERS_HOME": str(directory / "home"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
