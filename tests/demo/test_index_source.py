"""The program of the demo, with the standard library's queue and with ours, killed where nothing is left to chance.

Its workers stand before named pipes when it is killed: what was done, in hand and pending then is known to the file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("tqdm", reason="the demo's progress bar")

from examples.demo import DURABLE, Trial
from examples.index_source import WORKERS

from .conftest import Gates, MakeFiles

VARIANTS = pytest.mark.parametrize("changes", [{}, DURABLE], ids=["stdlib", "durable"])


def at_the_gates(trial: Trial, gates: Gates, done: int, run: int = 1) -> Callable[[], bool]:
    """The moment at which everything before the gates is done and each worker stands at one, for the run-th time."""
    return lambda: len(trial.done) == done and all(trial.begun[name] == run for name in gates.names)


@VARIANTS
def test_every_file_gets_its_counts(tmp_path: Path, make_files: MakeFiles, changes: dict[str, str]) -> None:
    names = make_files(10)
    trial = Trial(tmp_path / "trial", changes)
    assert not trial.run(names)
    assert trial.finished() == set(names)
    assert trial.begun == Counter(names)
    totals = trial.outcome("", names).totals
    assert (totals["os"], totals["join"], totals["function3"]) == (16, 8, 1)
    assert "return" not in totals


def test_a_file_that_is_not_python_has_its_error_for_a_result(tmp_path: Path, make_files: MakeFiles) -> None:
    names = [*make_files(3), str(tmp_path / "missing.py")]
    trial = Trial(tmp_path / "trial", {})
    trial.run(names)
    results = [json.loads(path.read_text()) for path in (tmp_path / "trial" / "counts").glob("*.json")]
    assert {result["file"] for result in results if result.get("error")} == {names[0], names[1], names[3]}


def test_the_standard_librarys_queue_loses_what_was_pending(
    tmp_path: Path, make_files: MakeFiles, gates: Gates
) -> None:
    before, behind = make_files(6), make_files(5)
    names = [*before, *gates.names, *behind]
    trial = Trial(tmp_path / "trial", {})
    assert trial.run(names, at_the_gates(trial, gates, len(before)))
    gates.open()
    assert not trial.run()
    assert trial.finished() == set(before)
    assert trial.outcome("", names).lost == WORKERS + len(behind)


@pytest.mark.parametrize("kills", [1, 3])
def test_ours_redoes_what_was_in_hand_and_does_what_was_pending(
    tmp_path: Path, make_files: MakeFiles, gates: Gates, kills: int
) -> None:
    before, behind = make_files(6), make_files(5)
    names = [*before, *gates.names, *behind]
    trial = Trial(tmp_path / "trial", DURABLE)
    assert trial.run(names, at_the_gates(trial, gates, len(before)))
    for run in range(2, kills + 1):
        assert trial.run((), at_the_gates(trial, gates, len(before), run))
    gates.open()
    assert not trial.run()
    assert trial.begun == Counter([*before, *behind, *gates.names * (kills + 1)])
    outcome = trial.outcome("", names)
    assert (outcome.lost, outcome.kills, outcome.redone) == (0, kills, WORKERS)


def test_a_program_that_fails_is_no_outcome(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "trial", {"jobs.join()": "raise ValueError"})
    with pytest.raises(SystemExit, match="status 1"):
        trial.run()


def test_no_child_stays_behind_when_the_watcher_fails(tmp_path: Path, gates: Gates) -> None:
    def fail() -> bool:
        raise ArithmeticError

    # The program would wait at the gates for ever; it would hold the directory of its queue, too.
    trial = Trial(tmp_path / "trial", DURABLE)
    with pytest.raises(ArithmeticError):
        trial.run(gates.names, fail)
    gates.open()
    assert not trial.run()
    assert trial.finished() == set(gates.names)


def test_a_change_that_has_no_place_in_the_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="0 times"):
        Trial(tmp_path / "trial", {"import qeueu": ""})
