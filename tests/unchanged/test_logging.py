"""Programs that log through a queue, and log everything: our own words are among it, and never block anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import App, undisturbed

RUNS = 5  #: whether handler and listener wait for each other hangs on how they meet


@pytest.mark.parametrize("run", range(RUNS))
def test_a_listener_and_the_root_logger(run: int, tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "logged", 5)
    check(app)


def check(app: App) -> None:
    """Nothing is left but what we said behind the end of the listener."""
    left = app.left()
    assert left.dead == []
    assert [record for record in left.items if not record.name.startswith("pqadapters.")] == []


def test_what_was_logged_by_a_run_that_was_killed(tmp_path: Path) -> None:
    app = App(tmp_path, "logged")
    app.killed(3, at=["logged 0"])
    assert app.run(2).items("logged")[-2:] == [0, 1]
    check(app)
