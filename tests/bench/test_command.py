"""`python -m bench`: measures what is there, says what isn't, and writes its results."""

from __future__ import annotations

import errno
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import plot, rounds
from bench.__main__ import main
from bench.contenders import OURS, contenders
from bench.measurement import ROOT, environment
from bench.result import Absence, Measurement
from bench.rounds import entries, rotated
from bench.scenarios import scenarios


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("pqadapters", "stdlib", "bare-write", "persist-queue-file")
    arguments = ["--quick", "--rounds", "2", "--seconds", "0.01", "--no-observing", "--output", str(tmp_path / "out")]
    arguments += [f"--contender={name}" for name in names] + ["--scenario=items-40", "--scenario=ping-pong"]
    assert main([*arguments, "--directory", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (tmp_path / "out" / "results.md").read_text() == shown[:-1]
    measured = {(each["scenario"], each["contender"]) for each in data["measurements"]}
    assert {("items-40", "pqadapters"), ("items-40", "bare-write"), ("ping-pong", "stdlib")} <= measured
    assert len({each["round"] for each in data["measurements"]}) == 2
    assert all(value > 0 for each in data["measurements"] for name, value in each["values"].items() if name == "put")
    assert {each["contender"] for each in data["absent"]} <= {"persist-queue-file", "bare-write"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing else is left"


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no scenario 'nothing': choose from items-40"):
        main(["--scenario", "nothing"])


@pytest.mark.parametrize(
    "option", ["--rounds=0", "--rounds=-1", "--seconds=0", "--seconds=nan", "--budget=-5", "--budget=x"]
)
def test_a_number_that_is_none(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([option, "--list"])
    assert f"'{option.partition('=')[2]}' is no number of" in capsys.readouterr().err


SMALL = ("--quick", "--rounds=1", "--seconds=0.01", "--no-observing", "--scenario=items-40", "--contender=stdlib")


@pytest.mark.parametrize("option", ["--output", "--directory"])
def test_a_directory_that_cannot_be_used_is_told_before_anything_is_measured(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    places = {"--output": tmp_path / "out", "--directory": tmp_path, option: tmp_path / "file"}
    with pytest.raises(SystemExit, match=r"that can be written to: .*/file"):
        main([*SMALL, *(f"{name}={path}" for name, path in places.items())])
    assert "round" not in capsys.readouterr().err


def test_results_stay_where_nothing_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results.json").write_text("of an earlier run")
    arguments = ["--scenario=items-40", "--contender=bare-replace", f"--output={tmp_path}"]
    assert main([*arguments, f"--directory={tmp_path}"]) == 1
    assert re.search(r"nothing was measured.*\nnone of these contenders has a part", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert (tmp_path / "results.json").read_text() == "of an earlier run"


def test_a_full_disk_leaves_no_part_of_a_plot_and_none_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(result: object, path: Path) -> None:
        path.write_text("<svg")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(plot, "draw", draw)
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.svg").write_text("of an earlier run")
    with pytest.raises(SystemExit, match=r"the results can't be written: .*No space left"):
        main([*SMALL, f"--output={out}", f"--directory={tmp_path}"])
    assert sorted(path.name for path in out.iterdir()) == ["results.json", "results.md"]


def test_an_interrupted_run_reports_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> Iterator[Measurement]:
        yield Measurement("items-40", "stdlib", "memory", 1, {"put": 1.0})
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "run", run)
    assert main([*SMALL, f"--output={tmp_path / 'out'}", f"--directory={tmp_path}"]) == 130
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (data["settings"]["interrupted"], len(data["measurements"])) == (True, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_directory_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until Python 3.12 temporary directories in one are relative, too."""
    monkeypatch.chdir(tmp_path)
    arguments = ["--rounds=1", "--seconds=0.01", "--no-observing", "--scenario=items-40", "--contender=bare-write"]
    assert main([*arguments, "--directory=.", "--output=out"]) == 0
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (len(data["measurements"]), data["absent"]) == (1, [])


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_terminated_leaves_nothing(ending: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--scenario=items-40", "--contender=stdlib", "--seconds=20"]
    command += [f"--directory={tmp_path}", f"--output={tmp_path / 'out'}"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as bench:
        assert bench.stderr is not None
        assert "round 1" in bench.stderr.readline()
        bench.send_signal(ending)
    assert bench.returncode == 128 + ending
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_rounds_are_whole_if_nobody_was_left_out_for_want_of_time() -> None:
    part, _ = entries({"items-40": scenarios()["items-40"]}, {name: contenders()[name] for name in ("stdlib", OURS)}, 1)
    twice = [Measurement("items-40", "stdlib", "memory", number, {}) for number in (1, 2)]
    once = Measurement("items-40", OURS, "process", 1, {})
    assert rounds.whole(part, [*twice, once, once], [], 2) == 2
    assert rounds.whole(part, [*twice, once], [], 2) == 1
    assert rounds.whole(part, [*twice, once], [Absence("items-40", OURS, "failed in round 2: so")], 2) == 2
    assert rounds.whole(part, twice, [Absence("items-40", OURS, "no time was left for it")], 2) == 0


def test_the_list_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (*scenarios(), *contenders()))


def test_who_takes_part_or_why_not() -> None:
    part, absent = entries(scenarios(), contenders(), 0.1)
    for scenario, row in zip(scenarios().values(), part, strict=True):
        reasons = {each.contender: each.reason for each in absent if each.scenario == scenario.name}
        of_its_kind = {name for name, each in contenders().items() if each.kind is scenario.kind}
        assert {each.contender.name for each in row} | set(reasons) == of_its_kind
        assert all(reasons.values())
        assert (scenario.ours if scenario.processes == 1 else "pqadapters-sqlite") not in reasons


def test_one_put_in_a_thousand_is_one_of_a_thousand() -> None:
    """Of fewer it was the longest one, whatever it was called."""
    part, _ = entries({name: scenarios()[name] for name in ("latency", "latency-power")}, contenders(), 0.01)
    assert all(each.operations >= 1000 for row in part for each in row)


def test_what_is_missing_is_named() -> None:
    ours = contenders()[OURS]
    assert ours._replace(modules=("no_such",)).missing() == "not installed: pqadapters"
    assert ours._replace(modules=("pqadapters", "no_such")).missing() == "not installed: no_such"
    assert ours._replace(package="", modules=("no_such",)).missing() == "not installed: no_such"


def test_another_one_comes_first_in_each_round() -> None:
    part, _ = entries(scenarios(), contenders(), 0.1)
    row = part[0]
    turns = [rotated(row, number) for number in range(1, len(row) + 1)]
    assert [turn[0] for turn in turns] == row
    assert turns[1] == [*row[1:], row[0]]
