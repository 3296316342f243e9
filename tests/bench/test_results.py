"""Numbers as rounds make them: medians, ratios within a round, figures reached, missed or not measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import figures, table
from bench.figures import Excess, Figure, Limit, Ratio
from bench.result import Absence, Measurement, Result, Series, Spread, load, save, spread
from bench.scenarios import scenarios
from bench.scenarios.latency import percentile


def result(*measurements: Measurement, absent: tuple[Absence, ...] = ()) -> Result:
    contenders: dict[str, dict[str, object]] = {
        name: {"about": name, "version": "1", "missing": "", "observed": {}} for name in ("a", "b")
    }
    return Result({"system": "any"}, {"rounds": 3}, contenders, list(measurements), list(absent))


def measured(contender: str, *values: float, scenario: str = "items-40", metric: str = "put") -> list[Measurement]:
    return [
        Measurement(scenario, contender, "process", at, {metric: value}) for at, value in enumerate(values, start=1)
    ]


def test_a_spread_is_median_and_extremes() -> None:
    assert spread([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0, 4)
    assert spread([]) is None


def test_ratios_are_taken_within_rounds() -> None:
    """A machine that was slow in one round was so for both."""
    found = result(*measured("a", 10, 1, 30), *measured("b", 20, 2, 60))
    assert found.ratios(Series("items-40", "a", "put"), Series("items-40", "b", "put")) == Spread(0.5, 0.5, 0.5, 3)


def test_what_has_no_round_in_common_has_no_ratio() -> None:
    found = result(*measured("a", 1))
    assert found.ratios(Series("items-40", "a", "put"), Series("items-40", "b", "put")) is None


def test_a_result_is_read_back(tmp_path: Path) -> None:
    found = result(*measured("a", 1.5), absent=(Absence("items-40", "b", "not installed: b"),))
    save(found, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == found
    (tmp_path / "results.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="schema 99"):
        load(tmp_path / "results.json")


A, B = Series("items-40", "a", "put"), Series("items-40", "b", "put")


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (Ratio("x", A, B, 0.5), True),
        (Ratio("x", A, B, 0.51), False),
        (Limit("x", A, 10, "s"), True),
        (Limit("x", A, 9, "s"), False),
        (Excess("x", B, A, 10, "s"), True),
        (Excess("x", B, A, 9, "s"), False),
    ],
)
def test_a_figure_is_reached_by_the_median(figure: Figure, reached: bool) -> None:
    (verdict,) = figures.evaluate(result(*measured("a", 1, 10, 30), *measured("b", 2, 20, 60)), [figure])
    assert (verdict.reached, verdict.reason) == (reached, "")


def test_what_was_not_measured_is_said_so_with_the_reason() -> None:
    found = result(*measured("a", 1), absent=(Absence("items-40", "b", "not installed: b"),))
    (verdict,) = figures.evaluate(found, [Ratio("x", A, B, 1)])
    assert (verdict.reached, verdict.found) == (None, None)
    assert verdict.reason == "b in items-40: not installed: b"
    assert "not measured" in "\n".join(table.figures([verdict]))


def test_every_figure_names_a_scenario_a_contender_and_a_metric_that_are_there() -> None:
    from bench.contenders import contenders
    from bench.scenarios import scenarios

    for figure in figures.FIGURES:
        for scenario, contender, metric in figure.parts:
            assert contender in contenders()
            names = {each.name for each in scenarios()[scenario].metrics}
            assert metric in names | {scenarios()[scenario].floor_metric}


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile(range(1, 1001), share) for share in (0.5, 0.99, 0.999, 1.0)] == [500, 990, 999, 1000]
    assert percentile([7], 0.5) == 7


def test_items_of_the_same_bytes_that_are_ascii_or_are_not() -> None:
    plain, other = (list(scenarios()[name].items(100)) for name in ("items-40", "items-utf8"))
    assert {len(each.encode()) for each in plain + other} == {40}
    assert all(each.isascii() for each in plain)
    assert not any(each.isascii() for each in other)
    assert len(set(other)) == len(set(plain)) > 1
