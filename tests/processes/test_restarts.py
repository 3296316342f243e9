"""What becomes of the items of a queue without a name when its processes die, and the program is started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .harness import App

METHODS = ["fork", "spawn", "forkserver"]

WORKERS = """
def work(tasks, results):
    for item in iter(tasks.get, None):
        say("has", item, os.getpid())
        if item >= 0:
            results.put(item)
        else:
            sys.stdin = open(0)
            hear()

def main():
    context = multiprocessing.get_context(sys.argv[1])
    tasks, results = context.Queue(), context.Queue()
    for item in map(int, sys.argv[4:]):
        tasks.put(item)
    say("put")
    workers = [context.Process(target=work, args=(tasks, results)) for _ in range(int(sys.argv[2]))]
    for worker in workers:
        worker.start()
    for _ in range(int(sys.argv[3])):
        say("result", results.get())
    for worker in workers:
        tasks.put(None)
    for worker in workers:
        worker.join()
    say("left", tasks.qsize(), results.qsize())

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", METHODS)
def test_undisturbed(method: str, tmp_path: Path) -> None:
    app = App(tmp_path, WORKERS)
    for _ in range(2):
        with app.start(method, "2", "4", "1", "2", "3", "4") as run:
            run.end()
            assert sorted(map(int, run.words("result"))) == [1, 2, 3, 4]
            assert run.words("left") == ["0 0"]


@pytest.mark.parametrize("method", METHODS)
def test_what_a_killed_program_leaves_is_there_in_the_next_run(method: str, tmp_path: Path) -> None:
    """All of it is killed while a worker has an item in hand; the ones behind it, and it, come again in order."""
    app = App(tmp_path, WORKERS)
    with app.start(method, "1", "9", "1", "-2", "3") as run:
        run.until("has -2")
        run.kill_all()
    with app.start(method, "1", "1", "4") as run:
        run.until("has -2")
        run.tell("go on")
        run.until("has 4")
        run.end()
        assert [text.split()[0] for text in run.words("has")] == ["-2", "3", "4"]


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_worker_loses_nothing(method: str, tmp_path: Path) -> None:
    app = App(tmp_path, WORKERS)
    with app.start(method, "2", "9", "-1", "2", "3", "4") as run:  # no stop markers: nine results never come
        victim = int(run.until("has -1").split()[2])
        os.kill(victim, signal.SIGKILL)
        run.until("has -1")  # the other worker is given it
        run.tell("go on")
        while len(run.words("result")) < 3:
            run.until("result")
        assert sorted(map(int, run.words("result"))) == [2, 3, 4]


def test_another_worker_does_what_a_killed_one_had_in_hand_before_it_stops(tmp_path: Path) -> None:
    """It is in its place again when the next worker begins, not when somebody finds the queue empty."""
    body = """
import signal

def work(tasks, kill):
    for item in iter(tasks.get, None):
        if item == 1 and kill:
            os.kill(os.getpid(), signal.SIGKILL)
        say("did", item)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    tasks = context.Queue()
    for item in range(4):
        tasks.put(item)
    for kill in (True, False):
        worker = context.Process(target=work, args=(tasks, kill))
        worker.start()
        if not kill:
            tasks.put(None)
        worker.join()
    say("left", tasks.qsize(), tasks.stats()["unfinished"])
"""
    app = App(tmp_path, body)
    for method in METHODS:
        with app.start(method) as run:
            run.end()
            assert run.words("did") == ["0", "1", "2", "3"]
            assert run.words("left") == ["0 0"]


def test_stop_markers_end_with_their_run(tmp_path: Path) -> None:
    """The killed run had put its `None`s; the next run's workers work all the same."""
    body = """
def main():
    queue = multiprocessing.Queue()
    for item in (1, None, 2, None):
        queue.put(item)
    if sys.argv[1] == "first":
        process = multiprocessing.get_context("spawn").Process(target=show, args=(queue,))
        process.start()
        process.join()
        queue.put(3)
        say("put")
        hear()
    say("got", *[queue.get() for _ in range(queue.qsize())])

def show(queue):
    say("child", queue.get(), queue.get())

if __name__ == "__main__":
    main()
"""
    app = App(tmp_path, body)
    with app.start("first") as run:
        run.until("put")
        assert run.words("child") == ["1 None"]
    with app.start("second") as run:
        run.end()
        assert run.words("got") == ["2 3 1 None 2 None"]


def test_two_runs_at_a_time_have_a_queue_each_and_the_next_one_what_both_left(tmp_path: Path) -> None:
    body = """
def main():
    queue = multiprocessing.Queue()
    say("begins")
    while word := hear():
        if word == "show":
            say("has", *[queue.get() for _ in range(queue.qsize())])
        else:
            queue.put(int(word))
            say("put")

main()
"""
    app = App(tmp_path, body)
    with app.start() as one, app.start() as other:
        for number in range(1, 7):
            run = one if number % 2 else other
            run.tell(str(number))
            run.until("put")
        one.kill_all()
        other.kill_all()
    with app.start() as run:
        run.tell("7")
        run.until("put")
        run.tell("show")
        run.until("has")
        assert run.words("has") == ["1 2 3 4 5 6 7"]


@pytest.mark.parametrize("method", METHODS)
def test_a_new_run_shares_no_queue_with_orphans(method: str, tmp_path: Path) -> None:
    """The main process alone was killed. Its workers took the next run's items and its `None`s, and that run hung."""
    body = """
def work(tasks):
    for item in iter(tasks.get, None):
        say("has", item)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    tasks = context.Queue()
    workers = [context.Process(target=work, args=(tasks,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for item in map(int, sys.argv[3:]):
        tasks.put(item)
    if sys.argv[2] == "first":
        hear()
    for worker in workers:
        tasks.put(None)
    for worker in workers:
        worker.join()
    say("left", tasks.qsize())
"""
    app = App(tmp_path, body)
    with app.start(method, "first", "1") as first:
        first.until("has 1")
        first.kill()
        with app.start(method, "second", "2", "3") as second:
            second.end()
            assert sorted(second.words("has")) == ["2", "3"]
            assert second.words("left") == ["0"]


ORPHANS = """
def work(tasks):
    for item in iter(tasks.get, None):
        say("has", item)
        if item == 1:
            sys.stdin = open(0)
            hear()
    say("worked")

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    tasks = context.Queue()
    for item in map(int, sys.argv[2:]):
        tasks.put(item)
    worker = context.Process(target=work, args=(tasks,))
    worker.start()
    tasks.put(None)
    say("put")
    worker.join()
    say("left", tasks.qsize())
"""


@pytest.mark.parametrize("method", METHODS)
def test_what_waited_is_the_new_runs_and_what_orphans_have_in_hand_is_theirs(method: str, tmp_path: Path) -> None:
    """So is the `None` that was put for them: they end by it."""
    app = App(tmp_path, ORPHANS)
    with app.start(method, "1", "2", "3") as first:
        while not (first.words("has") and "put" in first.said):
            first.until("")
        first.kill()
        with app.start(method, "4") as second:
            second.end()
            assert second.words("has") == ["2", "3", "4"]
            assert second.words("left") == ["0"]
        first.tell("go on")
        first.until("worked")
    with app.start(method) as third:
        third.end()
        assert third.words("has") == []


@pytest.mark.parametrize("method", METHODS)
def test_a_queue_for_each_call_is_its_childs_own(method: str, tmp_path: Path) -> None:
    """The parent drops each queue as soon as its child is started: no other child gets it, nor its items."""
    body = """
def child(queue):
    say("child", *queue.get())

def call(context, number):
    queue = context.Queue()
    queue.put((number, number * number))
    process = context.Process(target=child, args=(queue,))
    process.start()
    return process

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    processes = [call(context, number) for number in range(6)]
    for process in processes:
        process.join()
        say("status", process.exitcode)
"""
    with App(tmp_path, body).start(method) as run:
        run.end()
        assert sorted(run.words("child")) == [f"{number} {number * number}" for number in range(6)]
        assert run.words("status") == ["0"] * 6


def test_the_queues_of_a_place_that_makes_many_are_few(tmp_path: Path) -> None:
    body = """
def call(number):
    queue = multiprocessing.Queue()
    queue.put(number)
    assert queue.get() == number
    return queue.name

say("names", *sorted({call(number) for number in range(20)}))
"""
    with App(tmp_path, body).start() as run:
        run.end()
        assert run.words("names") == ["__main__.call-0.0"]


def test_what_was_left_is_not_counted_against_maxsize(tmp_path: Path) -> None:
    """A program fills its queue before it starts its workers."""
    body = """
queue = multiprocessing.Queue(2)
queue.put(1)
queue.put(2)
say("full", queue.full())
if sys.argv[1] == "first":
    hear()
say("got", *[queue.get() for _ in range(4)], queue.full())
"""
    app = App(tmp_path, body)
    with app.start("first") as run:
        run.until("full True")
    with app.start("second") as run:
        run.end()
        assert run.words("full") == ["True"]
        assert run.words("got") == ["1 2 1 2 False"]


LEFT_AND_TAKEN = """
import contextlib, queue as stdlib

def fill(queue):
    count = 0
    with contextlib.suppress(stdlib.Full):
        while True:
            queue.put_nowait(count)
            count += 1
    return count

def child(queue):
    say("beyond", fill(queue))

def main():
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue(maxsize=3)
    for _ in range(queue.qsize()):
        queue.get()
    queue.put(-1)
    fill(queue)
    process = context.Process(target=child, args=(queue,))
    process.start()
    process.join()

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", METHODS)
def test_what_was_left_and_is_gone_is_no_room_for_a_child(method: str, tmp_path: Path) -> None:
    """A child that was started anew took it for still there, and filled the queue beyond its bound in each run."""
    app = App(tmp_path, LEFT_AND_TAKEN)
    for _ in range(3):
        with app.start(method) as run:
            run.end()
            assert run.words("beyond") == ["0"]


def test_a_child_that_fails_has_done_nothing_and_one_that_ends_has(tmp_path: Path) -> None:
    body = """
def child(queue, fail):
    say("child", queue.get())
    if fail:
        raise SystemError

if __name__ == "__main__":
    queue = multiprocessing.Queue()
    queue.put("item")
    for fail in (True, False):
        process = multiprocessing.Process(target=child, args=(queue, fail))
        process.start()
        process.join()
    say("left", queue.stats()["unfinished"])
"""
    with App(tmp_path, body).start() as run:
        run.end()
        assert run.words("child") == ["item", "item"]
        assert run.words("left") == ["0"]


def test_join_waits_for_what_children_have_in_hand(tmp_path: Path) -> None:
    """A killed child's item is done by the next one; then join() ends, and not before."""
    body = """
def child(queue):
    while True:
        item = queue.get()
        say("child", item, os.getpid())
        if item == 2 and sys.argv[1] == "hold":
            sys.stdin = open(0)
            hear()
        queue.task_done()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.JoinableQueue()
    for item in (1, 2, 3):
        queue.put(item)
    processes = [context.Process(target=child, args=(queue,), daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
    queue.join()
    say("joined", queue.qsize())
"""
    with App(tmp_path, body).start("hold") as run:
        victim = int(run.until("child 2").split()[2])
        os.kill(victim, signal.SIGKILL)
        run.until("child 2")
        assert not run.words("joined")
        run.tell("go on")
        run.end()
        assert run.words("joined") == ["0"]


@pytest.mark.parametrize("method", METHODS)
def test_task_done_where_the_results_come_in_teaches_the_workers_nothing(method: str, tmp_path: Path) -> None:
    """The workers, who never call it, had done nothing then: the next one got all of the first one's items once more,
    without any crash, and so did the next run, whose join() waited for ever."""
    body = """
def work(tasks, results):
    for task in iter(tasks.get, None):
        results.put(task)
    results.put("end")

def main():
    context = multiprocessing.get_context(sys.argv[1])
    tasks, results = context.JoinableQueue(), context.Queue()
    for items in ((1, 2, 3), ()):
        worker = context.Process(target=work, args=(tasks, results))
        worker.start()
        for item in (*items, None):
            tasks.put(item)
        for result in iter(results.get, "end"):
            say("result", result)
            tasks.task_done()
        worker.join()
        tasks.task_done()
        tasks.join()
    say("joined", tasks.qsize())

if __name__ == "__main__":
    main()
"""
    app = App(tmp_path, body)
    for _ in range(2):
        with app.start(method) as run:
            run.end()
            assert run.words("result") == ["1", "2", "3"]
            assert run.words("joined") == ["0"]


def test_an_interrupt_at_a_fork_leaves_one_queue_to_parent_and_child(tmp_path: Path) -> None:
    """Python ignores what is raised there and forks: each of them had a queue of its own."""
    body = """
from pqadapters.stdlib.multiprocessing import _shared_line

found_family = _shared_line.found_family

def interrupted(*arguments, **options):
    family = found_family(*arguments, **options)
    _shared_line.found_family = found_family
    raise SystemExit

if __name__ == "__main__":
    queue = multiprocessing.Queue()
    _shared_line.found_family = interrupted
    go = os.pipe()
    if not os.fork():
        os.read(go[0], 1)
        queue.put("of the child")
        os._exit(0)
    say("name", queue.name)
    os.write(go[1], b"x")
    os.wait()
    say("got", queue.qsize())
"""
    with App(tmp_path, body).start() as run:
        run.end()
        assert run.words("name") == ["__main__-0.0"]
        assert run.words("got") == ["1"]
