"""What the demo prints and returns, for several seeds and kills; and that it tells if ours lost something."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tqdm", reason="the demo's progress bar")

from examples import demo
from examples.index_source import WORKERS

from .conftest import MakeFiles

FILES = 2 * demo.HEAD_START


@pytest.mark.parametrize(("seed", "kills"), [(1, 1), (2, 2), (3, 5)])
def test_ours_loses_nothing_at_random_moments(tmp_path: Path, make_files: MakeFiles, seed: int, kills: int) -> None:
    names = make_files(FILES)
    points = demo.kill_points(FILES, kills, random.Random(seed))
    (tmp_path / "trials").mkdir()
    undisturbed, stdlib, durable = demo.compare(tmp_path / "trials", names, points)
    assert undisturbed[1:5] == (FILES, 0, FILES, 0)
    assert stdlib.kills >= 1
    assert stdlib.lost > 0
    assert stdlib.totals != undisturbed.totals
    assert (durable.lost, durable.kills, durable.totals) == (0, kills, undisturbed.totals)
    assert durable.redone <= WORKERS * kills


def test_the_command_prints_its_table_and_succeeds() -> None:
    command = [sys.executable, str(demo.HERE / "demo.py"), "--files", str(FILES), "--kills", "2", "--seed", "5"]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in answer.stdout.splitlines() if len(line.split()) == 7}
    assert rows["undisturbed"][:4] == ["0", "0", "0", str(FILES)]
    assert rows["queue"][-1] == "different"
    killed, lost, _, finished, identifiers, totals = rows["pqadapters.stdlib.queue"]
    assert (killed, lost, finished, totals) == ("2", "0", str(FILES), "equal")
    assert identifiers == rows["undisturbed"][4]
    assert f"- from queue import Queue\n    + {demo.DURABLE['from queue import Queue']}\n" in answer.stdout


def test_the_command_fails_when_ours_loses_something(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DURABLE", {})
    assert demo.main(["--files", str(FILES), "--seed", "4"]) == 1
    assert "that is a bug" in capsys.readouterr().out


def outcome(finished: int = 10, **totals: int) -> demo.Outcome:
    return demo.Outcome("", 10, 1, finished, 0, totals)


@pytest.mark.parametrize(
    ("durable", "verdict"), [(outcome(x=3), True), (outcome(x=2), False), (outcome(9, x=3), False)]
)
def test_intact_is_nothing_lost_and_equal_totals(durable: demo.Outcome, verdict: bool) -> None:
    assert demo.intact([outcome(x=3), outcome(0), durable]) is verdict


@pytest.mark.parametrize(("files", "kills"), [(1, 1), (5, 5), (300, 3), (1800, 2)])
def test_kill_points_are_ascending_and_leave_work(files: int, kills: int) -> None:
    points = demo.kill_points(files, kills, random.Random(6))
    assert len(points) == kills
    assert points == sorted(set(points))
    assert points[-1] < max(kills, files - demo.HEAD_START)


def test_the_same_seed_makes_the_same_choices() -> None:
    assert demo.kill_points(900, 4, random.Random(8)) == demo.kill_points(900, 4, random.Random(8))
    assert demo.kill_points(900, 4, random.Random(8)) != demo.kill_points(900, 4, random.Random(9))


def test_the_input_is_the_standard_library_alone() -> None:
    names = demo.sources()
    assert random.__file__ in names
    assert not [name for name in names if "site-packages" in name or not name.endswith(".py")]


@pytest.mark.parametrize("arguments", [["--kills", "0"], ["--files", "2", "--kills", "3"], ["--files", "0"], ["extra"]])
def test_senseless_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo.options(arguments)
