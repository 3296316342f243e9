"""A daemon that never calls task_done(): until that is learnt everything fetched comes again, then the item in hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import NOTHING, App, undisturbed

KILLS = 20


def test_undisturbed(tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "daemon", 0, 10)
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_killed_twenty_times_after_a_normal_exit(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    app.run(0, 3)
    begun: list[int] = []
    for number in range(KILLS):
        run = app.killed(10 * number, 3, at=[f"begin {10 * number + 1}"])
        expected = [*range(10 * number - 9, 10 * number - 7), 10 * number, 10 * number + 1]
        assert run.items("begin") == (expected if number else [0, 1])
        begun += run.items("begin")
    begun += app.run(1000, 0).items("begin")
    assert len(begun) == 3 * KILLS + KILLS  # every kill cost one redelivery
    assert app.run(1000, 0).items("begin") == []
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_killed_before_anything_was_learnt(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    for number in range(3):
        run = app.killed(10 * number, 1, at=[f"begin {10 * number}"])
        assert run.items("begin") == [10 * earlier for earlier in range(number + 1)]
    named = ".* was handed out 3 times or more and never done: 0[.] .*"
    assert app.run(100, 1, errors=named).items("begin") == [0, 10, 20, 100]
    assert (app.left(), app.slots()) == (NOTHING, [])


@pytest.mark.parametrize(
    ("fetched", "again"), [(1000, range(1003)), (1001, range(1000, 1003)), (1002, range(1001, 1003))]
)
def test_the_thousand_and_first_fetch_settles_it(fetched: int, again: range, tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    app.env["PQADAPTERS_DURABILITY"] = "process"  # a thousand syncs take their time
    app.killed(0, 1003, at=[f"begin {fetched - 1}"])
    assert app.run(0, 0).items("begin") == list(again)
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_killed_after_a_thousand_fetches_and_ever_since(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    app.env["PQADAPTERS_DURABILITY"] = "process"
    app.killed(0, 1003, at=["begin 1001"])
    for number in range(1, 6):
        first = 2000 + 10 * number
        run = app.killed(first, 2, at=[f"begin {first + 1}"])
        assert run.items("begin") == [*([1001, 1002] if number == 1 else [first - 9]), first, first + 1]
    assert app.run(0, 0).items("begin") == [2051]
