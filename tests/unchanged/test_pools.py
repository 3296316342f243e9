"""Object pools: queues whose items are taken and given back, and are never done."""

from __future__ import annotations

from pathlib import Path

from .harness import App, undisturbed


def test_a_pool_of_tokens_undisturbed(tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "pool", 0, 10)
    assert sorted(app.left().items) == [0, 1, 2]


def test_a_pool_of_tokens_killed(tmp_path: Path) -> None:
    """The next run has its own three tokens, and those of the dead run beside them: nothing that was put is lost."""
    app = App(tmp_path, "pool")
    app.killed(0, 3, at=[f"begin {task}" for task in range(3)])
    again = app.run(10, 10)
    assert sorted(again.items("end")) == list(range(10, 20))
    assert sorted(app.left().items) == [0, 0, 1, 1, 2, 2]


def test_a_bounded_pool_run_again_and_again(tmp_path: Path) -> None:
    """What the last run left doesn't take the room of what this one has taken out."""
    app = undisturbed(tmp_path, "pool", 0, 3, "bounded")
    for tokens in (6, 9):
        assert app.run(10, 1, "bounded").lines == ["begin 10", "end 10", f"tokens {tokens}"]


def test_a_bounded_pool_killed_with_all_in_hand(tmp_path: Path) -> None:
    app = App(tmp_path, "pool")
    app.killed(0, 3, "bounded", at=[f"begin {task}" for task in range(3)])
    assert sorted(app.run(10, 10, "bounded").items("end")) == list(range(10, 20))
    assert sorted(app.left().items) == [0, 0, 1, 1, 2, 2]


def test_a_pool_of_what_cannot_be_pickled(tmp_path: Path) -> None:
    app = App(tmp_path, "pool_of_locks", swap=False)
    assert app.run().lines == ["locked", "locks 3"]
    app.install("pool_of_locks")
    refused = app.run(status=1, errors=".*NotSerializable: .*")
    assert refused.lines == []
    assert "_thread.lock" in refused.errors
    assert 'volatile="warn"' in refused.errors
    assert app.left() == ([], [])
