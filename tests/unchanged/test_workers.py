"""The documentation's worker example, in its forms: killed in the middle, or as it stops, and run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import NOTHING, App, Left, undisturbed

STOPPED = ["worker_none", "worker_object"]


@pytest.fixture(params=["worker_joined", *STOPPED])
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_undisturbed(program: str, tmp_path: Path) -> None:
    undisturbed(tmp_path, program, 0, 10)


@pytest.mark.parametrize("program", STOPPED)
def test_undisturbed_with_task_done(program: str, tmp_path: Path) -> None:
    undisturbed(tmp_path, program, 0, 10, "confirm")


def finish(app: App, expected: list[int], *more: str) -> None:
    """The next run does what is expected and its own items; the one after it finds nothing. No worker stops early."""
    second = app.run(100, 5, *more)
    assert sorted(second.items("begin")) == [*expected, *range(100, 105)]
    third = app.run(200, 0, *more)
    assert third.items("begin") == []
    assert app.left() == NOTHING
    assert len(app.slots()) <= 1  # with at most a stop marker that nobody took; nothing grows


def test_joined_killed_in_the_middle_of_an_item(tmp_path: Path) -> None:
    app = App(tmp_path, "worker_joined")
    app.killed(0, 10, at=["begin 3"], seen=["put 9"])
    finish(app, list(range(3, 10)))


def test_joined_killed_between_the_work_and_task_done(tmp_path: Path) -> None:
    app = App(tmp_path, "worker_joined")
    app.killed(0, 10, at=["end 3"], seen=["put 9"])
    finish(app, list(range(3, 10)))


def test_joined_killed_after_task_done(tmp_path: Path) -> None:
    app = App(tmp_path, "worker_joined")
    app.killed(0, 10, at=["done 3"], seen=["put 9"])
    finish(app, list(range(4, 10)))


def test_joined_killed_right_behind_a_put(tmp_path: Path) -> None:
    app = App(tmp_path, "worker_joined")
    app.killed(0, 10, at=["put 3"], seen=["done 3"])
    finish(app, [])


def test_bounded_undisturbed(tmp_path: Path) -> None:
    undisturbed(tmp_path, "bounded", 0)


def test_bounded_killed_before_its_worker_starts(tmp_path: Path) -> None:
    """The next run fills it again before anybody looks: what waits there from the last one is in nobody's way."""
    app = App(tmp_path, "bounded")
    app.killed(0, at=["full True"])
    assert app.left() == Left([0, 1, 2, 3, 4], [])
    second = app.run(100)
    assert second.items("begin") == [*range(5), *range(100, 115)]
    assert second.lines[0] == "full True"
    assert app.run(200).items("begin") == list(range(200, 215))
    assert app.left() == NOTHING


HELD = ["begin 3", "begin 4", "begin 5"]  # by three workers, who have done what was before


@pytest.mark.parametrize("program", STOPPED)
def test_with_task_done_what_was_not_done_comes_again(program: str, tmp_path: Path) -> None:
    app = App(tmp_path, program)
    app.killed(0, 10, "confirm", at=HELD, seen=["all put"])
    finish(app, list(range(3, 10)), "confirm")


@pytest.mark.parametrize("program", STOPPED)
def test_without_task_done_everything_fetched_comes_again(program: str, tmp_path: Path) -> None:
    app = App(tmp_path, program)
    app.killed(0, 10, at=HELD, seen=["all put"])
    finish(app, list(range(10)))


@pytest.mark.parametrize("program", STOPPED)
def test_without_task_done_and_after_a_normal_run_the_last_item_of_each_worker_comes_again(
    program: str, tmp_path: Path
) -> None:
    app = App(tmp_path, program)
    app.run(-10, 10)
    app.killed(0, 10, at=HELD, seen=["all put"])
    finish(app, list(range(3, 10)))


@pytest.mark.parametrize("program", STOPPED)
@pytest.mark.parametrize("confirm", [["confirm"], []])
def test_killed_when_the_workers_stop(program: str, confirm: list[str], tmp_path: Path) -> None:
    """Stop markers are on their way, and some have been taken: none of them reaches the next run."""
    app = App(tmp_path, program)
    app.killed(0, 10, *confirm, at=["worker stops"] * 3)
    finish(app, [] if confirm else list(range(10)), *confirm)


@pytest.mark.parametrize("program", STOPPED)
def test_killed_when_all_is_over(program: str, tmp_path: Path) -> None:
    app = App(tmp_path, program)
    app.run(-10, 10)
    app.killed(0, 10, at=["finished"])
    finish(app, [])
