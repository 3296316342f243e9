"""How a program ends, and what that says about what it had taken."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .harness import NOTHING, App, Left, undisturbed


def test_undisturbed(tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "ending", "0", 4)
    assert app.left() == Left([2, 3], [])


def ended(app: App, how: str, status: int, number: int = 0) -> None:
    """The program, with five jobs of which it takes two, ended so."""
    with app.start(how, 5) as running:
        if number:
            running.until("running")
            running.signal_all(number)
        run = running.end()
    assert run.status == status, run.errors
    assert run.items("begin")[-1] == 1
    assert ("Traceback" in run.errors) == (how == "raise" or number == signal.SIGINT)


NORMAL = [("fall off the end", 0, 0), ("0", 0, 0), ("3", 3, 0), ("handler", 143, signal.SIGTERM)]
CUT_OFF = [("raise", 1, 0), ("wait", -signal.SIGTERM, signal.SIGTERM), ("wait", -signal.SIGINT, signal.SIGINT)]
in_all_ways = pytest.mark.parametrize(("how", "status", "number"), CUT_OFF, ids=["exception", "SIGTERM", "SIGINT"])


@pytest.mark.parametrize(("how", "status", "number"), NORMAL)
def test_a_normal_end_settles_that_what_was_taken_is_done(how: str, status: int, number: int, tmp_path: Path) -> None:
    app = App(tmp_path, "ending")
    ended(app, how, status, number)
    assert [home.ack for home in app.homes()] == ["next"]
    assert app.left() == Left([2, 3, 4], [])
    assert app.run("list", 0).items("begin") == [2, 3, 4]
    assert (app.left(), app.slots()) == (NOTHING, [])


@in_all_ways
def test_any_other_end_takes_nothing_for_done(how: str, status: int, number: int, tmp_path: Path) -> None:
    app = App(tmp_path, "ending")
    ended(app, how, status, number)
    assert [home.ack for home in app.homes()] == [None]
    assert app.left() == Left([0, 1, 2, 3, 4], [])
    assert app.run("list", 0).items("begin") == [0, 1, 2, 3, 4]
    assert (app.left(), app.slots()) == (NOTHING, [])


@in_all_ways
def test_any_other_end_once_it_is_settled_gives_the_last_item_back(
    how: str, status: int, number: int, tmp_path: Path
) -> None:
    app = App(tmp_path, "ending")
    app.run("list", 1)
    ended(app, how, status, number)
    assert app.left() == Left([1, 2, 3, 4], [])
    assert app.run("list", 0).items("begin") == [1, 2, 3, 4]


def test_a_worker_thread_that_fails_at_its_item(tmp_path: Path) -> None:
    """Where task_done() is called, an item without it comes again."""
    app = App(tmp_path, "failing_worker")
    run = app.run("0,1,2", "confirm", errors=".*LookupError: no such thing\n")
    assert run.lines == ["begin 0", "end 0", "begin 1", "finished"]
    assert app.left() == Left([1, 2], [])


def test_a_worker_thread_that_fails_at_its_item_and_never_calls_task_done(tmp_path: Path) -> None:
    """The program ended normally, and so had the thread: what it took is done, as with the standard library's queue."""
    app = App(tmp_path, "failing_worker")
    app.run("0,1,2", errors=".*LookupError: no such thing\n")
    assert app.left() == Left([2], [])


@pytest.mark.parametrize("more", [["confirm"], []])
def test_daemon_threads_at_the_end_of_the_program(more: list[str], tmp_path: Path) -> None:
    """Nothing is said on stderr; what they are working on comes again, and nothing else."""
    app = App(tmp_path, "daemon_threads")
    run = app.run(*more, 0, 1, 2, 3, 10)
    assert sorted(run.items("begin")) == [0, 1, 2, 3]
    assert app.left() == Left([2, 3, 10], [])
    assert app.run(*more).items("begin") == [2, 3, 10]
    assert app.run(*more).items("begin") == []
    assert app.left() == NOTHING


def test_handlers_at_the_end_use_their_queues(tmp_path: Path) -> None:
    """They were registered before the queue was first used, and after we were imported."""
    app = undisturbed(tmp_path, "flushed", 0, 3)
    assert app.run(10, 3).items("sent") == [10, 11, 12, -1]
    assert app.run(20, 3, "early").items("sent") == [20, 21, 22, -1]
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_handlers_at_the_end_find_what_an_earlier_run_left(tmp_path: Path) -> None:
    app = App(tmp_path, "flushed")
    app.killed(0, 3, at=["all put"])
    assert app.run(10, 1).items("sent") == [0, 1, 2, 10, -1]
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_what_was_fetched_from_a_queue_that_is_gone_is_done_whoever_let_go_of_it(tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "fetched", 0)
    for number in (1, 2):
        assert app.run(number).lines == [f"answer {number}"]
    assert (app.left(), app.slots()) == (NOTHING, [])
