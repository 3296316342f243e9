"""What SIGKILL leaves of an executor's jobs, and the next run of the program makes of it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from .harness import App

PLACES = {
    "home": "",
    "path": "path=sys.argv[0] + '.jobs', ",
    "named": "name='jobs', ",
    "database": "store='sqlite:///' + sys.argv[0] + '.db', ",
}


@pytest.fixture(params=PLACES)
def where(request: pytest.FixtureRequest) -> str:
    return PLACES[request.param]


KILLED = """
if sys.argv[1] != "first":
    hold = double

if __name__ == "__main__":
    with ThreadPoolExecutor(1, WHERE) as executor:
        if sys.argv[1] == "first":
            executor.submit(double, 0).result()
            executor.submit(hold, 1)
            for number in range(2, 10):
                executor.submit(double, number)
            cancelled = executor.submit(double, 10)
            assert cancelled.cancel()
            say("submitted")
            hear()
    say("end")
"""


def test_what_a_killed_program_had_submitted_runs_in_the_next_one(where: str, tmp_path: Path) -> None:
    """The job in hand comes again, those behind it follow in their order, what was done or cancelled doesn't."""
    app = App(tmp_path, KILLED.replace("WHERE", where))
    with app.start("first") as run:
        run.until("submitted")
        run.kill()
        said = run.words("ran")
    assert said in ([], ["0"])
    with app.start("second") as run:
        assert run.end().words("ran") == [str(number) for number in range(1, 10)]
    with app.start("second") as run:
        assert run.end().words("ran") == []


POISON = """
if __name__ == "__main__":
    executor = ThreadPoolExecutor(2, WHERE INTERRUPTED)
    if sys.argv[1] == "first":
        executor.submit(die, 0)
        for number in range(1, 9):
            executor.submit(double, number)
        open(sys.argv[0] + ".go", "w").close()
    executor.shutdown()
    again = ThreadPoolExecutor(1, WHERE recover="manual")
    say("dead", *(job.reason for job in again.jobs("dead")))
"""


def poison(where: str, interrupted: str) -> str:
    return POISON.replace("INTERRUPTED", interrupted).replace("WHERE", where)


def test_a_job_that_kills_the_process_is_started_three_times_and_the_others_run(where: str, tmp_path: Path) -> None:
    app = App(tmp_path, poison(where, ""))
    starts, ran = 0, set[str]()
    for attempt in range(6):
        with app.start("first" if attempt == 0 else "again") as run:
            assert run.process.stdout is not None
            run.said += [line.rstrip("\n") for line in run.process.stdout]
            starts += len(run.words("dies"))
            ran |= set(run.words("ran"))
            if run.process.wait() == 0:
                break
    assert starts == 3
    assert ran == {str(number) for number in range(1, 9)}
    assert run.words("dead") == ["its process ended while it ran, 3 times (max_attempts=3)"]


@pytest.mark.parametrize("word", ["fail", "drop"])
def test_an_interrupted_job_isnt_started_again_where_that_is_said(word: str, tmp_path: Path) -> None:
    app = App(tmp_path, poison("", f"interrupted={word!r}, "))
    with app.start("first") as run:
        run.until("dies")
        run.process.wait()
    with app.start("again") as run:
        run.end()
        assert run.words("dies") == []
        reason = "its process ended while it ran (interrupted='fail')" if word == "fail" else ""
        assert run.words("dead")[0].startswith(reason)  # and that of the job beside it, if it was in hand


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"interrupted": "fail"}, "its process ended while it ran (interrupted='fail')"),
        ({"interrupted": "drop"}, ""),
        ({"max_attempts": 1}, "its process ended while it ran, 1 times (max_attempts=1)"),
    ],
)
def test_a_job_says_itself_what_becomes_of_it_when_it_is_interrupted(
    options: dict[str, object], reason: str, tmp_path: Path
) -> None:
    """In the next run, too, which has it from the disk. Those beside it are as the executor says."""
    app = App(tmp_path, poison("", "").replace("executor.submit(die", f"executor.using(**{options}).submit(die"))
    with app.start("first") as run:
        assert run.process.stdout is not None
        ran = {line.split()[-1] for line in run.process.stdout if line.startswith("ran")}
        run.process.wait()
    with app.start("again") as run:
        run.end()
        assert (run.words("dies"), run.words("dead")) == ([], [reason])
        assert ran | set(run.words("ran")) == {str(number) for number in range(1, 9)}


RESUMED = """
if __name__ == "__main__":
    with ThreadPoolExecutor(2, WHERE) as executor:
        futures = [executor.using(key=number).submit(double, number) for number in range(20)]
        if sys.argv[1] == "first":
            wait(futures[:10])
            os.kill(os.getpid(), signal.SIGKILL)
        say("results", *(future.result() for future in futures))
"""


def test_a_script_with_keys_resumes(where: str, tmp_path: Path) -> None:
    app = App(tmp_path, RESUMED.replace("WHERE", where))
    with app.start("first") as run:
        assert run.process.stdout is not None
        run.said += [line.rstrip("\n") for line in run.process.stdout]
        first = run.words("ran")
    with app.start("second") as run:
        run.end()
        assert run.words("results") == [" ".join(str(2 * number) for number in range(20))]
        again = run.words("ran")
    assert set(first) | set(again) == {str(number) for number in range(20)}
    assert len(set(first) & set(again)) <= 2  # what was in the hands of two threads


MAPPED = """
if sys.argv[1] != "first":
    hold = double

if __name__ == "__main__":
    with ThreadPoolExecutor(1) as executor:
        if sys.argv[1] == "first":
            executor.submit(hold, 0)
            executor.map(double, range(1, 4))
            executor.submit(double, 4)
            say("submitted")
            hear()
        executor.submit(double, 5)
"""


def test_a_script_that_is_run_again_maps_again(tmp_path: Path) -> None:
    app = App(tmp_path, MAPPED)
    with app.start("first") as run:
        run.until("submitted")
        run.kill()
    with app.start("second") as run:
        assert run.end().words("ran") == ["0", "4", "5"]


LATE = """
executor = ThreadPoolExecutor(1, path=sys.argv[0] + ".jobs")
if sys.argv[1] == "first":
    def late():
        say("late")
    def first():
        say("first")
        time.sleep(600)
    executor.submit(first)
    executor.submit(late)
    say("submitted")
    hear()
else:
    time.sleep(0.3)
    def first(): say("first")
    def late(): say("late")
    say("defined")
    executor.shutdown()
"""


def test_a_program_that_makes_its_executor_before_its_functions(tmp_path: Path) -> None:
    app = App(tmp_path, LATE)
    with app.start("first") as run:
        run.until("submitted")
        run.kill()
    with app.start("second") as run:
        assert sorted(run.end().said) == ["defined", "first", "late"]


SIGTERM = """
from pqadapters.concurrent.futures import finish_on_sigterm

def work(number):
    say("begins", number)
    while sys.argv[1] == "first" and not executor._backlog.left:  # until SIGTERM has come
        time.sleep(0.01)
    say("ran", number)

if __name__ == "__main__":
    executor = ThreadPoolExecutor(2, path=sys.argv[0] + ".jobs")
    if sys.argv[1] == "first":
        finish_on_sigterm(executor)
        for number in range(50):
            executor.submit(work, number)
        say("submitted")
    executor.shutdown()
    say("end")
"""


def test_sigterm_finishes_what_runs_and_leaves_the_rest(tmp_path: Path) -> None:
    app = App(tmp_path, SIGTERM)
    with app.start("first") as run:
        run.until("submitted")
        if not run.words("begins"):
            run.until("begins")
        run.process.terminate()
        assert run.process.stdout is not None
        run.said += [line.rstrip("\n") for line in run.process.stdout]
        assert run.process.wait() == 143
        assert run.words("begins")
        assert sorted(run.words("ran")) == sorted(run.words("begins"))
        assert "end" not in run.said
        first = run.words("ran")
    with app.start("second") as run:
        again = run.end().words("ran")
    assert sorted(map(int, first + again)) == list(range(50))


SIGTERM_INSIDE = """
from pqadapters.concurrent.futures import finish_on_sigterm

def told(*_):
    os.kill(os.getpid(), signal.SIGTERM)

class Threads(ThreadPoolExecutor):
    _adjust_thread_count = told

class Processes(ProcessPoolExecutor):
    def _start_executor_manager_thread(self):
        told()
        super()._start_executor_manager_thread()

if __name__ == "__main__":
    executor = globals()[sys.argv[1]](1)
    finish_on_sigterm(executor)
    if sys.argv[1] == "ThreadPoolExecutor":
        executor._backlog._begin = told
    executor.submit(double, 1)
"""


@pytest.mark.parametrize("kind", ["Threads", "Processes", "ThreadPoolExecutor"])
def test_sigterm_inside_a_submit_ends_the_program(kind: str, tmp_path: Path) -> None:
    """It waited for a lock of the pool's that its own thread had, or for the store that this was opening."""
    with App(tmp_path, SIGTERM_INSIDE).start(kind) as run:
        assert run.process.wait(60) == 143


SIGTERM_FOR_ALL = """
from pqadapters.concurrent.futures import finish_on_sigterm

def work(number):
    say("begins", number)
    if sys.argv[1] == "first":
        time.sleep(600)

if __name__ == "__main__":
    executor = ProcessPoolExecutor(1, path=sys.argv[0] + ".jobs")
    finish_on_sigterm(executor)
    if sys.argv[1] == "first":
        for number in range(3):
            executor.submit(work, number)
        say("submitted")
        time.sleep(600)
    executor.shutdown()
"""


def test_sigterm_for_the_workers_as_well_ends_no_job(tmp_path: Path) -> None:
    """The handler's exit was what the job had come to, and the worker waited for a lock that its parent had had."""
    app = App(tmp_path, SIGTERM_FOR_ALL)
    with app.start("first") as run:
        run.until("submitted")
        if not run.words("begins"):
            run.until("begins")
        os.killpg(run.process.pid, signal.SIGTERM)
        assert run.process.wait(60) == 143
    with app.start("second") as run:
        assert sorted(run.end().said) == ["begins 0", "begins 1", "begins 2"]


STORED_LATE = """
from pqadapters.concurrent.futures import finish_on_sigterm
from pqadapters.concurrent.futures._workers.calls import Calls

def work():
    say("begins")
    time.sleep(0.5)
    say("ran")

if __name__ == "__main__":
    executor = ProcessPoolExecutor(1, path=sys.argv[0] + ".jobs")
    if sys.argv[1] != "second":
        finish = Calls._finish
        def finish_late(*given):
            for _ in range(100):
                if executor._backlog.closed:
                    break
                time.sleep(0.01)
            finish(*given)
        Calls._finish = finish_late
        finish_on_sigterm(executor)
        executor.submit(work)
        hear()
        if sys.argv[1] == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        executor.shutdown(wait=False, drain=False)
        sys.exit(143)
    executor.shutdown()
"""


@pytest.mark.parametrize("how", ["terminate", "shut down"])
def test_what_ran_while_a_program_with_processes_ended_is_done(how: str, tmp_path: Path) -> None:
    """The pool was waited for, and what the job came to wasn't: the store was closed, the next run did it again."""
    app = App(tmp_path, STORED_LATE)
    with app.start(how) as run:
        run.until("begins")
        run.tell("go on")
        assert run.process.wait(60) == 143
    with app.start("second") as run:
        assert run.end().said == []


SIGTERM_TWICE = """
from concurrent.futures import thread as stdlib
from pqadapters.concurrent.futures import finish_on_sigterm

class Unknown(dict):
    def __setitem__(self, thread, queue):
        while not os.path.exists(sys.argv[0] + ".begun"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

def work(pid):
    open(sys.argv[0] + ".begun", "w").close()
    say("begins")
    while not os.path.exists(sys.argv[0] + ".ends"):
        time.sleep(0.01)
    os.kill(pid, signal.SIGTERM)
    time.sleep(0.5)
    say("ran")

if __name__ == "__main__":
    executor = globals()[sys.argv[1]](1, path=sys.argv[0] + ".jobs")
    if sys.argv[2] == "first":
        threading._register_atexit(open, sys.argv[0] + ".ends", "w")
        finish_on_sigterm(executor)
        if sys.argv[3:]:
            stdlib._threads_queues = Unknown()
        executor.submit(work, os.getpid())
        time.sleep(600)
    executor.shutdown()
"""


@pytest.mark.parametrize("kind", ["ThreadPoolExecutor", "ProcessPoolExecutor"])
def test_a_second_sigterm_breaks_nothing_off(kind: str, tmp_path: Path) -> None:
    """What ran ended with the program, or, where that had processes, they and the program waited for each other."""
    app = App(tmp_path, SIGTERM_TWICE)
    with app.start(kind, "first") as run:
        run.until("begins")
        run.process.terminate()
        run.until("ran")
        assert run.process.wait(60) == 143
    with app.start(kind, "second") as run:
        assert not run.end().said


def test_a_second_sigterm_waits_for_a_thread_that_was_just_started(tmp_path: Path) -> None:
    """The first one came before the pool knew its thread, which only the interpreter waited for."""
    app = App(tmp_path, SIGTERM_TWICE)
    with app.start("ThreadPoolExecutor", "first", "unknown") as run:
        run.until("ran")
        assert run.process.wait(60) == 143
    with app.start("ThreadPoolExecutor", "second") as run:
        assert not run.end().said


SIGTERM_AT_THE_VERY_END = """
import atexit
from pqadapters.concurrent.futures import finish_on_sigterm

def hang():
    say("hangs")
    time.sleep(600)

if __name__ == "__main__":
    executor = ThreadPoolExecutor(1)
    finish_on_sigterm(executor)
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    executor.submit(double, 1).result()
    atexit.register(hang)
    say("done")
    time.sleep(600)
"""


def test_a_second_sigterm_breaks_off_what_hangs_behind_the_jobs(tmp_path: Path) -> None:
    """As a handler of `atexit` of the program's own, beside a thread that nobody waits for."""
    with App(tmp_path, SIGTERM_AT_THE_VERY_END).start() as run:
        for line in ("done", "hangs"):
            run.until(line)
            run.process.terminate()
        assert run.process.wait(50) == 143


SIGTERM_AND_A_FORK = """
from pqadapters.concurrent.futures import finish_on_sigterm

def strike():
    if not executor._backlog.left:
        os.kill(os.getpid(), signal.SIGTERM)

if __name__ == "__main__":
    executor = ProcessPoolExecutor(1, path=sys.argv[0] + ".jobs")
    finish_on_sigterm(executor)
    if sys.argv[1] == "starts no worker":
        def fork():
            strike()
            raise BlockingIOError("no more processes")
        os.fork = fork
    else:
        os.register_at_fork(**{sys.argv[1]: strike})
    try:
        if sys.argv[2] == "stored":
            executor.submit(double, 1)
        else:
            list(executor.map(double, [1]))
    except OSError:
        say("refused")
    say("goes on")
"""


@pytest.mark.parametrize("how", ["stored", "mapped"])
@pytest.mark.parametrize("when", ["before", "after_in_parent", "starts no worker"])
def test_sigterm_as_a_worker_is_forked(when: str, how: str, tmp_path: Path) -> None:
    """The program went on: what is raised there is lost, and a lock of logging's stayed taken. The worker shut down
    what it has of the executor, whose lock its parent had, and the program waited for it."""
    with App(tmp_path, SIGTERM_AND_A_FORK).start(when, how) as run:
        assert run.process.wait(60) == 143
        assert run.process.stdout is not None
        said = run.process.stdout.read().split("\n")[:-1]
        assert said == (["ran 1"] if when != "starts no worker" else [])


SIGTERM_MAP = """
from pqadapters.concurrent.futures import finish_on_sigterm

def work(number):
    say("begins", number)
    while not backlog.left:  # until SIGTERM has come
        time.sleep(0.01)
    time.sleep(0.2)

def main():
    global backlog
    executor = ThreadPoolExecutor(1, path=sys.argv[0] + ".jobs")
    backlog = executor._backlog
    finish_on_sigterm(executor)
    executor.submit(work, 0)
    results = executor.map(work, range(1, 50))
    say("submitted")
    while True:
        time.sleep(0.01)

if __name__ == "__main__":
    main()
"""


def test_sigterm_cancels_what_isnt_stored(tmp_path: Path) -> None:
    """Also where nobody has the executor any more when the program ends."""
    with App(tmp_path, SIGTERM_MAP).start() as run:
        run.until("submitted")
        run.process.terminate()
        assert run.process.stdout is not None
        run.said += [line.rstrip("\n") for line in run.process.stdout]
        assert run.process.wait() == 143
        assert len(run.words("begins")) < 5


FORKED = """
if __name__ == "__main__":
    executor = ThreadPoolExecutor(2, WHERE)
    executor.submit(double, 1).result()
    child = os.fork()
    if not child:
        try:
            executor.submit(double, 2)
        except Exception as error:
            say("child", type(error).__name__)
        os._exit(0)
    os.waitpid(child, 0)
    executor.submit(double, 3).result()
    executor.shutdown()
    say("end")
"""


def test_a_forked_child_is_told_and_the_parent_goes_on(where: str, tmp_path: Path) -> None:
    app = App(tmp_path, FORKED.replace("WHERE", where))
    with app.start() as run:
        assert run.end().said == ["ran 1", "child StoreForked", "ran 3", "end"]


ENDED = """
if __name__ == "__main__":
    executor = Executor(2, WHERE)
    for number in range(20):
        executor.submit(double, number)
"""


@pytest.mark.parametrize("kind", ["ThreadPoolExecutor", "ProcessPoolExecutor"])
def test_a_program_that_just_ends_does_its_jobs_first(kind: str, where: str, tmp_path: Path) -> None:
    app = App(tmp_path, ENDED.replace("WHERE", where).replace("Executor(", f"{kind}("))
    with app.start() as run:
        assert sorted(map(int, run.end().words("ran"))) == list(range(20))
    with app.start() as run:
        assert len(run.end().words("ran")) == 20


NEW_WORKERS = """
import multiprocessing

def work(number):
    while not os.path.exists(sys.argv[0] + ".ends"):
        time.sleep(0.01)
    begun = f"{sys.argv[0]}.{number}"
    if sys.argv[2] == "rebuild" and not os.path.exists(begun):
        open(begun, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    say("ran", number)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    more = {sys.argv[2]: 1, "path": sys.argv[0] + ".jobs"}
    executor = ProcessPoolExecutor(1, context, **more)
    threading._register_atexit(open, sys.argv[0] + ".ends", "w")  # behind the last line
    for number in range(3):
        executor.submit(work, number)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("why", ["rebuild", "max_tasks_per_child"])
def test_workers_that_begin_behind_the_last_line_of_a_script_know_it(why: str, method: str, tmp_path: Path) -> None:
    """They had no functions of its, and ended: the jobs became dead letters, or stayed where they were."""
    if why == "max_tasks_per_child" and sys.version_info < (3, 11):
        pytest.skip("needs Python 3.11")
    if why == "rebuild" and sys.version_info[:2] == (3, 12):
        pytest.skip("Python 3.12 begins no pool there")
    with App(tmp_path, NEW_WORKERS).start(method, why) as run:
        assert sorted(run.end().words("ran")) == ["0", "1", "2"]


ENDLESS = """
def feed():
    try:
        while True:
            executor.submit(abs, -1)
            time.sleep(0.001)
    except RuntimeError as error:
        say(error)

def again():
    executor.submit(again)

if __name__ == "__main__":
    executor = globals()[sys.argv[1]](1)
    if sys.argv[2] == "job":
        executor.submit(again)
    else:
        threading.Thread(target=feed, daemon=True).start()
    time.sleep(0.2)
    say("ends")
"""


@pytest.mark.parametrize(
    ("kind", "who"),
    [("ThreadPoolExecutor", "thread"), ("ThreadPoolExecutor", "job"), ("ProcessPoolExecutor", "thread")],
)
def test_a_program_that_just_ends_takes_no_more_jobs(kind: str, who: str, tmp_path: Path) -> None:
    """As with the standard library's pools. It went on for as long as somebody submitted often enough."""
    with App(tmp_path, ENDLESS).start(kind, who) as run:
        assert run.process.wait(60) == 0
        assert run.process.stdout is not None
        said = [line.rstrip("\n") for line in run.process.stdout]
    assert said[0] == "ends"
    assert all("interpreter shutdown" in line for line in said[1:])
