"""`python -m bench`: measures what is there, says what isn't, and writes its results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.contenders import contenders
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


def test_another_one_comes_first_in_each_round() -> None:
    part, _ = entries(scenarios(), contenders(), 0.1)
    row = part[0]
    turns = [rotated(row, number) for number in range(1, len(row) + 1)]
    assert [turn[0] for turn in turns] == row
    assert turns[1] == [*row[1:], row[0]]
