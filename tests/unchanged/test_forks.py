"""Pre-forked workers: each has a slot of its own, and what a dead one leaves goes to whoever lives next."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .harness import NOTHING, App, Left, Run, undisturbed

WORKERS, COUNT = 4, 3
ALL = [100 * number + index for number in range(1, WORKERS + 1) for index in range(COUNT)]


def test_pre_forked_workers_undisturbed(tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "prefork", WORKERS, COUNT)
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_pre_forked_workers_that_leave_by_os_exit(tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "prefork", WORKERS, COUNT, "abrupt")
    assert app.left() == NOTHING
    assert app.run(1, 0).items("begin") == []
    assert app.slots() == []


def killed_workers(app: App, how: str) -> Run:
    """Four workers put in turns, and are killed when each is in the middle of its second item."""
    held = [f"begin {100 * number + 1}" for number in range(1, WORKERS + 1)]
    with app.start(WORKERS, COUNT, hold=["wants to put *", *held]) as running:
        for index in range(COUNT):
            for number in (2, 4, 1, 3):
                item = 100 * number + index
                running.release(f"wants to put {item}")
                running.until(f"put {item}")
        running.until(*held)
        if how == "all at once":
            return running.kill()
        for line in held:
            os.kill(running.pids(line)[0], signal.SIGKILL)
        running.end()
        assert (running.lines[-1], running.status) == ("finished", 0)
        return running


@pytest.mark.parametrize("how", ["all at once", "one by one"])
@pytest.mark.parametrize("workers", [4, 1])
def test_killed_and_started_again(how: str, workers: int, tmp_path: Path) -> None:
    app = App(tmp_path, "prefork")
    killed = killed_workers(app, how)
    assert sorted(killed.items("done")) == [100, 200, 300, 400]
    again = app.run(workers, 0)
    left = [201, 401, 101, 301, 202, 402, 102, 302]  # in the order in which they were put
    if workers == 1:
        assert again.items("begin") == left
    else:
        assert sorted(again.items("begin")) == sorted(left)
    assert app.run(workers, 0).items("begin") == []
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_a_worker_that_lives_is_not_robbed(tmp_path: Path) -> None:
    """One of four is killed; a process of the same application that starts now gets its items, and nobody else's."""
    app = App(tmp_path, "prefork")
    held = [f"begin {100 * number}" for number in range(1, WORKERS + 1)]
    with app.start(WORKERS, COUNT, hold=held) as running:
        running.until(*held)
        os.kill(running.pids("begin 300")[0], signal.SIGKILL)
        running.until("reaped 3")
        assert app.run(1, 0).items("begin") == [300, 301, 302]
        for line in held:
            if line != "begin 300":
                running.release(line)
        running.end()
    assert sorted(running.items("done")) == [item for item in ALL if item // 100 != 3]
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_preloaded_as_it_is_everybody_has_a_copy(tmp_path: Path) -> None:
    run = App(tmp_path, "preload", swap=False).run(3, 2, 2, "drain")
    assert sorted(run.items("begin")) == sorted([*range(3)] * 3 + [100, 101, 200, 201])


def test_preloaded_what_the_master_put_is_the_masters(tmp_path: Path) -> None:
    app = App(tmp_path, "preload")
    run = app.run(3, 2, 2, "drain")
    assert sorted(run.items("begin")) == [0, 1, 2, 100, 101, 200, 201]
    assert run.lines.count("worker ends") == 2
    assert app.left() == NOTHING


def test_preloaded_and_killed(tmp_path: Path) -> None:
    app = App(tmp_path, "preload")
    app.killed(3, 2, 2, at=["begin 101", "begin 200"], seen=["all put"] * 2)
    assert sorted(app.left().items) == [0, 1, 2, 101, 200, 201]
    again = app.run(0, 1, 0)  # a worker looks, and everything is its own
    assert sorted(again.items("begin")) == [0, 1, 2, 101, 200, 201]
    assert app.left() == NOTHING


def test_what_a_master_never_takes_waits_for_the_next_run(tmp_path: Path) -> None:
    app = App(tmp_path, "preload")
    app.run(3, 2, 2)
    assert app.left() == Left([0, 1, 2], [])
    assert app.run(0, 0, 0, "drain").items("begin") == [0, 1, 2]
    assert app.left() == NOTHING
