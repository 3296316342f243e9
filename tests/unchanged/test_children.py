"""multiprocessing's children, however they are started: the queue of the module, and one of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import NOTHING, App, undisturbed


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_undisturbed(method: str, tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "children", method, 2, 10, 3)
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_a_killed_childs_items_come_again(method: str, tmp_path: Path) -> None:
    """Nothing was learnt yet: everything that was fetched comes again."""
    app = App(tmp_path, "children")
    app.killed(method, 1, 10, 3, at=["own -11"])
    again = app.run(method, 1, 20, 2)
    assert again.items("shared") == [10, 11, 12, 20, 21]
    assert again.items("own") == [-10, -11, -12, -20, -21]
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_a_child_that_ends_normally_settles_what_an_item_is_done_by(method: str, tmp_path: Path) -> None:
    """From then on only the item in hand comes again; one behind which the consumer has found nothing more is done."""
    app = App(tmp_path, "children")
    app.run(method, 1, 0, 1)
    app.killed(method, 1, 10, 3, at=["shared 11"])
    second = app.killed(method, 1, 20, 2, at=["own -11"])
    assert second.items("shared") == [11, 12, 20, 21]
    again = app.run(method, 1, 30, 0)
    assert again.items("shared") == []
    assert again.items("own") == [-11, -12, -20, -21]
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_what_a_child_left_is_found_by_one_that_is_started_otherwise(method: str, tmp_path: Path) -> None:
    app = App(tmp_path, "children")
    app.killed(method, 1, 10, 3, at=["all put"])
    others = {"fork", "spawn", "forkserver"} - {method}
    first, second = (app.run(other, 1, 0, 0) for other in sorted(others))
    assert first.items("shared") == [10, 11, 12]
    assert second.items("shared") == []
    assert (app.left(), app.slots()) == (NOTHING, [])
