"""Mappings side by side: each contender is one, all set as many keys, and queues stay out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.contender import Contender, Kind, Level
from bench.contenders import contenders
from bench.rounds import entries
from bench.scenarios import scenarios
from bench.scenarios.mapping import key, opened, others, pairs, shuffled

MAPPINGS = {name: each for name, each in contenders().items() if each.open_mapping}


def run(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What a small run of one round has written."""
    small = ["--rounds", "1", "--seconds", "0.01", "--no-observing", "--directory", str(tmp_path)]
    assert main([*small, "--output", str(tmp_path / "out"), *arguments]) == 0
    found: dict[str, Any] = json.loads((tmp_path / "out" / "results.json").read_text())
    return found


@pytest.fixture(params=MAPPINGS)
def contender(request: pytest.FixtureRequest) -> Contender:
    found = MAPPINGS[request.param]
    if why := found.missing():
        pytest.skip(why)
    return found


@pytest.mark.parametrize("level", [Level.PROCESS, Level.POWER])
def test_a_contender_is_a_mapping_that_lasts(contender: Contender, level: Level, tmp_path: Path) -> None:
    if level not in contender.speed:
        pytest.skip(f"offers nothing like {level}")
    handle = opened(contender, str(tmp_path), level.value)
    handle.set("a", "one")
    with handle.batch():
        handle.set("b", "two")
        handle.set("a", "another")
    assert (handle.get("a"), handle.get("b"), handle.length()) == ("another", "two", 2)
    with pytest.raises(KeyError):
        handle.get("c")
    handle.close()
    again = opened(contender, str(tmp_path), level.value)
    assert (again.get("a"), again.length()) == ("another", 2)
    again.close()


def test_keys_are_different_and_those_that_are_set_again_get_other_values() -> None:
    """SQLite writes nothing where a value is what it was."""
    first = dict(pairs(range(1000), 40))
    assert len(first) == 1000
    numbers = shuffled(1000, 1000)
    assert sorted(numbers) == list(range(1000)) != numbers
    again = dict(others(numbers, 1000, 40))
    assert again.keys() == first.keys()
    assert not set(again.values()) & set(first.values())
    assert {len(value) for value in (*first.values(), *again.values())} == {40}
    assert [key(number) for number in range(4)] != sorted(key(number) for number in range(4))


def test_all_do_the_same_number_of_operations() -> None:
    part, _ = entries(scenarios(), contenders(), 0.15)
    rows = [row for row in part if row[0].scenario.kind is Kind.MAPPING]
    assert len(rows) == 8
    assert all(len({each.operations for each in row}) == 1 for row in rows)


def test_what_has_no_batches_is_not_measured_in_them() -> None:
    _, absent = entries(scenarios(), contenders(), 0.1)
    refusal = scenarios()["mapping-batch"].refusal(contenders()["persist-queue-pdict"])
    assert refusal == "has no batches of one transaction"
    absences = {each.contender for each in absent if each.scenario == "mapping-batch"}
    assert absences.isdisjoint(name for name in ("pqadapters-pdict", "pqadapters-shelf", "bare-replace"))


def test_a_module_of_the_standard_library_that_this_python_lacks() -> None:
    lacking = contenders()["dbm-sqlite3"]._replace(modules=("dbm.not_there",))
    assert lacking.missing() == "not installed: dbm.not_there"


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("mapping-set", "mapping-set-again", "mapping-get", "mapping-set-power", "mapping-batch")
    found = run(tmp_path, *(f"--scenario={name}" for name in names))
    measured = {(each["scenario"], each["contender"]): each["values"] for each in found["measurements"]}
    for contender in ("pqadapters-pdict", "pqadapters-pdict-segment", "pqadapters-shelf", "bare-replace"):
        for scenario in names:
            values = measured[scenario, contender]
            assert values.keys() == {metric.name for metric in scenarios()[scenario].metrics}
            assert all(value > 0 for value in values.values())
    assert not {name for _, name in measured} - set(MAPPINGS)
    assert not {each["contender"] for each in found["absent"]} - set(MAPPINGS)
    assert "queuelib (" not in capsys.readouterr().out, "a queue isn't missed among mappings"


def test_many_keys_in_three_processes(tmp_path: Path) -> None:
    arguments = [f"--contender={name}" for name in ("pqadapters-pdict", "bare-replace")]
    found = run(tmp_path, "--scenario=mapping-10k", *arguments)
    assert found["absent"] == []
    names = {metric.name for metric in scenarios()["mapping-10k"].metrics}
    assert [each["values"].keys() for each in found["measurements"]] == [names, names]
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing else is left"
